"""Moving pins to what has soaked in the environment before: looked at now and then, committed once, told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from reconciler.engine.fleet import Fleet
from reconciler.engine.pins import environment_files, find_pin
from reconciler.engine.revert import HISTORY_MAX, JITTER_S, PUSH_ATTEMPTS_MAX
from reconciler.engine.soak import here, places_of, stage
from reconciler.git import PushRefused, PushRejected
from reconciler.model import promotion as deciding
from reconciler.model import splice
from reconciler.model.codec import decode, encode
from reconciler.model.desired import Desired
from reconciler.model.environment import Environment, Promotion
from reconciler.model.errors import HostError, InputError, TransientError, UgsError
from reconciler.model.introduced import introduced
from reconciler.model.notice import Notice, Severity
from reconciler.model.promotion import PROMOTION_TRAILER, Stage, Train, Verdict, promotion_id
from reconciler.model.train import upstream
from reconciler.model.upgrade import Upgrade

log = logging.getLogger("ugs")
LOOK_S = 60.0
LOOK_MIN_S = 1.0
PUSHED = "promotion: "
"""By environment: the commit that is being pushed. What stands here after a crash may have arrived."""
REFUSED = "promotion refused: "
"""By environment: the moves whose push was refused, so that a person is called once."""


class Pushed(Struct, frozen=True):
    """A commit that promotes, and what it moves."""

    commit: str
    moves: tuple[Verdict, ...]


class Outcome(Struct, frozen=True):
    """`raced`: the branch has moved, and all is to be looked at again.

    `refused`: by service and version, what must not be pinned and why; on this tip (`tip`), else (empty) for good.
    """

    commit: str = ""
    raced: bool = False
    refused: Mapping[tuple[str, str], str] = {}
    tip: str = ""


class Promoter:
    """For all environments. Used from the event loop's thread; Git is asked in others."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet, self._core = fleet, fleet.core
        self._refused: dict[tuple[str, str, str], tuple[str, str]] = {}
        """By environment, service and version: why it is not pinned there, and on which tip (empty: for good)."""
        self._core.heard.append(self._hear)

    def _hear(self, _before: Upgrade, after: Upgrade) -> None:
        if after.final:
            self._core.wake_promotions.set()

    async def keep(self) -> None:
        """Look whenever there is news, when something is due, and every minute; for ever."""
        core = self._core
        while True:
            core.wake_promotions.clear()
            await self.round()
            now = core.clock.now()
            ends = [one.until for found in core.promotions.values() for one in found.values() if one.until]
            left_s = min(((end - now).total_seconds() for end in ends if end > now), default=LOOK_S)
            await core.clock.wait(core.wake_promotions, min(LOOK_S, max(LOOK_MIN_S, left_s)))

    async def round(self) -> bool:
        """Move what is due, environment by environment, on the tip as it then stands. Whether anything was moved.

        Trouble is logged, and comes to its end in a later round.
        """
        core, moved = self._core, False
        for again in range(1, PUSH_ATTEMPTS_MAX + 1):
            try:
                outcomes = [await self._look(name) for name in sorted(core.desired)]
            except (HostError, TransientError) as error:
                log.warning("promotions: %s", error)
                return moved
            for name in core.promotions.keys() - core.desired.keys():
                del core.promotions[name]
            if not any(one.raced or one.commit for one in outcomes):
                return moved
            moved |= any(one.commit for one in outcomes)
            if any(one.raced for one in outcomes):
                # Spread, so that two who push at once do not meet again.
                await core.clock.sleep(core.random.uniform(0, JITTER_S * again))
            try:
                await self._fleet.refresh()
            except UgsError:  # told by the fleet
                return moved
        return moved

    async def _look(self, name: str) -> Outcome:
        """One environment: what is found about its pins, and a commit where some are due."""
        core, desired = self._core, self._core.desired[name]
        rule = desired.environment.policy.promote
        ours = rule and rule.by != "nobody" and desired.gone is None and core.leases.opening(name).open
        if rule is None or not ours or not here(core, name):
            core.promotions.pop(name, None)
            return Outcome()
        await self._settle(name, rule)
        while True:
            verdicts = await self._verdicts(desired)
            core.promotions[name] = verdicts
            moves = deciding.due(verdicts)
            if not moves or core.desired.get(name) is not desired:
                return Outcome(raced=bool(moves))
            try:
                outcome = await self._carry_out(desired, rule, moves)
            except PushRejected:
                return Outcome(raced=True)
            except PushRefused as refusal:
                self._call(name, moves, refusal)
                return Outcome()
            if not outcome.refused:
                return outcome
            self._refused |= {(name, *key): (why, outcome.tip) for key, why in outcome.refused.items()}

    async def _verdicts(self, desired: Desired) -> dict[str, Verdict]:
        name, rule = desired.environment.name, desired.environment.policy.promote
        places = await asyncio.to_thread(places_of, self._core)
        try:
            names = upstream(name, places)
            stages = [await self._stage(one, places.get(one)) for one in names]
        except InputError as error:
            pins = desired.environment.pins.values()
            return {pin.service: Verdict(pin.service, pin.version, why=str(error)) for pin in pins if rule}
        if desired.revision != self._fleet.tip:
            unknown = f"{name} does not follow the branch to its tip"
            stages = [replace(one, unknown=one.unknown or unknown) for one in stages]
        train = Train(
            place=desired.environment,
            here=stage(self._core, name, desired.environment),
            stages=tuple(stages),
            releases=desired.releases,
            permits=self._core.store.permits(name),
            busy=self._fleet.passes[name].busy if name in self._fleet.passes else frozenset(),
            blind=desired.blind,
            refused={
                key[1:]: why
                for key, (why, tip) in self._refused.items()
                if key[0] == name and tip in ("", desired.revision)
            },
        )
        return deciding.decide(train, now=self._core.clock.now())

    async def _stage(self, name: str, place: Environment | None) -> Stage:
        """What is known of an environment that comes before; of one in our hands, also how it is at this moment."""
        core, seen = self._core, self._fleet.passes.get(name)
        if not here(core, name) or seen is None:
            return stage(core, name, place)
        await seen.look(only_new=True)
        found, states = stage(core, name, place), seen.monitor.states()
        if seen.trouble:
            return replace(found, unknown=found.unknown or f"what runs in {name} could not be observed")
        proved = dict(found.proved)
        for service, one in found.proved.items():
            running = seen.observed_target(service)
            if running is None or running.version != one.version:
                proved[service] = replace(one, ill="does not run")
            elif not one.ill and (state := states.get(service, "unknown")) != "healthy":
                proved[service] = replace(one, ill=f"is not healthy at this moment ({state})")
        return replace(found, proved=proved)

    async def _carry_out(self, desired: Desired, rule: Promotion, moves: tuple[Verdict, ...]) -> Outcome:
        core, name = self._core, desired.environment.name
        made = await core.git(self._made, desired, rule, moves)
        if isinstance(made, Outcome):
            return made
        if not core.leases.opening(name).open:  # looking into Git may have taken long
            return Outcome()
        core.store.mark(f"{PUSHED}{name}", encode(Pushed(made, moves)).decode())
        await core.git(self._push, made)
        self._told(name, rule, Pushed(made, moves))
        return Outcome(made)

    def _made(self, desired: Desired, rule: Promotion, moves: tuple[Verdict, ...]) -> str | Outcome:
        """Blocking: the commit on the tip that is in force, not pushed yet; or why there is none."""
        core, mirror, name = self._core, self._core.repository.mirror, desired.environment.name
        tip = core.repository.fetch().tip
        if tip != desired.revision:
            return Outcome(raced=True)
        if refused := self._before(tip, name, moves):
            return Outcome(refused=refused)
        files = dict(environment_files(mirror, tip, name))
        old = dict(files)
        for one in moves:
            found = find_pin(files.items(), one.service)
            if found is None or found[2] != desired.workloads[one.service].node:
                return Outcome(
                    refused={one.key: "its pin in the repository is not the one that is in force"}, tip=tip
                )
            path, data, _ = found
            try:
                files[path] = splice.set_version(data, path, one.service, str(one.to))
            except UgsError as error:
                return Outcome(refused={one.key: str(error)}, tip=tip)
        changed: dict[str, bytes | None] = {path: data for path, data in files.items() if data != old[path]}
        text = deciding.message(name, rule, moves)
        commit = mirror.commit(tip, changed, text, at=core.clock.now())
        before, after = core.repository.snapshot(tip), core.repository.snapshot(commit)
        if problems := introduced(before.problems, after.problems):
            wrong = {f"pins.{one.service}": one.key for one in moves}
            blamed = {key: str(new) for new in problems if (key := wrong.get(new.path))}
            return Outcome(
                refused=blamed or dict.fromkeys((one.key for one in moves), str(problems[0])), tip=tip
            )
        return commit

    def _before(self, tip: str, environment: str, moves: tuple[Verdict, ...]) -> dict[tuple[str, str], str]:
        """What was pinned there before and is no longer: people or a revert moved it away, which is not undone."""
        mirror, past = self._core.repository.mirror, self._core.repository.past
        found = dict[tuple[str, str], str]()
        for one in moves:
            version = one.to or one.pinned
            mark = promotion_id(environment, one.service, version)
            done = mirror.find_trailer(PROMOTION_TRAILER, mark, until=tip, limit=HISTORY_MAX)
            if done or past.pinned(tip, environment, one.service, version):
                by = f"promoted by {done[:12]}" if done else "pinned"
                found[one.key] = (
                    f"{version} was {by} here before and moved away: to pin it again is left to people"
                )
        return found

    def _push(self, commit: str) -> None:
        """Blocking. Raises PushRejected where somebody was faster, PushRefused, TransientError and HostError."""
        core, mirror = self._core, self._core.repository.mirror
        core.failpoint("promote:begun")
        mirror.push(commit)
        core.failpoint("promote:done")
        if not mirror.contains(commit):
            raise PushRejected("the push was accepted, and the branch does not contain it")

    async def _settle(self, name: str, rule: Promotion) -> None:
        """What was being pushed when a daemon ended: told if it has arrived, else forgotten and decided anew."""
        core, mark = self._core, f"{PUSHED}{name}"
        text = core.store.marks(mark).get(mark)
        if text is None:
            return
        with contextlib.suppress(msgspec.MsgspecError):
            pushed = decode(text, Pushed)
            if await core.git(core.repository.mirror.contains, pushed.commit):
                self._told(name, rule, pushed)
                return
        core.store.mark(mark, None)

    def _told(self, name: str, rule: Promotion, pushed: Pushed) -> None:
        core, moves = self._core, pushed.moves
        named = ", ".join(f"{one.service} {one.pinned} → {one.to}" for one in moves)
        why = "; ".join(dict.fromkeys(deciding.reason(rule, one) for one in moves))
        text = f"{name}: {named} promoted by {pushed.commit[:12]}: {why}"
        with core.store.transaction():
            core.store.mark(f"{PUSHED}{name}", None)
            core.store.mark(f"{REFUSED}{name}", None)
            for one in moves:
                detail = f"{one.pinned} → {one.to} by {pushed.commit}: {deciding.reason(rule, one)}"
                core.store.audit("promoted", environment=name, service=one.service, detail=detail)
            self._tell(name, moves, text, "info")
        log.info("%s", text)
        core.wake_notices.set()

    def _call(self, name: str, moves: tuple[Verdict, ...], refusal: PushRefused) -> None:
        """A branch that takes no push of ours: a person is called, once for the same moves."""
        core, mark = self._core, f"{REFUSED}{name}"
        what = ", ".join(f"{one.service} {one.to}" for one in moves)
        core.store.mark(f"{PUSHED}{name}", None)
        if core.store.marks(mark).get(mark) == what:
            return
        text = f"{name}: {what} could not be promoted: {refusal}"
        with core.store.transaction():
            core.store.mark(mark, what)
            core.store.audit("promotion-refused", environment=name, detail=text)
            self._tell(name, moves, text, "person")
        log.warning("%s", text)
        core.wake_notices.set()

    def _tell(self, name: str, moves: tuple[Verdict, ...], text: str, severity: Severity) -> None:
        service = moves[0].service if len(moves) == 1 else ""
        at = self._core.clock.now()
        self._core.store.tell(
            Notice(name, service, sentence=text, severity=severity, at=at, title=f"{name}: promotion")
        )
