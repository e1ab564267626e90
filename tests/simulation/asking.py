"""Promotions that people are asked to merge: what people do to those pull requests, and what always holds of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from reconciler.forge import Draft
from tests.simulation import fleet, promoting
from tests.simulation.fleet import SERVICES, VERSIONS
from tests.simulation.forge import Request, SimulatedForge
from tests.simulation.opening import NEEDED
from tests.simulation.promoting import BEFORE, HERE, Policy, moves_of, pinned_by, policy_in, step_of
from tests.simulation.proposing import Proposing
from tests.simulation.reviewing import Reviewing, a_person_s_commits_are_not_overwritten
from tests.simulation.violation import judge

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

PREFIX = "ugs-promote-"
ACTS, DEADLY_ODDS, MEANWHILE_ODDS = (6, 18), 0.5, 0.1
KILLS_ODDS = {"at pull:": 0.1, "in a call of the forge": 0.05, "at a pushed branch": 0.2}
"""In how many of the seeds the daemon is killed where it asks, and how often; and how often somebody does something at
that very moment."""
OPEN_MAX = 10
"""So many are opened within an hour, at the most."""
ASKS = re.compile(r"<!-- ugs asks (.*) -->")
CLOSED = re.compile(r"Closed by UGS: `+[^`]+`+")
"""What the daemon says before it closes one."""
LABELS = {"ugs", "ugs: promotion"}
RELATED = {"database", "web"}
"""Of which one may need the other."""

Ask = tuple[str, str]
"""A service and its version."""


class Asking(Reviewing):
    """The promotions of one seed that are proposed, and who looks at them there."""

    prefix = PREFIX
    how = "merge", "squash", "rebase", "bare"

    def __init__(self, simulation: Simulation, random: Random, proposing: Proposing) -> None:
        """`proposing`: whose forge it is."""
        super().__init__(simulation, random)
        assert proposing.forge is not None
        self._fate = Random(random.random())
        self.forge: SimulatedForge = proposing.forge
        self.closes, self._deadly = proposing.closes, random.random() < DEADLY_ODDS
        simulation.remote.branch_moves.append(self._branch_moves)
        self.forge.opens.append(self._opens)
        self.forge.edits.append(self._edits)
        self.forge.comments_on.append(self._comments)
        self.forge.closes.append(self._closes)
        self._closed: dict[Ask, Request] = {}
        self._forsaken: set[Ask] = set()
        """Of which people have deleted the branch, so that it need not be asked for again."""
        self.decided_s, self.decided_on = 0.0, ""
        """When the daemon last decided what is due in production, and what was in force then."""

    def moments(self, end_s: float) -> list[tuple[float, Callable[[], None]]]:
        random = self._random
        return [(random.uniform(5.0, end_s), self._act) for _ in range(random.randint(*ACTS))]

    def kills(self, where: str) -> bool:
        """Whether the daemon is killed here, in the midst of asking; or somebody does something meanwhile."""
        odds = next((odds for what, odds in KILLS_ODDS.items() if where.startswith(what)), 0.0)
        if not odds or self._simulation.world.mended:
            return False
        chance = self._fate.random()
        if where.startswith("at pull:") and chance > 1.0 - MEANWHILE_ODDS:
            self._act()
        return self._deadly and chance < odds

    def decided(self, environment: str) -> None:
        """The daemon has decided what is due."""
        if environment == HERE:
            self.decided_s = self._simulation.time.now_s
            self.decided_on = self._simulation.facts.in_force[0]

    def mended(self) -> None:
        """Whoever gave the daemon another token has it look."""
        if self._simulation.life and "forge-denies" in self._simulation.weather.struck:
            self._simulation.life.core.look_at_pulls()

    @property
    def turned_down(self) -> dict[Ask, Request]:
        """What people have closed, where the daemon was not about to."""
        return {ask: one for ask, one in self._closed.items() if not CLOSED.search(_said(one))}

    @property
    def open(self) -> list[Request]:
        return [one for one in self.forge.pulls if one.branch.startswith(PREFIX) and one.state == "open"]

    # what people do

    def _act(self) -> None:
        """Somebody looks at one of the pull requests."""
        self._look_at_one(
            {self._merge: 7, self._close: 3, self._delete: 1, self._push: 3, self._pin_instead: 2}
        )

    def _turned_down(self, there: Request) -> None:
        self._closed |= dict.fromkeys(asks_of(there.body), there)

    def _delete(self, branch: str) -> None:
        if there := self.there(branch):
            self._forsaken |= set(asks_of(there.body))
        super()._delete(branch)

    def _pin_instead(self, branch: str) -> None:
        """Pin by hand what it asks for, or something else."""
        simulation, random = self._simulation, self._random
        service = branch.rpartition(".")[2]
        asked = [version for one, version in asks_in(simulation, branch) if one == service]
        version = random.choice(asked if asked and random.random() < 0.5 else VERSIONS)
        simulation.commit_pins(HERE, {service: version}, "Pin instead")

    # what the daemon does

    def _branch_moves(self, before: str | None, after: str, name: str) -> None:
        if name.startswith(PREFIX):
            self._simulation.note(f"ugs pushes {after[:12]} to {name}")
            judge(BEFORE_BRANCH, self._simulation, before, after, name)

    def _opens(self, draft: Draft) -> None:
        if draft.branch.startswith(PREFIX):
            self._simulation.note(f"ugs opens a pull request: {draft.title}")
            judge(BEFORE_OPEN, self._simulation, draft)

    def _edits(self, one: Request, title: str, body: str) -> None:
        if one.branch.startswith(PREFIX):
            self._simulation.note(f"ugs has #{one.number} say: {title}")
            judge((it_says_what_it_asks_for,), self._simulation, one.branch, title, body)

    def _comments(self, one: Request, body: str) -> None:
        if one.branch.startswith(PREFIX):
            self._simulation.note(f"ugs says of #{one.number} of {one.branch}: {' '.join(body.split())}")
            judge((what_is_closed_is_moot,), self._simulation, one, body)

    def _closes(self, one: Request) -> None:
        if one.branch.startswith(PREFIX):
            self._simulation.note(f"ugs closes #{one.number} of {one.branch}")
            judge((it_is_closed_with_a_reason,), self._simulation, one)

    # what counts in the end

    def is_asked(self, service: str, version: str) -> bool:
        """Whether people are asked for it, or do not want to be."""
        asked = any((service, version) in asks_of(one.body) for one in self.open)
        near = RELATED if service in RELATED else {service}
        theirs = any(is_theirs(self._simulation, f"{PREFIX}{HERE}.{one}") for one in near)
        full = sum(one.branch.startswith(PREFIX) for one in self.forge.pulls) >= OPEN_MAX
        unwanted = (service, version) in self.turned_down.keys() | self._forsaken
        return asked or theirs or full or unwanted


def is_theirs(simulation: Simulation, branch: str) -> bool:
    """Whether a person has pushed to it."""
    head = simulation.remote.branches.get(branch)
    return head is not None and simulation.remote.made[head].commit.author != "UGS"


class Decisions(dict[str, object]):
    """What the daemon remembers of its decisions, by environment. `told` hears when it decides anew, and of nothing
    else."""

    def __init__(self, told: Callable[[str], None]) -> None:
        super().__init__()
        self._told = told

    def __setitem__(self, environment: str, found: object) -> None:
        super().__setitem__(environment, found)
        self._told(environment)


def asks_of(body: str) -> tuple[Ask, ...]:
    """What the text of a pull request says that it asks for."""
    found = ASKS.search(body)
    said = (one.removeprefix(f"{HERE}/").partition(" ") for one in found[1].split(", ")) if found else ()
    return tuple((service, version) for service, _, version in said)


def asks_in(simulation: Simulation, branch: str) -> tuple[Ask, ...]:
    """What a branch would promote, by the daemon's own commit on it."""
    remote, head = simulation.remote, simulation.remote.branches.get(branch)
    ours = (made for made in remote.history(head) if made.commit.author == "UGS") if head else ()
    made = next(iter(ours), None)
    return tuple((move.service, move.will) for move in moves_of(made)) if made else ()


