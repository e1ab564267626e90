"""Promotions as pull requests: one for each pin that is due, or for several pins that need one another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from reconciler.engine.core import Core
from reconciler.engine.pull_requests.keeper import Keeper
from reconciler.engine.pull_requests.moves import Files, Wish
from reconciler.engine.pull_requests.report import denied
from reconciler.forge import Denied, Unavailable
from reconciler.model.environment import Promotion
from reconciler.model.errors import UgsError
from reconciler.model.notice import Notice
from reconciler.model.promoted import asked, wanted
from reconciler.model.promotion import Verdict, moot
from reconciler.model.pulls import Kept, Limits, room

log = logging.getLogger("ugs")
LOOK_S = 300.0
DENIED_RETRY_S = 600.0
TROUBLE = "promotions"

Edited = Callable[[str], Files]


class Due(Struct, frozen=True):
    """The pull request that one environment should have for these moves. `edit`: what it changes at a tip."""

    environment: str
    rule: Promotion
    moves: tuple[Verdict, ...]
    edit: Edited


class PromotionPulls:
    """One task's. Used from the event loop's thread; Git and the forge are asked in others."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._keeper = Keeper(core, core.forge, "promote", self._tell) if core.forge else None
        self._last: tuple[object, float] = None, 0.0
        """What was asked for when the forge was last looked at, and when it is to be asked again."""

    def refused(self, environment: str) -> dict[tuple[str, str], str]:
        """By service and version: what people closed."""
        # By the environment's name now, whatever they were opened for.
        rows = self._core.store.pulls("promote")
        closed = (one for one in rows if one.state == "refused" and one.environment == environment)
        keys = (asked(ask)[1:] for one in closed for ask in one.asks)
        return {key: f"a person has closed the pull request that asked for {key[1]}" for key in keys}

    def open(self, environment: str) -> dict[tuple[str, str], Kept]:
        """By service and version: the pull request that asks for it."""
        rows = [one for one in self._core.store.pulls_of(environment) if one.kind == "promote"]
        return {asked(ask)[1:]: one for one in rows for ask in one.asks}

    def said(self, row: Kept | None) -> str:
        """Of a move that is due: for what it waits. `row`: its pull request."""
        core = self._core
        if row is None or not row.number:
            limits = core.settings.forge.pulls if core.settings.forge else Limits()
            full = room(core.store.recent_pulls("promote"), limits, now=core.clock.now())
            return f"its pull request is not open yet: {full or 'the forge has not taken it'}"
        return f"{row.name} waits to be merged: {row.url}"

    async def round(
        self, due: Sequence[Due], found: Mapping[str, Mapping[str, Verdict] | None], tip: str | None
    ) -> bool:
        """Bring what is open to what is due; whether anything has ended by that. `found`: by environment that asks for
        pull requests and by service, what becomes of its pins at `tip`; None where it could not be looked at. Trouble
        is logged, and comes to its end later."""
        core, keeper = self._core, self._keeper
        names = sorted({one.environment for one in due})
        nudged = core.wake.promotion_pulls.is_set()
        core.wake.promotion_pulls.clear()
        core.troubles[TROUBLE] = ""
        if keeper is None:
            if names:
                core.troubles[TROUBLE] = f"{', '.join(names)}: versions are due, and ugs.yaml names no forge"
            return False
        if not due and not any(one.state == "open" for one in core.store.pulls("promote")):
            return False
        wishes = [Wish(wanted(one.environment, one.rule, one.moves), one.edit) for one in due]
        now_s, ends = core.clock.monotonic(), self._ends(found, wishes)
        wish = tip, tuple(one.wanted.digest for one in wishes), tuple(ends.items())
        if self._last[0] == wish and now_s < self._last[1] and not nudged:
            return False
        self._last = wish, now_s + LOOK_S
        try:
            return await self._look(keeper, wishes, ends, tip)
        except Denied as error:
            denied(core, error)
            self._last = wish, now_s + DENIED_RETRY_S
        except Unavailable as error:
            log.warning("%s, and promotions are proposed later", error)
            self._last = wish, now_s + (error.retry_s or LOOK_S)
        except UgsError as error:
            log.warning("promotions are not proposed now: %s", error)
        return False

    async def _look(
        self, keeper: Keeper, wishes: Sequence[Wish], ends: Mapping[str, str], tip: str | None
    ) -> bool:
        view = await keeper.look()
        if view.tip != tip:
            return False  # all is decided anew once that is followed
        asking = {wish.wanted.branch for wish in wishes}
        # What may come again stays open: only its time has not come, or something newer soaks.
        unknown = [branch for branch, why in ends.items() if not why and branch not in asking]
        return await keeper.round(
            view, wishes, why=lambda kept: ends.get(kept.branch) or "nobody asks for it", unknown=unknown
        )

    def _ends(
        self, found: Mapping[str, Mapping[str, Verdict] | None], wishes: Sequence[Wish]
    ) -> dict[str, str]:
        """By branch of what is open: why it is moot; empty where it is not."""
        wanted = [one.wanted for one in wishes]
        branches = {(one.environment, asked(ask)[1]): one.branch for one in wanted for ask in one.asks}
        ends = {}
        for one in self._core.store.pulls("promote"):
            if one.state != "open":
                continue
            if one.environment not in found:
                ends[one.branch] = f"policy.promote of {one.environment} asks for no pull requests"
                continue
            verdicts = found[one.environment]
            if verdicts is None:
                ends[one.branch] = ""
                continue
            asks = [asked(ask) for ask in one.asks]
            whys = [moot(verdicts.get(service), version) for _, service, version in asks]
            for _, service, _ in asks:
                branch = branches.get((one.environment, service), one.branch)
                whys += [f"{service} is asked for on {branch} by now"] if branch != one.branch else []
            ends[one.branch] = "; ".join(filter(None, whys))
        return ends

    def _tell(self, one: Kept) -> None:
        core, name = self._core, one.environment
        text = f"{name}: {', '.join(ask.partition('/')[2] for ask in one.asks)} has soaked and is proposed: {one.url}"
        core.store.tell(
            Notice(name, "", sentence=text, severity="info", at=core.clock.now(), title=f"{name}: promotion")
        )
        core.wake.notices.set()
