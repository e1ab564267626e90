"""Two whole daemons where production's pins follow staging's: which environments each of them has, what befalls them
over a push that promotes, and what one can know of what the other did."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.model.git_notes import adoption_id
from reconciler.model.lease import ref_of
from reconciler.model.target import Target
from reconciler.model.upgrade import Phase, Upgrade
from tests.simulation.rival import ANSWER_MAX_S

if TYPE_CHECKING:
    from tests.simulation.second import Pair
    from tests.simulation.simulation import Simulation

BEFORE, HERE = "staging", "production"
ALL = ()
SCOPES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    *[(ALL, ALL)] * 4,
    *[(ALL, (HERE,)), ((HERE,), ALL)] * 2,
    *[(ALL, (BEFORE,)), ((BEFORE,), ALL)] * 2,
    ((BEFORE,), (HERE,)),
    ((HERE,), (BEFORE,)),
)
"""`environments` of both daemons' configurations."""
REFUSES, REFUSES_S = (0, 4), (5.0, 15.0)
"""How often the remote takes no claim of one daemon's to one environment, and for how long."""
READS_S = 1.0
"""So long after it was answered whether there is news, a daemon has read what others tell."""
BEFALLS_ODDS = {
    "commit_of": 0.2,
    "deliver": 0.3,
    "at promote:done": 0.3,
}
AWAY_S = 1.0, 14.0
"""How often something befalls who does this, or has just done it; and for how long."""


class Proof(NamedTuple):
    """When a target proved healthy in staging (None: when it was removed there), and by which upgrade; empty where it
    was adopted, or does not matter."""

    at_s: float
    target: Target | None
    by: str = ""
    sure: bool = True
    """Whether the daemon that is asked must know of it."""

    def is_of(self, version: str) -> bool:
        return self.target is not None and self.target.version.text == version


class Relay:
    """What is drawn of two daemons that go by each other's pushes, beside what befalls any two."""

    TELLS_S = 4.0
    """So often who has an environment tells how versions have done since: a minute is longer than the story."""

    def __init__(self, pair: Pair, random: Random) -> None:
        self._pair, self._random = pair, random
        self._fate = Random(random.random())
        for peer, names in zip(pair.peers, random.choice(SCOPES), strict=True):
            peer.settings = dataclasses.replace(peer.settings, environments=names)

    def moments(self, end_s: float) -> list[tuple[float, Callable[[], None]]]:
        random = self._random
        return [(random.uniform(2.0, end_s - 12.0), self._refuse) for _ in range(random.randint(*REFUSES))]

    def _refuse(self) -> None:
        """A hook refuses what one daemon says of one environment, which the other can have."""
        name = self._random.choice((BEFORE, HERE))
        owner = self._pair.holder(name)
        if owner:
            owner.note(f"the remote takes no lease of {name} from it any more")
            until_s = self._pair.first.time.now_s + self._random.uniform(*REFUSES_S)
            owner.register.refused_s[ref_of(name)] = until_s

    def befalls(self, where: str) -> None:
        """Who promotes, or proposes, may be cut off from the remote, or stopped, before that is done or before it is
        known."""
        pair, fate = self._pair, self._fate
        if where not in BEFALLS_ODDS or pair.first.world.mended or fate.random() >= BEFALLS_ODDS[where]:
            return
        away = fate.choice((pair.cut, pair.stop))
        away(pair.acting, pair.first.time.now_s + fate.uniform(*AWAY_S))

    def hears_within(self, lasting_s: float) -> None:
        """Who looks into Git for so long before a push reads meanwhile what the other has told: mostly that what may be
        what is promoted was rolled back."""
        pair, first, fate = self._pair, self._pair.first, self._fate
        other, pins, here = pair.holder(BEFORE), first.pins(BEFORE), first.pins(HERE)
        due = sorted(one for one, version in pins.items() if here.get(one, version) < version)
        if first.promoting and due and other is not pair.acting:
            first.promoting.roll_back(BEFORE, fate.choice(due))
        life = pair.acting.life
        life.loop.call_later(lasting_s * fate.uniform(0.4, 0.8), life.daemon.nudge)

    def is_away_s(self) -> float:
        """For how long who was killed over something does not come back."""
        killed = not self._pair.first.world.mended and self._fate.random() < 0.5
        return self._fate.uniform(*AWAY_S) if killed else 0.0


# what one daemon can know of what the other did


def told_s(simulation: Simulation, operation: str, says: str = "") -> float:
    """When the remote was first told of an upgrade what `says` stands for; infinity: not yet."""
    return next(
        (at_s for at_s, one, line in simulation.remote.noted if one == operation and says in line), math.inf
    )


def is_anothers(simulation: Simulation, environment: str, at_s: float) -> bool:
    return simulation.pair is not None and simulation.rival.has(environment, at_s)


def known_s(simulation: Simulation, environment: str, at_s: float) -> float:
    """Up to when a daemon must have read at that instant what the remote was told of an environment: of what it has in
    its hands once, when it took it; of others whenever it asks for news."""
    if (since_s := _taken_s(simulation, environment, at_s)) is not None:
        return since_s
    assert simulation.life is not None
    clone = simulation.life.clone
    reads_s = (read_s for read_s in clone.read_s if read_s < at_s - ANSWER_MAX_S)
    return max((*reads_s, *(asked_s for asked_s in clone.polled_s if asked_s < at_s - READS_S)), default=0.0)


