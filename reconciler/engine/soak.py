"""What has proved healthy in an environment and since when: out of our own records, or of what others wrote in Git."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from datetime import datetime

from reconciler.engine.core import Core
from reconciler.engine.remembered import Remembered
from reconciler.engine.share import unlisted
from reconciler.engine.told import Told, told
from reconciler.model.circumstances import Promoted
from reconciler.model.environment import Environment
from reconciler.model.errors import UgsError
from reconciler.model.promotion import Stage
from reconciler.model.recovery import Account, Failed
from reconciler.model.stamped import promoting
from reconciler.model.train import upstream
from reconciler.model.version import Version
from reconciler.store import Quarantine, Transition

log = logging.getLogger("ugs")
DEGRADED, UNKNOWN, FAILED = "is degraded", "has a health that is not known", "failed"


def proved(core: Core, environment: str, service: str) -> Promoted | None:
    """What is last-good of a service there, and since when it has been healthy without being degraded in between.

    Of an environment in the hands of another daemon: what the notes say succeeded last, and has done since. Where
    this daemon has seen something else run well after that, as what it adopted, nobody knows how that does now.
    """
    good = core.store.good(environment, service, limit=1)
    if not here(core, environment):
        account = core.elsewhere.get(environment, Account())
        last = account.proven.get(service)
        if last is None:
            return None
        other, remembered = good and good[0][0].target != last.target, Remembered(core, environment, account)
        if remembered.has_failed_since(service, last):
            return Promoted(last.target.version, last.since or last.at, FAILED)
        if other and not remembered.is_news(service, last):
            return Promoted(good[0][0].target.version, good[0][1], UNKNOWN)
        return Promoted(last.target.version, last.since or last.at, DEGRADED if last.degraded else "")
    if not good:
        return None
    work, at = good[0]
    if core.hosted(environment):
        known = core.rollouts.get(environment)
        rollout = known.rollouts.get(service) if known else None
        if rollout is None or rollout.to != work.target or rollout.state != "succeeded":
            return Promoted(work.target.version, at, "has not reached every host")
        at = max(at, rollout.ended_at or at)
    since, ill = unbroken(core.store.transitions(environment, service, since=at), at)
    return Promoted(work.target.version, since, ill)


def unbroken(transitions: Iterable[Transition], since: datetime) -> tuple[datetime, str]:
    """Since when a service has been healthy, at the earliest `since`; and why it is not now, empty where it is.

    A degradation begins the time anew. What could not be looked at for a while does not: it only must be known again.
    """
    broken, state = False, "healthy"
    for one in transitions:
        state = one.state
        if state == "degraded":
            broken = True
        elif state == "healthy" and broken:
            since, broken = max(since, one.since), False
    if broken:
        return since, DEGRADED
    return since, UNKNOWN if state == "unknown" else ""


def stage(core: Core, environment: str, place: Environment | None) -> Stage:
    """One environment of a train, as far as it is known here."""
    if place is None:
        return Stage(environment, unknown=f"there is no environment {environment} that can be used")
    return pinning(core, environment, {service: pin.version for service, pin in place.pins.items()})


def pinning(core: Core, environment: str, pins: Mapping[str, Version]) -> Stage:
    """The same of one that is there, and has these pins."""
    found = {service: one for service in pins if (one := proved(core, environment, service))}
    rows = core.store.quarantined(environment)
    if here(core, environment):
        unknown = f"{environment} is in safe mode" if core.store.recovery(environment) else ""
        return Stage(environment, found, _shut(rows), pins, unknown)
    account = core.elsewhere.get(environment)
    if account is None:
        return Stage(
            environment, pins=pins, unknown=f"what became of upgrades in {environment} is not known here"
        )
    ours = [row for row in rows if _is_ours(core, account, row.operation)]
    return Stage(environment, found, _shut([*account.failed, *ours]), pins)


def _shut(failed: Iterable[Failed | Quarantine]) -> dict[tuple[str, str], str]:
    """By service and version: why it failed."""
    return {(one.service, one.target.version.text): one.reason for one in failed}


def _is_ours(core: Core, account: Account, operation: str) -> bool:
    """Whether what failed is still for this daemon to see to the end, or to tell: as what a person took back in its
    hands just before others got the environment, in which it may have proved healthy without their knowing."""
    if operation not in account.ended and operation not in account.reverts:
        return True
    known = core.store.upgrade(operation)
    return known is not None and not known.final


def places_of(core: Core) -> dict[str, Environment]:
    """Every environment of the repository, also those of other daemons; ours as they are in force. Blocking."""
    found = dict[str, Environment]()
    if tip := core.repository.mirror.accepted():
        found |= core.repository.snapshot(tip).environments
    return found | {name: one.environment for name, one in list(core.desired.items())}


async def learn(core: Core) -> None:
    """Read the notes of what other daemons did, where a train comes by their environments and there is news.

    With `trust` nobody's notes are believed: whoever may push writes into them what they like.
    """
    if core.settings.trust or not promoting(core.desired.now):
        return
    places = await asyncio.to_thread(places_of, core)
    wanted = {name for one in core.desired for name in _upstream(one, places) if not here(core, name)}
    if not wanted:
        core.elsewhere.clear()
        return
    try:
        found = (await asyncio.to_thread(told_in_force, core)).accounts
    except UgsError as error:
        log.warning("what other daemons did is not known: %s", error)
        return
    core.elsewhere.clear()
    core.elsewhere.update({name: found.get(name, Account()) for name in wanted})


def _upstream(name: str, places: Mapping[str, Environment]) -> tuple[str, ...]:
    try:
        return upstream(name, places)
    except UgsError:
        return ()


def told_in_force(core: Core) -> Told:
    """Blocking: what Git tells by the commit in force. Raises UgsError."""
    return told(core, core.repository.mirror.accepted())


def here(core: Core, environment: str) -> bool:
    """Whether our own records tell of an environment: it is in our hands."""
    desired = core.desired.get(environment)
    if desired is None or unlisted(core, desired):
        return False
    return core.leases.standing(core.share(environment)) == "held"
