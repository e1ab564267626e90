"""What is newer elsewhere: tags of an image in a registry, tags of another repository, on three forges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.engine.pull_requests.bumps import TROUBLE, Bumper
from reconciler.engine.status import explain_of
from reconciler.forge import Invalid, Pull
from tests.forge.dialects import Answer
from tests.forge.server import ForgeServer
from tests.git.colleague import git
from tests.registry_server import RegistryServer
from tests.scenarios.test_bumps import ask, look, released, rows
from tests.world import World

pytestmark = pytest.mark.slow

IMAGE = """\
service: api
version: "1.0.0"
artifact: {image: "HOST/ops/api:v1.0.0@sha256:DIGEST"}   # by CI
upgrade: {urgency: emergency}
notes: |
  The first.
health: {probes: [{tcp: "127.0.0.1:{port}"}]}
"""


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with RegistryServer() as server:
        server.push("ops/api", "v1.0.0")
        yield server


def fetched(world: World, registry: RegistryServer, bump: str) -> None:
    """A service in a container, pinned to 1.0.0; nothing is deployed here."""
    world.settings_more += f'drivers: [process, docker]\nbumps: {{registries: ["{registry.host}"]}}\n'
    world.driver_yaml = "{kind: docker}"
    text = IMAGE.replace("HOST", registry.host).replace("DIGEST", "a" * 64)
    world.files["releases/api/1.0.0.yaml"] = text
    ask(world, bump=bump)
    world.merge("Start")


FROM_REGISTRY = 'bump: {from: registry, range: "^1"}'


async def test_a_tag_of_the_image_brings_its_manifest_along(
    world: World, forge: ForgeServer, registry: RegistryServer
) -> None:
    fetched(world, registry, FROM_REGISTRY)
    await look(world)
    assert forge.pulls == {}
    registry.push("ops/api", "v1.1.0", "v2.0.0", "v1.2.0-rc.1", "latest")
    await look(world)
    [pull] = forge.pulls.values()
    assert pull.title == "Bump production/api from 1.0.0 to 1.1.0"
    assert pull.labels == ["ugs", "ugs: minor"]
    assert "These manifests are new" in pull.body
    made = git(world.remote, "show", f"{pull.branch}:releases/api/1.1.0.yaml")
    assert f'"{registry.host}/ops/api:v1.1.0@{registry.images["ops/api"]["v1.1.0"]}"}}   # by CI' in made
    assert "emergency" not in made
    assert "first" not in made
    assert 'version: "1.1.0"' in git(world.remote, "show", f"{pull.branch}:environments/production.yaml")

    forge.merge(pull.number)
    await look(world)
    snapshot = world.core.repository.snapshot(world.tip())
    assert snapshot.problems == ()
    assert snapshot.environments["production"].pins["api"].version.text == "1.1.0"
    assert [one.state for one in rows(world)] == ["merged"]


async def test_a_registry_that_is_not_allowed_is_not_asked_and_a_person_is_called(
    world: World, forge: ForgeServer, registry: RegistryServer
) -> None:
    fetched(world, registry, FROM_REGISTRY)
    world.settings_more = world.settings_more.replace(registry.host, "elsewhere.example")
    registry.push("ops/api", "v1.1.0")
    await look(world)
    assert registry.calls == []
    assert "may not be asked for tags; add it to bumps.registries" in world.core.troubles[TROUBLE]
    assert forge.pulls == {}


async def test_a_registry_that_is_down_closes_nothing(
    world: World, forge: ForgeServer, registry: RegistryServer
) -> None:
    fetched(world, registry, FROM_REGISTRY)
    registry.push("ops/api", "v1.1.0")
    await look(world)
    registry.next = [(503, {}, b"")] * 2
    await look(world)
    assert [pull.state for pull in forge.pulls.values()] == ["open"]
    assert world.core.troubles[TROUBLE] == ""


async def test_a_registry_is_asked_no_more_often_than_ugs_yaml_says(
    world: World, forge: ForgeServer, registry: RegistryServer
) -> None:
    fetched(world, registry, FROM_REGISTRY)
    await world.fleet.refresh()
    bumper = Bumper(world.core)
    for _ in range(3):
        await bumper.round()
    assert registry.calls == ["GET /v2/ops/api/tags/list 200"]
    assert forge.pulls == {}


@pytest.fixture
def other(world: World) -> Path:
    """The service's own repository, with a release of it."""
    folder = world.folder / "api.git"
    git(world.folder, "init", "--quiet", "--bare", str(folder))
    git(folder, "fetch", "--quiet", str(world.remote), "+refs/heads/*:refs/heads/*")
    world.settings_more += f'bumps: {{repositories: ["{folder.parent}/"]}}\n'
    return folder


