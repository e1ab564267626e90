"""What the compose driver alone has, on a real engine with a real Compose."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.drivers import compose
from reconciler.drivers.base import Cause, Registry, Site
from reconciler.drivers.compose.project import file_of, trusted, up_argv
from reconciler.drivers.layout import directory_of
from reconciler.model.errors import HostError
from reconciler.model.release import Artifact, Run, SecretName, Strategy
from reconciler.model.target import Workload
from tests.build import release, work
from tests.drivers.services import free_port
from tests.engines.compose import COMPOSE, FILE, Projects, program
from tests.engines.docker import answered
from tests.engines.dockerd import until
from tests.engines.harness import Mode, Stage

pytestmark = [
    pytest.mark.engine,
    pytest.mark.parametrize("engine", ["compose"], indirect=True, scope="session"),
]
CAUSE = Cause("0123456789ab", "c0ffee")


@pytest.fixture
def site(engine: Projects, tmp_path: Path) -> Iterator[Site]:
    state = tmp_path / "state"
    state.mkdir()
    yield Site(
        state=state,
        secret=lambda name, _environment, _service: f"the {name}",
        blob=lambda _revision, _path: COMPOSE.encode(),
        options={"file": FILE},
        engine={"socket": str(engine.engine.socket), "compose": [program()]},
        registries={engine.registry.name: Registry("ugs", lambda: "of the tests")},
    )
    engine.end()


def a_work(engine: Projects, version: str = "1.0.0", *, instances: int = 1) -> Workload:
    run = Run(port=8080, stop_grace_s=1.0, environment={"PASS": SecretName("key")})
    made = release(version, artifact=Artifact(image=engine.image(version, "ok")), run=run)
    return work(version, of=made, instances=instances)


def deploy(site: Site, one: Workload, cause: Cause = CAUSE) -> None:
    compose.prepare(site, one, "c0ffee")
    compose.preflight(site, one)
    compose.apply(site, cause, one, one.instances)


def test_a_repair_makes_what_lacks_and_touches_nothing_else(engine: Projects, site: Site) -> None:
    one = a_work(engine, instances=2)
    deploy(site, one)
    was = {found["Id"] for found in engine.found("api")}
    assert len(was) == 2
    with contextlib.closing(engine.engine.api) as api:
        gone = engine.found("api")[-1]["Id"]
        api.remove_container(gone, force=True)
    compose.apply(site, Cause("repair"), one, 2)
    assert was - {gone} < {found["Id"] for found in engine.found("api")}
    seen = compose.observe(site, "production")["api"]
    assert [(one.index, one.drift) for one in seen.instances] == [(0, ""), (1, "")]
    assert {one["Labels"]["team"] for one in engine.found("api")} == {"blue"}


@pytest.mark.shows("compose", "blue-green")
def test_side_by_side_the_old_ones_answer_until_the_new_ones_are_proven(engine: Projects, site: Site) -> None:
    old, new = (replace(a_work(engine, v, instances=2), strategy="blue-green") for v in ("1.0.0", "1.1.0"))
    deploy(site, old)
    was = {found["Id"] for found in engine.found("api")}
    deploy(site, new)
    assert engine.instances("api") == ["1.0.0", "1.0.0", "1.1.0", "1.1.0"]
    assert [answered(one.values["host"]) for one in compose.endpoints(site, new)] == ["1.1.0", "1.1.0"]
    compose.restore(site, CAUSE, old, environment="production", service="api")
    assert {found["Id"] for found in engine.found("api")} == was  # what failed took nothing away
    deploy(site, new)
    compose.settle(site, new)
    assert engine.instances("api") == ["1.1.0", "1.1.0"]


def test_instances_move_one_by_one_and_keep_their_numbers(engine: Projects, site: Site) -> None:
    old, new = (replace(a_work(engine, v, instances=3), strategy="rolling") for v in ("1.0.0", "1.1.0"))
    deploy(site, old)
    was = {number(found): found["Id"] for found in engine.found("api")}
    for upto in (1, 2):
        compose.prepare(site, new, "c0ffee")
        compose.apply(site, CAUSE, new, upto)
    runs = {
        (one.index, str(one.target.version)) for one in compose.observe(site, "production")["api"].instances
    }
    # The first is proven, and what it replaced is gone; what the second replaces runs until the next begins.
    assert runs == {(0, "1.1.0"), (1, "1.1.0"), (1, "1.0.0"), (2, "1.0.0")}
    compose.restore(site, Cause("fedcba987654", "beef"), old, environment="production", service="api")
    now = {number(found): found["Id"] for found in engine.found("api")}
    assert engine.instances("api") == ["1.0.0"] * 3
    assert (now.keys(), now["1"], now["2"]) == (was.keys(), was["1"], was["2"])
    compose.apply(site, CAUSE, new, 3)
    compose.settle(site, new)
    assert engine.instances("api") == ["1.1.0"] * 3
    deploy(site, a_work(engine, "1.1.0", instances=2))
    assert {number(found) for found in engine.found("api")} == {"0", "1"}


def test_a_compose_that_made_an_instance_twice_leaves_one_of_it(engine: Projects, site: Site) -> None:
    one = replace(a_work(engine, instances=2), strategy="rolling")
    deploy(site, one)
    first = up_argv(
        trusted(site), "production", file_of(directory_of(site, one), 0), "api", scale=3, recreate=False
    )
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "DOCKER_HOST": engine.engine.host,
        "PASS": "x",
    }
    subprocess.run(first, env=environment, check=True, capture_output=True, timeout=120)
    assert sorted(map(number, engine.found("api"))) == ["0", "0", "1"]
    compose.apply(site, CAUSE, one, 2)
    assert sorted(map(number, engine.found("api"))) == ["0", "1"]


@pytest.mark.parametrize(("mode", "arrives"), [("slow", "1.1.0"), ("unhealthy", "1.0.0")])
def test_a_daemon_killed_between_two_instances_finds_how_far_it_had_come(
    stage: Stage, mode: Mode, arrives: str
) -> None:
    with stage.running("1.0.0", instances=3) as daemon:
        stage.bump("1.1.0", mode, instances=3, strategy="{canary: [2]}")
        daemon.until(lambda: "1.1.0" in stage.engine.instances("api"))
        daemon.kill()
    with stage.daemon() as daemon:
        stage.until_ended(daemon, "succeeded", "succeeded" if arrives == "1.1.0" else "reverted")
        daemon.until(lambda: stage.engine.instances("api") == [arrives] * 3)
        daemon.until_runs(arrives)
    assert sorted(labels["index"] for labels in stage.engine.labels("api")) == ["0", "1", "2"]
    assert len(stage.world.reverts()) == (arrives == "1.0.0")


@pytest.mark.parametrize("strategy", ["rolling", "stop-start"])
def test_where_a_port_is_there_once_the_old_one_goes_first(
    engine: Projects, site: Site, strategy: Strategy
) -> None:
    port = free_port()
    text = COMPOSE.replace(
        "{team: blue}", f"{{team: blue}}, ports: ['127.0.0.1:{port}:8080'], volumes: [/kept]"
    )
    site = replace(site, blob=lambda _revision, _path: text.encode())
    volumes = set()
    for version in ("1.0.0", "1.1.0"):
        deploy(site, replace(a_work(engine, version), strategy=strategy))
        assert engine.instances("api") == [version]
        with contextlib.closing(engine.engine.api) as api:
            [mount] = api.inspect_container(engine.found("api")[0]["Id"])["Mounts"]
        volumes.add(mount["Name"])
    assert len(volumes) == 1  # Compose hands it on


def number(found: dict[str, Any]) -> str:
    return str(found["Labels"]["ugs.index"])


def test_the_way_back_needs_no_registry(engine: Projects, site: Site) -> None:
    old, new = a_work(engine), a_work(engine, "1.1.0")
    deploy(site, old)
    deploy(site, new)
    assert engine.instances("api") == ["1.1.0"]
    engine.registry.stop()
    assert compose.restorable(site, old) == ""
    compose.restore(site, CAUSE, old, environment="production", service="api")
    engine.registry.start()
    assert engine.instances("api") == ["1.0.0"]
    compose.restore(site, CAUSE, None, environment="production", service="api")
    assert engine.instances("api") == []


@pytest.mark.shows("compose", "commands")
def test_secrets_are_in_no_file_and_commands_run_as_the_service_does(engine: Projects, site: Site) -> None:
    one = a_work(engine)
    deploy(site, one)
    [endpoint], around = compose.endpoints(site, one), compose.surroundings(site, one)
    for prefix, more in ((endpoint.prefix, {}), (around.prefix, around.environment)):
        done = subprocess.run(
            [*prefix, "sh", "-c", "echo $UGS_VERSION $PASS"],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", **more},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stdout == "1.0.0 the key\n", done.stderr
    written = [path.read_text() for path in site.state.rglob("*.json")]
    assert len(written) >= 2
    assert "the key" not in "".join(written)
    until(lambda: len(engine.found("api")) == 1, "the command's container is gone")


def test_what_a_person_brought_up_is_left_alone_until_somebody_says_so(engine: Projects, site: Site) -> None:
    engine.stranger("api")
    one = a_work(engine)
    assert compose.observe(site, "production")["api"].foreign.startswith("the container production-api-1 ")
    with pytest.raises(HostError, match="ugs adopt production api"):
        deploy(site, one)
    assert engine.instances("api") == ["stranger"]
    deploy(site, one, replace(CAUSE, adopted=True))
    assert engine.instances("api") == ["1.0.0"]
    assert compose.observe(site, "production")["api"].foreign == ""


@pytest.mark.parametrize("change", ["pause", "stop", "remove"])
def test_what_is_changed_by_hand_is_seen_and_put_right(engine: Projects, site: Site, change: str) -> None:
    one = a_work(engine)
    deploy(site, one)
    [found] = engine.found("api")
    with contextlib.closing(engine.engine.api) as api:
        match change:
            case "pause":
                api.pause(found["Id"])
                assert compose.observe(site, "production")["api"].instances[0].drift
            case "stop":
                api.stop(found["Id"], timeout=1)
            case _:
                api.remove_container(found["Id"], force=True)
    compose.apply(site, Cause("repair"), one, 1)
    [instance] = compose.observe(site, "production")["api"].instances
    assert (instance.index, instance.state, instance.drift) == (0, "running", "")


def test_the_log_and_what_is_kept(engine: Projects, site: Site) -> None:
    old, new = a_work(engine), a_work(engine, "1.1.0")
    deploy(site, old)
    deploy(site, new)
    until(lambda: "1.1.0" in "".join(compose.logs(site, "production", "api", lines=5)), "it says something")
    compose.tidy(site, "production", "api", frozenset())
    assert compose.restorable(site, old).startswith("nothing complete is kept")
    assert compose.restorable(site, new) == ""


def test_what_containers_use_is_measured(engine: Projects, site: Site) -> None:
    deploy(site, a_work(engine, instances=2))
    handles = [seen.handle for seen in compose.observe(site, "production")["api"].instances]
    found = compose.usage(site, handles)
    assert sorted(found) == sorted(handles)
    assert all(usage.resident_bytes > 1 << 16 for usage in found.values())
