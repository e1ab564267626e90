"""The route about probes over time: what each came to, by the hour, and the upgrades that were begun meanwhile."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from reconciler.api.endpoint import Endpoint
from reconciler.engine.daemon import Daemon
from reconciler.model.probed import Rollup, hour_began
from reconciler.model.rights import Caller
from reconciler.model.upgrade import Upgrade

HOURS_MAX = 7 * 24
UPGRADES_MAX = 100
Name = Annotated[str, Meta(max_length=200)]


class AskedProbes(Struct, frozen=True, forbid_unknown_fields=True):
    """`hours`: so many, to this one."""

    environment: Name
    service: Name
    hours: Annotated[int, Meta(ge=1, le=HOURS_MAX)] = 24


class LatencyShape(Struct, frozen=True):
    """In seconds, of healthy samples. `p95_s` is estimated from a histogram."""

    mean_s: float
    p95_s: float
    max_s: float


class HourShape(Struct, frozen=True):
    """`unknown`: the check could not be made, which says nothing of the service."""

    hour: datetime
    samples: int
    failed: int
    unknown: int
    latency: LatencyShape | None


class ProbeShape(Struct, frozen=True):
    """One probe, with those of its hours in which it was asked."""

    probe: str
    hours: list[HourShape]


class BegunShape(Struct, frozen=True):
    """An upgrade that was begun since then."""

    operation: str
    from_: str | None = field(name="from")
    to: str | None
    phase: str
    started_at: datetime
    ended_at: datetime | None


class ProbesShape(Struct, frozen=True):
    environment: str
    service: str
    since: datetime
    probes: list[ProbeShape]
    upgrades: list[BegunShape]
    """The oldest first."""


def first_hour(now: datetime, hours: int) -> datetime:
    """When the first of so many hours began, of which the last one is under way."""
    return hour_began(now) - timedelta(hours=hours - 1)


def begun(daemon: Daemon, environment: str, service: str, since: datetime) -> list[Upgrade]:
    """The upgrades of a service that were begun since then, the oldest first."""
    past = daemon.core.store.upgrades(environment=environment, service=service, limit=UPGRADES_MAX)
    return [one for one in reversed(past) if one.started_at is not None and one.started_at >= since]


async def _probes(daemon: Daemon, asked: AskedProbes, _caller: Caller) -> object:
    core, since = daemon.core, first_hour(daemon.core.clock.now(), asked.hours)
    hours = core.probed.hours(core.store, asked.environment, asked.service, since=since)
    return ProbesShape(
        asked.environment,
        asked.service,
        since,
        [
            ProbeShape(probe, [_hour(one.hour, one.rollup) for one in some])
            for probe, some in groupby(hours, key=lambda one: one.probe)
        ],
        [_begun(one) for one in begun(daemon, asked.environment, asked.service, since)],
    )


def _hour(hour: datetime, found: Rollup) -> HourShape:
    mean_s, p95_s = found.mean_s, found.p95_s
    latency = None if mean_s is None or p95_s is None else LatencyShape(mean_s, p95_s, found.max_s)
    return HourShape(hour, found.samples, found.failed, found.doubtful, latency)


def _begun(one: Upgrade) -> BegunShape:
    return BegunShape(
        one.operation,
        str(one.before.target) if one.before else None,
        str(one.to) if one.to else None,
        one.phase.value,
        one.started_at or one.created_at,
        one.ended_at,
    )


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint(
        "GET",
        "/probes",
        "What the probes of a service came to, hour by hour.",
        "see",
        AskedProbes,
        _probes,
        answers=ProbesShape,
    ),
)
