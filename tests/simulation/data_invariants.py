"""What always holds of the services' data: 3.9 of the design. Written as those in `invariants.py` are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reconciler.model.git_notes import adoption_id
from reconciler.model.target import Workload
from reconciler.model.upgrade import Phase, Upgrade
from tests.simulation import fleet
from tests.simulation.data import Backup, Command
from tests.simulation.relay import told_s

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

RECORDED = {"up": "begun", "down": "undoing"}
"""By command: what is on record of the migration before it runs."""
HEARD_S = 1.0
"""So long a backup may take to be brought back that was just young enough."""


# before a command on a service's data: (simulation, the command)


def intent_stands_before_a_command_3_8(simulation: Simulation, command: Command) -> str:
    sql = "SELECT 1 FROM steps WHERE operation = ? AND step = ? AND ended_at IS NULL"
    if not simulation.disk.all(sql, command.operation, command.step):
        return f"{command.verb} by {command.operation} before its intent"
    if command.verb not in RECORDED:
        return ""
    sql = "SELECT state FROM migrations WHERE environment = ? AND service = ? AND id = ?"
    states = [
        row["state"] for row in simulation.disk.all(sql, command.environment, command.key[1], command.what)
    ]
    recorded = states == [RECORDED[command.verb]]
    return (
        "" if recorded else f"{command.verb} {command.what} by {command.operation}, and on record is {states}"
    )


def no_migration_before_its_backup_is_verified_3_9(simulation: Simulation, command: Command) -> str:
    """Where any version ever proved healthy on the data, there is something to save: as it was before this upgrade."""
    world, key = simulation.world, command.key
    if command.verb != "up" or key not in world.proven:
        return ""
    applied = world.data[key].applied
    saved = [one for one in world.backups.values() if one.operation == command.operation and one.verified]
    whole = [one for one in saved if one.good and one.data.applied == applied[: len(one.data.applied)]]
    rotten = "backup-rots" in simulation.weather.struck
    if whole or (saved and rotten) or _is_untold(simulation, command):
        return ""
    return f"{command.operation} applies {command.what}, and no backup of its own was verified"


def _is_untold(simulation: Simulation, command: Command) -> bool:
    """Whether a service was adopted by somebody else, or before the database was lost, was never upgraded, and does not
    run: no note tells of it, where its own did not arrive."""
    facts = [peer.facts for peer in simulation.peers]
    adopted = (one for known in facts for one in known.adopted if one[:2] == command.key)
    if any(told_s(simulation, adoption_id(*one)) < math.inf for one in adopted):
        return False
    upgraded = any(
        (one.environment, one.service) == command.key and one.operation in known.touched - {command.operation}
        for known in facts
        for one in known.upgrades.values()
    )
    strange = simulation.pair is not None or simulation.loss is not None
    to = simulation.facts.upgrades[command.operation].to
    runs_else = any(one.target != to for one in simulation.host.processes.get(command.key, ()))
    return strange and not upgraded and not runs_else


def no_migration_is_applied_twice_3_9(simulation: Simulation, command: Command) -> str:
    if _is_untold(simulation, command):
        return ""
    applied = simulation.world.data[command.key].applied if command.key in simulation.world.data else ()
    again = command.verb == "up" and command.what in applied
    return f"{command.operation} applies {command.what} again" if again else ""


def what_failed_is_stopped_before_its_data_go_back_4(simulation: Simulation, command: Command) -> str:
    if command.verb not in ("down", "restore"):
        return ""
    upgrade = simulation.facts.upgrades[command.operation]
    if upgrade.before and upgrade.before.target == upgrade.to:
        return ""
    here = simulation.host.processes.get(command.key, ())
    runs = any(process.target == upgrade.to and not process.dead for process in here)
    return f"{command.verb} {command.what} by {command.operation}, whose version runs still" if runs else ""


def the_last_applied_is_undone_first_4(simulation: Simulation, command: Command) -> str:
    if command.verb != "down":
        return ""
    applied = simulation.world.data[command.key].applied
    if command.what not in applied or applied[-1] == command.what:
        return ""
    return f"{command.operation} undoes {command.what} of {applied}"


def data_come_back_only_as_allowed_3_9(simulation: Simulation, command: Command) -> str:
    """By the policy, soon enough, out of this upgrade's own verified backup, and after what is there was saved."""
    world = simulation.world
    if command.verb != "restore" or command.operation in world.coming_back:
        return ""
    world.coming_back.add(command.operation)
    backup, now_s = world.backups.get(command.what), simulation.time.now_s
    if not simulation.rules.restores:
        return f"{command.operation} brings data back, and policy.restore_data does not say so"
    if backup is None or not (backup.good and backup.verified) or backup.operation != command.operation:
        return f"{command.operation} brings back {backup}, which is no good backup of its own"
    allowed_s = fleet.RESTORES_WITHIN_S + HEARD_S
    if now_s - backup.at_s > allowed_s and not simulation.wall.may_show(now_s - backup.at_s, allowed_s):
        return f"{command.operation} brings data back that are {now_s - backup.at_s:.0f} s old"
    rescues = [one for one in world.backups.values() if one.operation == command.operation]
    if any(one.step == "rescue" and one.data == world.data[command.key] for one in rescues):
        return ""
    return f"{command.operation} brings data back, and what was there was not saved"


