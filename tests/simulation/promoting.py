"""Production whose pins follow staging's by commits of the daemon's: what people do meanwhile, and what always holds of
those commits. Where people are asked to merge them, `asking.py` has what is different."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from datetime import datetime
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from reconciler.engine import people, permits
from reconciler.model.upgrade import Phase
from reconciler.store.values import text_of, time_of
from tests.simulation import fleet, relay
from tests.simulation.fleet import SERVICES, VERSIONS
from tests.simulation.host import Nature
from tests.simulation.loop import EPOCH, instant
from tests.simulation.opening import ANY_NAME, ENGAGED, NEEDED, held, names_of
from tests.simulation.remote import BLOBS, Made, Tree

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

BEFORE, HERE = "staging", "production"
ILL_HERE: tuple[Nature, ...] = ("refuses", "wrong", "dies", "corrupt")
ILL_HERE_ODDS, ILL_S = 0.3, (3.0, 25.0)
"""How many of the versions fail in production alone; and for how long one is ill in staging that was well there."""
STAGING_ODDS = 0.8
"""How often who would move a pin of production moves one of staging."""
ACTS, LOOKS = (12, 26), (6, 16)
KILLS_ODDS, FASTER_ODDS = 0.15, 0.15
"""How often the daemon is killed before or after a push that promotes, and how often somebody pins the same first."""
HELD_S = (2.0, 15.0)
MEANWHILE_ODDS, LOOKS_S = 0.2, (0.2, 2.0)
"""How often somebody says something while Git is looked into for a commit that promotes, and how long that takes."""
SOAKS_S = (1, 2, 5)
LATELY_S = 0.6
"""For so long an upgrade may start by what was in force before."""
EXACT_S = 1e-4
POLICY = re.compile(
    r", promote: \{from: staging, soak: (\d+)s(?:, by: ([\w-]+))?(?:, classes: \[([\w, ]+)\])?\}"
)
PARALLEL = re.compile(r"policy: \{parallel: \d+")
MARK = "Ugs-Promotion"


class Policy(NamedTuple):
    """What production's file says of promotions."""

    soak_s: int
    by: str
    classes: tuple[str, ...]


class Move(NamedTuple):
    """A pin that a commit says it promotes."""

    service: str
    was: str
    will: str
    mark: str


