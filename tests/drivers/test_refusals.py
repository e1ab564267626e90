"""What keeps a service from starting, each with whose fault it is."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from reconciler.drivers import process
from reconciler.drivers.base import Cause, Site
from reconciler.drivers.layout import directory_of
from reconciler.drivers.process import instance
from reconciler.model.errors import ArtifactError, HostError
from reconciler.model.release import Artifact, SecretName
from tests.drivers.services import (
    DRIVER,
    build_archive,
    deploy,
    free_port,
    work_for,
)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        yield port


def test_a_port_that_someone_else_holds_is_named_with_its_holder(
    site: Site, archives: Path, taken_port: int
) -> None:
    work = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=taken_port)
    DRIVER.prepare(site, work, "HEAD")
    sentence = (
        rf"port {taken_port} of api is taken by pid {os.getpid()} \(.*\); stop that, or pin another port"
    )
    with pytest.raises(HostError, match=sentence):
        DRIVER.preflight(site, work)
    with pytest.raises(HostError, match=sentence):
        DRIVER.apply(site, Cause("op"), work, work.instances)
    (end,) = DRIVER.endpoints(site, work)
    assert f"pid {os.getpid()}" in DRIVER.foreign_listener(site, work, end)
    assert DRIVER.observe(site, "production") == {}


def test_a_port_taken_at_the_last_moment_is_the_hosts_trouble(
    site: Site, archives: Path, taken_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.drivers.checks.check_ports", lambda *_: None)
    work = work_for(build_archive(archives, "1.4.0", mode="sockets"), "1.4.0", port=taken_port, passing=True)
    with pytest.raises(HostError, match=f"cannot listen on port {taken_port}: Address already in use"):
        deploy(site, work)
    assert DRIVER.observe(site, "production") == {}


def test_a_port_beyond_the_last_is_refused(site: Site, archives: Path) -> None:
    work = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=65535, instances=2)
    with pytest.raises(HostError, match="there is no port 65536"):
        DRIVER.preflight(site, work)


def test_a_full_disk_is_said_before_anything_is_touched(
    site: Site, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.drivers.checks.DISK_RESERVE_BYTES", 2**62)
    with pytest.raises(HostError, match="bytes are free"):
        DRIVER.preflight(site, work_for(build_archive(archives, "1.4.0"), "1.4.0", port=free_port()))


@pytest.mark.parametrize("command", ["bin/other", "../../../../bin/sh", "./bin"])
def test_a_command_that_the_archive_does_not_have_can_never_be_right(
    site: Site, archives: Path, command: str
) -> None:
    work = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=free_port(), command=(command,))
    with pytest.raises(
        ArtifactError, match=r"releases/api/1.4.0.yaml:3:1: run.command: the archive has no executable"
    ):
        DRIVER.prepare(site, work, "HEAD")


def test_a_command_that_may_not_be_executed_can_never_be_right(site: Site, archives: Path) -> None:
    work = work_for(build_archive(archives, "1.4.0", executable=False), "1.4.0", port=free_port())
    with pytest.raises(ArtifactError, match="no executable 'bin/api'"):
        DRIVER.prepare(site, work, "HEAD")
    with pytest.raises(ArtifactError, match="'bin/api' cannot be run: Permission denied"):
        DRIVER.apply(site, Cause("op"), work, work.instances)
    assert DRIVER.observe(site, "production") == {}


@pytest.mark.parametrize("command", ["no-such-program", "/usr/bin/no-such-program"])
def test_a_program_that_is_not_installed_is_the_hosts_trouble(
    site: Site, archives: Path, command: str
) -> None:
    work = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=free_port(), command=(command,))
    DRIVER.prepare(site, work, "HEAD")
    with pytest.raises(HostError, match="there is no program") as caught:
        DRIVER.preflight(site, work)
    assert "install it" in caught.value.remedy
    with pytest.raises(HostError, match="cannot be run: No such file"):
        DRIVER.apply(site, Cause("op"), work, work.instances)


@pytest.mark.parametrize(
    ("text", "error", "why"),
    [
        ("no program at all", ArtifactError, "Exec format error"),
        ("#!/usr/bin/no-such-interpreter\n", HostError, "its interpreter is not on this machine"),
    ],
)
def test_what_the_kernel_does_not_run_is_told_apart(
    site: Site, archives: Path, text: str, error: type[Exception], why: str
) -> None:
    work = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=free_port())
    DRIVER.prepare(site, work, "HEAD")
    (directory_of(site, work) / "bin/api").write_text(text)
    with pytest.raises(error, match=why):
        DRIVER.apply(site, Cause("op"), work, work.instances)
    assert DRIVER.observe(site, "production") == {}


def test_a_nul_in_the_environment_never_starts(site: Site, archives: Path) -> None:
    work = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=free_port(), environment={"A": "x\0y"})
    with pytest.raises(ArtifactError, match="Invalid argument"):
        deploy(site, work)


def test_a_release_for_another_driver_is_refused(site: Site, archives: Path) -> None:
    work = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=None)
    for release, what in (
        (msgspec.structs.replace(work.release, run=None), "needs a command"),
        (msgspec.structs.replace(work.release, artifact=Artifact(image="api:1")), "needs an archive"),
    ):
        with pytest.raises(ArtifactError, match=what):
            DRIVER.prepare(site, msgspec.structs.replace(work, release=release), "HEAD")


def test_a_command_that_asks_for_a_port_nobody_gave_can_never_be_right(site: Site, archives: Path) -> None:
    work = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=None)
    with pytest.raises(ArtifactError, match="neither release nor pin has one"):
        DRIVER.prepare(site, work, "HEAD")


def test_a_secret_that_is_not_granted_starts_nothing(site: Site, archives: Path) -> None:
    work = work_for(
        build_archive(archives, "1.4.0"), "1.4.0", port=free_port(), environment={"K": SecretName("root-key")}
    )
    with pytest.raises(HostError, match="root-key is not granted"):
        deploy(site, work)
    assert DRIVER.observe(site, "production") == {}


def test_a_shim_that_cannot_start_is_the_hosts_trouble(
    site: Site, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=free_port())
    monkeypatch.setattr(instance, "SHIM_ARGV", (sys.executable, "-c", "raise SystemExit"))
    with pytest.raises(HostError, match="gave no answer"):
        deploy(site, work)
    monkeypatch.setattr(instance, "SHIM_ARGV", ("/no/such/python",))
    with pytest.raises(HostError, match="cannot start api"):
        deploy(site, work)
    monkeypatch.setattr(instance, "SHIM_ARGV", (sys.executable, "-c", "import time; time.sleep(3600)"))
    monkeypatch.setattr(instance, "ANSWER_TIMEOUT_S", 0.05)
    with pytest.raises(HostError, match="gave no answer"):
        deploy(site, work)


def test_an_instance_whose_lock_never_comes_free_is_reported(
    site: Site, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "START_TIMEOUT_S", 0.1)
    work = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=free_port())
    DRIVER.prepare(site, work, "HEAD")
    with (
        instance.hold(site, work, 0),
        pytest.raises(HostError, match=r"instances \[0\] of api .* did not start"),
    ):
        DRIVER.apply(site, Cause("op"), work, work.instances)
