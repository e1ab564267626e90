"""Which gates are closed, by rules of the simulation's own: what the engine's gates are held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from reconciler.model.target import Target
from reconciler.model.upgrade import Phase, Upgrade
from reconciler.store.values import text_of
from tests.simulation import fleet, relay
from tests.simulation.removal import guarded

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

Step = Literal["major", "minor", "patch"]
STALE_S = 10.0
"""`max_stale`, and what a fetch may take to be heard of."""
PROMOTED_S = 2.0
NEEDED = {("web", "1.1.0"): ("database", "1.0.1"), ("web", "1.1.1"): ("database", "1.0.0")}
"""By service and version: the least version of another that must run."""
ANY_NAME = "instr(?, '/' || environment || '/')"
ENGAGED = frozenset({Phase.PREPARING, Phase.APPLYING, Phase.VERIFYING, Phase.RESTORING, Phase.REVERTING})


def closed(simulation: Simulation, upgrade: Upgrade) -> list[str]:
    """The gates that keep this upgrade from starting at this moment, save those that someone has overridden."""
    now, where, service = text_of(simulation.wall.now()), upgrade.environment, upgrade.service
    passed = {
        row["gate"]
        for row in simulation.disk.all(
            f"SELECT gate FROM overrides WHERE {ANY_NAME} AND (service IS NULL OR service = ?) AND until > ?",
            names_of(where),
            service,
            now,
        )
    }
    if held(simulation, where, service, owner="ugs: data"):
        passed.discard("hold")  # a person has to look at the data
    found = []
    if held(simulation, where, service):
        found.append("hold")
    if upgrade.after is not None and _window(simulation, upgrade):
        found.append("window")
    if _approvals(simulation, upgrade, now) < _approvals_needed(simulation, upgrade):
        found.append("approval")
    if _under_way_before(simulation, upgrade) >= simulation.rules.parallel:
        found.append("concurrency")
    fetched_s = simulation.life.clone.fetched_s if simulation.life else None
    if fetched_s is None or simulation.time.now_s - fetched_s > STALE_S:
        found.append("stale")
    if upgrade.after is not None and _unpromoted(simulation, upgrade):
        found.append("promotion")
    if _unmet(simulation, upgrade) if upgrade.after else _needed(simulation, upgrade):
        found.append("dependency")
    return [gate for gate in found if gate not in passed]


def names_of(environment: str) -> str:
    """All that an environment may ever be called, for `ANY_NAME`: what is on record of it counts under each."""
    return f"/{'/'.join(fleet.NAMES[environment])}/"


def held(simulation: Simulation, environment: str, service: str, *, owner: str | None = None) -> bool:
    """Whether anybody holds the service, or all of its environment: this one alone, where one is named."""
    sql = (
        f"SELECT 1 FROM holds WHERE {ANY_NAME} AND (service IS NULL OR service = ?) AND released_at IS NULL"
        " AND (until IS NULL OR until > ?) AND (? IS NULL OR owner = ?)"
    )
    now = text_of(simulation.wall.now())
    return bool(simulation.disk.all(sql, names_of(environment), service, now, owner, owner))


def _under_way_before(simulation: Simulation, upgrade: Upgrade) -> int:
    """How many others of the environment had begun before this one, and are under way still."""
    begun_s = simulation.facts.begun_s(upgrade)
    return sum(
        other.environment == upgrade.environment
        and other.phase in ENGAGED
        and simulation.facts.begun_s(other) < begun_s
        for other in simulation.facts.upgrades.values()
    )


def _step(upgrade: Upgrade, to: Target) -> Step:
    """How large the step is from what runs, else from last-good, whichever way it goes."""
    assert upgrade.before is not None
    base = upgrade.running if upgrade.running and upgrade.running != upgrade.to else upgrade.before.target
    was, will = (version.text.split(".") for version in (base.version, to.version))
    if was[0] != will[0]:
        return "major"
    return "minor" if was[1] != will[1] else "patch"


def _window(simulation: Simulation, upgrade: Upgrade) -> bool:
    """Whether it is a minor step outside its windows, which are the even minutes."""
    if not simulation.rules.windows or upgrade.change_class in ("rollback", "initial", "emergency"):
        return False
    if upgrade.before is None or upgrade.after is None or _step(upgrade, upgrade.after.target) != "minor":
        return False
    return bool(simulation.wall.now().minute % 2)


def _approvals_needed(simulation: Simulation, upgrade: Upgrade) -> int:
    if upgrade.after is None:
        return int(guarded(simulation, upgrade))
    if upgrade.change_class in ("rollback", "initial") or upgrade.before is None or upgrade.pinned is None:
        return 0
    return simulation.rules.approvals if _step(upgrade, upgrade.pinned.target) == "minor" else 0


def _approvals(simulation: Simulation, upgrade: Upgrade, now: str) -> int:
    """How many people have approved this very version by this very commit."""
    [row] = simulation.disk.all(
        f"SELECT count(DISTINCT approver) AS people FROM approvals WHERE {ANY_NAME} AND withdrawn_at IS NULL"
        " AND until > ? AND ask ->> 'service' = ? AND ask ->> 'to_target' = ? AND ask ->> 'revision' = ?",
        names_of(upgrade.environment),
        now,
        upgrade.service,
        str(upgrade.pinned.target) if upgrade.pinned else "nothing",
        upgrade.revision,
    )
    return int(row["people"])


def _unpromoted(simulation: Simulation, upgrade: Upgrade) -> bool:
    """Whether production would take what has not proved healthy in staging for long enough."""
    if (
        not simulation.rules.promote
        or upgrade.environment != "production"
        or upgrade.change_class == "rollback"
    ):
        return False
    assert upgrade.pinned is not None
    soak_s = simulation.promoting.soaks_s(simulation) if simulation.promoting else PROMOTED_S
    if soak_s is None:
        return False
    now_s, version = simulation.time.now_s, upgrade.pinned.target.version.text
    return not any(
        one.is_of(version) and now_s - one.at_s >= soak_s
        for one in relay.last_good(simulation, upgrade.service, now_s)
    )


def _needed(simulation: Simulation, upgrade: Upgrade) -> bool:
    """Whether something that runs as it is pinned needs what is to be removed."""
    tree = simulation.remote.made[simulation.facts.standing(upgrade.environment)].tree
    pins = fleet.pins_of(tree, upgrade.environment)
    return any(
        pins.get(service) == version
        and any(
            process.target.version.text == version
            for process in simulation.host.processes.get((upgrade.environment, service), ())
        )
        for (service, version), (needed, _) in NEEDED.items()
        if needed == upgrade.service
    )


def _unmet(simulation: Simulation, upgrade: Upgrade) -> bool:
    """Whether what it needs does not run."""
    assert upgrade.after is not None
    needed = NEEDED.get((upgrade.service, upgrade.after.target.version.text))
    if needed is None:
        return False
    running = simulation.host.processes.get((upgrade.environment, needed[0]), [])
    return not any(process.target.version.text >= needed[1] for process in running)
