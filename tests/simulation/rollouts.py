"""What hosts tell one another of rollouts, and what always holds of it: the page on hosts, section 6 of the design."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reconciler.model.hosts import Report, Rollout, Rollouts, State
from reconciler.model.upgrade import Phase, Upgrade

if TYPE_CHECKING:
    from tests.simulation.hosts import Hosts
    from tests.simulation.second import Peer
    from tests.simulation.simulation import Simulation

Key = tuple[str, str]
"""(environment, service)."""
AFTER: dict[State, frozenset[State]] = {
    "running": frozenset({"running", "failing", "withdrawn", "succeeded"}),
    "failing": frozenset({"reverted", "left"}),
    "succeeded": frozenset({"failing"}),
    "reverted": frozenset(),
    "left": frozenset(),
    "withdrawn": frozenset(),
}
"""What may become of one rollout."""
NOTED: dict[State, str] = {
    "running": "applying",
    "failing": "restoring",
    "reverted": "reverted",
    "left": "restored",
    "withdrawn": "cancelled",
    "succeeded": "succeeded",
}
"""How the deployed commit tells of each."""
EXACT_S = 1e-3
"""As far as an instant is rounded."""


# what is published of all: (hosts, who, environment and service, all that was published before, and after)


def who_has_not_the_lease_publishes_nothing(
    _hosts: Hosts, peer: Peer, key: Key, _before: Rollouts, after: Rollouts
) -> str:
    if not peer.rival.has(key[0], peer.life.loop.handed_s):
        return ""
    return f"{after.rollouts[key[1]].operation} is published, and {key[0]} is another daemon's"


def each_move_of_a_rollout_is_legal(
    hosts: Hosts, _peer: Peer, key: Key, before: Rollouts, after: Rollouts
) -> str:
    was, now = before.rollouts.get(key[1]), after.rollouts[key[1]]
    if was and was.operation == now.operation:
        return (
            "" if now.state in AFTER[was.state] else f"{now.operation} went from {was.state} to {now.state}"
        )
    if was and was.state == "failing":
        return f"{now.operation} takes the place of {was.operation}, which is not settled"
    return "" if now.state == "running" else f"{now.operation} begins as {now.state}"


def what_is_shut_out_is_not_begun_again_3_3(
    hosts: Hosts, peer: Peer, key: Key, before: Rollouts, after: Rollouts
) -> str:
    was, now = before.rollouts.get(key[1]), after.rollouts[key[1]]
    if was and was.operation == now.operation:
        return ""
    for shut in before.shut:
        if (shut.service, shut.target) == (key[1], now.to) and not _released(peer, shut.operation):
            return f"{now.operation} begins what {shut.operation} found to fail"
    return ""


def _released(peer: Peer, operation: str) -> bool:
    """Whether a person has, by a commit or at the daemon that begins it again."""
    remote, asked = peer.remote, ("Ugs-Retry", operation)
    if any(asked in made.commit.trailers for made in remote.history(remote.tip)):
        return True
    rows = peer.disk.all(
        "SELECT 1 FROM rollback_records WHERE operation = ? AND released_at IS NOT NULL", operation
    )
    return bool(rows)


def it_is_taken_back_where_so_many_have_failed(
    hosts: Hosts, _peer: Peer, key: Key, before: Rollouts, after: Rollouts
) -> str:
    was, now = before.rollouts.get(key[1]), after.rollouts[key[1]]
    if now.state != "failing" or (was and was.state == "failing"):
        return ""
    if not any(one.operation == now.operation for one in after.shut):
        return f"{now.operation} is taken back, and not shut out (3.3)"
    failed = [upgrade for _, upgrade in hosts.failed(now.operation)]
    said = any(upgrade.reason.startswith("rolled back by") for upgrade in failed)
    enough = len(failed) >= hosts.first.rules.failures and was is not None and was.state == "running"
    return "" if said or enough else f"{now.operation} is taken back, and failed on {len(failed)} hosts"


def it_has_succeeded_where_every_host_says_so(
    hosts: Hosts, _peer: Peer, key: Key, _before: Rollouts, after: Rollouts
) -> str:
    now = after.rollouts[key[1]]
    if now.state != "succeeded":
        return ""
    lacking = [
        peer.holder.host
        for peer in hosts.peers
        if peer.holder.host in hosts.first.rules.hosts_of(key[0])
        and (*key, now.to) not in peer.facts.proven_s
    ]
    return f"{now.operation} has succeeded, and was never proven on {', '.join(lacking)}" if lacking else ""


ON_PUBLISH = (
    who_has_not_the_lease_publishes_nothing,
    each_move_of_a_rollout_is_legal,
    what_is_shut_out_is_not_begun_again_3_3,
    it_is_taken_back_where_so_many_have_failed,
    it_has_succeeded_where_every_host_says_so,
)


# what one host says of itself: (hosts, who, environment and service, what it says)


def what_a_host_says_is_so(hosts: Hosts, peer: Peer, key: Key, report: Report) -> str:
    rollout = hosts.begun[report.operation]
    own = [upgrade for one, upgrade in hosts.failed(report.operation) if one is peer]
    match report.outcome:
        case "succeeded":
            good = (*key, rollout.to) in peer.facts.proven_s
            return (
                "" if good else f"{report.operation} succeeded on {peer.holder.host}, and nothing proved it"
            )
        case "failed":
            if not own:
                return f"{report.operation} failed on {peer.holder.host}, and has not"
            late = [one for one in own if one.operation in peer.facts.touched - peer.facts.restored]
            return f"{late[0].operation} is reported, and nothing was restored" if late else ""
    return ""


ON_REPORT = (what_a_host_says_is_so,)


# after every move of an upgrade: (simulation, as it was, as it is, the audit rows of the same transaction)


def a_host_moves_when_its_turn_is(
    simulation: Simulation, before: Upgrade | None, upgrade: Upgrade, _rows: list[Mapping[str, Any]]
) -> str:
    """Moving a pin back is paced by nothing."""
    begins = upgrade.phase is Phase.APPLYING and not (before and before.phase is Phase.APPLYING)
    if simulation.board is None or upgrade.after is None or not begins or upgrade.batch:
        return ""
    if upgrade.change_class == "rollback":
        return ""
    pair: Any = simulation.pair
    rollout = pair.begun.get(upgrade.rollout)
    published = pair.published(upgrade.environment).rollouts.get(upgrade.service)
    known = simulation.board.known(upgrade.environment).rollouts.get(upgrade.service)
    goal = upgrade.pinned.target if upgrade.pinned else None
    if any(one and one.operation != upgrade.rollout and one.from_ == goal for one in (published, known)):
        return ""  # it is what ran on every host
    if rollout is None:
        return f"{upgrade.operation} starts, and its rollout has not begun"
    if known and known.operation == upgrade.rollout and known.state not in ("running", "succeeded"):
        return f"{upgrade.operation} starts, and its rollout is known to be {known.state}"
    if published and published.operation == upgrade.rollout and published.state == "succeeded":
        return ""
    waited_s = (simulation.wall.now() - rollout.started_at).total_seconds()
    due_s = _place(simulation.holder.host, upgrade.rollout) * simulation.rules.progressive_s
    return "" if waited_s >= due_s - EXACT_S else f"{upgrade.operation} starts {due_s - waited_s} s too early"


def _place(host: str, operation: str) -> float:
    """In [0, 1): "a hash of its name and the operation"."""
    return int(hashlib.sha256(f"{operation}\0{host}".encode()).hexdigest()[:12], 16) / 16**12


AFTER_MOVE = (a_host_moves_when_its_turn_is,)


# how it ends


def unsettled(hosts: Hosts) -> list[str]:
    """The rollouts that have not come to an end, or of which nobody was told how they stand, though every host is at
    rest."""
    found = list[str]()
    for environment in hosts.first.rules.environments:
        for service, rollout in hosts.published(environment).rollouts.items():
            if rollout.state == "failing":
                found.append(
                    f"{environment}: the rollout of {service} {rollout.to.version} is being taken back"
                )
            elif untold := _untold(hosts, environment, rollout):
                found.append(f"{environment}: {untold}")
    return found


def _untold(hosts: Hosts, environment: str, rollout: Rollout) -> str:
    """What nobody was told of a rollout. It is told once the push of it is answered, and by the next daemon of that
    host where this one dies before."""
    moved = next(peer for peer in hosts.peers if peer.holder.host == rollout.by)
    line = hosts.first.remote.notes.get((rollout.revision, rollout.operation), '{"outcome": "not there"}')
    noted = json.loads(line)["outcome"]
    if noted != NOTED[rollout.state] and hosts.holder(environment) is moved:
        return f"{rollout.operation} is {rollout.state}, and the notes say {noted}"
    if rollout.operation not in {notice.operation for notice in moved.messenger.told}:
        return f"nobody was told of the rollout of {rollout.service}, {rollout.operation}"
    return ""
