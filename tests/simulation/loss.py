"""A database that is lost: gone, damaged, an older copy put back, or wiped with all that stood beside it.

What must come of it is safe mode: what runs goes on, Git is asked, and nothing is started but what a commit moves
that is newer than what was found, until a person says so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Literal

from reconciler.engine.recovery import accept
from reconciler.model.codec import decode
from reconciler.model.target import Target, Workload
from reconciler.model.upgrade import Phase, Upgrade
from reconciler.store.rows import Head
from tests.simulation.database import template
from tests.simulation.remote import Refs, Remote

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

KEPT_S, LOST_S, ACCEPTED_S = (2.0, 20.0), (8.0, 38.0), (0.5, 20.0)
TOLD = '"succeeded"', '"quarantined"', '"stuck"'
"""What a note says of an upgrade whose end counts for others: that it is stuck is enough to leave its target alone."""
OF_THE_DISK = "disk-full", "database-locked", "disk-broken", "killed-at-commit"
"""Faults that such seeds have not: they would strike while the database is opened."""


class Witness:
    """What reconciler.store.Witness is, in memory: how far the database had come."""

    def __init__(self) -> None:
        self.head: Head | None = None

    def read(self) -> Head | None:
        return self.head

    def write(self, head: Head) -> None:
        self.head = head

    def close(self) -> None:
        """Nothing is held open."""


class Loss:
    """What happens to the database of one seed, and what the world knows of it."""

    def __init__(self, simulation: Simulation, random: Random) -> None:
        self._simulation, self._random = simulation, random
        self.kind: Literal["gone", "damaged", "older", "wiped"] = random.choice(
            ("gone", "damaged", "older", "older", "wiped")
        )
        self.witness = Witness()
        self.was_there, self.damage = True, ""
        """What the next daemon finds when it opens the database."""
        self.struck_s: float | None = None
        self.base: dict[str, str | None] = {}
        """By environment that is in safe mode: at which tip Git was asked; None before it was."""
        self._copy: sqlite3.Connection | None = None
        simulation.weather.spare(*OF_THE_DISK)

    def moments(self) -> list[tuple[float, Callable[[], None]]]:
        random = self._random
        lost_s = random.uniform(*LOST_S)
        moments: list[tuple[float, Callable[[], None]]] = [(lost_s, self._strike)]
        moments.append((min(lost_s - 1.0, random.uniform(*KEPT_S)), self._keep))
        if random.random() < 0.7:
            moments += [(lost_s + random.uniform(*ACCEPTED_S), self._accept) for _ in range(2)]
        return moments

    def _keep(self) -> None:
        """A copy, such as `ugs backup create` makes."""
        self._copy = sqlite3.connect(":memory:", isolation_level=None)
        if self._simulation.disk.raw.in_transaction:
            self._simulation.kill()
            self._simulation.disk.raw.execute("ROLLBACK")
        self._simulation.disk.raw.backup(self._copy)

    def _strike(self) -> None:
        simulation = self._simulation
        simulation.kill()
        simulation.note(f"the database is {self.kind}")
        raw = sqlite3.connect(":memory:", isolation_level=None)
        source = self._copy if self.kind == "older" and self._copy else template()
        source.backup(raw)
        raw.row_factory = sqlite3.Row
        simulation.disk.raw = raw
        self.was_there = self.kind in ("damaged", "older")
        self.damage = "it is not a database" if self.kind == "damaged" else ""
        if self.kind == "wiped":
            self.witness.head, simulation.refs = None, Refs()
        self.struck_s = simulation.time.now_s
        if self._noticeable():
            self.base = dict.fromkeys(simulation.rules.environments)
        self._forget()

    def _noticeable(self) -> bool:
        """Whether anything is left that tells of a newer database."""
        newest = self.witness.head
        if self.kind == "wiped":
            return bool(self._simulation.remote.heads)
        sql = "SELECT 1 FROM maintenance_logs WHERE id = ? AND hash = ?"
        return newest is not None and not self._simulation.disk.all(sql, newest.row, newest.hash)

    def _forget(self) -> None:
        """What the database alone knew is known no longer."""
        facts, disk = self._simulation.facts, self._simulation.disk
        rows = disk.all("SELECT value FROM upgrades")
        facts.upgrades = {one.operation: one for row in rows if (one := decode(row["value"], Upgrade))}
        facts.applied.clear()
        facts.touched.clear()
        kept = {row["operation"] for row in disk.all("SELECT operation FROM rollback_records")}
        for shut in [shut for shut, by in facts.shut.items() if by not in kept and not self.told(by)]:
            del facts.shut[shut]

    def _accept(self) -> None:
        """`ugs recover --accept`."""
        simulation = self._simulation
        simulation.say(
            lambda life: accept(life.core, life.fleet.passes, None, actor="ada"), "recover --accept", ""
        )

    # what the world knows

    def told(self, operation: str) -> bool:
        return told(self._simulation.remote, self._simulation.facts.reverts, operation)

    def audited(self, event: str, environment: str, detail: str) -> None:
        """An audit row of the daemon's."""
        if event == "recalled" and self.base.get(environment, "") is None:
            self.base[environment] = detail.rpartition(" ")[2]
        elif event == "safe-mode-accepted":
            self.base.pop(environment, None)

    def lasts(self, environment: str) -> bool:
        return environment in self.base

    def forbids(self, upgrade: Upgrade) -> str:
        """Why this may not run by a commit that is older than safe mode; empty when it may."""
        if upgrade.environment not in self.base:
            return ""
        base = self.base[upgrade.environment]
        if base is None:
            return f"{upgrade.operation} goes on, and Git was not asked what is lost"
        older = self._simulation.remote.reaches(base, upgrade.revision)
        return f"{upgrade.operation} goes on in safe mode, by {upgrade.revision[:12]}" if older else ""

    def seen_well(self, environment: str, service: str, target: Target) -> bool:
        """Whether anybody has seen it well since the loss."""
        assert self.struck_s is not None
        answers = self._simulation.host.answers.get((environment, service, target), ())
        return any(at_s >= self.struck_s and verdict == "healthy" for at_s, verdict in answers)


