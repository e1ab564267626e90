"""Who may do what, and where: roles, the rights that each has, and the places that each is given for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Literal

from msgspec import Struct

Role = Literal["viewer", "operator", "approver", "admin"]
Right = Literal["see", "operate", "approve", "administer"]
"""`see` what is so; `operate`: hold, sync, retry, roll back; `approve`: let a change through a gate; `administer`:
pass by gates, take over what is not ours, settle what is in doubt, give rights."""

RIGHTS: Mapping[Role, frozenset[Right]] = {
    "viewer": frozenset({"see"}),
    "operator": frozenset({"see", "operate"}),
    "approver": frozenset({"see", "approve"}),
    "admin": frozenset({"see", "operate", "approve", "administer"}),
}
ALL = ("*",)
GRANTS_MAX = 50
PATTERNS_MAX = 100


class RoleGrant(Struct, frozen=True, forbid_unknown_fields=True):
    """A role, for the environments and services whose names fit one of these patterns (`*` and `?`)."""

    role: Role
    environments: tuple[str, ...] = ALL
    services: tuple[str, ...] = ALL


class Caller(Struct, frozen=True):
    """Who asks, as what the audit calls him, with all that he may do. `token`: the number of the token he shows;
    `session`: that of the one in which his browser signed in; `until`: he is let in no longer than that."""

    name: str
    grants: tuple[RoleGrant, ...]
    token: int | None = None
    session: int | None = None
    until: datetime | None = None


class Place(Struct, frozen=True):
    """What a request is about: one service, one environment with all of its services, or everything."""

    environment: str | None = None
    service: str | None = None


EVERYTHING = Place()


def may(caller: Caller, right: Right, place: Place) -> bool:
    """Whether one grant alone gives the right for the whole place."""
    return any(right in RIGHTS[grant.role] and _covers(grant, place) for grant in caller.grants)


def may_somewhere(caller: Caller, right: Right) -> bool:
    """Whether the right is given for any place at all."""
    return any(right in RIGHTS[grant.role] for grant in caller.grants)


def sees_part_of(caller: Caller, place: Place) -> bool:
    """Whether there is anything in the place that the caller may see: of an environment, one service is enough."""
    return any(
        place.environment is None
        or (
            _fits(place.environment, grant.environments)
            and (place.service is None or _fits(place.service, grant.services))
        )
        for grant in caller.grants
    )


def roles_with(right: Right) -> tuple[Role, ...]:
    """The roles that have a right, the least first."""
    return tuple(role for role, rights in RIGHTS.items() if right in rights)


def beyond(grants: Iterable[RoleGrant], caller: Caller) -> list[RoleGrant]:
    """Those of the grants that go beyond what the caller has himself: nobody gives what he has not."""
    return [
        grant
        for grant in grants
        if not any(
            RIGHTS[grant.role] <= RIGHTS[own.role]
            and _within(grant.environments, own.environments)
            and _within(grant.services, own.services)
            for own in caller.grants
        )
    ]


def _covers(grant: RoleGrant, place: Place) -> bool:
    environments = (
        "*" in grant.environments
        if place.environment is None
        else _fits(place.environment, grant.environments)
    )
    services = "*" in grant.services if place.service is None else _fits(place.service, grant.services)
    return environments and services


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _within(patterns: Iterable[str], own: tuple[str, ...]) -> bool:
    return "*" in own or set(patterns) <= set(own)
