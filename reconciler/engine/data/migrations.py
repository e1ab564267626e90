"""Migrations of a service's data: applied, undone, and asked about, each on record before and after."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from reconciler.engine.core import Core
from reconciler.engine.data.commands import Commands, evidence, told
from reconciler.errand import Outcome
from reconciler.model import data
from reconciler.model.data import Recorded, State
from reconciler.model.errors import HostError, TransientError
from reconciler.model.release import Migration

LATE_S = 10.0
"""So long after its time limit a command may still be ending."""


def _begun_here(core: Core, known: Recorded) -> bool:
    """Whether its command was one of this daemon's, whose end it has seen, or sees."""
    steps = {step.step for step in core.store.steps(known.operation)}
    return any(f"{name}:{known.id}" in steps for name in (*data.ORDER, "undo"))


class Migrations:
    """Those of one upgrade's service."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    async def move(self, migration: Migration, *, up: bool) -> tuple[State, str]:
        """Apply or undo one, or learn how that ended; the state that it is in then, and a sentence for it."""
        argv = migration.up if up else migration.down
        if argv is None:
            raise RuntimeError(f"{self._commands.upgrade.operation}: {migration.id} has no down")
        step = f"{migration.phase if up else 'undo'}:{migration.id}"
        under_way: State = "begun" if up else "undoing"
        while True:
            known = self.recorded().get(migration.id)
            anew = known is None or (known.state, known.operation) != (
                under_way,
                self._commands.upgrade.operation,
            )
            begin = partial(self.note, migration.id, under_way) if anew else None
            outcome = await self._commands.run(step, argv, migration, anew=anew, note=begin)
            if outcome.refusal:
                self._settle(step, migration, "failed" if up else "done", outcome)
                raise HostError(f"migration {migration.id}: {outcome.refusal}", outcome.remedy)
            answer, said = await self._ask(migration) if migration.check else (None, "")
            state = data.settled(
                up=up,
                code=outcome.code,
                timed_out=outcome.timed_out,
                asked=migration.check is not None,
                answer=answer,
            )
            self._settle(step, migration, state, outcome)
            if outcome.code is not None or state in ("unknown", "done" if up else "undone"):
                return state, told(outcome) + (f"; its check says: {said}" if said else "")
            # A crash of ours cut it short, and it is certain to have had no effect: once more.

    async def _ask(self, migration: Migration) -> tuple[bool | None, str]:
        """Whether a migration is applied, by its own check; None where that does not say. And what it said."""
        step = f"check:{migration.id}"
        outcome = await self._commands.run(step, migration.check or (), migration, anew=True)
        self._commands.close(step, outcome)
        answer = {0: True, 1: False}.get(outcome.code) if outcome.code is not None else None
        return (None if outcome.timed_out else answer), told(outcome)

    async def settle_doubt(self, migration: Migration, known: Recorded) -> None:
        """What an earlier operation left open: asked about, or a person must say. Raises HostError; TransientError
        where its command may run on, out of sight."""
        core = self._commands.core
        ends_at = known.changed_at + timedelta(seconds=migration.timeout_s + LATE_S)
        if migration.check and core.clock.now() < ends_at and not _begun_here(core, known):
            raise TransientError(
                f"migration {migration.id} was begun where nobody here sees whether it has ended",
                f"it is asked about from {ends_at:%H:%M:%S} UTC on, as its time limit will have ended it by then",
            )
        answer, said = await self._ask(migration) if migration.check else (None, "it has no `check`")
        if answer is None:
            where = f"{self._commands.upgrade.environment} {self._commands.upgrade.service} {migration.id}"
            raise HostError(
                f"nobody knows whether migration {migration.id} is applied: {said}",
                f"look at the data, then say `ugs migrations settle {where} --applied` or `--absent`",
            )
        self.note(migration.id, "done" if answer else "undone", f"its check says so: {said}")

    def _settle(self, step: str, migration: Migration, state: State, outcome: Outcome) -> None:
        with self._commands.core.store.transaction():
            self.note(migration.id, state, evidence(outcome))
            self._commands.end(step, outcome)
        self._commands.forget(step)

    def note(self, name: str, state: State, seen: str = "") -> None:
        """Put a migration's newest state on record, with what was seen of it."""
        upgrade = self._commands.upgrade
        self._commands.core.store.migrated(
            Recorded(
                environment=upgrade.environment,
                service=upgrade.service,
                id=name,
                version=str(self._commands.work.target.version),
                operation=upgrade.operation,
                state=state,
                changed_at=self._commands.core.clock.now(),
                evidence=seen,
            )
        )

    def recorded(self) -> dict[str, Recorded]:
        """By id, every migration of the service that was ever touched here."""
        rows = self._commands.core.store.migrations(
            self._commands.upgrade.environment, self._commands.upgrade.service
        )
        return {row.id: row for row in rows}
