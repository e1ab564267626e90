"""What becomes of a team's Compose file, and what Compose is asked for: all of it without an engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from reconciler.drivers import compose
from reconciler.drivers.base import Cause, Site
from reconciler.drivers.compose.file import FILE_BYTES_MAX, Said, read
from reconciler.drivers.compose.instances import is_alone
from reconciler.drivers.compose.project import SAID, ComposeTrusted, body_of, project_of, run_argv, up_argv
from reconciler.drivers.layout import directory_of
from reconciler.model.errors import ArtifactError, HostError
from reconciler.model.release import Artifact, Run, SecretName
from reconciler.model.target import Workload
from tests.build import release, work

IMAGE = f"registry.example/api@sha256:{'a' * 64}"
CAUSE = Cause("0123456789ab", "c0ffee")
FILE = """\
x-all: &all
  restart: always
services:
  api:
    <<: *all
    image: registry.example/api:latest
    depends_on: [database]
    command: ["serve", "--dollar", "$$HOME"]
    environment: [LOG_LEVEL=info, EMPTY]
    labels: {team: blue}
    volumes: ["data:/data", "/scratch", {type: tmpfs, target: /tmp}]
    networks: [front, back]
  database:
    image: postgres
    build: .
volumes:
  data:
networks:
  front: {internal: true}
  back: {external: true, name: shared}
