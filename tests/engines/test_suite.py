"""What holds on every engine: the real daemon, over a real engine, as people see it and as the engine says."""

from __future__ import annotations

import pytest

from reconciler.drivers.mark import site_id
from reconciler.model.engines import ENGINES
from reconciler.model.release import Strategy
from tests.engines import KINDS
from tests.engines.harness import Lack, Mode, Stage, module

pytestmark = pytest.mark.engine


def on(*needed: Lack) -> pytest.MarkDecorator:
    """On every engine that has what the scenario is about."""
    kinds = [kind for kind in KINDS if module(kind).LACKS.isdisjoint(needed)]
    return pytest.mark.parametrize("engine", kinds, indirect=True, scope="session")


def going(strategy: Strategy) -> pytest.MarkDecorator:
    """On every engine that can do it."""
    kinds = [kind for kind in KINDS if strategy in ENGINES[kind].strategies]
    return pytest.mark.parametrize("engine", kinds, indirect=True, scope="session")


@on()
def test_what_is_pinned_runs_and_a_good_bump_takes_its_place(stage: Stage) -> None:
    with stage.running("1.0.0") as daemon:
        assert stage.engine.answers("api") == "1.0.0"
        assert stage.engine.instances("api") == ["1.0.0"]
        stage.bump("1.1.0")
        daemon.until_runs("1.1.0")
        assert stage.engine.answers("api") == "1.1.0"
        assert stage.engine.instances("api") == ["1.1.0"]
    assert stage.phases() == ["succeeded", "succeeded"]
    assert stage.world.reverts() == []


@on()
@pytest.mark.parametrize("mode", ["unhealthy", "crash"])
def test_a_bad_bump_is_taken_back_and_its_pin_reverted_once(stage: Stage, mode: Mode) -> None:
    with stage.running("1.0.0") as daemon:
        was = stage.world.pinned()
        stage.bump("1.1.0", mode)
        stage.until_ended(daemon, "succeeded", "reverted")
        daemon.until_runs("1.0.0")
        assert stage.engine.answers("api") == "1.0.0"
        assert stage.engine.instances("api") == ["1.0.0"]
    assert stage.world.pinned() == was
    assert stage.world.reverts() == [stage.world.tip()]


@on()
def test_a_bad_first_deployment_leaves_neither_service_nor_pin(stage: Stage) -> None:
    with stage.running("1.0.0", "web") as daemon:
        stage.bump("1.0.0", "unhealthy", "api")
        stage.until_ended(daemon, "reverted")
        daemon.until(lambda: stage.engine.instances("api") == [])
        assert stage.engine.instances("web") == ["1.0.0"]
    assert "api" not in stage.world.pinned()
    assert stage.world.reverts() == [stage.world.tip()]


@on()
def test_an_artifact_that_is_gone_touches_nothing_that_runs_and_holds_up_no_other_service(
    stage: Stage,
) -> None:
    with stage.running("1.0.0", "api", "web") as daemon:
        stage.release("1.1.0", "absent", "api")
        stage.pin("1.1.0", "api")
        stage.bump("1.1.0", "ok", "web")
        daemon.until_runs("1.1.0", "web")
        # What can never be right is reverted; what may come yet waits, and a person is told.
        daemon.until(
            lambda: (
                stage.phases()[1:] == ["reverted"]
                or [said for said in daemon.status()["needs_person"] if "api" in said]
            )
        )
        assert stage.engine.instances("api") == ["1.0.0"]
        assert stage.engine.answers("api") == "1.0.0"
    applied = [step for upgrade in stage.upgrades()[1:] for step in stage.steps(upgrade) if step == "apply"]
    assert applied == []


