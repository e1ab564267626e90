"""Git's account of the past of environments, read from the lines of notes and the trailers of commits."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from msgspec.structs import replace

from reconciler.model.data import State
from reconciler.model.git_notes import BEGINNING, Line, read_line
from reconciler.model.recovery import Account, Commit, Failed, Left, Proven
from reconciler.model.succession import Place
from reconciler.model.target import Target
from reconciler.model.upgrade import OPERATION_TRAILER, RETRY_TRAILER, Phase

TEXT_CHARS_MAX = 300
SETTLED: Mapping[str, State] = {"done": "done", "failed": "failed", "undone": "undone"}
"""What a line may say of a migration that leaves no doubt."""


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

    def account(place: str) -> Account:
        def may_again(operation: str) -> bool:
            return any(permits(commit, place) for commit in retried.get(operation, ()))

        return _account(wrong[place], may_again, said.get(place) or _Said([]), reverts[place], parents)

    return {place: account(place) for place in said.keys() | wrong.keys()}


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
            elif line.proved and (target := _target(line.to)):
                self.proven.append((line.service, _proven(sha, line, target, number)))
                self.ran[line.service, target] = None
            elif line.proved and line.to is None:
                self.removed[line.service] = number, line.place

    def _migrated(self, line: Line) -> None:
        target = _target(line.to)
        version = target.version.text if target else ""
        for name, said in line.migrations.items():
            self.data[line.service][name] = Left(line.operation, version, SETTLED.get(said, "unknown"))
        if line.proved and line.service in self.data:
            known = self.data[line.service]
            known.update({name: replace(left, proven=left.state == "done") for name, left in known.items()})


def _account(
    failed: Sequence[Failed],
    may_again: Callable[[str], bool],
    said: _Said,
    reverts: Mapping[str, str],
    parents: Mapping[str, tuple[str, ...]],
) -> Account:
    """What failed and then proved healthy was released; what failed after is not good, be it that it `may_again` be
    tried, by its operation, and neither is what was removed after."""

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
        failed=tuple(bad for bad in fallen if not may_again(bad.operation)),
        fallen=tuple(fallen),
        proven=good,
        ended=said.ended,
        removed=gone,
        places=places,
        data=dict(said.data),
        held=said.held,
        reverts=reverts,
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
