"""What keeps the daemon from starting: one clear message each, exit code 1, nothing touched."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.cli.state import state_lock
from tests.daemon_process import ORDINARY, run_once, ugs
from tests.drivers.services import wait_until
from tests.world import World


def refused(config: Path, *, prefix: tuple[str, ...] = ()) -> str:
    """The one line that a start that fails prints, whichever way it is started."""
    for arguments in (("run",), ("run", "--once")):
        done = ugs(*arguments, "--config", config, prefix=prefix)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("ugs: ")
        assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.fixture
def config(world: World) -> Path:
    """Where 1.0.0 of api runs."""
    world.deploy_first("1.0.0")
    assert run_once(world)[0] == 0
    return world.folder / "ugs.yaml"


@pytest.mark.fault("DB-09")
def test_a_database_of_a_newer_version(world: World, config: Path) -> None:
    with closing(sqlite3.connect(world.state / "ugs.db")) as later:
        later.execute("PRAGMA user_version = 99")
    assert "ugs.db: written by a newer UGS (schema 99" in refused(config)


def test_a_state_that_cannot_be_written(world: World, config: Path) -> None:
    for path in world.state.iterdir():
        path.chmod(0o500 if path.is_dir() else 0o400)
    world.state.chmod(0o500)
    try:
        assert "Permission denied; let the daemon's user own" in refused(config, prefix=ORDINARY)
    finally:
        world.state.chmod(0o700)
        for path in world.state.iterdir():
            path.chmod(0o700 if path.is_dir() else 0o600)
    wait_until(world.answers)


def test_a_file_where_the_state_should_be(world: World) -> None:
    world.state.write_text("in the way")
    assert "state: File exists; let the daemon's user own its state folder" in refused(world.configure())


@pytest.mark.fault("OP-02")
def test_a_state_folder_that_leads_elsewhere_or_is_anothers(world: World, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    world.state.symlink_to(elsewhere)
    assert "state is a symbolic link; name the folder itself" in refused(world.configure())
    assert list(elsewhere.iterdir()) == []
    world.state.unlink()
    world.state.mkdir(mode=0o777)
    world.state.chmod(0o777)
    with state_lock(world.state):
        assert stat.S_IMODE(world.state.stat().st_mode) == 0o700
    if os.geteuid() == 0:
        os.chown(world.state, 12345, 12345)
        assert "belongs to user 12345, and this runs as 0" in refused(world.configure())


@pytest.mark.fault("OP-02")
def test_a_secret_or_a_key_that_others_could_read(world: World) -> None:
    token, key = world.folder / "token", world.folder / "key"
    for file in (token, key):
        file.write_text("s3cret\n")
        file.chmod(0o640)
    world.identity_more = f', signing_key: "{key}"'
    world.settings_more = (
        f'secrets: {{token: {{file: "{token}", environments: [production], services: [api]}}}}\n'
    )
    said = refused(world.configure())
    assert f"secrets.token: others than its owner may use {token} (mode 0640); " in said
    assert (
        f"identity.signing_key: others than its owner may use {key} (mode 0640); chmod go= {token} {key}"
        in said
    )
    assert "s3cret" not in said
    assert not world.state.exists()


@pytest.mark.fault("OP-02")
def test_an_ugs_yaml_that_others_could_write_or_that_holds_a_token(world: World) -> None:
    config = world.configure()
    config.chmod(0o664)
    assert f"ugs.yaml: others than its owner may write {config} (mode 0664)" in refused(config)
    world.url = "https://t0ken@git.example/fleet.git"
    world.configure().chmod(0o644)
    said = refused(config)
    assert f"repository.url: others than its owner may use {config} (mode 0644)" in said
    assert "t0ken" not in said


def test_what_systemd_hands_over_it_guards_itself(world: World) -> None:
    credential = world.folder / "credentials" / "token"
    credential.parent.mkdir()
    credential.write_text("s3cret\n")
    credential.chmod(0o644)
    world.settings_more = (
        "secrets: {token: {credential: token, environments: [production], services: [api]}}\n"
    )
    world.deploy_first("1.0.0")
    given = {"CREDENTIALS_DIRECTORY": str(credential.parent)}
    assert ugs("run", "--once", "--config", world.configure(), environment=given).returncode == 0


@pytest.mark.fault("OP-02")
def test_what_it_writes_is_its_own_and_services_keep_the_umask_that_was(world: World) -> None:
    umask = world.folder / "umask"
    world.release(
        "1.0.0",
        files={"bin/look": f"#!/bin/sh\numask > {umask}\nexec bin/api $1\n"},
        command='["/bin/sh", "bin/look", "{port}"]',
    )
    world.pin("1.0.0")
    world.merge()
    before = os.umask(0o027)
    try:
        assert run_once(world)[0] == 0
    finally:
        os.umask(before)
    assert umask.read_text() == "0027\n"
    shared = [path for path in world.state.iterdir() if path.stat().st_mode & 0o077]
    assert shared == []


@pytest.mark.fault("OP-05")
def test_a_program_that_is_too_old_is_told_and_with_strict_refused(world: World) -> None:
    world.deploy_first("1.0.0")
    config, real = world.configure(), shutil.which("git")
    old = world.folder / "bin" / "git"
    old.parent.mkdir()
    old.write_text(
        f'#!/bin/sh\nif [ "$1" = --version ]; then echo git version 2.30.2; else exec {real} "$@"; fi\n'
    )
    old.chmod(0o755)
    path = {"PATH": f"{old.parent}{os.pathsep}{os.environ['PATH']}"}
    strict = ugs("run", "--once", "--strict", "--config", config, environment=path)
    assert strict.returncode == 1
    assert strict.stderr.startswith("ugs: git 2.30.2 is older than 2.34.0: it cannot sign with SSH keys")
    assert "; install a newer one, or start without --strict\n" in strict.stderr
    assert not world.state.exists()

    done = ugs("run", "--once", "--config", config, environment=path)
    assert done.returncode == 0
    assert "WARNING git 2.30.2 is older than 2.34.0" in done.stderr
    wait_until(world.answers)


def test_no_configuration_at_all(tmp_path: Path) -> None:
    done = ugs("run", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "ugs: there is neither /etc/ugs/ugs.yaml nor ./ugs.yaml; write one, or name it with --config\n"
    )
    assert "is not there; write it" in ugs("run", "--config", tmp_path / "mine.yaml").stderr


def test_a_broken_configuration_is_told_with_file_line_and_remedy(tmp_path: Path) -> None:
    config = tmp_path / "ugs.yaml"
    config.write_text("repository: {url: /srv/fleet.git}\ncolour: red\n")
    done = ugs("run", "--config", config)
    assert done.returncode == 1
    assert f"{config}:2:1: colour: " in done.stderr
    config.write_text("repository: {url: [\n")
    for verb in ("run", "status", "plan", "history", "sync"):
        done = ugs(verb, "--config", config)
        assert done.returncode == 1
        assert done.stderr.startswith(f"ugs: {config}:")
        assert "Traceback" not in done.stderr


def test_once_without_its_remote(world: World) -> None:
    config = world.configure()
    world.remote.rename(world.folder / "away.git")
    done = ugs("run", "--once", "--config", config)
    assert done.returncode == 1
    assert "fleet.git" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
