"""A calendar's events as iCalendar (RFC 5545): the same bytes in a file and over HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from reconciler.model.calendar import Event

CONTENT_TYPE = "text/calendar; charset=utf-8"
REFRESH = timedelta(hours=6)


def rendered(name: str, events: Iterable[Event], *, now: datetime) -> bytes:
    """One VCALENDAR with one VEVENT an event, in UTC. Nobody is shown as busy by it."""
    import icalendar

    calendar = icalendar.Calendar()
    calendar.add("prodid", "-//UGS//maintenance windows//EN")
    calendar.add("version", "2.0")
    calendar.add("method", "PUBLISH")
    calendar.add("x-wr-calname", name)
    calendar.add("refresh-interval", icalendar.vDuration(REFRESH), parameters={"VALUE": "DURATION"})
    for event in events:
        entry = icalendar.Event()
        entry.add("uid", event.uid)
        entry.add("dtstamp", now)
        entry.add("dtstart", event.start)
        entry.add("dtend", event.end)
        entry.add("summary", event.summary)
        entry.add("description", event.description)
        entry.add("transp", "TRANSPARENT")
        calendar.add_component(entry)
    return bytes(calendar.to_ical())