class Promoting:
    """What people do in one seed to a train of two environments."""

    def __init__(self, simulation: Simulation, random: Random) -> None:
        self._simulation, self._random = simulation, random
        self._fate, self._places = Random(random.random()), Random(random.random())
        self.pushed: dict[str, list[Move]] = {}
        """By commit, what was promoted."""
        for service in SERVICES:
            for version in VERSIONS[1:]:
                chance, nature = random.random(), random.choice(ILL_HERE)
                if chance < ILL_HERE_ODDS:
                    simulation.host.ill[HERE, service, version] = nature, math.inf

    def moments(self, end_s: float) -> list[tuple[float, Callable[[], None]]]:
        random = self._random
        found: list[tuple[float, Callable[[], None]]] = [
            (random.uniform(1.0, end_s), self._act) for _ in range(random.randint(*ACTS))
        ]
        return found + [(random.uniform(3.0, end_s), self._hears) for _ in range(random.randint(*LOOKS))]

    def kills(self, where: str) -> bool:
        """Whether the daemon is killed here, over a push that promotes; or somebody is faster than it."""
        if not where.startswith("at promote:") or self._simulation.world.mended:
            return False
        chance = self._fate.random()
        if where == "at promote:begun" and chance > 1.0 - FASTER_ODDS:
            self._is_faster()
        return chance < KILLS_ODDS

    def looks_long(self) -> float:
        """For how many seconds Git is looked into before a push, and somebody says meanwhile what keeps from it; 0
        where it takes no longer than ever, and nobody says anything."""
        if self._simulation.world.mended or self._fate.random() >= MEANWHILE_ODDS:
            return 0.0
        if self._fate.random() < 0.5:
            self._hold()
        else:
            self.roll_back(BEFORE)
        return self._fate.uniform(*LOOKS_S)

    @staticmethod
    def soaks_s(simulation: Simulation) -> float | None:
        """For how long a version has to have been healthy in staging to start in production, at the least; None where
        it may not have to. What was in force until just now may be all that a start has heard of."""
        (_, since_s), tips = simulation.facts.in_force, simulation.facts.tips[-1:]
        if simulation.time.now_s - since_s < LATELY_S:
            tips = simulation.facts.tips[-3:]
        found = [policy_in(simulation.remote.made[tip].tree) for tip in tips]
        return min((one.soak_s for one in found if one), default=None) if all(found) else None

    def where(self, environment: str) -> str:
        """Whose pin somebody moves who would move one of this environment's."""
        return BEFORE if self._places.random() < STAGING_ODDS else environment

    # what people do

    def _act(self) -> None:
        acts = (
            self._bump_staging,
            self._pin_by_hand,
            self._hold,
            self._change_policy,
            self._make_ill,
            self.roll_back,
            self._try_again,
        )
        self._random.choices(acts, (9, 2, 2, 2, 3, 2, 2))[0]()

    def _hears(self) -> None:
        """A webhook tells each daemon to look."""
        for peer in self._simulation.peers:
            if peer.life:
                peer.life.core.look_at_pulls()

    def _bump_staging(self) -> None:
        """The next version of one service or two, or one after that."""
        pins, changes = self._simulation.pins(BEFORE), dict[str, str]()
        for service in self._random.sample(SERVICES, self._random.choice((1, 1, 2))):
            at = VERSIONS.index(pins[service]) if service in pins else 0
            changes[service] = self._random.choice(VERSIONS[at + 1 : at + 3] or VERSIONS[-1:])
        self._simulation.commit_pins(BEFORE, changes, "Bump")

    def _pin_by_hand(self) -> None:
        """In production itself: what staging has, or any."""
        service = self._random.choice(SERVICES)
        there = self._simulation.pins(BEFORE).get(service, fleet.FIRST)
        version = there if self._random.random() < 0.4 else self._random.choice(VERSIONS)
        self._simulation.commit_pins(HERE, {service: version}, "Pin by hand")

    def _is_faster(self) -> None:
        """Somebody pins by hand what staging has, at the moment at which the daemon would push that."""
        pins, here = self._simulation.pins(BEFORE), self._simulation.pins(HERE)
        changes = {one: version for one, version in pins.items() if here.get(one, version) < version}
        if changes:
            service = self._fate.choice(sorted(changes))
            self._simulation.commit_pins(HERE, {service: changes[service]}, "Be faster in")

    def _hold(self) -> None:
        """`ugs hold` in production: of one service, or of all."""
        service = self._random.choice((*SERVICES, None))
        lasting = f"{self._random.uniform(*HELD_S):.0f}s"
        self._simulation.say(
            lambda life: permits.hold(life.fleet, HERE, service, actor="ada", reason="look", lasting=lasting),
            "hold",
            f"{HERE} {service or 'all'}",
        )

    def _change_policy(self) -> None:
        """Take it away, leave moving pins to people, or have UGS move them, after another time."""
        tree = self._simulation.remote.made[self._simulation.remote.tip].tree
        path = fleet.main_of(tree, HERE)
        if path is None or fleet.BROKEN in BLOBS[tree[path]]:
            return
        text, rules = POLICY.sub("", BLOBS[tree[path]].decode()), self._simulation.rules
        soak_s, chance = self._random.choice(SOAKS_S), self._random.random()
        by = rules.by if chance < 0.7 else "nobody"
        if self._simulation.asking and 0.4 < chance < 0.6:
            by = "commit" if rules.by == "pull-request" else "pull-request"
        said = rules.promotion(by=by, soak_s=soak_s) if chance < 0.8 else ""
        changed = PARALLEL.sub(lambda found: found[0] + (f", {said}" if said else ""), text, count=1)
        self._simulation.commit({path: changed.encode()}, f"Have {HERE} follow: {said or 'nobody'}")

    def _make_ill(self) -> None:
        """What proved healthy in staging is ill for a while."""
        facts, random = self._simulation.facts, self._random
        good = [
            (service, facts.proven[BEFORE, service][0])
            for service in SERVICES
            if facts.proven.get((BEFORE, service))
        ]
        if good:
            service, target = random.choice(good)
            lasting_s = random.uniform(*ILL_S)
            self._simulation.note(f"{service} {target.version} is ill in {BEFORE} for {lasting_s:.1f} s")
            until_s = self._simulation.time.now_s + lasting_s
            self._simulation.host.ill[BEFORE, service, target.version.text] = "wrong", until_s

    def roll_back(self, environment: str = "", service: str = "") -> None:
        """`ugs rollback`, mostly of what was promoted."""
        environment = environment or (HERE if self._random.random() < 0.6 else BEFORE)
        service, pair = service or self._random.choice(SERVICES), self._simulation.pair
        holder = pair.holder(environment) if pair else None
        self._simulation.ask(
            lambda life: people.rollback(
                life.fleet, environment, service, actor="grace", reason="it loses orders"
            ),
            "rollback",
            f"{environment} {service}",
            holder.life if holder else None,
        )

    def _try_again(self) -> None:
        """`ugs retry` or `ugs quarantine release`, of what failed in production or in staging."""
        shut = sorted({key[:2] for key in self._simulation.facts.shut})
        if not shut:
            return
        environment, service = self._random.choice(shut)
        if self._random.random() < 0.5:
            self._simulation.ask(
                lambda life: people.retry(life.fleet, environment, service, actor="grace"),
                "retry",
                f"{environment} {service}",
            )
            return
        self._simulation.say(
            lambda life: people.release(life.fleet, environment, service, actor="grace", why="mended"),
            "release",
            f"{environment} {service}",
        )


