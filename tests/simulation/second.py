"""A second whole daemon on the same remote and the same engine, with a database and a clone of its own.

Who has an environment's lease acts on it. One is killed, stopped, or cut off from the remote for a while, and the
other takes over, in the midst of upgrades.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, cast

from reconciler.engine.recovery import accept
from reconciler.model.codec import decode
from reconciler.model.hosts import Rollouts
from reconciler.model.lease import Claim, Holder, ref_of
from reconciler.model.upgrade import Phase
from tests.simulation import relay, rest
from tests.simulation.database import Disk
from tests.simulation.facts import Facts
from tests.simulation.hands import Taken
from tests.simulation.life import SETTINGS, Life
from tests.simulation.loss import reverted, told
from tests.simulation.remote import Refs
from tests.simulation.rival import LASTS_S
from tests.simulation.shared import Link, Others, SharedRegister
from tests.simulation.wall import Wall

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

JOINS_MAX_S = 12.0
AWAY_S = (0.5, 14.0)
RESTART_S = 2.0
LENDS_ODDS, LENDS_LOOKS = 0.5, 12
LENT_S, GIVES_BACK_S = (6.5, 10.0), (0.1, 1.5)
"""How long somebody stands still whose environments the other takes, and gives back so long before."""
THEIRS = Holder("ba9876543210", "theirs", LASTS_S)


class Second:
    """The other daemon and what is its own; all else it shares with the first."""

    def __init__(self, first: Simulation, pair: Pair) -> None:
        self._first = first
        self.life: Life | None = None
        self.lives = 0
        self.refs, self.disk = Refs(), Disk()
        self.link = Link(first.weather)
        self.wall = Wall(first.time)
        self.wall.set_by(first.skew_s)
        self.holder, self.settings = THEIRS, dataclasses.replace(SETTINGS, state=SETTINGS.state / "theirs")
        self.register = SharedRegister(self.link, self.holder, pair.refs, pair.hands)
        self.rival = Others(self.holder, self.register, pair.hands)
        self.facts = Facts(cast(Any, self))
        self.facts.reverts = first.facts.reverts
        self.disk.moved = self.facts.committed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._first, name)

    def knows(self, operation: str) -> bool:
        return bool(self.pair.knows(self, operation))

    def note(self, text: str) -> None:
        self._first.note(f"[theirs] {text}")

    def share_engine(self) -> None:
        """What becomes of services here becomes of the first's: they are the same."""
        own, shared = self.facts, self._first.facts
        own.shut, own.proven, own.proven_s = shared.shut, shared.proven, shared.proven_s
        own.proven_by, own.rolled_back = shared.proven_by, shared.rolled_back
        own.removed, own.settled_s, own.deployed = shared.removed, shared.settled_s, shared.deployed

    def bury(self) -> None:
        type(self._first).bury(cast(Any, self))


def _has_under_way(peer: Peer) -> bool:
    found = peer.facts.upgrades.values()
    return any(
        one.phase in (Phase.APPLYING, Phase.VERIFYING, Phase.RESTORING)
        and peer.life.core.leases.standing(one.environment) == "held"
        for one in found
    )


Peer = Any
"""The simulation itself, which is the first daemon's world, or `Second`."""


