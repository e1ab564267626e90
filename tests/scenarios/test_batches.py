"""Rolling and canary: instance by instance, each batch proven before the next begins."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

from reconciler.engine import permits
from reconciler.model.upgrade import Phase
from tests.drivers.services import free_port, get
from tests.world import World

SATURDAY = datetime(2030, 1, 5, 3, tzinfo=UTC)
WEEKLY = 'timezone: UTC\nwindows:\n  minor: [{cron: "0 3 * * 6", duration: 2h}]\n'


def pinned(version: str, strategy: str, instances: int = 3) -> str:
    return f'{{version: "{version}", instances: {instances}, strategy: {strategy}}}'


async def three_of_them(world: World, strategy: str) -> None:
    """Three instances of 1.0.0, which give way as the strategy says."""
    world.ports["api"] = free_port(3)
    world.release("1.0.0", deadline="1m")
    world.pin(pinned("1.0.0", strategy))
    world.merge("Start with 1.0.0")
    await world.settle()
    assert versions(world) == ["1.0.0"] * 3


def bump(world: World, version: str, strategy: str, mode: str = "ok", **release: str) -> None:
    world.release(version, mode, **{"deadline": "1m"} | release)  # type: ignore[arg-type]  # one of the modes
    world.pin(pinned(version, strategy))
    world.merge(f"Bump api to {version}")


def versions(world: World) -> list[str]:
    """What answers at each instance's port; empty where nothing does."""
    return [version_at(world.port() + index) for index in range(3)]


def version_at(port: int) -> str:
    with contextlib.suppress(OSError):
        return get(port, "/version").partition('": "')[2].rstrip('"}')
    return ""


def pids(world: World) -> list[str]:
    return [get(world.port() + index, "/pid") for index in range(3)]


def applied(world: World) -> list[str]:
    newest = world.newest()
    assert newest is not None
    return [step.step for step in world.core.store.steps(newest.operation) if step.step.startswith("apply")]


async def test_a_rolling_upgrade_replaces_one_after_the_other(world: World) -> None:
    await three_of_them(world, "rolling")
    seen: list[list[str]] = []
    for phase in ("phase:applying", "phase:succeeded"):
        world.at[phase] = lambda: seen.append(versions(world))
    bump(world, "1.1.0", "rolling")
    await world.settle()
    assert seen == [
        ["1.0.0", "1.0.0", "1.0.0"],
        ["1.1.0", "1.0.0", "1.0.0"],
        ["1.1.0", "1.1.0", "1.0.0"],
        ["1.1.0", "1.1.0", "1.1.0"],
    ]
    assert applied(world) == ["apply", "apply:2", "apply:3"]
    assert world.phases() == ["succeeded", "succeeded"]


async def test_a_bad_canary_goes_back_and_the_others_never_were_touched(world: World) -> None:
    await three_of_them(world, "{canary: [1, 2]}")
    before = pids(world)
    bump(world, "1.1.0", "{canary: [1, 2]}", "unhealthy")
    await world.settle()
    assert applied(world) == ["apply"]
    assert world.phases() == ["succeeded", "reverted"]
    assert versions(world) == ["1.0.0"] * 3
    assert pids(world)[1:] == before[1:]
    assert '"1.0.0"' in world.pinned()


async def test_past_the_end_of_its_window_it_pauses_until_a_gate_lets_it_go_on(world: World) -> None:
    world.clock.move_to(SATURDAY + timedelta(minutes=1))
    world.more = WEEKLY
    await three_of_them(world, "canary")
    world.at["apply:done"] = lambda: world.clock.move_to(SATURDAY + timedelta(hours=2))
    bump(world, "1.1.0", "canary")
    await world.reach(Phase.VERIFYING)
    await world.eventually(lambda: "the next batch waits" in world.view().sentence)
    newest = world.newest()
    assert newest is not None
    assert newest.phase is Phase.VERIFYING
    assert newest.reason == (
        "1 of 3 instances are healthy; the next batch waits: the minor window opens Sat 2030-01-12 03:00 UTC"
    )
    assert versions(world) == ["1.1.0", "1.0.0", "1.0.0"]

    permits.override(
        world.fleet, "production", "api", gate="window", actor="ada", reason="it is well", lasting="1h"
    )
    await world.until(Phase.SUCCEEDED)
    assert versions(world) == ["1.1.0"] * 3


async def test_a_canary_that_falls_ill_while_it_is_watched_is_taken_back(world: World) -> None:
    await three_of_them(world, "{canary: [1], pause: 1h}")
    bump(
        world,
        "1.1.0",
        "{canary: [1], pause: 1h}",
        probe='{command: ["test", "!", "-e", "ill"], interval: 50ms}',
    )
    await world.reach(Phase.VERIFYING)
    await world.eventually(lambda: versions(world)[0] == "1.1.0")
    newest = world.newest()
    assert newest is not None
    assert newest.after is not None
    target = newest.after.target
    folder = world.state / "services/production/api" / str(target.version) / target.digest
    (folder / "ill").touch()
    await world.until(Phase.REVERTED)
    assert versions(world) == ["1.0.0"] * 3


async def test_a_restart_between_batches_proves_the_batch_anew_and_goes_on(world: World) -> None:
    await three_of_them(world, "{rolling: 2}")
    pid = ""
    bump(world, "1.1.0", "{rolling: 2}", soak="300ms")
    await world.reach(Phase.VERIFYING)
    await world.eventually(lambda: versions(world) == ["1.1.0", "1.1.0", "1.0.0"])
    pid = pids(world)[0]
    await world.restart()
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
    assert versions(world) == ["1.1.0"] * 3
    assert pids(world)[0] == pid


async def test_what_was_approved_is_so_still_after_a_restart_between_batches(world: World) -> None:
    world.more = "policy: {approvals: {minor: 1}}\n"
    await three_of_them(world, "{rolling: 2}")
    bump(world, "1.1.0", "{rolling: 2}", soak="300ms")
    await world.reach(Phase.WAITING)
    assert "needs 1 approval" in world.view().sentence
    await permits.approve(world.fleet, "production", "api", actor="bob")
    await world.reach(Phase.VERIFYING)
    await world.eventually(lambda: versions(world) == ["1.1.0", "1.1.0", "1.0.0"])
    await world.restart()
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
    assert versions(world) == ["1.1.0"] * 3
