"""What always holds: section 3 of the design, one function a sentence, each named with its number there.

Each answers what is wrong, or nothing. They look at what the world has seen, and judge by rules of their own:
no gate, verdict or plan of the engine's is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from reconciler.model.target import Target, Workload
from reconciler.model.upgrade import NEXT, Phase, Upgrade
from reconciler.store import SLACK
from reconciler.store.values import time_of
from tests.simulation import (
    asking,
    data_invariants,
    fleet,
    hands,
    promoting,
    proposing,
    removal,
    renaming,
    rollouts,
    trust,
)
from tests.simulation.loss import safe_mode_changes_nothing_that_runs_6, safe_mode_starts_nothing_6
from tests.simulation.opening import closed
from tests.simulation.remote import BLOBS

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

SOAK_S = 0.4
INTENTS = {
    ("apply", Phase.APPLYING): "apply",
    ("apply", Phase.VERIFYING): "again",
    ("restore", Phase.RESTORING): "restore",
    ("restore", Phase.APPLYING): "remove",
}
"""By effect and phase: the step whose intent stands before it."""
BETWEEN_BATCHES = frozenset({"hold", "window", "approval"})
RECENT_S = 1.0
EXACT_S = 1e-4
"""As far as an instant is rounded."""
HEARD_S = 0.02
"""How long ago an answer may have been given that the engine has only just heard."""


# after every move of an upgrade: (simulation, as it was, as it is, the audit rows of the same transaction)


def moves_are_legal_3_8(
    _simulation: Simulation, before: Upgrade | None, upgrade: Upgrade, _rows: list[Mapping[str, Any]]
) -> str:
    phase = before.phase if before else None
    legal = phase is upgrade.phase or phase is None or upgrade.phase in NEXT[phase]
    return "" if legal else f"{upgrade.operation} went from {phase} to {upgrade.phase}"


def each_move_has_one_audit_row_3_10(
    _simulation: Simulation, _before: Upgrade | None, upgrade: Upgrade, rows: list[Mapping[str, Any]]
) -> str:
    events = [row["event"] for row in rows if row["operation"] == upgrade.operation]
    count = sum(events.count(said) for said in (upgrade.phase.value, "taken-back-again", "revert-merged"))
    return "" if count == 1 else f"{upgrade.operation} is {upgrade.phase} with {count} rows in the audit"


def starts_behind_open_gates_alone_3_2(
    simulation: Simulation, before: Upgrade | None, upgrade: Upgrade, _rows: list[Mapping[str, Any]]
) -> str:
    if upgrade.phase is not Phase.APPLYING or (before and before.phase is Phase.APPLYING):
        return ""
    shut = closed(simulation, upgrade)
    if before and upgrade.batch > before.batch:
        shut = [gate for gate in shut if gate in BETWEEN_BATCHES]
    return f"{upgrade.operation} starts, and closed is: {', '.join(shut)}" if shut else ""


def one_attempt_a_release_3_3(
    simulation: Simulation, _before: Upgrade | None, upgrade: Upgrade, _rows: list[Mapping[str, Any]]
) -> str:
    if upgrade.phase is not Phase.APPLYING or upgrade.after is None:
        return ""
    by = simulation.facts.shut.get((upgrade.environment, upgrade.service, _to(upgrade)))
    known = by and simulation.knows(by) and not hands.is_retried(simulation, by)
    return f"{upgrade.operation} tries again what {by} found to fail" if known else ""


def quarantine_stands_first_3_3(
    simulation: Simulation, _before: Upgrade | None, upgrade: Upgrade, _rows: list[Mapping[str, Any]]
) -> str:
    blamed = upgrade.failed or (upgrade.phase is Phase.STUCK and not upgrade.taken_with)
    if not blamed:
        return ""
    return "" if _quarantined(simulation, upgrade.named) else f"{upgrade.operation} failed unquarantined"


def failure_needs_evidence_3_7_3_12(
    simulation: Simulation, before: Upgrade | None, upgrade: Upgrade, _rows: list[Mapping[str, Any]]
) -> str:
    if not upgrade.failed or (before and before.failed) or upgrade.needs_person:
        return ""
    said = upgrade.reason.startswith("rolled back by")
    shown = (upgrade.environment, upgrade.service, _to(upgrade)) in simulation.host.evidence
    shown |= upgrade.operation in simulation.world.failed
    here = simulation.host.processes.get((upgrade.environment, upgrade.service), ())
    gone = all(process.target != _to(upgrade) for process in here)
    return "" if said or shown or gone else f"{upgrade.operation} counts as failed, and nothing showed it"


def success_is_proven_3_12(
    simulation: Simulation, before: Upgrade | None, upgrade: Upgrade, _rows: list[Mapping[str, Any]]
) -> str:
    if before and upgrade.batch > before.batch:
        return _unproven(simulation, upgrade, upgrade.changed_at, "goes on to its next batch")
    if upgrade.phase is not Phase.SUCCEEDED or upgrade.after is None:
        return ""
    steps = simulation.disk.all(
        "SELECT started_at FROM steps WHERE operation = ? AND step = 'settle'", upgrade.operation
    )
    judged_at = time_of(steps[0]["started_at"]) if steps else upgrade.changed_at
    return _unproven(simulation, upgrade, judged_at, "succeeded")


def _unproven(simulation: Simulation, upgrade: Upgrade, judged_at: datetime, what: str) -> str:
    """Whether what counted as healthy at that instant had not been so for long enough."""
    wrong = [
        _unproven_at(simulation, upgrade, judged_s, what)
        for judged_s in simulation.wall.moments_of(judged_at)
        if judged_s <= simulation.time.now_s + EXACT_S
    ]
    return "" if "" in wrong else wrong[0]


def _unproven_at(simulation: Simulation, upgrade: Upgrade, judged_s: float, what: str) -> str:
    host, of = simulation.host, (upgrade.environment, upgrade.service, _to(upgrade))
    answers = host.heard.get((simulation, *of), []) if host.asker else host.answers.get(of, [])
    heard = [(at_s, verdict) for at_s, verdict in answers if at_s <= judged_s]
    run = list(takewhile(lambda answer: answer[1] == "healthy", reversed(heard)))
    # Who is stopped between the last answer and the verdict hears of no other: what was proven is so.
    still_s = sum(to - since for since, to in simulation.facts.stood_still if run and since >= run[0][0])
    if run and judged_s - run[0][0] <= RECENT_S + still_s and judged_s - run[-1][0] >= SOAK_S - HEARD_S:
        return ""
    return f"{upgrade.operation} {what}, and its last answers were {heard[-3:]}"


def who_is_stuck_calls_a_person_inv_2(
    simulation: Simulation, _before: Upgrade | None, upgrade: Upgrade, _rows: list[Mapping[str, Any]]
) -> str:
    if upgrade.phase is not Phase.STUCK:
        return ""
    notices = simulation.disk.all(
        "SELECT payload FROM outbox WHERE channel = ? AND key = ?", SLACK, upgrade.operation
    )
    called = any('"severity":"person"' in row["payload"] for row in notices)
    return "" if called else f"{upgrade.operation} is stuck, and nobody was called"


def reverted_is_said_when_it_is_there_3_5(
    simulation: Simulation, _before: Upgrade | None, upgrade: Upgrade, _rows: list[Mapping[str, Any]]
) -> str:
    if upgrade.phase is not Phase.REVERTED or simulation.facts.forced:
        return ""
    there = upgrade.revert_commit and simulation.remote.reaches(simulation.remote.tip, upgrade.revert_commit)
    return (
        ""
        if there
        else f"{upgrade.operation} says reverted, and the branch does not have {upgrade.revert_commit}"
    )


def left_alone_is_said_when_it_is_so_3_6(
    simulation: Simulation, _before: Upgrade | None, upgrade: Upgrade, _rows: list[Mapping[str, Any]]
) -> str:
    """A revert may put back those alone that go back with it, where a person has moved its own pin meanwhile."""
    commit = simulation.facts.reverts.get(upgrade.operation)
    if (
        upgrade.phase is not Phase.RESTORED or commit is None or simulation.pair
    ):  # the other daemon may have done it
        return ""
    if not simulation.remote.reaches(simulation.remote.tip, commit):
        return ""  # somebody has taken it off the branch since, by force
    made, service = simulation.remote.made, upgrade.service
    was, now = (
        fleet.pins_of(made[sha].tree, upgrade.environment).get(service)
        for sha in (made[commit].commit.parents[0], commit)
    )
    said = f"{upgrade.operation} says that Git was left alone, and it was reverted there"
    return said if was != now else ""


AFTER_MOVE = (
    hands.what_others_did_is_read_first,
    safe_mode_starts_nothing_6,
    moves_are_legal_3_8,
    each_move_has_one_audit_row_3_10,
    starts_behind_open_gates_alone_3_2,
    one_attempt_a_release_3_3,
    quarantine_stands_first_3_3,
    failure_needs_evidence_3_7_3_12,
    success_is_proven_3_12,
    who_is_stuck_calls_a_person_inv_2,
    reverted_is_said_when_it_is_there_3_5,
    left_alone_is_said_when_it_is_so_3_6,
    data_invariants.success_has_migrated_3_9,
    *removal.AFTER_MOVE,
    renaming.a_name_alone_moves_nothing_4,
    trust.nothing_untrusted_ever_runs,
    *rollouts.AFTER_MOVE,
)


# before every effect on what runs: (simulation, what, operation, what is to run, environment and service)


def intent_stands_before_effect_3_8(
    simulation: Simulation, kind: str, operation: str, work: Workload | None, _key: tuple[str, str]
) -> str:
    if operation == "repair":
        return ""
    upgrade = simulation.facts.upgrades.get(operation)
    if upgrade and hands.was_begun_before(simulation, upgrade):
        return ""
    step = INTENTS.get((kind, upgrade.phase)) if upgrade else None
    if step == "apply" and work and upgrade and upgrade.batch:
        step = f"apply:{work.instances}"
    if step is None:
        return f"{kind} by {operation}, which is {upgrade.phase if upgrade else 'unknown'}"
    steps = (step, "stop") if step == "restore" else (step, step)
    sql = "SELECT 1 FROM steps WHERE operation = ? AND step IN (?, ?) AND ended_at IS NULL"
    return "" if simulation.disk.all(sql, operation, *steps) else f"{kind} by {operation} before its intent"


def applied_once_inv_1(
    simulation: Simulation, kind: str, operation: str, work: Workload | None, key: tuple[str, str]
) -> str:
    """What was lost together with what kept it, as in a reboot, may be started again."""
    here = {
        process.index
        for process in simulation.host.processes.get(key, ())
        if work and process.target == work.target
    }
    whole = work is not None and here.issuperset(range(work.instances))
    again = kind == "apply" and operation in simulation.facts.applied and whole
    return f"{operation} is applied again" if again else ""


def git_asks_for_what_starts_3_1(
    simulation: Simulation, kind: str, operation: str, work: Workload | None, key: tuple[str, str]
) -> str:
    if kind != "apply" or work is None:
        return ""
    if operation == "repair":
        rolled_back = simulation.facts.rolled_back.get((*key, work.target))
        if rolled_back and not simulation.knows(rolled_back):
            return ""  # before Git was told of it, what did know was lost
        for good in _proven(simulation, key):
            if work.target == good:
                return ""
            by = simulation.facts.proven_by.get((*key, good), "")
            failed = (*key, good) in simulation.facts.shut  # since then, by another upgrade
            if simulation.knows(by) and not failed:
                return f"a repair starts {work.target}, and last-good is {good}"
        return f"a repair starts {work.target}, which never proved healthy"
    upgrade = simulation.facts.upgrades[operation]
    pins = fleet.pins_of(simulation.remote.made[upgrade.revision].tree, key[0])
    wanted = upgrade.pinned.target.version.text if upgrade.pinned else None
    return (
        "" if pins.get(key[1]) == wanted else f"{operation} starts what {upgrade.revision[:12]} does not pin"
    )


def _proven(simulation: Simulation, key: tuple[str, str]) -> list[Target]:
    """What proved healthy, the last first, as far as this daemon can know: also what another has removed meanwhile."""
    found = simulation.facts.proven.get(key, [])
    removal, before = simulation.facts.removed.get(key, ("", []))
    return found if not removal or simulation.knows(removal) else [*found, *before]


def quarantine_stands_before_restore_3_3(
    simulation: Simulation, kind: str, operation: str, work: Workload | None, key: tuple[str, str]
) -> str:
    if kind != "restore":
        return ""
    upgrade = simulation.facts.upgrades[operation]
    if work is not None and work.target not in simulation.facts.proven.get(key, ()):
        return f"{operation} brings back {work.target}, which never proved healthy"
    excused = upgrade.after is None or upgrade.aborted or upgrade.parked_until is not None
    operation = upgrade.taken_with or upgrade.named
    return "" if excused or _quarantined(simulation, operation) else f"{operation} restores before quarantine"


def no_batch_is_larger_than_it_may_be_4(
    simulation: Simulation, kind: str, operation: str, work: Workload | None, _key: tuple[str, str]
) -> str:
    upgrade = simulation.facts.upgrades.get(operation)
    if kind != "apply" or work is None or upgrade is None or upgrade.before is None:
        return ""
    what, whole = (upgrade.service, work.target.version.text), simulation.rules.instances
    most = upgrade.batch + 1 if what in fleet.ONE_BY_ONE else whole
    if what in fleet.ONE_FIRST:
        most = whole if upgrade.batch else 1
    return "" if work.instances <= most else f"{operation} starts {work.instances}, where {most} may be new"


BEFORE_EFFECT = (
    renaming.what_runs_is_known_by_its_name_4,
    hands.nothing_moves_before_what_others_did_is_read,
    safe_mode_changes_nothing_that_runs_6,
    no_batch_is_larger_than_it_may_be_4,
    hands.what_another_daemon_has_is_left_alone,
    intent_stands_before_effect_3_8,
    applied_once_inv_1,
    git_asks_for_what_starts_3_1,
    quarantine_stands_before_restore_3_3,
    data_invariants.no_version_starts_on_data_that_are_not_its_own_3_9,
    *removal.BEFORE_EFFECT,
    proposing.a_merged_revert_is_no_news,
)


# after every push of ours: (simulation, the branch before, the branch after)


def only_fast_forward_3_5(simulation: Simulation, before: str, after: str) -> str:
    return "" if simulation.remote.reaches(after, before) else f"{after[:12]} drops {before[:12]}"


def one_revert_an_operation_3_4(simulation: Simulation, _before: str, after: str) -> str:
    operation = _trailer(simulation, after, "Ugs-Operation")
    if operation is None:
        return ""
    first = simulation.facts.reverts.setdefault(operation, after)
    return "" if first == after else f"{operation} is reverted twice: {first[:12]} and {after[:12]}"


def a_revert_moves_what_failed_3_6(simulation: Simulation, before: str, after: str) -> str:
    """The failed pin, and those that go back with it: each from what failed to what was there before, and no more."""
    operation = _trailer(simulation, after, "Ugs-Operation")
    if operation is None:
        return ""
    taken, remote = hands.taken_back(simulation, operation), simulation.remote
    allowed = {taken.service: (taken.was, taken.back)}
    allowed |= {
        one.service: (one.failed.version.text, one.restored.version.text if one.restored else None)
        for one in taken.companions
    }
    changed = remote.made[after].changed
    if any(fleet.BROKEN in BLOBS[remote.made[before].tree[path]] for path in changed):
        return (
            "" if len(changed) <= len(allowed) else f"{after[:12]} reverts {operation} in {sorted(changed)}"
        )
    was, now = (fleet.pins_of(remote.made[sha].tree, taken.environment) for sha in (before, after))
    moved = {
        service: (was.get(service), now.get(service))
        for service in was.keys() | now.keys()
        if was.get(service) != now.get(service)
    }
    if moved and moved.items() <= allowed.items() and len(changed) <= len(moved):
        return ""
    return f"{after[:12]} reverts {operation}, and moves {moved}, where {allowed} goes back"


def a_revert_follows_a_verdict_3_7(simulation: Simulation, _before: str, after: str) -> str:
    operation = _trailer(simulation, after, "Ugs-Operation")
    if operation is None:
        return ""
    if not simulation.rules.revert:
        return f"{operation} is reverted, and policy.revert is off"
    return (
        ""
        if hands.taken_back(simulation, operation).failed
        else f"{operation} is reverted and has not failed"
    )


def restoring_comes_before_reverting_4(simulation: Simulation, _before: str, after: str) -> str:
    operation = _trailer(simulation, after, "Ugs-Operation")
    if operation is None:
        return ""
    for peer, upgrade in hands.taken_back(simulation, operation).by:
        if upgrade.operation not in peer.facts.touched - peer.facts.restored:
            continue
        if upgrade.needs_person and data_invariants.of_whose_data_is_left(simulation, upgrade):
            continue  # no version may be started on such data
        return f"{upgrade.operation} is reverted, and nothing was restored"
    return ""


AFTER_PUSH = (
    hands.who_has_not_the_lease_reverts_nothing,
    hands.what_failed_is_shut_out_for_all_hosts_first_3_3,
    only_fast_forward_3_5,
    one_revert_an_operation_3_4,
    a_revert_moves_what_failed_3_6,
    a_revert_follows_a_verdict_3_7,
    restoring_comes_before_reverting_4,
    proposing.where_it_is_to_be_proposed_nothing_is_pushed,
    *promoting.AFTER_PUSH,
    asking.what_people_closed_is_not_committed,
)

# before a commit is put in force: (simulation, what was in force, what is to be)


def a_rewritten_branch_waits_for_a_person_3_5(simulation: Simulation, before: str | None, after: str) -> str:
    if before is None or simulation.facts.rewrite_accepted or simulation.remote.reaches(after, before):
        return ""
    return f"{after[:12]} is put in force, and does not contain {before[:12]}, which was"


BEFORE_ACCEPT = (a_rewritten_branch_waits_for_a_person_3_5, trust.only_what_is_trusted_comes_into_force)


def _trailer(simulation: Simulation, sha: str, key: str) -> str | None:
    return dict(simulation.remote.made[sha].commit.trailers).get(key)


def _quarantined(simulation: Simulation, operation: str) -> bool:
    return bool(simulation.disk.all("SELECT 1 FROM rollback_records WHERE operation = ?", operation))


def _to(upgrade: Upgrade) -> Target:
    assert upgrade.after is not None
    return upgrade.after.target
