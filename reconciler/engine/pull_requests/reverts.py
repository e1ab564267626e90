"""Following the reverts that people are asked to merge: opened at once, kept up with the tip, told how they ended."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from reconciler.engine.core import Core
from reconciler.engine.pins import edit, environment_files, left_by, message
from reconciler.engine.pull_requests.moves import open_once
from reconciler.engine.pull_requests.report import denied
from reconciler.engine.revert import HISTORY_MAX, as_it_stands
from reconciler.forge import Denied, Draft, Pull
from reconciler.git import Mirror, PushRejected
from reconciler.model import proposal as saying
from reconciler.model import sentence
from reconciler.model.errors import HostError, TransientError, UgsError
from reconciler.model.notice import Notice, Severity
from reconciler.model.proposal import LABELS, Proposal
from reconciler.model.report import reports_of
from reconciler.model.upgrade import OPERATION_TRAILER, Phase, Upgrade

log = logging.getLogger("ugs")
LOOK_S = 60.0


class Standing(Struct, frozen=True):
    """How a proposal stands in Git. `known`: with what we last made of its branch; `outdated`: what that was made on
    has changed, and nobody else has touched it; `gone`: somebody deleted the branch."""

    state: Literal["open", "merged", "moot"]
    tip: str
    known: Proposal
    commit: str = ""
    """Of the tracked branch, where it is merged."""
    outdated: bool = False
    gone: bool = False


class Follower:
    """One task's. Used from the event loop's thread; Git and the forge are asked in others."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def keep(self) -> None:
        """Look whenever the branch moved or there is a new one, and every minute; for ever."""
        core = self._core
        while True:
            core.wake.proposals.clear()
            await self.round()
            await core.clock.wait(core.wake.proposals, LOOK_S)

    async def round(self) -> None:
        """One look at each that is open, the oldest first. Trouble with one is logged, and the others are looked at,
        but for those of its service: no two are to be open for what failed twice."""
        troubled = set[tuple[str, str]]()
        for one in self._core.store.proposals():
            key = one.upgrade.environment, one.upgrade.service
            if key in troubled or not _ours(self._core, one):
                continue
            try:
                await self._follow(one)
            except Denied as error:
                denied(self._core, error)
                return
            except (HostError, TransientError) as error:
                troubled.add(key)
                log.warning("%s: %s", one.name, error)
            except UgsError as error:
                log.error("%s: %s", one.name, error)

    async def _follow(self, known: Proposal) -> None:
        core = self._core
        standing = await core.git(_standing, core, known)
        one, commit = standing.known, standing.commit
        if one != known:
            core.store.propose(one)
        pull = await self._pull(one) if core.forge else None
        if not _ours(core, one):
            return
        if pull and pull.state == "merged" and not commit:
            commit = await core.git(_merged_by, core, one, pull.number)
        if commit:
            self._merged(one, commit)
        elif standing.state == "moot" or self._released(one):
            await self._close(pull)
            self._ended(
                replace(one, state="moot"), "is moot: the pin was moved, or may be tried again", "info"
            )
        elif pull.state != "open" if pull else standing.gone:
            lost = f"is merged, and {core.settings.repository.branch} does not have it"
            said = {"merged": lost, "closed": "was closed unmerged"}
            self._refused(one, said[pull.state] if pull else "was deleted unmerged")
        elif standing.gone:
            await self._close(pull)  # some forges leave it open, though nothing can be merged any more
            self._refused(one, "is closed: its branch was deleted unmerged")
        else:
            if standing.outdated:
                one = await core.git(_made_anew, core, one)
                core.store.propose(one)
            if pull is None:
                await self._open(one)
            elif not one.asked:
                await self._ask_to_merge(one, pull)

    def _released(self, one: Proposal) -> bool:
        """Whether a person let the failed version be tried again: then its pin is to stay."""
        core, upgrade = self._core, one.upgrade
        if core.hosted(upgrade.environment):
            return False
        return not any(row.operation == upgrade.named for row in core.store.quarantined(upgrade.environment))

    async def _pull(self, one: Proposal) -> Pull | None:
        forge = self._core.forge
        return await asyncio.to_thread(forge.pull_from, one.branch) if forge else None

    async def _close(self, pull: Pull | None) -> None:
        if pull and pull.state == "open" and self._core.forge:
            await asyncio.to_thread(self._core.forge.close_pull, pull.number)

    async def _open(self, one: Proposal) -> None:
        core, upgrade = self._core, one.upgrade
        if core.forge is None or not _ours(core, one):
            return
        draft = Draft(
            one.branch,
            core.settings.repository.branch,
            saying.title(upgrade),
            saying.body(upgrade),
            LABELS,
        )
        pull = await open_once(core, core.forge, draft)
        opened = replace(one, number=pull.number, url=pull.url)
        self._told(opened, f"is proposed by {pull.url}", "warning", event="revert-proposed")
        await self._ask_to_merge(opened, pull)

    async def _ask_to_merge(self, one: Proposal, pull: Pull) -> None:
        core = self._core
        if core.forge is None or pull.state != "open" or not _ours(core, one):
            return
        if not one.number:
            core.store.tally(one.upgrade.environment, "pull-opened", "revert")
        await asyncio.to_thread(core.forge.merge_when_ready, pull)
        core.store.propose(replace(one, number=pull.number, url=pull.url, asked=True))

    def _merged(self, one: Proposal, commit: str) -> None:
        """The pin is back: the upgrade that failed learns its revert."""
        core, upgrade = self._core, one.upgrade
        row = core.store.upgrade(upgrade.operation)
        learns = row is not None and row.final and row.revert_commit is None
        with core.store.transaction():
            if any(
                kept.operation == upgrade.operation for kept in core.store.quarantined(upgrade.environment)
            ):
                core.store.reverted(upgrade.operation, commit)
            if row and learns:
                after = replace(row, revert_commit=commit)
                core.store.record(
                    after,
                    event="revert-merged",
                    detail=commit,
                    note=core.note_of(after),
                    reports=reports_of(row, after) if core.forge else (),
                )
            what = f"is reverted by {commit[:12]}: {one.name} is merged"
            self._told(replace(one, state="merged"), what, "info", audited=learns)
        core.wake.notes.set()
        core.wake.forge.set()

    def _refused(self, one: Proposal, what: str) -> None:
        left = "the failed version is still pinned, and in quarantine"
        self._ended(replace(one, state="refused"), f"{what}: {left}", "person")

    def _ended(self, one: Proposal, what: str, severity: Severity) -> None:
        self._told(one, f"is not reverted: {one.name} {what}", severity)

    def _told(
        self, one: Proposal, what: str, severity: Severity, *, event: str = "", audited: bool = False
    ) -> None:
        core, upgrade = self._core, one.upgrade
        text = f"{upgrade.environment}: the pin of {upgrade.service} {what}"
        with core.store.transaction():
            core.store.propose(one)
            if core.forge:
                became = "opened" if one.state == "open" else one.state
                core.store.tally(upgrade.environment, f"pull-{became}", "revert")
            if not audited:
                core.store.audit(
                    event or f"revert-{one.state}",
                    environment=upgrade.environment,
                    service=upgrade.service,
                    operation=upgrade.operation,
                    detail=text,
                )
            core.store.tell(
                Notice(
                    upgrade.environment,
                    upgrade.service,
                    sentence=text,
                    severity=severity,
                    at=core.clock.now(),
                    operation=upgrade.operation,
                    phase=(Phase.REVERTED if one.state == "merged" else Phase.RESTORED).value,
                    title=sentence.title(upgrade),
                )
            )
        log.info("%s", text)
        core.wake.notices.set()


