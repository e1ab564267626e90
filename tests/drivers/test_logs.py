"""What services wrote: kept, rotated, and read from the end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from reconciler.drivers.base import Site
from reconciler.drivers.layout import service_folder
from reconciler.drivers.process import instance, tail
from tests.drivers.services import (
    DRIVER,
    answers,
    build_archive,
    deploy,
    free_port,
    gone,
    stop,
    the_shim,
    wait_until,
    work_for,
)


def log_folder(site: Site) -> Path:
    folder = service_folder(site, "production", "api") / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_log_is_appended_to_across_releases(site: Site, archives: Path) -> None:
    port = free_port()
    for version in ("1.4.0", "1.5.0"):
        deploy(site, work_for(build_archive(archives, version), version, port=port))
        wait_until(lambda: answers(port))
    assert DRIVER.logs(site, "production", "api", lines=10) == [
        "1.4.0 listens",
        "stops politely",
        "1.5.0 listens",
    ]


def test_a_log_is_rotated_while_the_service_keeps_writing(
    site: Site, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instance, "TICK_S", 0.02)
    monkeypatch.setattr(instance, "LOG_BYTES_MAX", 2000)
    port = free_port()
    deploy(site, work_for(build_archive(archives, "1.4.0", mode="chatty"), "1.4.0", port=port))
    folder = log_folder(site)
    wait_until((folder / "0.log.2").exists)
    wait_until(lambda: (folder / "0.log").stat().st_size > 200)
    assert not (folder / "0.log.3").exists()
    assert set(DRIVER.logs(site, "production", "api", lines=3)) == {"x" * 200}
    assert len(DRIVER.logs(site, "production", "api", lines=15)) == 15  # reaches into the older parts
    stop(site)


def test_a_log_that_cannot_be_kept_is_cut_all_the_same(
    site: Site, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (log_folder(site) / "0.log.1").mkdir()  # stands in the way, as a full disk would
    monkeypatch.setattr(instance, "TICK_S", 0.02)
    monkeypatch.setattr(instance, "LOG_BYTES_MAX", 2000)
    monkeypatch.setattr(instance, "LOG_FILES_MAX", 2)
    deploy(site, work_for(build_archive(archives, "1.4.0", mode="chatty"), "1.4.0", port=free_port()))
    log = log_folder(site) / "0.log"
    wait_until(lambda: log.stat().st_size > 1000)
    wait_until(lambda: log.stat().st_size < 1000)
    stop(site)


def test_a_killed_shim_does_not_break_the_services_output(site: Site, archives: Path) -> None:
    deploy(site, work_for(build_archive(archives, "1.4.0", mode="chatty"), "1.4.0", port=free_port()))
    shim = the_shim(site)
    os.kill(shim, signal.SIGKILL)
    wait_until(lambda: gone(shim))
    log = log_folder(site) / "0.log"
    size = log.stat().st_size
    wait_until(lambda: log.stat().st_size > size + 1000)


def test_logs_of_several_instances_stand_one_after_the_other(site: Site) -> None:
    for age, index in enumerate(("1", "0")):
        log = log_folder(site) / f"{index}.log"
        log.write_text(f"a{index}\nb{index}\n")
        os.utime(log, (1000 + age, 1000 + age))
    assert DRIVER.logs(site, "production", "api", lines=3) == ["1: b1", "0: a0", "0: b0"]
    assert DRIVER.logs(site, "production", "api", lines=0) == []
    assert DRIVER.logs(site, "production", "nobody", lines=3) == []


def test_only_the_end_of_a_large_log_is_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "TAIL_BYTES_MAX", 10)
    (log_folder(site) / "0.log").write_text("one\ntwo\nthree\nfour\n")
    assert DRIVER.logs(site, "production", "api", lines=100) == ["four"]
