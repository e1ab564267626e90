"""The people of a simulated fleet: they push, force, approve, hold, release, roll back, and pin again what failed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from reconciler.engine import people, permits
from reconciler.model.upgrade import Phase
from tests.simulation import fleet, removal, trust
from tests.simulation.fleet import SERVICES, VERSIONS

if TYPE_CHECKING:
    from tests.simulation.life import Life
    from tests.simulation.simulation import Simulation

OVERRIDABLE = ("window", "hold", "approval", "concurrency")


def act(simulation: Simulation) -> None:
    """One of the things that people do, with something that is there to do it to."""
    if simulation.rules.trusted and simulation.people.random() < UNTRUSTED_ODDS:
        simulation.people.choice(UNTRUSTED + MERGED * simulation.rules.everything)(simulation)
        return
    chosen = simulation.people.choices(ACTS, WEIGHTS)[0]
    chosen(simulation)


def bump(simulation: Simulation, *, merged: bool = False) -> None:
    """Move one to three pins of one environment by one commit: mostly up. `merged`: at any rate by a merge."""
    random, environment = simulation.people, simulation.people.choice(simulation.rules.environments)
    if simulation.promoting:
        environment = simulation.promoting.where(environment)
    services = random.sample(SERVICES, random.choices((1, 2, 3), (4, 3, 2))[0])
    pins = simulation.pins(environment)
    changes = {service: random.choice(_likely(pins.get(service))) for service in services}
    simulation.commit_pins(environment, changes, "Bump", merged=random.random() < 0.25 or merged)


def _likely(version: str | None) -> tuple[str, ...]:
    """What a person would pin next: newer ones, and now and then any."""
    if version is None:
        return VERSIONS
    above = VERSIONS[VERSIONS.index(version) + 1 :]
    return (*above, *above, *above, *VERSIONS) if above else VERSIONS


def pin_again(simulation: Simulation) -> None:
    """A machine, or a person who has not looked, pins once more what failed."""
    failed = sorted(simulation.facts.shut, key=str)
    if failed:
        environment, service, target = simulation.people.choice(failed)
        simulation.commit_pins(environment, {service: target.version.text}, "Bump again")


def undo(simulation: Simulation) -> None:
    """Move a pin back to what the last commit found."""
    tip = simulation.remote.made[simulation.remote.tip]
    if not tip.commit.parents:
        return
    before = simulation.remote.made[tip.commit.parents[0]].tree
    for environment in simulation.rules.environments:
        was, now = fleet.pins_of(before, environment), simulation.pins(environment)
        back = {service: version for service, version in was.items() if now.get(service) != version}
        if back:
            simulation.commit_pins(environment, back, "Undo")


def retry(simulation: Simulation) -> None:
    """`ugs retry`."""
    if shut := sorted(simulation.facts.shut, key=str):
        environment, service, _ = simulation.people.choice(shut)
        simulation.ask(
            lambda life: people.retry(life.fleet, simulation.called(environment), service, actor="grace"),
            "retry",
            service,
        )


def release(simulation: Simulation) -> None:
    """`ugs quarantine release`."""
    if shut := sorted(simulation.facts.shut, key=str):
        environment, service, _ = simulation.people.choice(shut)
        simulation.say(
            lambda life: people.release(
                life.fleet, simulation.called(environment), service, actor="grace", why="mended"
            ),
            "release",
            service,
        )


def rollback(simulation: Simulation) -> None:
    """`ugs rollback`: a person's verdict."""
    environment, service = simulation.somewhere()
    simulation.ask(
        lambda life: people.rollback(
            life.fleet, simulation.called(environment), service, actor="grace", reason="it loses orders"
        ),
        "rollback",
        service,
    )


def hold(simulation: Simulation) -> None:
    """`ugs hold`, of one service or of all; of what is being proven, if anything is."""
    random, (environment, service) = simulation.people, simulation.somewhere()
    proven = [one for one in simulation.facts.upgrades.values() if one.phase is Phase.VERIFYING]
    if proven and random.random() < 0.5:
        environment, service = proven[-1].environment, proven[-1].service
    whom = service if random.random() < 0.7 else None
    lasting = f"{random.randint(3, 40)}s"
    simulation.say(
        lambda life: permits.hold(
            life.fleet, simulation.called(environment), whom, actor="ada", reason="look", lasting=lasting
        ),
        "hold",
        whom or environment,
    )


def approve(simulation: Simulation) -> None:
    """`ugs approve`, of something that waits for it if anything does."""
    environment, service = simulation.somewhere()
    removals = [one for one in simulation.facts.upgrades.values() if one.after is None and not one.final]
    if removals:
        environment, service = removals[-1].environment, removals[-1].service
    simulation.ask(
        lambda life: permits.approve(life.fleet, simulation.called(environment), service, actor="ada"),
        "approve",
        service,
    )


def override(simulation: Simulation) -> None:
    """`ugs override`."""
    random, (environment, service) = simulation.people, simulation.somewhere()
    gate, lasting = random.choice(OVERRIDABLE), f"{random.randint(3, 40)}s"
    simulation.say(
        lambda life: permits.override(
            life.fleet,
            simulation.called(environment),
            service,
            gate=gate,
            actor="ada",
            reason="urgent",
            lasting=lasting,
        ),
        f"override {gate}",
        service,
    )


def settle_migration(simulation: Simulation) -> None:
    """`ugs migrations settle`: somebody looks at the data, and says what is so."""
    sql = "SELECT environment, service, id FROM migrations WHERE state IN ('begun', 'undoing', 'unknown')"
    for peer in simulation.pair.peers if simulation.pair else (simulation,):
        for environment, service, name in peer.disk.all(sql):
            applied = name in simulation.world.of(environment, service).applied
            settle = partial(_settle, environment, service, name, applied=applied)
            simulation.say(settle, "settle", f"{service} {name}", peer.life if simulation.pair else None)


def _settle(environment: str, service: str, name: str, life: Life, *, applied: bool) -> None:
    people.settle_migration(
        life.fleet, environment, service, name, applied=applied, actor="grace", why="looked"
    )


def write_something_else(simulation: Simulation) -> None:
    """A commit that moves no pin."""
    simulation.commit({"README.md": f"{simulation.people.random()}\n".encode()}, "Write more")


ACTS: tuple[Callable[[Simulation], None], ...] = (
    bump,
    pin_again,
    undo,
    retry,
    release,
    rollback,
    hold,
    approve,
    override,
    write_something_else,
    settle_migration,
    removal.remove_pins,
)
WEIGHTS = (60, 6, 4, 4, 4, 3, 4, 6, 2, 4, 2, 6)
UNTRUSTED: tuple[Callable[[Simulation], None], ...] = (
    partial(trust.push_untrusted, bump=bump),
    partial(trust.push_as_another, bump=bump),
    trust.retry_without_right,
)
MERGED: tuple[Callable[[Simulation], None], ...] = (
    partial(trust.merge_untrusted, merge=partial(bump, merged=True)),
)
"""What is done besides where what was merged is asked for its signatures."""
UNTRUSTED_ODDS = 0.15
