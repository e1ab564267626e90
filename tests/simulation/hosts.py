"""Two hosts of one environment: a whole daemon on each, with a machine, a database and a clone of its own.

Each acts on its own machine, and publishes what came of it; what concerns all of the environment, whoever has its
lease does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from reconciler.model.codec import decode
from reconciler.model.hosts import Reports, Rollout, Rollouts
from reconciler.model.lease import share_of
from reconciler.model.register import Late, Move, Refused
from reconciler.model.upgrade import Upgrade
from tests.simulation import rest, rollouts
from tests.simulation.hands import Taken
from tests.simulation.host import Host, Nature, SimulatedDriver, SimulatedProbes
from tests.simulation.messenger import Messenger
from tests.simulation.rival import ANSWER_MAX_S, References
from tests.simulation.second import Pair, Peer
from tests.simulation.shared import Link
from tests.simulation.violation import judge

ILL_ODDS = 0.2
"""How many of the versions do something else on the second machine than on the first."""
ROLLOUT, HOSTS = "rollout/", "hosts/"


class OtherHost(Host):
    """The second machine: most versions do there what they do on the first."""

    first: Host

    def nature(self, service: str, version: str) -> Nature:
        key = service, version
        if key not in self.natures:
            common = self.first.nature(service, version)
            self.natures[key] = (
                super().nature(service, version) if self.random.random() < ILL_ODDS else common
            )
        return self.natures[key]


class Board(References):
    """What hosts tell one another in the remote, as one daemon reaches it. `published`: reference, text before and
    after."""

    def __init__(
        self,
        link: Link,
        refs: dict[str, tuple[str, str]],
        published: Callable[[str, str, str], None],
    ) -> None:
        super().__init__(link)
        self.refs, self._published = refs, published
        self._read: dict[str, list[tuple[float, str]]] = {}
        """By reference: when this daemon asked, and was answered what."""

    def read(self, *beginnings: str) -> dict[str, tuple[str, str]]:
        self._reach("fetch of the rollouts")
        found = self._found(beginnings)
        for name, (_, said) in found.items():
            self._read.setdefault(name, []).append((self._weather.now_s, said))
        return found

    def swap(self, moves: Mapping[str, Move], *, at: Any) -> dict[str, str | Late | Refused]:
        self._reach("push of the rollouts")
        answers = dict[str, str | Late | Refused]()
        for name, move in moves.items():
            before = self.refs.get(name, ("", "{}"))[1]
            answers[name] = answer = self._swap(name, move)
            if isinstance(answer, str):
                self._published(name, before, move.body)
        self._answer("the rollouts")
        return answers

    def known(self, environment: str) -> Rollouts:
        """What this daemon has been told of an environment's rollouts, and had the time to hear."""
        read = self._read.get(f"{ROLLOUT}{environment}", [])
        heard = [said for at_s, said in read if at_s < self._weather.now_s - ANSWER_MAX_S]
        return decode(heard[-1], Rollouts) if heard else Rollouts()

    def forget(self) -> None:
        """What a former daemon was told died with it."""
        self._read.clear()