def _said(one: Request) -> str:
    return "; ".join(comment.body.replace("\n", " ") for comment in one.comments)


def _refuses(simulation: Simulation) -> bool:
    """Whether the branch takes no push of ours, or did not lately."""
    return simulation.remote.protected or "remote-refuses" in simulation.weather.struck


def _may_ask(simulation: Simulation, policy: Policy | None) -> bool:
    by = policy.by if policy else ""
    return by == "pull-request" or (by == "commit" and _refuses(simulation))


def _was_refused(simulation: Simulation) -> bool:
    """Whether the daemon has said that a promotion was refused, and of none since that it was pushed."""
    sql = (
        "SELECT event FROM maintenance_logs WHERE event IN ('promotion-refused', 'promoted') ORDER BY id DESC"
    )
    rows = simulation.disk.all(sql)
    return bool(rows) and rows[0]["event"] == "promotion-refused"


def _asking(simulation: Simulation) -> Asking:
    assert simulation.asking is not None
    return simulation.asking


# before a branch of ours is pushed: (simulation, where it stood, where it is to stand, its name)


def it_is_made_on_the_branch(simulation: Simulation, _before: str | None, after: str, name: str) -> str:
    """By one commit that moves pins and nothing else, under a name of its own."""
    made = simulation.remote.made[after]
    [parent] = made.commit.parents
    if not simulation.remote.reaches(simulation.remote.tip, parent) and not simulation.facts.forced:
        return f"{name} is made on {parent[:12]}, which is not on the branch"
    moves = moves_of(made)
    if not moves or ("Ugs-Pull", name) not in made.commit.trailers:
        return f"{name} promotes nothing, or does not say that it is ours"
    if name != f"{PREFIX}{HERE}.{min(move.service for move in moves)}":
        return f"{name} asks for {moves}"
    if len(moves) > 1 and not any((one, v) in NEEDED for one, *vs, _ in moves for v in vs):
        return f"{name} asks at once for what does not need one another: {moves}"
    return promoting.it_moves_what_it_says(simulation, parent, after)


