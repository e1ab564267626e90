"""Safe mode: the database is gone, damaged or older than it was, so Git's own account of the past is read."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.data import State
from reconciler.model.git_notes import BEGINNING, Line, read_line
from reconciler.model.succession import Place
from reconciler.model.target import Target
from reconciler.model.upgrade import OPERATION_TRAILER, RETRY_TRAILER, Phase

TEXT_CHARS_MAX = 300
SETTLED: Mapping[str, State] = {"done": "done", "failed": "failed", "undone": "undone"}
"""What a line may say of a migration that leaves no doubt."""


class Recovery(Struct, frozen=True):
    """Why an environment is in safe mode, and since when."""

    reason: str
    since: datetime
    base: str | None = None
    """The tip whose account was read: a pin that a later commit moved may start. None: not read yet."""


class Commit(Struct, frozen=True):
    """A commit of the tracked branch, as far as its trailers tell of the past."""

    sha: str
    at: datetime
    trailers: tuple[tuple[str, str], ...]
    parents: tuple[str, ...] = ()


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
    number: int | None = None
    """Which of all that the notes say of its environment this is, in the order in which it happened; None: a revert
    alone tells of it."""


class Proven(Struct, frozen=True):
    """What Git says was the last of a service to succeed."""

    target: Target
    revision: str
    place: Place
    operation: str = ""
    degraded: bool = False
    """It was so when that was last said."""
    since: datetime | None = None
    """Since when it is degraded, or healthy again; None where nothing was said of it since it succeeded."""
    number: int = 0
    """As that of what failed."""

    @property
    def at(self) -> datetime:
        """By the clock of who wrote it."""
        return self.place.at


class Left(Struct, frozen=True):
    """In what state an operation left a migration of its service's data, as far as Git says; `unknown` where the
    operation was not over. `version`: of what it was to bring."""

    operation: str
    version: str
    state: State
    proven: bool = False
    """Whether a version proved healthy since."""


class Account(Struct, frozen=True):
    """What Git tells of one environment's past."""

    failed: tuple[Failed, ...] = ()
    fallen: tuple[Failed, ...] = ()
    """All that failed and did not prove healthy since, be it that it may be tried again."""
    proven: Mapping[str, Proven] = {}
    ended: Mapping[str, str] = {}
    """By operation: how it last stood."""
    removed: Mapping[str, Place] = {}
    """By service that was stopped on purpose, and did not succeed since: when."""
    places: Mapping[tuple[str, Target], Place] = {}
    """By service and target: when it last succeeded, be it that something else came after."""
    data: Mapping[str, Mapping[str, Left]] = {}
    """By service, and the migration's id."""
    held: Mapping[str, tuple[str, str]] = {}
    """By service of which nothing is to be started, for its data's sake: by which operation, and why."""
    reverts: Mapping[str, str] = {}
    """By operation: the commit that puts its pin back."""
    ran: Collection[tuple[str, Target]] = ()
    """By service: what ever proved healthy, or was in its place before there was anybody to say so."""


def accounts(
    notes: Mapping[str, Iterable[str]],
    commits: Iterable[Commit],
    renamed: Mapping[str, str] = {},
    permits: Callable[[str, str], bool] = lambda _commit, _environment: True,
) -> dict[str, Account]:
    """By environment. `notes`: by commit, its lines. What is not ours, or cannot be read, tells nothing. `permits`:
    whether a commit may let something be tried again in an environment.

    `renamed`: by former name, the environments that have another one now. Which line came after which is told by the
    epochs of the environment's lease, and whether by a revert or after it by the graph: whoever wrote them had a clock
    of their own. Dates count among lines that name no epoch alone.
    """
    failed: dict[str, tuple[str, Failed]] = {}
    retried: defaultdict[str, list[str]] = defaultdict(list)
    reverts: defaultdict[str, dict[str, str]] = defaultdict(dict)
    parents = dict[str, tuple[str, ...]]()
    for commit in commits:
        parents[commit.sha] = commit.parents
        for value in (value for key, value in commit.trailers if key == RETRY_TRAILER):
            retried[value].append(commit.sha)
        if found := _reverted(commit):
            place = renamed.get(found[0], found[0])
            failed[found[1].operation] = place, found[1]
            reverts[place][found[1].operation] = commit.sha
    lines: defaultdict[str, list[tuple[str, Line]]] = defaultdict(list)
    for sha, texts in notes.items():
        for line in filter(None, map(read_line, texts)):
            if now := renamed.get(line.environment):
                # Of another lease, whose epochs say nothing of this one's.
                lines[now].append((sha, replace(line, environment=now, epoch=0)))
            else:
                lines[line.environment].append((sha, line))
    said = {place: _Said(in_order(of)) for place, of in lines.items()}
    for place, one in said.items():
        failed |= {operation: (place, bad) for operation, bad in one.failed.items()}
    wrong: defaultdict[str, list[Failed]] = defaultdict(list)
    for place, bad in failed.values():
        wrong[place].append(bad)
    again = {
        bad.operation
        for place, bad in failed.values()
        if any(permits(commit, place) for commit in retried.get(bad.operation, ()))
    }
    return {
        place: replace(
            _account(wrong[place], again, said.get(place) or _Said([]), parents), reverts=reverts[place]
        )
        for place in said.keys() | wrong.keys()
    }


