"""The routes about when what may start: for machines as JSON, for people's calendars as a feed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar

from msgspec import Meta, Struct, field
from starlette.responses import Response

from reconciler import feed
from reconciler.api.endpoint import Endpoint
from reconciler.engine import windows
from reconciler.engine.daemon import Daemon
from reconciler.model.calendar import TooOften, events
from reconciler.model.cron import Disagreement
from reconciler.model.environment import Environment
from reconciler.model.errors import UgsError
from reconciler.model.rights import Caller, Place, sees_part_of
from reconciler.model.year import year_of

T = TypeVar("T")
DAYS_MAX = 400


class AskedWindows(Struct, frozen=True, forbid_unknown_fields=True):
    environment: str | None = None
    year: Annotated[int, Meta(ge=2000, le=2100)] | None = None


class AskedFeed(Struct, frozen=True, forbid_unknown_fields=True):
    """`token`: for calendars, which send no headers; only one that may do nothing but see is taken there."""

    environment: str | None = None
    days: Annotated[int, Meta(ge=1, le=DAYS_MAX)] = 120
    token: str | None = None


class ClassShape(Struct, frozen=True):
    class_: str = field(name="class")
    open: bool
    reason: str
    opens_at: datetime | None
    closes_at: datetime | None


class FreezeShape(Struct, frozen=True):
    reason: str
    except_: list[str] = field(name="except")
    in_force: bool
    starts_at: datetime
    ends_at: datetime


class DayShape(Struct, frozen=True):
    date: str
    open: list[str]
    frozen: list[str]


class PlaceShape(Struct, frozen=True):
    """Without `year`, what is open and frozen now and next; with it, the days of the year on which anything is."""

    environment: str
    timezone: str | None
    classes: list[ClassShape] | None = None
    freezes: list[FreezeShape] | None = None
    year: int | None = None
    days: list[DayShape] | None = None
    unlisted: list[str] | None = None


class WindowsShape(Struct, frozen=True):
    at: datetime
    environments: list[PlaceShape]


async def _windows(daemon: Daemon, asked: AskedWindows, caller: Caller) -> object:
    now, places = daemon.core.clock.now(), _places(daemon, asked.environment, caller)
    year = asked.year

    def shown() -> list[dict[str, Any]]:
        if year is None:
            return [windows.overview(one, now) for one in places]
        return [windows.year_shape(one, year_of(one, year)) for one in places]

    return {"at": now, "environments": await _listed(shown)}


async def _feed(daemon: Daemon, asked: AskedFeed, caller: Caller) -> object:
    now, places = daemon.core.clock.now(), _places(daemon, asked.environment, caller)
    end = now + timedelta(days=asked.days)
    name = f"UGS {asked.environment}" if asked.environment else "UGS"

    def shown() -> bytes:
        listed = [event for one in places for event in events(one, since=now, until=end)]
        return feed.rendered(name, listed, now=now)

    return Response(await _listed(shown), media_type=feed.CONTENT_TYPE)


async def _listed(call: Callable[[], T]) -> T:
    """In a thread: a calendar is worked out, and that takes its time."""
    try:
        return await asyncio.to_thread(call)
    except TooOften as often:
        raise UgsError(str(often), "ask for a shorter time, or of one environment") from often
    except Disagreement as doubt:
        raise UgsError(str(doubt), "this is a bug in UGS, please report it") from doubt


def _places(daemon: Daemon, name: str | None, caller: Caller) -> list[Environment]:
    return [
        desired.environment
        for place, desired in sorted(daemon.core.desired.items())
        if name in (None, place) and desired.gone is None and sees_part_of(caller, Place(place))
    ]


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint(
        "GET",
        "/windows",
        "When a change of each class may start.",
        "see",
        AskedWindows,
        _windows,
        part=True,
        answers=WindowsShape,
    ),
    Endpoint(
        "GET",
        "/windows.ics",
        "The same for calendars, as iCalendar.",
        "see",
        AskedFeed,
        _feed,
        part=True,
        media=feed.CONTENT_TYPE.partition(";")[0],
        by_url=True,
    ),
)
