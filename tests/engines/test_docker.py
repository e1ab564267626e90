"""What the docker driver alone has, on a real engine: side by side, mounts, secrets, refusals, changes by hand."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker as sdk
import pytest
from msgspec.structs import replace

from reconciler.drivers import docker
from reconciler.drivers.base import Cause, Registry, Site
from reconciler.drivers.docker.usage import counted, used
from reconciler.model.errors import ArtifactError, HostError, TransientError
from reconciler.model.release import (
    Artifact,
    ConfigFile,
    Container,
    Mount,
    Release,
    Run,
    SecretName,
    Strategy,
)
from reconciler.model.target import Workload
from tests.build import release, work
from tests.drivers.services import free_port
from tests.engines.docker import NOWHERE, Containers, answered
from tests.engines.dockerd import until

pytestmark = [
    pytest.mark.engine,
    pytest.mark.parametrize("engine", ["docker"], indirect=True, scope="session"),
]
CAUSE = Cause("0123456789ab", "c0ffee")


@pytest.fixture
def site(engine: Containers, tmp_path: Path) -> Iterator[Site]:
    state = tmp_path / "state"
    state.mkdir()
    yield Site(
        state=state,
        secret=lambda name, _environment, _service: f"the {name}",
        blob=lambda _revision, _path: b"",
        engine={
            "socket": str(engine.engine.socket),
            "binds": [str(tmp_path / "lent")],
            "networks": ["backend"],
        },
        registries={engine.registry.name: Registry("ugs", lambda: "of the tests")},
    )
    engine.end()


def a_release(
    engine: Containers, version: str = "1.0.0", container: Container | None = None, **run: Any
) -> Release:
    return release(
        version,
        artifact=Artifact(image=engine.image(version, "ok")),
        run=Run(port=8080, container=container, stop_grace_s=1.0, **run),
    )


def deploy(site: Site, one: Workload, upto: int | None = None) -> None:
    docker.prepare(site, one, "")
    docker.preflight(site, one)
    docker.apply(site, CAUSE, one, upto or one.instances)


def runs(site: Site) -> list[tuple[int, str]]:
    seen = docker.observe(site, "production").get("api")
    return [(one.index, str(one.target.version)) for one in seen.instances] if seen else []


def inside(engine: Containers, *argv: str) -> str:
    """What a command says in the one container that runs."""
    [one] = engine.found("api")
    with contextlib.closing(engine.engine.api) as api:
        made = api.exec_create(one["Id"], list(argv))
        return str(api.exec_start(made["Id"]).decode())


@pytest.mark.shows("docker", "blue-green")
def test_side_by_side_the_old_one_answers_until_the_new_one_is_proven(engine: Containers, site: Site) -> None:
    old, new = (work(of=a_release(engine, version), strategy="blue-green") for version in ("1.0.0", "1.1.0"))
    deploy(site, old)
    deploy(site, new)
    assert runs(site) == [(0, "1.0.0"), (0, "1.1.0")]
    hosts = [docker.endpoints(site, one)[0].values["host"] for one in (old, new)]
    until(lambda: [answered(host) for host in hosts] == ["1.0.0", "1.1.0"], "both answer")
    docker.settle(site, new)
    assert runs(site) == [(0, "1.1.0")]
    with contextlib.closing(engine.engine.api) as api:
        was = {one["Labels"]["ugs.version"]: one["Id"] for one in api.containers(all=True)}
        engine.registry.stop()  # what is kept needs none
        docker.restore(site, CAUSE, old, environment="production", service="api")
        engine.registry.start()
        assert {one["Labels"]["ugs.version"]: one["Id"] for one in api.containers()} == {
            "1.0.0": was["1.0.0"]
        }


def test_batches_go_on_only_past_what_was_proven(engine: Containers, site: Site) -> None:
    old, new = (
        work(of=a_release(engine, version), strategy="rolling", instances=3) for version in ("1.0.0", "1.1.0")
    )
    deploy(site, old)
    deploy(site, new, 1)
    assert runs(site) == [(0, "1.0.0"), (0, "1.1.0"), (1, "1.0.0"), (2, "1.0.0")]
    docker.apply(site, CAUSE, new, 2)
    assert runs(site) == [(0, "1.1.0"), (1, "1.0.0"), (1, "1.1.0"), (2, "1.0.0")]
    docker.apply(site, CAUSE, new, 2)  # killed and begun again
    docker.apply(site, CAUSE, new, 3)
    docker.settle(site, new)
    assert runs(site) == [(0, "1.1.0"), (1, "1.1.0"), (2, "1.1.0")]


@pytest.mark.parametrize("strategy", ["stop-start", "rolling"])
def test_at_a_port_of_the_host_the_old_one_gives_way_first(
    engine: Containers, site: Site, strategy: Strategy
) -> None:
    port, published = free_port(), Container(publish="loopback")
    old, new = (
        work(of=a_release(engine, version, published), strategy=strategy, port=port)
        for version in ("1.0.0", "1.1.0")
    )
    deploy(site, old)
    deploy(site, new)
    assert runs(site) == [(0, "1.1.0")]
    [endpoint] = docker.endpoints(site, new)
    assert (endpoint.values["host"], endpoint.values["port"], endpoint.port) == ("127.0.0.1", str(port), port)
    docker.restore(site, CAUSE, old, environment="production", service="api")
    assert runs(site) == [(0, "1.0.0")]


def test_a_port_that_is_taken_is_told_before_anything_is_touched(engine: Containers, site: Site) -> None:
    port, published = free_port(), Container(publish="host")
    holder = work(of=a_release(engine, "1.0.0", published), port=port)
    deploy(site, holder)
    other = replace(holder, service="web", place=replace(holder.place, line=7))
    docker.prepare(site, other, "")
    with pytest.raises(HostError, match=rf"port {port} of web is taken by the container production_api_0_"):
        docker.preflight(site, other)
    docker.preflight(site, holder)  # its own


def test_configuration_volumes_secrets_and_limits_are_there_inside(
    engine: Containers, site: Site, tmp_path: Path
) -> None:
    lent = tmp_path / "lent"
    lent.mkdir()
    (lent / "greeting").write_text("hello")
    lent.chmod(0o755)  # what an operator lends, the container's user can read
    (lent / "greeting").chmod(0o644)
    asked = Container(
        mounts=(Mount("/data", volume="data"), Mount("/lent", path=str(lent), read_only=True)),
        tmpfs={"/tmp": "1MiB", "/www": "1MiB"},
        read_only=True,
        user="65534:65534",
        memory="64MiB",
        secrets="files",
    )
    made = replace(
        a_release(engine, "1.0.0", asked, command=("sleep", "60"), environment={"PASS": SecretName("key")}),
        config=(ConfigFile("etc/passwd", {}),),
    )
    one = work(of=made)
    deploy(site, one)
    assert inside(engine, "cat", "/lent/greeting", "/run/secrets/PASS") == "hellothe key"
    assert "uid=65534" in inside(engine, "id")
    assert "Read-only" in inside(engine, "sh", "-c", "echo x >/etc/x")
    assert "root" in inside(engine, "cat", "/etc/passwd")
    with contextlib.closing(engine.engine.api) as api:
        [found] = engine.found("api")
        told = api.inspect_container(found["Id"])
        assert "the key" not in str(told)
        assert told["HostConfig"]["Memory"] == 64 << 20
        assert {"production_data"} == {volume["Name"] for volume in api.volumes()["Volumes"]}
    with contextlib.closing(engine.engine.api) as api:
        engine.end()
        api.remove_volume("production_data")


def test_a_template_of_the_image_is_filled_in(engine: Containers, site: Site) -> None:
    version = work(of=replace(a_release(engine), config=(ConfigFile("www/version", {}),)))
    deploy(site, version)
    assert '{"version": "1.0.0"}' in inside(engine, "cat", "/www/version")
    absent = work(of=replace(a_release(engine), config=(ConfigFile("etc/none", {}),)))
    with pytest.raises(ArtifactError, match="config: etc/none: the image has no such file"):
        docker.prepare(site, absent, "")
    with contextlib.closing(engine.engine.api) as api:
        assert [one["Names"] for one in api.containers(all=True) if "reader" in one["Names"][0]] == []


@pytest.mark.shows("docker", "commands")
def test_commands_run_where_the_service_does(engine: Containers, site: Site) -> None:
    one = work(of=a_release(engine, environment={"PASS": SecretName("key")}))
    deploy(site, one)
    [endpoint] = docker.endpoints(site, one)
    around = docker.surroundings(site, one)
    for prefix, more in ((endpoint.prefix, {}), (around.prefix, around.environment)):
        done = subprocess.run(
            [*prefix, "sh", "-c", "echo $UGS_VERSION $PASS"],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", **more},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.stdout, done.stderr) == ("1.0.0 the key\n", "")
        assert "the key" not in " ".join(prefix)
    until(lambda: len(engine.found("api")) == 1, "the command's container is gone")


def test_services_of_a_network_find_each_other_by_name(engine: Containers, site: Site) -> None:
    with contextlib.closing(engine.engine.api) as api:
        absent = work(of=a_release(engine, "1.0.0", Container(networks=("backend",))))
        docker.prepare(site, absent, "")
        with pytest.raises(HostError, match="docker network create backend"):
            docker.preflight(site, absent)
        api.create_network("backend")
        deploy(site, absent)
        [one] = engine.found("api")
        assert list(one["NetworkSettings"]["Networks"]) == ["backend"]
        told = api.inspect_container(one["Id"])
        assert "api" in told["NetworkSettings"]["Networks"]["backend"]["Aliases"]
        assert docker.observe(site, "production")["api"].instances[0].drift == ""


@pytest.mark.parametrize("change", ["pause", "rename", "connect", "stop", "remove"])
def test_what_is_changed_by_hand_is_seen_and_put_right(engine: Containers, site: Site, change: str) -> None:
    one = work(of=a_release(engine))
    deploy(site, one)
    [found] = engine.found("api")
    with contextlib.closing(engine.engine.api) as api:
        match change:
            case "pause":
                api.pause(found["Id"])
            case "rename":
                api.rename(found["Id"], "mine")
            case "connect":
                api.create_network("backend")
                api.connect_container_to_network(found["Id"], "backend")
            case "stop":
                api.stop(found["Id"], timeout=1)
            case _:
                api.remove_container(found["Id"], force=True)
        if change in {"stop", "remove"}:
            assert runs(site) == []
        else:
            assert docker.observe(site, "production")["api"].instances[0].drift
        docker.apply(site, CAUSE, one, 1)
        [instance] = docker.observe(site, "production")["api"].instances
        assert (instance.state, instance.drift) == ("running", "")
        [now] = engine.found("api")
        assert (now["Id"] == found["Id"]) is (change not in {"connect", "remove"})


def test_a_stranger_is_left_alone_until_a_person_says_so_and_comes_back_when_we_fail(
    engine: Containers, site: Site
) -> None:
    engine.stranger("api")
    seen = docker.observe(site, "production")["api"]
    assert (seen.instances, seen.foreign.startswith("the container production-api ")) == ((), True)
    one = work(of=a_release(engine))
    deploy(site, one)
    assert engine.instances("api") == ["1.0.0", "stranger"]
    docker.apply(site, replace(CAUSE, adopted=True), one, 1)
    assert engine.instances("api") == ["1.0.0"]
    assert docker.observe(site, "production")["api"].foreign == ""
    docker.restore(site, CAUSE, None, environment="production", service="api")
    assert engine.instances("api") == ["stranger"]


def test_an_image_that_cannot_be_had_says_why(engine: Containers, site: Site) -> None:
    made = a_release(engine, "1.2.0")
    name = (made.artifact.image or "").partition("@")[0]
    nowhere = work(of=replace(made, artifact=Artifact(image=f"{name}@{NOWHERE}")))
    with pytest.raises(ArtifactError, match=r"releases/api/1\.2\.0\.yaml.*artifact\.image: there is no "):
        docker.prepare(site, nowhere, "")
    wrong = replace(site, registries={engine.registry.name: Registry("ugs", lambda: "guessed")})
    for stranger in (wrong, replace(site, registries={})):
        with pytest.raises(HostError, match=f"registries.{engine.registry.name}"):
            docker.prepare(stranger, work(of=made), "")
    engine.registry.stop()
    with pytest.raises(TransientError, match="cannot be fetched"):
        docker.prepare(site, work(of=made), "")
    engine.registry.start()
    docker.prepare(site, work(of=made), "")
    assert docker.restorable(site, work(of=made)) == ""


def test_what_the_registry_gives_must_have_the_digest(engine: Containers, site: Site) -> None:
    made = a_release(engine, "1.3.0")
    digest = (made.artifact.image or "").rpartition(":")[2]
    [blob] = engine.registry.folder.glob(f"data/**/sha256/{digest[:2]}/{digest}/data")
    was = blob.read_bytes()
    blob.write_bytes(was.replace(b'"schemaVersion": 2', b'"schemaVersion":  2'))
    try:
        with pytest.raises(ArtifactError, match="has another digest"):
            docker.prepare(site, work(of=made), "")
    finally:
        blob.write_bytes(was)


def test_a_command_that_the_image_lacks_is_the_releases_fault(engine: Containers, site: Site) -> None:
    with pytest.raises(ArtifactError, match="mend the image"):
        deploy(site, work(of=a_release(engine, command=("no-such-program",))))
    with pytest.raises(ArtifactError, match="mend the image"):
        deploy(site, work(of=a_release(engine, "1.0.0", Container(user="nobody-here"))))


def test_what_is_kept_goes_once_nobody_needs_it(engine: Containers, site: Site) -> None:
    works = [work(of=a_release(engine, version)) for version in ("1.0.0", "1.1.0", "1.2.0")]
    for one in works:
        deploy(site, one)
        docker.settle(site, one)
    docker.tidy(site, "production", "api", frozenset({str(works[1].target)}))
    with contextlib.closing(engine.engine.api) as api:
        left = {one["Labels"]["ugs.version"]: one["State"] for one in api.containers(all=True)}
        with pytest.raises(sdk.errors.ImageNotFound):
            api.inspect_image(works[0].release.artifact.image)
    assert left == {"1.1.0": "exited", "1.2.0": "running"}
    assert [docker.restorable(site, one) == "" for one in works] == [False, True, True]


def test_the_log_is_of_all_that_ran_in_the_order_of_time(engine: Containers, site: Site) -> None:
    for version in ("1.0.0", "1.1.0"):
        deploy(site, work(of=a_release(engine, version)))
        until(lambda: len(docker.logs(site, "production", "api", lines=10)) >= 1, "it says something")
    until(lambda: len(docker.logs(site, "production", "api", lines=10)) == 2, "both have said something")
    assert ["1.0.0" in line for line in docker.logs(site, "production", "api", lines=10)] == [True, False]
    assert len(docker.logs(site, "production", "api", lines=1)) == 1


def test_a_renamed_environment_keeps_what_runs(engine: Containers, site: Site) -> None:
    one = work(of=a_release(engine))
    deploy(site, one)
    docker.rename(site, "production", "live")
    assert [str(seen.target) for seen in docker.observe(site, "live")["api"].instances] == [str(one.target)]
    docker.apply(site, CAUSE, replace(one, environment="live"), 1)
    assert len(engine.found("api")) == 1


def test_what_containers_use_is_seen_from_here_and_counted_by_the_engine(
    engine: Containers, site: Site
) -> None:
    one = work(of=a_release(engine), instances=2)
    deploy(site, one)
    first, second = (seen.handle for seen in docker.observe(site, "production")["api"].instances)
    with contextlib.closing(engine.engine.api) as api:
        busy = api.exec_create(first, ["sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"])
        api.exec_start(busy["Id"])
    url = f"unix://{engine.engine.socket}"
    for found in (docker.usage(site, [first, second, "0" * 64]), counted(url, [first, second, "0" * 64])):
        assert found.keys() == {first, second}
        for usage in found.values():
            assert 1 << 16 < usage.resident_bytes < 1 << 26
            assert usage.threads
        assert found[first].cpu_s > found[second].cpu_s + 0.1
    with contextlib.closing(engine.engine.api) as api:
        api.stop(first, timeout=1)
    assert docker.usage(site, [first, second]).keys() == {second}
    assert counted(url, [first, second]).keys() == {second}
    assert used(url, [first]) == {}  # nothing of it is seen here, and the engine has nothing to count
    assert used(url, []) == {}
