"""What the docker driver asks of the engine, and what it makes of the answers: all of it without an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.drivers.base import Cause, Site
from reconciler.drivers.docker.body import (
    Mounted,
    body_of,
    command_prefix,
    mounts_of,
    published_port,
    service_environment,
)
from reconciler.drivers.docker.client import engine, pull_trouble, refusal, registry_of, unreachable
from reconciler.drivers.docker.files import write_secrets
from reconciler.drivers.docker.options import check_allowed
from reconciler.drivers.docker.read import stamps
from reconciler.drivers.docker.seen import Listed, Seen, container_name, containers, observations, strangers
from reconciler.drivers.docker.usage import Stats, usage_of
from reconciler.drivers.labels import labels_of, read_labels
from reconciler.drivers.mark import site_id
from reconciler.model.codec import convert
from reconciler.model.errors import ArtifactError, HostError, TransientError, UgsError
from reconciler.model.release import Artifact, Container, Mount, Run, SecretName
from reconciler.model.target import Workload
from tests.build import release, work

IMAGE = f"registry.example/api@sha256:{'a' * 64}"
CAUSE = Cause("0123456789ab", "c0ffee")


def a_work(container: Container | None = None, *, instances: int = 1, **run: Any) -> Workload:
    made = release(artifact=Artifact(image=IMAGE), run=Run(port=8080, container=container, **run))
    return work(of=made, instances=instances, port=18080)


def listed(site: Site, one: Workload, index: int = 0, **changes: Any) -> Listed:
    """One entry of the engine's list, as it was made."""
    made = body_of(site, CAUSE, one, index, [], {})
    entry = {
        "Id": f"id-{index}",
        "Names": [f"/{container_name(one.environment, one.service, index, one.target)}"],
        "Image": IMAGE,
        "Labels": made["Labels"],
        "State": "running",
        "Status": "Up 2 seconds",
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}},
        **changes,
    }
    return convert(entry, Listed)


def seen_of(site: Site, *entries: Listed) -> list[Seen]:
    return containers(entries, site_id(site.state), {"production"})


def test_a_container_is_confined_and_says_whose_it_is(site: Site) -> None:
    wanted = a_work(command=("serve", "--port", "{port}"))
    body = body_of(site, CAUSE, wanted, 1, [], {"B": "2", "A": "1"})
    host = body["HostConfig"]
    assert body["Image"] == IMAGE
    assert body["Cmd"] == ["serve", "--port", "8080"]
    assert body["Env"] == ["A=1", "B=2"]
    assert body["StopTimeout"] == 10
    assert (host["CapDrop"], host["CapAdd"], host["Privileged"]) == (["ALL"], [], False)
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert (host["NetworkMode"], "PortBindings" in host, host["PidsLimit"]) == ("bridge", False, 4096)
    assert host["LogConfig"]["Config"]["max-size"] == "10m"
    assert host["RestartPolicy"] == {"Name": "unless-stopped"}
    mark = read_labels(body["Labels"])
    assert mark is not None
    assert (mark.environment, mark.service, mark.index, mark.operation) == (
        "production",
        "api",
        1,
        CAUSE.operation,
    )
    assert (mark.site, mark.target) == (site_id(site.state), wanted.target)


def test_what_a_release_asks_for_stands_in_the_body(site: Site) -> None:
    asked = Container(
        publish="loopback",
        networks=("backend",),
        tmpfs={"/tmp": "64MiB"},
        read_only=True,
        user="1000:1000",
        memory="1GiB",
        cpus=0.5,
        capabilities=("NET_BIND_SERVICE",),
        healthcheck="off",
        labels={"traefik.enable": "true"},
    )
    body = body_of(
        site, CAUSE, a_work(asked, stop_grace_s=1.5), 1, [Mounted("/srv/x", "/x", read_only=True)], {}
    )
    host = body["HostConfig"]
    assert host["PortBindings"] == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18081"}]}
    assert host["Mounts"] == [{"Type": "bind", "Source": "/srv/x", "Target": "/x", "ReadOnly": True}]
    assert (host["Tmpfs"], host["ReadonlyRootfs"]) == ({"/tmp": f"size={64 << 20}"}, True)
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (1 << 30, 1 << 30, 500_000_000)
    assert (host["CapAdd"], body["User"], body["StopTimeout"]) == (["NET_BIND_SERVICE"], "1000:1000", 2)
    assert body["Healthcheck"] == {"Test": ["NONE"]}
    assert body["Labels"]["traefik.enable"] == "true"
    # Others of the network find it by the service's name.
    assert body["NetworkingConfig"] == {"EndpointsConfig": {"backend": {"Aliases": ["api"]}}}


