"""Reverts that people are asked to merge: what people do to them, and what always holds of them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Literal

from reconciler.forge import Draft
from reconciler.model.target import Workload
from reconciler.model.upgrade import Phase, Upgrade
from tests.simulation import fleet
from tests.simulation.forge import Request, SimulatedForge
from tests.simulation.remote import Tree
from tests.simulation.reviewing import Reviewing, a_person_s_commits_are_not_overwritten
from tests.simulation.violation import judge

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

Way = Literal["", "policy", "protected"]
"""Why reverts are proposed: the policy says so, or the branch takes no push of ours; empty: they are not."""
PREFIX = "ugs-revert-"
FORGE_ODDS, MERGES_ODDS, CLOSES_ODDS, DEADLY_ODDS = 0.85, 0.3, 0.6, 0.5
"""How often there is a forge; whether it merges by itself; whether it closes what has lost its branch; and whether
the daemon is killed where it proposes."""
KILLS_ODDS = {"at pull:": 0.1, "at propose:": 0.1, "in a call of the forge": 0.05, "at a pushed branch": 0.3}
ACTS = 2, 9
MERGES_S = 3.0
"""How often the forge looks at what it is to merge by itself."""


class Proposing(Reviewing):
    """The reverts of one seed that are proposed, the forge they are proposed on, and who looks at them there."""

    prefix = PREFIX
    how = "merge", "squash", "bare"

    def __init__(self, simulation: Simulation, random: Random, way: Way, *, forge: bool) -> None:
        """`forge`: there has to be one."""
        super().__init__(simulation, random)
        self._fate = Random(random.random())
        self.way = way
        simulation.remote.protected = way == "protected"
        simulation.remote.branch_moves.append(self._branch_moves)
        simulation.remote.branch_moved = lambda: simulation.may_kill("at a pushed branch")
        weather, remote = simulation.weather, simulation.remote
        there, merges = random.random() < FORGE_ODDS, random.random() < MERGES_ODDS
        self.forge = SimulatedForge(weather, remote, merges=merges) if there or forge else None
        self.closes, self._deadly = random.random() < CLOSES_ODDS, random.random() < DEADLY_ODDS
        if self.forge:
            self.forge.opens.append(self._opens)
            self.forge.closes.append(self._closed)
            self.forge.interrupt = lambda: simulation.may_kill("in a call of the forge")
        self.proposed: set[str] = set()
        """Operations of which a branch was ever pushed."""

    def moments(self, end_s: float) -> list[tuple[float, Callable[[], None]]]:
        random = self._random
        found: list[tuple[float, Callable[[], None]]] = [
            (random.uniform(3.0, end_s), self._act) for _ in range(random.randint(*ACTS))
        ]
        return found + [(at * MERGES_S, self._by_itself) for at in range(1, int(end_s / MERGES_S))]

    def kills(self, where: str) -> bool:
        """Whether the daemon is killed here, in the midst of proposing."""
        odds = next((odds for what, odds in KILLS_ODDS.items() if where.startswith(what)), 0.0)
        return self._deadly and not self._simulation.world.mended and self._fate.random() < odds

    # what people do

    def _act(self) -> None:
        """Somebody looks at one of the proposals."""
        self._look_at_one({self._merge: 6, self._close: 2, self._delete: 1, self._push: 2, self._move_on: 1})

    def _by_itself(self) -> None:
        for one in self.forge.pulls if self.forge else ():
            if one.state == "open" and one.waits and self._random.random() < 0.3:
                self._merge(one.branch)

    def _move_on(self, branch: str) -> None:
        """Pin something else than what failed; or what failed, once more."""
        simulation, random = self._simulation, self._random
        upgrade = simulation.facts.upgrades.get(operation_of(branch))
        if upgrade and upgrade.after:
            pins = fleet.VERSIONS if random.random() < 0.7 else (upgrade.after.target.version.text,)
            simulation.commit_pins(upgrade.environment, {upgrade.service: random.choice(pins)}, "Move on")

    # what the daemon does

    def _branch_moves(self, before: str | None, after: str, name: str) -> None:
        if not name.startswith(PREFIX):
            return
        self._simulation.note(f"ugs pushes {after[:12]} to {name}")
        judge(BEFORE_BRANCH, self._simulation, before, after, name)
        self.proposed.add(operation_of(name))

    def _opens(self, draft: Draft) -> None:
        if draft.branch.startswith(PREFIX):
            self._simulation.note(f"ugs opens a pull request from {draft.branch}")
            judge(BEFORE_OPEN, self._simulation, draft.branch)

    def _closed(self, one: Request) -> None:
        if not one.branch.startswith(PREFIX):
            return
        self._simulation.note(f"ugs closes #{one.number} of {one.branch}")
        judge((what_is_closed_is_moot,), self._simulation, one.branch)


def operation_of(branch: str) -> str:
    return branch.removeprefix(PREFIX)


def _stands(simulation: Simulation, tree: Tree, upgrade: Upgrade) -> bool:
    """Whether what failed is pinned."""
    assert upgrade.pinned is not None
    pinned = fleet.pins_of(tree, upgrade.environment).get(upgrade.service)
    return pinned == upgrade.pinned.target.version.text


def _tip(simulation: Simulation) -> Tree:
    return simulation.remote.made[simulation.remote.tip].tree


# before a branch of ours is pushed: (simulation, where it stood, where it is to stand, its name)


def only_what_failed_is_proposed_back_3_7(
    simulation: Simulation, _before: str | None, _after: str, name: str
) -> str:
    upgrade = simulation.facts.upgrades.get(operation_of(name))
    if upgrade is None or not upgrade.failed:
        return f"{name} is pushed, and nothing of it has failed"
    sql = "SELECT 1 FROM rollback_records WHERE operation = ?"
    if not simulation.disk.all(sql, upgrade.operation):
        return f"{name} is pushed before quarantine"
    return ""


def it_is_made_on_the_tip(simulation: Simulation, _before: str | None, after: str, name: str) -> str:
    """And moves nothing but what failed, which still stands there."""
    from tests.simulation import invariants

    [parent] = simulation.remote.made[after].commit.parents
    if parent != simulation.remote.tip:
        return f"{name} is made on {parent[:12]}, and the tip is {simulation.remote.tip[:12]}"
    return invariants.a_revert_moves_what_failed_3_6(simulation, parent, after)


def what_has_ended_is_not_made_anew(
    simulation: Simulation, _before: str | None, _after: str, name: str
) -> str:
    proposing = simulation.proposing
    there = proposing.forge.newest(name) if proposing and proposing.forge else None
    known = there is not None and there.answered and there.state != "open"
    return f"{name} is pushed, and its pull request is known to be {there.state}" if known and there else ""


BEFORE_BRANCH = (
    a_person_s_commits_are_not_overwritten,
    only_what_failed_is_proposed_back_3_7,
    it_is_made_on_the_tip,
    what_has_ended_is_not_made_anew,
)


# before a pull request is opened: (simulation, its branch)


def one_pull_request_an_operation_3_4(simulation: Simulation, branch: str) -> str:
    forge = simulation.proposing.forge if simulation.proposing else None
    there = forge.newest(branch) if forge else None
    return f"{branch} is proposed again, and #{there.number} is {there.state}" if there else ""


def one_pull_request_a_pin_3_4(simulation: Simulation, branch: str) -> str:
    """Never two that are open for what one commit has pinned."""
    forge = simulation.proposing.forge if simulation.proposing else None
    pin = _pin(simulation, branch)
    others = [
        one.branch
        for one in (forge.pulls if forge else ())
        if one.state == "open" and one.branch.startswith(PREFIX) and _pin(simulation, one.branch) == pin
    ]
    return f"{branch} is proposed, and {', '.join(others)} is, too" if others else ""


def _pin(simulation: Simulation, branch: str) -> tuple[str, str, str]:
    upgrade = simulation.facts.upgrades[operation_of(branch)]
    return upgrade.environment, upgrade.service, upgrade.revision


BEFORE_OPEN = (one_pull_request_an_operation_3_4, one_pull_request_a_pin_3_4)


def what_is_closed_is_moot(simulation: Simulation, branch: str) -> str:
    """Nothing of it is left to be put back, or a person lets it be tried again."""
    upgrade, facts = simulation.facts.upgrades[operation_of(branch)], simulation.facts
    if branch not in simulation.remote.branches:
        return ""  # some forges leave open what nobody can merge any more
    shut = upgrade.operation in facts.shut.values()
    back = [upgrade.service, *(one.service for one in upgrade.companions)]
    tips = {simulation.remote.tip, *facts.tips[-1:]}
    if (
        shut
        and len(back) == 1
        and all(_stands(simulation, simulation.remote.made[sha].tree, upgrade) for sha in tips)
    ):
        return f"{branch} is closed, and what failed is pinned still, and in quarantine"
    return ""


# after every push of ours: (simulation, the branch before, the branch after)


def where_it_is_to_be_proposed_nothing_is_pushed(simulation: Simulation, _before: str, after: str) -> str:
    operation = dict(simulation.remote.made[after].commit.trailers).get("Ugs-Operation")
    pushes = operation and simulation.proposing and simulation.proposing.way
    return f"{operation} is reverted by a push, and was to be proposed" if pushes else ""


# before every effect on what runs: (simulation, what, operation, what is to run, environment and service)


def a_merged_revert_is_no_news(
    simulation: Simulation, kind: str, operation: str, work: Workload | None, key: tuple[str, str]
) -> str:
    """What it pins runs already: nothing is started for it."""
    upgrade, proposing = simulation.facts.upgrades.get(operation), simulation.proposing
    if proposing is None or upgrade is None or kind != "apply" or work is None:
        return ""
    runs = simulation.host.processes.get(key, ())
    same = len(runs) >= work.instances and all(one.target == work.target for one in runs)
    ours = any(upgrade.revision in commits for commits in proposing.merged.values())
    return f"{operation} starts anew what a revert has pinned, and what runs" if ours and same else ""


# in the end


def unfollowed(simulation: Simulation) -> list[str]:
    """What the daemon does not know yet of the reverts that it has proposed."""
    proposing, life = simulation.proposing, simulation.life
    if proposing is None or life is None:
        return []
    return [why for one in life.core.store.proposals() if (why := _open_still(simulation, one.branch))]


def _open_still(simulation: Simulation, branch: str) -> str:
    """Why one that counts as open is not waiting for a person."""
    proposing, remote = simulation.proposing, simulation.remote
    assert proposing is not None
    upgrade, head = simulation.facts.upgrades[operation_of(branch)], remote.branches.get(branch)
    if upgrade.operation not in simulation.facts.shut.values():
        return f"{branch} is proposed, and its quarantine is released"
    if not upgrade.companions and not _stands(simulation, _tip(simulation), upgrade):
        return f"{branch} is proposed, and what failed is pinned no longer"
    if head is None:
        return f"{branch} is proposed, and was deleted"
    if proposing.forge:
        there = proposing.forge.newest(branch)
        if there is None or there.state != "open":
            return f"{branch} is proposed, and its pull request is {there.state if there else 'not there'}"
    if branch in proposing.touched:
        return ""
    base, tip = remote.made[remote.made[head].commit.parents[0]].tree, _tip(simulation)
    paths = {*fleet.files_of(base, upgrade.environment), *fleet.files_of(tip, upgrade.environment)}
    same = all(base.get(path) == tip.get(path) for path in paths)
    return "" if same else f"{branch} is proposed, and is not made on what the environment is by now"


ELSEWHERE = (
    "the pin was moved meanwhile",
    "the pin was removed",
    "nothing more is reverted",
    "could not be reverted",
)
"""Why nothing is proposed."""


def at_the_end(simulation: Simulation) -> str:
    """What must hold of all that was ever proposed, or should have been; empty when it does."""
    proposing = simulation.proposing
    if proposing is None or simulation.life is None:
        return ""
    store = simulation.life.core.store
    reverts = (
        (one for one in proposing.forge.pulls if one.branch.startswith(PREFIX)) if proposing.forge else ()
    )
    for one in reverts:
        known = store.proposal(operation_of(one.branch))
        fits = {"open": ("open",), "merged": ("merged",), "closed": ("refused", "moot")}[one.state]
        if one.state == "merged" and (simulation.facts.forced or not _is_there(simulation, one.branch)):
            fits = ("merged", "refused", "moot")  # somebody has taken it off the branch since, by force
        if known is None or known.state not in fits:
            return f"#{one.number} is {one.state}, and counts as {known.state if known else 'unknown'}"
    for upgrade in simulation.facts.upgrades.values():
        if wrong := _told(simulation, upgrade):
            return wrong
    return ""


def _told(simulation: Simulation, upgrade: Upgrade) -> str:
    assert simulation.life is not None
    assert simulation.proposing is not None
    known = simulation.life.core.store.proposal(upgrade.operation)
    told = [one for one in simulation.messenger.told if one.operation == upgrade.operation]
    if known is None:
        silent = upgrade.phase is Phase.RESTORED and not upgrade.taken_with
        why = any(text in upgrade.reason for text in ELSEWHERE)
        return f"{upgrade.operation} was restored, and nothing is proposed" if silent and not why else ""
    if known.state == "refused" and not any(one.severity == "person" for one in told):
        return f"{known.name} was turned down, and nobody was called"
    if known.state == "merged":
        commit = simulation.facts.upgrades[upgrade.operation].revert_commit
        if commit is None:
            return f"{known.name} was merged, and {upgrade.operation} does not name the commit"
        by = simulation.proposing.merged.get(f"{PREFIX}{upgrade.operation}", [])
        if by and not any(_brought_by(simulation, commit, one) for one in by):
            return f"{upgrade.operation} was reverted by {by[0][:12]}, and names {commit[:12]}"
    return ""


def _brought_by(simulation: Simulation, commit: str, by: str) -> bool:
    remote = simulation.remote
    first = remote.made[by].commit.parents[0]
    return commit == by or (remote.reaches(by, commit) and not remote.reaches(first, commit))


def _is_there(simulation: Simulation, branch: str) -> bool:
    """Whether the tracked branch has what people merged there."""
    assert simulation.proposing is not None
    tip, commits = simulation.remote.tip, simulation.proposing.merged.get(branch, [])
    return all(simulation.remote.reaches(tip, sha) for sha in commits)
