from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.forge import Forge
from reconciler.forge.bitbucket import Bitbucket
from reconciler.forge.gitea import Gitea
from reconciler.forge.github import GitHub, connection
from reconciler.forge.gitlab import GitLab
from tests.forge.server import ForgeServer
from tests.git.colleague import Colleague, git

KINDS = ("github", "gitlab", "gitea", "bitbucket")


@pytest.fixture(autouse=True)
def no_manners(monkeypatch: pytest.MonkeyPatch) -> None:
    """GitHub's own pace between requests is not what is tried here."""
    monkeypatch.setattr(connection, "REQUESTS_APART_S", 0)
    monkeypatch.setattr(connection, "WRITES_APART_S", 0)


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """A bare repository whose main has one commit, and a branch `bump` one more."""
    bare = tmp_path / "fleet.git"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    ada = Colleague(tmp_path / "ada", bare)
    ada.commit({"a": "1"}, "Start")
    ada.push()
    ada.commit({"a": "2"}, "Bump")
    git(ada.folder, "push", "--quiet", "origin", "HEAD:refs/heads/bump")
    return bare


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, remote: Path) -> Iterator[ForgeServer]:
    with ForgeServer(request.param, remote) as running:
        yield running
        assert running.violations == []


@pytest.fixture
def forge(server: ForgeServer) -> Iterator[Forge]:
    with contextlib.closing(client(server)) as made:
        yield made


def client(server: ForgeServer, token: str | None = None) -> Forge:
    """Its client, as ugs.yaml would have it."""

    def read() -> str:
        return token or server.token

    match server.kind:
        case "github":
            return GitHub(server.repository, api=server.api, token=read)
        case "gitlab":
            return GitLab(server.repository, api=server.url, token=read)
        case "bitbucket":
            return Bitbucket(server.repository, api=server.api, token=read)
        case _:
            return Gitea(server.repository, api=server.api, token=read)
