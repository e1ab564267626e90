"""What only a swarm of several nodes can show: nodes that are lost, managers that are too few, updates that Swarm
itself carries out."""

from __future__ import annotations

import contextlib
from typing import cast

import pytest

from tests.engines.harness import Mode, Stage
from tests.engines.swarm import Swarm

pytestmark = [
    pytest.mark.engine,
    pytest.mark.parametrize("engine", ["swarm"], indirect=True, scope="session"),
]


@pytest.fixture
def swarm(stage: Stage) -> Swarm:
    return cast(Swarm, stage.engine)


def ever(swarm: Swarm, version: str) -> set[int]:
    """The slots in which an instance of the version was ever begun, as far as Swarm remembers."""
    with contextlib.closing(swarm.api) as api:
        tasks = api.tasks(filters={"service": "production_api"})
    return {one["Slot"] for one in tasks if one["Spec"]["ContainerSpec"]["Labels"]["ugs.version"] == version}


def test_a_node_that_is_lost_during_an_upgrade_does_not_fail_it(stage: Stage, swarm: Swarm) -> None:
    with stage.running("1.0.0", instances=2) as daemon:
        stage.bump("1.1.0", "slow", instances=2)
        daemon.until(lambda: swarm.instances("api") == ["1.1.0", "1.1.0"])
        victim = next(node for node in map(swarm.node_of, swarm.tasks("api")) if node != 1)
        swarm.cluster.kill(victim)
        stage.until_ended(daemon, "succeeded", "succeeded")
        daemon.until_runs("1.1.0")
        assert victim not in map(swarm.node_of, swarm.tasks("api"))
        assert swarm.instances("api") == ["1.1.0", "1.1.0"]
        swarm.cluster.join(victim)
        swarm.cluster.until_whole()
        daemon.until_runs("1.1.0")
    assert stage.phases() == ["succeeded", "succeeded"]
    assert stage.world.reverts() == []


def test_a_swarm_without_a_leader_reverts_nothing_and_the_upgrade_goes_on_when_it_has_one(
    stage: Stage, swarm: Swarm
) -> None:
    with stage.running("1.0.0") as daemon:
        stage.bump("1.1.0", "slow")
        daemon.until(lambda: "1.1.0" in swarm.instances("api"))
        for node in (2, 3):
            swarm.cluster.cut(node)
        daemon.until(lambda: [said for said in daemon.status()["needs_person"] if "production" in said])
        for node in (2, 3):
            swarm.cluster.join(node)
        stage.until_ended(daemon, "succeeded", "succeeded")
        daemon.until_runs("1.1.0")
    assert stage.world.reverts() == []


def test_a_rolling_update_stops_at_the_first_instance_that_fails_and_the_others_never_stopped(
    stage: Stage, swarm: Swarm
) -> None:
    with stage.running("1.0.0", instances=3) as daemon:
        before = {one["ID"] for one in swarm.tasks("api")}
        stage.bump("1.1.0", "crash", instances=3, strategy="rolling")
        stage.until_ended(daemon, "succeeded", "reverted")
        daemon.until_runs("1.0.0")
        assert len(ever(swarm, "1.1.0")) == 1
        assert len(before & {one["ID"] for one in swarm.tasks("api")}) == 2
    assert stage.world.reverts() == [stage.world.tip()]


def test_a_canary_that_fails_takes_back_what_moved_and_no_more(stage: Stage, swarm: Swarm) -> None:
    with stage.running("1.0.0", instances=3) as daemon:
        before = {one["ID"] for one in swarm.tasks("api")}
        stage.bump("1.1.0", "unhealthy", instances=3, strategy="{canary: [1]}")
        stage.until_ended(daemon, "succeeded", "reverted")
        daemon.until_runs("1.0.0")
        assert len(ever(swarm, "1.1.0")) == 1
        assert len(before & {one["ID"] for one in swarm.tasks("api")}) == 2


def test_secrets_and_configuration_reach_the_instance_as_files_and_variables_as_they_stand(
    stage: Stage, swarm: Swarm
) -> None:
    (swarm.folder / "secret").write_text("hunter2\n")
    grant = f'file: "{swarm.folder / "secret"}", environments: [production], services: [api]'
    stage.world.settings_more += f"secrets: {{db-password: {{{grant}}}}}\n"
    variables = ', GREETING: "{{hello}}", DB_PASSWORD: {secret: db-password}'
    swarm.release(stage.world, "1.0.0", "ok", "api", variables=variables, more="config: [{path: etc/mode}]\n")
    stage.pin("1.0.0")
    stage.world.merge("Begin")
    with stage.daemon() as daemon:
        daemon.until_runs("1.0.0")
        [task] = swarm.tasks("api")
        assert swarm.execute(task, "cat", "/run/secrets/DB_PASSWORD") == "hunter2"
        assert swarm.execute(task, "cat", "/etc/mode") == "ok\n"
        variables = swarm.execute(task, "env")
        assert "GREETING={{hello}}\n" in variables
        assert "DB_PASSWORD_FILE=/run/secrets/DB_PASSWORD\n" in variables
        assert f"UGS_INSTANCE={task['Slot']}\n" in variables
        assert "hunter2" not in variables
        assert "hunter2" not in str(swarm.found("api"))


BARE = """\
service: api
version: "{version}"
artifact: {{image: "{image}"}}
run: {{port: 8080, stop_grace: 2s}}
health: {{soak: 3s, deadline: 2m}}
"""
"""Nothing of it is published: it is reached by its name, where Swarm has a network, and there are none here."""


def bump(stage: Stage, swarm: Swarm, version: str, mode: Mode = "ok") -> None:
    image = swarm.image(version, mode)
    stage.world.files[f"releases/api/{version}.yaml"] = BARE.format(version=version, image=image)
    stage.pin(version, instances=2, strategy="blue-green")
    stage.world.merge(f"Bump to {version}")


def alive(swarm: Swarm) -> dict[str, str]:
    """By the id of each task of both sides that runs, its version."""
    with contextlib.closing(swarm.api) as api:
        tasks = api.tasks(filters={"desired-state": "running"})
    return {
        one["ID"]: one["Spec"]["ContainerSpec"]["Labels"]["ugs.version"]
        for one in tasks
        if one["Status"]["State"] == "running"
    }


@pytest.mark.shows("swarm", "blue-green")
def test_the_old_side_runs_on_beside_the_new_one_until_that_is_proven_and_a_bad_one_goes(
    stage: Stage, swarm: Swarm
) -> None:
    bump(stage, swarm, "1.0.0")
    with stage.daemon() as daemon:
        daemon.until_runs("1.0.0")
        old = alive(swarm)
        bump(stage, swarm, "1.1.0")
        daemon.until(lambda: list(alive(swarm).values()).count("1.1.0") == 2)
        assert old.items() <= alive(swarm).items()
        stage.until_ended(daemon, "succeeded", "succeeded")
        daemon.until_runs("1.1.0")
        daemon.until(lambda: sorted(alive(swarm).values()) == ["1.1.0", "1.1.0"])
        proven = alive(swarm)
        bump(stage, swarm, "1.2.0", "crash")
        stage.until_ended(daemon, "succeeded", "succeeded", "reverted")
        daemon.until_runs("1.1.0")
        daemon.until(lambda: alive(swarm) == proven)
    with contextlib.closing(swarm.api) as api:
        assert [one["Spec"]["Name"] for one in api.services()] == ["production_api_green"]
    assert stage.world.reverts() == [stage.world.tip()]
