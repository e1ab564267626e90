"""Seeing what one commit made of an environment, so that it can be decided who goes back with what failed of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.engine.core import Core
from reconciler.model.observation import Observation
from reconciler.model.order import Running
from reconciler.model.target import Target, Workload
from reconciler.model.together import Part, Together, together
from reconciler.model.upgrade import Phase, Upgrade

BEING_DONE = frozenset({Phase.APPLYING, Phase.VERIFYING, Phase.RESTORING})
UNDER_WAY = BEING_DONE | {Phase.PREPARING}
RAN = frozenset({Phase.SUCCEEDED, Phase.STUCK, Phase.SUPERSEDED})
Moved = Mapping[str, tuple[Workload | None, Workload]]


@dataclass(frozen=True)
class Group:
    """A failed upgrade, and all that its commit made of other services. `rows`: their upgrades, newest first."""

    failed: Part
    parts: Mapping[str, Part]
    rows: Mapping[str, list[Upgrade]]
    leaving: Mapping[str, Upgrade]
    found: Together
    atomic: bool


async def gather(core: Core, upgrade: Upgrade) -> Group:
    """Who goes back with an upgrade, were it to fail now. Raises UgsError where that cannot be seen."""
    moved = await asyncio.to_thread(
        core.repository.past.moved, upgrade.revision, upgrade.environment, core.frozen
    )
    driver = core.driver(upgrade.environment)
    return _group(
        core,
        upgrade,
        moved,
        await core.drive(
            upgrade.environment, driver.observe, core.site_of(upgrade.environment), upgrade.environment
        ),
    )


def from_journal(core: Core, upgrade: Upgrade) -> Group:
    """The same by what is on record alone, for when the repository or the engine does not answer."""
    return _group(core, upgrade, {}, {})


def original(rows: list[Upgrade]) -> Workload | None:
    """What a service was before a commit brought it all of `rows`, newest first."""
    started = [row for row in rows if row.started_at]
    return started[-1].before if started else None


def _group(core: Core, upgrade: Upgrade, moved: Moved, observed: Mapping[str, Observation]) -> Group:
    wanted = core.desired.get(upgrade.environment)
    rows: dict[str, list[Upgrade]] = defaultdict(list)
    for row in core.store.upgrades_of(upgrade.environment, upgrade.revision):
        rows[row.service].append(row)
    unfinished = core.store.upgrades(environment=upgrade.environment, unfinished=True)
    elsewhere = {
        row.service for row in unfinished if row.phase in UNDER_WAY and row.revision != upgrade.revision
    }
    leaving = {
        row.service: row
        for row in unfinished
        if row.phase is Phase.RESTORING and (row.failed or row.aborted or row.taken_with)
    }
    others = (moved.keys() | rows.keys()) - {upgrade.service} - leaving.keys()
    parts: dict[str, Part] = {}
    for name in sorted(others):
        if rows[name] and (rows[name][0].failed or rows[name][0].taken_with):
            continue  # it had a verdict of its own, or goes back already
        # What another commit is changing at this moment has at most its pin put back.
        now = None if name in elsewhere else _now(core, rows[name], observed.get(name))
        if part := _part(core, upgrade, name, moved.get(name), rows[name], now):
            parts[name] = part
    untouched = upgrade.phase is Phase.PREPARING
    failed = Part(upgrade.service, upgrade.pinned, upgrade.before, None if untouched else upgrade.after)
    leaving.pop(upgrade.service, None)
    atomic = wanted is not None and wanted.environment.policy.atomic
    answer = together(
        failed,
        parts,
        running={
            name: Running(seen.running.version, _requires(core, upgrade.environment, name, seen.running))
            for name, seen in observed.items()
            if seen.running
        },
        leaving={name: Part(name, None, row.before, row.after) for name, row in leaving.items()},
        atomic=atomic,
    )
    return Group(failed, parts, rows, leaving, answer, atomic)


def _now(core: Core, rows: list[Upgrade], seen: Observation | None) -> Workload | None:
    """What runs of a service, or is being started, that came by one of its upgrades `rows`."""
    if not rows or rows[0].phase in BEING_DONE:
        return rows[0].after if rows else None
    good = core.store.good(rows[0].environment, rows[0].service, limit=1)
    runs = {work.target for work, _ in good} | ({seen.running} if seen else set())
    return next((row.after for row in rows if row.phase in RAN and row.to in runs), None)


def _part(
    core: Core,
    upgrade: Upgrade,
    service: str,
    moved: tuple[Workload | None, Workload] | None,
    rows: list[Upgrade],
    now: Workload | None,
) -> Part | None:
    """What the failed upgrade's commit made of another service; None where nothing of that is left to take back."""
    if now is not None:
        return Part(service, moved[1] if moved else rows[0].pinned, original(rows), now)
    wanted = core.desired.get(upgrade.environment)
    pin = wanted.workloads.get(service) if wanted else None
    if moved is None or pin is None or pin.target != moved[1].target:
        return None
    return Part(service, moved[1], moved[0])


def _requires(core: Core, environment: str, service: str, target: Target) -> Mapping[str, str]:
    """What a running version needs of others, as far as it is known."""
    for work, _ in core.store.good(environment, service):
        if work.target == target:
            return work.release.requires
    wanted = core.desired.get(environment)
    release = wanted.releases.get(service, {}).get(target.version) if wanted else None
    return release.requires if release else {}
