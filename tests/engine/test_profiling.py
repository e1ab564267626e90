"""A profile that somebody asked a daemon for."""

from __future__ import annotations

import asyncio
import pstats
import signal
import stat
import sys
from pathlib import Path

import pytest

from reconciler.clock import SystemClock
from reconciler.engine import profiling
from reconciler.engine.profiling import RAW_NAME, ROWS_MAX, TABLE_NAME, Function, Profiler, Spent, table
from tests.daemon_process import daemon, run_once
from tests.world import World


class Minute(SystemClock):
    """What is waited for takes as long as it may, and no time at all."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def monotonic(self) -> float:
        return self.passed_s

    async def wait(self, event: asyncio.Event, timeout_s: float) -> bool:
        await asyncio.sleep(0)
        self.passed_s += timeout_s
        return event.is_set()


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def profiled(profiler: Profiler) -> None:
    assert profiler._task
    await asyncio.wait_for(profiler._task, 30)


def test_a_daemon_tells_where_its_passes_spend_their_time_and_goes_on(world: World) -> None:
    world.deploy_first("1.0.0")
    assert run_once(world)[0] == 0
    written, raw = world.state / TABLE_NAME, world.state / RAW_NAME
    with daemon(world) as running:
        running.until_runs("1.0.0")
        running.process.send_signal(signal.SIGUSR2)
        running.until_says("profiling for 30 s")
        world.bump("1.1.0")
        running.until_runs("1.1.0")
        assert not written.exists()
        running.process.send_signal(signal.SIGUSR2)
        running.until_says("profiled")
        assert {stat.S_IMODE(path.stat().st_mode) for path in (written, raw)} == {0o600}
        own, whole = written.read_text().split("By time with all that was called")
        assert "s of the event loop's thread" in own
        assert "  reconciler/engine/reconcile.py:" in whole
        assert "_pass" in {name for _, _, name in pstats.Stats(str(raw)).stats}  # type: ignore[attr-defined]
        assert running.stop() == 0


async def test_a_profile_ends_by_itself_and_the_next_replaces_it(tmp_path: Path) -> None:
    profiler = Profiler(Minute(), tmp_path)
    for _ in range(2):
        profiler.toggle()
        await profiled(profiler)
        assert (tmp_path / TABLE_NAME).read_text().startswith("30.0 s of the event loop's thread")
        (tmp_path / TABLE_NAME).write_text("an old one")
        (tmp_path / TABLE_NAME).chmod(0o644)
    profiler.toggle()
    await profiled(profiler)
    assert stat.S_IMODE((tmp_path / TABLE_NAME).stat().st_mode) == 0o600
    assert files(tmp_path) == {TABLE_NAME, RAW_NAME}


async def test_what_cannot_be_written_is_logged_and_leaves_no_draft(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / TABLE_NAME).mkdir()
    profiler = Profiler(Minute(), tmp_path)
    profiler.toggle()
    await profiled(profiler)
    assert "no profile: " in caplog.text
    assert files(tmp_path) == {TABLE_NAME, RAW_NAME}


async def test_another_profiler_at_work_is_no_trouble(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(_self: object) -> None:
        raise ValueError("Another profiling tool is already active")

    monkeypatch.setattr("cProfile.Profile", type("Taken", (), {"enable": taken}))
    profiler = Profiler(Minute(), tmp_path)
    profiler.toggle()
    await profiled(profiler)
    assert "no profile: Another profiling tool is already active" in caplog.text
    assert files(tmp_path) == set()


async def test_the_daemons_end_gives_up_the_profile_under_way(tmp_path: Path) -> None:
    profiler = Profiler(SystemClock(), tmp_path)
    await profiler.end()  # nothing is
    profiler.toggle()
    await asyncio.sleep(0)
    assert sys.getprofile() is not None
    await profiler.end()
    assert sys.getprofile() is None
    assert files(tmp_path) == set()


async def test_raw_figures_beyond_the_bound_are_not_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "RAW_BYTES_MAX", 10)
    profiler = Profiler(Minute(), tmp_path)
    profiler.toggle()
    await profiled(profiler)
    assert "and is left as it was" in caplog.text
    assert files(tmp_path) == {TABLE_NAME}


def test_the_table_is_bounded_and_does_not_count_waiting_as_work() -> None:
    poll: Function = ("~", 0, "<method 'poll' of 'select.epoll' objects>")
    spent: dict[Function, Spent] = {poll: (9, 9, 25.0, 25.0, {})}
    ours = str(Path(profiling.__file__).with_name("x.py"))
    for number in range(ROWS_MAX + 5):
        spent["/elsewhere/y.py", number, "g"] = (1, 2, number / 100, 9.0, {})
        spent[ours, number, "f"] = (1, 2, 0.0, 1 + number / 100, {})
    lines = table(spent, 30.0).splitlines()
    assert lines[0] == "30.0 s of the event loop's thread: 14.850 s at work, 25.000 s waiting."
    assert "select" not in "\n".join(lines)
    assert lines[5] == "    0.540    3.6     9.000         2  /elsewhere/y.py:54 g"
    second = lines.index(f"By time with all that was called, the first {ROWS_MAX} of UGS:")
    assert lines[second + 2] == "    0.000    0.0     1.540         2  reconciler/engine/x.py:54 f"
    assert len(lines) == 2 * ROWS_MAX + 8
    assert table({}, 0.0)
