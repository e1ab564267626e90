"""Flags come in force: when a commit that switches a live one is accepted, or when all have a new value that runs.

What is in force is what the database has; so it stays, also over a restart, until something else can be recorded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from reconciler.engine.core import Core
from reconciler.engine.in_force import InForce
from reconciler.git import Commit
from reconciler.model.circumstances import Gate
from reconciler.model.codec import builtins, decode, encode
from reconciler.model.desired import Desired
from reconciler.model.notice import Notice
from reconciler.model.observation import Observation
from reconciler.model.plan import Good
from reconciler.model.standing import Standing, doubtful, standings
from reconciler.model.switching import Rules, closed_for, described, rules_at, standing_json
from reconciler.model.target import Workload
from reconciler.store import FLAGS, FlagRow

Json = dict[str, Any]
log = logging.getLogger("ugs")


class _Wanted(Struct, frozen=True):
    """How the flags of an environment should stand. `left`: declared by nothing that is pinned, only by what runs."""

    flags: Mapping[str, Standing]
    left: Mapping[str, tuple[str, ...]]
    gone: frozenset[str]


def remember(core: Core) -> None:
    """What was in force when a former daemon ended is so at once."""
    for name in core.store.flag_environments():
        core.flags[name] = {flag: _in_force(row) for flag, row in core.store.flags(name).items()}


class Seen(Struct, frozen=True):
    """What a pass has seen: what runs, and by service what was last-good."""

    observed: Mapping[str, Observation]
    good: Mapping[str, Sequence[Good]]


def waiting(core: Core, environment: str) -> bool:
    """Whether a switch waits for gates to open."""
    return any(flag.waits for flag in core.flags.get(environment, {}).values())


def concerned(core: Core, desired: Desired) -> bool:
    """Whether an environment has flags, or had some."""
    return desired.flagged or bool(core.store.flags(desired.environment.name))


async def settle(core: Core, desired: Desired, seen: Seen | None = None) -> None:
    """Put in force what commits have made of the flags of one environment, as far as its gates allow, and what
    upgrades have made of those that are not live.

    Without `seen`, no flag is taken for one that nothing needs any more.
    """
    name = desired.environment.name
    if not concerned(core, desired):
        core.flags.pop(name, None)
        return
    known = core.store.flags(name)
    wanted = _wanted(core, desired, known, seen)
    if moved := _moved(known, wanted):
        past = core.repository.past
        commits = await asyncio.to_thread(past.switched, desired.revision, name, moved)
        if core.desired.get(name) is not desired:
            return  # what is newer settles by itself
        known = core.store.flags(name)
        wanted = _wanted(core, desired, known, seen)
    moving = _moved(known, wanted)
    rules = _rules(core, desired, moving)
    waits: dict[str, tuple[Gate, ...]] = {}
    for flag, standing in moving.items():
        row = known.get(flag)
        gates = closed_for(rules, flag, core.store.permits(name), now=core.clock.now())
        if gates and _waits(row, standing):
            waits[flag] = gates
        elif flag in moved:
            _switch(core, desired, row, flag, standing, commits[flag])
    core.flags[name] = _book(core.store.flags(name), wanted, waits)


def _wanted(core: Core, desired: Desired, known: Mapping[str, FlagRow], seen: Seen | None) -> _Wanted:
    place, works = desired.environment, desired.workloads
    runs = _running(core, place.name, seen)
    pinned = [work.release for work in works.values()]
    handed = {service: work.flags for service, work in works.items()}
    running = {work.service: work.flags for work in runs}
    flags = standings(pinned, place.flags, handed, running)
    for flag in doubtful(place, pinned) & flags.keys() & known.keys():
        flags[flag] = _as_it_was(known[flag], flags[flag])
    left = {}
    for flag, standing in standings([work.release for work in runs], place.flags, {}, running).items():
        if flag not in flags:
            flags[flag] = _as_it_was(known[flag], standing) if flag in known else standing
            declaring = [work for work in runs if flag in work.release.flags]
            left[flag] = tuple(f"{work.service} {work.target.version}" for work in declaring)
    hidden = seen is None or desired.hidden or bool(desired.blind)
    return _Wanted(flags, left, frozenset() if hidden else frozenset(known.keys() - flags.keys()))


def _running(core: Core, environment: str, seen: Seen | None) -> list[Workload]:
    """What was last-good of each service, as far as it is not seen to be gone."""
    if seen is not None:
        return [
            good[0].work
            for service, good in sorted(seen.good.items())
            if good and (found := seen.observed.get(service)) and found.instances
        ]
    store = core.store
    kept = [store.good(environment, service, limit=1) for service in sorted(store.attempted(environment))]
    return [good[0][0] for good in kept if good]


def _as_it_was(row: FlagRow, now: Standing) -> Standing:
    return replace(row.standing, services=now.services) if row.standing else now


def _moved(known: Mapping[str, FlagRow], wanted: _Wanted) -> dict[str, Standing | None]:
    """What stands otherwise than it did."""
    found: dict[str, Standing | None] = dict.fromkeys(wanted.gone)
    for flag, standing in wanted.flags.items():
        row = known.get(flag)
        if row is None or row.standing is None or not standing.answers_as(row.standing):
            found[flag] = standing
    return dict(sorted(found.items()))


def _waits(row: FlagRow | None, standing: Standing | None) -> bool:
    """Whether gates have a say: where people would get something else than they do."""
    return bool(row and row.standing and standing and standing.live and row.standing.live)


def _switch(
    core: Core,
    desired: Desired,
    row: FlagRow | None,
    flag: str,
    standing: Standing | None,
    commit: Commit | None,
) -> None:
    """The flag stands otherwise from now on: row, audit and notice in one transaction."""
    name, before = desired.environment.name, row.standing if row else None
    revision = commit.sha if commit else desired.revision
    author = f"{commit.author} <{commit.email}>" if commit and before else ""
    with core.store.transaction():
        core.store.keep_flag(name, flag, standing, revision=revision, author=author)
        if before is None:
            return
        if standing is None:
            core.store.audit("flag-removed", environment=name, detail=f"{flag}: nothing declares it any more")
            return
        text = f"{flag}: {described(before)} → {described(standing)}"
        core.store.audit(
            "flag-switched", environment=name, actor=author or "ugs", detail=f"{text}; commit {revision}"
        )
        if standing.live and _tells(core, desired):
            unset = before.value is not None and standing.value is None
            by = f" ({commit.author}, {revision[:12]})" if commit else ""
            fallen = (
                f"; {', '.join(standing.services)} declares it still, and nothing sets it" if unset else ""
            )
            notice = Notice(
                environment=name,
                service="",
                sentence=f"{name}: flag {text}{by}{fallen}",
                severity="warning" if unset else "info",
                at=core.clock.now(),
                title=f"{name}: flags",
            )
            core.store.tell(notice)
            core.wake.notices.set()
    log.info("%s: flag %s", name, text)


def _tells(core: Core, desired: Desired) -> bool:
    """Whether people hear of it from this daemon: of several that follow the repository, one tells."""
    name, hosts = desired.environment.name, desired.environment.hosts
    return hosts[0] == core.host if hosts else core.leases.standing(core.share(name)) != "elsewhere"


def _rules(core: Core, desired: Desired, moving: Mapping[str, Standing | None]) -> Rules:
    """By what flags are switched now, and by which pushes those came that move."""
    mark = f"{FLAGS}{desired.environment.name}"
    text = core.store.marks(mark).get(mark)
    try:
        known = decode(text, Rules) if text else None
    except msgspec.MsgspecError:  # of another version of UGS
        known = None
    rules = rules_at(desired.revision, desired.environment, moving, known)
    if rules != known:
        core.store.mark(mark, encode(rules).decode())
    return rules


def _book(
    rows: Mapping[str, FlagRow], wanted: _Wanted, waits: Mapping[str, tuple[Gate, ...]]
) -> dict[str, InForce]:
    book = {}
    for flag, row in rows.items():
        entry, asked = _in_force(row), wanted.flags.get(flag)
        if asked is not None:
            waiting = not asked.answers_as(entry.standing)
            current = asked if not waiting else replace(entry.standing, services=asked.services)
            entry = replace(
                entry,
                standing=current,
                pending=asked if waiting else None,
                waits=waits.get(flag, ()) if waiting else (),
                needed_by=wanted.left.get(flag, ()),
            )
        book[flag] = entry
    return book


def _in_force(row: FlagRow) -> InForce:
    assert row.standing is not None  # noqa: S101 - the store hands out nothing else
    return InForce(row.standing, row.revision, row.author, row.since)


def in_force_json(core: Core, environment: str, flag: InForce) -> Json:
    """One flag as it is in force, for `--json` and the API."""
    standing, desired = flag.standing, core.desired.get(environment)
    works = desired.workloads if desired else {}
    releases = [works[service].release for service in standing.services if service in works]
    return standing_json(environment, standing, releases) | {
        "revision": flag.revision,
        "author": flag.author or None,
        "since": builtins(flag.since),
        "pending": flag.pending.said() if flag.pending else None,
        "gates": builtins(flag.waits),
        "needed_by": list(flag.needed_by),
    }


def row_json(row: FlagRow) -> Json:
    """How a flag came to stand as it does, or that it went."""
    return {
        "environment": row.environment,
        "flag": row.flag,
        "revision": row.revision,
        "author": row.author or None,
        "since": builtins(row.since),
        "live": row.standing.live if row.standing else None,
        "standing": row.standing.said() if row.standing else None,
    }