def it_was_to_be_asked_for(simulation: Simulation, _before: str | None, after: str, _name: str) -> str:
    return _undue(simulation, after)


def _undue(simulation: Simulation, commit: str) -> str:
    """Why people were not to be asked for what a commit promotes, when that was decided."""
    asking = _asking(simulation)
    at_s, on = asking.decided_s, asking.decided_on
    policy = policy_in(simulation.remote.made[on].tree)
    moves = moves_of(simulation.remote.made[commit])
    if not _may_ask(simulation, policy):
        return f"{commit[:12]} asks, and nobody is to be asked: {policy}"
    assert policy is not None
    if left := [move for move in moves if step_of(move.was, move.will) not in policy.classes]:
        return f"{commit[:12]} asks for steps that are left to people: {left}"
    for move in moves:
        if by := pinned_by(simulation, on, move.service, move.will):
            return f"{commit[:12]} asks for {move.service} {move.will}, which {by[:12]} had pinned there"
    if simulation.life and simulation.rival.has(HERE, simulation.life.loop.handed_s):
        return f"{commit[:12]} asks, and {HERE} is another daemon's"
    return (
        promoting.unproven(simulation, on, commit, at_s)
        or promoting.failed(simulation, commit, at_s)
        or promoting.hindered(simulation, commit, at_s)
        or promoting.it_has_what_it_requires(simulation, on, commit)
    )


def what_people_closed_is_not_made_anew(
    simulation: Simulation, _before: str | None, after: str, name: str
) -> str:
    asks = [(move.service, move.will) for move in moves_of(simulation.remote.made[after])]
    return _closed_before(simulation, name, asks)


def _closed_before(simulation: Simulation, branch: str, asks: list[Ask]) -> str:
    """Which of these people have closed, as the forge has told the daemon."""
    turned_down = _asking(simulation).turned_down
    for ask in asks:
        one = turned_down.get(ask)
        if one and one.answered:
            return f"{branch} asks for {' '.join(ask)}, and people have closed #{one.number}, which did"
    return ""


BEFORE_BRANCH = (
    a_person_s_commits_are_not_overwritten,
    it_is_made_on_the_branch,
    it_was_to_be_asked_for,
    what_people_closed_is_not_made_anew,
)


# before a pull request is opened: (simulation, what is to be opened)


def one_is_open_for_a_service(simulation: Simulation, draft: Draft) -> str:
    services = {service for service, _ in asks_of(draft.body)}
    for one in _asking(simulation).open:
        if twice := services & {service for service, _ in asks_of(one.body)}:
            return f"{draft.branch} asks for {', '.join(twice)}, and #{one.number} does, too"
    return ""