@on()
@pytest.mark.parametrize(("mode", "arrives"), [("slow", "1.1.0"), ("unhealthy", "1.0.0")])
def test_a_daemon_killed_while_the_engine_works_finds_it_and_ends_it_once(
    stage: Stage, mode: Mode, arrives: str
) -> None:
    with stage.running("1.0.0") as daemon:
        stage.bump("1.1.0", mode)
        daemon.until(lambda: "1.1.0" in stage.engine.instances("api"))
        daemon.kill()
    assert stage.phases()[:1] == ["succeeded"]
    with stage.daemon() as daemon:
        stage.until_ended(daemon, "succeeded", "succeeded" if arrives == "1.1.0" else "reverted")
        daemon.until_runs(arrives)
        daemon.until(lambda: stage.engine.instances("api") == [arrives])
        assert stage.engine.answers("api") == arrives
    assert len(stage.world.reverts()) == (arrives == "1.0.0")


@going("rolling")
def test_a_rolling_update_replaces_instance_by_instance_and_a_bad_one_leaves_those_it_did_not_reach(
    stage: Stage,
) -> None:
    with stage.running("1.0.0", instances=3) as daemon:
        stage.bump("1.1.0", instances=3, strategy="rolling")
        daemon.until(lambda: len(set(stage.engine.instances("api"))) == 2)
        daemon.until_runs("1.1.0")
        assert stage.engine.instances("api") == ["1.1.0"] * 3
        stage.bump("1.2.0", "unhealthy", instances=3, strategy="rolling")
        stage.until_ended(daemon, "succeeded", "succeeded", "reverted")
        daemon.until_runs("1.1.0")
        daemon.until(lambda: stage.engine.instances("api") == ["1.1.0"] * 3)
    assert stage.world.reverts() == [stage.world.tip()]


@going("canary")
def test_a_canary_goes_on_step_by_step_and_a_bad_one_is_taken_back_before_the_others_move(
    stage: Stage,
) -> None:
    with stage.running("1.0.0", instances=3) as daemon:
        stage.bump("1.1.0", instances=3, strategy="{canary: [1, 2]}")
        daemon.until_runs("1.1.0")
        assert stage.engine.instances("api") == ["1.1.0"] * 3
        assert {"apply:2", "apply:3"} <= set(stage.steps(stage.upgrades()[-1]))
        stage.bump("1.2.0", "unhealthy", instances=3, strategy="{canary: [1]}")
        stage.until_ended(daemon, "succeeded", "succeeded", "reverted")
        daemon.until_runs("1.1.0")
        daemon.until(lambda: stage.engine.instances("api") == ["1.1.0"] * 3)
        assert not {"apply:2", "apply:3"} & set(stage.steps(stage.upgrades()[-1]))
    assert stage.world.reverts() == [stage.world.tip()]


@on("engine")
def test_an_engine_that_is_down_is_told_and_reverts_nothing_and_what_waited_arrives(stage: Stage) -> None:
    with stage.running("1.0.0") as daemon:
        stage.engine.engine_down()
        stage.bump("1.1.0")
        daemon.until(lambda: [said for said in daemon.status()["needs_person"] if "production" in said])
        stage.engine.engine_up()
        daemon.until_runs("1.1.0")
        assert stage.engine.instances("api") == ["1.1.0"]
        assert stage.engine.answers("api") == "1.1.0"
    assert stage.phases()[-1] == "succeeded"
    assert stage.world.reverts() == []


@on()
def test_of_two_instances_one_that_crashes_comes_back_and_nothing_is_reverted(stage: Stage) -> None:
    with stage.running("1.0.0", instances=2) as daemon:
        stage.engine.crash_one("api")
        daemon.until(lambda: stage.engine.instances("api") == ["1.0.0", "1.0.0"])
        daemon.until_runs("1.0.0")
    assert stage.phases() == ["succeeded"]
    assert stage.world.reverts() == []


@on("drift")
def test_what_was_changed_by_hand_is_told_and_made_as_it_was(stage: Stage) -> None:
    with stage.running("1.0.0", instances=2) as daemon:
        stage.engine.drift("api")
        daemon.until(lambda: stage.audit("drift-ended"))
        assert stage.engine.instances("api") == ["1.0.0", "1.0.0"]
        daemon.until_runs("1.0.0")
        assert stage.engine.answers("api") == "1.0.0"
    assert [row.event for row in stage.audit("drift", "drift-ended")] == ["drift", "drift-ended"]
    assert stage.phases() == ["succeeded"]
    assert stage.world.reverts() == []


