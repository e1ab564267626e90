"""Taking a forge's approving reviews for approvals, where an environment says so: looked at while they are wanted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from msgspec import Struct

from reconciler.engine.core import Core
from reconciler.engine.fleet import Fleet
from reconciler.engine.ledger import tell_of_approval
from reconciler.engine.pull_requests.owners import Owners, accounts_of, file_of
from reconciler.engine.pull_requests.report import denied
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.forge import Denied, Forge, Pull, Review
from reconciler.model.circumstances import Asked, Circumstances
from reconciler.model.codeowners import Unreadable
from reconciler.model.desired import Desired
from reconciler.model.environment import Environment
from reconciler.model.errors import UgsError
from reconciler.model.layout import FOLDERS
from reconciler.model.permits import APPROVAL_LASTS, Approval, Ask, ask_of, covers
from reconciler.model.persons import same_person
from reconciler.model.plan import Change
from reconciler.model.reviews import Given, Tally, tally, told

log = logging.getLogger("ugs")
LOOK_S = 180.0
ASKS_MAX = 50
"""So many changes a round; the others have their turn in the next."""


class Wanted(Struct, frozen=True):
    """A change that waits for approvals, or has them by reviews, and what asks for it."""

    ask: Ask
    change: Change
    asked: Asked
    file: str
    """Where its pin stands."""
    given: tuple[Approval, ...]
    """What reviews of it have been taken for so far."""
    wants_owners: bool


class Merged(Struct, frozen=True):
    """The pull request by which a commit came, and its reviews."""

    pull: Pull
    reviews: tuple[Review, ...]


class Reviews:
    """One task's. Used from the event loop's thread; the forge and Git are asked in others."""

    def __init__(self, core: Core, fleet: Fleet) -> None:
        self._core = core
        self._fleet = fleet
        self._owners = Owners(core)
        self._looked: set[tuple[str, str, str]] = set()
        """What has been looked at since it is wanted."""

    async def keep(self) -> None:
        """Look at what waits, when it begins to, when something is said of pull requests, and every three minutes."""
        core = self._core
        while True:
            core.wake.reviews.clear()
            await self.round()
            await core.clock.wait(core.wake.reviews, LOOK_S)

    def stir(self, here: EnvironmentPass) -> None:
        """After a pass: what waits since then is looked at soon."""
        if self._core.forge and any(_key(one) not in self._looked for one in _wanted(self._core, here)):
            self._core.wake.reviews.set()

    async def round(self) -> None:
        """One look at all that wants reviews. Trouble with the forge is said beside the gate; nothing else waits."""
        core, forge = self._core, self._core.forge
        if forge is None:
            return
        wanted = [(here, one) for here in self._fleet.passes.values() for one in _wanted(core, here)]
        keys = {_key(one) for _, one in wanted}
        self._looked &= keys
        for gone in core.reviewed.keys() - keys:
            del core.reviewed[gone]
        found, trouble = dict[str, Merged | str](), ""
        for here, one in wanted[:ASKS_MAX]:
            self._looked.add(_key(one))
            if trouble:
                self._say(here, one, trouble)
                continue
            try:
                if (revision := one.ask.revision) not in found:
                    found[revision] = await asyncio.to_thread(_merged, core, forge, revision)
                await self._settle(here, one, found[revision], forge)
            except UgsError as error:
                if isinstance(error, Denied):
                    denied(core, error)
                log.warning("%s: reviews are looked at again later: %s", here.name, error)
                trouble = f"reviews cannot be looked at: {error.message}"
                self._say(here, one, trouble)

    async def _settle(self, here: EnvironmentPass, one: Wanted, found: Merged | str, forge: Forge) -> None:
        """Take what counts for approvals, take back what does so no longer, and say what does not."""
        if isinstance(found, str):
            self._take(here, one, Tally(), "")
            self._say(here, one, found)
            return
        pull, names, trouble = found.pull, accounts_of(self._core), ""
        owners = frozenset[str]()
        if one.wants_owners:
            try:
                owners = await asyncio.to_thread(self._owners.of, one.file, one.asked.base, forge)
            except Unreadable as error:
                trouble = f"; {error}: nobody counts as an owner"
        said = tally(found.reviews, head=pull.head, author=pull.author, names=names, owners=owners)
        self._take(here, one, said, pull.url)
        self._say(here, one, told(said, pull.url) + trouble)

    def _take(self, here: EnvironmentPass, one: Wanted, said: Tally, url: str) -> None:
        core, now = self._core, self._core.clock.now()
        desired = core.desired.get(here.name)
        if desired is None:
            return
        kept = [each for each in one.given if any(_same(each, given, url) for given in said.given)]
        new = [given for given in said.given if not any(_same(each, given, url) for each in kept)]
        new = [given for given in new if not core.store.was_withdrawn(one.ask, by=given.by, via=url)]
        gone = [each for each in one.given if each not in kept]
        with core.store.transaction():
            for each in gone:
                core.store.withdraw_approval(each.id, by="ugs")
                text = f"no longer approved by {each.by}: the review of {each.via} does not count any more"
                tell_of_approval(core, one.ask, text, desired.environment, one.change, one.asked)
            for given in new:
                core.store.approve(
                    one.ask,
                    by=given.by,
                    until=now + APPROVAL_LASTS,
                    via=url,
                    owner=given.owner,
                    known=given.known,
                )
                text = f"approved by {given.by}, by a review of {url}"
                tell_of_approval(core, one.ask, text, desired.environment, one.change, one.asked)
        if new or gone:
            here.wake.set()

    def _say(self, here: EnvironmentPass, one: Wanted, text: str) -> None:
        text = text.strip("; ")
        if self._core.reviewed.get(_key(one), "") != text:
            self._core.reviewed[_key(one)] = text
            here.wake.set()


def _wanted(core: Core, here: EnvironmentPass) -> Iterator[Wanted]:
    """What waits for approvals where reviews count, and what has some by reviews and has not begun."""
    if here.decided is None or not core.leases.opening(core.share(here.name)).open:
        return
    desired, around = here.decided
    if desired.environment.policy.reviews == "ignored":
        return
    for service, (change, gates) in here.told.items():
        asked = around.asked.get(service)
        if asked is None or not asked.revision or service in here.busy:
            continue
        ask = ask_of(change, asked.revision, change.path)
        given = _given(core, ask)
        if given or any(gate.gate == "approval" and not gate.open for gate in gates):
            yield _wish(desired, around, change, asked, ask, given)


def _wish(
    desired: Desired,
    around: Circumstances,
    change: Change,
    asked: Asked,
    ask: Ask,
    given: tuple[Approval, ...],
) -> Wanted:
    here = desired.environment
    places: list[Environment] = [around.environment, *(then.environment for then in asked.earlier)]
    return Wanted(
        ask=ask,
        change=change,
        asked=asked,
        file=file_of(here, change.service),
        given=given,
        wants_owners=any(place.policy.reviews == "owners" for place in places),
    )


def _given(core: Core, ask: Ask) -> tuple[Approval, ...]:
    now = core.clock.now()
    standing = core.store.permits(ask.environment).approvals
    return tuple(one for one in standing if one.via and now < one.until and covers(one.ask, ask))


def _key(one: Wanted) -> tuple[str, str, str]:
    return one.ask.environment, one.ask.service, one.ask.revision


def _same(approval: Approval, given: Given, url: str) -> bool:
    return same_person(approval.by, given.by) and (approval.via, approval.owner, approval.known) == (
        url,
        given.owner,
        given.known,
    )


def _merged(core: Core, forge: Forge, revision: str) -> Merged | str:
    """The merged pull request that brought a commit, or why there is none that counts. Blocking."""
    branch = core.settings.repository.branch
    found = [one for one in forge.pulls_with(revision) if one.state == "merged" and one.base == branch]
    if not found:
        return f"no pull request that was merged into {branch} brought {revision[:12]}"
    pull = forge.pull(found[0].number)
    if not _as_reviewed(core, pull.head, revision):
        return f"{revision[:12]} is not what was reviewed as {pull.url}: it holds something else besides"
    return Merged(pull, forge.reviews(pull.number))


def _as_reviewed(core: Core, head: str, revision: str) -> bool:
    """Whether a commit is what comes of the head that was reviewed, and nothing besides.

    A forge counts a pull request as merged as soon as its head is on the branch, whoever pushed what with it. What it
    made itself of a head that is not on the branch (squashed, rebased) is what was reviewed.
    """
    mirror = core.repository.mirror
    if mirror.is_ancestor(revision, head) or not mirror.is_ancestor(head, revision):
        return True
    commit = mirror.described(revision)
    if len(commit.parents) != 2 or commit.parents[1] != head:
        return False
    made = mirror.merged_tree(*commit.parents)
    return made is not None and mirror.entries(made, FOLDERS) == mirror.entries(revision, FOLDERS)