def what_people_closed_is_not_opened_again(simulation: Simulation, draft: Draft) -> str:
    """Whatever the daemon has heard of that: it asks first what became of the last one of that branch."""
    asks, turned_down = asks_of(draft.body), _asking(simulation).turned_down
    for ask in asks:
        one = turned_down.get(ask)
        if one and one.branch == draft.branch:
            return f"{draft.branch} asks for {' '.join(ask)} again, and people have closed #{one.number}"
    return _closed_before(simulation, draft.branch, list(asks))


def what_is_opened_says_what_it_asks_for(simulation: Simulation, draft: Draft) -> str:
    if set(draft.labels) != LABELS:
        return f"{draft.branch} has the labels {draft.labels}"
    return it_says_what_it_asks_for(simulation, draft.branch, draft.title, draft.body)


def it_says_what_it_asks_for(simulation: Simulation, branch: str, title: str, body: str) -> str:
    """The services and versions that the branch moves, in title and text, and from where."""
    head = simulation.remote.branches.get(branch)
    if head is None or is_theirs(simulation, branch):
        return ""  # people have done something since it was looked at
    moves = moves_of(simulation.remote.made[head])
    asks = tuple((move.service, move.will) for move in moves)
    said = all(f"{one.service} {one.was} → {one.will}" in body for one in moves)
    named = f"{asks[0][0]} {asks[0][1]}" in title and HERE in title if asks else False
    if asks == asks_of(body) and said and named:
        return ""
    return f"{branch} moves {asks}, and says {title}: {body}"


def what_is_opened_was_to_be_asked_for(simulation: Simulation, draft: Draft) -> str:
    head = simulation.remote.branches[draft.branch]
    return "" if is_theirs(simulation, draft.branch) else _undue(simulation, head)


BEFORE_OPEN = (
    one_is_open_for_a_service,
    what_people_closed_is_not_opened_again,
    what_is_opened_says_what_it_asks_for,
    what_is_opened_was_to_be_asked_for,
)


# before one is closed: (simulation, the pull request), and before that is said: (and what)


def it_is_closed_with_a_reason(_simulation: Simulation, one: Request) -> str:
    found = CLOSED.findall(_said(one))
    return "" if len(found) == 1 else f"#{one.number} is closed, and says: {_said(one)}"


def what_is_closed_is_moot(simulation: Simulation, one: Request, said: str) -> str:
    """Its branch was deleted, or people are not to be asked any more for something of it. What is said so is closed by
    the next daemon too."""
    asking, made, asks = _asking(simulation), simulation.remote.made, asks_of(one.body)
    if one.branch not in simulation.remote.branches:
        return ""
    for sha in (asking.decided_on, *simulation.facts.tips[-3:], simulation.remote.tip):
        policy = policy_in(made[sha].tree)
        if policy is None or not _may_ask(simulation, policy) or _regrouped(simulation, sha, asks):
            return ""
        if policy.by == "commit" and not _was_refused(simulation):
            return ""  # nothing was pushed yet since the policy wants commits
        if any(ask in asking.turned_down or _why_moot(simulation, policy, sha, *ask) for ask in asks):
            return ""
    keys = [(BEFORE, service) for service, _ in asks]
    if any(promoting.has_moved_since(simulation, key, asking.decided_s) for key in keys):
        return ""
    return f"#{one.number} is closed, and all that it asks for may come still: {said}"


def _why_moot(simulation: Simulation, policy: Policy, sha: str, service: str, version: str) -> str:
    """Why nobody is to be asked for a version any more, by a commit and by what has happened until now; empty where it
    may come."""
    tree, facts = simulation.remote.made[sha].tree, simulation.facts
    pinned, good = fleet.pins_of(tree, HERE).get(service, version), facts.proven.get((BEFORE, service))
    newest = good[0].version.text if good else ""
    if pinned >= version:
        return "it is pinned, or something newer"
    if newest > version:
        return ""  # it stays until what is newer takes its place
    whys = {
        "nothing so new is last-good any more": newest < version,
        "a step that is left to people": step_of(pinned, version) not in policy.classes,
        "staging has gone back": fleet.pins_of(tree, BEFORE).get(service, fleet.FIRST) < version,
        "it failed": any(shut[1] == service and shut[2].version.text == version for shut in facts.shut),
        "it was pinned before": bool(pinned_by(simulation, sha, service, version)),
    }
    return next((why for why, holds in whys.items() if holds), "")


