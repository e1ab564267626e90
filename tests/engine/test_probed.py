"""Samples count towards their hour: in memory at once, in the database in a few transactions, and not twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from reconciler.engine import probed
from reconciler.engine.probed import BATCH_MAX, Probed
from reconciler.model.errors import HostError
from reconciler.model.observation import Sample, Verdict
from reconciler.model.verdict import Outcome
from reconciler.store import Store
from tests.store.builders import START, HandClock

HOUR = timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "ugs.db", now=HandClock().now)) as opened:
        yield opened


def sample(verdict: Verdict = "healthy", at: datetime = START, probe: str = "tcp") -> Outcome:
    return Outcome(0, Sample(probe, verdict, at, latency_s=0.02 if verdict == "healthy" else None))


def counts(found: Probed, store: Store, service: str = "api") -> list[tuple[str, datetime, int, int]]:
    hours = found.hours(store, "production", service, since=START)
    return [(one.probe, one.hour, one.rollup.samples, one.rollup.failed) for one in hours]


async def test_what_is_written_and_what_is_not_yet_are_one(store: Store) -> None:
    first, hour = Probed(), START.replace(minute=0, second=0, microsecond=0)
    first.hear("production", "api", [sample(), sample("failed"), sample(probe="process")])
    first.hear("production", "web", [sample()])
    known = [("process", hour, 1, 0), ("tcp", hour, 2, 1)]
    assert counts(first, store) == known
    await first.write(store)
    assert counts(first, store) == known
    await first.write(store)  # nothing waits any more
    assert counts(first, store) == known
    first.hear("production", "api", [sample("failed"), sample(at=START + HOUR)])
    assert counts(first, store) == [known[0], ("tcp", hour, 3, 2), ("tcp", hour + HOUR, 1, 0)]
    await first.write(store)
    assert counts(Probed(), store)[1:] == [("tcp", hour, 3, 2), ("tcp", hour + HOUR, 1, 0)]  # the next daemon


async def test_a_round_over_a_thousand_services_is_a_few_transactions(store: Store) -> None:
    found, commits = Probed(), list[int]()
    store.hearers.append(lambda: commits.append(1))
    for number in range(1_000):
        found.hear("production", f"service-{number}", [sample(), sample(probe="process")])
    await found.write(store)
    assert len(commits) == 2_000 / BATCH_MAX
    assert counts(found, store, "service-999")[0][2] == 1


async def test_what_the_database_does_not_take_waits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise HostError("the disk is full", "make room")

    found = Probed()
    found.hear("production", "api", [sample()])
    with monkeypatch.context() as patched:
        patched.setattr(store, "add_probed", full)
        with pytest.raises(HostError):
            await found.write(store)
    await found.write(store)
    assert [one[2] for one in counts(Probed(), store)] == [1]
    monkeypatch.setattr(probed, "WAITING_MAX", 1)
    found.hear("production", "api", [sample(), sample(probe="process"), sample()])
    assert [one[0] for one in counts(found, store)] == ["tcp"]  # there is room for one


class Minutes(HandClock):
    """Sleeps at once, so often, and is then at its end."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def monotonic(self) -> float:
        return self.at.timestamp()

    async def sleep(self, duration_s: float) -> None:
        if self.times == 0:
            raise asyncio.CancelledError
        self.times -= 1
        self.move(duration_s)

    async def wait(self, event: asyncio.Event, timeout_s: float) -> bool:
        raise NotImplementedError


async def test_it_is_written_once_a_minute(store: Store) -> None:
    found, clock, commits = Probed(), Minutes(3), list[datetime]()
    store.hearers.append(lambda: commits.append(clock.now()))
    found.hear("production", "api", [sample()])
    with pytest.raises(asyncio.CancelledError):
        await found.keep(store, clock)
    assert commits == [START + timedelta(minutes=1)]  # afterwards nothing waited