def tag(world: World, other: Path, *names: str) -> None:
    for name in names:
        git(other, "fetch", "--quiet", str(world.remote), f"+main:refs/tags/{name}")


async def test_a_tag_of_another_repository_waits_for_its_manifest(
    world: World, forge: ForgeServer, other: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ask(world, bump=f'bump: {{from: git-tags, range: "^1", repository: "{other}"}}')
    await released(world, "1.0.0")
    tag(world, other, "v1.1.0", "web-9.0.0", "not-a-version")
    await look(world)
    assert forge.pulls == {}
    assert "api 1.1.0 is there, and releases/api/1.1.0.yaml is not; add it" in caplog.text
    await released(world, "1.1.0", "1.2.0")
    await look(world)
    [pull] = forge.pulls.values()
    assert pull.title.endswith("from 1.0.0 to 1.1.0")  # 1.2.0 has no tag


async def test_a_tag_of_another_repository_and_an_image_make_a_manifest(
    world: World, forge: ForgeServer, other: Path, registry: RegistryServer
) -> None:
    world.settings_more = ""
    world.report_to(forge)
    fetched(world, registry, f'bump: {{from: git-tags, range: "^1", repository: "{other}"}}')
    world.settings_more = world.settings_more.replace("bumps: {", f'bumps: {{repositories: ["{other}"], ')
    tag(world, other, "v1.1.0", "v1.2.0")
    registry.push("ops/api", "1.1.0")
    await look(world)
    [pull] = forge.pulls.values()
    assert pull.title.endswith("from 1.0.0 to 1.1.0")  # 1.2.0 has no image
    assert "ops/api:1.1.0@sha256:" in git(world.remote, "show", f"{pull.branch}:releases/api/1.1.0.yaml")


async def test_another_repository_that_is_not_allowed_is_not_asked(
    world: World, forge: ForgeServer, tmp_path: Path
) -> None:
    ask(world, bump=f'bump: {{from: git-tags, range: "^1", repository: "{tmp_path}/elsewhere.git"}}')
    await released(world, "1.0.0", "1.1.0")
    await look(world)
    assert "may not be asked for; add its beginning to bumps.repositories" in world.core.troubles[TROUBLE]
    assert forge.pulls == {}
    ask(world, bump="instances: 1")
    world.merge("Ask nobody")
    await look(world)
    assert world.core.troubles[TROUBLE] == ""


@pytest.mark.parametrize("kind", ["gitlab", "gitea"])
async def test_other_forges_open_supersede_and_close_alike(world: World, kind: str) -> None:
    with ForgeServer(kind, world.remote) as forge:
        world.report_to(forge)
        ask(world)
        await released(world, "1.0.0", "1.1.0")
        await look(world)
        await released(world, "1.2.0")
        await look(world)
        [pull] = forge.pulls.values()
        assert pull.title == "Bump production/api from 1.0.0 to 1.2.0"
        assert set(pull.labels) == {"ugs", "ugs: minor"}
        [told] = explain_of(world.fleet, "production", "api")["proposed"]
        assert (told["version"], told["by"]) == ("1.2.0", "bump")
        ask(world, "1.2.0")
        world.merge("Bump by hand")
        await look(world)
        assert pull.state == "closed"
        assert "is pinned to 1.2.0 already" in forge.said(pull.number)[0]
        assert explain_of(world.fleet, "production", "api")["proposed"] == []
        assert forge.violations == []


async def test_a_forge_that_denies_it_calls_a_person_once(world: World, forge: ForgeServer) -> None:
    ask(world)
    await released(world, "1.0.0", "1.1.0")
    await world.fleet.refresh()
    said = {"message": "Resource not accessible by personal access token"}
    needed = {"X-Accepted-GitHub-Permissions": "pull_requests=write"}
    bumper = Bumper(world.core)
    for _ in range(2):
        forge.answer_next(Answer(403, said, needed))
        assert await bumper.tried() == 600
    assert len([call for call in world.calls() if "pull_requests=write" in call]) == 1
    await bumper.tried()
    assert len(forge.pulls) == 1


async def test_what_the_forge_never_takes_holds_up_no_other(world: World, forge: ForgeServer) -> None:
    for service in ("api", "web"):
        ask(world, service=service)
        for version in ("1.0.0", "1.1.0"):
            world.release(version, service=service)
    world.merge("Release both")
    refuse = [Answer(422, {"message": "Validation Failed"})]

    def refused() -> None:
        if refuse:
            forge.answer_next(refuse.pop())

    world.at["pull:begun"] = refused
    await look(world)
    assert [pull.branch for pull in forge.pulls.values()] == ["ugs-bump-production.web"]
    await look(world)
    assert [pull.branch for pull in forge.pulls.values()][1:] == ["ugs-bump-production.api"]


async def test_who_was_faster_with_the_branch_keeps_it(world: World, forge: ForgeServer) -> None:
    ask(world)
    await released(world, "1.0.0", "1.1.0")
    world.at["pull:branch"] = lambda: git(world.remote, "branch", "ugs-bump-production.api", "main")
    await look(world)
    del world.at["pull:branch"]
    for _ in range(2):
        await look(world)
    assert forge.pulls == {}
    assert git(world.remote, "rev-parse", "ugs-bump-production.api") == world.tip()
    assert {one.state for one in rows(world)} == {"moot"}


async def test_a_remote_that_takes_no_branch_is_tried_again(world: World, forge: ForgeServer) -> None:
    ask(world)
    await released(world, "1.0.0", "1.1.0")
    hook = world.remote / "hooks" / "update"
    hook.write_text("#!/bin/sh\necho no >&2\nexit 1\n")
    hook.chmod(0o755)
    await look(world)
    assert forge.pulls == {}
    hook.unlink()
    await look(world)
    assert len(forge.pulls) == 1
    assert len(rows(world)) == 1


async def test_another_daemon_may_be_faster_with_the_pull_request(world: World, forge: ForgeServer) -> None:
    ask(world)
    await released(world, "1.0.0", "1.1.0")
    world.at["pull:begun"] = lambda: forge.pulls or forge.open("ugs-bump-production.api", title="Theirs")
    await look(world)
    assert [pull.title for pull in forge.pulls.values()] == ["Theirs"]
    assert [(one.number, one.state) for one in rows(world)] == [(1, "open")]


async def test_a_pull_request_that_was_deleted_was_not_wanted(
    world: World, forge: ForgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(world)
    await released(world, "1.0.0", "1.1.0")
    await look(world)
    assert world.core.forge

    def gone(number: int) -> Pull:
        raise Invalid(f"there is no #{number}")

    monkeypatch.setattr(world.core.forge, "pull", gone)
    monkeypatch.setattr(world.core.forge, "open_pulls", lambda _base: ())
    await look(world)
    assert [one.state for one in rows(world)] == ["refused"]


async def test_what_has_no_image_has_no_tags(
    world: World, forge: ForgeServer, caplog: pytest.LogCaptureFixture
) -> None:
    ask(world, bump=FROM_REGISTRY)
    await released(world, "1.0.0", "1.1.0")
    await look(world)
    assert "api has no image; write `from: releases` or `from: git-tags`" in caplog.text
    assert forge.pulls == {}


async def test_a_release_that_its_pin_cannot_use_gives_way_to_an_older_one(
    world: World, forge: ForgeServer
) -> None:
    ask(world)
    world.release("1.2.0", more='withdrawn: {reason: "bad", since: 2026-11-01}\n')
    await released(world, "1.0.0", "1.1.0")
    await look(world)
    [pull] = forge.pulls.values()
    assert pull.title.endswith("to 1.1.0")


async def test_a_manifest_that_the_pin_cannot_use_is_not_made(
    world: World, forge: ForgeServer, registry: RegistryServer
) -> None:
    fetched(world, registry, FROM_REGISTRY)
    text = IMAGE.replace("HOST", registry.host).replace("DIGEST", "a" * 64)
    world.files["releases/api/1.0.0.yaml"] = text.replace("urgency: emergency", 'from: ">=9.0.0"')
    world.merge("Let nobody go there")
    registry.push("ops/api", "v1.1.0")
    await look(world)
    assert forge.pulls == {}
