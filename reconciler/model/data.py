"""A service's data: what a manifest says of its backup and migrations, and what is to be done with them.

Pure, as all of the model. A migration is known by its id for ever, in one environment and of one service: it is
applied once, whichever releases list it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.availability import lasting
from reconciler.model.document import Path
from reconciler.model.environment import Keeping, Policy
from reconciler.model.errors import Place, Problem
from reconciler.model.findings import Findings
from reconciler.model.release import Migration, MigrationPhase, Release
from reconciler.model.upgrade import Phase, Upgrade
from reconciler.model.version import Version

TIMEOUT_S_MAX = 86_400.0
BACKUP = "{backup}"

State = Literal["begun", "done", "failed", "undoing", "undone", "unknown"]
"""`failed`: tried, and not applied. `unknown`: cut short, and nobody knows how far it came."""
Kind = Literal["upgrade", "rescue"]
OPEN: frozenset[State] = frozenset({"begun", "undoing", "unknown"})
ABSENT: frozenset[State] = frozenset({"failed", "undone"})
ORDER: tuple[MigrationPhase, ...] = ("before", "after")
"""Of a release's migrations: those of the one phase, then those of the other."""


class Recorded(Struct, frozen=True):
    """What is on record of one migration. `operation` is the upgrade that touched it last, for release `version`.

    `proven`: a version proved healthy since; until then it is taken back with the version that fails.
    """

    environment: str
    service: str
    id: str
    version: str
    operation: str
    state: State
    changed_at: datetime
    evidence: str = ""
    proven: bool = False


class Saved(Struct, frozen=True):
    """One backup. `kind`: taken before an upgrade, or of what was there before another was brought back.

    `version` is what ran then; `path` stands in a folder of its own. A `begun` one is not to be used.
    """

    id: str
    environment: str
    service: str
    operation: str
    kind: Kind
    version: str
    path: str
    state: Literal["begun", "saved", "verified"]
    saved_at: datetime
    verified_at: datetime | None = None
    size_bytes: int = 0
    sha256: str = ""


class Recall(Struct, frozen=True):
    """How an operation's changes of the data are taken back.

    `nothing`: there are none. `downs`: by these, in this order. `backup`: the one taken before it. `leave`: they
    stay, as the release permits. `stuck`: nobody but a person may decide, for `reason`.
    """

    how: Literal["nothing", "downs", "backup", "leave", "stuck"]
    downs: tuple[Migration, ...] = ()
    reason: str = ""


class Pending(Struct, frozen=True):
    """A migration that a change would make, for people to see beforehand."""

    version: Version
    id: str
    phase: MigrationPhase
    reversible: bool


def parse_data(found: Findings) -> dict[str, Any]:
    """The keys `backup` and `migrations` of a manifest that has them, ready to convert."""
    data, parsed = found.document.data, dict[str, Any]()
    if "backup" in data:
        parsed["backup"] = _backup(found)
    if "migrations" in data:
        parsed["migrations"] = _migrations(found)
    return parsed


def contradictions(releases: Iterable[Release]) -> dict[tuple[str, str], Problem]:
    """By service and version: a release with a migration whose id means something else in a lower version."""
    by_id: defaultdict[tuple[str, str], list[tuple[Release, int]]] = defaultdict(list)
    for release in releases:
        for at, migration in enumerate(release.migrations):
            by_id[release.service, migration.id].append((release, at))
    found: dict[tuple[str, str], Problem] = {}
    for (service, name), places in by_id.items():
        first, *others = sorted(places, key=lambda place: place[0].version)
        for release, at in others:
            if _meaning(release.migrations[at]) != _meaning(first[0].migrations[first[1]]):
                message = f"{name} is another migration in {first[0].place.file}"
                remedy = "give it an id of its own, or write it as there"
                where = Place(release.place.file)
                found[service, release.version.text] = Problem(where, f"migrations[{at}]", message, remedy)
    return found


def said(recorded: Iterable[Recorded], upgrade: Upgrade) -> dict[str, State]:
    """By id, what others are to know of the migrations of an upgrade's service: once its data is left alone, in what
    state those are that it touched, and those that nothing proved healthy with yet; before, that all of these and its
    own may be touched."""
    rows = {row.id: row for row in recorded}
    if upgrade.final or upgrade.phase is Phase.REVERTING:
        touched = (row for row in rows.values() if row.operation == upgrade.operation or not row.proven)
        return {row.id: row.state for row in touched}
    release = upgrade.after.release if upgrade.after else None
    names = [one.id for phase in ORDER for one in to_apply(release, phase, rows)] if release else []
    names += [row.id for row in rows.values() if not row.proven and row.state not in ABSENT]
    return dict.fromkeys(names, "begun")


def to_apply(
    release: Release, phase: MigrationPhase, recorded: Mapping[str, Recorded]
) -> tuple[Migration, ...]:
    """The release's migrations of a phase that are not applied yet, in their order."""
    return tuple(
        one
        for one in release.migrations
        if one.phase == phase and (one.id not in recorded or recorded[one.id].state != "done")
    )


def doubtful(release: Release, recorded: Mapping[str, Recorded], *, operation: str) -> tuple[Migration, ...]:
    """The release's migrations of which an earlier operation left nobody knowing whether they are applied."""
    return tuple(
        one
        for one in release.migrations
        if (known := recorded.get(one.id))
        and known.state in OPEN
        and (known.operation != operation or known.state == "unknown")
    )