def in_order(lines: Iterable[tuple[str, Line]]) -> list[tuple[str, Line]]:
    """The lines of one environment, as what they say happened one after the other. One without an epoch comes after
    all of those with one that were said by its date."""
    dated = list(lines)
    known = sorted((one for one in dated if one[1].epoch), key=lambda one: (one[1].epoch, one[1].row))
    soonest, left = list[datetime](), datetime.max.replace(tzinfo=UTC)
    for _, line in reversed(known):
        soonest.append(left := min(left, line.said_at))
    soonest.reverse()
    found = [((at, BEGINNING), one) for at, one in enumerate(known, 1)]
    found += [
        ((bisect_right(soonest, one[1].said_at), one[1].said_at), one) for one in dated if not one[1].epoch
    ]
    return [one for _, one in sorted(found, key=lambda placed: placed[0])]


class _Said:
    """What the notes say of one environment."""

    def __init__(self, lines: Iterable[tuple[str, Line]]) -> None:
        self.failed: dict[str, Failed] = {}
        self.proven: list[tuple[str, Proven]] = []
        self.ended: dict[str, str] = {}
        self.removed: dict[str, tuple[int, Place]] = {}
        self.data: defaultdict[str, dict[str, Left]] = defaultdict(dict)
        self.ran: dict[tuple[str, Target], None] = {}
        self.held: dict[str, tuple[str, str]] = {}
        for number, (sha, line) in enumerate(lines):
            self._migrated(line)
            if before := _target(line.from_):
                self.ran[line.service, before] = None
            if line.outcome == Phase.PREPARING:  # said for the data's sake alone
                continue
            self.ended[line.operation] = line.outcome
            self.held.pop(line.service, None)
            if line.held:
                self.held[line.service] = line.operation, clean(line.held)
            if line.quarantined and (target := _target(line.quarantined)):
                self.failed[line.operation] = _failed(sha, line, target, number)
            elif line.outcome == Phase.SUCCEEDED and (target := _target(line.to)):
                self.proven.append((line.service, _proven(sha, line, target, number)))
                self.ran[line.service, target] = None
            elif line.outcome == Phase.SUCCEEDED and line.to is None:
                self.removed[line.service] = number, line.place

    def _migrated(self, line: Line) -> None:
        known, target = (
            self.data[line.service] if line.migrations else self.data.get(line.service, {}),
            _target(line.to),
        )
        for name, state in line.migrations.items():
            known[name] = Left(
                line.operation, target.version.text if target else "", SETTLED.get(state, "unknown")
            )
        if line.outcome == Phase.SUCCEEDED:
            for name, left in known.items():
                known[name] = replace(left, proven=left.state == "done")


def _account(
    failed: Sequence[Failed],
    retried: Collection[str],
    said: _Said,
    parents: Mapping[str, tuple[str, ...]],
) -> Account:
    """What failed and then proved healthy was released; what failed after is not good, be it `retried` or not, and
    neither is what was removed after."""

    in_turn = sorted(failed, key=lambda one: (one.number is not None, one.number or 0, one.at))
    # By service and target, the newest first: as nearly always one look tells.
    proven: defaultdict[tuple[str, Target], list[Proven]] = defaultdict(list)
    for service, one in reversed(said.proven):
        proven[service, one.target].append(one)
    wrong: defaultdict[tuple[str, Target], list[Failed]] = defaultdict(list)
    for bad in reversed(in_turn):
        wrong[bad.service, bad.target].append(bad)

    def is_over(bad: Failed, good: Proven) -> bool:
        """Whether what failed proved healthy after that."""
        if bad.number is None:
            return bool(bad.revert_commit) and _reaches(parents, good.revision, bad.revert_commit)
        return good.number > bad.number

    fallen = [
        bad
        for bad in in_turn
        if not any(is_over(bad, one) for one in proven.get((bad.service, bad.target), ()))
    ]
    good = {
        service: one
        for service, one in said.proven
        if one.number >= said.removed.get(service, (-1, None))[0]
        and all(is_over(bad, one) for bad in wrong.get((service, one.target), ()))
    }
    gone = {
        service: place
        for service, (number, place) in said.removed.items()
        if service not in good or good[service].number < number
    }
    places = {(service, one.target): one.place for service, one in said.proven}
    return Account(
        failed=tuple(bad for bad in fallen if bad.operation not in retried),
        fallen=tuple(fallen),
        proven=good,
        ended=said.ended,
        removed=gone,
        places=places,
        data=dict(said.data),
        held=said.held,
        ran=tuple(said.ran),
    )


def _reaches(parents: Mapping[str, tuple[str, ...]], newer: str, older: str | None) -> bool:
    """Whether one commit contains another, as far as their `parents` are known."""
    waiting, seen = [newer], {newer}
    while waiting:
        if (sha := waiting.pop()) == older:
            return True
        new = set(parents.get(sha, ())) - seen
        seen |= new
        waiting += new
    return False


def _proven(sha: str, line: Line, target: Target, number: int) -> Proven:
    since = max(line.said_at, line.health_since) if line.health_since else None
    return Proven(target, sha, line.place, line.operation, line.health == "degraded", since, number)


def _failed(sha: str, line: Line, target: Target, number: int) -> Failed:
    return Failed(
        operation=line.operation,
        service=line.service,
        target=target,
        restored=_target(line.from_),
        reason=clean(line.reason),
        at=line.said_at,
        revision=sha,
        revert_commit=line.revert_commit,
        restoring=line.outcome == Phase.RESTORING,
        number=number,
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


def clean(text: str) -> str:
    """What somebody else wrote, as one line that may be shown."""
    return "".join(c if c.isprintable() else " " for c in text)[:TEXT_CHARS_MAX]


def _target(text: str | None) -> Target | None:
    try:
        return Target.parse(text) if text else None
    except ValueError:
        return None
