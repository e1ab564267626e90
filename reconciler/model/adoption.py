"""What stands where a service would be, and is not ours: left alone until a person lets it be taken over."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

ADOPTION_LASTS = timedelta(days=7)
"""How long it counts when nothing else is said."""


class Adoption(Struct, frozen=True):
    """One person's word that what has the service's name may be taken over: once, until then."""

    id: int
    environment: str
    service: str
    what: str
    """What was to be taken over, as the driver named it then."""
    reason: str
    by: str
    at: datetime
    until: datetime


def adopted(adoptions: Iterable[Adoption], service: str, *, now: datetime) -> Adoption | None:
    """The word that counts for a service now; of several the newest."""
    return max(
        (one for one in adoptions if one.service == service and now < one.until),
        key=lambda one: one.id,
        default=None,
    )
