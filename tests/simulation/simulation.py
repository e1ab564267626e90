"""One seed: the real engine, killed and started again, in a simulated world of faults and people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any, cast

from reconciler.engine.repository import Repository
from reconciler.model.errors import UgsError
from tests.simulation import (
    asking,
    data,
    departure,
    fleet,
    forge,
    kinds,
    people,
    promoting,
    proposing,
    removal,
    renaming,
    rest,
    signing,
    trust,
    wall,
)
from tests.simulation.database import Disk
from tests.simulation.facts import Facts
from tests.simulation.faults import Weather
from tests.simulation.host import Host, SimulatedDriver, SimulatedProbes
from tests.simulation.hosts import Board, Hosts
from tests.simulation.life import PARSED, SETTINGS, Life
from tests.simulation.loop import Time, instant
from tests.simulation.loss import Loss
from tests.simulation.messenger import Messenger
from tests.simulation.remote import BLOBS, Clone, Refs, Remote
from tests.simulation.rival import OURS, Register, Rival
from tests.simulation.second import Pair
from tests.simulation.violation import Violation

ACTIVE_S = 45.0
"""For so long people act and faults strike."""
CALM_MAX_S = 400.0
"""By then after that, everything has come to rest."""
LOOK_S = 2.5
RIVAL_LOOKS_S = 0.5
RIVAL_MAX_S = 10.0
LOOKS = int(ACTIVE_S / RIVAL_LOOKS_S)
"""How often the rival looks: to the end of what people do, so that all is given back by then."""
RESTART_S = 2.0
EVENTS_MAX = 400_000
AT_ONCE = 0.6
"""Of the quick calls, so many are done before anything else happens."""
QUICK = frozenset({"_look", "_sought", "read"})
KILLED = {"in an effect": "killed-in-effect", "in a command": "killed-in-command"}
EFFECTS = frozenset({"apply", "restore", "_restore", "prepare", "settle"})


class Killed(SystemExit):
    """kill -9: raised through whatever runs, and nothing of that daemon ever runs again."""


class Simulation:
    """Everything that outlives a daemon, and the story that a seed tells. `run` raises Violation."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.time = Time()
        self.wall = wall.Wall(self.time)
        story = self._random("story")
        drawn = kinds.world_of(seed, story)
        self.rules = drawn.rules
        self.scheduler, self.people, self._chance = (
            self._random(name) for name in ("loop", "people", "chance")
        )
        self.doubts = self._random("doubts")
        """Of who changes their mind about a removal, or looks at one alone, and of who meets a broken file anew."""
        self.signer = signing.MOVER
        self.merges: tuple[str, ...] = ()
        """Who signed the commits of the next branch that is merged; one by `signer` where nobody is named."""
        """Who signs what people commit."""
        self.weather = Weather(self._random("weather"), self.time, clear_s=ACTIVE_S, more=drawn.faults)
        self._deadly = any(fault.name.startswith("killed-") for fault in self.weather.drawn)
        self.link: Weather = self.weather
        """The same, as the daemon has it on its way to the remote."""
        self.remote, self.refs, self.disk = Remote(), Refs(), Disk()
        self.holder, self.settings = OURS, SETTINGS
        self.host = Host(self._random("host"), self.weather)
        self.world = data.World(self._random("data"), self.weather)
        self.register = Register(self.weather)
        self.rival = Rival(self._random("rival"), self.register, self.weather)
        self.messenger = Messenger(self.weather)
        self.driver, self.probes = SimulatedDriver(self.host), SimulatedProbes(self.host)
        self.trace: list[tuple[float, str]] = []
        self.facts = Facts(self)
        self.life: Life | None = None
        self.lives = 0
        self.events = 0
        self.loss = Loss(self, self._random("loss")) if drawn.loses else None
        """In some seeds the database is lost."""
        self.skew_s = drawn.skew_s
        """By how much the second daemon's wall clock is ahead."""
        self.board: Board | None = None
        """Where hosts of one environment tell one another what became of rollouts, as this daemon reaches it."""
        self.pair = self._paired(drawn)
        """In some there is a second whole daemon, in place of the rival: on the same engine, or on another host."""
        self.departs = drawn.departs
        """In some an environment is taken out of the repository."""
        self.proposing = (
            proposing.Proposing(self, self._random("proposing"), drawn.proposes, forge=drawn.asks)
            if drawn.proposes or drawn.asks
            else None
        )
        """In some people are asked to merge what is to go back."""
        self.promoting = promoting.Promoting(self, self._random("promoting")) if self.rules.follows else None
        """In some production's pins follow staging's."""
        self.asking = (
            asking.Asking(self, self._random("asking"), self.proposing)
            if drawn.asks and self.proposing
            else None
        )
        """And in some of those people are asked to merge that."""
        self.clocks = drawn.clocks
        """In some somebody sets the wall clock."""
        self.renaming = renaming.Renaming(self, self._random("renaming")) if drawn.renames else None
        """In some an environment gets other names."""
        self._begin(story)

    def _paired(self, drawn: kinds.World) -> Pair | None:
        if self.rules.hosts:
            return Hosts(self, self._random("second"))
        if not drawn.paired:
            return None
        return Pair(self, self._random("second"), relays=self.rules.follows)

    @property
    def peers(self) -> tuple[Simulation, ...]:
        """Each daemon's world."""
        return self.pair.peers if self.pair else (self,)

    @property
    def ended_upgrades(self) -> int:
        """How many have come to their end in either daemon's hands."""
        return sum(peer.facts.ended for peer in self.peers)

    def knows(self, operation: str) -> bool:
        """Whether this daemon can know how an upgrade ended."""
        if self.pair:
            return self.pair.knows(self, operation)
        if self.loss is None or self.loss.struck_s is None:
            return True
        return operation in self.facts.upgrades or self.loss.told(operation)

    @property
    def acting(self) -> Simulation:
        """Whose daemon does something at this moment."""
        return self.pair.acting if self.pair else self

    @property
    def machines(self) -> list[Host]:
        return [peer.host for peer in self.pair.machines] if self.pair else [self.host]

    def _clone(self) -> Repository:
        clone = Clone(self.remote, self.refs, self.weather, self.race, self.facts.accepted)
        repository = Repository(cast(Any, clone), cast(Any, self.remote))
        repository._cache = PARSED
        return repository

    def _random(self, name: str) -> Random:
        return kinds.dice(self.seed, name)

    def _begin(self, story: Random) -> None:
        """The first commit; on half of the fleets it runs already, and is adopted."""
        for machine in self.machines:
            machine.foreign |= {(name, removal.LEGACY) for name in self.rules.environments}
        for service in fleet.SERVICES:
            self.host.natures[service, fleet.FIRST] = "good"
        self.first = self.commit(fleet.first_files(self.rules), "Begin")
        self.disk.moved = self.facts.committed
        # Whose facts, is asked when it happens.
        self.remote.moved = lambda before, after, who: self.acting.facts.pushed(before, after, who)  # noqa: PLW0108
        for machine in self.machines:
            machine.interrupt = lambda: self.may_kill("in an effect")
            machine.told = lambda *happened: self.acting.facts.effect(*happened)  # noqa: PLW0108
        self.world.told = lambda command: self.acting.facts.command(command)  # noqa: PLW0108
        self.world.interrupt = lambda: self.may_kill("in a command")
        self.world.dropped = lambda *happened: self.acting.facts.dropped(*happened)  # noqa: PLW0108
        if story.random() < 0.5:
            for peer in self.pair.machines if self.pair else (self,):
                peer.facts.run_already(self._clone())
        self.acts = sorted(story.uniform(1.0, ACTIVE_S) for _ in range(story.randint(8, 16)))

    # the story

    def run(self) -> None:
        """To the end, when everything has come to rest. Raises Violation."""
        for at_s, act in self._moments():
            self._until(at_s)
            act()
        self._until(ACTIVE_S)
        self.note("from here on nobody acts, and nothing fails")
        self.world.mended = True
        if self.asking:
            self.asking.mended()
        self.tidies_up = self.rules.trusted and self.people.random() < 0.5
        restless = ["it has not been looked at"]
        while restless and self.time.now_s < ACTIVE_S + CALM_MAX_S:
            self._until(self.time.now_s + LOOK_S)
            restless = self.pair.restless() if self.pair else rest.restless(self)
            if "the repository is untrusted" in "".join(restless) or self.tidies_up:
                trust.take_off(self)
            if "waits for ['host']" in "".join(restless):
                people.settle_migration(self)
            if "rewritten" in "".join(restless):
                for peer in self.peers:
                    peer.facts.rewrite_accepted = True
                    accepting = lambda life: life.fleet.refresh(accept_rewrite=True)  # noqa: E731
                    self.ask(accepting, "accept the rewrite", "", peer.life)
        if restless:
            raise Violation("liveness: " + "; ".join(restless))
        wrong = self.pair.at_the_end() if self.pair else rest.at_the_end(self, self.rules.environments)
        if wrong:
            raise Violation(f"in the end: {wrong}")
        self._stop()

    def _moments(self) -> list[tuple[float, Callable[[], None]]]:
        moments: list[tuple[float, Callable[[], None]]] = [
            (at_s, lambda: people.act(self)) for at_s in self.acts
        ]
        if self.loss:
            moments += self.loss.moments()
        if self.departs:
            moments += departure.moments(self, self._random("departure"), ACTIVE_S)
        if self.clocks:
            moments += wall.moments(self, self._random("wall"), ACTIVE_S)
        if self.renaming:
            moments += self.renaming.moments(ACTIVE_S)
        if self.proposing:
            moments += self.proposing.moments(ACTIVE_S)
        if self.promoting:
            moments += self.promoting.moments(ACTIVE_S)
        if self.asking:
            moments += self.asking.moments(ACTIVE_S)
        if self.pair:
            moments += self.pair.moments(ACTIVE_S)
        elif self.rules.leased:
            moments += [(at * RIVAL_LOOKS_S, self._rival_looks) for at in range(1, LOOKS)]
            if "stopped" not in [fault.name for fault in self.weather.drawn]:
                moments += [(self.people.uniform(2.0, ACTIVE_S / 2), self._struck("stopped", self._stopped))]
        for name, act in (
            ("killed", self.kill),
            ("terminated", self._terminate),
            ("stopped", self._stopped),
            ("rebooted", self._reboot),
            ("service-dies", lambda: self.host.crash(self.somewhere())),
            ("artifacts-lost", self.host.kept.clear),
            ("backup-rots", self.world.rot),
            ("rewritten", self._rewrite),
            ("bad-file", self._break_file),
        ):
            moments += [(at_s, self._struck(name, act)) for at_s in self.weather.moments(name)]
        return sorted(moments, key=lambda moment: moment[0])

    def _struck(self, name: str, act: Callable[[], None]) -> Callable[[], None]:
        def strike() -> None:
            self.weather.struck.add(name)
            self.note(f"fault: {name}")
            act()

        return strike

    def _until(self, end_s: float) -> None:
        """Let the daemon live until then, starting it again whenever it ends."""
        if self.pair:
            self.pair.until(end_s)
            return
        while self.time.now_s < end_s:
            if self.life is None:
                self.life = Life(self)
                self.lives += 1
                self.note(f"daemon {self.lives} starts")
            life = self.life
            try:
                life.loop.run_until(end_s, life.task.done)
            except Killed as kill:
                self.note(f"kill -9 {kill}")
                self.bury()
                continue
            if self.ended(life):
                self.bury()
                self.time.now_s += RESTART_S

    def ended(self, life: Life) -> bool:
        """Whether a daemon has ended; not by a bug, nor has it answered anybody with one."""
        if self.events + life.loop.events > EVENTS_MAX:
            raise Violation("bounds (13): it goes round and round")
        for said in [said for said in life.said if said.done()]:
            life.said.remove(said)
            error = None if said.cancelled() else said.exception()
            if error is not None and not isinstance(error, UgsError):
                raise Violation(f"a bug: a person was answered {error!r}") from error
        if life.task.done():
            error = None if life.task.cancelled() else life.task.exception()
            if error is not None and not isinstance(error, UgsError):
                raise Violation(f"a bug ended the daemon: {error!r}") from error
            self.acting.note(f"the daemon ends: {error}")
        return life.task.done()

    def bury(self) -> None:
        """Throw the daemon away, as it stands."""
        if self.life:
            self.events += self.life.loop.events
            self.life.loop.die()
        self.life = None

    def end(self) -> None:
        """Throw away all that still lives."""
        for peer in self.peers:
            peer.bury()

    # what happens to the daemon and its host

    def may_kill(self, where: str) -> None:
        """Kill the daemon here, if the weather says so."""
        if self.pair and self.pair.relay:
            self.pair.relay.befalls(where)
        deadly = self.renaming, self.proposing, self.promoting, self.asking
        if any(one.kills(where) for one in deadly if one):
            raise Killed(where)
        if not self._deadly:
            return
        fault = "killed-at-failpoint" if where.startswith("at ") else KILLED.get(where, "killed-at-commit")
        if self.weather.lasts(fault) and self.weather.strikes(fault):
            raise Killed(where)

    def kill(self) -> None:
        if self.life:
            self.note("kill -9")
        self.bury()

    def _terminate(self) -> None:
        if self.life:
            self.life.daemon.stop()

    def _reboot(self) -> None:
        self.kill()
        self.host.reboot()
        self.world.reboot()

    def _stopped(self) -> None:
        """SIGSTOP: the daemon does nothing, its threads neither, and time goes on; then SIGCONT."""
        if self.life is None or self.pair:
            return
        began_s = self.time.now_s
        end_s = began_s + self.people.uniform(2.0, 12.0)
        while self.time.now_s < end_s:
            self.time.now_s += RIVAL_LOOKS_S
            self._rival_looks()
        self.facts.stood_still.append((began_s, self.time.now_s))
        self.note("SIGCONT")

    def _rival_looks(self) -> None:
        if self.rules.leased:
            wants = self.time.now_s < ACTIVE_S - RIVAL_MAX_S
            for moved in self.rival.look(self.rules.environments, waits=wants):
                self.note(f"another daemon {moved}")

    def _stop(self) -> None:
        """The last daemon ends as it should: within its time."""
        if self.life:
            self._terminate()
            self.life.loop.run_until(self.time.now_s + 60.0, self.life.task.done)
            if not self.life.task.done():
                raise Violation("bounds (13): told to stop, the daemon does not")
        self.bury()

    def latency(self, name: str) -> tuple[float | None, float]:
        """How long a blocking call takes to have its effect, and then to answer, in seconds."""
        if name in EFFECTS and self.weather.strikes("engine-slow"):
            return 30.0, 0.0
        if name in forge.CALLS and self.weather.strikes("forge-slow"):
            return forge.SLOW_S, 0.0
        if name == "_sought" and removal.comes_back(self, until_s=ACTIVE_S - removal.LOOKS_S):
            return removal.LOOKS_S, 0.0
        if self.pair and self.pair.relay:
            self.pair.relay.befalls(name)
        if name == "commit_of" and self.promoting and (longer_s := self.promoting.looks_long()):
            if self.pair and self.pair.relay:
                self.pair.relay.hears_within(longer_s)
            return 0.0, longer_s
        chance = self._chance.random()
        if name == "prepare" and chance < 0.2:
            return 20.0 * chance, 0.0  # a large artifact
        if name in QUICK:
            if chance < AT_ONCE:
                return None, 0.0
            return (0.0, 0.0) if chance < 0.9 else (0.01 * chance, 0.0)
        return 0.05 * chance, 0.03 * ((chance * 7919) % 1)

    # what people do

    def commit(
        self, changes: Mapping[str, bytes | None], subject: str, *, merged: bool = False, trailer: str = ""
    ) -> str:
        """Push a commit onto the tip, or a merge of a branch that holds it."""
        remote, at = self.remote, instant(self.time.now_s)
        parents = (remote.tip,) if remote.tip else ()
        sha = remote.commit(parents, changes, f"{subject}\n\n{trailer}\n", author=self.signer or "Ada", at=at)
        if merged and parents:
            sha = self._branch(sha, subject)
            sha = remote.commit((*parents, sha), changes, f"Merge {subject}\n", author="Bob", at=at)
        remote.signers[sha] = self.signer
        self.note(f"push {sha[:12]} {subject} {', '.join(sorted(changes)) if parents else ''}")
        remote.move(sha, "a person")
        if self.life and self.people.random() < 0.7:
            self.life.daemon.nudge()
        return sha

    def _branch(self, sha: str, subject: str) -> str:
        """Sign a branch that begins with this commit, and put more on top of it where several sign; its newest."""
        at, (first, *others) = instant(self.time.now_s), self.merges or (self.signer,)
        self.remote.signers[sha] = first
        for number, signer in enumerate(others, 2):
            sha = self.remote.commit((sha,), {}, f"{subject}, {number}\n", author=signer or "Ada", at=at)
            self.remote.signers[sha] = signer
        return sha

    def commit_pins(
        self, environment: str, pins: Mapping[str, str], subject: str, *, merged: bool = False
    ) -> None:
        tree = self.remote.made[self.remote.tip].tree
        changes: dict[str, bytes | None] = {}
        if departure.is_out(tree, environment):
            return  # who wants to move a pin finds none
        for service, version in sorted(pins.items()):
            path = fleet.path_of(self.rules, fleet.name_in(tree, environment), service)
            oid = tree.get(path)
            data = changes.get(path) or (BLOBS[oid] if oid else None)
            if data == fleet.BROKEN:
                return
            changes[path] = fleet.with_pin(self.rules, data, service, version)
        said = ", ".join(f"{service} {version}" for service, version in sorted(pins.items()))
        self.commit(changes, f"{subject} {environment}: {said}", merged=merged)

    def pins(self, environment: str) -> dict[str, str]:
        return fleet.pins_of(self.remote.made[self.remote.tip].tree, environment)

    def called(self, environment: str) -> str:
        """The name under which this daemon has an environment."""
        return self.acting.facts.called.get(environment, environment)

    def somewhere(self) -> tuple[str, str]:
        return self.people.choice(self.rules.environments), self.people.choice(fleet.SERVICES)

    def race(self) -> None:
        """A colleague is faster than a push of ours: with something else, or with the very pin."""
        if self.people.random() < 0.7:
            people.write_something_else(self)
        else:
            people.bump(self)

    def pass_time(self, lasting_s: float) -> None:
        """Let the daemon live on while somebody thinks."""
        self._until(min(ACTIVE_S, self.time.now_s + lasting_s))

    def _rewrite(self) -> None:
        """Someone drops the newest commit by force."""
        parents = self.remote.made[self.remote.tip].commit.parents
        if parents:
            self.remote.move(parents[0], "force")

    def _break_file(self) -> None:
        """A pin's file is broken, or what replaces it is; it is mended a little later."""
        environment, service = self.somewhere()
        tree = self.remote.made[self.remote.tip].tree
        path = fleet.path_of(self.rules, fleet.name_in(tree, environment), service)
        oid = tree.get(path)
        if oid is None or BLOBS[oid] == fleet.BROKEN:
            return
        broken: dict[str, bytes | None] = {path: fleet.BROKEN}
        mended: dict[str, bytes | None] = {path: BLOBS[oid]}
        if self.rules.split and self.doubts.random() < 0.5:  # of which no older commit tells what it pins
            other = path.replace(".yaml", "-pins.yaml")
            broken, mended = {path: None, other: fleet.BROKEN}, mended | {other: None}
        self.commit(broken, "Break")
        if self.people.random() < 0.5:
            self._until(min(ACTIVE_S, self.time.now_s + self.people.uniform(1.0, 8.0)))
            self.commit(mended, "Mend")

    def ask(
        self, what: Callable[[Life], Awaitable[object]], name: str, whom: str, asked: Life | None = None
    ) -> None:
        """A person asks the daemon for something; it may be refused."""
        life = asked or (self.pair.whom().life if self.pair else self.life)
        if life is None:
            return
        self.note(f"a person says {name} {whom}")

        async def answered() -> None:
            await what(life)

        life.said.append(life.loop.create_task(answered()))

    def say(self, what: Callable[[Life], object], name: str, whom: str, asked: Life | None = None) -> None:
        async def said(life: Life) -> None:
            what(life)

        self.ask(said, name, whom, asked)

    def note(self, text: str) -> None:
        self.trace.append((self.time.now_s, text))
