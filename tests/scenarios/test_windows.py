"""Nothing starts while a gate is closed; what waits says why and until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.engine import permits
from reconciler.model.upgrade import Phase
from tests.world import World

CLOSED_NOW = 'timezone: UTC\nwindows:\n  minor: [{cron: "0 3 * * 6", duration: 2h}]\n'
TUESDAY = datetime(2030, 1, 1, 12, tzinfo=UTC)
SATURDAY = datetime(2030, 1, 5, 3, tzinfo=UTC)


async def on_a_tuesday(world: World, more: str = CLOSED_NOW) -> None:
    """1.0.0 runs, and minor changes may start on Saturdays between three and five."""
    world.clock.move_to(TUESDAY)
    world.more = more
    world.deploy_first("1.0.0")
    await world.settle()
    assert world.answers() == "1.0.0"


async def test_it_waits_for_its_window_and_says_until_when(world: World) -> None:
    await on_a_tuesday(world)
    world.bump("1.1.0")
    await world.settle()

    assert world.phases() == ["succeeded", "waiting"]
    assert world.answers() == "1.0.0"
    view = world.view()
    assert view.sentence == (
        "production: api 1.0.0 → 1.1.0 waits: the minor window opens Sat 2030-01-05 03:00 UTC"
    )
    assert view.starts_at == SATURDAY
    assert world.fleet.passes["production"].opens_at() == SATURDAY
    assert world.told()[-1] == view.sentence

    world.clock.move_to(SATURDAY + timedelta(minutes=1))
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
    assert world.answers() == "1.1.0"


async def test_that_it_waits_and_for_which_window_is_written_at_once(world: World) -> None:
    await on_a_tuesday(world)
    world.bump("1.1.0")
    await world.fleet.refresh()
    asked: list[str] = []
    world.core.store._connection.set_trace_callback(asked.append)
    await world.a_pass()
    world.core.store._connection.set_trace_callback(None)
    assert world.phases() == ["succeeded", "waiting"]
    assert [mark for mark in world.core.store.marks("window: ") if "production" in mark]
    assert asked.count("COMMIT") == 1, asked
    writes = [one for one in asked if one.startswith(("INSERT", "UPDATE", "DELETE"))]
    assert writes
    begun, ended = asked.index("BEGIN IMMEDIATE"), asked.index("COMMIT")
    assert all(begun < asked.index(one) < ended for one in writes), asked


async def test_waiting_is_told_once_and_not_at_every_pass(world: World) -> None:
    await on_a_tuesday(world)
    world.bump("1.1.0")
    await world.settle()
    told = world.told()
    world.clock.move(timedelta(hours=5))
    await world.settle()
    await world.settle()
    assert world.told() == told


async def test_of_two_bumps_before_the_window_only_the_second_is_deployed(world: World) -> None:
    await on_a_tuesday(world)
    world.bump("1.1.0")
    await world.settle()
    world.bump("1.2.0")
    await world.settle()
    assert world.phases() == ["succeeded", "superseded", "waiting"]
    assert world.upgrades()[1].reason == "1.2.0 is pinned now"

    world.clock.move_to(SATURDAY)
    await world.settle()
    assert world.phases() == ["succeeded", "superseded", "succeeded"]
    assert world.answers() == "1.2.0"


async def test_what_nobody_asks_for_any_more_is_cancelled(world: World) -> None:
    await on_a_tuesday(world)
    world.bump("1.1.0")
    await world.settle()
    world.pin("1.0.0")
    world.merge("Not yet")
    await world.settle()
    assert world.phases() == ["succeeded", "cancelled"]


async def test_a_bump_committed_anew_is_one_upgrade(world: World) -> None:
    await on_a_tuesday(world)
    world.bump("1.1.0")
    await world.settle()
    world.pin("1.2.0")
    world.release("1.2.0")
    world.merge("Or rather 1.2.0")
    world.pin("1.1.0")
    again = world.merge("No, 1.1.0")
    await world.settle()

    assert world.phases() == ["succeeded", "superseded", "waiting"]
    newest = world.newest()
    assert newest is not None
    assert newest.revision == again


async def test_a_class_without_windows_is_always_open(world: World) -> None:
    await on_a_tuesday(world)
    world.bump("1.0.1")
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]


async def test_an_emergency_passes_windows_and_the_freezes_that_except_it(world: World) -> None:
    dates = 'from: "2029-12-20", until: "2030-01-06"'
    frozen = f"freezes:\n  - {{{dates}, reason: year end, except: [emergency, initial]}}\n"
    await on_a_tuesday(world, CLOSED_NOW + frozen)
    world.bump("1.0.1")
    await world.settle()
    assert "frozen until Mon 2030-01-07 00:00 UTC: year end" in world.view().sentence

    world.bump("1.1.0", more="upgrade: {urgency: emergency}\n")
    await world.settle()
    assert world.answers() == "1.1.0"
    newest = world.newest()
    assert newest is not None
    assert newest.change_class == "emergency"


@pytest.mark.fault("TM-07")
async def test_a_restore_is_never_gated(world: World) -> None:
    await on_a_tuesday(world)
    world.clock.move_to(SATURDAY)
    world.bump("1.1.0", "unhealthy")
    world.at["phase:verifying"] = lambda: world.clock.move(timedelta(hours=4))
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    assert world.answers() == "1.0.0"


async def test_the_window_is_looked_at_again_just_before_anything_is_touched(world: World) -> None:
    await on_a_tuesday(world)
    world.bump("1.1.0")
    world.clock.move_to(SATURDAY)
    # Fetching the artifact took until Monday.
    world.at["artifact:done"] = lambda: world.clock.move(timedelta(days=2))
    world.at["phase:waiting"] = world.at.clear
    await world.settle()

    assert world.phases() == ["succeeded", "waiting"]
    assert world.answers() == "1.0.0"
    assert "the minor window opens Sat 2030-01-12 03:00 UTC" in world.view().sentence


@pytest.mark.fault("GT-04")
async def test_a_change_waits_while_what_is_known_may_be_out_of_date(world: World) -> None:
    await on_a_tuesday(world)
    world.bump("1.1.0")
    await world.settle()
    world.clock.move_to(SATURDAY)
    await world.settle(refresh=False)
    assert world.phases() == ["succeeded", "waiting"]
    assert [gate.gate for gate in world.view().gates if not gate.open] == ["stale"]

    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]


async def test_no_more_upgrades_at_once_than_the_policy_says(world: World) -> None:
    world.more = "policy: {parallel: 1}\n"
    world.deploy_first("1.0.0", "api", "base", "web")
    await world.fleet.refresh()
    most = 0
    for _ in range(3):
        await world.a_pass()
        most = max(most, len(world.fleet.passes["production"].busy))
        await world.rest()
    assert most == 1
    assert {world.answers(service) for service in ("api", "base", "web")} == {"1.0.0"}


async def test_a_newer_pin_supersedes_one_that_is_being_verified(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", soak="1m", deadline="2m")
    await world.reach(Phase.VERIFYING)
    world.bump("1.2.0")
    await world.settle()

    assert world.phases() == ["succeeded", "superseded", "succeeded"]
    assert world.answers() == "1.2.0"
    assert world.core.store.quarantined("production") == []


async def test_a_newer_pin_that_may_not_start_lets_the_verification_run_to_its_end(world: World) -> None:
    await on_a_tuesday(world)
    world.bump("1.0.1", soak="700ms", deadline="9s")
    await world.reach(Phase.VERIFYING)
    world.bump("1.1.0")
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded", "waiting"]
    assert world.answers() == "1.0.1"


async def test_a_newer_pin_that_comes_after_another_lets_the_verification_run_to_its_end(
    world: World,
) -> None:
    world.more = "windows: {major: manual}\n"
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    world.bump("2.0.0")
    world.bump("1.0.1", service="web", soak="700ms", deadline="9s")
    await world.reach(Phase.VERIFYING, "web")
    world.bump("1.1.0", service="web", more='requires: {api: ">=1.0.0 <3.0.0"}\n')
    await world.settle()
    assert world.phases("web") == ["succeeded", "succeeded", "waiting"]
    assert world.answers("web") == "1.0.1"
    assert "it comes after api" in world.view("web").sentence


async def test_a_newer_pin_supersedes_one_that_has_touched_nothing_yet(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0")
    hold = world.hold("prepare")
    await world.reach(Phase.PREPARING)
    world.bump("1.2.0")
    await world.fleet.refresh()
    await world.a_pass()
    hold.set()
    await world.settle()
    assert world.phases() == ["succeeded", "superseded", "succeeded"]
    assert world.answers() == "1.2.0"


async def test_a_pin_removed_before_anything_is_touched_deploys_nothing(world: World) -> None:
    world.deploy_first("1.0.0", "web")
    await world.settle()
    world.bump("1.0.0")
    hold = world.hold("prepare")
    await world.reach(Phase.PREPARING)
    world.pin(None)
    world.merge("Not now")
    await world.fleet.refresh()
    await world.a_pass()
    hold.set()
    await world.settle()
    assert world.phases() == ["cancelled"]
    assert world.answers() == ""


async def test_a_pin_moved_back_before_anything_is_touched_cancels(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid = world.pid()
    world.bump("1.1.0")
    hold = world.hold("prepare")
    await world.reach(Phase.PREPARING)
    world.pin("1.0.0")
    world.merge("Take it back")
    await world.fleet.refresh()
    await world.a_pass()
    hold.set()
    await world.settle()
    assert world.phases() == ["succeeded", "cancelled"]
    assert world.pid() == pid


async def test_a_pin_moved_back_while_verifying_aborts_without_quarantine(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", soak="1m", deadline="2m")
    await world.reach(Phase.VERIFYING)
    world.pin("1.0.0")
    back = world.merge("Take it back")
    await world.settle()

    assert world.phases() == ["succeeded", "cancelled"]
    assert world.answers() == "1.0.0"
    assert world.tip() == back
    assert world.core.store.quarantined("production") == []


async def test_a_pin_moved_back_later_is_a_rollback_and_always_open(world: World) -> None:
    await on_a_tuesday(world)
    world.clock.move_to(SATURDAY)
    world.bump("1.1.0")
    await world.settle()
    world.clock.move(timedelta(days=1))
    world.pin("1.0.0")
    world.merge("Back, please")
    await world.settle()

    assert world.answers() == "1.0.0"
    newest = world.newest()
    assert newest is not None
    assert newest.change_class == "rollback"
    assert newest.phase is Phase.SUCCEEDED


async def test_any_other_way_down_needs_leave(world: World) -> None:
    world.deploy_first("1.2.0")
    await world.settle()
    world.bump("1.1.0")
    await world.settle()
    assert world.answers() == "1.2.0"
    gate = next(gate for gate in world.view().gates if not gate.open)
    assert gate.gate == "path"
    assert "1.1.0 is older than the running 1.2.0" in gate.reason
    assert "environments/production.yaml:5:8" in gate.reason
    assert "allow_downgrade: true" in gate.opened_by

    world.pin('{version: "1.1.0", allow_downgrade: true}')
    world.merge("On purpose")
    await world.settle()
    assert world.answers() == "1.1.0"


@pytest.mark.fault("TM-08")
async def test_a_window_that_the_engine_slept_through_is_told_once_and_the_next_is_taken(
    world: World,
) -> None:
    await on_a_tuesday(world)
    world.bump("1.1.0")
    await world.settle()
    await world.stopped()
    world.clock.move_to(SATURDAY + timedelta(hours=3))
    await world.fleet.start()
    await world.settle()
    await world.settle()

    [told] = [told for told in world.told() if "passed unused" in told]
    assert told == (
        "production: api 1.0.0 → 1.1.0: its window from Sat 2030-01-05 03:00 UTC to Sat 2030-01-05 05:00 UTC passed "
        "unused: UGS did not look at it while it was open: it was stopped, or the environment was in other hands; "
        "the next opens Sat 2030-01-12 03:00 UTC"
    )
    assert world.events().count("window-passed api") == 1
    assert world.phases() == ["succeeded", "waiting"]

    world.clock.move_to(SATURDAY + timedelta(days=7, minutes=1))
    await world.settle()
    assert world.answers() == "1.1.0"
    world.clock.move(timedelta(days=7))
    await world.settle()
    assert world.events().count("window-passed api") == 1


@pytest.mark.fault("TM-08")
async def test_a_window_in_which_another_gate_was_closed_passes_with_that_reason(world: World) -> None:
    await on_a_tuesday(world)
    world.bump("1.1.0")
    await world.settle()
    hold = permits.hold(world.fleet, "production", "api", actor="ada", reason="look first")
    world.clock.move_to(SATURDAY + timedelta(minutes=1))
    await world.settle()
    permits.release_hold(world.fleet, hold.id, actor="ada")
    world.clock.move_to(SATURDAY + timedelta(hours=2))
    await world.settle()
    [told] = [told for told in world.told() if "passed unused" in told]
    assert "to Sat 2030-01-05 05:00 UTC passed unused: held by ada: look first; the next opens" in told


async def test_a_window_that_a_commit_moved_away_did_not_pass(world: World) -> None:
    await on_a_tuesday(world)
    world.bump("1.1.0")
    await world.settle()
    world.more = CLOSED_NOW.replace("* * 6", "* * 0")
    world.merge("On Sundays")
    await world.settle()
    world.clock.move_to(SATURDAY + timedelta(hours=3))
    await world.settle()
    assert "window-passed api" not in world.events()
    assert world.core.store.marks("window: ")
    world.pin("1.0.0")
    world.merge("Never mind")
    await world.settle()
    assert not world.core.store.marks("window: ")
