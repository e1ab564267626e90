"""Windows against an oracle that knows no cron library: it walks a zone's clocks forward, minute by minute."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model import window as windows
from reconciler.model.cron import Days
from reconciler.model.environment import Window
from reconciler.model.window import current, following

MINUTE = timedelta(minutes=1)
INSTANTS = st.datetimes(
    datetime.fromisoformat("2000-01-01"), datetime.fromisoformat("2037-01-01"), timezones=st.just(UTC)
)
ZONES = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Havana",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/London",
    "Pacific/Apia",
]
YEARS = (2016, 2033)

Predicate = Callable[[datetime], bool]

# Cron line and how its days go together, what it means for a wall time, and whether it follows elapsed time (a
# repeated hour repeats it).
SCHEDULES: list[tuple[str, Predicate, bool] | tuple[str, Predicate, bool, Days]] = [
    ("30 2 * * *", lambda t: (t.hour, t.minute) == (2, 30), False),
    ("0 0 * * *", lambda t: (t.hour, t.minute) == (0, 0), False),
    ("0,45 1-3 * * *", lambda t: t.hour in (1, 2, 3) and t.minute in (0, 45), False),
    ("15 1 * * 0", lambda t: (t.hour, t.minute) == (1, 15) and t.isoweekday() == 7, False),
    ("59 23 * * *", lambda t: (t.hour, t.minute) == (23, 59), False),
    ("20 * * * *", lambda t: t.minute == 20, True),
    ("*/40 */2 * * *", lambda t: t.minute in (0, 40) and t.hour % 2 == 0, True),
    (
        "30 2 */2 * 0",
        lambda t: (t.hour, t.minute) == (2, 30) and t.day % 2 == 1 and t.weekday() == 6,
        False,
        "both",
    ),
    (
        "0 0,1 1-7 * L0",
        lambda t: t.hour < 2 and t.minute == 0 and (t.day < 8 or last_sunday(t)),
        False,
        "either",
    ),
]


def last_sunday(wall: datetime) -> bool:
    return wall.weekday() == 6 and (wall + timedelta(days=7)).month != wall.month


def walls(zone: str, begin: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """(instant, wall time) of every minute."""
    info, count = ZoneInfo(zone), (end - begin) // MINUTE
    instants = (begin + index * MINUTE for index in range(count))
    return [(instant, instant.astimezone(info).replace(tzinfo=None, fold=0)) for instant in instants]


def starts(walk: list[tuple[datetime, datetime]], matches: Predicate, recurring: bool) -> Iterator[datetime]:
    """Each start in turn, as somebody would say who watches the clock."""
    seen: set[datetime] = set()
    expected = walk[0][1]
    for instant, wall in walk:
        skipped = []
        while expected < wall:
            skipped.append(expected)
            expected += MINUTE
        if any(map(matches, skipped)) or (matches(wall) and (recurring or wall not in seen)):
            yield instant
        seen.add(wall)
        expected = wall + MINUTE


def transitions(zone: str) -> list[datetime]:
    info, step = ZoneInfo(zone), timedelta(hours=3)
    begin, end = (datetime(year, 1, 1, tzinfo=UTC) for year in YEARS)
    offsets = [
        (begin + index * step, (begin + index * step).astimezone(info).utcoffset())
        for index in range((end - begin) // step)
    ]
    return [later for (_, a), (later, b) in pairwise(offsets) if a != b]


def agree(window: Window, zone: str, found: list[datetime], now: datetime) -> None:
    duration = timedelta(seconds=window.duration_s)
    past = [start for start in found if start <= now < start + duration]
    interval = current(window, zone, now=now)
    assert (interval and interval.start) == (max(past) if past else None), (window, zone, now)
    ahead = [start for start in found if start > now]
    if ahead:
        upcoming = following(window, zone, now=now)
        assert upcoming is not None
        assert upcoming.start == ahead[0], (window, zone, now)


@pytest.mark.fault("TM-02", "TM-03", "TM-04")
@pytest.mark.parametrize("zone", ZONES)
def test_around_every_transition_of_many_years(zone: str) -> None:
    chance = random.Random(zone)
    around = transitions(zone) or [datetime(2026, 3, 29, tzinfo=UTC)]
    for transition in around:
        walk = walls(zone, transition - timedelta(hours=36), transition + timedelta(hours=36))
        for cron, matches, recurring, *days in chance.sample(SCHEDULES, 3):
            found = list(starts(walk, matches, recurring))
            window = Window(cron, chance.choice([600.0, 3600.0, 3 * 3600.0, 8 * 3600.0]), *days)
            for _ in range(4):
                agree(
                    window, zone, found, transition + timedelta(seconds=chance.randint(-6 * 3600, 12 * 3600))
                )
            for start in chance.sample(found, min(2, len(found))):
                if abs(start - transition) < timedelta(hours=20):
                    agree(window, zone, found, start)
                    agree(window, zone, found, start - timedelta(microseconds=1))


@settings(max_examples=120, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    now=INSTANTS,
    minutes=st.frozensets(st.integers(0, 59), min_size=1, max_size=3),
    hours=st.frozensets(st.integers(0, 23), min_size=1, max_size=3),
    duration_s=st.integers(1, 20 * 3600),
)
def test_at_any_instant(
    zone: str, now: datetime, minutes: frozenset[int], hours: frozenset[int], duration_s: int
) -> None:
    floor = now.replace(second=0, microsecond=0)
    walk = walls(zone, floor - timedelta(hours=22), floor + timedelta(hours=27))
    found = list(starts(walk, lambda t: t.minute in minutes and t.hour in hours, False))
    cron = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *"
    agree(Window(cron, float(duration_s)), zone, found, now)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.sampled_from([schedule[0] for schedule in SCHEDULES if len(schedule) == 3]),
    st.sampled_from(YEARS),
    st.lists(st.integers(0, 400 * 24 * 60 * 2), min_size=2, max_size=12),
)
def test_what_is_known_between_two_starts_is_what_a_search_finds(
    zone: str, cron: str, year: int, halves: list[int]
) -> None:
    """Asked at one instant after another, near ones and far ones, also backwards."""
    window, begin = Window(cron, 600.0), datetime(year, 1, 1, tzinfo=UTC)
    near = [half + step for half in halves for step in (0, 1, 3, 60, 130, -1)]
    gap = windows._Gap(window, zone)
    for half in near:
        now = begin + timedelta(seconds=30 * half)
        assert gap.last_start(now) == windows._last_start(window, zone, now), now
        assert gap.next_start(now) == windows._next_start(window, zone, now), now


def test_between_two_starts_nothing_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    window, now = Window("0 2 * * *", 600.0), datetime(2026, 6, 1, 12, tzinfo=UTC)
    gap = windows._Gap(window, "Europe/Berlin")
    last, following_one = gap.last_start(now), gap.next_start(now)
    monkeypatch.setattr(windows, "_last_start", None)
    monkeypatch.setattr(windows, "_next_start", None)
    later = now + timedelta(hours=11)
    assert (gap.last_start(later), gap.next_start(later)) == (last, following_one)
    with pytest.raises(TypeError):  # the next opening has begun
        gap.last_start(now + timedelta(hours=12))
