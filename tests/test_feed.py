"""The calendar feed, read back by the library that people's own calendars could use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import icalendar

from reconciler.feed import rendered
from reconciler.model.calendar import Event

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
START = datetime(2026, 12, 5, 1, tzinfo=UTC)
REASON = "no deploys; Müller, \\ said\nBEGIN:VEVENT " + "x" * 100


def test_events_survive_the_way_there_and_back() -> None:
    one = Event("a@ugs", START, START + timedelta(hours=3), "production: minor window", "minor changes")
    other = Event("b@ugs", START, START + timedelta(days=3), f"production: freeze, {REASON}", REASON)
    data = rendered("UGS", [one, other], now=NOW)
    assert all(len(line) <= 75 for line in data.split(b"\r\n"))
    calendar = icalendar.Calendar.from_ical(data)
    assert (str(calendar["VERSION"]), str(calendar["X-WR-CALNAME"])) == ("2.0", "UGS")
    for event, entry in zip((one, other), calendar.walk("VEVENT"), strict=True):
        assert str(entry["UID"]) == event.uid
        assert (entry.decoded("DTSTART"), entry.decoded("DTEND")) == (event.start, event.end)
        assert str(entry["SUMMARY"]) == event.summary
        assert str(entry["DESCRIPTION"]) == event.description
        assert entry.decoded("DTSTAMP") == NOW
        assert str(entry["TRANSP"]) == "TRANSPARENT"


def test_times_are_in_utc_and_the_feed_says_how_often_to_ask() -> None:
    data = rendered("UGS", [Event("a@ugs", START, START + timedelta(hours=3), "s", "d")], now=NOW)
    assert b"DTSTART:20261205T010000Z\r\nDTEND:20261205T040000Z\r\n" in data
    assert b"REFRESH-INTERVAL;VALUE=DURATION:PT6H\r\n" in data
