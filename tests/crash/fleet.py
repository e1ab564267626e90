"""Good and bad releases of services that give way in every manner, by themselves or together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar

from ruamel.yaml import YAML

from reconciler.cli.graph import settings_from, site_of, store_of
from reconciler.drivers import DRIVERS
from reconciler.model.upgrade import Upgrade
from tests.crash.campaign import FAILING, OPERATIONS, UPGRADES_MAX, Campaign, end_of
from tests.drivers.services import answered, free_port, get, kill_all, wait_until
from tests.git.colleague import git

SLOTS = "fleetlock: {groups: {default: 9}}\n"
"""More than upgrades at once: nobody has to wait for one."""
POWER_CUT_PROBABILITY = 0.2
PROVING = "phase:verifying"
BAD_PROBABILITY = 0.6
WEAK = 2
"""Services with bad releases in one campaign: with three the breaker may trip, and UGS rightly reverts no more."""
ILL = '{command: ["false"], interval: 50ms}'


@dataclass(frozen=True)
class Kind:
    """How a service gives way, and with how many instances."""

    strategy: str = "stop-start"
    instances: int = 1

    @property
    def sockets(self) -> bool:
        return self.strategy == "blue-green"

    def pin(self, version: str) -> str:
        if self == Kind():
            return version
        return f'{{version: "{version}", instances: {self.instances}, strategy: {self.strategy}}}'


@dataclass
class Expected:
    """What one service must come to: by what its people asked and by what its releases really do."""

    runs: str
    failed: set[str] = field(default_factory=set)


class Fleet(Campaign):
    """Stop-start, rolling, canary and blue-green, each upgrade with a slot; now and then the machine loses its power
    together with the daemon."""

    reaches: ClassVar[tuple[str, ...]] = (
        "apply:*:begun",
        "apply:*:done",
        "slot:begun",
        "slot:done",
        "again:begun",
        "again:done",
    )
    kinds: ClassVar[dict[str, Kind]] = {
        "api": Kind(),
        "db": Kind("rolling", 2),
        "mail": Kind("{canary: [1, 50%], pause: 100ms}", 3),
        "web": Kind("blue-green"),
    }
    policy = "{slots: {group: default}}"
    pushed_at_once: ClassVar[tuple[int, ...]] = (1, 1, 2)
    power = POWER_CUT_PROBABILITY

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        self.world.settings_more += SLOTS
        self.world.more = f"policy: {self.policy}\n"
        self.expected: dict[str, Expected] = {}
        self._number = 0
        self._weak = set(self.random.sample(sorted(self.kinds), WEAK))
        self._power_was_cut = False
        self._pids: dict[str, list[str]] = {}
        self._touched: set[str] = set()

    def start(self) -> None:
        for service, kind in self.kinds.items():
            self.world.ports[service] = free_port(kind.instances)
            self._release(service, "1.0.0", bad=False)
            self.expected[service] = Expected("1.0.0")
        self.people.append(self.world.merge("Start"))
        self.run()
        self.check_settled()

    def _release(self, service: str, version: str, *, bad: bool) -> None:
        world, kind = self.world, self.kinds[service]
        if kind.sockets:
            world.release(
                version,
                "sockets",
                service=service,
                deadline="60s",
                command=f'["bin/{service}"]',
                run=", socket: pass",
                probe=ILL if bad else "",
            )
        else:
            mode = self.random.choice(FAILING) if bad else "ok"
            world.release(version, mode, service=service, deadline="3s" if bad else "60s")
        world.pin(kind.pin(version), service)

    def story(self) -> Iterator[None]:
        self._number += 1
        self._power_was_cut = False
        self._pids = {service: self._pids_of(service) for service in self.kinds}
        self._touched = set(self.random.sample(sorted(self.kinds), self.random.choice(self.pushed_at_once)))
        bad = self._bad(sorted(self._touched))
        for service in sorted(self._touched):
            version = f"1.{self._number}.0"
            self._release(service, version, bad=service in bad)
            if service in bad:
                self.expected[service].failed.add(version)
            elif not self._shares(bad):
                self.expected[service].runs = version
        self.people.append(self.world.merge(f"Round {self._number}"))
        for service in self._touched:  # what Ada writes next starts from what will stand there then
            self.world.pin(self.kinds[service].pin(self.expected[service].runs), service)
        yield

    def _bad(self, touched: list[str]) -> set[str]:
        """Those of them whose release is bad."""
        return {one for one in touched if one in self._weak and self.random.random() < BAD_PROBABILITY}

    def _shares(self, _bad: set[str]) -> bool:
        """Whether what came with these goes back too."""
        return False

    @property
    def _wanted(self) -> bool:
        """Whether it was never met yet what comes of a power cut while something is being proven."""
        return self.power > 0 and "again:done" not in self.tally.met

    def seldom(self) -> str:
        return PROVING if self._wanted and PROVING in self.tally.met else super().seldom()

    def struck(self, last: str) -> None:
        if (self._wanted and last == PROVING) or self.random.random() < self.power:
            kill_all(self.world.state)
            self._power_was_cut = True

    def check_settled(self) -> None:
        super().check_settled()
        settings = settings_from(self.world.configure())
        observed = DRIVERS["process"].observe(site_of(settings), "production")
        pins = YAML(typ="safe").load(self.world.pinned())["pins"]
        with closing(store_of(settings)) as store:
            assert store.verify_audit() is None, "(10) the audit log is broken"
            assert store.held_slots("production") == [], "a slot was not given back"
            upgrades = store.upgrades(environment="production", limit=UPGRADES_MAX)
        for service, expected in self.expected.items():
            kind = self.kinds[service]
            for index in range(kind.instances):
                wait_until(partial(answered, self.world.port(service) + index))
            versions = [str(one.target.version) for one in observed[service].instances]
            assert versions == [expected.runs] * kind.instances, f"{service} runs {versions}"
            pinned = pins[service] if isinstance(pins[service], str) else pins[service]["version"]
            assert pinned == expected.runs, f"{service}: the pin does not say what runs\n{pins}"
            mine = [upgrade for upgrade in upgrades if upgrade.service == service]
            assert all(upgrade.final for upgrade in mine), "(9) it is not over"
            self._check_failed([upgrade for upgrade in mine if upgrade.failed], expected)
            if service not in self._touched and self._pids and not self._power_was_cut:
                assert self._pids_of(service) == self._pids[service], f"{service} was not to be touched"

    def _check_failed(self, failed: list[Upgrade], expected: Expected) -> None:
        versions = sorted(str(upgrade.to.version) for upgrade in failed if upgrade.to)
        assert versions == sorted(expected.failed), (
            f"(3) each bad version is tried exactly once: tried {versions}, bad {sorted(expected.failed)}"
        )
        reverted = git(self.world.remote, "log", OPERATIONS, "main").split()
        for upgrade in failed:
            assert upgrade.phase == "reverted", f"(4) {end_of(upgrade)}"
            assert upgrade.operation in reverted, f"(4) {upgrade.operation} has no commit"

    def _pids_of(self, service: str) -> list[str]:
        first = self.world.port(service)
        return [get(first + index, "/pid") for index in range(self.kinds[service].instances)]


class Atomic(Fleet):
    """Pins that one commit moved share their fate: where one fails, all go back by one revert."""

    reaches = ("together:decided",)
    kinds: ClassVar[dict[str, Kind]] = {"api": Kind(), "db": Kind(), "web": Kind()}
    policy = "{atomic: true}"
    pushed_at_once = (2, 3)
    power = 0.0

    def _bad(self, touched: list[str]) -> set[str]:
        found = sorted(super()._bad(touched))
        return {self.random.choice(found)} if found else set()

    def _shares(self, bad: set[str]) -> bool:
        return bool(bad)
