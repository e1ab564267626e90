"""A person's verdict counts like a probe's: restored first, reverted then."""

from __future__ import annotations

import threading

import pytest

from reconciler.engine import people
from reconciler.engine.granted import MARK
from reconciler.engine.people import Conflict
from reconciler.model.errors import HostError
from reconciler.model.upgrade import Phase
from tests.git.colleague import git
from tests.world import World


async def rollback(world: World) -> str:
    return await people.rollback(world.fleet, "production", "api", actor="Ada", reason="it loses orders")


async def test_a_version_that_had_succeeded_is_rolled_back(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    bump = world.bump("1.1.0")
    await world.settle()

    operation = await rollback(world)
    await world.settle()

    assert world.phases() == ["succeeded", "succeeded", "reverted"]
    assert world.answers() == "1.0.0"
    assert 'api: "1.0.0"' in world.pinned()
    message = git(world.remote, "log", "-1", "--format=%B", "main")
    assert "rolled back by Ada: it loses orders" in message
    assert f"Ugs-Operation: {operation}" in message
    assert f"Reverts: {bump}" in message
    [row] = world.core.store.quarantined("production")
    assert row.target.version.text == "1.1.0"
    rows = {row.event: row for row in world.core.store.audit_rows(limit=100) if row.operation == operation}
    assert rows["restoring"].actor == "Ada"
    assert "it loses orders" in rows["restoring"].detail


async def test_what_was_rolled_back_is_not_last_good_any_more(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0")
    await world.settle()
    await rollback(world)
    await world.settle()

    world.bump("1.2.0", "unhealthy")
    await world.settle()
    assert world.answers() == "1.0.0"
    assert 'api: "1.0.0"' in world.pinned()


async def test_what_was_rolled_back_before_it_had_proved_itself_again_is_not_brought_back_either(
    world: World,
) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0")
    await world.settle()
    free = world.hold("apply")
    world.pin("1.0.0")
    world.merge("Back to 1.0.0")
    await world.reach(Phase.APPLYING)
    await rollback(world)
    free.set()
    await world.settle()
    assert world.answers() == "1.1.0"

    with pytest.raises(Conflict, match="nothing that api could be rolled back to"):
        await rollback(world)
    assert world.answers() == "1.1.0"


async def test_what_waits_for_another_attempt_makes_way_for_the_verdict(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("2.0.0", "unhealthy", more="upgrade: {reversible: false}\n")
    await world.settle()
    world.pin("1.0.0")
    world.merge()
    world.pin("2.0.0")
    world.merge()
    await world.settle()
    assert world.phases() == ["succeeded", "stuck", "waiting"]

    await rollback(world)
    await world.settle()
    assert world.phases() == ["succeeded", "stuck", "cancelled", "reverted"]
    assert world.answers() == "1.0.0"
    [waited] = [one for one in world.upgrades() if one.phase is Phase.CANCELLED]
    told = [notice.phase for notice in world.notices() if notice.operation == waited.operation]
    assert told == ["waiting", "cancelled"]  # it may have started before: its thread does not end in silence


async def test_the_way_back_to_last_good_is_not_rolled_back(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("2.0.0", "unhealthy", more="upgrade: {reversible: false}\n")
    await world.settle()
    free = world.hold("apply")
    world.pin("1.0.0")
    world.merge()
    await world.reach(Phase.APPLYING)
    with pytest.raises(Conflict, match=r"on its way back to 1\.0\.0 already"):
        await rollback(world)
    free.set()
    await world.settle()
    assert world.phases() == ["succeeded", "stuck", "succeeded"]
    assert world.answers() == "1.0.0"


async def test_a_version_that_is_being_verified_is_rolled_back(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", soak="1m", deadline="2m")
    under_way = await world.reach(Phase.VERIFYING)

    assert await rollback(world) == under_way.operation
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    assert world.answers() == "1.0.0"
    assert "rolled back by Ada" in world.upgrades()[0].reason


@pytest.mark.fault("AP-09")
@pytest.mark.parametrize("phase", [Phase.APPLYING, Phase.VERIFYING])
async def test_a_rollback_that_was_granted_outlives_the_daemon(world: World, phase: Phase) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    free = world.hold("apply") if phase is Phase.APPLYING else None
    world.bump("1.1.0", soak="1m", deadline="2m")
    under_way = await world.reach(phase)
    if free:
        await world.eventually(lambda: begun(world, "apply"))
    # From here on the daemon does nothing more than to answer: it is killed before anybody hears of it.
    control = world.fleet.passes["production"].running["api"].control
    control.say(stopping=True)
    assert await rollback(world) == under_way.operation
    control.verdict = ""
    if free:
        free.set()
    await world.restart()
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    assert world.answers() == "1.0.0"
    newest = world.newest()
    assert newest
    assert (newest.operation, newest.actor) == (under_way.operation, "Ada")
    assert world.events().count("rollback-granted api") == 1
    assert world.core.store.marks(MARK) == {}


async def test_a_rollback_that_cannot_be_forgotten_is_forgotten_with_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", soak="1m", deadline="2m")
    await world.reach(Phase.VERIFYING)
    await rollback(world)
    mark = world.core.store.mark

    def full(key: str, value: str | None) -> None:
        if key.startswith(MARK) and value is None:
            raise HostError("the disk is full", "free some space")
        mark(key, value)

    with monkeypatch.context() as patch:
        patch.setattr(world.core.store, "mark", full)
        await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    assert len(world.core.store.marks(MARK)) == 1
    world.bump("1.2.0", soak="1m", deadline="2m")  # nothing of the first holds it up
    await world.reach(Phase.VERIFYING)
    await rollback(world)
    await world.settle()
    assert world.phases() == ["succeeded", "reverted", "reverted"]
    assert world.core.store.marks(MARK) == {}


def begun(world: World, step: str) -> bool:
    newest = world.newest()
    return newest is not None and step in {one.step for one in world.core.store.steps(newest.operation)}


@pytest.mark.fault("AP-09")
@pytest.mark.parametrize("step", ["settle", "tidy"])
async def test_a_rollback_in_the_last_moments_of_an_upgrade_counts(world: World, step: str) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    free = world.hold(step)
    world.bump("1.1.0", deadline="2m")
    await world.reach(Phase.VERIFYING)
    await world.eventually(lambda: begun(world, step))
    operation = await rollback(world)
    free.set()
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    assert world.answers() == "1.0.0"
    assert world.upgrades()[0].operation == operation
    assert world.upgrades()[0].actor == "Ada"
    assert [row.target.version.text for row in world.core.store.quarantined("production")] == ["1.1.0"]


@pytest.mark.fault("AP-09")
async def test_a_rollback_of_what_this_machine_could_not_apply_is_no_later_try(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    free, own = threading.Event(), world.driver.apply

    def full(*_: object) -> None:
        assert free.wait(60)
        world.driver.apply = own
        raise HostError("the disk is full", "make room")

    world.driver.apply = full
    world.bump("1.1.0", deadline="2m")
    await world.reach(Phase.APPLYING)
    await world.eventually(lambda: begun(world, "apply"))
    await rollback(world)
    free.set()
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    assert "rolled back by Ada" in world.upgrades()[0].reason
    assert 'api: "1.0.0"' in world.pinned()


@pytest.mark.fault("AP-09")
async def test_a_rollback_counts_though_the_probing_turns_out_to_be_suspect(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", "unhealthy", deadline="2m")
    await world.reach(Phase.VERIFYING)

    async def all_ill() -> list[bool]:
        await rollback(world)
        return [False] * 3

    world.fleet.passes["production"].running["api"].control.controls = all_ill
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    assert world.upgrades()[0].actor == "Ada"
    assert world.core.store.permits("production").holds == ()


async def test_what_a_rollback_brings_back_has_to_prove_itself_too(world: World) -> None:
    ill = world.folder / "ill"
    world.release("1.0.0", probe=f'{{command: ["test", "!", "-e", "{ill}"], interval: 50ms, failures: 1}}')
    world.pin("1.0.0")
    world.merge()
    await world.settle()
    world.bump("1.1.0", soak="1m", deadline="2m")
    await world.reach(Phase.VERIFYING)
    ill.touch()
    await rollback(world)
    await world.settle()
    assert world.phases() == ["succeeded", "stuck"]
    assert any("1.0.0 is back but did not prove healthy" in call for call in world.calls())


async def test_a_rollback_does_not_hammer_a_remote_that_is_down(world: World) -> None:
    world.deploy_first("1.0.0", "web")
    await world.settle()
    world.bump("1.0.0", soak="1m", deadline="2m")
    await world.reach(Phase.VERIFYING)
    away, fetches = world.folder / "away.git", []
    world.remote.rename(away)
    own = world.core.repository.mirror.fetch

    def fetch() -> str:
        fetches.append(own)
        return own()

    world.core.repository.mirror.fetch = fetch  # type: ignore[method-assign]  # counted, and then done
    await rollback(world)
    await world.tries("revert", outcome="retry")
    await world.eventually(lambda: world.clock.waiting)
    assert len(fetches) == 1

    away.rename(world.remote)
    await world.stopped()
    await world.fleet.start()
    await world.settle()
    assert world.phases() == ["reverted"]


async def test_a_bump_that_waits_is_planned_anew_from_what_was_rolled_back_to(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0")
    await world.settle()
    world.more = 'timezone: UTC\nfreezes: [{from: "2020-01-01", until: "2100-01-01", reason: "not now"}]\n'
    world.bump("1.2.0")
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded", "waiting"]

    await rollback(world)
    await world.settle()
    assert world.answers() == "1.0.0"
    phases = [(upgrade.phase.value, upgrade.to and upgrade.to.version.text) for upgrade in world.upgrades()]
    assert phases.count(("waiting", "1.2.0")) == 1
    assert ("restored", "1.1.0") in phases
    assert 'api: "1.2.0"' in world.pinned()


async def test_what_others_need_is_not_rolled_back_under_them(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    world.bump("2.0.0")
    await world.settle()
    world.bump("2.0.0", service="web", more='requires: {api: ">=2.0.0"}\n')
    await world.settle()

    with pytest.raises(Conflict, match=r"web 2\.0\.0 needs api >=2\.0\.0; roll web back first"):
        await rollback(world)
    await people.rollback(world.fleet, "production", "web", actor="Ada", reason="first")
    await world.settle()
    await rollback(world)
    await world.settle()
    assert (world.answers("api"), world.answers("web")) == ("1.0.0", "1.0.0")


async def test_nothing_to_roll_back_to_is_said(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    with pytest.raises(Conflict, match="there is nothing that api could be rolled back to"):
        await rollback(world)
    assert world.answers() == "1.0.0"


async def test_an_environment_that_is_not_there_is_said(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    with pytest.raises(Conflict, match="there is no environment staging; name one of production"):
        await people.rollback(world.fleet, "staging", "api", actor="Ada", reason="it loses orders")


async def test_what_has_touched_nothing_yet_is_not_rolled_back(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0")
    hold = world.hold("prepare")
    await world.reach(Phase.PREPARING)
    with pytest.raises(Conflict, match="api is preparing; an upgrade that has touched nothing is stopped by"):
        await rollback(world)
    hold.set()
    await world.settle()


async def test_what_a_person_rolled_back_may_be_tried_again_by_a_person(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0")
    await world.settle()
    await rollback(world)
    await world.settle()
    await people.retry(world.fleet, "production", "api", actor="Ada")
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded", "reverted", "succeeded"]
    assert world.answers() == "1.1.0"


async def test_a_retry_whose_operation_is_no_longer_known_says_how_to_do_it_by_hand(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    await world.settle()
    world.core.store._connection.execute("DELETE FROM upgrades")
    with pytest.raises(Conflict, match="commit the pin again yourself with the trailer `Ugs-Retry: "):
        await people.retry(world.fleet, "production", "api", actor="Ada")


async def test_a_retry_of_a_pin_that_was_removed_says_how_to_do_it_by_hand(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    await world.settle()
    world.files |= {
        "environments/production.yaml": None,
        "environments/production/environment.yaml": "environment: production\ndriver: {kind: process}\n",
        "environments/production/web.yaml": 'pins: {web: "1.0.0"}\n',
    }
    world.merge("Split, and retire api")
    await world.settle()
    with pytest.raises(Conflict, match="has no pin of api any more"):
        await people.retry(world.fleet, "production", "api", actor="Ada")