def settled(
    *, up: bool, code: int | None, timed_out: bool, asked: bool, answer: bool | None
) -> Literal["done", "failed", "undone", "unknown"]:
    """What is so after a migration's `up` or `down` ended. `code`: None where nobody saw its end.

    `asked`: there is a `check`, and it answered whether the migration is applied, or None. What it answers counts,
    whatever the command said of itself; without one, only a command that ended by itself is believed.
    """
    applied = answer
    if not asked:
        applied = None if code is None or code < 0 or timed_out else (code == 0) is up
    if applied is None:
        return "unknown"
    if applied:
        return "done"
    return "failed" if up else "undone"


def recall(
    release: Release,
    recorded: Mapping[str, Recorded],
    policy: Policy,
    *,
    operation: str,
    first: bool,
    saved: Saved | None,
    now: datetime,
) -> Recall:
    """How to take back what was done to the data since a version last proved healthy: all of it, or nothing.

    `operation` is the upgrade to `release` that failed, `saved` its verified backup. `first`: there was no version
    before it, which might not bear what is left.
    """
    rows = {row.id: row for row in recorded.values() if not row.proven and row.state not in ABSENT}
    if not rows:
        return Recall("nothing")
    lost = next((row.id for row in rows.values() if row.state in ("begun", "unknown")), None)
    if lost is not None:
        return Recall("stuck", reason=f"nobody knows whether migration {lost} is applied")
    ordered = sorted(release.migrations, key=lambda one: one.phase == "after")
    downs = tuple(one for one in reversed(ordered) if one.id in rows and one.down is not None)
    final = sorted(rows.keys() - {one.id for one in downs})
    if not final:
        return Recall("downs", downs)
    refusal = refused(policy, saved, now=now)
    if not refusal and all(row.operation == operation for row in rows.values()):
        return Recall("backup")
    if first or release.upgrade.reversible:
        return Recall("leave")
    why = refusal or "it was applied before its backup was taken"
    return Recall(
        "stuck", reason=f"migration {final[0]} is applied, {release.version} has no `down` for it, and {why}"
    )


def refused(policy: Policy, saved: Saved | None, *, now: datetime) -> str:
    """Why no backup may be brought back by itself; empty when one may."""
    if policy.restore_data is None:
        return "no backup is brought back by itself without policy.restore_data"
    if saved is None:
        return "no good backup was taken before it"
    age_s, within_s = (now - saved.saved_at).total_seconds(), policy.restore_data.within_s
    if age_s < 0:
        return "its backup is newer than this machine's clock, which was set back: nobody knows how old it is"
    if age_s > within_s:
        return f"its backup is {lasting(age_s)} old, and policy.restore_data allows {lasting(within_s)}"
    return ""


def surplus(backups: Sequence[Saved], rule: Keeping, *, newest: str, now: datetime) -> tuple[Saved, ...]:
    """Those of one service's backups that go: too many or too old. The newest that was verified never does.

    `newest`: the one that was taken last, whatever the clock showed then.
    """
    newest_first = sorted(backups, key=lambda one: (one.id == newest, one.saved_at, one.id), reverse=True)
    best = next((one for one in newest_first if one.state == "verified"), None)
    return tuple(
        one
        for rank, one in enumerate(newest_first)
        if one is not best and (rank >= rule.keep or now - one.saved_at > timedelta(seconds=rule.for_s))
    )


def pending(releases: Iterable[Release], applied: Collection[str]) -> tuple[Pending, ...]:
    """What a way through `releases` would still apply, hop by hop, each hop's before and after."""
    known, found = set(applied), list[Pending]()
    for release in releases:
        for one in sorted(release.migrations, key=lambda one: one.phase == "after"):
            if one.id not in known:
                known.add(one.id)
                found.append(Pending(release.version, one.id, one.phase, one.down is not None))
    return tuple(found)


def _backup(found: Findings) -> dict[str, Any]:
    """Each of its commands must name the place that UGS gives the backup."""
    data = _means(found, ("backup",))
    for key in ("save", "verify", "restore"):
        if not any(BACKUP in word for word in data[key]):
            message = f"it does not say {BACKUP}, which stands for where the backup is"
            found.add(("backup", key), message, f"write {BACKUP} where the command wants a file or folder")
    return data


def _migrations(found: Findings) -> list[dict[str, Any]]:
    migrations = [_means(found, ("migrations", at)) for at in range(len(found.document.data["migrations"]))]
    if migrations and "backup" not in found.document.data:
        message = "there are migrations and no backup, and a good one must stand before the first of them"
        found.add(("migrations",), message, "add `backup` with save, verify and restore")
    ids = [migration["id"] for migration in migrations]
    for at, name in enumerate(ids):
        if name in ids[:at]:
            found.add(("migrations", at, "id"), "an earlier migration has this id", "give it one of its own")
    return migrations


def _means(found: Findings, at: Path) -> dict[str, Any]:
    data = found.timed(at, ("timeout",), positive=True)
    if data.get("timeout_s", 0.0) > TIMEOUT_S_MAX:
        found.add((*at, "timeout"), "this is longer than a day", "shorten it")
    directory = data.get("directory", ".")
    if ".." in directory.split("/"):
        message = "this leads out of the release"
        found.add((*at, "directory"), message, "write a path inside it, or an absolute one")
    return data


def _meaning(migration: Migration) -> Migration:
    """A migration without what may differ from release to release: for how long, and how one would ask."""
    return replace(migration, timeout_s=0.0, check=None)
