"""What processes use, against what the kernel and the processes themselves say."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.drivers.machine import usage as module
from reconciler.drivers.machine.usage import PAGE_BYTES, of_families, of_groups

BURN = "import time\nwhile time.process_time() < 0.3: pass"
LARGE = "import time; x = bytearray(64 << 20); print('up', flush=True); time.sleep(600)"
BUSY = f"""\
import subprocess, sys, threading, time
files = [open("/dev/null") for _ in range(20)]
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
ended = subprocess.run([sys.executable, "-c", {BURN!r}])
child = subprocess.Popen([sys.executable, "-c", {LARGE!r}])
while time.process_time() < 0.2: pass
time.sleep(600)
"""
WAIT_S = 30.0
CONTAINER = "ab" * 32
UNIT = "ugs-production.api@0.service"


def until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_a_process_counts_with_its_children_also_those_that_have_ended() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdout=subprocess.PIPE, start_new_session=True
    ) as busy:
        try:
            assert busy.stdout
            assert busy.stdout.readline() == b"up\n"
            until(lambda: of_families([str(busy.pid)])[str(busy.pid)].cpu_s >= 0.4)
            [(_, used)] = of_families(
                [str(busy.pid), str(2**22 + 1)]
            ).items()  # what is not there is left out
            assert used.cpu_s < WAIT_S
            assert used.resident_bytes > 64 << 20
            assert used.threads
            assert used.threads >= 3
            assert used.open_files is not None
            assert used.open_files >= 20 + 3
        finally:
            os.killpg(busy.pid, 9)
    assert of_families([str(busy.pid)]) == {}


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine's /proc and its control groups, as files."""
    monkeypatch.setattr(module, "PROC", tmp_path / "proc")
    monkeypatch.setattr(module, "pids", lambda: [1, 2, 3, 4, 5])
    monkeypatch.setattr(module, "GROUPS", (tmp_path / "groups",))
    return tmp_path


def process(played: Path, pid: int, group: str, *, pages: int, ticks: int = 0) -> None:
    folder = played / "proc" / str(pid)
    (folder / "fd").mkdir(parents=True)
    fields = ["S", "1", *["0"] * 9, str(ticks), "0", "0", "0", "0", "0", "2", "0", "0", "0", str(pages)]
    (folder / "stat").write_text(f"{pid} (a (name) of 2) {' '.join(fields)}\n")
    (folder / "cgroup").write_text(f"3:memory:{group}\n0::{group}\n")


def test_a_control_group_counts_with_all_below_it_whatever_manages_it(played: Path) -> None:
    process(played, 1, f"/system.slice/docker-{CONTAINER}.scope", pages=3)
    process(played, 2, f"/system.slice/docker-{CONTAINER}.scope/inner/docker/{'cd' * 32}", pages=4)
    process(played, 3, f"/system.slice/{UNIT}", pages=5, ticks=200)
    process(played, 4, "/system.slice/cron.service", pages=6)
    counted = played / f"groups/system.slice/docker-{CONTAINER}.scope"
    counted.mkdir(parents=True)
    (counted / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    found = of_groups([CONTAINER, UNIT, "gone.service"])
    assert found.keys() == {CONTAINER, UNIT}
    assert (found[CONTAINER].resident_bytes, found[CONTAINER].threads) == (7 * PAGE_BYTES, 4)
    assert found[CONTAINER].cpu_s == 2.5  # the kernel's own count, which forgets nobody who has gone
    assert (found[UNIT].resident_bytes, found[UNIT].open_files) == (5 * PAGE_BYTES, 0)
    assert found[UNIT].cpu_s == 200 / os.sysconf("SC_CLK_TCK")
    (played / "proc/3/stat").unlink()
    assert of_groups([UNIT]) == {}
