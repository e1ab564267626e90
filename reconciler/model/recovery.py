"""Safe mode: the database is gone, damaged or older than it was, so Git's own account of the past is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.model.target import Target
from reconciler.model.upgrade import OPERATION_TRAILER, RETRY_TRAILER, Phase

TEXT_CHARS_MAX = 300
YEAR_MAX = 9_000
DURATION_S_MAX = 366 * 86_400.0
BEGINNING = datetime.min.replace(tzinfo=UTC)


class Recovery(Struct, frozen=True):
    """Why an environment is in safe mode, and since when."""

    reason: str
    since: datetime
    base: str | None = None
    """The tip whose account was read: a pin that a later commit moved may start. None: not read yet."""


class Line(Struct, frozen=True):
    """One line of the notes, as `note_of` writes it."""

    operation: str
    environment: str
    service: str
    outcome: str
    from_: str | None = field(name="from", default=None)
    to: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_s: float | None = None
    """From when it started to when this was said."""
    reason: str = ""
    quarantined: str | None = None
    revert_commit: str | None = None
    health: str = ""
    """Of what succeeded: how it has done since, `degraded` or `healthy`; empty where nothing was said of it."""
    health_since: datetime | None = None

    @property
    def said_at(self) -> datetime:
        """When it stood so: of one that has not ended, as when it is being taken back, too."""
        if self.ended_at is not None or self.started_at is None:
            return self.ended_at or BEGINNING
        return self.started_at + timedelta(seconds=min(max(self.duration_s or 0.0, 0.0), DURATION_S_MAX))


class Commit(Struct, frozen=True):
    """A commit of the tracked branch, as far as its trailers tell of the past."""

    sha: str
    at: datetime
    trailers: tuple[tuple[str, str], ...]


class Failed(Struct, frozen=True):
    """A target that Git says failed, and that nobody has released."""

    operation: str
    service: str
    target: Target
    restored: Target | None
    reason: str
    at: datetime
    revision: str
    """The commit that pinned it."""
    revert_commit: str | None = None
    restoring: bool = False
    """The last that was said: it was being taken back."""


class Proven(Struct, frozen=True):
    """What Git says was the last of a service to succeed."""

    target: Target
    revision: str
    at: datetime
    operation: str = ""
    degraded: bool = False
    """It was so when that was last said."""
    since: datetime | None = None
    """Since when it is degraded, or healthy again; None where nothing was said of it since it succeeded."""


class Account(Struct, frozen=True):
    """What Git tells of one environment's past."""

    failed: tuple[Failed, ...] = ()
    proven: Mapping[str, Proven] = {}
    ended: Mapping[str, str] = {}
    """By operation: how it last stood."""
    removed: Mapping[str, datetime] = {}
    """By service that was stopped on purpose, and did not succeed since: when."""

    def proven_since(self, service: str, target: Target | None, at: datetime) -> bool:
        """Whether this target succeeded after that."""
        one = self.proven.get(service)
        return one is not None and one.target == target and one.at > at


