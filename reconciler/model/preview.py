"""What one revision of the repository would change after another: for pull requests, before anything moves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.circumstances import BEFORE_PUSH, Asked, Circumstances, Earlier, Gate
from reconciler.model.codec import builtins
from reconciler.model.data import pending
from reconciler.model.desired import Desired, Frozen, Resolver, departed
from reconciler.model.differences import differences
from reconciler.model.environment import ChangeClass
from reconciler.model.expectation import expected_of
from reconciler.model.flag_moves import flag_moves
from reconciler.model.flags import switched
from reconciler.model.gates import CALENDAR, TIMED, closed, evaluate
from reconciler.model.impact import dependents, need, needed_by, running_of
from reconciler.model.introduced import introduced
from reconciler.model.itinerary import first_start, itinerary
from reconciler.model.known import KNOWABLE, Known
from reconciler.model.notes import Catalogue, between, catalogue
from reconciler.model.observation import seen_running
from reconciler.model.order import Arrangement, arrange
from reconciler.model.plan import Change, Good, Records, plan
from reconciler.model.planned import Pinned, Planned, Preview
from reconciler.model.release import Release
from reconciler.model.renaming import renamed
from reconciler.model.rollout import interrupts
from reconciler.model.snapshot import Snapshot
from reconciler.model.target import Target
from reconciler.model.thawed import thawed
from reconciler.model.version import step_between

CALENDAR_GATES = frozenset({"window", "freeze", "fit"})
TIMED_GATES = frozenset({"hold", "promotion"})
"""Open by themselves where they say when."""
READABLE = frozenset({"path", "dependency", "approval", "freeze", "window", "fit"})
"""Gates about which the repository alone can say something; the daemon knows of the others."""
SETTINGS = ("driver", "timezone", "windows", "freezes", "policy")

Observed = Mapping[str, Mapping[str, Target]]
"""By environment and service: what really runs."""
NOTHING_KNOWN: Mapping[str, Known] = MappingProxyType({})
NOTHING_FROZEN: Frozen = MappingProxyType({})


def preview(
    before: Snapshot,
    after: Snapshot,
    *,
    now: datetime,
    running: Observed | None = None,
    known: Mapping[str, Known] = NOTHING_KNOWN,
    frozen: Frozen = NOTHING_FROZEN,
) -> Preview:
    """What `after` would change at `now`. Without `running`, what `before` pins runs, and is last-good.

    `known`: by environment, what a daemon knows; of others, the gates that only a daemon knows are left out.
    `frozen`: what was deployed anywhere, as it was then; what `before` pins is taken for that too.
    """
    resolve = Resolver()
    old = renamed(resolve(before, frozen), after.environments)
    running = running and renamed(running, after.environments)
    known = renamed(known, after.environments)
    kept = dict(frozen) | {
        (work.service, work.target.version.text): work.release
        for desired in old.values()
        for work in desired.workloads.values()
    }
    new = resolve(after, kept)
    places = {**new} | {
        name: departed(desired.environment, after.revision)
        for name, desired in old.items()
        if name not in new.keys() | after.blind
    }
    releases = catalogue(after.releases.values())
    changes = [
        planned
        for name, desired in sorted(places.items())
        for planned in _environment(
            desired, old.get(name), (running or {}).get(name), releases, known.get(name), now
        )
    ]
    was, pinned, both = _pins(old), _pins(new), sorted(new.keys() & old.keys())
    return Preview(
        changes=tuple(changes),
        added=tuple(pinned[key] for key in sorted(pinned.keys() - was.keys())),
        # A pin that is only out of sight, behind a bad file, was not removed.
        removed=tuple(
            was[key]
            for key in sorted(was.keys() - pinned.keys() - after.blind_pins)
            if key[0] not in after.blind
        ),
        settings=tuple(
            (name, key)
            for name in both
            for key in SETTINGS
            if builtins(getattr(old[name].environment, key)) != builtins(getattr(new[name].environment, key))
        ),
        problems=introduced(
            (*before.problems, *thawed(before, frozen)), (*after.problems, *thawed(after, kept))
        ),
        flags=tuple(move for name in both for move in flag_moves(old[name], new[name])),
    )


class _Here(Struct, frozen=True):
    """One environment: what it asks for, what it asked for (None: it is new), and what would run in the end."""

    desired: Desired
    old: Desired | None
    would: Mapping[str, Target]
    arranged: Arrangement
    around: Circumstances
    releases: Catalogue
    needed_by: Mapping[str, set[str]]
    known: Known | None
    now: datetime


def _release(releases: Catalogue, name: str, target: Target) -> Release | None:
    return next((one for one in releases.get(name, ()) if one.version == target.version), None)


def _environment(
    desired: Desired,
    old: Desired | None,
    running: Mapping[str, Target] | None,
    releases: Catalogue,
    known: Known | None,
    now: datetime,
) -> list[Planned]:
    """The changes of one environment in their order; those that are refused stand last."""
    was = old.workloads if old else {}
    runs = {name: work.target for name, work in was.items()} if running is None else dict(running)
    records = Records(
        good={name: (Good(work, now),) for name, work in was.items() if runs.get(name) == work.target},
        attempted={name: target.version for name, target in runs.items()},
    )
    changes = plan(desired, seen_running(runs), records, now=now)
    arranged = arrange(
        [replace(change, after=change.goal) for change in changes],
        {
            name: running_of(target, _release(releases, name, target), was.get(name))
            for name, target in runs.items()
        },
    )
    would = {name: target for name, target in runs.items() if name not in _leaving(changes)}
    would |= {name: work.target for name, work in desired.workloads.items()}
    around = _circumstances(desired, old, would, changes, arranged, now)
    around = known.around(around) if known else around
    here = _Here(desired, old, would, arranged, around, releases, needed_by(desired.workloads), known, now)
    ordered = [*(one.service for one in arranged.order), *sorted(arranged.refused)]
    by_service = {change.service: change for change in changes}
    done: dict[str, Planned] = {}
    for service in ordered:
        done[service] = _planned(by_service[service], here, _earliest(service, here, done))
    return list(done.values())


def _circumstances(
    desired: Desired,
    old: Desired | None,
    would: Mapping[str, Target],
    changes: list[Change],
    arranged: Arrangement,
    now: datetime,
) -> Circumstances:
    """For the gates that can be read: judged by the environment as it will be, and as it was."""
    earlier = (Earlier(BEFORE_PUSH, old.environment),) if old else ()
    was = frozenset(old.environment.pins if old else ())
    asked = Asked(
        desired.revision,
        earlier=earlier,
        pinned=was,
        left_out=was - desired.environment.pins.keys(),
        since=desired.environment,
    )
    return Circumstances(
        environment=desired.environment,
        observed=seen_running(would),
        quarantined={},
        busy=frozenset(),
        fetched_at=now,
        max_stale_s=0.0,
        initials=0,
        first_accepted=True,
        gone=desired.gone is not None,
        unwanted=_leaving(changes),
        refused=arranged.refused,
        asked={change.service: asked for change in changes},
        expected_s={
            change.service: expected_of((), change.after, desired.environment.driver.kind)
            for change in changes
            if change.after
        },
    )


def _planned(change: Change, here: _Here, earliest: datetime | None) -> Planned:
    service, goal, base = change.service, change.goal, change.running
    if goal is None:
        return _removal(change, here, earliest)
    release, version = goal.release, goal.target.version
    moved = base is not None and base.version != version
    crossed = between(here.releases, service, base.version, version) if base and moved else ()
    releases = here.desired.releases.get(service, {})
    steps = itinerary(change, releases, here.around, now=earliest, first=TIMED if here.known else CALENDAR)
    readable, by_itself = _readable(change, here)
    was = here.old.workloads.get(service) if here.old else None
    return Planned(
        change=change,
        change_class=_class(change, here),
        zone=here.desired.environment.timezone or "UTC",
        after=tuple(sorted(here.arranged.after.get(service, ()))),
        gates=readable,
        steps=steps,
        starts_at=steps[0].starts_at if by_itself and steps else None,
        downtime=base is not None and interrupts(goal),
        irreversible=tuple(one.version for one in crossed if not one.reversible),
        saved=base is not None and any(step.release.backup for step in steps),
        migrations=pending((step.release for step in steps), _applied(base, service, here.releases)),
        withdrawn=release.withdrawn.reason if release.withdrawn else "",
        impact=dependents(service, here.needed_by),
        needs=tuple(need(name, wanted, here.would) for name, wanted in sorted(release.requires.items())),
        notes=crossed if base else (release,),
        differences=differences(was, goal) if was else (),
        flags=switched(was.flags, goal.flags) if was else (),
        under_way=here.known.under_way.get(service, "") if here.known else "",
        reviewed=here.known.counted(change, readable, here.desired.environment) if here.known else "",
        usual_s=here.known.usual_s(service, goal) if here.known and len(steps) == 1 else None,
    )


def _removal(change: Change, here: _Here, earliest: datetime | None) -> Planned:
    readable, by_itself = _readable(change, here)
    return Planned(
        change=change,
        change_class=change.change_class,
        zone=here.desired.environment.timezone or "UTC",
        after=tuple(sorted(here.arranged.after.get(change.service, ()))),
        gates=readable,
        starts_at=first_start(change, here.around, TIMED if here.known else CALENDAR, now=earliest)[0]
        if earliest and by_itself
        else None,
        downtime=True,
        impact=dependents(change.service, here.needed_by),
        reviewed=here.known.counted(change, readable, here.desired.environment) if here.known else "",
    )


def _readable(change: Change, here: _Here) -> tuple[tuple[Gate, ...], bool]:
    """The gates that can be read, and whether time alone opens those that are closed."""
    found = evaluate(change, here.around, now=here.now)
    told = READABLE | KNOWABLE if here.known else READABLE
    readable = tuple(gate for gate in found if gate.gate in told)
    return readable, all(
        gate.gate in CALENDAR_GATES or (gate.gate in TIMED_GATES and gate.until) for gate in closed(readable)
    )


def _leaving(changes: list[Change]) -> frozenset[str]:
    return frozenset(change.service for change in changes if change.goal is None)


def _class(change: Change, here: _Here) -> ChangeClass:
    """Of the whole way, where it has several steps with a class of their own."""
    if len(change.path) < 2 or change.running is None or change.goal is None:
        return change.change_class
    zero_minor = here.desired.environment.policy.zero_minor
    return step_between(change.running.version, change.goal.target.version, zero_minor=zero_minor)


def _earliest(service: str, here: _Here, done: Mapping[str, Planned]) -> datetime | None:
    """When the changes that come before this one have ended; None where nobody knows."""
    if service in here.arranged.refused:
        return None
    ends = [done[name].ends_at for name in here.arranged.after.get(service, ())]
    known = [end for end in ends if end is not None]
    return max(known, default=here.now) if len(known) == len(ends) else None


def _applied(base: Target | None, service: str, known: Catalogue) -> frozenset[str]:
    """The migrations of what runs."""
    runs = (one for one in known.get(service, ()) if base and one.version == base.version)
    return frozenset(migration.id for one in runs for migration in one.migrations)


def _pins(desired: Mapping[str, Desired]) -> dict[tuple[str, str], Pinned]:
    return {
        (name, service): Pinned(name, service, work.target.version)
        for name, here in desired.items()
        for service, work in here.workloads.items()
    }