"""


def said_of(text: str = FILE, service: str = "api", **granted: Any) -> Said:
    return read(
        text.encode(), "deploy/compose.yaml", service, ComposeTrusted(**({"networks": ("shared",)} | granted))
    )


def a_work(**run: Any) -> Workload:
    return work(of=release(artifact=Artifact(image=IMAGE), run=Run(port=8080, **run)), instances=2)


def test_one_service_is_taken_with_what_it_uses() -> None:
    said = said_of()
    assert said.service == {
        "restart": "always",
        "command": ["serve", "--dollar", "$$HOME"],
        "environment": ["LOG_LEVEL=info", "EMPTY"],
        "labels": {"team": "blue"},
        "volumes": ["data:/data", "/scratch", {"type": "tmpfs", "target": "/tmp"}],
        "networks": ["front", "back"],
    }
    assert said.networks == {"front": {"internal": True}, "back": {"external": True, "name": "shared"}}
    assert said.volumes == {"data": {}}


def api(lines: str) -> str:
    return f"services:\n  api:\n    image: x\n    {lines}\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (api("build: ."), "services.api.build: is not allowed here"),
        (api("privileged: true"), "services.api.privileged: is not allowed here"),
        (api("network_mode: host"), "services.api.network_mode: is not allowed here"),
        (api("pid: host"), "services.api.pid: is not allowed here"),
        (api("devices: [/dev/sda]"), "services.api.devices: is not allowed here"),
        (api("env_file: /etc/shadow"), "services.api.env_file: is not allowed here"),
        (api("extends: {file: /etc/x, service: y}"), "services.api.extends: is not allowed here"),
        (api("security_opt: [seccomp=unconfined]"), "services.api.security_opt: is not allowed here"),
        (api("secrets: [x]"), "services.api.secrets: is not allowed here"),
        (api("configs: [x]"), "services.api.configs: is not allowed here"),
        (api("cap_add: [SYS_ADMIN]"), "services.api.cap_add: SYS_ADMIN is not allowed here"),
        (api('volumes: ["/etc:/x"]'), "services.api.volumes: the host's path /etc is not allowed here"),
        (api('volumes: ["./x:/x"]'), "services.api.volumes: the host's path ./x is not allowed here"),
        (
            api('volumes: ["/srv/data/../x:/x"]'),
            "services.api.volumes: the host's path /srv/data/../x is not",
        ),
        (api('volumes: ["/var/run/docker.sock:/x"]'), "would hand over the whole machine"),
        (api("volumes: [{type: bind, source: /, target: /x}]"), "the host's path / is not allowed here"),
        (api("volumes: [{type: volume, source: /etc, target: /x}]"), "'/etc' is no name of a volume"),
        (api("volumes: [{type: npipe, source: x, target: /x}]"), "npipe is not allowed here"),
        (api('volumes: ["${X:-/}:/x"]'), "services.api: '${X:-/}:/x' has a variable"),
        (api("command: echo $HOME"), "services.api: 'echo $HOME' has a variable"),
        (api("command: echo $$$HOME"), "has a variable"),
        (
            api('volumes: ["data:/x"]') + "volumes: {data: {driver_opts: {type: none, o: bind, device: /}}}",
            "volumes.data.driver_opts: is not allowed here",
        ),
        (
            api("volumes: ['data:/x']") + "volumes: {data: {external: true}}",
            "volumes.data: data is not allowed here",
        ),
        (api("networks: [n]") + "networks: {n: {driver: macvlan}}", "networks.n.driver: is not allowed here"),
        (
            api("networks: [n]") + "networks: {n: {external: true, name: x}}",
            "networks.n: x is not allowed here",
        ),
        (
            api("networks: [host]") + "networks: {host: {external: true}}",
            "networks.host: host is not allowed",
        ),
        ("services: {web: {image: x}, db: {image: y}}", "services: there is no service api, only db, web"),
        ("services: [api]", "services: is no mapping"),
        ("- services", "deploy/compose.yaml: is no mapping"),
        ("services: {api: [x]}", "services.api: is no mapping"),
        ("services: {", "is no YAML"),
        ("services: {api: !!python/object:os.system {}}", "is no YAML"),
        ("#" * FILE_BYTES_MAX + "\n", "larger than"),
    ],
)
def test_what_could_reach_further_than_the_service_is_refused_in_its_place(text: str, problem: str) -> None:
    with pytest.raises(HostError) as caught:
        said_of(text, binds=("/srv/data",))
    assert str(caught.value).startswith("deploy/compose.yaml: ")
    assert problem in str(caught.value)
    assert caught.value.remedy


def test_what_the_operator_granted_is_let_in() -> None:
    text = api('volumes: ["/srv/data/x:/x", "old:/old"]\n    cap_add: [NET_ADMIN, CHOWN]')
    text += "volumes: {old: {external: true, name: pgdata}}"
    said = said_of(text, binds=("/srv/data",), volumes=("pgdata",), capabilities=("NET_ADMIN",))
    assert said.volumes == {"old": {"external": True, "name": "pgdata"}}


def test_a_file_of_aliases_upon_aliases_is_refused_soon() -> None:
    lines = ["x0: &x0 [a, a, a, a, a, a, a, a]"]
    lines += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 8)}]" for n in range(1, 12)]
    with pytest.raises(HostError, match="aliases count each time"):
        said_of("\n".join(lines) + "\n" + api("command: *x11"))


def test_image_labels_and_variables_are_put_over_what_the_file_says(site: Site) -> None:
    secret = {"PASS": SecretName("db-password"), "PRICE": "$5"}
    body = body_of(site, CAUSE, a_work(environment=secret, stop_grace_s=1.5), said_of(), "production")
    assert body["name"] == "production"
    [(name, service)] = body["services"].items()
    assert (name, service["image"], service["restart"], service["stop_grace_period"]) == (
        "api",
        IMAGE,
        "always",
        "2s",
    )
    assert (service["labels"]["team"], service["labels"]["ugs.operation"]) == ("blue", CAUSE.operation)
    assert (service["labels"]["ugs.image"], service["labels"]["ugs.index"]) == (IMAGE, "0")
    variables = service["environment"]
    assert (variables["LOG_LEVEL"], variables["EMPTY"], variables["PRICE"]) == ("info", None, "$$5")
    # By name alone: the value is in the environment of Compose.
    assert variables["PASS"] is None
    assert "hunter2" not in json.dumps(body)


def test_one_service_is_brought_up_and_nothing_else() -> None:
    said = ComposeTrusted(socket="/x.sock")
    words = up_argv(said, "production", Path("/state/up.json"), "api", scale=2, recreate=True)
    assert words[:8] == (
        *("docker", "compose", "--project-name", "production"),
        *("--project-directory", "/state", "--file", "/state/up.json"),
    )
    assert words[8:] == (
        *("up", "--detach", "--no-deps", "--no-build", "--pull", "never", "--scale", "api=2", "api"),
    )
    words = up_argv(said, "production", Path("/state/up.json"), "api", scale=3, recreate=False)
    assert words[-4:] == ("--no-recreate", "--scale", "api=3", "api")
    words = run_argv(said, "production", Path("/state/up.json"), a_work(), names=["PGHOST"], data=Path("/b"))
    assert words[-1] == "api"
    assert words[words.index("--env") + 1] == "PGHOST"


@pytest.mark.parametrize(
    ("lines", "alone"),
    [
        ("expose: [8080]", False),
        ("networks: {n: {aliases: [x]}}", False),
        ("ports: ['80:80']", True),
        ("networks: {n: {ipv4_address: 172.16.0.9}}", True),
    ],
)
def test_two_containers_do_not_fit_where_a_port_or_an_address_is_there_once(lines: str, alone: bool) -> None:
    assert is_alone(said_of(api(lines) + "networks: {n: {}}")) is alone


def test_blue_green_is_refused_where_both_sides_would_have_one_port(site: Site) -> None:
    text = api("ports: ['80:80']")
    site = replace(site, options={"file": "deploy/compose.yaml"}, blob=lambda *_: text.encode())
    one = replace(a_work(), strategy="blue-green", instances=1)
    kept = directory_of(site, one)
    kept.mkdir(parents=True)
    (kept / SAID).write_bytes(msgspec.json.encode(said_of(text)))
    with pytest.raises(HostError, match=r"api cannot do blue-green: in deploy/compose\.yaml it has `ports`"):
        compose.preflight(site, one)


def test_a_project_has_the_environments_name_unless_it_says_another(site: Site) -> None:
    assert project_of(replace(site, options={"file": "x"}), "production") == "production"
    assert project_of(replace(site, options={"file": "x", "project": "shop"}), "production") == "shop"


def test_a_compose_file_that_is_not_there_is_no_releases_fault(site: Site) -> None:
    site = replace(site, options={"file": "deploy/compose.yaml"})
    with pytest.raises(ArtifactError):
        site.blob("c0ffee", "deploy/compose.yaml")
    with pytest.raises(HostError, match=r"deploy/compose\.yaml"):
        compose.prepare(site, a_work(), "c0ffee")