def accounts(
    notes: Mapping[str, Iterable[str]], commits: Iterable[Commit], renamed: Mapping[str, str] = {}
) -> dict[str, Account]:
    """By environment. `notes`: by commit, its lines. What is not ours, or cannot be read, tells nothing.

    `renamed`: by former name, the environments that have another one now.
    """
    read = [(sha, line) for sha, texts in notes.items() for text in texts if (line := _line(text))]
    lines = [
        (sha, replace(line, environment=renamed.get(line.environment, line.environment)))
        for sha, line in read
    ]
    failed: dict[str, tuple[str, Failed]] = {}
    proven: defaultdict[str, list[tuple[str, Proven]]] = defaultdict(list)
    ended: defaultdict[str, dict[str, str]] = defaultdict(dict)
    removed: defaultdict[str, dict[str, datetime]] = defaultdict(dict)
    retried: set[str] = set()
    for commit in commits:
        retried.update(value for key, value in commit.trailers if key == RETRY_TRAILER)
        if found := _reverted(commit):
            failed[found[1].operation] = renamed.get(found[0], found[0]), found[1]
    for sha, line in sorted(lines, key=lambda one: one[1].said_at):
        at = line.said_at
        ended[line.environment][line.operation] = line.outcome
        if line.quarantined and (target := _target(line.quarantined)):
            failed[line.operation] = line.environment, _failed(sha, line, target, at)
        elif line.outcome == Phase.SUCCEEDED and (target := _target(line.to)):
            since = max(at, line.health_since) if line.health_since else None
            one = Proven(target, sha, at, line.operation, line.health == "degraded", since)
            proven[line.environment].append((line.service, one))
        elif line.outcome == Phase.SUCCEEDED and line.to is None:
            removed[line.environment][line.service] = at
    places = ended.keys() | {place for place, _ in failed.values()}
    return {
        place: _account(
            [one for at, one in failed.values() if at == place],
            retried,
            proven[place],
            ended[place],
            removed[place],
        )
        for place in places
    }


def _account(
    failed: Sequence[Failed],
    retried: Collection[str],
    proven: Sequence[tuple[str, Proven]],
    ended: Mapping[str, str],
    removed: Mapping[str, datetime],
) -> Account:
    """`proven`: oldest first. What failed and then proved healthy was released; what failed after is not good, be it
    `retried` or not, and neither is what was `removed` after."""
    shut = [
        one
        for one in sorted(failed, key=lambda one: one.at)
        if one.operation not in retried
        and not any(
            service == one.service and good.target == one.target and good.at > one.at
            for service, good in proven
        )
    ]
    last = {(one.service, one.target): one.at for one in sorted(failed, key=lambda one: one.at)}
    good = {
        service: one
        for service, one in proven
        if last.get((service, one.target), BEGINNING) < one.at and one.at >= removed.get(service, BEGINNING)
    }
    gone = {service: at for service, at in removed.items() if service not in good or good[service].at < at}
    return Account(failed=tuple(shut), proven=good, ended=ended, removed=gone)


def _failed(sha: str, line: Line, target: Target, at: datetime) -> Failed:
    return Failed(
        operation=line.operation,
        service=line.service,
        target=target,
        restored=_target(line.from_),
        reason="".join(c if c.isprintable() else " " for c in line.reason)[:TEXT_CHARS_MAX],
        at=at,
        revision=sha,
        revert_commit=line.revert_commit,
        restoring=line.outcome == Phase.RESTORING,
    )


def _reverted(commit: Commit) -> tuple[str, Failed] | None:
    """What a revert commit says in its trailers: the environment, and what failed there."""
    said = dict(commit.trailers)
    target, environment = _target(said.get("Ugs-From")), said.get("Ugs-Environment")
    operation, service = said.get(OPERATION_TRAILER), said.get("Ugs-Service")
    if not (target and environment and operation and service):
        return None
    return environment, Failed(
        operation=operation,
        service=service,
        target=target,
        restored=_target(said.get("Ugs-To")),
        reason=said.get("Ugs-Reason", ""),
        at=commit.at,
        revision=said.get("Reverts", ""),
        revert_commit=commit.sha,
    )


def _line(text: str) -> Line | None:
    """Whoever may push notes may write anything into them."""
    try:
        line = msgspec.json.decode(text, type=Line)
    except (msgspec.MsgspecError, RecursionError):
        return None
    names = line.operation, line.environment, line.service
    fit = all(name.isprintable() and 0 < len(name) <= TEXT_CHARS_MAX for name in names)
    times = [one for one in (line.started_at, line.ended_at, line.health_since) if one]
    return line if fit and all(one.tzinfo and one.year < YEAR_MAX for one in times) else None


def _target(text: str | None) -> Target | None:
    try:
        return Target.parse(text) if text else None
    except ValueError:
        return None