def policy_in(tree: Tree) -> Policy | None:
    """The policy that a commit has; None where it has none, or its file is broken."""
    path = fleet.main_of(tree, HERE)
    found = POLICY.search(BLOBS[tree[path]].decode()) if path else None
    if found is None:
        return None
    classes = tuple(found[3].split(", ")) if found[3] else ("major", "minor", "patch")
    return Policy(int(found[1]), found[2] or "nobody", classes)


def moves_of(made: Made) -> list[Move]:
    """What a commit says that it promotes; nothing where it is no promotion."""
    found = list[Move]()
    for key, value in made.commit.trailers:
        if key == MARK:
            found.append(Move("", "", "", value))
        elif found and key in ("Ugs-Service", "Ugs-From", "Ugs-To"):
            what = {"Ugs-Service": "service", "Ugs-From": "was", "Ugs-To": "will"}[key]
            found[-1] = found[-1]._replace(**{what: value})
    return found


def step_of(was: str, will: str) -> str:
    before, after = was.split("."), will.split(".")
    if before[0] != after[0]:
        return "major"
    return "minor" if before[1] != after[1] else "patch"


def broken(simulation: Simulation, environment: str) -> bool:
    """Whether any of its files at the tip cannot be read."""
    tree = simulation.remote.made[simulation.remote.tip].tree
    return any(fleet.BROKEN in BLOBS[tree[path]] for path in fleet.files_of(tree, environment))


def pinned_by(simulation: Simulation, tip: str, service: str, version: str) -> str:
    """The commit of the branch, if any, that had production pin this version."""
    history = simulation.remote.history(tip, first_parent=True)
    found = (made.commit.sha for made in history if fleet.pins_of(made.tree, HERE).get(service) == version)
    return next(found, "")


def _health(simulation: Simulation, service: str, since: datetime) -> list[tuple[str, datetime]]:
    """What the daemon has recorded of a service's health in staging since then, the oldest first."""
    rows = simulation.disk.all(
        f"SELECT state, since FROM health_status WHERE {ANY_NAME} AND service = ? AND since > ? ORDER BY id",
        names_of(BEFORE),
        service,
        text_of(since),
    )
    return [(row["state"], time_of(row["since"])) for row in rows]


def _instant_s(at: datetime) -> float:
    return (at - EPOCH).total_seconds()


# after every push of ours: (simulation, the branch before, the branch after)


def it_is_promoted_once(simulation: Simulation, before: str, after: str) -> str:
    """Also where the answer to the push was lost, or its daemon died over it."""
    marks = {move.mark for move in moves_of(simulation.remote.made[after])}
    for made in simulation.remote.history(before) if marks else ():
        if again := marks & {move.mark for move in moves_of(made)}:
            return f"{after[:12]} promotes again what {made.commit.sha[:12]} has promoted: {', '.join(again)}"
    return ""


