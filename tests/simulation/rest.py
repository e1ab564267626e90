"""How it ends: liveness once the faults have stopped, and what can only be looked at in the end."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reconciler.engine.reconcile import EnvironmentPass
from reconciler.model.codec import decode
from reconciler.model.gates import closed
from reconciler.model.upgrade import FINAL, Phase, Upgrade
from reconciler.store import NOTE, SLACK, Note
from tests.simulation import asking, data_invariants, departure, fleet, promoting, proposing, renaming
from tests.simulation.opening import held
from tests.simulation.removal import unmoved
from tests.simulation.trust import follows, in_force, pins_in_force

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

LASTING = frozenset(
    {
        "quarantine",
        "hold",
        "approval",
        "promotion",
        "window",
        "fit",
        "dependency",
        "path",
        "adoption",
        "trust",
        "recovery",
    }
)
"""Gates that may keep a change for ever; the others are about what ends by itself."""


LATEST = datetime.max.replace(tzinfo=UTC)
FROM_GIT = "safe mode: ", "it was in another daemon's hands: "
BETWEEN_BATCHES = re.compile(r"the next batch waits: (held by |needs \d+ approval)")
"""A hold, the breaker's for one, or an approval that was taken back keeps the rest of an update from its turn until a
person acts."""


def restless(simulation: Simulation) -> list[str]:
    """What is not yet in sync, waiting for a named gate, or stuck with a person called. (INV-9)"""
    if found := of_the_daemon(simulation):
        return found
    return [why for name in simulation.rules.environments for why in of_the_environment(simulation, name)]


def of_the_daemon(simulation: Simulation) -> list[str]:
    """Why a daemon is not at rest, wherever it may act."""
    life = simulation.life
    if life is None:
        return ["no daemon lives"]
    if life.core.store.damage:
        return ["the daemon is about to end: its database is damaged"]
    if not follows(simulation):
        return [f"the repository is {life.fleet.state}: {life.fleet.sentence}"]
    waiting = ["the outbox holds notices"] if life.core.store.pending(SLACK) else []
    return waiting or proposing.unfollowed(simulation)


def of_the_environment(simulation: Simulation, environment: str) -> list[str]:
    """Why what a daemon has in its hands is not at rest."""
    assert simulation.life is not None
    found = [f"{environment}: {why}" for why in _in_environment(simulation, environment)]
    return found + (["the outbox holds notes"] if _notes_wait(simulation, environment) else [])


def _notes_wait(simulation: Simulation, environment: str) -> bool:
    """Whether a daemon holds notes that are due. Of several daemons another may have what the notes of other
    environments need."""
    assert simulation.life is not None
    store = simulation.life.core.store
    if simulation.pair is None:
        return store.pending(NOTE) > 0
    waiting = (decode(row.payload, Note) for row in store.due(NOTE, LATEST, limit=store.pending(NOTE)))
    return notes_are_due(simulation, environment) and any(
        json.loads(note.line)["environment"] == environment for note in waiting
    )


def notes_are_due(simulation: Simulation, environment: str) -> bool:
    """Whether a daemon has the lease that its notes need: of several hosts, one alone has an environment's."""
    pair = simulation.pair
    return not (simulation.board and pair) or pair.holder(environment) is simulation


def _in_environment(simulation: Simulation, environment: str) -> list[str]:
    assert simulation.life is not None
    name = simulation.called(environment)
    here = simulation.life.fleet.passes.get(name)
    is_out = departure.is_out(simulation.remote.made[in_force(simulation, environment)].tree, environment)
    if here is None or (is_out and name not in simulation.life.core.desired):
        why = departure.forsaken(simulation, environment) if is_out else "it is not known"
        return [why] if why else []
    store = simulation.life.core.store
    under_way = [
        service
        for service, running in here.running.items()
        if (upgrade := store.upgrade(running.operation)) and not BETWEEN_BATCHES.search(upgrade.reason)
    ]
    if under_way:
        return [f"{', '.join(under_way)} under way"]
    if is_out:
        return [why for service in fleet.SERVICES if (why := departure.unattended(simulation, here, service))]
    pins = pins_in_force(simulation, environment)
    found = [
        why
        for service in fleet.SERVICES
        if (why := _of(simulation, here, (environment, service), pins.get(service)))
    ]
    return (
        found
        or renaming.unfollowed(simulation, environment)
        or promoting.unfollowed(simulation, environment)
        or asking.unfollowed(simulation, environment)
    )


def _of(simulation: Simulation, here: EnvironmentPass, key: tuple[str, str], pinned: str | None) -> str:
    """Why a service is not at rest; empty when it is."""
    assert simulation.life is not None
    environment, service = key
    if service in here.running:
        return ""
    if service in here.told and (gates := closed(here.told[service][1])):
        # What waits between its batches keeps its turn.
        lasting = LASTING | {"concurrency"} if here.running else LASTING
        if simulation.board and simulation.pair and simulation.pair.waits_for_ever(*key):
            lasting |= {"rollout"}
        passing = [gate.gate for gate in gates if gate.gate not in lasting]
        return f"{service} waits for {passing}" if passing else ""
    if pinned is None:
        return unmoved(simulation, environment, service)
    running = [one.target.version.text for one in simulation.host.processes.get(key, ())]
    if running != [pinned] * simulation.rules.instances:
        if held(simulation, *key) or simulation.life.core.store.recovery(here.name):
            return ""  # hold keeps from starting again, too, what should run already
        return f"{service} is pinned at {pinned}, and {running} runs, and nothing says why"
    ill = len(simulation.host.running(key)) < len(running)
    if ill and here.monitor.states().get(service) != "degraded":
        return f"{service} is ill, and nobody was told"
    return ""


def at_the_end(simulation: Simulation, environments: Collection[str]) -> str:
    """What must hold in the end; empty when it does."""
    assert simulation.life is not None
    store, facts = simulation.life.core.store, simulation.facts
    if broken := store.verify_audit():
        return f"the audit is broken at {broken.id}: {broken.reason}"  # 3.10, INV-6
    upgrades = [one for one in facts.upgrades.values() if one.environment in environments]
    for upgrade in upgrades:
        if upgrade.phase not in FINAL | {Phase.WAITING} and not BETWEEN_BATCHES.search(upgrade.reason):
            return f"{upgrade.operation} was left {upgrade.phase}"  # INV-2
        noted = upgrade.rollout or not notes_are_due(simulation, upgrade.environment)
        noted = noted or any(operation == upgrade.operation for _, operation in simulation.remote.notes)
        if upgrade.final and upgrade.started_at and not (noted or _ended_by_what_git_says(upgrade)):
            return f"{upgrade.operation} ended, and no note says so"
    told = {(notice.operation, notice.phase) for notice in simulation.messenger.told}
    for upgrade in upgrades:
        if upgrade.rollout and not upgrade.failed:
            continue  # what goes well on one host of many is told of the rollout
        if upgrade.final and upgrade.started_at and (upgrade.operation, upgrade.phase.value) not in told:
            return f"{upgrade.operation} is {upgrade.phase}, and nobody was told"
    for check in (
        data_invariants.at_the_end,
        proposing.at_the_end,
        promoting.at_the_end,
        asking.at_the_end,
    ):
        if wrong := check(simulation):
            return wrong
    if simulation.life.loop.trouble:
        return f"asyncio says: {simulation.life.loop.trouble[0]}"
    return ""


def _ended_by_what_git_says(upgrade: Upgrade) -> bool:
    """What came of it is in Git, or nobody knows: no note of its own takes the place of what is there."""
    return upgrade.reason.startswith(FROM_GIT)
