"""What the compose driver alone has, on a real engine with a real Compose."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from reconciler.drivers import compose
from reconciler.drivers.base import Cause, Registry, Site
from reconciler.model.errors import HostError
from reconciler.model.release import Artifact, Run, SecretName
from reconciler.model.target import Workload
from tests.build import release, work
from tests.engines.compose import COMPOSE, FILE, Projects, program
from tests.engines.dockerd import until

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