def it_moves_what_it_says(simulation: Simulation, before: str, after: str) -> str:
    """Each pin upwards by one trailer, from what stands at the tip, and nothing of it but the version."""
    made, moves = simulation.remote.made, moves_of(simulation.remote.made[after])
    if not moves:
        return ""
    if made[after].commit.parents != (before,):
        return f"{after[:12]} is not made on the tip {before[:12]}"
    was, now = (fleet.pins_of(made[sha].tree, HERE) for sha in (before, after))
    moved = {
        (one, was.get(one), now.get(one)) for one in was.keys() | now.keys() if was.get(one) != now.get(one)
    }
    if moved != {(move.service, move.was, move.will) for move in moves}:
        return f"{after[:12]} says {moves}, and moves {moved}"
    for move in moves:
        if move.will <= move.was:
            return f"{after[:12]} moves {move.service} from {move.was} to {move.will}"
        if move.mark != hashlib.sha256(f"{HERE}\0{move.service}\0{move.will}".encode()).hexdigest()[:16]:
            return f"{after[:12]} marks {move.service} {move.will} as {move.mark}"
    return _moves_versions_alone(simulation, before, after)


def _moves_versions_alone(simulation: Simulation, before: str, after: str) -> str:
    made, lines = simulation.remote.made, [_lines_of(simulation, sha) for sha in (before, after)]
    old, new = lines[0] - lines[1], lines[1] - lines[0]
    said = set(old)
    for move in moves_of(made[after]):
        said = {(path, _moved(line, move)) for path, line in said}
    paths = {path for path, _ in new}
    here = set(fleet.files_of(made[before].tree, HERE))
    fits = said == new and made[after].changed == paths and paths <= here
    return "" if fits else f"{after[:12]} changes {sorted(old)} to {sorted(new)}"


def _moved(line: str, move: Move) -> str:
    """The line with the version of this pin moved, which may be one of several in it: a revert of the only pin leaves
    `pins: {}`, which is filled on that line."""
    pin = rf'((?:^|[{{,])\s*{move.service}:\s*(?:\{{[^{{}}]*?\bversion:\s*)?)"{re.escape(move.was)}"'
    return re.sub(pin, rf'\g<1>"{move.will}"', line, count=1)


def _lines_of(simulation: Simulation, sha: str) -> set[tuple[str, str]]:
    tree = simulation.remote.made[sha].tree
    return {
        (path, line)
        for path in tree
        if path.startswith("environments/")
        for line in BLOBS[tree[path]].decode().splitlines()
    }


def the_policy_wants_it(simulation: Simulation, before: str, after: str) -> str:
    moves, policy = moves_of(simulation.remote.made[after]), policy_in(simulation.remote.made[before].tree)
    if moves and (policy is None or policy.by != "commit"):
        return f"{after[:12]} promotes, and by the tip nobody is to: {policy}"
    steps = [step_of(move.was, move.will) for move in moves]
    if policy and (left := [step for step in steps if step not in policy.classes]):
        return f"{after[:12]} promotes by steps that are left to people: {', '.join(left)}"
    return ""


def it_was_never_pinned_there(simulation: Simulation, before: str, after: str) -> str:
    """What a person or a revert has moved away is brought by nobody's hand but a person's."""
    for move in moves_of(simulation.remote.made[after]):
        if by := pinned_by(simulation, before, move.service, move.will):
            return f"{after[:12]} promotes {move.service} {move.will}, which {by[:12]} had pinned there"
    return ""


def it_has_proved_healthy_and_soaked(simulation: Simulation, before: str, after: str) -> str:
    return unproven(simulation, before, after, _pushed_s(simulation))


def unproven(simulation: Simulation, before: str, after: str, decided_s: float) -> str:
    """What of a commit is promoted without a proof or a soak. `before`: what was in force when that was decided."""
    made = simulation.remote.made
    policy = policy_in(made[before].tree)
    for move in moves_of(made[after]) if policy else ():
        assert policy is not None
        if has_moved_since(simulation, (BEFORE, move.service), decided_s):
            continue
        pinned = fleet.pins_of(made[before].tree, BEFORE).get(move.service)
        if not broken(simulation, BEFORE) and (pinned is None or pinned < move.will):
            return f"{move.service} {move.will} is promoted, and {BEFORE} pins {pinned}"
        if relay.is_anothers(simulation, BEFORE, decided_s):
            wrong = relay.untold(simulation, move.service, move.will, policy.soak_s, decided_s)
        else:
            wrong = _unsoaked(simulation, move, policy, decided_s)
        if wrong:
            return wrong
    return ""


