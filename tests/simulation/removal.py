"""Pins that people remove, and what always holds of what is stopped for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reconciler.engine import permits
from reconciler.model.target import Workload
from reconciler.model.upgrade import Phase, Upgrade
from tests.simulation import departure, fleet
from tests.simulation.remote import BLOBS, Tree
from tests.simulation.trust import in_force

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

LEGACY = "legacy"
"""What runs in every environment, has no pin, and was not started by UGS."""
SHARE_MAX = 0.2
HEARD_S = 1.0
"""So long a commit may have been in force that a removal under way has only just heard of."""
COMES_BACK_ODDS, LOOKS_S = 0.25, 3.0
"""How often somebody puts a pin back while the daemon looks up who has removed it, and how long it looks then."""
APPROVED_ODDS, APPROVED_S = 0.7, (1.5, 4.0)


def remove_pins(simulation: Simulation) -> None:
    """Remove one pin of an environment by one commit, or several, or all."""
    random, environment = simulation.people, simulation.people.choice(simulation.rules.environments)
    pins, tree = sorted(simulation.pins(environment)), simulation.remote.made[simulation.remote.tip].tree
    if not pins:
        return
    count = random.choices((1, 2, len(pins)), (6, 2, 1))[0]
    changes: dict[str, bytes | None] = {}
    for service in random.sample(pins, min(count, len(pins))):
        path = fleet.path_of(simulation.rules, fleet.name_in(tree, environment), service)
        data = changes.get(path) or BLOBS[tree[path]]
        changes[path] = fleet.without_pin(data, service)
    simulation.commit(changes, f"Remove from {environment}")
    if len(changes) > 1 and simulation.doubts.random() < APPROVED_ODDS:
        simulation.pass_time(simulation.doubts.uniform(*APPROVED_S))
        _approve_one(simulation, environment)


def _approve_one(simulation: Simulation, environment: str) -> None:
    """Somebody looks at one of the removals that wait, and at none of the others."""
    waiting = [
        one.service
        for one in simulation.facts.upgrades.values()
        if one.after is None and not one.final and one.environment == environment
    ]
    if waiting:
        service = simulation.doubts.choice(waiting)
        simulation.ask(
            lambda life: permits.approve(life.fleet, simulation.called(environment), service, actor="ada"),
            "approve",
            service,
        )


def comes_back(simulation: Simulation, *, until_s: float) -> bool:
    """Whether somebody puts a pin back at this moment, while what runs of it is about to be stopped."""
    if not simulation.rules.prune or simulation.pair or simulation.time.now_s > until_s:
        return False
    gone = [
        (environment, service, here[0].target.version.text)
        for (environment, service), here in sorted(simulation.host.processes.items())
        if here and service in fleet.SERVICES and service not in simulation.pins(environment)
    ]
    if not gone or simulation.doubts.random() >= COMES_BACK_ODDS:
        return False
    environment, service, version = simulation.doubts.choice(gone)
    simulation.commit_pins(environment, {service: version}, "Put back")
    return True


def standing(simulation: Simulation, commit: str, environment: str) -> Tree | None:
    """The files of a commit, and for each of the environment's that cannot be read what it said last; None where it
    never said anything: nobody knows what it pins."""
    tree = dict(simulation.remote.made[commit].tree)
    name = fleet.name_in(tree, environment)
    whole, folder = f"environments/{name}.yaml", f"environments/{name}/"
    for path in [path for path in tree if path == whole or path.startswith(folder)]:
        history = (made.tree.get(path) for made in simulation.remote.history(commit, first_parent=True))
        read = next((oid for oid in history if oid and not _is_unreadable(oid, whole=path == whole)), None)
        if read is None:
            return None
        tree[path] = read
    return tree


def _is_unreadable(oid: str, *, whole: bool) -> bool:
    """`whole`: it is all that is said of the environment."""
    return fleet.BROKEN in BLOBS[oid] or (whole and fleet.DRIVER not in BLOBS[oid])


def guarded(simulation: Simulation, upgrade: Upgrade) -> bool:
    """Whether so much goes that a person has to look: by what runs and is not pinned, or by the commit; also by what
    was in force until just now, which is all that the daemon may have heard of."""
    if departure.guarded(simulation, upgrade.environment):
        return True
    accepted, (_, since_s) = simulation.refs.accepted, simulation.facts.in_force
    if simulation.renaming:
        accepted = simulation.facts.standing(upgrade.environment)
    heard = [accepted]
    if simulation.time.now_s - since_s < HEARD_S and accepted in simulation.facts.tips[-1:]:
        heard += simulation.facts.tips[-2:-1]
    return all(_guarded(simulation, upgrade, one) for one in heard)


def _guarded(simulation: Simulation, upgrade: Upgrade, accepted: str | None) -> bool:
    where, made = upgrade.environment, simulation.remote.made
    pinned = fleet.pins_of(made[accepted or upgrade.revision].tree, where).keys()
    runs = {key[1] for key, here in simulation.host.processes.items() if key[0] == where and here}
    parents = made[upgrade.revision].commit.parents
    before = fleet.pins_of(made[parents[0]].tree, where).keys() if parents else set()
    tree = made[accepted or upgrade.revision].tree
    hidden = {one for one in runs | before if _is_out_of_sight(simulation, tree, where, one)}
    left_out = before - fleet.pins_of(made[upgrade.revision].tree, where).keys()
    # What one fetch brings is one push: what was pinned in its midst alone is not removed by it.
    tips = (
        tip for tip in reversed(simulation.facts.tips) if not simulation.remote.reaches(tip, upgrade.revision)
    )
    if (base := next(tips, None)) is not None:
        then = made[base].tree
        stood = fleet.pins_of(then, where).keys()
        left_out = {one for one in left_out if one in stood or _is_out_of_sight(simulation, then, where, one)}
    gone = left_out - pinned - hidden
    # A pin that cannot be read is one all the same.
    return _much(len(runs - pinned - hidden), len(runs | pinned)) or _much(len(gone), len(before | hidden))


def _is_out_of_sight(simulation: Simulation, tree: Tree, environment: str, service: str) -> bool:
    """Whether the file in which it is pinned, if it is, cannot be read."""
    oid = tree.get(fleet.path_of(simulation.rules, fleet.name_in(tree, environment), service))
    return oid is not None and fleet.BROKEN in BLOBS[oid]


def _much(removed: int, of: int) -> bool:
    return removed > 0 and (removed == of or (removed >= 2 and removed > SHARE_MAX * of))


# after every move of an upgrade: (simulation, as it was, as it is, the audit rows of the same transaction)


def nothing_is_removed_that_is_pinned_4(
    simulation: Simulation, _before: Upgrade | None, upgrade: Upgrade, _rows: list[Mapping[str, Any]]
) -> str:
    if upgrade.after is not None or upgrade.phase is not Phase.APPLYING:
        return ""
    out = departure.is_out(simulation.remote.made[upgrade.revision].tree, upgrade.environment)
    if not (simulation.rules.prune or out):
        return f"{upgrade.operation} removes {upgrade.service}, and policy.prune is off"
    if simulation.time.now_s - simulation.facts.in_force[1] < HEARD_S:
        return ""
    commit = simulation.facts.standing(upgrade.environment)
    if simulation.rules.trusted:  # it may be kept at an older one, by who moved it and may not
        commit = in_force(simulation, upgrade.environment)
    tree = standing(simulation, commit, upgrade.environment)
    if tree is None:
        return f"{upgrade.operation} removes {upgrade.service}, whose pin may only be out of sight"
    pinned = upgrade.service in fleet.pins_of(tree, upgrade.environment)
    return f"{upgrade.operation} removes {upgrade.service}, which is pinned" if pinned else ""


AFTER_MOVE = (nothing_is_removed_that_is_pinned_4,)


# before every effect on what runs: (simulation, what, operation, what is to run, environment and service)


def what_is_not_ours_is_left_alone_4(
    simulation: Simulation, kind: str, operation: str, _work: Workload | None, key: tuple[str, str]
) -> str:
    return f"{kind} by {operation} of {key[1]}, which is not ours" if key[1] == LEGACY else ""


BEFORE_EFFECT = (what_is_not_ours_is_left_alone_4,)


def unmoved(simulation: Simulation, environment: str, service: str) -> str:
    """Why something that is not pinned runs on, and nobody says why; empty when it does not, or may."""
    tree = standing(simulation, in_force(simulation, environment), environment)
    runs = bool(simulation.host.processes.get((environment, service)))
    if not (simulation.rules.prune and runs) or tree is None or service in fleet.pins_of(tree, environment):
        return ""
    return f"{service} is not pinned, and runs on, and nothing says why"
