"""One pull request of ours, brought a move onward: branch, text, end. Every move may be the last before a kill."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from reconciler.engine.core import Core
from reconciler.forge import Draft, Forge, Invalid, Pull
from reconciler.git import PushRefused, PushRejected
from reconciler.model import pulls as rules
from reconciler.model.markdown import code
from reconciler.model.pulls import Deed, Kept, There, Wanted

log = logging.getLogger("ugs")

Files = Mapping[str, bytes | None]
Edit = Callable[[str], Files]
"""(tip) -> the files that change there; none: nothing is left to be changed. Blocking."""


@dataclass(frozen=True)
class Wish:
    """A pull request that there should be, and what it changes."""

    wanted: Wanted
    edit: Edit


class View(Struct, frozen=True):
    """What is there now: the tracked branch's tip, every branch of the remote, every open pull request into it."""

    tip: str
    branches: Mapping[str, str]
    pulls: tuple[Pull, ...]


class Found(Struct, frozen=True):
    """One branch as it was found. `at`: where it stands; None where it does not. `files`: what the edit gives."""

    there: There
    at: str | None
    files: Files
    pull: Pull | None = None


class Hands:
    """What is done to one pull request. The row is written before its effect; every method may raise as the forge and
    Git do, and is done again then."""

    def __init__(self, core: Core, forge: Forge, opened: Callable[[Kept], None]) -> None:
        """`opened`: told of each that is open from now on, in the transaction that says so."""
        self._core = core
        self._forge = forge
        self._opened = opened

    async def opened(self, tip: str, wanted: Wanted, kept: Kept | None, found: Found) -> None:
        """Branch first, then the pull request from it; what is there of them already is not made again."""
        core, known = self._core, kept
        if known is None:
            now = core.clock.now()
            known = Kept(wanted.kind, wanted.branch, wanted.environment, wanted.asks, now)
        if not found.there.alike:
            known = await self.pushed(tip, wanted, known, found)
            if known is None:
                return
        if self._is_lost(wanted.environment):
            return
        known = self._labelling(wanted, known, found)
        base = core.settings.repository.branch
        draft = Draft(wanted.branch, base, wanted.title, wanted.text, wanted.labels)
        pull = await open_once(core, self._forge, draft)
        opened = replace(
            known, number=pull.number, url=pull.url, asks=wanted.asks, digest=wanted.digest, state="open"
        )
        self._told(opened, f"{wanted.title}: {pull.url}", "opened")

    async def pushed(self, tip: str, wanted: Wanted, kept: Kept, found: Found) -> Kept | None:
        """The branch made anew on the tip; None where somebody was faster, the remote will not have it, or another
        daemon has the environment by now."""
        core = self._core
        mirror, at = core.repository.mirror, core.clock.now()
        commit = await core.git(mirror.commit, tip, found.files, wanted.commit_message, at=at)
        # Before the push: it is known for ours, should we die before we hear of it.
        made = core.store.keep_pull(
            replace(
                kept,
                commit=commit,
                paths=tuple(sorted(found.files)),
                asks=wanted.asks,
                labels=_labels(wanted, kept, found),
            )
        )
        core.failpoint("pull:branch")
        async with core.git_lock:  # to wait for it may take long
            why = await self._push(commit, wanted, found.at)
        if why:
            log.warning("%s: %s", wanted.branch, why)
            core.store.keep_pull(replace(kept, id=made.id))
            return None
        core.failpoint("pull:pushed")
        return made

    async def _push(self, commit: str, wanted: Wanted, at: str | None) -> str:
        """Why the branch was not pushed; empty where it was."""
        if self._is_lost(wanted.environment):
            return f"{wanted.environment} is another daemon's by now"
        try:
            mirror = self._core.repository.mirror
            await asyncio.to_thread(mirror.push_branch, commit, wanted.branch, expected=at)
        except (PushRejected, PushRefused) as error:
            return str(error)
        return ""

    async def said(self, wanted: Wanted, kept: Kept, found: Found) -> None:
        """Title, text and labels as they should be; nothing where they are so."""
        if rules.is_said(wanted, kept):
            return
        kept = self._labelling(wanted, kept, found)
        outlived = rules.labels_outlived(wanted, kept)
        await asyncio.to_thread(self._forge.edit_pull, kept.number, wanted.title, wanted.text)
        await asyncio.to_thread(self._forge.label_pull, kept.number, wanted.labels)
        if outlived:
            await asyncio.to_thread(self._forge.unlabel_pull, kept.number, outlived)
        left = tuple(one for one in kept.labels if one not in outlived)
        edited = replace(kept, asks=wanted.asks, digest=wanted.digest, labels=left)
        self._told(edited, f"{wanted.title}: {kept.url}", "edited")

    async def closed(self, kept: Kept, found: Found, deed: Deed, why: str) -> None:
        """Close it with a sentence, and take our branch away."""
        core, forge = self._core, self._forge
        kept = core.store.keep_pull(replace(kept, closing=deed.state))
        if found.there.pull == "open":
            text = f"{rules.CLOSED_MARK}\nClosed by UGS: {code(why or 'its branch was deleted')}.\n"
            said = await asyncio.to_thread(forge.comments, kept.number)
            if self._is_lost(kept.environment):
                return
            if not any(rules.CLOSED_MARK in comment.body for comment in said):
                await asyncio.to_thread(forge.comment, kept.number, text)
            core.failpoint("pull:closing")
            if self._is_lost(kept.environment):
                return
            await asyncio.to_thread(forge.close_pull, kept.number)
        if found.there.branch == "ours" and found.at:
            try:
                await core.git(core.repository.mirror.drop_branch, kept.branch, expected=found.at)
            except (PushRejected, PushRefused) as error:  # it is no harm, and may be somebody's by now
                log.info("%s: %s", kept.branch, error)
        self.ended(replace(kept, state=deed.state), why)

    def ended(self, kept: Kept, why: str = "") -> None:
        """It is as it says, for ever."""
        what = {
            "merged": "is merged",
            "refused": "was closed, and is not opened again for that",
            "moot": "is moot",
        }
        said = f"{what.get(kept.state, kept.state)}: {why}" if why else what.get(kept.state, kept.state)
        if kept.state != "open":
            self._told(kept, f"{', '.join(kept.asks)}: {kept.name} {said}", kept.state)

    def _is_lost(self, environment: str) -> bool:
        """Whether it went to another daemon since it was looked at: Git and the forge may have taken their time."""
        core = self._core
        return environment in core.desired and not core.leases.opening(environment).open

    def _labelling(self, wanted: Wanted, kept: Kept, found: Found) -> Kept:
        """Its row, which says before they are put there which labels are ours."""
        labels = _labels(wanted, kept, found)
        return kept if labels == kept.labels else self._core.store.keep_pull(replace(kept, labels=labels))

    def found(self, kept: Kept, pull: Pull) -> Kept:
        """It was opened before we heard of it."""
        known = replace(kept, number=pull.number, url=pull.url)
        self._told(known, f"{pull.title}: {pull.url}", "opened")
        return known

    def _told(self, kept: Kept, text: str, event: Literal["edited"] | rules.Event) -> None:
        core = self._core
        with core.store.transaction():
            core.store.keep_pull(kept)
            if event == "opened":
                self._opened(kept)
            if event != "edited":
                core.store.tally(kept.environment, f"pull-{event}", kept.kind)
            core.store.audit(f"{kept.kind}-{event}", environment=kept.environment, detail=text)
        log.info("%s: %s", kept.environment, text)


def _labels(wanted: Wanted, kept: Kept, found: Found) -> tuple[str, ...]:
    return rules.labels_put(wanted, kept, found.pull.labels if found.pull else ())


async def open_once(core: Core, forge: Forge, draft: Draft) -> Pull:
    """Open it; where the forge has one from that branch already, that one. Raises as the forge does."""
    core.failpoint("pull:begun")
    try:
        pull = await asyncio.to_thread(forge.open_pull, draft)
    except Invalid as refusal:
        there = await asyncio.to_thread(forge.pull_from, draft.branch)  # another daemon may have been faster
        if there is None or there.state != "open":
            raise refusal from None
        pull = there
    core.failpoint("pull:done")
    return pull