@on("drift")
def test_what_was_changed_by_hand_stays_where_the_policy_only_reports(stage: Stage) -> None:
    stage.world.more = "policy: {drift: report}\n"
    with stage.running("1.0.0", instances=2) as daemon:
        stage.engine.drift("api")
        daemon.until(lambda: daemon.service()["sync"] == "drifted")
        daemon.until(
            lambda: [said for said in daemon.status()["needs_person"] if "was changed by hand" in said]
        )
        assert stage.audit("repair") == []
        stage.world.more = ""
        stage.world.merge("Correct it, then")
        daemon.until(lambda: stage.audit("drift-ended"))
        daemon.until_runs("1.0.0")
    assert stage.phases() == ["succeeded"]


@on("adoption")
def test_what_is_not_ours_is_left_alone_until_a_person_has_it_adopted(stage: Stage) -> None:
    stage.engine.stranger("api")
    stage.bump("1.0.0", "ok", "api", "web")
    with stage.daemon() as daemon:
        daemon.until_runs("1.0.0", "web")
        daemon.until(lambda: (seen := daemon.service()) and seen["sync"] == "foreign")
        daemon.until(lambda: stage.engine.instances("api") == ["stranger"])  # the engine takes its time
        assert stage.phases() == ["waiting"]
        stage.ugs("adopt", "production", "api", "--reason", "it was started by hand")
        daemon.until_runs("1.0.0")
        assert stage.engine.instances("api") == ["1.0.0"]
        assert stage.engine.answers("api") == "1.0.0"
    assert [row.event for row in stage.audit("adoption", "adoption-used")] == ["adoption", "adoption-used"]


@on()
def test_removing_most_pins_at_once_stops_nothing_before_a_person_says_so(stage: Stage) -> None:
    stage.world.more = "policy: {prune: true}\n"
    with stage.running("1.0.0", "api", "web") as daemon:
        for service in ("api", "web"):
            stage.world.pin(None, service)
        stage.world.merge("Remove everything")
        guard = "would be removed at once"
        daemon.until(lambda: len([s for s in daemon.status()["needs_person"] if guard in s]) == 2)
        assert [stage.engine.instances(service) for service in ("api", "web")] == [["1.0.0"], ["1.0.0"]]
        stage.ugs("approve", "production", "api")
        stage.until_ended(daemon, "succeeded", "succeeded")
        assert [stage.engine.instances(service) for service in ("api", "web")] == [[], ["1.0.0"]]
        assert stage.engine.answers("web") == "1.0.0"


@pytest.mark.parametrize(
    "engine", [kind for kind in KINDS if ENGINES[kind].measures], indirect=True, scope="session"
)
def test_what_an_instance_uses_is_measured_and_more_than_it_may_is_taken_back(stage: Stage) -> None:
    with stage.running("1.0.0") as daemon:
        stage.release("1.1.0")
        stage.probed("1.1.0", "{performance: memory, at_most: 1, interval: 100ms}", deadline="5s")
        stage.pin("1.1.0")
        stage.world.merge()
        stage.until_ended(daemon, "succeeded", "reverted")
        daemon.until_runs("1.0.0")
    assert "memory: " in stage.upgrades()[-1].reason
    assert "MiB, at most 0.0 MiB" in stage.upgrades()[-1].reason


@on()
def test_all_that_is_ours_says_so(stage: Stage) -> None:
    with stage.running("1.0.0", "api", "web"):
        for service in ("api", "web"):
            [upgrade] = stage.upgrades(service)
            [found] = stage.engine.labels(service)
            wanted = {
                "environment": "production",
                "service": service,
                "version": "1.0.0",
                "operation": upgrade.operation,
                "site": site_id(stage.world.state),
            }
            assert {name: found.get(name) for name in wanted} == wanted