class Hosts(Pair):
    """Both hosts, in one time."""

    def _furnish(self) -> None:
        first, second = self.first, cast(Peer, self.second)
        machine = OtherHost(first._random("other host"), first.weather)
        machine.first = first.host
        second.host, second.messenger = machine, Messenger(first.weather)
        second.driver, second.probes = SimulatedDriver(machine), SimulatedProbes(machine)
        self.begun: dict[str, Rollout] = {}
        """By operation, every rollout as it was last published."""
        both: tuple[Peer, ...] = (first, second)
        for peer in both:
            peer.board = Board(
                cast(Any, peer.link), self.refs, lambda *said, who=peer: self._published(who, *said)
            )

    @property
    def machines(self) -> tuple[Peer, ...]:
        return self.first, self.second

    # what happens to them

    def _acts(self) -> tuple[Callable[[Peer, float], None], ...]:
        return (*super()._acts(), self._reboot, self._crash)

    def _reboot(self, peer: Peer, until_s: float) -> None:
        """The machine goes down, with all that runs there."""
        self.kill(peer, until_s)
        peer.note("the machine goes down")
        peer.host.reboot()

    def _crash(self, peer: Peer, _until_s: float) -> None:
        somewhere = self.first.somewhere()
        peer.note(f"an instance of {somewhere[1]} dies")
        peer.host.crash(somewhere)

    # what is published

    def published(self, environment: str) -> Rollouts:
        said = self.refs.get(f"{ROLLOUT}{environment}", ("", "{}"))[1]
        return decode(said, Rollouts)

    def _published(self, peer: Peer, name: str, before: str, after: str) -> None:
        if name.startswith(HOSTS):
            _, environment, host = name.split("/")
            was, now = (decode(text, Reports).reports for text in (before, after))
            for service, report in now.items():
                if was.get(service) != report:
                    peer.note(f"{host} of {environment} says {service} {report.outcome}: {report.reason}")
                    judge(rollouts.ON_REPORT, self, peer, (environment, service), report)
            return
        environment = name.removeprefix(ROLLOUT)
        old, new = decode(before, Rollouts), decode(after, Rollouts)
        for service, rollout in new.rollouts.items():
            if old.rollouts.get(service) != rollout:
                peer.note(
                    f"{environment}: the rollout {rollout.operation} of {service} {rollout.to.version} is "
                    f"{rollout.state} {rollout.reason}"
                )
                judge(rollouts.ON_PUBLISH, self, peer, (environment, service), old, new)
                self.begun[rollout.operation] = rollout

    def failed(self, rollout: str) -> list[tuple[Peer, Upgrade]]:
        """On which hosts a rollout has failed and was taken back, and by which upgrade."""
        return [
            (peer, upgrade)
            for peer in self.peers
            for upgrade in peer.facts.upgrades.values()
            if upgrade.rollout == rollout and upgrade.failed and upgrade.final
        ]

    def taken_back(self, operation: str) -> Taken:
        """What a revert of a rollout is judged by."""
        rollout = self.begun[operation]
        environment = next(
            name
            for name in self.first.rules.environments
            if any(one.operation == operation for one in self.published(name).rollouts.values())
        )
        return Taken(
            environment,
            rollout.service,
            rollout.to.version.text,
            rollout.from_.version.text if rollout.from_ else None,
            rollout.companions,
            failed=rollout.state == "failing",
            by=tuple(self.failed(operation)),
        )

    def knows(self, peer: Peer, operation: str) -> bool:
        """Each remembers by itself what came of its own."""
        return any(operation in (one.operation, one.named) for one in peer.facts.upgrades.values())

    # what is looked at

    def _unsettled(self) -> list[str]:
        found = list[str]()
        for environment in self.first.rules.environments:
            if self.holder(environment) is None:
                found.append(f"{environment} is in nobody's hands")
        for peer in self.peers:
            host, leases = peer.holder.host, peer.life.core.leases
            for environment in self._of(host):
                if leases.standing(share_of(environment, host)) != "held":
                    found.append(f"{host} has not its share of {environment}")
                found += [f"{host}: {why}" for why in rest.of_the_environment(peer, environment)]
        return found or rollouts.unsettled(self)

    def _of(self, host: str) -> list[str]:
        """The environments that list a host."""
        rules = self.first.rules
        return [name for name in rules.environments if host in rules.hosts_of(name)]

    def waits_for_ever(self, environment: str, service: str) -> bool:
        """Whether the gate `rollout` may stay closed: it was taken back, or something else keeps it from beginning."""
        rollout = self.published(environment).rollouts.get(service)
        if rollout and rollout.state in ("reverted", "left", "withdrawn"):
            return True
        holder = self.holder(environment)
        here = holder.life.fleet.passes.get(environment) if holder else None
        _, gates = here.told.get(service, (None, ())) if here else (None, ())
        shut = {gate.gate for gate in gates if not gate.open} - {"rollout"}
        return bool(shut) and shut <= rest.LASTING

    def at_the_end(self) -> str:
        for peer in self.peers:
            if wrong := rest.at_the_end(peer, self._of(peer.holder.host)):
                return f"{peer.holder.host}: {wrong}"
        return ""