def what_another_daemon_has_is_left_alone_two_daemons(simulation: Simulation, command: Command) -> str:
    """The data are the environment's: who has not its lease leaves them as they are."""
    life = simulation.life
    if life is None or not simulation.rival.has(command.environment, life.loop.handed_s):
        return ""
    return f"{command.verb} by {command.operation}, and {command.environment} is another daemon's"


BEFORE_COMMAND = (
    what_another_daemon_has_is_left_alone_two_daemons,
    intent_stands_before_a_command_3_8,
    no_migration_before_its_backup_is_verified_3_9,
    no_migration_is_applied_twice_3_9,
    what_failed_is_stopped_before_its_data_go_back_4,
    the_last_applied_is_undone_first_4,
    data_come_back_only_as_allowed_3_9,
)


# before a backup is removed: (simulation, where it is, what it is)


def the_newest_good_backup_stays_3_9(simulation: Simulation, path: str, backup: Backup) -> str:
    if not backup.verified:
        return ""
    others = [
        one
        for where, one in simulation.world.backups.items()
        if where != path and one.key == backup.key and one.verified and one.at_s >= backup.at_s
    ]
    return "" if others else f"{path} is removed, and no newer backup of {backup.key[1]} was verified"


BEFORE_DROP = (the_newest_good_backup_stays_3_9,)


# before every effect on what runs: (simulation, what, operation, what is to run, environment and service)


def no_version_starts_on_data_that_are_not_its_own_3_9(
    simulation: Simulation, kind: str, operation: str, work: Workload | None, key: tuple[str, str]
) -> str:
    """A new one where all that comes before it is applied; an old one where all that came after it is undone, save
    what the release vouched for that brought it."""
    if work is None or not simulation.rules.data or work.release.backup is None:
        return ""
    world = simulation.world
    data, at = world.of(*key), world.key(*key)
    if data.broken:
        return f"{kind} by {operation} of {work.target.version} on broken data"
    upgrade = simulation.facts.upgrades.get(operation)
    if kind == "apply" and upgrade:
        lacking = {one.id for one in work.release.migrations if one.phase == "before"} - set(data.applied)
        return f"{operation} starts {work.target.version} without {sorted(lacking)}" if lacking else ""
    proven, vouched = set(world.proven.get(at, ())), world.vouched.setdefault(at, set())
    if upgrade and upgrade.after and upgrade.after.release.upgrade.reversible:
        vouched.update(one.id for one in upgrade.after.release.migrations)
    strange = (set(data.applied) ^ proven) - vouched
    strange -= _borne(simulation, key)
    if not strange:
        return ""
    return f"{kind} by {operation} of {work.target.version}, and of {sorted(strange)} its data are not as it left them"


def _borne(simulation: Simulation, key: tuple[str, str]) -> set[str]:
    """What was applied while the old version ran, for a new one that was never started: it has to bear that."""
    facts = simulation.facts
    return {
        one.id
        for upgrade in facts.upgrades.values()
        if (upgrade.environment, upgrade.service) == key and upgrade.operation not in facts.touched
        for one in (upgrade.after.release.migrations if upgrade.after else ())
        if one.phase == "before"
    }


# after every move of an upgrade: (simulation, as it was, as it is, the audit rows of the same transaction)


def success_has_migrated_3_9(
    simulation: Simulation, _before: Upgrade | None, upgrade: Upgrade, _rows: list[Mapping[str, Any]]
) -> str:
    if upgrade.phase is not Phase.SUCCEEDED or upgrade.after is None or not upgrade.after.release.migrations:
        return ""
    applied = simulation.world.of(upgrade.environment, upgrade.service).applied
    lacking = {one.id for one in upgrade.after.release.migrations} - set(applied)
    return f"{upgrade.operation} succeeded without {sorted(lacking)}" if lacking else ""


def of_whose_data_is_left(simulation: Simulation, upgrade: Upgrade) -> bool:
    """Whether there is something in the data that came after a version last proved healthy on them."""
    at, world = simulation.world.key(upgrade.environment, upgrade.service), simulation.world
    data = world.of(upgrade.environment, upgrade.service)
    return data.broken or data.applied != world.proven.get(at, ())


def at_the_end(simulation: Simulation) -> str:
    """What is on record of every migration is so."""
    for row in simulation.disk.all("SELECT environment, service, id, state FROM migrations"):
        is_applied = row["id"] in simulation.world.of(row["environment"], row["service"]).applied
        if simulation.world.of(row["environment"], row["service"]).broken:
            continue
        if row["state"] not in ("begun", "undoing", "unknown") and (row["state"] == "done") != is_applied:
            where = f"{row['environment']}/{row['service']}"
            return f"{where}: {row['id']} is {row['state']} on record, and the data say otherwise"
    return ""
