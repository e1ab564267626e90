"""What really happened, told by the world and not by the engine: committed rows, effects on the host, pushes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from reconciler.engine.repository import Repository
from reconciler.model.desired import resolve
from reconciler.model.target import Target, Workload
from reconciler.model.upgrade import Phase, Upgrade
from tests.simulation import departure, fleet, renaming, trust
from tests.simulation.fleet import FIRST_NAMES
from tests.simulation.loop import EPOCH
from tests.simulation.violation import Violation, judge

if TYPE_CHECKING:
    from tests.simulation.data import Backup, Command
    from tests.simulation.simulation import Simulation

Key = tuple[str, str]
STARTED = frozenset({Phase.APPLYING, Phase.VERIFYING, Phase.RESTORING, Phase.REVERTING})


class Facts:
    """The record that the invariants look at, checked at everything that happens."""

    def __init__(self, simulation: Simulation) -> None:
        from tests.simulation import data_invariants, invariants  # which look at these

        self._simulation = simulation
        self._invariants, self._of_data = invariants, data_invariants
        self.upgrades: dict[str, Upgrade] = {}
        """Every upgrade as last committed."""
        self.moved_in: dict[str, int] = {}
        """By operation, in which of the daemon's lives it last moved."""
        self.shut: dict[tuple[str, str, Target], str] = {}
        """What failed and was not released since: by which operation."""
        self.proven: dict[Key, list[Target]] = {}
        """By service, what proved healthy, the last first."""
        self.proven_s: dict[tuple[str, str, Target], float] = {}
        self.proven_by: dict[tuple[str, str, Target], str] = {}
        """By which upgrade; not there where it was adopted."""
        self.adopted: set[tuple[str, str, Target]] = set()
        """What this daemon itself has adopted."""
        self.removed: dict[Key, tuple[str, list[Target]]] = {}
        """By which operation, and what had proven healthy until then."""
        self.settled_s: dict[str, float] = {}
        """By operation, since when it is known how it ended, or that it failed."""
        self.rolled_back: dict[tuple[str, str, Target], str] = {}
        """By which operation; not there where it was adopted."""
        self.deployed: set[Key] = set()
        """Where anything was ever started or tried."""
        self.applied: set[str] = set()
        """Operations whose apply is known to be done."""
        self.reverts: dict[str, str] = {}
        """By operation, the commit that reverts it."""
        self.touched: set[str] = set()
        """Operations that have touched what runs."""
        self.restored: set[str] = set()
        """Operations that have brought the old version back, or tried to."""
        self.trusted: set[str] = set()
        """Commits that are known to count."""
        self.called: dict[str, str] = {}
        """By an environment's first name, the one under which it is on record."""
        self.in_force = "", 0.0
        """The commit, and since when."""
        self.tips: list[str] = []
        """What was in force, in order."""
        self.forced = False
        self.rewrite_accepted = False
        """Whether a person has agreed to the newest rewrite."""
        self._begun_s: dict[tuple[str, datetime], float] = {}
        """By operation and what the clock showed, when it began."""
        self.stood_still: list[tuple[float, float]] = []
        """From when to when the daemon was stopped, without having ended."""
        self.ended = 0
        """How many upgrades that had started have come to their end."""

    def run_already(self, repository: Repository) -> None:
        """What the first commit pins ran before there was a daemon."""
        simulation = self._simulation
        for name, desired in resolve(repository.snapshot(simulation.remote.tip), {}).items():
            hosts = simulation.rules.hosts_of(name)
            if hosts and simulation.holder.host not in hosts:
                continue
            for service, work in desired.workloads.items():
                simulation.host.kept.add((name, service, work.target))
                simulation.world.run_already(name, service, work)
                simulation.host.start((name, service), work, "by hand")

    def begun_s(self, upgrade: Upgrade) -> float:
        """When an upgrade began, by no wall clock; in the far future if it has not."""
        if upgrade.started_at is None:
            return math.inf
        shown_s = (upgrade.started_at - EPOCH).total_seconds()
        return self._begun_s.get((upgrade.operation, upgrade.started_at), shown_s)

    def standing(self, environment: str) -> str:
        """The commit that an environment goes by: until another name that it got is carried out, the last before."""
        if self._simulation.renaming is None:
            return self.in_force[0]
        made, called = self._simulation.remote.made, self._simulation.called(environment)
        tips = (tip for tip in reversed(self.tips) if fleet.name_in(made[tip].tree, environment) == called)
        return next(tips, self.in_force[0])

    # the world tells

    def committed(self, upgrades: list[Upgrade], rows: list[Mapping[str, Any]]) -> None:
        """A transaction of the daemon's was committed."""
        for named in upgrades:
            upgrade = replace(named, environment=FIRST_NAMES[named.environment])
            before = self.upgrades.get(upgrade.operation)
            if upgrade.started_at:
                key = upgrade.operation, upgrade.started_at
                self._begun_s.setdefault(key, self._simulation.time.now_s)
            self.upgrades[upgrade.operation] = upgrade
            self.moved_in[upgrade.operation] = self._simulation.lives
            self._simulation.note(
                f"{upgrade.operation} {upgrade.environment}/{upgrade.service} "
                f"{upgrade.before.target.version if upgrade.before else None} -> "
                f"{upgrade.to.version if upgrade.to else None}: {upgrade.phase.value} {upgrade.reason}"
            )
            self._check(self._invariants.AFTER_MOVE, before, upgrade, rows)
            self._moved(before, upgrade)
        for row in rows:
            self._audited(row)

    def effect(self, kind: str, operation: str, work: Workload | None, key: Key) -> None:
        """The driver is about to touch what runs."""
        target = work.target.version if work else None
        self._simulation.note(f"{operation} {kind} {'/'.join(key)} {target}")
        self._check(self._invariants.BEFORE_EFFECT, kind, operation, work, key)
        self.deployed.add(key)
        if work and work.release.backup:
            self._simulation.world.write(key)
        (self.touched if kind == "apply" else self.restored).add(operation)

    def command(self, command: Command) -> None:
        """A command is about to work on a service's data."""
        self._simulation.note(f"{command.operation} {command.step}: {command.verb} {command.what}")
        self._check(self._of_data.BEFORE_COMMAND, command)

    def dropped(self, path: str, backup: Backup) -> None:
        """A backup is about to be removed."""
        self._check(self._of_data.BEFORE_DROP, path, backup)

    def accepted(self, before: str | None, after: str) -> None:
        """The daemon is about to put a commit in force."""
        self._check(self._invariants.BEFORE_ACCEPT, before, after)
        self.rewrite_accepted = False
        self.in_force = after, self._simulation.time.now_s
        self.tips.append(after)

    def pushed(self, before: str, after: str, who: str) -> None:
        """The remote's branch has moved."""
        self.forced |= who == "force"
        if who == "ugs":
            self._simulation.note(
                f"ugs pushes {after[:12]} {self._simulation.remote.made[after].commit.subject}"
            )
            self._check(self._invariants.AFTER_PUSH, before, after)

    def _check(self, checks: Any, *happened: Any) -> None:
        judge(checks, self._simulation, *happened)

    def _moved(self, before: Upgrade | None, upgrade: Upgrade) -> None:
        if before and before.phase is upgrade.phase:
            return
        key, target = (upgrade.environment, upgrade.service), upgrade.to
        if upgrade.final or upgrade.failed:
            self.settled_s.setdefault(upgrade.operation, self._simulation.time.now_s)
        self.ended += upgrade.final and upgrade.started_at is not None
        if target is None:
            if upgrade.phase is Phase.SUCCEEDED:
                self.removed[key] = upgrade.operation, self.proven.pop(key, [])
            return
        match upgrade.phase:
            case Phase.APPLYING:
                self.deployed.add(key)
                self.applied.discard(upgrade.operation)  # the next batch of it
            case Phase.VERIFYING:
                self.applied.add(upgrade.operation)
            case Phase.WAITING:
                self.applied.discard(upgrade.operation)
            case Phase.SUCCEEDED:
                self.prove(key, target)
                self.proven_by[(*key, target)] = upgrade.operation
        if (upgrade.failed or upgrade.phase is Phase.STUCK) and not (before and before.failed):
            self.shut[(*key, target)] = upgrade.named

        elsewhere = before is None and upgrade.aborted  # it failed on another host
        said = upgrade.reason.startswith("rolled back by") and (
            upgrade.failed or upgrade.phase is Phase.STUCK
        )
        if (elsewhere or said) and target in self.proven.get(key, ()):
            self._unprove(key, target, upgrade.operation)

    def _unprove(self, key: Key, target: Target, operation: str) -> None:
        """It proved healthy, and went back for all that."""
        self.proven[key].remove(target)
        self.rolled_back[(*key, target)] = operation

    def prove(self, key: Key, target: Target) -> None:
        known = self.proven.setdefault(key, [])
        if target in known:
            known.remove(target)
        known.insert(0, target)
        self.proven_s[(*key, target)] = self._simulation.time.now_s
        self._simulation.world.prove(*key)

    def _audited(self, row: Mapping[str, Any]) -> None:
        key = FIRST_NAMES.get(row["environment"], row["environment"]), row["service"]
        if loss := self._simulation.loss:
            loss.audited(row["event"], row["environment"], row["detail"])
        match row["event"]:
            case "recalled":
                self._simulation.register.read_past(row["environment"])
            case "adopted":
                target = Target.parse(row["detail"])
                self.adopted.add((*key, target))
                if self.proven.get(key, [None])[0] != target:  # else another daemon has known it before
                    self.prove(key, target)
                self.deployed.add(key)
            case "quarantine-released":
                if wrong := trust.only_who_may_releases(self._simulation, row):
                    raise Violation(wrong)
                for shut in [shut for shut, by in self.shut.items() if by == row["operation"]]:
                    del self.shut[shut]
            case "environment-removed":
                if wrong := departure.let_go_when_nothing_runs_4(self._simulation, row):
                    raise Violation(wrong)
            case "renamed":
                self._renamed(row["detail"], row["environment"])
            case "bug":
                raise Violation(f"a bug stopped {row['operation']} of {'/'.join(key)}")

    def _renamed(self, old: str, new: str) -> None:
        if wrong := renaming.of_the_record(self._simulation, new, old):
            raise Violation(wrong)
        self.called[FIRST_NAMES[new]] = new