def _regrouped(simulation: Simulation, sha: str, asks: tuple[Ask, ...]) -> bool:
    """Whether some of it may be to be asked for with something else now, or without."""
    pins, asked = fleet.pins_of(simulation.remote.made[sha].tree, HERE), {one for one, _ in asks} & RELATED
    good = {one: simulation.facts.proven.get((BEFORE, one)) for one in RELATED - asked}
    newer = (found and found[0].version.text > pins.get(one, fleet.FIRST) for one, found in good.items())
    return bool(asked) and all(newer)


# after every push of ours: (simulation, the branch before, the branch after)


def what_people_closed_is_not_committed(simulation: Simulation, _before: str, after: str) -> str:
    if simulation.asking is None:
        return ""
    asks = [(move.service, move.will) for move in moves_of(simulation.remote.made[after])]
    return _closed_before(simulation, after[:12], asks)


# in the end


def unfollowed(simulation: Simulation, environment: str) -> list[str]:
    """What is wrong with the pull requests that are open, or with what the daemon knows of them."""
    asking, life = simulation.asking, simulation.life
    if asking is None or life is None or environment != HERE:
        return []
    if promoting.broken(simulation, BEFORE) or promoting.broken(simulation, HERE):
        return []
    policy = policy_in(simulation.remote.made[simulation.remote.tip].tree)
    found = [why for one in asking.open if (why := _open_still(simulation, one, policy))]
    asked = [service for one in asking.open for service, _ in asks_of(one.body)]
    found += [f"more than one asks for {service}" for service in SERVICES if asked.count(service) > 1]
    known = {one.number: one.state for one in life.core.store.pulls("promote") if one.number}
    for one in asking.forge.pulls:
        if one.branch.startswith(PREFIX) and known.get(one.number) not in _fits(simulation, one, policy):
            found.append(f"#{one.number} is {one.state}, and counts as {known.get(one.number)}")
    return found


def _fits(simulation: Simulation, one: Request, policy: Policy | None) -> tuple[str, ...]:
    """As what it may count."""
    if one.state != "closed":
        return (one.state,)
    by_people = one in _asking(simulation).turned_down.values()
    if (
        by_people
        and policy
        and not any(_why_moot(simulation, policy, simulation.remote.tip, *ask) for ask in asks_of(one.body))
    ):
        return ("refused",)
    return ("refused", "moot")  # the daemon may have been about to close it


def _open_still(simulation: Simulation, one: Request, policy: Policy | None) -> str:
    """Why one that is open should not be, or not so."""
    asking, remote = _asking(simulation), simulation.remote
    if not _may_ask(simulation, policy):
        return f"#{one.number} is open, and nobody is to be asked"
    assert policy is not None
    asks, head = asks_of(one.body), remote.branches.get(one.branch)
    if head is None:
        return f"#{one.number} is open, and its branch was deleted"
    for ask in asks:
        why = "people have closed one" if ask in asking.turned_down else ""
        if why := why or _why_moot(simulation, policy, remote.tip, *ask):
            return f"#{one.number} is open, and {' '.join(ask)} comes no more: {why}"
    if is_theirs(simulation, one.branch) or not all(
        promoting.due_of(simulation, policy, service) == version for service, version in asks
    ):
        return ""
    base, tip = remote.made[remote.made[head].commit.parents[0]].tree, remote.made[remote.tip].tree
    if any(base.get(path) != tip.get(path) for path in remote.made[head].changed):
        return f"#{one.number} is open, and is not made on what is there by now"
    return it_says_what_it_asks_for(simulation, one.branch, one.title, one.body)


def at_the_end(simulation: Simulation) -> str:
    """Each that was opened was told, and stands in the audit once; so does how it ended."""
    asking = simulation.asking
    if asking is None:
        return ""
    rows = simulation.disk.all("SELECT event, detail FROM maintenance_logs WHERE event LIKE 'promote-%'")
    for one in asking.forge.pulls:
        if not one.branch.startswith(PREFIX):
            continue
        said = [row["event"] for row in rows if re.search(rf"/{one.number}$|#{one.number}\b", row["detail"])]
        ends = [event for event in said if event not in ("promote-opened", "promote-edited")]
        if said.count("promote-opened") != 1 or len(ends) != (one.state != "open"):
            return f"#{one.number} is {one.state}, and the audit says {said}"
        if not any(notice.sentence.endswith(f"/{one.number}") for notice in simulation.messenger.told):
            return f"#{one.number} was opened, and nobody was told"
    return ""
