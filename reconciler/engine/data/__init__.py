"""The data of one upgrade's service: saved before anything touches it, migrated, and taken back with what failed."""

from __future__ import annotations

from msgspec.structs import replace

from reconciler.drivers.base import Driver
from reconciler.engine.control import Control
from reconciler.engine.core import Core, cause_of
from reconciler.engine.data.account import hold, tell
from reconciler.engine.data.backups import Backups
from reconciler.engine.data.commands import Commands
from reconciler.engine.data.migrations import Migrations
from reconciler.model import data
from reconciler.model.data import Recall, Recorded, Saved
from reconciler.model.errors import ArtifactError, UgsError
from reconciler.model.release import Migration, MigrationPhase
from reconciler.model.upgrade import Upgrade


def has_migrated(core: Core, upgrade: Upgrade) -> bool:
    """Whether the upgrade has touched its service's data."""
    rows = core.store.migrations(upgrade.environment, upgrade.service)
    return any(row.operation == upgrade.operation for row in rows)


def _without_data(upgrade: Upgrade) -> Upgrade:
    """The data is the environment's: on all but one of its hosts, an upgrade has nothing to do with it."""
    after = upgrade.after
    if after is None:
        return upgrade
    release = replace(after.release, backup=None, migrations=())
    return replace(upgrade, after=replace(after, release=release))


class Unsettled(UgsError):
    """Nobody knows how far a migration came: nothing more is done until a person has looked."""


def abandon(core: Core, upgrade: Upgrade, reason: str) -> None:
    """Nobody carries it on: where its data are neither the new version's nor the old one's, neither is started."""
    if upgrade.after is None:
        return
    steward = Steward(core, core.driver(upgrade.environment), upgrade, Control(lambda: ""))
    started = any(step.step == "apply" for step in core.store.steps(upgrade.operation))
    if started and (steward.owes or steward.hopeless()):
        steward.doubt(reason)
        steward.hold(reason)


class Steward:
    """Acts on the data of one upgrade. Everything may be begun again after a crash.

    Raises StillRunning when the daemon ends meanwhile: the command runs on, and the phase is begun again.
    """

    def __init__(self, core: Core, driver: Driver, upgrade: Upgrade, control: Control) -> None:
        if upgrade.rollout and not upgrade.leads:
            upgrade = _without_data(upgrade)
        self._commands = Commands(core, driver, upgrade, control)
        self._migrations = Migrations(self._commands)
        self._backups = Backups(self._commands)
        self._core, self._driver, self._upgrade = core, driver, upgrade
        self._release = self._commands.work.release

    async def prepare(self) -> None:
        """See that every command is there, settle what an earlier operation left open, and take a verified backup.

        Touches nothing. Raises ArtifactError for a command that the archive lacks, else HostError.
        """
        backup = self._release.backup
        if backup is not None:
            self._commands.check(backup, backup.save, backup.verify, backup.restore)
        for migration in self._release.migrations:
            self._commands.check(migration, migration.up, migration.down, migration.check)
        recorded = self._migrations.recorded()
        for migration in data.doubtful(self._release, recorded, operation=self._upgrade.operation):
            await self._migrations.settle_doubt(migration, recorded[migration.id])
        await tell(self._core, self._upgrade)
        if backup is not None and self._has_data():
            await self._backups.take(backup)

    def _has_data(self) -> bool:
        """Whether there is something to be saved. What was removed has left its data: they are saved before something
        migrates them, though nothing runs that could be brought back."""
        upgrade, recorded = self._upgrade, self._migrations.recorded()
        if upgrade.before is not None or upgrade.running is not None:
            return True
        migrates = any(data.to_apply(self._release, phase, recorded) for phase in data.ORDER)
        there = any(row.state not in data.ABSENT for row in recorded.values())
        return migrates and (there or self._core.store.has_proved(upgrade.environment, upgrade.service))

    async def migrate(self, phase: MigrationPhase) -> None:
        """Apply what is not applied yet. Raises ArtifactError for one that failed, Unsettled, HostError."""
        recorded = self._migrations.recorded()
        for migration in data.to_apply(self._release, phase, recorded):
            known = recorded.get(migration.id)
            if known and known.state == "unknown":  # we had come so far, and ended before it was heeded
                raise Unsettled(f"nobody knows whether migration {migration.id} is applied: {known.evidence}")
            state, told = await self._migrations.move(migration, up=True)
            if state == "failed":
                raise ArtifactError(f"migration {migration.id} failed: {told}")
            if state == "unknown":
                raise Unsettled(f"nobody knows whether migration {migration.id} is applied: {told}")

    def hopeless(self) -> str:
        """Why what was done to the data cannot be taken back by us; empty when it can, or may stay."""
        return self._recall().reason

    @property
    def owes(self) -> bool:
        """Whether the data is still to be taken back: the old version must not be started on it as it is."""
        return self._recall().how not in ("nothing", "leave")

    async def take_back(self) -> str:
        """With the new version stopped, bring the data to where the old one left it; empty when it may be started.

        Otherwise why not: no version is started on such data before a person has looked.
        """
        plan = self._recall()
        if plan.reason or plan.how in ("nothing", "leave"):
            return plan.reason
        await self._core.step(self._upgrade, "stop", self._stop_new)
        return await (self._bring_back() if plan.how == "backup" else self._undo(plan.downs))

    def doubt(self, reason: str) -> None:
        """Where a backup was being brought back, nobody knows what is in the data."""
        if not self._backups.coming_back:
            return
        for known in self._unproven():
            self._migrations.note(known.id, "unknown", reason)

    def hold(self, reason: str) -> None:
        """Let nothing of the service be started until a person has looked, be it after a reboot."""
        hold(self._core, self._upgrade.environment, self._upgrade.service, reason)

    def _recall(self) -> Recall:
        if self._backups.coming_back:
            return Recall("backup")
        return data.recall(
            self._release,
            self._migrations.recorded(),
            self._commands.policy,
            operation=self._upgrade.operation,
            first=self._upgrade.before is None,
            saved=self._backups.verified(),
            now=self._core.clock.now(),
        )

    def _stop_new(self) -> None:
        upgrade, site = self._upgrade, self._core.site_of(self._upgrade.environment)
        if upgrade.before is not None:
            self._driver.settle(site, upgrade.before)  # where the old version still runs, it goes on
        else:
            self._driver.restore(
                site, cause_of(upgrade), None, environment=upgrade.environment, service=upgrade.service
            )

    async def _undo(self, downs: tuple[Migration, ...]) -> str:
        for migration in downs:
            state, told = await self._migrations.move(migration, up=False)
            if state != "undone":
                refusal = self._backups.refused()
                if not refusal:
                    return await self._bring_back()
                return f"migration {migration.id} could not be undone: {told}; {refusal}"
        return ""

    async def _bring_back(self) -> str:
        backup = self._release.backup
        if backup is None:
            return "the release has no backup"
        return await self._backups.bring_back(backup, back=self._undone_since)

    def _undone_since(self, saved: Saved, why: str) -> None:
        """What was in the data when they were saved is in them again, and what was applied since is not."""
        steps = self._core.store.steps(self._upgrade.operation)
        since = {
            step.step.partition(":")[2]
            for step in steps
            if step.step.startswith(("before:", "after:")) and step.started_at > saved.saved_at
        }
        for known in self._unproven():
            if known.id in since:
                self._migrations.note(known.id, "undone", why)

    def _unproven(self) -> list[Recorded]:
        """What is in the data, or may be, and nothing has proved healthy with."""
        recorded = self._migrations.recorded().values()
        return [one for one in recorded if not one.proven and one.state not in data.ABSENT]
