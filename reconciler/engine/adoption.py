"""A person lets what is not ours be taken over."""

from __future__ import annotations

from datetime import datetime

from reconciler.engine.fleet import Fleet
from reconciler.engine.people import Conflict
from reconciler.engine.permits import end_of, place, reason_of, room, tell, wake
from reconciler.model.adoption import ADOPTION_LASTS, Adoption, adopted
from reconciler.model.permits import zone_of
from reconciler.model.zone import local_text


def adopt(
    fleet: Fleet,
    environment: str,
    service: str,
    *,
    actor: str,
    reason: str,
    until: str | None = None,
    lasting: str | None = None,
) -> Adoption:
    """The next deployment of the service takes over what has its name; within a week unless said otherwise."""
    core, here = fleet.core, place(fleet, environment, service)
    why, end = reason_of(reason), end_of(core, until, lasting) or core.clock.now() + ADOPTION_LASTS
    seen = here.observed.get(service)
    if seen is None or not seen.foreign:
        raise Conflict(
            f"{environment}: nothing foreign stands in the way of {service}",
            f"say `ugs explain {environment} {service}` for what it waits for",
        )
    given = core.store.permits(environment).adoptions
    if one := adopted(given, service, now=core.clock.now()):
        raise Conflict(
            f"{one.by} has let it be adopted already (adoption {one.id})",
            f"to give it another term, say `ugs adopt withdraw {one.id}` first",
        )
    room(here, len(given), "adoptions", "ugs adopt withdraw ID")
    with core.store.transaction():
        made = core.store.adopt(environment, service, what=seen.foreign, reason=why, by=actor, until=end)
        zone = zone_of(core.desired[environment].environment)
        tell(
            core,
            environment,
            service,
            f"may be adopted {_term(made.by, end, zone)}: {why} ({made.what})",
            "info",
        )
    wake(fleet, environment)
    return made


def withdraw(fleet: Fleet, number: int, *, actor: str) -> Adoption:
    """Take the word back, as long as it was not used."""
    core = fleet.core
    with core.store.transaction():
        taken = core.store.withdraw_adoption(number, by=actor)
        if taken is None:
            raise Conflict(f"there is no adoption {number} in force", "see `ugs adopt list`")
        text = f"may be adopted no longer ({taken.reason}): withdrawn by {actor}"
        tell(core, taken.environment, taken.service, text, "info")
    wake(fleet, taken.environment)
    return taken


def _term(by: str, end: datetime, zone: str) -> str:
    return f"by the word of {by} until {local_text(end, zone)}"
