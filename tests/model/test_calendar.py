"""The openings of a class in order: united, without what is frozen, and as the entries of a calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.calendar import STEPS_MAX, TooOften, events, openings, starts, timetable
from reconciler.model.environment import ChangeClass, Environment, Freeze, Schedule, Window
from reconciler.model.window import FOREVER, frozen, opening, window_source
from tests.build import environment

HOUR = 3600.0
DAY = 24 * HOUR
YEAR_END = Freeze(reason="year end", from_="2026-12-20", until="2027-01-02", except_=("emergency",))
FRIDAYS = Freeze(reason="Friday afternoons", cron="0 12 * * 5", duration_s=12 * HOUR)
MONTHLY = Window("0 2 * * 6#1", 3 * HOUR)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def berlin(schedule: Schedule, *freezes: Freeze, zone: str = "Europe/Berlin") -> Environment:
    return environment(timezone=zone, windows={"patch": schedule}, freezes=freezes)


def listed(where: Environment, since: str, until: str) -> list[tuple[str, str]]:
    """Openings of patch as local wall times."""
    found = openings(timetable(where, "patch"), since=at(since), until=at(until))
    return [(local(where, one.start), local(where, one.end)) for one in found]


def local(where: Environment, instant: datetime) -> str:
    return (
        f"{instant.astimezone(ZoneInfo(where.timezone or 'UTC')):%m-%d %H:%M}"
        if instant < FOREVER
        else "never"
    )


def test_windows_that_overlap_or_touch_are_one_opening() -> None:
    where = berlin((Window("0 2 * * *", 3 * HOUR), Window("0 4 * * *", 2 * HOUR), Window("0 6 * * 1", HOUR)))
    assert listed(where, "2026-06-01T00:00:00+02:00", "2026-06-03T00:00:00+02:00") == [
        ("06-01 02:00", "06-01 07:00"),
        ("06-02 02:00", "06-02 06:00"),
    ]


def test_the_first_opening_is_told_from_its_true_beginning() -> None:
    where = berlin((Window("0 2 * * *", 3 * HOUR), Window("0 5 * * *", 2 * HOUR)))
    day = listed(where, "2026-06-01T06:00:00+02:00", "2026-06-01T12:00:00+02:00")
    assert day == [("06-01 02:00", "06-01 07:00")]
    assert listed(where, "2026-06-01T05:00:00+02:00", "2026-06-01T12:00:00+02:00") == day
    assert listed(where, "2026-06-01T07:00:00+02:00", "2026-06-01T12:00:00+02:00") == []


def test_a_freeze_cuts_openings_at_either_end_and_in_the_middle() -> None:
    noon = Freeze(reason="lunch", cron="0 12 * * *", duration_s=HOUR)
    where = berlin((Window("0 9 * * 4,5", 7 * HOUR), Window("0 22 * * 5", 4 * HOUR)), FRIDAYS, noon)
    assert listed(where, "2026-06-04T00:00:00+02:00", "2026-06-08T00:00:00+02:00") == [
        ("06-04 09:00", "06-04 12:00"),
        ("06-04 13:00", "06-04 16:00"),
        ("06-05 09:00", "06-05 12:00"),
        ("06-06 00:00", "06-06 02:00"),
    ]


def test_an_excepted_class_keeps_its_openings() -> None:
    spared = environment(
        timezone="UTC", windows={"emergency": (MONTHLY,), "patch": (MONTHLY,)}, freezes=(YEAR_END,)
    )
    classes: dict[ChangeClass, int] = {"emergency": 3, "patch": 2}
    for name, count in classes.items():
        found = openings(
            timetable(spared, name), since=at("2026-12-01T00:00Z"), until=at("2027-03-01T00:00Z")
        )
        assert len(list(found)) == count


def test_a_class_without_windows_is_open_between_freezes() -> None:
    assert listed(berlin(None, FRIDAYS), "2026-06-04T10:00:00+02:00", "2026-06-10T00:00:00+02:00") == [
        ("06-04 10:00", "06-05 12:00"),
        ("06-06 00:00", "06-12 12:00"),
    ]
    assert listed(berlin(None), "2026-06-04T10:00:00+02:00", "2026-06-10T00:00:00+02:00") == [
        ("06-04 10:00", "never")
    ]


def test_manual_and_what_never_opens_have_no_openings() -> None:
    schedules: list[Schedule] = ["manual", (), (Window("0 2 * 2 6#5", HOUR),)]
    for schedule in schedules:
        assert listed(berlin(schedule), "2026-06-04T10:00Z", "2027-06-04T10:00Z") == []


def test_windows_without_a_gap_never_close() -> None:
    where = berlin((Window("0 * * * *", HOUR),))
    (only,) = openings(
        timetable(where, "patch"), since=at("2026-06-04T10:30Z"), until=at("2026-06-10T00:00Z")
    )
    assert only.end == FOREVER


def test_an_opening_that_lasts_past_the_end_is_told_to_its_end() -> None:
    where = berlin((Window("0 22 * * 5", 6 * HOUR),))
    assert listed(where, "2026-06-05T00:00:00+02:00", "2026-06-05T23:00:00+02:00") == [
        ("06-05 22:00", "06-06 04:00")
    ]


def test_autumn_leaves_an_hour_between_windows_of_24_hours() -> None:
    where = berlin((Window("0 0 * * *", DAY),))
    first, second = listed(where, "2026-10-24T12:00:00+02:00", "2026-10-26T12:00:00+01:00")
    assert (first[1], second[0]) == ("10-25 23:00", "10-26 00:00")


def test_more_starts_than_are_followed_say_how_far_it_got() -> None:
    where = berlin((Window("* * * * *", 30.0),))
    since = at("2026-06-04T00:00Z")
    with pytest.raises(TooOften, match="too many starts to follow them beyond 2026-06-04") as told:
        list(openings(timetable(where, "patch"), since=since, until=at("2027-06-04T00:00Z"), steps_max=100))
    assert told.value.at == since + timedelta(minutes=50)
    source = window_source(Window("* * * * *", 30.0), "UTC")
    with pytest.raises(TooOften) as told:
        list(starts(source, since=since, until=at("2027-06-04T00:00Z")))
    assert told.value.at == since + timedelta(minutes=STEPS_MAX)
    assert told.value.begun is None


WINDOWS = st.builds(
    lambda minute, hour, day, hours: Window(f"{minute} {hour} * * {day}", hours * HOUR),
    st.sampled_from(["0", "30", "*/20"]),
    st.integers(0, 23).map(str) | st.just("1-3"),
    st.sampled_from(["*", "5", "1-3", "6#1", "L0"]),
    st.sampled_from([0.5, 3.0, 26.0]),
)
FREEZES = st.builds(
    lambda hour, day, hours: Freeze(reason="r", cron=f"0 {hour} * * {day}", duration_s=hours * HOUR),
    st.integers(0, 23),
    st.sampled_from(["*", "5", "6,0"]),
    st.sampled_from([0.5, 12.0, 30.0]),
)


@settings(max_examples=60, deadline=None)
@given(
    windows=st.lists(WINDOWS, min_size=1, max_size=3) | st.none(),
    freezes=st.lists(FREEZES | st.just(YEAR_END), max_size=2),
    zone=st.sampled_from(["Europe/Berlin", "America/Havana", "Australia/Lord_Howe"]),
    since=st.datetimes(at("2026-01-01"), at("2027-12-01"), timezones=st.just(UTC)),
    within=st.lists(st.integers(0, 15 * 86_400), min_size=5, max_size=15),
)
def test_openings_hold_exactly_the_instants_at_which_both_gates_are_open(
    windows: list[Window] | None, freezes: list[Freeze], zone: str, since: datetime, within: list[int]
) -> None:
    where = berlin(None if windows is None else tuple(windows), *freezes, zone=zone)
    until = since + timedelta(days=15)
    found = list(openings(timetable(where, "patch"), since=since, until=until))
    assert all(one.end < later.start for one, later in pairwise(found))
    edges = [edge for one in found for edge in (one.start, one.end, one.end - timedelta(seconds=1))]
    for now in [
        since,
        *(since + timedelta(seconds=s) for s in within),
        *(e for e in edges if since <= e < until),
    ]:
        both = opening(where, "patch", now=now).open and frozen(where, "patch", now=now).open
        assert both == any(one.start <= now < one.end for one in found), now


# Entries of a calendar


def test_every_opening_and_freeze_is_an_event() -> None:
    where = environment(
        timezone="Europe/Berlin",
        windows={"major": "manual", "minor": (MONTHLY,), "patch": None},
        freezes=(YEAR_END,),
    )
    found = events(where, since=at("2026-12-01T00:00Z"), until=at("2027-03-01T00:00Z"))
    assert [(one.summary, one.start, one.end) for one in found] == [
        ("production: minor window", at("2026-12-05T01:00Z"), at("2026-12-05T04:00Z")),
        ("production: freeze, year end", at("2026-12-19T23:00Z"), at("2027-01-02T23:00Z")),
        ("production: minor window", at("2027-02-06T01:00Z"), at("2027-02-06T04:00Z")),
    ]
    assert found[0].description == "minor changes of production may start."
    assert found[1].description == "Nothing starts in production, except emergency: year end"
    assert len({one.uid for one in found}) == 3


def test_a_freeze_of_days_that_both_fields_name_is_an_event_of_those_days() -> None:
    fridays = Freeze(reason="Friday the 13th", cron="0 0 13 * 5", duration_s=DAY, days="both")
    where = environment(timezone="Europe/Berlin", freezes=(fridays,))
    found = events(where, since=at("2026-01-01T00:00Z"), until=at("2027-01-01T00:00Z"))
    assert [f"{one.end:%Y-%m-%d}" for one in found] == ["2026-02-13", "2026-03-13", "2026-11-13"]


def test_an_event_is_the_same_whenever_it_is_asked_for() -> None:
    where = environment(timezone="Europe/Berlin", windows={"minor": (MONTHLY,)}, freezes=(YEAR_END,))
    early = events(where, since=at("2026-12-01T00:00Z"), until=at("2027-02-01T00:00Z"))
    during = events(where, since=at("2026-12-05T02:30Z"), until=at("2027-01-01T00:00Z"))
    assert during == early


def test_an_event_without_an_end_ends_with_what_was_asked_for() -> None:
    until = at("2026-07-01T00:00Z")
    (only,) = events(berlin((Window("0 * * * *", HOUR),)), since=at("2026-06-04T00:00Z"), until=until)
    assert only.end == until
