"""The services' data: what migrations have made of it, its backups, and the commands that work on it.

The commands outlive the daemon: one has its effect when its time has come, whoever has died meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple

from reconciler.errand import Order, Outcome, StillRunning
from reconciler.model.errors import HostError
from reconciler.model.target import Workload
from tests.simulation.faults import Weather
from tests.simulation.fleet import CHECKED
from tests.simulation.loop import Later

Key = tuple[str, str]
"""(environment, service), by the name that the environment had first."""
Place = tuple[str, Key]
"""On which daemon's machine, of which service's data: nobody sees what runs on another machine."""
Nature = Literal["good", "fails", "done, and says that it failed", "says that it is done"]
"""What a command does: its work, nothing, or something else than it says. Those that lie have a `check` beside them."""
HONEST: tuple[Nature, ...] = ("good", "fails")
NATURES: tuple[Nature, ...] = (*HONEST, "done, and says that it failed", "says that it is done")
WEIGHTS = {"up": (12, 2, 1, 1), "down": (8, 2, 1, 1), "save": (12, 1), "restore": (6, 1)}
SPOILS_BACKUPS = 0.06
SHORT_S, LONG_S = (0.02, 0.3), (1.0, 2.5)
LONG = 0.1
POLL_S = 0.25


class Data(NamedTuple):
    """What is there. `applied`: the migrations that are in it, in their order. `broken`: nobody could use it."""

    applied: tuple[str, ...] = ()
    writes: int = 0
    """How often any version was started on it."""
    broken: bool = False


class Backup(NamedTuple):
    """A copy, of which step of which operation, and whether it is good. `verified`: its command has found it so."""

    key: Key
    operation: str
    step: str
    data: Data
    good: bool
    at_s: float
    verified: bool = False


class Command(NamedTuple):
    """One that is about to run: `what` is a migration's id, or where a backup is."""

    verb: str
    what: str
    operation: str
    step: str
    key: Key
    environment: str


@dataclass
class Errand:
    """A command under way, or over. `effect`: what it does to the world at its end."""

    ends_s: float
    outcome: Outcome
    effect: Callable[[], None]
    over: bool = False


