"""Moving pins to what has soaked in the environment before: looked at now and then, committed once, told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from reconciler.engine.core import Core
from reconciler.engine.fleet import Fleet
from reconciler.engine.promotion_commits import Outcome, Pushed, commit_of, fate, moved_at
from reconciler.engine.pull_requests.moves import Files
from reconciler.engine.pull_requests.promotion_pulls import Due, PromotionPulls
from reconciler.engine.repository import Rewritten
from reconciler.engine.revert import JITTER_S, PUSH_ATTEMPTS_MAX, deliver
from reconciler.engine.soak import here
from reconciler.engine.trains import recorded, train_of
from reconciler.git import PushRefused, PushRejected
from reconciler.model import promoted as saying
from reconciler.model import promotion as deciding
from reconciler.model.codec import builtins, decode, encode
from reconciler.model.desired import Desired
from reconciler.model.environment import Promotion
from reconciler.model.errors import HostError, TransientError, UgsError
from reconciler.model.notice import Notice, Severity
from reconciler.model.promotion import Train, Verdict
from reconciler.model.upgrade import Upgrade
from reconciler.store import PROMOTION, PROMOTION_REFUSED

log = logging.getLogger("ugs")
LOOK_S = 60.0
LOOK_MIN_S = 1.0


class Promoter:
    """For all environments. Used from the event loop's thread; Git and the forge are asked in others."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet, self._core = fleet, fleet.core
        self._refused: dict[tuple[str, str, str], tuple[str, str]] = {}
        """By environment, service and version: why it is not pinned there, and on which tip (empty: for good)."""
        self._protected: set[str] = set()
        """Environments whose commits the branch did not take since the daemon was started: people are asked."""
        self._sound: set[tuple[str, str, tuple[Verdict, ...]]] = set()
        """Tip, environment and moves that were looked at and may be pinned."""
        self._pulls = PromotionPulls(self._core)
        self._due: list[Due] = []
        self._core.heard.append(self._hear)

    def _hear(self, _before: Upgrade, after: Upgrade) -> None:
        if after.final:
            self._core.wake.promotions.set()

    async def keep(self) -> None:
        """Look whenever there is news, when something is due, and every minute; for ever."""
        core = self._core
        while True:
            core.wake.promotions.clear()
            await self.round()
            now = core.clock.now()
            ends = [one.until for found in core.promotions.values() for one in found.values() if one.until]
            left_s = min(((end - now).total_seconds() for end in ends if end > now), default=LOOK_S)
            await core.clock.wait(core.wake.promotions, min(LOOK_S, max(LOOK_MIN_S, left_s)))

    async def round(self) -> bool:
        """Move what is due, environment by environment, on the tip as it then stands. Whether anything was moved.

        Trouble is logged, and comes to its end in a later round.
        """
        core, moved = self._core, False
        for again in range(1, PUSH_ATTEMPTS_MAX + 1):
            self._due = []
            try:
                await self._settle()
                outcomes = [await self._look(name) for name in sorted(core.desired)]
            except (HostError, TransientError, Rewritten) as error:  # the last of which is told by the fleet
                log.warning("promotions: %s", error)
                return moved
            for name in core.promotions.keys() - core.desired.keys():
                del core.promotions[name]
            moved |= any(one.commit for one in outcomes)
            if not any(one.raced or one.commit for one in outcomes):
                found = {name: core.promotions.get(name) for name in self._asking()}
                if not await self._pulls.round(self._due, found, self._fleet.tip):
                    self._proposed()
                    return moved
                continue  # what people have closed is known now
            if any(one.raced for one in outcomes):
                # Spread, so that two who push at once do not meet again.
                await core.clock.sleep(core.random.uniform(0, JITTER_S * again))
            try:
                await self._fleet.refresh()
            except UgsError:  # told by the fleet
                return moved
        return moved

    def _by_pull(self, name: str) -> bool:
        """Whether people are asked to merge what is due there."""
        desired = self._core.desired.get(name)
        return desired is not None and _asks(desired, protected=name in self._protected)

    def _asking(self) -> list[str]:
        """Where pull requests are open rightly: the policy wants them, or the branch has taken no push of ours, be it
        before the daemon was started, and none since."""
        refused = {mark.removeprefix(PROMOTION_REFUSED) for mark in self._core.store.marks(PROMOTION_REFUSED)}
        return [
            name
            for name, one in self._core.desired.items()
            if one.gone is None and _asks(one, protected=name in refused)
        ]

    async def _look(self, name: str) -> Outcome:
        """One environment: what is found about its pins; and where some are due, a commit, or a wish for a pull
        request."""
        core, desired = self._core, self._core.desired.get(name)
        if desired is None:
            return Outcome()
        rule = desired.environment.policy.promote
        ours = rule and rule.by != "nobody" and desired.gone is None and core.leases.opening(name).open
        if rule is None or not ours or not here(core, name):
            core.promotions.pop(name, None)
            return Outcome()
        while True:
            train = await train_of(self._fleet, desired, self._left_out(desired))
            if isinstance(train, str):
                pins = desired.environment.pins.values()
                core.promotions[name] = {
                    pin.service: Verdict(pin.service, pin.version, why=train, unknown=True) for pin in pins
                }
                return Outcome()
            core.promotions[name] = deciding.decide(train, now=core.clock.now())
            moves = deciding.due(core.promotions[name])
            if not moves or core.desired.get(name) is not desired:
                return Outcome(raced=bool(moves))
            try:
                outcome = await self._carry_out(desired, rule, train, moves)
            except PushRejected:
                return Outcome(raced=True)
            except PushRefused as refusal:
                self._turned_away(name, moves, refusal)
                if core.forge is None:
                    return Outcome()
                continue
            if not outcome.refused:
                return outcome
            self._refused |= {(name, *key): (why, outcome.tip) for key, why in outcome.refused.items()}

    def _left_out(self, desired: Desired) -> dict[tuple[str, str], str]:
        """By service and version: why it is not pinned there by itself."""
        name = desired.environment.name
        known = {
            key[1:]: why
            for key, (why, tip) in self._refused.items()
            if key[0] == name and tip in ("", desired.revision)
        }
        return known | self._pulls.refused(name)

    async def _carry_out(
        self, desired: Desired, rule: Promotion, train: Train, moves: tuple[Verdict, ...]
    ) -> Outcome:
        core, name = self._core, desired.environment.name
        by_pull = self._by_pull(name)
        key, made = (desired.revision, name, moves), ""
        if not (by_pull and key in self._sound):
            found = await core.git(commit_of, core, desired, rule, moves)
            if isinstance(found, Outcome):
                return found
            made = found
        if by_pull:
            self._sound = {one for one in self._sound if one[0] == desired.revision} | {key}
            self._due += [
                Due(name, rule, party, partial(_files, core, desired, party))
                for party in deciding.groups(train, moves)
            ]
            return Outcome()
        async with core.git_lock:
            # Looking into Git, and waiting for it, may have taken long.
            if not self._still_due(desired, train, moves):
                return Outcome(raced=True)
            pushed = Pushed(made, moves, rule.from_)
            core.store.mark(mark := f"{PROMOTION}{name} {made}", encode(pushed).decode())
            try:
                await asyncio.to_thread(deliver, core, made, "promote")
            except (PushRejected, PushRefused):
                core.store.mark(mark, None)
                raise
        self._told(name, pushed, mark)
        return Outcome(made)

    def _still_due(self, desired: Desired, train: Train, moves: tuple[Verdict, ...]) -> bool:
        """Whether nothing was said or recorded since it was decided that keeps any of it from being pinned."""
        core, name = self._core, desired.environment.name
        if core.desired.get(name) is not desired or not core.leases.opening(name).open:
            return False
        found = deciding.due(deciding.decide(recorded(self._fleet, train), now=core.clock.now()))
        return {one.key for one in moves} <= {one.key for one in found}

    def _proposed(self) -> None:
        """What is due and waits for people: `ugs explain` names the pull request, or says why there is none yet."""
        core = self._core
        for one in self._due:
            rows = self._pulls.open(one.environment)
            said = {
                move.service: replace(move, why=self._pulls.said(rows.get(move.key))) for move in one.moves
            }
            core.promotions[one.environment] = {**core.promotions[one.environment], **said}

    async def _settle(self) -> None:
        """What was being pushed when a daemon ended, or no answer came: told once it has arrived, forgotten once it
        cannot; decided anew meanwhile. Also where nothing is promoted any more, or by another daemon: nobody else
        tells of it."""
        core = self._core
        for mark, text in core.store.marks(PROMOTION).items():
            name = mark.removeprefix(PROMOTION).partition(" ")[0]
            if name not in core.desired:
                continue
            became = "lost"
            with contextlib.suppress(msgspec.MsgspecError):
                pushed = decode(text, Pushed)
                if (became := await core.git(fate, core, pushed.commit)) == "arrived":
                    self._told(name, pushed, mark)
            if became == "lost":
                core.store.mark(mark, None)

    def _told(self, name: str, pushed: Pushed, mark: str) -> None:
        core, moves, source = self._core, pushed.moves, pushed.source or "the environment before"
        named = ", ".join(f"{one.service} {one.pinned} → {one.to}" for one in moves)
        why = "; ".join(dict.fromkeys(saying.reason(source, one) for one in moves))
        text = f"{name}: {named} promoted by {pushed.commit[:12]}: {why}"
        with core.store.transaction():
            core.store.mark(mark, None)
            core.store.mark(f"{PROMOTION_REFUSED}{name}", None)
            for one in moves:
                detail = f"{one.pinned} → {one.to} by {pushed.commit}: {saying.reason(source, one)}"
                core.store.tally(name, "promoted", "promote")
                core.store.audit("promoted", environment=name, service=one.service, detail=detail)
            self._tell(name, moves, text, "info")
        log.info("%s", text)
        core.wake.notices.set()

    def _turned_away(self, name: str, moves: tuple[Verdict, ...], refusal: PushRefused) -> None:
        """A branch that takes no push of ours: from now on people are asked to merge; where nobody can be asked, one
        is called. Told once for the same moves."""
        core, mark = self._core, f"{PROMOTION_REFUSED}{name}"
        what = ", ".join(f"{one.service} {one.to}" for one in moves)
        if core.forge:
            self._protected.add(name)
        if core.store.marks(mark).get(mark) == what:
            return
        text = f"{name}: {what} could not be promoted by a commit: {refusal.message}"
        text += "; a pull request is opened instead" if core.forge else f"; {refusal.remedy}"
        with core.store.transaction():
            core.store.mark(mark, what)
            core.store.tally(name, "promotion-refused", "promote")
            core.store.audit("promotion-refused", environment=name, detail=text)
            self._tell(name, moves, text, "warning" if core.forge else "person")
        log.warning("%s", text)
        core.wake.notices.set()

    def _tell(self, name: str, moves: tuple[Verdict, ...], text: str, severity: Severity) -> None:
        service = moves[0].service if len(moves) == 1 else ""
        at = self._core.clock.now()
        self._core.store.tell(
            Notice(name, service, sentence=text, severity=severity, at=at, title=f"{name}: promotion")
        )


def _asks(desired: Desired, *, protected: bool) -> bool:
    """Whether people are asked to merge: by the policy, or as UGS may not push itself."""
    rule = desired.environment.policy.promote
    return rule is not None and (rule.by == "pull-request" or (rule.by == "commit" and protected))


def _files(core: Core, desired: Desired, moves: tuple[Verdict, ...], tip: str) -> Files:
    """What a pull request for these moves changes at a tip; blocking."""
    return moved_at(core, desired, moves, tip).files


def promotion_of(fleet: Fleet, environment: str, service: str) -> dict[str, Any] | None:
    """What comes to this pin from the environment before, by UGS; None where nothing does; as
    `ugs explain --json` prints it."""
    found = fleet.core.promotions.get(environment, {}).get(service)
    desired = fleet.core.desired.get(environment)
    rule = desired.environment.policy.promote if desired else None
    if found is None or rule is None:
        return None
    return {
        "from": rule.from_,
        "by": rule.by,
        "version": found.to.text if found.to else None,
        "since": builtins(found.since),
        "why": found.why or None,
        "until": builtins(found.until),
    }
