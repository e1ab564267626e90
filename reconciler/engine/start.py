"""Starting now what the gates allow: a person need not wait for the next pass, and opens what only a person opens."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from reconciler.engine.core import Core
from reconciler.engine.fleet import Fleet
from reconciler.engine.people import Conflict
from reconciler.engine.permits import REASON_CHARS_MAX, override, place, reason_of
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.model import permits as said
from reconciler.model import sentence
from reconciler.model.circumstances import Gate
from reconciler.model.codec import builtins
from reconciler.model.errors import UgsError
from reconciler.model.gates import closed
from reconciler.model.upgrade import Upgrade

TURN_S = 4.0
"""How long a pass is waited for; it goes on by itself."""


class GatesClosed(Conflict):
    """It may not start now. The gates are told with it."""

    kind = "gates-closed"

    def __init__(self, text: str, gates: tuple[Gate, ...]) -> None:
        openers = ", ".join(dict.fromkeys(gate.opened_by for gate in closed(gates) if gate.opened_by))
        super().__init__(text, f"opened by: {openers}" if openers else "it opens by itself")
        self.more = {"gates": builtins(gates)}


class WantedOverride(Struct, frozen=True, forbid_unknown_fields=True):
    """The one gate to pass by, and until when (RFC 3339) or for how long (`1h`)."""

    gate: str
    until: str | None = None
    for_: str | None = None


class Started(Struct, frozen=True):
    """What became of it. `operation` and `phase`: None where the next pass has yet to begin it."""

    operation: str | None
    environment: str
    service: str
    phase: str | None
    sentence: str


async def execute(
    fleet: Fleet,
    environment: str,
    service: str,
    *,
    actor: str,
    reason: str,
    passing: WantedOverride | None = None,
) -> Started:
    """Start the change that is planned for a service, where its gates allow that now. However many ask at once, it is
    one operation. Raises GatesClosed, and Conflict where nothing is planned."""
    core, here = fleet.core, place(fleet, environment, service)
    if len(reason) > REASON_CHARS_MAX:
        raise UgsError(f"a reason is at most {REASON_CHARS_MAX} characters long", "say it in a sentence")
    if running := _under_way(core, here, service):
        return running
    since = core.clock.now()
    if service not in here.told:
        raise Conflict(f"{environment}: nothing is planned for {service}", "see `ugs plan`")
    if passing is not None:
        _pass_by(fleet, environment, service, passing, actor, reason)
    asked = await _asked(here, service, actor, reason)
    here.wake.set()
    ended = await here.turns.next(TURN_S)
    if started := _under_way(core, here, service) or _ended(core, environment, service, since):
        return started
    if not ended:
        return Started(
            None, environment, service, None, f"{environment}: {service} starts with the next pass"
        )
    if asked is not None:
        core.store.take_start_back(asked.id, by="ugs")
    if service in here.told:
        raise _refusal(here, service)
    raise Conflict(f"{environment}: nothing is planned for {service} any more", "see `ugs plan`")


def _pass_by(
    fleet: Fleet, environment: str, service: str, passing: WantedOverride, actor: str, reason: str
) -> None:
    """Make the override, unless this person's for it is in force."""
    for one in fleet.core.store.permits(environment).overrides:
        if (one.service, one.gate, one.by) == (service, passing.gate, actor) and (
            one.until > fleet.core.clock.now()
        ):
            return
    override(
        fleet,
        environment,
        service,
        gate=passing.gate,
        actor=actor,
        reason=reason,
        until=passing.until,
        lasting=passing.for_,
    )


async def _asked(here: EnvironmentPass, service: str, actor: str, reason: str) -> said.Start | None:
    """Record a person's word where only that is missing; None where it takes none, or more is missing."""
    core, (change, _) = here.core, here.told[service]
    desired = core.desired[here.name]
    asked = await here.weigher.asked(desired, change)
    shut = here.deciding.shut_for(desired, change, asked)
    by_hand = said.starter(here.name, service)
    only_by_hand = [gate for gate in shut if gate.gate == "window" and gate.opened_by == by_hand]
    if not only_by_hand or len(shut) > 1:
        core.store.audit(
            "execute", environment=here.name, service=service, actor=actor, detail=reason or "no reason given"
        )
        return None
    ask = said.ask_of(change, asked.revision, change.path)
    why = reason_of(reason or "no reason given")
    return core.store.start_asked(ask, by=actor, reason=why, until=core.clock.now() + said.START_LASTS)


def _under_way(core: Core, here: EnvironmentPass, service: str) -> Started | None:
    running = here.running.get(service)
    upgrade = core.store.upgrade(running.operation) if running else None
    return _started(upgrade) if upgrade else None


def _ended(core: Core, environment: str, service: str, since: datetime) -> Started | None:
    """What was begun since then, and has ended already."""
    newest = core.store.upgrades(environment=environment, service=service, limit=1)
    begun = [one for one in newest if one.started_at is not None and one.started_at >= since]
    return _started(begun[0]) if begun else None


def _started(upgrade: Upgrade) -> Started:
    return Started(
        upgrade.operation,
        upgrade.environment,
        upgrade.service,
        upgrade.phase.value,
        sentence.of_move(upgrade),
    )


def _refusal(here: EnvironmentPass, service: str) -> Conflict:
    change, gates = here.told[service]
    return GatesClosed(sentence.of_change(change, gates), gates)
