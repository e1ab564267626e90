"""Backups of a service's data: taken, verified, kept by the rule, and brought back where the policy permits it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from reconciler.engine.data.commands import Commands, told
from reconciler.model import data
from reconciler.model.data import Kind, Saved
from reconciler.model.errors import HostError
from reconciler.model.release import Backup

BRING_BACK = "restore-data"


class Backups:
    """Those of one upgrade's service."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._vault = commands.core.vault

    async def take(self, backup: Backup) -> None:
        """A verified one of what is there now. Raises HostError; the older ones stay."""
        await self._verify(backup, await self._save("backup", "upgrade", backup))

    def refused(self) -> str:
        """Why the one of this operation may not be brought back by us; empty when it may."""
        return data.refused(self._commands.policy, self.verified(), now=self._commands.core.clock.now())

    @property
    def coming_back(self) -> bool:
        """Whether one is being brought back: what has begun is finished, however long the daemon was away."""
        return self._commands.unfinished(BRING_BACK)

    async def bring_back(self, backup: Backup, *, back: Callable[[Saved, str], None]) -> str:
        """The one of this operation over what is there, which is saved first. Empty, or why that did not work.

        `back` records, in the same transaction as the step's end, what the data is again.
        """
        saved = self.verified()
        if saved is None:
            return "its backup is no longer on record"
        try:
            if not self.coming_back:
                await self._save("rescue", "rescue", backup)
                if late := self.refused():  # saving took long, or this machine was stopped meanwhile
                    return late
            if await asyncio.to_thread(self._vault.measure, Path(saved.path)) != (
                saved.size_bytes,
                saved.sha256,
            ):
                return f"backup {saved.id} is no longer what was verified"
            outcome = await self._commands.run(
                BRING_BACK, backup.restore, backup, anew=True, place=saved.path
            )
        except HostError as error:
            return f"its backup could not be brought back: {error}"
        with self._commands.core.store.transaction():
            if outcome.code == 0:
                back(saved, f"backup {saved.id} was brought back")
            self._commands.end(BRING_BACK, outcome)
        self._commands.forget(BRING_BACK)
        return "" if outcome.code == 0 else f"backup {saved.id} could not be brought back: {told(outcome)}"

    def verified(self) -> Saved | None:
        """The verified backup that this operation took, the newest if it took several."""
        own = (one for one in self._backups() if one.operation == self._commands.upgrade.operation)
        return next((one for one in own if one.state == "verified"), None)

    async def _save(self, step: str, kind: Kind, backup: Backup) -> Saved:
        """Have the data saved into a folder of its own. Raises HostError; then nothing is left of it."""
        upgrade, store = self._commands.upgrade, self._commands.core.store
        number = 1 + len([one for one in self._backups() if one.operation == upgrade.operation])
        name = f"{upgrade.operation}-{number}"
        folder = self._commands.folder("backups") / name
        saved = Saved(
            id=name,
            environment=upgrade.environment,
            service=upgrade.service,
            operation=upgrade.operation,
            kind=kind,
            version=str(upgrade.before.target.version) if upgrade.before else "",
            path=str(folder / "data"),
            state="begun",
            saved_at=self._commands.core.clock.now(),
        )
        store.saved(saved)
        try:
            await asyncio.to_thread(self._vault.make, folder, backup.user)
            outcome = await self._commands.run(step, backup.save, backup, anew=True, place=saved.path)
            self._commands.close(step, outcome)
            if outcome.code != 0:
                raise HostError(f"the data could not be saved: {told(outcome)}", outcome.remedy)
            size_bytes, sha256 = await asyncio.to_thread(self._vault.measure, Path(saved.path))
        except HostError as error:
            await self._drop(saved, str(error))
            raise
        saved = replace(saved, state="saved", size_bytes=size_bytes, sha256=sha256)
        store.saved(saved)
        return saved

    async def _verify(self, backup: Backup, saved: Saved) -> None:
        """Have it proven good. Raises HostError; a bad one goes, and the older ones stay."""
        outcome = await self._commands.run(
            "backup-verify", backup.verify, backup, anew=True, place=saved.path
        )
        self._commands.close("backup-verify", outcome)
        if outcome.code != 0:
            why = f"the backup did not prove good: {told(outcome)}"
            await self._drop(saved, why)
            raise HostError(why, outcome.remedy or "see what `backup.verify` says")
        now = self._commands.core.clock.now()
        self._commands.core.store.saved(replace(saved, state="verified", verified_at=now))
        for old in self._backups():  # what a killed daemon left half done, then what the rule does not keep
            if old.state == "begun" or (old.kind == "upgrade" and old.state != "verified"):
                await self._drop(old, "it was never finished")
        rule = self._commands.policy.backups
        for old in data.surplus(self._backups(), rule, newest=saved.id, now=now):
            await self._drop(old, "policy.backups keeps no more")

    async def _drop(self, saved: Saved, why: str) -> None:
        self._commands.core.store.drop_backup(saved, why)
        await asyncio.to_thread(self._vault.remove, Path(saved.path).parent)

    def _backups(self) -> list[Saved]:
        return self._commands.core.store.backups(
            self._commands.upgrade.environment, self._commands.upgrade.service
        )
