from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from reconciler.model.zone import (
    check_zone,
    first_instant,
    instants_at,
    local_text,
    parse_day,
    parse_instant,
    transitions,
)


@pytest.mark.parametrize("name", ["Europe/Berlin", "UTC", "Australia/Lord_Howe", "Etc/GMT+5"])
def test_known_zones_are_accepted(name: str) -> None:
    check_zone(name)


@pytest.mark.fault("TM-09")
@pytest.mark.parametrize(
    "name",
    [
        "",
        "Mars/Olympus",
        "Europe",
        "../Europe/Berlin",
        "/etc/localtime",
        "localtime",
        "right/UTC",
        "a\0b",
        "x" * 5000,
    ],
)
def test_unknown_or_host_dependent_zones_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="unknown time zone"):
        check_zone(name)


def test_a_misspelt_zone_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="'Europe/Berln'; did you mean Europe/Berlin"):
        check_zone("Europe/Berln")


@pytest.mark.parametrize(
    ("zone", "wall", "instants"),
    [
        ("Europe/Berlin", "2026-06-01 12:00", ["2026-06-01T10:00Z"]),
        ("Europe/Berlin", "2026-03-29 02:30", ["2026-03-29T01:00Z"]),
        ("Europe/Berlin", "2026-10-25 02:30", ["2026-10-25T00:30Z", "2026-10-25T01:30Z"]),
        ("Australia/Lord_Howe", "2026-10-04 02:10", ["2026-10-03T15:30Z"]),
        ("Australia/Lord_Howe", "2026-04-05 01:45", ["2026-04-04T14:45Z", "2026-04-04T15:15Z"]),
        ("America/Havana", "2026-03-08 00:00", ["2026-03-08T05:00Z"]),
        ("Pacific/Apia", "2011-12-30 12:00", ["2011-12-30T10:00Z"]),
    ],
)
def test_the_instants_at_which_clocks_show_a_time(zone: str, wall: str, instants: list[str]) -> None:
    expected = tuple(datetime.fromisoformat(text) for text in instants)
    at = datetime.fromisoformat(wall)
    assert instants_at(at, ZoneInfo(zone), every=True) == expected
    assert instants_at(at, ZoneInfo(zone), every=False) == expected[:1]


def test_a_day_begins_after_the_gap_that_swallows_its_midnight() -> None:
    assert first_instant("2026-03-08", "America/Havana") == datetime(2026, 3, 8, 5, tzinfo=UTC)
    assert first_instant("2026-03-07", "America/Havana", days=1) == datetime(2026, 3, 8, 5, tzinfo=UTC)


@pytest.mark.parametrize("text", ["20261220", "2026-W52-1", "2026-02-30", "tomorrow", "1066-10-14", ""])
def test_only_plain_dates_of_our_time_are_dates(text: str) -> None:
    with pytest.raises(ValueError, match="is not a date such as 2026-12-20"):
        parse_day(text)


def test_local_text_names_day_time_and_zone() -> None:
    assert local_text(datetime(2026, 12, 5, 1, tzinfo=UTC), "Europe/Berlin") == "Sat 2026-12-05 02:00 CET"


@pytest.mark.parametrize(
    ("text", "offset_h"),
    [
        ("2026-10-25T02:30:00+01:00", 1.0),
        ("2026-10-25t02:30:00.5z", 0.0),
        ("2026-10-25T02:30:00.123456789-03:30", -3.5),
    ],
)
def test_an_instant_keeps_the_offset_that_was_written(text: str, offset_h: float) -> None:
    instant = parse_instant(text)
    assert instant.utcoffset() == timedelta(hours=offset_h)
    assert (instant.hour, instant.minute) == (2, 30)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-10-25T02:30:00", "has no offset from UTC; write for example 2026-10-25T02:30:00\\+01:00, or"),
        ("2026-10-25", "'2026-10-25' is not an instant; write it as RFC 3339 does"),
        ("20261025T023000Z", "is not an instant"),
        ("2026-W43-7T02:30:00Z", "is not an instant"),
        ("2026-10-25T24:30:00Z", "is not an instant"),
        ("2026-02-30T02:30:00Z", "is not an instant"),
        ("2026-10-25T02:30:00+99:00", "is not an instant"),
        ("tomorrow", "'tomorrow' is not an instant"),
        ("9" * 500, "is not an instant"),
        ("٢٠٢٦-10-25T02:30:00Z", "is not an instant"),
        ("1999-12-31T23:59:59Z", "is not in the years 2000 to 2200; no calendar is kept"),
        ("9999-12-31T23:59:59-23:00", "is not in the years 2000 to 2200"),
        ("0001-01-01T00:00:00+23:00", "is not in the years 2000 to 2200"),
    ],
)
def test_what_is_no_instant_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_instant(text)


@pytest.mark.parametrize(
    ("zone", "found"),
    [
        ("Europe/Berlin", [("2026-03-29T01:00Z", 60), ("2026-10-25T01:00Z", -60)]),
        ("Australia/Lord_Howe", [("2026-04-04T15:00Z", -30), ("2026-10-03T15:30Z", 30)]),
        ("Asia/Kolkata", []),
    ],
)
def test_the_transitions_of_a_year(zone: str, found: list[tuple[str, int]]) -> None:
    since, until = (datetime.fromisoformat(f"{year}-01-01T00:00:00.5Z") for year in (2026, 2027))
    assert list(transitions(zone, since=since, until=until)) == [
        (datetime.fromisoformat(text), timedelta(minutes=minutes)) for text, minutes in found
    ]
