"""The recorded upgrade behind every planned change: one row a change, from planned to its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from reconciler.engine.core import Core
from reconciler.engine.paced import written
from reconciler.engine.share import leads
from reconciler.model import permits, sentence
from reconciler.model.approvals import approval_gate
from reconciler.model.circumstances import Asked, Gate
from reconciler.model.environment import Environment
from reconciler.model.hosts import rollout_id
from reconciler.model.notice import Severity, mark_of, notice_of
from reconciler.model.permits import Ask, ask_of
from reconciler.model.plan import Change
from reconciler.model.upgrade import NOT_BEGUN, Phase, Upgrade, operation_id

BEGUN_ANEW = "nothing was touched before the daemon was started anew, and every gate is asked again"


class Ledger:
    """What is on record for one environment's changes that have not begun."""

    def __init__(self, core: Core, environment: str) -> None:
        self._core = core
        self._environment = environment
        self._asks = dict[str, str]()
        """By operation that waits: the mark of what was asked for when that was last looked at."""

    def open(self, change: Change, revision: str) -> Upgrade:
        """A new upgrade for a change; recorded by its first move."""
        now = self._core.clock.now()
        before = change.before.target if change.before else None
        after = change.after.target if change.after else None
        names = change.environment, change.service, before, after, revision
        attempt = 1 + self._core.store.attempts(*names)
        return Upgrade(
            operation=operation_id(*names, attempt),
            environment=change.environment,
            service=change.service,
            change_class=change.change_class,
            revision=revision,
            attempt=attempt,
            phase=Phase.PLANNED,
            before=change.before,
            after=change.after,
            running=change.running,
            created_at=now,
            changed_at=now,
            goal=change.goal if change.goal != change.after else None,
            rollout=self._rollout(change, revision),
        )

    def _rollout(self, change: Change, revision: str) -> str:
        """Of which operation on all hosts this is a part; empty for a removal, and where there is one host."""
        if change.goal is None or not self._core.hosted(self._environment):
            return ""
        return rollout_id(self._environment, change.service, change.goal.target, revision)

    def begin(self, upgrade: Upgrade, change: Change) -> Upgrade:
        """All its gates are open. What runs by now may be something else than when it began to wait."""
        return self._core.move(
            upgrade,
            Phase.PREPARING,
            "",
            change_class=change.change_class,
            running=change.running,
            started_at=self._core.clock.now(),
            parked_until=None,
            batch=0,
            leads=leads(self._core, upgrade),
        )

    def wait(self, upgrade: Upgrade, shut: tuple[Gate, ...], change: Change) -> Upgrade:
        """Record why it waits, as it stands then; told when it begins to wait and when something else is to be
        approved, not at every change of the reason."""
        if self.stands(upgrade, shut, change):
            return upgrade
        names, reason = {gate.gate for gate in shut}, _reason(shut)
        ask = _ask(upgrade, shut, change)
        before, self._asks[upgrade.operation] = self._asks.get(upgrade.operation, ask), ask
        news = upgrade.phase is not Phase.WAITING or upgrade.reason == BEGUN_ANEW or ask != before
        called = "quarantine" in names or (upgrade.after is None and "approval" in names)
        severity: Severity = "person" if news and called else "info"
        return self._core.move(upgrade, Phase.WAITING, reason, severity=severity, tell=news, ask=ask)

    def stands(self, upgrade: Upgrade, shut: tuple[Gate, ...], change: Change) -> bool:
        """Whether it is on record already that it waits, and for what."""
        ask = _ask(upgrade, shut, change)
        if [gate.gate for gate in shut] == ["host"]:
            return True  # its reason stands, and a person was called when it was parked
        same = upgrade.phase is Phase.WAITING and upgrade.reason == _reason(shut)
        return same and ask == self._asks.setdefault(upgrade.operation, ask)

    def announced(self, change: Change, revision: str) -> bool:
        """Whether this commit is the very one whose upgrade failed: only another one is news."""
        for row in self._core.store.quarantined(self._environment):
            if row.service == change.service and change.after and row.target == change.after.target:
                if row.operation == self._rollout(change, revision):
                    return True
                failed = self._core.store.upgrade(row.operation)
                return failed is not None and failed.revision == revision
        return False

    async def retire(
        self, asked: Mapping[str, tuple[Change, str]], busy: frozenset[str]
    ) -> dict[str, Upgrade]:
        """`asked`: by service, the change and its revision. What waits for another one is superseded, and what
        nobody asks for now is cancelled. The answer, by service: what waits for exactly what is asked."""
        kept: dict[str, Upgrade] = {}
        moves = list[Callable[[], object]]()

        def end(upgrade: Upgrade, phase: Phase, reason: str) -> None:
            moves.append(partial(self._end, upgrade, phase, reason))

        for upgrade in self._not_begun():
            if upgrade.service in busy:
                continue
            if upgrade.service not in asked:
                end(upgrade, Phase.CANCELLED, "it is no longer asked for")
                continue
            change, revision = asked[upgrade.service]
            if upgrade.service not in kept and _waits_for(upgrade, change, revision):
                kept[upgrade.service] = upgrade
            elif upgrade.after is None and change.after:
                end(upgrade, Phase.CANCELLED, "it is pinned again")
            else:
                now = (
                    f"{change.after.target.version} is pinned now"
                    if change.after
                    else "it is no longer pinned"
                )
                end(upgrade, Phase.SUPERSEDED, now)
        await written(self._core.store, self._core.clock, moves)
        waiting = {upgrade.operation for upgrade in kept.values()}
        self._asks = {operation: ask for operation, ask in self._asks.items() if operation in waiting}
        if moves:  # others may have had the loop meanwhile
            kept = {upgrade.service: upgrade for upgrade in self._not_begun() if upgrade.operation in waiting}
        return kept

    def _end(self, upgrade: Upgrade, phase: Phase, reason: str) -> None:
        if self._core.store.upgrade(upgrade.operation) == upgrade:  # others may have had the loop meanwhile
            self._core.move(upgrade, phase, reason)

    def begun(self) -> frozenset[str]:
        """The services of which an upgrade is under way by its record, whether anybody carries it on or not."""
        return frozenset(upgrade.service for upgrade in self._unfinished() if upgrade.phase not in NOT_BEGUN)

    def _not_begun(self) -> list[Upgrade]:
        return [upgrade for upgrade in self._unfinished() if upgrade.phase in NOT_BEGUN]

    def _unfinished(self) -> list[Upgrade]:
        return self._core.store.upgrades(environment=self._environment, unfinished=True)