@dataclass
class World:
    """All the data of the fleet; it outlives every daemon. `told` hears of each command before it begins."""

    random: Random
    weather: Weather
    data: dict[Key, Data] = field(default_factory=dict)
    backups: dict[str, Backup] = field(default_factory=dict)
    """By path."""
    proven: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    """The migrations in the data on which a version last proved healthy."""
    vouched: dict[Key, set[str]] = field(default_factory=dict)
    """Migrations of which a release says that the version before it runs on what is left."""
    coming_back: set[str] = field(default_factory=set)
    """Operations that have begun to bring a backup back."""
    failed: set[str] = field(default_factory=set)
    """Operations of which a migration has failed."""
    mended: bool = False
    """Whether somebody has seen to it that data can be saved."""
    names: dict[str, str] = field(default_factory=dict)
    """By an environment's later names: its first."""
    told: Callable[[Command], None] = lambda _command: None
    dropped: Callable[[str, Backup], None] = lambda _path, _backup: None
    interrupt: Callable[[], None] = lambda: None
    hinder: Callable[[str], None] = lambda _what: None
    _natures: dict[tuple[str, str, str], Nature] = field(default_factory=dict)
    _errands: dict[tuple[Place, str], Errand] = field(default_factory=dict)
    _running: dict[Place, Errand] = field(default_factory=dict)

    def key(self, environment: str, service: str) -> Key:
        return self.names.get(environment, environment), service

    def path(self, path: str) -> str:
        """Where a backup is, by the environment's first name."""
        for name, first in self.names.items():
            path = path.replace(f"/backups/{name}/", f"/backups/{first}/")
        return path

    def of(self, environment: str, service: str) -> Data:
        """A service's data as it is at this moment."""
        key = self.key(environment, service)
        self._settle(key)
        return self.data.get(key, Data())

    def prove(self, environment: str, service: str) -> None:
        """A version has proved healthy on the data as it is."""
        data = self.of(environment, service)
        self.proven[self.key(environment, service)] = data.applied

    def run_already(self, environment: str, service: str, work: Workload) -> None:
        """What runs before there is a daemon has its migrations behind it."""
        if work.release.backup:
            self.data[environment, service] = Data(tuple(one.id for one in work.release.migrations))

    def write(self, key: Key) -> None:
        """A version was started, and writes."""
        data = self.of(*key)
        self.data[self.key(*key)] = data._replace(writes=data.writes + 1)

    def reboot(self) -> None:
        """Whatever is under way is cut short: it may have done its work, or not."""
        for errand in self._running.values():
            errand.outcome, errand.ends_s = Outcome(), self.weather.now_s
            if self.random.random() < 0.5:
                errand.effect = _nothing
        for _, key in list(self._running):
            self._settle(key)

    def rot(self) -> None:
        """A backup is no longer what it was."""
        if good := [path for path, backup in self.backups.items() if backup.good]:
            path = self.random.choice(good)
            self.backups[path] = self.backups[path]._replace(good=False)

    def nature(self, service: str, verb: str, what: str) -> Nature:
        key = service, verb, what
        if key not in self._natures:
            honest = verb in ("save", "restore") or (service, what) not in CHECKED
            natures = HONEST if honest else NATURES
            self._natures[key] = self.random.choices(natures, WEIGHTS[verb][: len(natures)])[0]
        return self._natures[key]

    def carry_out(
        self,
        place: Place,
        name: str,
        order: Order,
        environment: str,
        *,
        anew: bool,
        leave: Callable[[], bool],
    ) -> Outcome | Later:
        """As reconciler.errand does, save that whoever waits is called again."""
        self._settle(place[1])
        if errand := self._running.get(place):
            if leave():
                raise StillRunning("a command runs on", "the next daemon waits for it")
            after_s = max(0.001, min(POLL_S, errand.ends_s - self.weather.now_s))
            return Later(
                after_s,
                lambda: self.carry_out(place, name, order, environment, anew=anew, leave=leave),
            )
        if anew:
            self._errands.pop((place, name), None)
        if (place, name) in self._errands:
            return self._errands[place, name].outcome
        if self.weather.strikes("command-refused"):
            if not anew:
                raise HostError("a command cannot be waited for", "see to this machine")
            return Outcome(refusal="the program cannot be started", remedy="install it")
        self._start(place, name, order, environment)
        self.interrupt()
        return self.carry_out(place, name, order, environment, anew=False, leave=leave)

    def forget(self, place: Place, name: str) -> None:
        self._errands.pop((place, name), None)

    def _settle(self, key: Key) -> None:
        """What has come to its end has had its effect by now."""
        here = [(errand.ends_s, place) for place, errand in self._running.items() if place[1] == key]
        for ends_s, place in sorted(here):
            if ends_s <= self.weather.now_s:
                self._running.pop(place).effect()

    def _start(self, place: Place, name: str, order: Order, environment: str) -> None:
        key, (verb, what) = place[1], order.argv[:2]
        what = self.path(what)
        operation, _, step = name.partition(".")
        self.told(Command(verb, what, operation, step, key, environment))
        self.interrupt()
        lasts_s = self.random.uniform(*(LONG_S if self.random.random() < LONG else SHORT_S))
        code, effect = self._does(verb, what, operation, step, key)
        outcome = Outcome(code)
        if self.weather.strikes("command-hangs"):
            lasts_s, outcome = order.timeout_s, Outcome(-15, timed_out=True)
        elif self.weather.strikes("command-killed"):
            outcome = Outcome(-9)
        if outcome.code != 0 or code != 0:
            self.failed.add(operation)
        if outcome.code not in (0, 1):
            effect = self._cut_short(verb, key, effect)
        self._errands[place, name] = self._running[place] = Errand(
            self.weather.now_s + lasts_s, outcome, effect
        )

    def _cut_short(self, verb: str, key: Key, effect: Callable[[], None]) -> Callable[[], None]:
        if verb == "restore":
            return lambda: self._put(key, self.data[key]._replace(broken=True))
        return effect if verb != "verify" and self.random.random() < 0.5 else _nothing

    def _does(
        self, verb: str, what: str, operation: str, step: str, key: Key
    ) -> tuple[int, Callable[[], None]]:
        """How a command ends when nothing happens to it, and what it does."""
        data = self.data.get(key, Data())
        match verb:
            case "check":
                return (2 if self.weather.strikes("check-blind") else int(what not in data.applied)), _nothing
            case "verify":
                return self._verify(what)
            case "save":
                good = self.mended or self.random.random() >= SPOILS_BACKUPS
                effect = self._saved(what, Backup(key, operation, step, data, good, self.weather.now_s))
            case "restore":
                effect = self._brought_back(key, what)
            case "up":
                effect = self._applied(key, what)
            case _:
                effect = self._undone(key, what)
        match self.nature(key[1], verb, what if verb in ("up", "down") else ""):
            case "fails" if verb == "save" and self.mended:
                return 0, effect
            case "good":
                return 0, effect
            case "done, and says that it failed":
                return 1, effect
            case "says that it is done":
                return 0, _nothing
            case "fails" if verb == "restore":
                return 1, lambda: self._put(key, self.data[key]._replace(broken=True))
            case _:
                return 1, _nothing

    def _verify(self, path: str) -> tuple[int, Callable[[], None]]:
        backup = self.backups.get(path)
        if backup is None or not backup.good:
            return 1, _nothing

        def verified() -> None:
            if path in self.backups:
                self.backups[path] = self.backups[path]._replace(verified=True)

        return 0, verified

    def _saved(self, path: str, backup: Backup) -> Callable[[], None]:
        return lambda: self.backups.__setitem__(path, backup)

    def _brought_back(self, key: Key, path: str) -> Callable[[], None]:
        def bring_back() -> None:
            backup = self.backups.get(path)
            good = backup is not None and backup.good
            self._put(key, backup.data if backup and good else Data(broken=True))

        return bring_back

    def _applied(self, key: Key, name: str) -> Callable[[], None]:
        def apply() -> None:
            data = self.data.get(key, Data())
            self._put(key, data._replace(applied=(*data.applied, name)))

        return apply

    def _undone(self, key: Key, name: str) -> Callable[[], None]:
        def undo() -> None:
            data = self.data.get(key, Data())
            self._put(key, data._replace(applied=tuple(one for one in data.applied if one != name)))

        return undo

    def _put(self, key: Key, data: Data) -> None:
        self.data[key] = data


