"""Whose an environment is: what always holds where several daemons want it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.model.lease import share_of
from reconciler.model.target import Workload
from reconciler.model.upgrade import Companion, Phase, Upgrade

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

UNDER_WAY = frozenset({Phase.APPLYING, Phase.VERIFYING, Phase.RESTORING})
TRAILER = "Ugs-Operation"
SEEN_S = 5.0
"""So long ago a repair may have looked at what runs, at most: what it waits for may take its time."""
LENT = "it was in another daemon's hands"


class Taken(NamedTuple):
    """What a revert puts back: an upgrade, or a rollout on several hosts."""

    environment: str
    service: str
    was: str | None
    """The failed version."""
    back: str | None
    companions: tuple[Companion, ...]
    failed: bool
    by: tuple[tuple[Any, Upgrade], ...]
    """Whose daemon found it to fail, and by which upgrade."""


def taken_back(simulation: Simulation, operation: str) -> Taken:
    if simulation.board is not None and simulation.pair:
        return simulation.pair.taken_back(operation)
    upgrade = simulation.facts.upgrades[operation]
    was, back = (work.target.version.text if work else None for work in (upgrade.pinned, upgrade.before))
    by = ((simulation, upgrade),)
    return Taken(
        upgrade.environment, upgrade.service, was, back, upgrade.companions, failed=upgrade.failed, by=by
    )


def needed(simulation: Simulation, environment: str) -> str:
    """Under which name what is needed to act on a machine is held."""
    return share_of(environment, simulation.holder.host) if simulation.board else environment


def is_retried(simulation: Simulation, operation: str) -> bool:
    """Whether, of two daemons, one has asked in Git that it be tried again, and ended before it recorded that."""
    remote, asked = simulation.remote, ("Ugs-Retry", operation)
    return simulation.pair is not None and any(
        asked in made.commit.trailers for made in remote.history(remote.tip)
    )


# after every move of an upgrade: (simulation, as it was, as it is, the audit rows of the same transaction)


def what_others_did_is_read_first(
    simulation: Simulation, before: Upgrade | None, upgrade: Upgrade, rows: list[Mapping[str, Any]]
) -> str:
    """Of an environment that was another's meanwhile, nothing goes on by what was so before."""
    if before is None or before.phase not in UNDER_WAY or any(row["event"] == "recalled" for row in rows):
        return ""
    unread = simulation.register.is_unread(needed(simulation, upgrade.environment), simulation.time.now_s)
    return f"{upgrade.operation} goes on, and what others did was not read" if unread else ""


# before every effect on what runs: (simulation, what, operation, what is to run, environment and service)


def what_another_daemon_has_is_left_alone(
    simulation: Simulation, kind: str, operation: str, work: Workload | None, key: tuple[str, str]
) -> str:
    """What was handed to a thread before it changed hands is excused, and so is what brings back what this daemon has
    applied, or keeps it running, as long as it could not know; but never what puts it in the place of something else,
    which was there already when it was looked at."""
    life, rival, environment = simulation.life, simulation.rival, needed(simulation, key[0])
    if life is None or not rival.has(environment, life.loop.handed_s):
        return ""
    upgrade = simulation.facts.upgrades.get(operation)
    strict = upgrade is not None and upgrade.phase is Phase.APPLYING
    strict |= operation == "repair" and _replaces(simulation, work, key)
    if not strict and not rival.known(environment, life.loop.handed_s):
        return ""
    return f"{kind} by {operation}, and {environment} is another daemon's"


def _replaces(simulation: Simulation, work: Workload | None, key: tuple[str, str]) -> bool:
    """Whether all that runs is something else, and has run for so long that it was seen."""
    here, seen_s = simulation.host.processes.get(key, ()), simulation.time.now_s - SEEN_S
    runs_else = (work is None or one.target != work.target for one in here)
    return bool(here) and all(runs_else) and all(one.since_s < seen_s for one in here)


def was_begun_before(simulation: Simulation, upgrade: Upgrade) -> bool:
    """Whether an effect was handed to a thread before its upgrade was another daemon's, and ended for that: what an
    engine that hangs does in the end, nobody can call back."""
    life, ended_s = simulation.life, simulation.facts.settled_s.get(upgrade.operation, 0.0)
    return upgrade.final and LENT in upgrade.reason and life is not None and life.loop.handed_s < ended_s


def nothing_moves_before_what_others_did_is_read(
    simulation: Simulation, kind: str, operation: str, _work: Workload | None, key: tuple[str, str]
) -> str:
    life = simulation.life
    unread = life is not None and simulation.register.is_unread(
        needed(simulation, key[0]), life.loop.handed_s
    )
    return f"{kind} by {operation}, and what others did was not read" if unread else ""


# after every push of ours: (simulation, the branch before, the branch after)


def who_has_not_the_lease_reverts_nothing(simulation: Simulation, _before: str, after: str) -> str:
    operation = dict(simulation.remote.made[after].commit.trailers).get(TRAILER)
    if operation is None or simulation.life is None:
        return ""
    environment = taken_back(simulation, operation).environment
    if not simulation.rival.has(environment, simulation.life.loop.handed_s):
        return ""
    return f"{operation} is reverted, and {environment} is another daemon's"


def what_failed_is_shut_out_for_all_hosts_first_3_3(simulation: Simulation, _before: str, after: str) -> str:
    operation = dict(simulation.remote.made[after].commit.trailers).get(TRAILER)
    if operation is None or simulation.board is None or simulation.pair is None:
        return ""
    found = simulation.pair.published(taken_back(simulation, operation).environment).shut
    shut = any(one.operation == operation for one in found)
    return "" if shut else f"{operation} is reverted, and may be tried again on every host"