def test_only_what_is_published_has_a_port_of_the_host() -> None:
    assert published_port(a_work(), 1) is None
    assert published_port(a_work(Container(publish="host")), 1) == 18081


def test_volumes_are_the_environments_own_unless_they_are_lent(site: Site) -> None:
    asked = Container(mounts=(Mount("/data", volume="data"), Mount("/old", volume="pgdata", read_only=True)))
    site = replace(site, engine={"volumes": ["pgdata"]})
    mounts = mounts_of(site, a_work(asked), home="production", files=Path("/files"), secrets=None)
    assert mounts == [
        Mounted("production_data", "/data", read_only=False, volume=True),
        Mounted("pgdata", "/old", read_only=True, volume=True),
    ]


@pytest.mark.parametrize(
    ("asked", "key"),
    [
        (Container(networks=("host",)), "networks"),
        (Container(networks=("container:other",)), "networks"),
        (Container(capabilities=("SYS_ADMIN",)), "capabilities"),
        (Container(mounts=(Mount("/x", path="/etc"),)), "binds"),
        (Container(mounts=(Mount("/x", path="/srv/data/../secret"),)), "binds"),
        (Container(mounts=(Mount("/x", path="/srv/database"),)), "binds"),
    ],
)
def test_what_the_operator_did_not_grant_is_refused_by_the_key_that_would(
    site: Site, asked: Container, key: str
) -> None:
    site = replace(site, engine={"binds": ["/srv/data"]})
    with pytest.raises(HostError, match=f"engines.docker.{key}"):
        check_allowed(site, a_work(asked))


def test_what_the_operator_granted_is_let_in(site: Site) -> None:
    asked = Container(
        networks=("backend",), capabilities=("CHOWN", "NET_ADMIN"), mounts=(Mount("/x", path="/srv/data/x"),)
    )
    granted = {"binds": ["/srv/data"], "networks": ["backend"], "capabilities": ["NET_ADMIN"]}
    check_allowed(replace(site, engine=granted), a_work(asked))


def test_a_link_below_an_allowed_folder_does_not_lead_out_of_it(site: Site, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "out").symlink_to("/etc")
    site = replace(site, engine={"binds": [str(tmp_path / "data")]})
    with pytest.raises(HostError, match=r"engines\.docker\.binds"):
        check_allowed(site, a_work(Container(mounts=(Mount("/x", path=f"{tmp_path}/data/out"),))))


@pytest.mark.parametrize("path", ["/var/run/docker.sock", "/var/run", "/"])
def test_nothing_hands_over_the_engine_itself(site: Site, path: str) -> None:
    site = replace(site, engine={"binds": ["/"], "socket": "/var/run/docker.sock"})
    with pytest.raises(HostError, match=r"hand over|socket"):
        check_allowed(site, a_work(Container(mounts=(Mount("/x", path=path),))))


def test_a_secret_never_stands_in_an_argv(site: Site) -> None:
    secret = {"DB_PASSWORD": SecretName("db-password")}
    plain, secrets = service_environment(site, a_work(environment={"A": "{service}", **secret}), 0)
    assert (plain["A"], plain["UGS_VERSION"], secrets) == ("api", "1.0.0", {"DB_PASSWORD": "hunter2"})
    words = command_prefix(site, a_work(), [], ["DB_PASSWORD"], data=Path("/b"))
    assert words[-1] == IMAGE
    assert words[words.index("--env") + 1] == "DB_PASSWORD"
    assert "hunter2" not in " ".join(words)


def test_a_mount_cannot_smuggle_another_option_in(site: Site) -> None:
    odd = Mounted("/srv/data", "/x,source=/etc", read_only=True)
    words = command_prefix(site, a_work(), [odd], [], data=Path("/b"))
    assert 'type=bind,source=/srv/data,"target=/x,source=/etc",readonly' in words