def _taken_s(simulation: Simulation, environment: str, at_s: float) -> float | None:
    """Since when a daemon has had an environment at that instant without a break; None where it has not."""
    register: Any = simulation.register
    claim, since_s = register.hands.get(ref_of(environment), (None, 0.0))
    mine = claim is not None and claim.holder == simulation.holder.holder
    return float(since_s) if mine and since_s < at_s - ANSWER_MAX_S else None


def knows(simulation: Simulation, operation: str, environment: str, at_s: float) -> bool:
    """Whether a daemon must have known by then how an upgrade ended: by itself, or by what it has read."""
    if simulation.pair is None or operation in simulation.facts.upgrades:
        return simulation.facts.settled_s.get(operation, math.inf) < at_s
    return told_s(simulation, operation) < known_s(simulation, environment, at_s)


def last_good(simulation: Simulation, service: str, at_s: float) -> Iterator[Proof]:
    """What may be last-good in staging by what a daemon knows at that instant, the newest first: the last of which it
    must have known, and what has come since that it may have heard of."""
    facts = simulation.facts
    if simulation.pair is None:
        proven = ((BEFORE, service, target) for target in facts.proven.get((BEFORE, service), []))
        known = (one for one in proven if one in facts.adopted or one in facts.proven_by)
        yield from (Proof(facts.proven_s[one], one[2]) for one in islice(known, 1))
        return
    for proof in _proofs(simulation, service, at_s):
        fell = _fell(simulation, service, proof) if proof.target else []
        if any(knows(simulation, operation, BEFORE, at_s) for operation in fell):
            continue
        sure = not fell and _is_known(simulation, service, proof, at_s)
        if proof.target:
            yield proof._replace(sure=sure)
        if sure:
            return


def _proofs(simulation: Simulation, service: str, at_s: float) -> list[Proof]:
    """What proved healthy in staging by then, in either daemon's hands, of which this one can have heard; the newest
    first."""
    facts = simulation.facts
    found = [Proof(facts.proven_s[one], one[2]) for one in facts.adopted if one[:2] == (BEFORE, service)]
    for peer in simulation.peers:
        for adopted in peer.facts.adopted if peer is not simulation else ():
            by = adoption_id(*adopted)
            if adopted[:2] == (BEFORE, service) and told_s(simulation, by) < at_s:
                found.append(Proof(peer.facts.proven_s[adopted], adopted[2], by))
    for peer, one in _upgrades(simulation, service):
        settled_s = facts.settled_s.get(one.operation, math.inf)
        told = peer is simulation or told_s(simulation, one.operation) < at_s
        if one.phase is Phase.SUCCEEDED and told and settled_s < at_s:
            found.append(Proof(settled_s, one.to, one.operation))
    return sorted(found, key=lambda one: one.at_s, reverse=True)


def _fell(simulation: Simulation, service: str, proof: Proof) -> list[str]:
    """By which upgrades of either daemon it failed since, was rolled back, or went back with another."""
    settled_s = simulation.facts.settled_s
    return [
        one.operation
        for _, one in _upgrades(simulation, service)
        if one.to == proof.target
        and (one.failed or one.taken_with)
        and settled_s.get(one.operation, 0.0) >= proof.at_s
    ]


def _upgrades(simulation: Simulation, service: str) -> Iterator[tuple[Simulation, Upgrade]]:
    for peer in simulation.peers:
        for one in peer.facts.upgrades.values():
            if (one.environment, one.service) == (BEFORE, service):
                yield peer, one


def _is_known(simulation: Simulation, service: str, proof: Proof, at_s: float) -> bool:
    """Whether a daemon must have known of it: of what another one has, by what was told; of what it has itself, by
    itself, and by what it has read when it took it, which is the last that others did there."""
    read_s = known_s(simulation, BEFORE, at_s)
    is_told = told_s(simulation, proof.by) < read_s
    if _taken_s(simulation, BEFORE, at_s) is None:
        return is_told
    if not proof.by or proof.by in simulation.facts.upgrades:
        return True
    newest = next(iter(_proofs(simulation, service, read_s)), proof)
    return is_told and newest.by == proof.by


def untold(simulation: Simulation, service: str, version: str, soak_s: float, at_s: float) -> str:
    """Why a version may not be promoted by what another daemon, that has staging, has told; empty when it may."""
    good = list(last_good(simulation, service, at_s))
    found = [one for one in good if one.is_of(version)]
    if not found:
        last = good[-1].target if good else "not known"
        return f"{service} {version} is promoted, and what was told to be last-good in {BEFORE} is {last}"
    soaked_s = at_s - min(_well_since_s(simulation, one, at_s) for one in found)
    if soaked_s < soak_s - ANSWER_MAX_S:
        return f"{service} {version} is promoted after {soaked_s:.3f} s by what was told, and soaks {soak_s}"
    return ""


def _well_since_s(simulation: Simulation, proof: Proof, at_s: float) -> float:
    """Since when it was well without a break, by what was told of it; infinity where it was not."""
    known_at_s, since_s = known_s(simulation, BEFORE, at_s), proof.at_s
    for said_s, operation, line in simulation.remote.noted:
        if operation == proof.by and said_s < known_at_s:
            if '"health": "degraded"' in line:
                since_s = math.inf
            elif '"health": "healthy"' in line and since_s == math.inf:
                since_s = proof.at_s
    return since_s
