"""The machine that services run on, and the driver and the probes that the engine reaches it by."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

from msgspec.structs import replace

from reconciler.drivers.base import Cause, Endpoint, Site, Surroundings
from reconciler.model.errors import ArtifactError, HostError, TransientError
from reconciler.model.observation import Instance, Observation, Sample, Usage
from reconciler.model.release import Probe
from reconciler.model.target import Target, Workload
from reconciler.model.verdict import Outcome
from tests.simulation.faults import Weather
from tests.simulation.loop import instant

Nature = Literal["good", "refuses", "wrong", "dies", "dies later", "slow", "corrupt"]
"""What a version does once it is started; `corrupt`: its artifact is not what its digest says."""
NATURES: tuple[Nature, ...] = ("good", "refuses", "wrong", "dies", "dies later", "slow", "corrupt")
WEIGHTS = (14, 2, 2, 1, 1, 3, 1)
SLOW_S, DIES_LATER_S = 0.9, 0.45
TOP = Path("/")
Key = tuple[str, str]
"""(environment, service)."""


@dataclass
class Process:
    """One instance that was started by an operation."""

    index: int
    target: Target
    operation: str
    since_s: float
    dead: bool = False


@dataclass
class Host:
    """What runs, and what is kept; it outlives every daemon. `told` hears of each effect before it happens."""

    random: Random
    weather: Weather
    processes: dict[Key, list[Process]] = field(default_factory=dict)
    kept: set[tuple[str, str, Target]] = field(default_factory=set)
    """(environment, service, target) whose artifact is here."""
    natures: dict[tuple[str, str], Nature] = field(default_factory=dict)
    """By service and version."""
    ill: dict[tuple[str, str, str], tuple[Nature, float]] = field(default_factory=dict)
    """By environment, service and version: what it does there alone, and until when."""
    names: dict[str, str] = field(default_factory=dict)
    """By an environment's later names, as the driver was told: its first."""
    foreign: set[Key] = field(default_factory=set)
    """What runs and was not started by UGS."""
    evidence: set[tuple[str, str, Target]] = field(default_factory=set)
    """What has shown, to whoever asked, that it is not well."""
    answers: dict[tuple[str, str, Target], list[tuple[float, str]]] = field(default_factory=dict)
    """When what was answered about a target."""
    asker: Callable[[], object] | None = None
    """With two daemons: who asks at this moment."""
    heard: dict[tuple[object, str, str, Target], list[tuple[float, str]]] = field(default_factory=dict)
    """With two daemons: what was answered to each."""
    told: Callable[[str, str, Workload | None, Key], None] = lambda _kind, _operation, _work, _key: None
    interrupt: Callable[[], None] = lambda: None
    """Where a kill may strike in the midst of an effect."""
    hinder: Callable[[str], None] = lambda _what: None
    """Where the machine may be in the way of another name."""

    def key(self, environment: str, service: str) -> Key:
        return self.names.get(environment, environment), service

    def nature(self, service: str, version: str) -> Nature:
        key = service, version
        if key not in self.natures:
            self.natures[key] = self.random.choices(NATURES, WEIGHTS)[0]
        return self.natures[key]

    def nature_in(self, key: Key, version: str) -> Nature:
        """What a version does in one environment."""
        alone, until_s = self.ill.get((*key, version), ("good", 0.0))
        return alone if self.weather.now_s < until_s else self.nature(key[1], version)

    def start(self, key: Key, work: Workload, operation: str) -> None:
        """Each instance that does not run already."""
        here = self.processes.setdefault(key, [])
        for index in range(work.instances):
            alive = [one for one in here if one.index == index and one.target == work.target and not one.dead]
            if not alive:
                here[:] = [one for one in here if not (one.index == index and one.target == work.target)]
                here.append(Process(index, work.target, operation, self.weather.now_s))
                self.interrupt()

    def stop(self, key: Key, *, but: Target | None = None, upto: int | None = None) -> None:
        """Whatever is of another target, of the first `upto` instances or of all."""
        here = self.processes.setdefault(key, [])
        for process in [one for one in here if one.target != but and (upto is None or one.index < upto)]:
            here.remove(process)
            self.interrupt()

    def well(self, key: Key, process: Process) -> tuple[str, bool]:
        """What an instance answers, and whether a failure is silence."""
        age_s = self.weather.now_s - process.since_s
        nature = self.nature_in(key, process.target.version.text)
        if process.dead or nature == "dies" or (nature == "dies later" and age_s > DIES_LATER_S):
            return "it has ended", True
        if nature == "refuses" or (nature == "slow" and age_s < SLOW_S):
            return "connection refused", True
        return ("answers status 500", False) if nature == "wrong" else ("", False)

    def crash(self, key: Key) -> None:
        """An instance dies; what started it does not start it again."""
        if alive := [one for one in self.processes.get(key, ()) if not one.dead]:
            self.random.choice(alive).dead = True

    def reboot(self) -> None:
        for processes in self.processes.values():
            processes.clear()

    def running(self, key: Key) -> list[Target]:
        """The targets of what runs well, one for each instance."""
        return [one.target for one in self.processes.get(key, ()) if not self.well(key, one)[0]]

    def answered(self, key: Key, target: Target, verdict: str) -> None:
        self.answers.setdefault((*key, target), []).append((self.weather.now_s, verdict))
        if self.asker:
            self.heard.setdefault((self.asker(), *key, target), []).append((self.weather.now_s, verdict))
        if verdict == "failed":
            self.evidence.add((*key, target))


