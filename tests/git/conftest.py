from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from reconciler.git import Identity, Mirror, Remote
from tests.git.colleague import ENVIRONMENT, Colleague, git

UGS = Identity("UGS", "ugs@example.org")
OpenMirror = Callable[..., Mirror]


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """The bare repository that everybody pushes to, with one commit on main."""
    path = tmp_path / "origin.git"
    path.mkdir()
    git(path, "init", "--quiet", "--bare", "--initial-branch=main")
    first = Colleague(tmp_path / "first", path)
    first.merges({"README.md": "fleet\n", "environments/production.yaml": 'pins:\n  api: "1.4.0"\n'}, "First")
    return path


@pytest.fixture
def ada(tmp_path: Path, origin: Path) -> Colleague:
    colleague = Colleague(tmp_path / "ada", origin)
    colleague.pull()
    return colleague


@pytest.fixture
def open_mirror(tmp_path: Path, origin: Path) -> Iterator[OpenMirror]:
    """Opens the mirror `name` of a remote (the origin's path unless told), and closes it afterwards."""
    with ExitStack() as opened:

        def open_one(
            name: str = "mirror", remote: Remote | None = None, *, timeout_s: float = 30.0
        ) -> Mirror:
            remote = remote or Remote(str(origin), environment=ENVIRONMENT)
            mirror = Mirror(tmp_path / "state" / f"{name}.git", remote, UGS, network_timeout_s=timeout_s)
            opened.callback(mirror.close)
            return mirror

        yield open_one


@pytest.fixture
def mirror(open_mirror: OpenMirror) -> Mirror:
    return open_mirror()


@pytest.fixture
def hook(origin: Path) -> Callable[[str, str], None]:
    """Gives the origin a hook: its name, and the lines of its shell script."""

    def install(name: str, script: str) -> None:
        path = origin / "hooks" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return install


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[[str, str], dict[str, str]]:
    """Puts a shell script of this name before the real programs; for use as a remote's environment."""

    def install(name: str, script: str) -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
        return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}

    return install