class SimulatedVault:
    """reconciler.engine.vault.Vault over the world."""

    def __init__(self, world: World, machine: str) -> None:
        self.world, self._machine = world, machine

    def carry_out(
        self, folder: Path, name: str, order: Order, *, anew: bool, leave: Callable[[], bool]
    ) -> Outcome:
        place = self._machine, self.world.key(*folder.parts[-2:])
        return self.world.carry_out(place, name, order, folder.parts[-2], anew=anew, leave=leave)  # type: ignore[return-value]  # the loop calls again what is not over

    def forget(self, folder: Path, name: str) -> None:
        self.world.forget((self._machine, self.world.key(*folder.parts[-2:])), name)

    def make(self, folder: Path, user: str | None) -> None:
        self.world.backups.pop(self.world.path(str(folder / "data")), None)

    def measure(self, path: Path) -> tuple[int, str]:
        if (backup := self.world.backups.get(self.world.path(str(path)))) is None:
            raise HostError(f"{path}: No such file or directory", "see that `backup.save` writes it")
        return 1, f"{backup.data} {backup.good}"

    def remove(self, folder: Path) -> None:
        path = self.world.path(str(folder / "data"))
        if backup := self.world.backups.get(path):
            self.world.dropped(path, backup)
            del self.world.backups[path]

    def rename(self, state: Path, old: str, new: str) -> None:
        self.world.hinder("the vault")
        self.world.names[new] = self.world.names.get(old, old)
        self.world.interrupt()


def _nothing() -> None: ...