def _unsoaked(simulation: Simulation, move: Move, policy: Policy, pushed_s: float) -> str:
    """Why what is last-good in staging, which this daemon has, may not be promoted; empty when it may."""
    good = list(relay.last_good(simulation, move.service, pushed_s))
    since_s = min((one.at_s for one in good if one.is_of(move.will)), default=None)
    if since_s is None:
        last = good[-1].target if good else None
        return f"{move.service} {move.will} is promoted, and last-good in {BEFORE} is {last}"
    if simulation.pair is None and simulation.rules.leased and BEFORE in simulation.rival.held_s:
        return ""  # nobody here knows how it does
    soaked_s = pushed_s - _well_since_s(simulation, move.service, since_s, pushed_s)
    if soaked_s < policy.soak_s - EXACT_S:
        return f"{move.service} {move.will} is promoted after {soaked_s:.3f} s, and soaks {policy.soak_s}"
    return ""


def _pushed_s(simulation: Simulation) -> float:
    """When the push was decided: what was recorded later counts for it no more."""
    assert simulation.life is not None
    return simulation.life.loop.handed_s


def has_moved_since(simulation: Simulation, key: tuple[str, str], since_s: float) -> bool:
    """Whether anything came of an upgrade there since."""
    facts = simulation.facts
    return any(
        (one.environment, one.service) == key and facts.settled_s.get(one.operation, 0.0) >= since_s
        for one in facts.upgrades.values()
    )


def _well_since_s(simulation: Simulation, service: str, proven_s: float, at_s: float) -> float:
    """Since when what is last-good in staging was well without a break at that instant, by what the daemon has
    recorded of it; infinity where it was not."""
    since_s = proven_s
    for state, at in _health(simulation, service, instant(proven_s)):
        if _instant_s(at) >= at_s:
            break
        if state == "degraded":
            since_s = math.inf
        elif state == "healthy" and since_s == math.inf:
            since_s = _instant_s(at)
    return since_s


def it_has_failed_nowhere(simulation: Simulation, _before: str, after: str) -> str:
    """It is in quarantine neither here nor where it comes from."""
    return failed(simulation, after, _pushed_s(simulation))


def failed(simulation: Simulation, after: str, decided_s: float) -> str:
    """What of a commit was known then to have failed."""
    made, facts = simulation.remote.made[after], simulation.facts
    for move in moves_of(made):
        for (environment, service, target), by in facts.shut.items():
            known = relay.knows(simulation, by, environment, decided_s)
            if known and (service, target.version.text) == (move.service, move.will):
                return f"{service} {move.will} is promoted, and {by} found it to fail in {environment}"
    return ""


def it_is_neither_held_nor_under_way(simulation: Simulation, _before: str, after: str) -> str:
    return hindered(simulation, after, _pushed_s(simulation))


def hindered(simulation: Simulation, after: str, decided_s: float) -> str:
    """What of a commit was held then, or under way."""
    facts, at = simulation.facts, text_of(instant(decided_s))
    for move in moves_of(simulation.remote.made[after]):
        held_by = simulation.disk.all(
            f"SELECT owner FROM holds WHERE {ANY_NAME} AND (service IS NULL OR service = ?) AND since < ?"
            " AND (until IS NULL OR until > ?) AND (released_at IS NULL OR released_at > ?)",
            names_of(HERE),
            move.service,
            *[at] * 3,
        )
        if held_by:
            return f"{move.service} {move.will} is promoted, and {held_by[0]['owner']} holds it"
        for one in facts.upgrades.values():
            mine = (one.environment, one.service) == (HERE, move.service) and one.phase in ENGAGED
            if mine and facts.begun_s(one) < decided_s:
                return f"{move.service} {move.will} is promoted, and {one.operation} is {one.phase}"
    return ""


def it_has_what_it_requires(simulation: Simulation, _before: str, after: str) -> str:
    pins = fleet.pins_of(simulation.remote.made[after].tree, HERE)
    for move in moves_of(simulation.remote.made[after]):
        other, least = NEEDED.get((move.service, move.will), ("", ""))
        if other and pins.get(other, "") < least and not broken(simulation, HERE):
            return f"{move.service} {move.will} is promoted, and {other} is pinned to {pins.get(other)}"
    return ""