def reverted(remote: Remote, reverts: dict[str, str], operation: str) -> bool:
    """Whether the remote tells by a revert that an upgrade failed."""
    revert = reverts.get(operation)
    return revert is not None and remote.reaches(remote.tip, revert)


def told(remote: Remote, reverts: dict[str, str], operation: str) -> bool:
    """Whether the remote tells how an upgrade ended: in a note, or by a revert."""
    if reverted(remote, reverts, operation):
        return True
    noted = (
        revision
        for (revision, one), line in remote.notes.items()
        if one == operation and any(said in line for said in TOLD)
    )
    return any(remote.reaches(remote.tip, revision) for revision in noted)


# invariants


def safe_mode_starts_nothing_6(
    simulation: Simulation, before: Upgrade | None, upgrade: Upgrade, _rows: object
) -> str:
    starts = upgrade.phase is Phase.APPLYING and not (before and before.phase is Phase.APPLYING)
    return simulation.loss.forbids(upgrade) if starts and simulation.loss else ""


def safe_mode_changes_nothing_that_runs_6(
    simulation: Simulation, kind: str, operation: str, work: Workload | None, key: tuple[str, str]
) -> str:
    """What was being taken back is, and what was seen well since is started again."""
    loss = simulation.loss
    if loss is None or not loss.lasts(key[0]):
        return ""
    if loss.base[key[0]] is None:
        return f"{kind} by {operation} before Git was asked what is lost"
    upgrade = simulation.facts.upgrades.get(operation)
    if operation == "repair":
        well = work is not None and loss.seen_well(*key, work.target)
        return "" if well else f"{key[1]} is started again in safe mode, and nobody has seen it well since"
    if upgrade is None or (kind == "restore" and upgrade.failed and loss.told(operation)):
        return ""
    return loss.forbids(upgrade)
