from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from reconciler.model.environment import Freeze, Window
from reconciler.model.window import check_freeze, check_window, current, following

HOUR = 3600.0
DAY = 24 * HOUR
YEAR_END = Freeze(reason="year end", from_="2026-12-20", until="2027-01-02")
FRIDAYS = Freeze(reason="no deploy on Friday afternoons", cron="0 12 * * 5", duration_s=12 * HOUR)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


# What each row shows, the zone, the window, the instant, and the opening that contains it (None: closed).
CASES: list[tuple[str, str, str, float, str, tuple[str, str] | None]] = [
    ("open at its first instant", "Europe/Berlin", "0 2 * * *", HOUR, "2026-06-01T02:00:00+02:00",
     ("2026-06-01T00:00Z", "2026-06-01T01:00Z")),
    ("closed an instant before", "Europe/Berlin", "0 2 * * *", HOUR,
     "2026-06-01T01:59:59.999999+02:00", None),
    ("open until its last instant", "Europe/Berlin", "0 2 * * *", HOUR, "2026-06-01T02:59:59.999999+02:00",
     ("2026-06-01T00:00Z", "2026-06-01T01:00Z")),
    ("closed at its end", "Europe/Berlin", "0 2 * * *", HOUR, "2026-06-01T03:00:00+02:00", None),
    ("asked in another zone", "Europe/Berlin", "0 2 * * *", HOUR, "2026-05-31T20:30:00-04:00",
     ("2026-06-01T00:00Z", "2026-06-01T01:00Z")),
    ("first Saturday of the month", "Europe/Berlin", "0 2 * * 6#1", 3 * HOUR, "2026-12-05T04:59:00+01:00",
     ("2026-12-05T01:00Z", "2026-12-05T04:00Z")),
    ("second Saturday is not the first", "Europe/Berlin", "0 2 * * 6#1", 3 * HOUR,
     "2026-12-12T03:00:00+01:00", None),
    ("past midnight it still belongs to its day", "Europe/Berlin", "0 22 * * 5", 6 * HOUR,
     "2026-06-06T03:00:00+02:00",
     ("2026-06-05T20:00Z", "2026-06-06T02:00Z")),
    ("leap day", "Europe/Berlin", "0 2 29 2 *", HOUR, "2028-02-29T02:30:00+01:00",
     ("2028-02-29T01:00Z", "2028-02-29T02:00Z")),
    ("spring: a start in the gap moves to the first instant after", "Europe/Berlin", "30 2 * * *", HOUR,
     "2026-03-29T03:00:00+02:00", ("2026-03-29T01:00Z", "2026-03-29T02:00Z")),
    ("spring: moved, it is as long as ever", "Europe/Berlin", "30 2 * * *", HOUR,
     "2026-03-29T04:00:00+02:00", None),
    ("spring: before the gap it is closed", "Europe/Berlin", "30 2 * * *", HOUR,
     "2026-03-29T01:59:59+01:00", None),
    ("spring: duration is elapsed time", "Europe/Berlin", "0 1 * * *", 2 * HOUR, "2026-03-29T03:59:00+02:00",
     ("2026-03-29T00:00Z", "2026-03-29T02:00Z")),
    ("autumn: opens at the first 02:30", "Europe/Berlin", "30 2 * * *", HOUR, "2026-10-25T02:30:00+02:00",
     ("2026-10-25T00:30Z", "2026-10-25T01:30Z")),
    ("autumn: an hour from the first ends at the second", "Europe/Berlin", "30 2 * * *", HOUR,
     "2026-10-25T02:30:00+01:00", None),
    ("autumn: inside, in the second pass", "Europe/Berlin", "30 2 * * *", HOUR, "2026-10-25T02:10:00+01:00",
     ("2026-10-25T00:30Z", "2026-10-25T01:30Z")),
    ("autumn: duration is elapsed time", "Europe/Berlin", "0 2 * * *", 2 * HOUR,
     "2026-10-25T03:00:00+01:00", None),
    ("autumn: what follows elapsed time comes again", "Europe/Berlin", "30 * * * *", 600.0,
     "2026-10-25T02:35:00+01:00", ("2026-10-25T01:30Z", "2026-10-25T01:40Z")),
    ("half-hour gap", "Australia/Lord_Howe", "10 2 * * *", HOUR, "2026-10-04T02:30:00+11:00",
     ("2026-10-03T15:30Z", "2026-10-03T16:30Z")),
    ("half-hour overlap", "Australia/Lord_Howe", "45 1 * * *", 1800.0, "2026-04-05T01:44:00+10:30",
     ("2026-04-04T14:45Z", "2026-04-04T15:15Z")),
    ("half-hour overlap opens once", "Australia/Lord_Howe", "45 1 * * *", 1800.0,
     "2026-04-05T01:45:00+10:30", None),
    ("the gap swallows midnight", "America/Havana", "0 0 * * 0", HOUR, "2026-03-08T01:00:00-04:00",
     ("2026-03-08T05:00Z", "2026-03-08T06:00Z")),
    ("the overlap repeats midnight", "America/Havana", "0 0 * * 0", HOUR, "2026-11-01T00:30:00-04:00",
     ("2026-11-01T04:00Z", "2026-11-01T05:00Z")),
    ("midnight repeated opens once", "America/Havana", "0 0 * * 0", HOUR, "2026-11-01T00:00:00-05:00", None),
    ("the last Friday has no midnight", "Africa/Cairo", "0 0 * * L5", HOUR, "2026-04-24T01:30:00+03:00",
     ("2026-04-23T22:00Z", "2026-04-23T23:00Z")),
    ("the overlap ends at midnight", "Africa/Cairo", "30 23 * * 4", HOUR, "2026-10-29T23:20:00+02:00",
     ("2026-10-29T20:30Z", "2026-10-29T21:30Z")),
    ("a zone without transitions", "Asia/Kolkata", "30 2 * * *", HOUR, "2026-03-29T03:29:00+05:30",
     ("2026-03-28T21:00Z", "2026-03-28T22:00Z")),
    ("a day that never was", "Pacific/Apia", "0 12 30 12 *", HOUR, "2011-12-31T00:30:00+14:00",
     ("2011-12-30T10:00Z", "2011-12-30T11:00Z")),
    ("summer time given up: the gap of 2018 is there", "America/Sao_Paulo", "30 0 * * *", HOUR,
     "2018-11-04T01:00:00-02:00", ("2018-11-04T03:00Z", "2018-11-04T04:00Z")),
    ("summer time given up: that of 2019 is not", "America/Sao_Paulo", "30 0 * * *", HOUR,
     "2019-11-03T01:29:00-03:00", ("2019-11-03T03:30Z", "2019-11-03T04:30Z")),
    ("summer time for good: no second 03:30 in 2016", "Europe/Istanbul", "30 3 * * *", HOUR,
     "2016-10-30T04:29:00+03:00", ("2016-10-30T00:30Z", "2016-10-30T01:30Z")),
    ("summer time again: before 2023 Cairo had none", "Africa/Cairo", "0 0 * * L5", HOUR,
     "2022-04-29T00:00:00+02:00", ("2022-04-28T22:00Z", "2022-04-28T23:00Z")),
    ("no leap day in 2100", "UTC", "0 0 29 2 *", 400 * HOUR, "2100-03-01T00:00:00Z", None),
    ("leap day in 2000", "UTC", "0 0 29 2 *", 400 * HOUR, "2000-03-01T00:00:00Z",
     ("2000-02-29T00:00Z", "2000-03-16T16:00Z")),
    ("the last day of a leap February is the fifth Sunday", "UTC", "0 2 * 2 0#5", HOUR, "2032-02-29T02:00:00Z",
     ("2032-02-29T02:00Z", "2032-02-29T03:00Z")),
    ("clocks go back for Ramadan", "Africa/Casablanca", "30 2 * * *", HOUR, "2026-02-15T02:20:00+00:00",
     ("2026-02-15T01:30Z", "2026-02-15T02:30Z")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "cron", "duration_s", "instant", "expected"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_the_opening_that_contains_an_instant(
    zone: str, cron: str, duration_s: float, instant: str, expected: tuple[str, str] | None
) -> None:
    found = current(Window(cron, duration_s), zone, now=at(instant))
    assert (found and (found.start, found.end)) == (expected and (at(expected[0]), at(expected[1])))


@pytest.mark.parametrize(
    ("zone", "cron", "instant", "start"),
    [
        ("Europe/Berlin", "0 2 * * 6#1", "2026-11-20T12:00:00+01:00", "2026-12-05T01:00Z"),
        ("Europe/Berlin", "0 2 * * *", "2026-06-01T02:00:00+02:00", "2026-06-02T00:00Z"),
        ("Europe/Berlin", "30 2 * * *", "2026-03-29T01:59:00+01:00", "2026-03-29T01:00Z"),
        ("Europe/Berlin", "30 2 * * *", "2026-10-25T02:40:00+02:00", "2026-10-26T01:30Z"),
        ("Europe/Berlin", "30 2 * * *", "2026-10-25T02:10:00+01:00", "2026-10-26T01:30Z"),
        ("Europe/Berlin", "30 * * * *", "2026-10-25T02:40:00+02:00", "2026-10-25T01:30Z"),
        ("Europe/Berlin", "0 2 29 2 *", "2026-03-01T00:00:00+01:00", "2028-02-29T01:00Z"),
    ],
)
def test_the_next_opening(zone: str, cron: str, instant: str, start: str) -> None:
    found = following(Window(cron, HOUR), zone, now=at(instant))
    assert found is not None
    assert (found.start, found.end) == (at(start), at(start) + timedelta(hours=1))


def test_a_window_that_does_not_open_within_five_years_has_no_next() -> None:
    assert following(Window("0 2 * 2 6#5", HOUR), "UTC", now=at("2026-11-01T00:00Z")) is None
    assert current(Window("0 2 * 2 6#5", HOUR), "UTC", now=at("2026-11-01T00:00Z")) is None


@pytest.mark.parametrize(
    ("window", "zone", "message"),
    [
        (Window("0 22-22 * * *", HOUR), "UTC", "must go up"),
        (Window("22-22 2 * * *", HOUR), "UTC", "must go up"),
        (Window("0 2 13 * 5", HOUR), "UTC", "which cron joins with OR"),
        (Window("0 2 30 2 *", HOUR), "UTC", "never matches"),
        (Window("0 2 * * *", 0.0), "UTC", "more than nothing and at most 366 days"),
        (Window("0 2 * * *", -1.0), "UTC", "more than nothing"),
        (Window("0 2 * * *", float("nan")), "UTC", "more than nothing"),
        (Window("0 2 * * *", float("inf")), "UTC", "at most 366 days"),
        (Window("0 2 * * *", 367 * DAY), "UTC", "at most 366 days"),
        (Window("0 2 * * *", HOUR), "Mars/Olympus", "unknown time zone"),
    ],
)
def test_a_window_that_cannot_be_is_refused(window: Window, zone: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_window(window, zone)


def test_a_window_of_a_whole_leap_year_is_accepted() -> None:
    check_window(Window("0 0 1 1 *", 366 * DAY), "Europe/Berlin")


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        (Freeze(reason="r"), "needs `from` and `until`, or `cron` and `duration`"),
        (Freeze(reason="r", from_="2026-12-20", until="2026-12-19"), "ends on 2026-12-19, before it begins"),
        (Freeze(reason="r", from_="2026-12-32"), "'2026-12-32' is not a date"),
        (Freeze(reason="r", cron="0 2 * * *"), "more than nothing"),
        (Freeze(reason="r", cron="@daily", duration_s=HOUR), "1 fields, not 5"),
        (Freeze(reason="r", cron="0 2 13 * 5", duration_s=HOUR), "which cron joins with OR"),
        (Freeze(reason="r", cron="0 2 13 * *", duration_s=HOUR, days="both"), "`days: both` says nothing"),
    ],
)
def test_a_freeze_that_cannot_be_is_refused(freeze: Freeze, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_freeze(freeze)


@pytest.mark.parametrize(
    "freeze",
    [YEAR_END, FRIDAYS, Freeze(reason="r", from_="2026-12-20"), Freeze(reason="r", until="2026-12-20")],
)
def test_a_freeze_that_can_be_is_accepted(freeze: Freeze) -> None:
    check_freeze(freeze)