class SimulatedDriver:
    """reconciler.drivers.base.Driver over the host; with blue-green the old side stays until `settle`."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def observe(self, site: Site, environment: str) -> dict[str, Observation]:
        if self.host.weather.strikes("engine-blind"):
            raise HostError("the engine does not answer", "start it")
        environment, _ = self.host.key(environment, "")
        foreign = {
            key[1]: Observation(key[1], (), foreign="something that was started by hand")
            for key in self.host.foreign
            if key[0] == environment
        }
        return foreign | {
            key[1]: Observation(key[1], tuple(self._instances(key, processes)))
            for key, processes in self.host.processes.items()
            if key[0] == environment and processes
        }

    def _instances(self, key: Key, processes: list[Process]) -> Iterator[Instance]:
        for process in processes:
            ended = self.host.well(key, process)[0] == "it has ended"
            if ended:
                self.host.answered(key, process.target, "failed")
            yield Instance(
                process.index,
                process.target,
                "crashed" if ended else "running",
                pid=1,
                started_at=instant(process.since_s),
                detail="it has ended" if ended else "",
            )

    def prepare(self, site: Site, work: Workload, revision: str) -> None:
        self._trouble("prepare")
        key = self.host.key(work.environment, work.service)
        if self.host.nature_in(key, work.target.version.text) == "corrupt":
            self.host.evidence.add((*key, work.target))
            raise ArtifactError("the digest is another", "publish the artifact again as a new version")
        self.host.kept.add((*key, work.target))

    def preflight(self, site: Site, work: Workload) -> None:
        self._trouble("preflight")

    def restorable(self, site: Site, work: Workload) -> str:
        kept = (*self.host.key(work.environment, work.service), work.target) in self.host.kept
        return "" if kept else "its artifact is gone"

    def apply(self, site: Site, cause: Cause, work: Workload, upto: int) -> None:
        key, batch = self.host.key(work.environment, work.service), replace(work, instances=upto)
        self.host.told("apply", cause.operation, batch, key)
        self._trouble("apply")
        if self.host.weather.strikes("engine-lies-done"):
            return
        if self.restorable(site, work):
            raise HostError(f"{work.target.version} cannot be started: its artifact is gone", "fetch it")
        if work.strategy != "blue-green":
            self.host.stop(key, but=work.target, upto=upto if upto < work.instances else None)
        self.host.start(key, batch, cause.operation)
        if self.host.weather.strikes("engine-lies-failed"):
            raise HostError("exit code 1", "look at it")

    def settle(self, site: Site, work: Workload) -> None:
        self._trouble("settle")
        self.host.stop(self.host.key(work.environment, work.service), but=work.target)

    def restore(
        self, site: Site, cause: Cause, good: Workload | None, *, environment: str, service: str
    ) -> None:
        key = self.host.key(environment, service)
        self.host.told("restore", cause.operation, good, key)
        self._trouble("restore")
        if good and self.restorable(site, good):
            raise HostError(f"{good.target.version} cannot be started: its artifact is gone", "fetch it")
        self.host.stop(key, but=good.target if good else None)
        if good:
            self.host.start(key, good, cause.operation)

    def endpoints(self, site: Site, work: Workload) -> tuple[Endpoint, ...]:
        values = {
            "version": work.target.version.text,
            "environment": work.environment,
            "service": work.service,
        }
        values["target"] = str(work.target)
        return tuple(Endpoint(index, 8080 + index, TOP, values) for index in range(work.instances))

    def rename(self, site: Site, old: str, new: str) -> None:
        self.host.hinder("the driver")
        self._trouble("rename")
        self.host.names[new] = self.host.names.get(old, old)
        self.host.interrupt()

    def surroundings(self, site: Site, work: Workload) -> Surroundings:
        return Surroundings(TOP, {}, {})

    def foreign_listener(self, site: Site, work: Workload, endpoint: Endpoint) -> str:
        return ""

    def usage(self, site: Site, handles: Collection[str]) -> dict[str, Usage]:
        return {}

    def logs(self, site: Site, environment: str, service: str, *, lines: int) -> list[str]:
        return []

    def tidy(self, site: Site, environment: str, service: str, keep: frozenset[str]) -> None:
        for one in sorted(self.host.kept, key=str):
            if one[:2] == self.host.key(environment, service) and str(one[2]) not in keep:
                self.host.kept.discard(one)

    def _trouble(self, what: str) -> None:
        if self.host.weather.strikes("engine-broken"):
            raise HostError(f"{what}: no space left on device", "free some disk space")
        if self.host.weather.strikes("engine-flaky"):
            raise TransientError(f"{what}: try again", "it is tried again")
        self.host.interrupt()


class SimulatedProbes:
    """What the module reconciler.probes is to the engine: it asks the host."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def session(self) -> Any:
        return contextlib.nullcontext()

    async def probe(
        self, client: object, spec: Probe, *, instance: int, values: Mapping[str, str], now: Any, **_more: Any
    ) -> Outcome:
        key, target = self.host.key(values["environment"], values["service"]), Target.parse(values["target"])
        verdict, detail, silent = self._ask(key, target, instance)
        self.host.answered(key, target, verdict)
        return Outcome(instance, Sample(spec.name, verdict, now(), detail, 0.001), silent)

    def _ask(
        self, key: Key, target: Target, instance: int
    ) -> tuple[Literal["healthy", "failed", "unknown"], str, bool]:
        weather = self.host.weather
        if weather.strikes("probes-blind"):
            return "unknown", "the name does not resolve", False
        if weather.strikes("checker-broken"):
            return "failed", "no answer", False
        here = [
            one for one in self.host.processes.get(key, ()) if one.index == instance and one.target == target
        ]
        if not here:
            return "failed", "connection refused", True
        detail, silent = self.host.well(key, here[0])
        if not detail and weather.strikes("probes-flap"):
            detail = "answers status 502"
        return ("failed", detail, silent) if detail else ("healthy", "answers status 200", False)