def tell_of_approval(core: Core, ask: Ask, text: str, now: Environment, change: Change, asked: Asked) -> None:
    """Tell it in the thread of what waits for approvals, with the ask if it still needs some."""
    kind = permits.approval_class(change, zero_minor=now.policy.zero_minor)
    given, floor, at = core.store.permits(ask.environment), core.settings.floor_approvals, core.clock.now()
    enough = all(
        approval_gate(given, each, ask, kind, floor=floor, authors=asked.authors, now=at).open
        for each in (now, *(then.environment for then in asked.earlier))
    )
    for upgrade in core.store.upgrades(
        environment=ask.environment, service=ask.service, unfinished=True, limit=10
    ):
        if upgrade.phase in NOT_BEGUN and upgrade.revision == ask.revision:
            mark = "" if enough else mark_of(ask)
            told = notice_of(upgrade, "info", at, text=f"{sentence.title(upgrade)} is {text}", ask=mark)
            core.store.tell(told)
            core.wake.notices.set()


def _reason(shut: tuple[Gate, ...]) -> str:
    return "; ".join(gate.reason for gate in shut)


def _ask(upgrade: Upgrade, shut: tuple[Gate, ...], change: Change) -> str:
    """The mark of what is to be approved; empty where nothing is."""
    wanted = any(gate.gate == "approval" for gate in shut)
    return mark_of(ask_of(change, upgrade.revision, change.path)) if wanted else ""


def _waits_for(upgrade: Upgrade, change: Change, revision: str) -> bool:
    """Whether the upgrade is on record for exactly this change, as asked for by this commit."""
    same = upgrade.to == (change.after.target if change.after else None) and upgrade.before == change.before
    return same and upgrade.revision == revision
