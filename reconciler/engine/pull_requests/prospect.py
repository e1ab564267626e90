"""What this daemon knows that bears on what is only proposed: how its environments stand, and whom it trusts."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.engine.core import Core
from reconciler.engine.fleet import Fleet
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.engine.soak import proved
from reconciler.git import Arrival, Mirror
from reconciler.model import sentence
from reconciler.model.environment import Environment
from reconciler.model.known import Known
from reconciler.model.layout import FOLDERS
from reconciler.model.snapshot import Snapshot
from reconciler.model.target import Target
from reconciler.model.trust import SHORT, environment_of

COMMITS_MAX = 200
"""So many commits of a pull request are looked at for their signatures."""
TOLD_MAX = 5


def ours(fleet: Fleet) -> dict[str, EnvironmentPass]:
    """By name, the environments that this daemon has looked at, and that no other one acts upon."""
    core = fleet.core
    return {
        name: here
        for name, here in fleet.passes.items()
        if here.decided is not None
        and name in core.desired
        and core.leases.standing(core.share(name)) != "elsewhere"
    }


def running(fleet: Fleet) -> dict[str, dict[str, Target]]:
    """By environment and service, what runs in those."""
    return {
        name: {
            service: target
            for service in here.observed
            if (target := here.observed_target(service)) is not None
        }
        for name, here in ours(fleet).items()
    }


def known_of(fleet: Fleet, *snapshots: Snapshot) -> dict[str, Known]:
    """By environment, what keeps services there from starting. `snapshots`: as it is, and as it would be."""
    return {name: _known(fleet.core, here, snapshots) for name, here in ours(fleet).items()}


def _known(core: Core, here: EnvironmentPass, snapshots: tuple[Snapshot, ...]) -> Known:
    name, store = here.name, core.store
    places = [place for one in snapshots for place in one.environments.values() if name in _names(place)]
    services = sorted({service for place in places for service in place.pins})
    sources = {place.policy.promote.from_ for place in places if place.policy.promote}
    pairs = [(source, service) for source in sorted(sources) for service in services]
    return Known(
        quarantined={
            (row.service, row.target): f"{row.reason}; operation {row.operation}"
            for row in store.quarantined(name)
        },
        permits=store.permits(name),
        floor=core.settings.floor_approvals,
        promoted={pair: found for pair in pairs if (found := proved(core, *pair))},
        under_way={
            service: sentence.step(one.before.target if one.before else None, one.to)
            for service, one in here.under_way().items()
        },
        past_s={service: store.durations(name, service) for service in services},
    )


def _names(place: Environment) -> set[str | None]:
    return {place.name, place.renamed_from}


def distrust(core: Core, aside: Mirror, base: str, head: str, merged: str) -> Iterator[str]:
    """Blocking. What of a pull request would not be trusted once it is merged; who has to sign the merge."""
    trust = core.settings.trust
    if trust is None:
        return
    if trust.commits == "all":
        commits = [one.sha for one in aside.log(base, head, first_parent=False, limit=COMMITS_MAX)]
        bad = [one for one in aside.signatures(commits) if one.why]
        for one in bad[:TOLD_MAX]:
            yield f"its commit {one.commit[:SHORT]} would not be trusted: {one.why}"
        if len(bad) > TOLD_MAX:
            yield f"{len(bad) - TOLD_MAX} more of its commits would not be trusted"
    if not trust.movers:
        return
    files = [file.path for file in aside.touched([Arrival(merged, base, (merged,))], FOLDERS).get(merged, [])]
    for name, people in sorted(trust.movers.items()):
        pinned = core.repository.pinned(base, name) if core.repository.mirror.has(base) else ()
        if any(environment_of(path, (name,)) or (pinned and path.startswith(pinned)) for path in files):
            may = ", ".join(people) or "nobody but the daemon itself"
            yield f"it moves {name}: whoever signs the merge has to be one of those who may ({may})"