class Pair:
    """Both daemons, in one time: at each instant those live for whom something is due."""

    def __init__(self, first: Simulation, random: Random, *, relays: bool = False) -> None:
        """`relays`: each goes by what the other has pushed or proposed."""
        self.first, self._random = first, random
        self.refs: dict[str, tuple[str, str]] = {}
        self.hands: dict[str, tuple[Claim, float]] = {}
        first.link = Link(first.weather)
        first.register = SharedRegister(first.link, first.holder, self.refs, self.hands)
        first.rival = cast(Any, Others(first.holder, first.register, self.hands))
        self.second = Second(first, self)
        self._furnish()
        self.peers: tuple[Peer, Peer] = (first, self.second)
        self.acting: Peer = first
        self.relay = relay.Relay(self, first._random("relay")) if relays else None
        self._lent = False
        self._away_s: dict[Peer, float] = {self.second: random.uniform(0.0, JOINS_MAX_S)}
        """Who does not live, or stands still, until when."""
        self._stopped_s: dict[Peer, float] = {}
        """Since when who stands still does so."""

    @property
    def machines(self) -> tuple[Peer, ...]:
        """Of each machine, somebody whose services run there."""
        return (self.first,)

    def _furnish(self) -> None:
        """Give the second daemon the services that it is there for."""
        # What it strikes has its effect after the lease has changed hands.
        self.first.weather.spare("engine-slow")
        self.second.share_engine()
        self.first.host.asker = lambda: self.acting

    # what happens to them

    def moments(self, end_s: float) -> list[tuple[float, Callable[[], None]]]:
        random = self._random
        acts = self._acts()
        found: list[tuple[float, Callable[[], None]]] = []
        for _ in range(random.randint(2, 5)):
            act, away_s = random.choice(acts), random.uniform(*AWAY_S)

            def strike(act: Callable[[Peer, float], None] = act, away_s: float = away_s) -> None:
                act(self._chosen(), min(end_s, self.first.time.now_s + away_s))

            found.append((random.uniform(2.0, end_s - 2.0), strike))
        found += [(random.uniform(2.0, end_s), self._accept) for _ in range(3)]
        lends = self.first._random("lend")
        if lends.random() < LENDS_ODDS:
            found += [(lends.uniform(3.0, end_s - 12.0), self._lend) for _ in range(LENDS_LOOKS)]
        return found + (self.relay.moments(end_s) if self.relay else [])

    def _acts(self) -> tuple[Callable[[Peer, float], None], ...]:
        return self.kill, self._terminate, self.stop, self.cut

    def _lend(self) -> None:
        """Once, stop who has something under way until the other had it all, and has just given it back."""
        first, owners = self.first, [peer for peer in self.peers if peer.life and _has_under_way(peer)]
        if self._lent or not owners:
            return
        self._lent, owner = True, owners[0]
        other = next(peer for peer in self.peers if peer is not owner)
        random, began_s = first._random("lent"), first.time.now_s
        self._away_s.pop(other, None)
        self.stop(owner, began_s + random.uniform(*LENT_S))
        first.pass_time(self._away_s[owner] - began_s - random.uniform(*GIVES_BACK_S))
        self._terminate(other, first.time.now_s + 10.0)

    def _chosen(self) -> Peer:
        """Mostly who has an environment."""
        holder = self.holder(self._random.choice(self.first.rules.environments))
        return holder if holder and self._random.random() < 0.75 else self._random.choice(self.peers)

    def kill(self, peer: Peer, until_s: float) -> None:
        if peer.life:
            peer.note("kill -9")
        peer.bury()
        self._away_s[peer] = until_s

    def _terminate(self, peer: Peer, until_s: float) -> None:
        if peer.life:
            peer.note("SIGTERM")
            peer.life.daemon.stop()
            self._away_s.pop(peer, None)
            self._next_away_s = until_s

    def stop(self, peer: Peer, until_s: float) -> None:
        if peer.life:
            peer.note("SIGSTOP")
            self._away_s[peer], self._stopped_s[peer] = until_s, self.first.time.now_s

    def cut(self, peer: Peer, until_s: float) -> None:
        peer.note("cut off from the remote")
        peer.link.cut_until_s = until_s

    def _accept(self) -> None:
        """`ugs recover --accept`, where anything is in safe mode."""
        for peer in self.peers:
            store = peer.life.core.store if peer.life else None
            if store and not store.damage and store.recoveries():
                self.first.say(
                    lambda life: accept(life.core, life.fleet.passes, None, actor="ada"),
                    "recover",
                    "",
                    peer.life,
                )

    def taken_back(self, operation: str) -> Taken:
        """Of several hosts, what a revert of a rollout is judged by."""
        raise NotImplementedError

    def published(self, environment: str) -> Rollouts:
        """What several hosts have published of their rollouts."""
        raise NotImplementedError

    def waits_for_ever(self, environment: str, service: str) -> bool:
        """Whether several hosts may wait for the rollout of a service as long as nobody acts."""
        raise NotImplementedError

    def holder(self, environment: str) -> Peer | None:
        """Who may act on it now, by what it itself knows."""
        for peer in self.peers:
            if peer.life and peer.life.core.leases.standing(environment) == "held":
                return peer
        return None

    def whom(self) -> Peer:
        """Whom a person asks: mostly who has it."""
        return self._chosen()

    def knows(self, peer: Peer, operation: str) -> bool:
        """Whether a daemon can know how an upgrade ended: by itself, or by what Git says."""
        own = peer.facts.upgrades.get(operation)
        if own and (own.failed or own.phase is Phase.SUCCEEDED):
            return True
        cut_off = self.first.time.now_s < peer.link.cut_until_s
        fetched_s = peer.life.clone.fetched_s if peer.life else None
        heard = fetched_s is not None and fetched_s >= peer.facts.settled_s.get(operation, 0.0)
        found = (one.facts.upgrades.get(operation) for one in self.peers)
        name = next((upgrade.environment for upgrade in found if upgrade), "")
        heard = heard and not cut_off and self._knows_whose(peer, name)
        if not heard or reverted(self.first.remote, peer.facts.reverts, operation):
            return heard
        # What is told of an environment while a daemon has it, that daemon need not read.
        late = not peer.board and relay.told_s(peer, operation) >= relay.known_s(
            peer, name, self.first.time.now_s
        )
        return not late and told(self.first.remote, peer.facts.reverts, operation)

    def _knows_whose(self, peer: Peer, environment: str) -> bool:
        """Whether a daemon has been answered whose an environment is now, or has it itself."""
        value, said = self.refs.get(ref_of(environment), ("", ""))
        return not value or value in peer.register.told_s or decode(said, Claim).holder == peer.holder.holder

    # time

    def until(self, end_s: float) -> None:
        time = self.first.time
        while time.now_s < end_s:
            self._start_who_is_back()
            at_s, due = end_s, list[Peer]()
            for peer in self.peers:
                when_s = self._due_s(peer, time.now_s)
                if when_s < at_s:
                    at_s, due = when_s, [peer]
                elif when_s == at_s and due:
                    due.append(peer)
            if not due or (
                at_s > time.now_s and any(time.now_s < back_s <= at_s for back_s in self._away_s.values())
            ):
                backs = [back_s for back_s in self._away_s.values() if time.now_s < back_s <= at_s]
                time.now_s = min([at_s, *backs])
                continue
            self._step(due[0] if len(due) == 1 else self._random.choice(due), at_s)

    def _due_s(self, peer: Peer, now_s: float) -> float:
        if peer.life is None or self._away_s.get(peer, 0.0) > now_s:
            return float("inf")
        return max(now_s, float(peer.life.loop.due_s()))

    def _start_who_is_back(self) -> None:
        now_s = self.first.time.now_s
        for peer in self.peers:
            if self._away_s.get(peer, 0.0) > now_s:
                continue
            if peer.life is not None and self._away_s.pop(peer, None) is not None:
                peer.note("SIGCONT")
                peer.facts.stood_still.append((self._stopped_s[peer], now_s))
            if peer.life is None:
                self._away_s.pop(peer, None)
                peer.life = Life(peer)
                peer.lives += 1
                peer.note(f"daemon {peer.lives} starts")

    def _step(self, peer: Peer, at_s: float) -> None:
        from tests.simulation.simulation import Killed

        self.acting, life = peer, peer.life
        try:
            life.loop.run_until(at_s, life.task.done)
        except Killed as kill:
            peer.note(f"kill -9 {kill}")
            peer.bury()
            if self.relay:
                self._away_s[peer] = self.first.time.now_s + self.relay.is_away_s()
            return
        if self.first.ended(life):
            peer.bury()
            self._away_s[peer] = max(at_s + RESTART_S, getattr(self, "_next_away_s", 0.0))
            self._next_away_s = 0.0

    # what is looked at

    def restless(self) -> list[str]:
        """What is not at rest: each daemon by itself, and each environment as its holder sees it."""
        return [why for peer in self.peers for why in rest.of_the_daemon(peer)] or self._unsettled()

    def _unsettled(self) -> list[str]:
        """What of the environments is not at rest, where the daemons are."""
        found = list[str]()
        for environment in self.first.rules.environments:
            if (holder := self.holder(environment)) is None:
                found.append(f"{environment} is in nobody's hands")
            else:
                found += rest.of_the_environment(holder, environment)
        return found

    def at_the_end(self) -> str:
        for environment in self.first.rules.environments:
            if wrong := rest.at_the_end(cast(Any, self.holder(environment)), (environment,)):
                return wrong
        return ""