def who_has_not_the_lease_promotes_nothing(simulation: Simulation, _before: str, after: str) -> str:
    if not moves_of(simulation.remote.made[after]) or simulation.life is None:
        return ""
    has = simulation.rival.has(HERE, simulation.life.loop.handed_s)
    return f"{after[:12]} promotes, and {HERE} is another daemon's" if has else ""


def _remember(simulation: Simulation, _before: str, after: str) -> str:
    if (moves := moves_of(simulation.remote.made[after])) and simulation.promoting:
        simulation.promoting.pushed[after] = moves
    return ""


AFTER_PUSH = (
    it_is_promoted_once,
    it_moves_what_it_says,
    the_policy_wants_it,
    it_was_never_pinned_there,
    it_has_proved_healthy_and_soaked,
    it_has_failed_nowhere,
    it_is_neither_held_nor_under_way,
    it_has_what_it_requires,
    who_has_not_the_lease_promotes_nothing,
    _remember,
)


# in the end


def unfollowed(simulation: Simulation, environment: str) -> list[str]:
    """The pins of production that do not follow staging's, and nothing that lasts is in the way."""
    if simulation.promoting is None or environment != HERE:
        return []
    if broken(simulation, BEFORE) or broken(simulation, HERE):
        return []
    policy = policy_in(simulation.remote.made[simulation.remote.tip].tree)
    if policy is None or policy.by == "nobody" or simulation.life is None:
        return []
    if any(simulation.life.core.store.recovery(name) for name in (BEFORE, HERE)):
        return []  # in safe mode: a person has to say that what is known will do
    due = [(service, version) for service in SERVICES if (version := due_of(simulation, policy, service))]
    asking = simulation.asking
    if behind := [one for one in due if not (asking and asking.is_asked(*one))]:
        return [f"{service} {version} is promoted by nobody" for service, version in behind]
    known = simulation.life.core.promotions.get(HERE, {})
    silent = [one for one in simulation.pins(HERE) if one not in known or not known[one].why]
    return [f"{service} is not promoted, and nothing says why" for service in silent]


def due_of(simulation: Simulation, policy: Policy, service: str) -> str:
    """The version that should be pinned in production; empty where there is none, or it need not be."""
    facts, pinned = simulation.facts, simulation.pins(HERE).get(service)
    there = simulation.pins(BEFORE).get(service)
    good = next(relay.last_good(simulation, service, simulation.time.now_s), None)
    if pinned is None or there is None or good is None or not good.sure or good.target is None:
        return ""
    target, version = good.target, good.target.version.text
    if version <= pinned:
        return ""
    other, least = NEEDED.get((service, version), ("", ""))
    well = simulation.host.running((BEFORE, service)) == [target] * simulation.rules.instances
    gone = {(one, shut.version.text) for _, one, shut in facts.shut}
    lasting = (
        there < version,
        not well,
        step_of(pinned, version) not in policy.classes,
        (service, version) in gone,
        held(simulation, HERE, service),
        bool(other) and simulation.pins(HERE).get(other, "") < least,
        any(
            (one.environment, one.service) == (HERE, service) and one.phase in ENGAGED | {Phase.STUCK}
            for one in facts.upgrades.values()
        ),
        bool(pinned_by(simulation, simulation.remote.tip, service, version)),
    )
    return "" if any(lasting) else version


def at_the_end(simulation: Simulation) -> str:
    """Each promotion that arrived was told, and stands in the audit once; none does that did not."""
    promoting = simulation.promoting
    if promoting is None:
        return ""
    sql = "SELECT service, detail FROM maintenance_logs WHERE event = 'promoted'"
    rows = [row for peer in simulation.peers for row in peer.disk.all(sql)]
    for sha, moves in promoting.pushed.items():
        counts = [
            sum(row["service"] == one.service and sha in row["detail"] for row in rows) for one in moves
        ]
        told = [one for one in simulation.messenger.told if f"promoted by {sha[:12]}" in one.sentence]
        gone = not simulation.remote.reaches(simulation.remote.tip, sha)
        if not gone and (set(counts) != {1} or not told):
            return f"{sha[:12]} has promoted, and stands {counts} times in the audit, and was told {len(told)} times"
        if max(counts) > 1:
            return f"{sha[:12]} stands {counts} times in the audit"
    if strange := [
        row["detail"] for row in rows if not any(sha in row["detail"] for sha in promoting.pushed)
    ]:
        return f"it counts as promoted, and was never pushed: {strange[0]}"
    return ""