@pytest.mark.parametrize(("user", "mode"), [("1000:1000", 0o600), ("postgres", 0o444), (None, 0o444)])
def test_files_of_secrets_are_for_the_containers_user(
    site: Site, monkeypatch: pytest.MonkeyPatch, user: str | None, mode: int
) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr("os.chown", lambda _path, uid, gid: given.append((uid, gid)))
    folder = write_secrets(site, a_work(Container(user=user)), "one", {"DB_PASSWORD": "hunter2"})
    file = folder / "DB_PASSWORD"
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("hunter2", mode)
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert given == ([(1000, 1000)] if mode == 0o600 else [])


@pytest.mark.parametrize(
    ("changes", "state", "drift"),
    [
        ({}, "running", ""),
        ({"State": "restarting", "Status": "Restarting (1) 2 seconds ago"}, "crashed", ""),
        ({"Status": "Up 5 seconds (unhealthy)"}, "crashed", ""),
        ({"Status": "Up 1 second (health: starting)"}, "starting", ""),
        ({"Status": "Up 5 seconds (healthy)"}, "running", ""),
        ({"State": "paused", "Status": "Up 5 seconds (Paused)"}, "running", "is paused"),
        ({"Names": ["/mine"]}, "running", "was renamed to mine"),
        ({"Image": "other:latest"}, "running", "runs another image: other:latest"),
        (
            {"NetworkSettings": {"Networks": {"bridge": {}, "backend": {}}}},
            "running",
            "is on backend, bridge, not on bridge",
        ),
    ],
)
def test_what_runs_is_seen_with_what_was_changed_by_hand(
    site: Site, changes: dict[str, Any], state: str, drift: str
) -> None:
    [instance] = observations(seen_of(site, listed(site, a_work(), **changes)), {})["api"].instances
    assert (instance.index, instance.target, instance.state) == (0, a_work().target, state)
    assert instance.drift.endswith(drift)
    assert bool(instance.drift) is bool(drift)


@pytest.mark.parametrize("state", ["created", "exited", "dead", "removing"])
def test_what_nothing_would_start_again_does_not_run(site: Site, state: str) -> None:
    assert observations(seen_of(site, listed(site, a_work(), State=state)), {}) == {}


@pytest.mark.parametrize(
    "label", ["ugs.site", "ugs.environment", "ugs.service", "ugs.index", "ugs.version", "ugs.target"]
)
def test_without_one_of_our_labels_it_is_not_ours(site: Site, label: str) -> None:
    entry = listed(site, a_work())
    left = {name: value for name, value in (entry.labels or {}).items() if name != label}
    assert len(seen_of(site, entry)) == 1
    assert seen_of(site, replace(entry, labels=left)) == []


def test_another_daemons_containers_are_not_ours(site: Site, tmp_path: Path) -> None:
    other = replace(site, state=tmp_path / "other")
    entry = listed(other, a_work())
    assert seen_of(site, entry) == []
    assert "api" in strangers([entry], site_id(site.state), {"production"})


@pytest.mark.parametrize("name", ["production-api", "production_api", "production-api-1", "production_api_0"])
def test_a_stranger_with_a_services_name_is_named(site: Site, name: str) -> None:
    entry = listed(site, a_work(), Names=[f"/{name}"], Labels=None)
    found = observations([], strangers([entry], site_id(site.state), {"production"}))
    assert found["api"].instances == ()
    assert found["api"].foreign == f"the container {name} ({IMAGE}, running) was not made by UGS"


