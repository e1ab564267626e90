"""An environment that the repository has no longer, and what always holds of what runs there: a person lets it go,
service by service, or it comes back and nothing has happened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from reconciler.engine import permits
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.model.gates import closed
from reconciler.model.upgrade import Phase
from tests.simulation import fleet
from tests.simulation.remote import BLOBS, Tree

if TYPE_CHECKING:
    from tests.simulation.life import Life
    from tests.simulation.simulation import Simulation

LEAVES_S, AWAY_S = (3.0, 28.0), (0.3, 16.0)
BACK_ODDS, OTHERWISE_ODDS = 0.6, 0.4
"""How often somebody puts it back, and how often not quite as it was."""
LACKS_ODDS, LACKS, APPROVED_S = 0.5, 2, (1.5, 4.0)
"""How often so many pins do not come back with it, and how long after that somebody looks at one of them."""
LOOKS, CRASHES = (0, 1, 2, 4, 6), (0, 1, 2)
"""How many approvals are given meanwhile, and how many instances die."""
HEARD_S = 1.0
"""So long a commit may have been in force of which a start has not heard."""


def moments(simulation: Simulation, random: Random, end_s: float) -> list[tuple[float, Callable[[], None]]]:
    """Somebody takes an environment out, others look at what runs there, and mostly somebody puts it back."""
    environment = random.choice(simulation.rules.environments)
    left_s = random.uniform(*LEAVES_S)
    back_s = min(end_s, left_s + random.uniform(*AWAY_S))
    files: dict[str, bytes | None] = {}
    lacking = simulation._random("lacking")

    def leave() -> None:
        tree = simulation.remote.made[simulation.remote.tip].tree
        found = {path: BLOBS[tree[path]] for path in fleet.files_of(tree, environment)}
        if not any(fleet.BROKEN in data for data in found.values()):
            files.update(found)
        if files:
            simulation.commit(dict.fromkeys(files), f"Take {environment} out")

    def come_back() -> None:
        tree = simulation.remote.made[simulation.remote.tip].tree
        if files and not fleet.files_of(tree, environment):
            lacks = simulation.rules.prune and lacking.random() < LACKS_ODDS
            back = _without_some(simulation, lacking, environment, files) if lacks else files
            simulation.commit(back, f"Put {environment} back")
            if lacks:
                simulation.pass_time(lacking.uniform(*APPROVED_S))
                _approve(simulation, lacking, environment)
            if random.random() < OTHERWISE_ODDS:
                changes = {random.choice(fleet.SERVICES): random.choice(fleet.VERSIONS)}
                simulation.commit_pins(environment, changes, "Bump")

    found: list[tuple[float, Callable[[], None]]] = [(left_s, leave)]
    found += [
        (random.uniform(left_s, back_s), lambda: _approve(simulation, random, environment))
        for _ in range(random.choice(LOOKS))
    ]
    found += [
        (random.uniform(left_s, back_s), lambda: simulation.host.crash(_one(random, environment)))
        for _ in range(random.choice(CRASHES))
    ]
    return [*found, (back_s, come_back)] if random.random() < BACK_ODDS else found


def _without_some(
    simulation: Simulation, random: Random, environment: str, files: Mapping[str, bytes | None]
) -> dict[str, bytes | None]:
    found, name = dict(files), simulation.called(environment)
    for service in random.sample(fleet.SERVICES, LACKS):
        path = fleet.path_of(simulation.rules, name, service)
        if data := found.get(path):
            found[path] = fleet.without_pin(data, service)
    return {path: data for path, data in found.items() if data is not None}


def _one(random: Random, environment: str) -> tuple[str, str]:
    return environment, random.choice(fleet.SERVICES)


def _approve(simulation: Simulation, random: Random, environment: str) -> None:
    """`ugs approve`, of one of the removals that wait."""
    waiting = [
        one.service
        for one in simulation.facts.upgrades.values()
        if one.after is None and not one.final and one.environment == environment
    ]
    if waiting:
        service = random.choice(sorted(waiting))

        async def approve(life: Life) -> None:
            await permits.approve(life.fleet, environment, service, actor="ada")

        simulation.ask(approve, "approve the removal of", service)


def is_out(tree: Tree, environment: str) -> bool:
    """Whether a commit has nothing of an environment, be it in a file that cannot be read."""
    return not fleet.files_of(tree, environment)


def guarded(simulation: Simulation, environment: str) -> bool:
    """Whether what is in force has the environment no longer, and everybody has heard of it: nothing there is stopped
    without a person."""
    commit, since_s = simulation.facts.in_force
    heard = bool(commit) and simulation.time.now_s - since_s >= HEARD_S
    return heard and is_out(simulation.remote.made[commit].tree, environment)


def let_go_when_nothing_runs_4(simulation: Simulation, row: Mapping[str, Any]) -> str:
    """Asked when an environment is let go."""
    left = [
        service
        for (environment, service), here in simulation.host.processes.items()
        if environment == row["environment"] and here
    ]
    return f"{row['environment']} is let go, and {', '.join(sorted(left))} runs there" if left else ""


# in the end


def forsaken(simulation: Simulation, environment: str) -> str:
    """Of an environment that is out, and that no daemon knows: what runs there all the same."""
    left = [service for service in fleet.SERVICES if simulation.host.processes.get((environment, service))]
    return f"it is out, {', '.join(left)} runs on, and nobody knows of it" if left else ""


def unattended(simulation: Simulation, here: EnvironmentPass, service: str) -> str:
    """Why a service of an environment that is out is not at rest: it runs as it was until a person lets it go."""
    key = here.name, service
    processes, proven = simulation.host.processes.get(key, []), simulation.facts.proven.get(key, [])
    told = here.told.get(service)
    waits = told is not None and bool(closed(told[1]))
    if processes and not waits:
        return f"{service} is of an environment that is out, and nobody was told that it waits for a person"
    if not proven or _is_stuck(simulation, key) or service not in _pinned_last(simulation, here.name):
        return ""
    running = [one.target for one in processes]
    if running.count(proven[0]) != simulation.rules.instances:  # what else is left beside it runs on, too
        said = [str(target.version) for target in running]
        return f"{service} is of an environment that is out, and was not let go: {said} runs"
    ill = simulation.host.running(key).count(proven[0]) < simulation.rules.instances
    told_ill = here.monitor.states().get(service) == "degraded"
    return (
        f"{service} is of an environment that is out, and ill, and nobody was told"
        if ill and not told_ill
        else ""
    )


def _pinned_last(simulation: Simulation, environment: str) -> dict[str, str]:
    """What was pinned when the environment was in force last."""
    trees = (simulation.remote.made[tip].tree for tip in reversed(simulation.facts.tips))
    return next((fleet.pins_of(tree, environment) for tree in trees if not is_out(tree, environment)), {})


def _is_stuck(simulation: Simulation, key: tuple[str, str]) -> bool:
    """Whether the last that was tried there waits for a person, or a failure was left as it stood."""
    tried = [
        one
        for one in simulation.facts.upgrades.values()
        if (one.environment, one.service) == key and one.started_at
    ]
    return bool(tried) and tried[-1].phase is Phase.STUCK
