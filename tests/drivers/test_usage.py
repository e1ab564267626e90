"""What processes use, against what the kernel and the processes themselves say."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

from reconciler.drivers.machine.usage import usage

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
            until(lambda: usage([busy.pid])[busy.pid].cpu_s >= 0.4)
            [(_, used)] = usage([busy.pid, 2**22 + 1]).items()  # what is not there is left out
            assert used.cpu_s < WAIT_S
            assert used.resident_bytes > 64 << 20
            assert used.threads >= 3
            assert used.open_files is not None
            assert used.open_files >= 20 + 3
        finally:
            os.killpg(busy.pid, 9)
    assert usage([busy.pid]) == {}
