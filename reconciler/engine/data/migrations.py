"""Migrations of a service's data: applied, undone, and asked about, each on record before and after."""

from __future__ import annotations

from functools import partial

from reconciler.engine.data.commands import Commands, evidence, told
from reconciler.errand import Outcome
from reconciler.model import data
from reconciler.model.data import Recorded, State
from reconciler.model.errors import HostError
from reconciler.model.release import Migration


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

    async def settle_doubt(self, migration: Migration) -> None:
        """What an earlier operation left open: asked about, or a person must say. Raises HostError."""
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