@pytest.mark.parametrize("name", ["api", "staging-api", "production", "my-production-api", "production-Api"])
def test_other_names_are_nobodys_business(site: Site, name: str) -> None:
    entry = listed(site, a_work(), Names=[f"/{name}"], Labels={})
    assert strangers([entry], site_id(site.state), {"production"}) == {}


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (500, "write /var/lib/docker/tmp/x: no space left on device", HostError),
        (500, "driver failed: Bind for 0.0.0.0:80 failed: port is already allocated", HostError),
        (409, 'The container name "/x" is already in use by container "y"', HostError),
        (404, "network backend not found", HostError),
        (404, "No such image: x", HostError),
        (
            400,
            'unable to start container process: exec: "x": executable file not found in $PATH',
            ArtifactError,
        ),
        (500, "unable to find user nobody: no matching entries in passwd file", ArtifactError),
        (400, "bind source path does not exist: /x", HostError),
        (500, "something else", HostError),
    ],
)
def test_a_refusal_is_whose_it_is_to_mend(status: int, text: str, kind: type[UgsError]) -> None:
    error = refusal("start api", status, text)
    assert type(error) is kind
    assert str(error).startswith(f"cannot start api: {text}; ")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("manifest unknown: manifest unknown", ArtifactError),
        ("manifest for x@sha256:0 not found: manifest unknown", ArtifactError),
        ("no matching manifest for linux/arm64 in the manifest list entries", ArtifactError),
        ("filesystem layer verification failed for digest sha256:0", ArtifactError),
        ("manifest verification failed for digest sha256:0", ArtifactError),
        ("pull access denied for x, repository does not exist or may require 'docker login'", HostError),
        ("unauthorized: authentication required", HostError),
        ("no basic auth credentials", HostError),
        ("write /x: no space left on device", HostError),
        ("toomanyrequests: You have reached your pull rate limit", TransientError),
        ("dial tcp: lookup registry.example: no such host", TransientError),
        ("dial tcp 10.0.0.1:443: connect: connection refused", TransientError),
        ("received unexpected HTTP status: 503 Service Unavailable", TransientError),
    ],
)
def test_an_image_that_does_not_come_says_why(text: str, kind: type[UgsError]) -> None:
    error = pull_trouble(IMAGE, text, "releases/api/1.0.0.yaml:3:1: artifact.image")
    assert type(error) is kind
    assert str(error).startswith("releases/api/1.0.0.yaml:3:1: artifact.image: ")
    assert IMAGE in str(error)


def test_who_is_not_let_in_is_told_the_key_that_lets_in() -> None:
    assert "registries.registry.example" in pull_trouble(IMAGE, "unauthorized", "x").remedy


@pytest.mark.parametrize(
    ("image", "host"),
    [
        ("registry.example/a/b@sha256:0", "registry.example"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000"),
        ("localhost/a", "localhost"),
        ("library/nginx@sha256:0", "docker.io"),
        ("nginx@sha256:0", "docker.io"),
    ],
)
def test_an_images_registry(image: str, host: str) -> None:
    assert registry_of(image) == host


def test_an_engine_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(
            HostError, match=rf"cannot look: the engine at unix://{tmp_path}/none cannot be reached"
        ),
        engine(f"unix://{tmp_path}/none", "look"),
    ):
        pass
    assert "group docker" in unreachable("look", "unix:///x", PermissionError()).remedy
    assert "does not answer" in str(unreachable("look", "unix:///x", TimeoutError("Read timed out.")))


def test_lines_are_sorted_by_the_time_that_the_engine_gave_them() -> None:
    assert list(stamps("2026-01-01T00:00:00.5Z one two\n2026-01-01T00:00:01Z \n")) == [
        ("2026-01-01T00:00:00.5Z", "one two"),
        ("2026-01-01T00:00:01Z", ""),
    ]


def test_labels_are_read_as_they_were_written(site: Site) -> None:
    labels = labels_of(site, CAUSE, a_work(), 3)
    assert labels["ugs.revision"] == "c0ffee"
    mark = read_labels(labels)
    assert mark is not None
    assert mark.index == 3
    assert read_labels(labels | {"ugs.target": "short"}) is None
    assert read_labels(labels | {"ugs.index": "x"}) is None


def test_what_an_engine_counts_is_memory_that_it_could_not_let_go_of() -> None:
    cpu = {"cpu_usage": {"total_usage": 1_500_000_000}}
    answer = {"cpu_stats": cpu, "memory_stats": {"usage": 900, "stats": {"inactive_file": 100}}}
    found = usage_of(convert(answer | {"pids_stats": {"current": 3}}, Stats))
    assert found
    assert (found.cpu_s, found.resident_bytes, found.threads, found.open_files) == (1.5, 800, 3, None)
    older = {"memory_stats": {"usage": 900, "stats": {"inactive_file": 100, "total_inactive_file": 300}}}
    assert (found := usage_of(convert(older, Stats)))
    assert found.resident_bytes == 600
    assert usage_of(convert({"memory_stats": {}, "pids_stats": {}}, Stats)) is None  # it does not run
