"""What the C library's allocator keeps, seen in processes of their own."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from reconciler import allocator

of_glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="another C library")
THREADS = """\
import ctypes, threading
from reconciler.allocator import share_arenas
if {shared}:
    share_arenas()
meeting = threading.Barrier(8)

def allocate():
    held = [bytes(1000 + number) for number in range(1000)]
    meeting.wait()

threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
ctypes.CDLL(None).malloc_stats()
"""
HOLES = """\
from pathlib import Path
from reconciler.allocator import give_back

def resident_pages():
    return int(Path("/proc/self/statm").read_text().split()[1])

many = [bytes(2000) for _ in range(20_000)]
few = many[::40]
del many
before = resident_pages()
give_back()
print(before - resident_pages())
"""


def done(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-c", script), capture_output=True, text=True, timeout=60, check=True
    )


@of_glibc
def test_threads_share_the_arena_that_is_there_already() -> None:
    assert done(THREADS.format(shared=False)).stderr.count("Arena ") > 1
    assert done(THREADS.format(shared=True)).stderr.count("Arena ") == allocator.ARENAS_MAX


@of_glibc
def test_what_is_free_between_what_is_in_use_is_given_back() -> None:
    assert int(done(HOLES).stdout) * 4096 > 20 << 20


def test_nothing_is_done_to_another_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    allocator.share_arenas()
    allocator.give_back()
