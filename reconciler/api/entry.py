"""Whether a caller may ask this here. What he may not see and what is not there get the same answer."""

from __future__ import annotations

from typing import TypeVar

from reconciler.api.endpoint import Endpoint
from reconciler.engine.daemon import Daemon
from reconciler.model.errors import TransientError, UgsError
from reconciler.model.rights import (
    EVERYTHING,
    Caller,
    Place,
    Right,
    may,
    may_somewhere,
    roles_with,
    sees_part_of,
)

T = TypeVar("T")


class Missing(UgsError):
    """It is not there, or not for this caller to see."""


class Denied(UgsError):
    """The caller sees it, and may not do this with it."""


def enter(daemon: Daemon, endpoint: Endpoint[T], asked: T, caller: Caller) -> None:
    """Raises Missing and Denied."""
    place = endpoint.place(daemon, asked)
    if place is not None:
        check(daemon, endpoint.right, place, caller, part=endpoint.part)
    elif not may(caller, endpoint.right, EVERYTHING):
        raise Missing("there is nothing of this number in force", "look at the list")


def check(daemon: Daemon, right: Right, place: Place, caller: Caller, *, part: bool = False) -> None:
    """Raise Missing where the place is not there for this caller, and Denied where he lacks the right for it.

    `part`: to have the right somewhere is enough.
    """
    _see(daemon, place, caller)
    if not (part and may_somewhere(caller, right)) and not may(caller, right, place):
        roles = " or ".join(roles_with(right))
        raise Denied(f"{caller.name} may not do this in {_told(place)}", f"it takes the role {roles} there")


def _see(daemon: Daemon, place: Place, caller: Caller) -> None:
    """Raise Missing unless the place is there and the caller may see something of it."""
    if place.environment is None:
        return
    passes = daemon.fleet.passes
    if not passes and daemon.core.desired.fetched_at is None:
        raise TransientError("the daemon has not read the repository yet", "ask again in a moment")
    if place.environment not in passes or not sees_part_of(caller, Place(place.environment)):
        known = ", ".join(name for name in passes if sees_part_of(caller, Place(name))) or "none"
        raise Missing(f"there is no environment {place.environment[:100]}", f"known here: {known}")
    if place.service is not None and not may(caller, "see", Place(place.environment)):
        seen = [
            name
            for name in passes[place.environment].views()
            if sees_part_of(caller, Place(place.environment, name))
        ]
        if place.service not in seen:
            raise Missing(
                f"{place.environment} has no service {place.service[:100]}",
                f"it has {', '.join(seen) or 'none'}",
            )


def _told(place: Place) -> str:
    if place.environment is None:
        return "everything"
    return f"{place.environment}/{place.service}" if place.service else f"all of {place.environment}"
