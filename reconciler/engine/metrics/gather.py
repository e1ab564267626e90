"""What the daemon knows at this moment, as numbers: memory and a few rows are read, and nothing is asked or awaited."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from heapq import nsmallest
from itertools import islice
from typing import get_args

from msgspec import Struct

from reconciler import __version__
from reconciler.engine.attention import needs_person
from reconciler.engine.fleet import Fleet
from reconciler.engine.metrics.table import Sample
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.model.delivery import BECAME, PROVIDERS
from reconciler.model.environment import ChangeClass
from reconciler.model.gates import GATES, closed
from reconciler.model.observation import HealthState, Usage
from reconciler.model.pulls import Event, Kind
from reconciler.model.stay import TIMED
from reconciler.model.upgrade import FINAL, Upgrade
from reconciler.model.window import Interval
from reconciler.store import NOTE

CLASSES: tuple[ChangeClass, ...] = get_args(ChangeClass)
RESULTS = tuple(sorted(phase.value for phase in FINAL))
STATES: tuple[HealthState, ...] = get_args(HealthState)
GATE_NAMES = tuple(gate.__name__.lstrip("_") for gate in GATES)
MISSED = "window-passed"
PULL_KINDS = (*get_args(Kind), "revert")
PULL_EVENTS: tuple[Event, ...] = get_args(Event)
PROMOTION_EVENTS = {"promoted": "promoted", "refused": "promotion-refused"}
Counts = Mapping[tuple[str, str, str], int]
"""By environment, class or kind, and event."""


class Known(Struct, frozen=True):
    """What was worked out or sampled before."""

    usages: Mapping[tuple[str, str, int], Usage]
    openings: Mapping[tuple[str, ChangeClass], Interval]


class _Service(Struct, frozen=True):
    """One service, and whether it is well: of those that are not, nothing is left out first."""

    environment: str
    service: str
    health: HealthState


def gather(fleet: Fleet, started_at: datetime, known: Known) -> list[Sample]:
    """Every sample but those of the histogram."""
    here = {name: fleet.passes[name] for name in sorted(fleet.core.desired) if name in fleet.passes}
    counts = {(row.environment, row.change_class, row.event): row.count for row in fleet.core.store.tallies()}
    samples = [
        *_daemon(fleet, started_at),
        *_queues(fleet),
        *_webhooks(fleet),
        *_tallies(here, counts),
        *_pulls(fleet, here, counts),
        *_unfinished(fleet, here),
    ]
    for name, place in here.items():
        samples += _environment(fleet, name, place)
    for (name, kind), opening in sorted(known.openings.items()):
        samples.append(Sample("ugs_window_opens_timestamp_seconds", (name, kind), opening.start.timestamp()))
        samples.append(Sample("ugs_window_closes_timestamp_seconds", (name, kind), opening.end.timestamp()))
    samples += _services(fleet, here, known.usages)
    return samples


def _daemon(fleet: Fleet, started_at: datetime) -> Iterator[Sample]:
    core = fleet.core
    yield Sample("ugs_build_info", (__version__,), 1)
    yield Sample("ugs_start_timestamp_seconds", (), started_at.timestamp())
    yield Sample("ugs_needs_person", (), len(needs_person(fleet)))
    yield Sample("ugs_problems", (), len(fleet.problems))
    yield Sample("ugs_database_writable", (), not core.store.refused)
    yield Sample("ugs_repository_state", (fleet.state,), 1)
    yield Sample("ugs_git_max_stale_seconds", (), core.settings.repository.max_stale_s)
    fetched_at = core.desired.fetched_at
    fetched = fetched_at.timestamp() if fetched_at else 0
    yield Sample("ugs_git_fetched_timestamp_seconds", (), fetched)


def _queues(fleet: Fleet) -> Iterator[Sample]:
    queues, now = fleet.core.store.queues(), fleet.core.clock.now()
    for channel in sorted({NOTE, *(outbox.channel for outbox in fleet.core.outboxes)} | queues.keys()):
        waiting, oldest = queues.get(channel, (0, None))
        yield Sample("ugs_outbox_pending", (channel,), waiting)
        waited_s = max(0.0, (now - oldest).total_seconds()) if oldest else 0
        yield Sample("ugs_outbox_oldest_seconds", (channel,), waited_s)


def _webhooks(fleet: Fleet) -> Iterator[Sample]:
    core = fleet.core
    for forge in PROVIDERS:
        if forge in core.settings.webhooks:
            for outcome in BECAME:
                yield Sample("ugs_webhooks_total", (forge, outcome), core.deliveries[forge, outcome])


def _tallies(here: Mapping[str, EnvironmentPass], counts: Counts) -> Iterator[Sample]:
    """With zeros for all that has not happened yet: only what was seen before it grew has a rate."""
    for name in here:
        for kind in CLASSES:
            yield Sample("ugs_windows_missed_total", (name, kind), counts.get((name, kind, MISSED), 0))
            for result in RESULTS:
                value = counts.get((name, kind, result), 0)
                yield Sample("ugs_upgrades_total", (name, kind, result), value)


def _pulls(fleet: Fleet, here: Mapping[str, EnvironmentPass], counts: Counts) -> Iterator[Sample]:
    """Of those alone that may have any: there are many environments, and few ask for pull requests."""
    core = fleet.core
    standing = Counter(core.store.open_pulls())
    standing.update((one.upgrade.environment, "revert") for one in core.store.proposals())
    for name in here:
        for kind in PULL_KINDS if core.forge else ():
            yield Sample("ugs_pulls_open", (name, kind), standing[name, kind])
            for event in PULL_EVENTS:
                yield Sample(
                    "ugs_pulls_total", (name, kind, event), counts.get((name, kind, f"pull-{event}"), 0)
                )
        rule = core.desired[name].environment.policy.promote
        if rule is None or rule.by == "nobody":
            continue
        for result, counted in PROMOTION_EVENTS.items():
            yield Sample("ugs_promotions_total", (name, result), counts.get((name, "promote", counted), 0))
        found = core.promotions.get(name, {}).values()
        yield Sample("ugs_promotions_pending", (name,), sum(one.to is not None for one in found))


def _unfinished(fleet: Fleet, here: Mapping[str, EnvironmentPass]) -> Iterator[Sample]:
    counts, oldest = Counter[tuple[str, str]](), dict[tuple[str, str], Upgrade]()
    for upgrade in fleet.core.store.upgrades(unfinished=True):  # the newest first
        key = upgrade.environment, upgrade.phase.value
        counts[key] += 1
        oldest[key] = upgrade
    for name in here:
        for phase in TIMED:
            yield Sample("ugs_upgrades_unfinished", (name, phase.value), counts[name, phase.value])
    for key, upgrade in sorted(oldest.items()):
        yield Sample("ugs_upgrade_oldest_timestamp_seconds", key, upgrade.created_at.timestamp())


def _environment(fleet: Fleet, name: str, here: EnvironmentPass) -> Iterator[Sample]:
    core = fleet.core
    yield Sample("ugs_environment_observed", (name,), not here.trouble)
    yield Sample("ugs_environment_safe_mode", (name,), core.store.recovery(name) is not None)
    yield Sample("ugs_lease_held", (name,), core.leases.standing(core.share(name)) == "held")
    yield Sample("ugs_changes_pending", (name,), len(here.told))
    shut = Counter(gate.gate for _, gates in here.told.values() for gate in closed(gates))
    for gate in GATE_NAMES:
        yield Sample("ugs_gate_closed", (name, gate), shut[gate])


def _services(
    fleet: Fleet, here: Mapping[str, EnvironmentPass], usages: Mapping[tuple[str, str, int], Usage]
) -> Iterator[Sample]:
    ill, well, total = list[_Service](), list[_Service](), 0
    kept_max = fleet.core.settings.metrics_services_max
    for name, place in here.items():
        states: dict[str, HealthState] = {**place.monitor.states()}
        states.update((service, "progressing") for service in place.busy)
        services = fleet.core.desired[name].workloads.keys() | place.observed.keys()
        counts = Counter[str | None](map(states.get, services))
        counts["unknown"] += counts[None]
        for state in STATES:
            yield Sample("ugs_services", (name, state), counts[state])
        total += len(services)
        bad = sorted(service for service in services if states.get(service) != "healthy")
        ill += [_Service(name, service, states.get(service, "unknown")) for service in bad]
        if len(well) < kept_max:
            good = nsmallest(kept_max, services.difference(bad))
            well += [_Service(name, service, "healthy") for service in good]
    yield Sample("ugs_services_left_out", (), max(0, total - kept_max))
    for one in islice((*ill, *well), kept_max):
        labels = one.environment, one.service
        yield Sample("ugs_service_health", (*labels, one.health), 1)
        running = here[one.environment].observed_target(one.service)
        pinned = fleet.core.desired[one.environment].workloads.get(one.service)
        versions = running.version.text if running else "", pinned.target.version.text if pinned else ""
        yield Sample("ugs_service_info", (*labels, *versions), 1)
        seen = here[one.environment].observed.get(one.service)
        for instance in seen.instances if seen else ():
            if used := usages.get((*labels, instance.index)):
                yield from _usage((*labels, str(instance.index)), used)


def _usage(labels: tuple[str, ...], used: Usage) -> Iterator[Sample]:
    yield Sample("ugs_service_cpu_seconds_total", labels, used.cpu_s)
    yield Sample("ugs_service_resident_bytes", labels, used.resident_bytes)
    if used.threads is not None:
        yield Sample("ugs_service_threads", labels, used.threads)
    if used.open_files is not None:
        yield Sample("ugs_service_open_files", labels, used.open_files)
