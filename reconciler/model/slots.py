"""Slots of a group: how many of its machines and services may be down at once. The words are those of FleetLock."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

HEADER = "fleet-lock-protocol"
PRE_REBOOT = "/v1/pre-reboot"
"""Ask for a slot. Who has one already is given it again."""
STEADY_STATE = "/v1/steady-state"
"""Give it back. Who has none gives back nothing, and that is well too."""
ID_CHARS_MAX = 500


class Client(Struct, frozen=True):
    """Who asks, and of which group."""

    id: Annotated[str, Meta(min_length=1, max_length=ID_CHARS_MAX)]
    group: Annotated[str, Meta(pattern=r"\A[a-zA-Z0-9.-]{1,100}\Z")]


class Body(Struct, frozen=True):
    """What is sent to either path."""

    client_params: Client


class Refusal(Struct, frozen=True):
    """What a server answers beside a status that is not 200: a word for programs, and a sentence."""

    kind: str
    value: str


class Rule(Struct, frozen=True, omit_defaults=True):
    """Of an environment: each upgrade needs a slot of `group`, of this daemon's own server where no `url` is given."""

    group: str
    url: str | None = None


class Hold(Struct, frozen=True):
    """A slot that an upgrade asked for, and may have: written down before it is asked for."""

    environment: str
    service: str
    operation: str
    rule: Rule


def slot_id(host: str, environment: str, service: str) -> str:
    """Under which name an upgrade holds its slot: the same after a restart."""
    return f"ugs/{host}/{environment}/{service}"[:ID_CHARS_MAX]


def refusal(group: str, holders: tuple[str, ...], client: str, limit: int | None) -> Refusal | None:
    """Why a client is given no slot now; None where it is. `limit`: how many there are; None: no such group."""
    if limit is None:
        return Refusal("unknown_group", f"there is no group {group} here")
    if client in holders or len(holders) < limit:
        return None
    return Refusal("failed_lock", f"all {limit} slots of {group} are taken: {', '.join(holders[:5])}")
