"""A year of an environment: when each class may start, what is frozen, and what is planned."""

from __future__ import annotations

import asyncio
import calendar
from collections import defaultdict
from datetime import date, datetime
from zoneinfo import ZoneInfo

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from reconciler.api.entry import Missing
from reconciler.api.web.page import Pages
from reconciler.model.calendar import TooOften
from reconciler.model.codec import encode
from reconciler.model.cron import Disagreement
from reconciler.model.environment import Environment
from reconciler.model.gates import starts_at
from reconciler.model.rights import Caller, Place, sees_part_of
from reconciler.model.year import Year, year_of
from reconciler.model.zone import YEARS

MARKS = {
    "major": "M",
    "minor": "m",
    "patch": "p",
    "config": "c",
    "removal": "r",
    "rollback": "b",
    "initial": "i",
}
"""By class, its letter in a day; what has no letter here is shown by its name alone."""
YEARS_KEPT = 50


class Planned(Struct, frozen=True):
    """A change that is known to start on a day."""

    service: str
    sentence: str
    at: datetime


class Day(Struct, frozen=True):
    """One square. `number` is 0 where it belongs to another month."""

    number: int = 0
    iso: str = ""
    open: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    planned: tuple[Planned, ...] = ()
    today: bool = False

    @property
    def letters(self) -> str:
        return "".join(MARKS.get(name, "") for name in self.open)

    @property
    def told(self) -> str:
        """All of it in words."""
        parts = [f"open for {', '.join(self.open)}"] if self.open else []
        parts += [f"frozen: {reason}" for reason in self.frozen]
        parts += [f"planned: {one.service}" for one in self.planned]
        return f"{self.iso}: {'; '.join(parts) or 'nothing'}"


class Month(Struct, frozen=True):
    name: str
    weeks: list[list[Day]]


async def show(pages: Pages, request: Request, caller: Caller) -> Response:
    """`?environment=` and `?year=`; without, the first one that the caller sees, and this year."""
    names = [
        name
        for name in sorted(pages.core.desired)
        if name in pages.fleet.passes and sees_part_of(caller, Place(name))
    ]
    name = request.query_params.get("environment", "") or next(iter(names), "")
    if name not in names:
        raise Missing("there is no such environment, or it is not yours to see", "look at the first page")
    environment, now = pages.core.desired[name].environment, pages.core.clock.now()
    zone = environment.timezone or "UTC"
    today = now.astimezone(ZoneInfo(zone)).date()
    asked = request.query_params.get("year", "")
    year = int(asked) if asked.isascii() and asked.isdigit() and len(asked) == 4 else today.year
    if year not in YEARS[:-1]:
        raise Missing(f"no calendar is kept of the year {year}", f"ask for one from {YEARS[0]} on")
    trouble, found = "", None
    try:
        found = await asyncio.to_thread(_year, encode(environment), environment, year)
    except (TooOften, Disagreement) as error:
        trouble = str(error)
    planned = _planned(pages, caller, name, ZoneInfo(zone))
    return await pages.render(
        request,
        caller,
        "calendar.html",
        names=names,
        environment=name,
        year=year,
        years=YEARS[:-1],
        zone=zone,
        trouble=trouble,
        months=months(year, found, planned, today),
        unlisted=found.unlisted if found else (),
        always=[one for one in ("major", "minor", "patch") if environment.windows.get(one) is None],
        manual=[one for one, schedule in environment.windows.items() if schedule == "manual"],
        freezes=sorted({reason for day in found.days for reason in day.frozen}) if found else [],
        upcoming=[one for day in sorted(planned) for one in planned[day]],
        marks=MARKS,
    )


_KEPT: dict[tuple[bytes, int], Year] = {}


def _year(key: bytes, environment: Environment, year: int) -> Year:
    """Kept, as long as the environment's file says the same: a year of cron is a second's work at worst."""
    found = _KEPT.pop((key, year), None) or year_of(environment, year)
    _KEPT[key, year] = found
    for old in list(_KEPT)[:-YEARS_KEPT]:
        _KEPT.pop(old, None)
    return found


def _planned(pages: Pages, caller: Caller, environment: str, zone: ZoneInfo) -> dict[date, list[Planned]]:
    """By day, the changes that wait and are known to start on it."""
    here, now = pages.fleet.passes[environment], pages.core.clock.now()
    found = defaultdict[date, list[Planned]](list)
    views = here.views()
    for service, (_, gates) in sorted(here.told.items()):
        at = starts_at(gates, now=now)
        if at is not None and service in views and sees_part_of(caller, Place(environment, service)):
            found[at.astimezone(zone).date()].append(Planned(service, views[service].sentence, at))
    return found


def months(year: int, found: Year | None, planned: dict[date, list[Planned]], today: date) -> list[Month]:
    known = {day.date: day for day in found.days} if found else {}

    def square(day: date, month: int) -> Day:
        if day.month != month:
            return Day()
        here = known.get(day)
        return Day(
            day.day,
            day.isoformat(),
            here.open if here else (),
            here.frozen if here else (),
            tuple(planned.get(day, ())),
            day == today,
        )

    weeks = calendar.Calendar()
    return [
        Month(
            f"{date(year, month, 1):%B}",
            [[square(day, month) for day in week] for week in weeks.monthdatescalendar(year, month)],
        )
        for month in range(1, 13)
    ]
