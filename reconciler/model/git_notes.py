"""The lines of the notes, one for each upgrade: how Git keeps what became of it, written and read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct, field

from reconciler.model.data import Recorded, said
from reconciler.model.succession import Place
from reconciler.model.target import Target, Workload
from reconciler.model.upgrade import Phase, Upgrade, operation_id

NAME_CHARS_MAX = 300
MIGRATIONS_MAX = 1_000
YEAR_MAX = 9_000
DURATION_S_MAX = 366 * 86_400.0
ADOPTED = "adopted"
"""The outcome of what was no upgrade: it ran already, and proved healthy as it was."""
BEGINNING = datetime.min.replace(tzinfo=UTC)


class Line(Struct, frozen=True):
    """One line of the notes, as `line_of` and `adoption_line` write it."""

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
    epoch: int = 0
    """Of the environment's lease, when it came to this; 0: there was none, or a daemon wrote it that did not say."""
    row: int = 0
    """Of the audit of who had that lease."""
    migrations: dict[str, str] = {}
    """By id, what it left of the service's data; of one that is not over, what it may touch, as `begun`."""
    held: str = ""
    """Why nothing of the service is to be started, for its data's sake."""

    @property
    def said_at(self) -> datetime:
        """When it stood so: of one that has not ended, as when it is being taken back, too."""
        if self.ended_at is not None or self.started_at is None:
            return self.ended_at or BEGINNING
        return self.started_at + timedelta(seconds=min(max(self.duration_s or 0.0, 0.0), DURATION_S_MAX))

    @property
    def place(self) -> Place:
        return Place(self.epoch, self.row, self.said_at)

    @property
    def proved(self) -> bool:
        """Whether `to` proved healthy, or, where there is none, was stopped as it was to be."""
        return self.outcome in (Phase.SUCCEEDED, ADOPTED)


def line_of(
    upgrade: Upgrade, recorded: Iterable[Recorded] = (), *, quarantined: bool = False, held: str = ""
) -> str:
    """The line about an upgrade, as JSON. `recorded`: its service's migrations. `quarantined`: its target is, though it
    has not failed. `held`: why nothing of the service is to be started, for its data's sake."""
    ended = upgrade.ended_at or upgrade.changed_at
    line: dict[str, object] = {
        "operation": upgrade.operation,
        "environment": upgrade.environment,
        "service": upgrade.service,
        "class": upgrade.change_class,
        "from": str(upgrade.before.target) if upgrade.before else None,
        "to": str(upgrade.to) if upgrade.to else None,
        "outcome": upgrade.phase.value,
        "started_at": upgrade.started_at.isoformat() if upgrade.started_at else None,
        "ended_at": upgrade.ended_at.isoformat() if upgrade.ended_at else None,
        "duration_s": round((ended - upgrade.started_at).total_seconds(), 3) if upgrade.started_at else None,
    }
    if upgrade.epoch:
        line |= {"epoch": upgrade.epoch, "row": upgrade.row}
    if upgrade.failed or quarantined:
        line |= {"reason": upgrade.reason, "quarantined": str(upgrade.to)}
    if upgrade.taken_with:
        line["taken_with"] = upgrade.taken_with
    if migrations := said(recorded, upgrade):
        line["migrations"] = migrations
    if held:
        line["held"] = held
    if upgrade.companions:
        line["companions"] = [one.service for one in upgrade.companions]
    if upgrade.revert_commit:
        line["revert_commit"] = upgrade.revert_commit
    return json.dumps(line)


def adoption_id(environment: str, service: str, target: Target) -> str:
    """The id under which a line says that this was adopted."""
    return operation_id(environment, service, None, target, ADOPTED, 0)


def adoption_line(work: Workload, recorded: Iterable[Recorded], *, place: Place) -> str:
    """The line about what is adopted as it runs, as JSON. `recorded`: its service's migrations."""
    states = {row.id: row.state for row in recorded}
    line: dict[str, object] = {
        "operation": adoption_id(work.environment, work.service, work.target),
        "environment": work.environment,
        "service": work.service,
        "to": str(work.target),
        "outcome": ADOPTED,
        "ended_at": place.at.isoformat(),
        "migrations": {one.id: states.get(one.id, "undone") for one in work.release.migrations},
    }
    if place.epoch:
        line |= {"epoch": place.epoch, "row": place.row}
    return json.dumps(line)


def is_outdated(text: str | bytes, *, by: str | bytes) -> bool:
    """Whether a line was said in an older epoch than another one of its operation, whichever of them arrived first:
    whoever had the environment before may push late what he had kept. Of lines that say no epoch nobody can tell, nor
    of those that name the environment otherwise, whose epochs are others."""
    said, known = read_line(text), read_line(by)
    if said is None or known is None or said.environment != known.environment:
        return False
    return 0 < said.epoch < known.epoch


def read_line(text: str | bytes) -> Line | None:
    """Whoever may push notes may write anything into them."""
    try:
        line = msgspec.json.decode(text, type=Line)
    except (msgspec.MsgspecError, RecursionError):
        return None
    if len(line.migrations) > MIGRATIONS_MAX:
        return None
    names = line.operation, line.environment, line.service, *line.migrations
    fit = all(name.isprintable() and 0 < len(name) <= NAME_CHARS_MAX for name in names)
    times = [one for one in (line.started_at, line.ended_at, line.health_since) if one]
    return line if fit and all(one.tzinfo and one.year < YEAR_MAX for one in times) else None
