"""Keeping pull requests that are ours: opened once, made anew, superseded, closed when moot, never against a person.

What to do is decided by `model/pulls.py`, and done by `moves.py` beside this; here it is looked up. A row is written
before a branch is pushed, and what stands at the forge is asked before anything is opened.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence

from msgspec.structs import replace

from reconciler.engine.core import Core
from reconciler.engine.pull_requests.moves import Files, Found, Hands, View, Wish
from reconciler.forge import Forge, Invalid, Pull
from reconciler.git import Mirror
from reconciler.model import pulls as rules
from reconciler.model.errors import HostError, TransientError, UgsError
from reconciler.model.pulls import Deed, Kept, Kind, There, Wanted

log = logging.getLogger("ugs")


class Keeper:
    """Of one kind of pull request; one task's. Used from the event loop's thread; Git and the forge are asked in
    others. Every method may raise as the forge and Git do: what was not done is done by the next round."""

    def __init__(
        self, core: Core, forge: Forge, kind: Kind, opened: Callable[[Kept], None] = lambda _kept: None
    ) -> None:
        """`opened`: told of each that is open from now on, in the transaction that says so."""
        self._core = core
        self._forge = forge
        self._kind: Kind = kind
        self._hands = Hands(core, forge, opened)
        self._refused: frozenset[str] = frozenset()
        self._waited: set[str] = set()
        self._waiting: set[str] = set()
        """Branches for which there was no room at the last look, and at this one."""

    @property
    def refused(self) -> frozenset[str]:
        """What people do not want: what was asked for by pull requests that they have closed, as of the last look."""
        return self._refused

    async def look(self) -> View:
        """What is there now; what is open there and of our making, and not known here, is known afterwards."""
        core = self._core
        tip = (await core.git(core.repository.fetch)).tip
        branches = await core.git(core.repository.mirror.branches)
        pulls = await asyncio.to_thread(self._forge.open_pulls, core.settings.repository.branch)
        known = {one.number for one in core.store.pulls(self._kind)}
        begun = {one.branch for one in self._open()}
        for pull in pulls:
            name = rules.environment_of(pull.branch, self._kind)
            if name and not pull.fork and pull.number not in known and pull.branch not in begun:
                self._learn(name, pull, rules.asked_in(pull.body))
        self._refused = self._closed_by_people()
        return View(tip, branches, pulls)

    async def round(
        self,
        view: View,
        wishes: Sequence[Wish],
        *,
        why: Callable[[Kept], str] = lambda _: "nobody asks for it any more",
        unknown: Collection[str] = (),
    ) -> bool:
        """Bring what is there to the wishes; whether any that was open has ended. `why` one has become moot, in a
        sentence's second half; `unknown`: branches of which nobody knows now what they should ask for: they stay as
        they are, unless people have ended them."""
        by_branch = {wish.wanted.branch: wish for wish in wishes}
        standing = {one.branch: one for one in self._open()}
        there = await asyncio.to_thread(self._core.repository.snapshot, view.tip)
        names = there.environments.keys() | there.blind
        self._waited, self._waiting = self._waiting, set()
        for branch in [*standing, *(name for name in by_branch if name not in standing)]:
            wish, kept = by_branch.get(branch), standing.get(branch)
            environment = wish.wanted.environment if wish else kept.environment if kept else ""
            if (kept or branch not in unknown) and self._ours(environment, names):
                await self._tried(view, None if branch in unknown else wish, kept, why, branch in unknown)
        return not standing.keys() <= {one.branch for one in self._open()}

    def _closed_by_people(self) -> frozenset[str]:
        known = self._core.store.pulls(self._kind)
        return frozenset(ask for one in known if one.state == "refused" for ask in one.asks)

    def _open(self) -> list[Kept]:
        return [one for one in self._core.store.pulls(self._kind) if one.state == "open"]

    def _ours(self, environment: str, names: Collection[str]) -> bool:
        """Whether this daemon acts for it; what is no environment any more, by the `names` that there are, is tidied
        up by whoever knows of it."""
        core = self._core
        if environment not in core.desired:  # or it is one that only another daemon has to do with
            return environment not in names
        return core.leases.opening(environment).open

    async def _tried(
        self, view: View, wish: Wish | None, kept: Kept | None, why: Callable[[Kept], str], unknown: bool
    ) -> None:
        """One branch. What the forge or Git never takes is logged, and holds up no other."""
        try:
            await self._one(view, wish, kept, why, unknown)
        except (HostError, TransientError):
            raise
        except UgsError as error:
            branch = wish.wanted.branch if wish else kept.branch if kept else ""
            log.error("%s: %s", branch, error)

    async def _one(
        self, view: View, wish: Wish | None, kept: Kept | None, why: Callable[[Kept], str], unknown: bool
    ) -> None:
        wanted = wish.wanted if wish else None
        if wanted and kept is None and self._spared(wanted):
            return
        found = await self._found(view, wish, kept)
        if kept and found.pull and not kept.number:
            kept = self._hands.found(kept, found.pull)
        deed = self._deed(wanted, kept, found, unknown=unknown)
        if deed.act == "open" and wanted and not (kept and kept.number) and await self._heard_of(wanted):
            deed = self._deed(wanted, kept, found)  # a person has closed it, before our memory began
        match deed.act:
            case "open" if wanted:
                await self._hands.opened(view.tip, wanted, kept, found)
            case "remake" if wanted and kept:
                kept = await self._hands.pushed(view.tip, wanted, kept, found)
                if kept:
                    await self._hands.said(wanted, kept, found)
            case "edit" if wanted and kept:
                await self._hands.said(wanted, kept, found)
            case "close" if kept:
                await self._hands.closed(kept, found, deed, why(kept) if deed.state == "moot" else "")
            case "end" if kept:
                self._hands.ended(replace(kept, state=deed.state))
        if deed.state == "refused":  # for those whose turn comes after it, too
            self._refused = self._closed_by_people()

    def _deed(self, wanted: Wanted | None, kept: Kept | None, found: Found, *, unknown: bool = False) -> Deed:
        refused, room = wanted is not None and rules.is_refused(wanted.asks, self.refused), self._room()
        return rules.deed(wanted, kept, found.there, refused=refused, room=room, unknown=unknown)

    def _spared(self, wanted: Wanted) -> bool:
        """Whether it needs no look: a person does not want it, or no more may be opened now."""
        if rules.is_refused(wanted.asks, self.refused):
            return True
        if why := self._room():
            if wanted.branch not in self._waited:
                log.info("%s waits: %s", wanted.title, why)
            self._waiting.add(wanted.branch)
        return bool(why)

    def _room(self) -> str:
        core = self._core
        limits = core.settings.forge.pulls if core.settings.forge else rules.Limits()
        return rules.room(core.store.recent_pulls(self._kind), limits, now=core.clock.now())

    async def _found(self, view: View, wish: Wish | None, kept: Kept | None) -> Found:
        """How one branch and its pull request stand."""
        branch = wish.wanted.branch if wish else kept.branch if kept else ""
        pull = await self._pull(view, kept)
        files = await asyncio.to_thread(wish.edit, view.tip) if wish else {}
        at = view.branches.get(branch)
        known = kept is not None and at == kept.commit
        ours = known or (at is not None and await self._core.git(self._made_by_us, branch, at))
        alike = known and kept and await self._core.git(_alike, self._core, kept, files, view.tip)
        there = There(
            "none" if at is None else "ours" if ours else "theirs",
            pull.state if pull else "none",
            changes=bool(files),
            alike=bool(alike),
        )
        return Found(there, at, files, pull)

    async def _pull(self, view: View, kept: Kept | None) -> Pull | None:
        """The pull request of one that is known; where its number is not, the newest of its branch that is not."""
        if kept is None:
            return None
        for pull in view.pulls:
            if pull.number == kept.number or (not kept.number and pull.branch == kept.branch):
                return pull
        if kept.number:
            try:
                return await asyncio.to_thread(self._forge.pull, kept.number)
            except Invalid:  # some forges let people delete them
                base = self._core.settings.repository.branch
                return Pull(kept.number, kept.url, "closed", kept.branch, kept.commit, base)
        return await self._newest(kept.branch)

    async def _newest(self, branch: str) -> Pull | None:
        """The newest pull request from a branch, unless it is one that we know of."""
        pull = await asyncio.to_thread(self._forge.pull_from, branch)
        known = {one.number for one in self._core.store.pulls(self._kind)}
        return None if pull is None or pull.number in known else pull

    async def _heard_of(self, wanted: Wanted) -> bool:
        """Whether the forge knows of one from this branch that we do not: it is remembered from now on."""
        pull = await self._newest(wanted.branch)
        if pull is None or pull.state == "open":
            return False
        said = await asyncio.to_thread(self._forge.comments, pull.number)
        ours = any(rules.CLOSED_MARK in comment.body for comment in said)
        # Where its mark was taken out, it may well have asked for this: nobody is asked twice.
        self._learn(
            wanted.environment, pull, rules.asked_in(pull.body) or wanted.asks, "moot" if ours else "refused"
        )
        self._refused = self._closed_by_people()
        return True

    def _learn(
        self, environment: str, pull: Pull, asks: tuple[str, ...], closed: rules.State = "refused"
    ) -> None:
        states: dict[str, rules.State] = {"open": "open", "merged": "merged", "closed": closed}
        self._keep(
            Kept(
                self._kind,
                pull.branch,
                environment,
                asks,
                self._core.clock.now(),
                states[pull.state],
                number=pull.number,
                url=pull.url,
            )
        )
        log.info("%s: pull request #%d is known again", environment, pull.number)

    def _keep(self, kept: Kept) -> Kept:
        return self._core.store.keep_pull(kept)

    def _made_by_us(self, branch: str, at: str) -> bool:
        """Whether what stands there was made by a daemon of ours and touched by nobody; blocking."""
        mirror, email = self._core.repository.mirror, self._core.settings.identity.email
        if not mirror.has(at) and mirror.branch(branch) != at:
            return False
        return mirror.described(at).is_made_by(email, (rules.TRAILER, branch))


def proposed(core: Core, environment: str, service: str) -> list[dict[str, str]]:
    """The pull requests of ours that are open and ask for another version of a service, as `--json` prints them."""
    return [
        {"version": ask.partition(" ")[2], "by": kept.kind, "url": kept.url}
        for kept in core.store.pulls_of(environment)
        for ask in kept.asks
        if kept.number and ask.startswith(f"{environment}/{service} ")
    ]


def _alike(core: Core, kept: Kept, files: Files, tip: str) -> bool:
    """Whether the branch, as we last made it, says this already. Edits are of whole files: where one has changed under
    it, be it to what the edit makes the same of, it does not; blocking."""
    mirror: Mirror = core.repository.mirror
    if not kept.commit or set(kept.paths) != set(files) or not mirror.has(kept.commit):
        return False
    [base] = mirror.described(kept.commit).parents
    return all(
        mirror.blob_at(kept.commit, path) == data and mirror.blob_at(base, path) == mirror.blob_at(tip, path)
        for path, data in files.items()
    )