def _ours(core: Core, one: Proposal) -> bool:
    """Whether its environment is in our hands at this moment: Git and the forge may take long to answer."""
    return core.leases.opening(one.upgrade.environment).open


def _standing(core: Core, known: Proposal) -> Standing:
    """How it stands, blocking. The branch is asked for first: what is merged and deleted after that is open still."""
    mirror, upgrade = core.repository.mirror, known.upgrade
    there = mirror.branch(known.branch)
    tip = core.repository.fetch().tip
    if done := mirror.find_trailer(OPERATION_TRAILER, upgrade.operation, until=tip, limit=HISTORY_MAX):
        return Standing("merged", tip, known, done)
    known = as_it_stands(core, known, there)
    if not edit(mirror, tip, upgrade).files:
        return Standing("moot", tip, known)
    # A person's own commits on it are that person's; and where nothing of it has changed, approvals stay.
    outdated = there == known.commit and not _alike(mirror, upgrade, known.base, tip)
    return Standing("open", tip, known, outdated=outdated, gone=there is None)


def _merged_by(core: Core, one: Proposal, number: int) -> str:
    """The commit by which the tracked branch has what the forge says is merged, blocking; empty where it has not."""
    mirror, upgrade = core.repository.mirror, one.upgrade
    tip = core.repository.fetch().tip
    if done := mirror.find_trailer(OPERATION_TRAILER, upgrade.operation, until=tip, limit=HISTORY_MAX):
        return done
    # Who merges may drop the trailers, and people may put it back by hand. A base that is not there was forced off.
    since = mirror.log(one.base, tip, paths=("environments",)) if mirror.is_ancestor(one.base, tip) else []
    services = {upgrade.service, *(each.service for each in upgrade.companions)}
    back = [made for made in since if made.parents and services - left_by(mirror, made.sha, upgrade).keys()]
    named = [made for made in back if re.search(rf"[#!]{number}\b", made.subject)]
    if back:
        return (named or back)[0].sha
    return "" if edit(mirror, tip, upgrade).files else tip


def _made_anew(core: Core, known: Proposal) -> Proposal:
    """With its branch made anew on the tip, blocking; as it was, where somebody was faster."""
    standing, mirror, upgrade = _standing(core, known), core.repository.mirror, known.upgrade
    if not standing.outdated:
        return standing.known
    tip, edits = standing.tip, edit(mirror, standing.tip, upgrade)
    commit = mirror.commit(tip, edits.files, message(upgrade, edits.left), at=core.clock.now())
    if not _ours(core, known):
        return standing.known
    core.failpoint("propose:begun")
    try:
        mirror.push_branch(commit, known.branch, expected=known.commit)
    except PushRejected:
        return known
    core.failpoint("propose:done")
    return replace(known, base=tip, commit=commit)


def _alike(mirror: Mirror, upgrade: Upgrade, base: str, tip: str) -> bool:
    """Whether the environment is the same at both."""
    name = upgrade.environment
    return base == tip or environment_files(mirror, base, name) == environment_files(mirror, tip, name)
