"""What the suite must be able to do to an engine behind UGS's back, and what it stages its scenarios with."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, Protocol, cast

from reconciler.cli.graph import settings_from, store_of
from reconciler.model.upgrade import Upgrade
from reconciler.store import AuditRow, Store
from tests.daemon_process import DaemonProcess, configured, daemon, ugs
from tests.fleet_repository import FleetRepository
from tests.world import World

PATIENCE_S = 240.0
"""For an engine on a machine that has much else to do."""
Mode = Literal["ok", "unhealthy", "crash", "absent", "slow"]
"""What a release does: answer well; answer ill; exit at once; have an artifact that is nowhere; take five seconds
before it answers at all."""
Lack = Literal["engine", "drift", "adoption"]
"""What an engine may be without: something of its own that can be down, objects that a person may change by hand,
objects that may have been there before us."""


class Harness(Protocol):
    """One engine, started for the whole session. Every scenario gets a fleet, and leaves nothing on the engine.

    A service answers `/healthz` and `/version` (JSON, `{"version": "1.0.0"}`) at its port, as its mode says.
    """

    kind: str

    def begin(self, fleet: FleetRepository) -> None:
        """A scenario begins, on this fleet: nothing of an earlier one is there any more."""

    def end(self) -> None:
        """It is over: remove all of its objects, however it ended; the engine is up and stays so."""

    def close(self) -> None:
        """Stop the engine."""

    def driver_yaml(self) -> str:
        """The environment's `driver:`, in one line: `{kind: process}`."""

    def daemon_yaml(self) -> str:
        """Lines of ugs.yaml: `drivers:`, `engines:` and what else the driver needs; empty where it needs none."""

    def release(self, fleet: FleetRepository, version: str, mode: Mode, service: str) -> None:
        """Write the manifest (into `fleet.files`), and put its artifact where the engine finds it."""

    def answers(self, service: str) -> str:
        """The version that really answers now; empty when none does."""

    def instances(self, service: str) -> list[str]:
        """The version of everything that runs of the service, asked of the engine itself and not of our driver.

        What is not ours (`stranger`) counts as "stranger".
        """

    def labels(self, service: str) -> list[Mapping[str, str]]:
        """What every object of the service says of itself: `environment`, `service`, `version`, `operation`, `site`
        at the least."""

    def crash_one(self, service: str) -> None:
        """End one running instance, as a bug in it would."""

    def drift(self, service: str) -> None:
        """Change the service by hand so that it is no longer what was applied, and does not mend itself."""

    def stranger(self, service: str) -> None:
        """Put something there that is not ours, where ours would be."""

    def engine_down(self) -> None:
        """From now on the engine answers nothing, until `engine_up`."""

    def engine_up(self) -> None: ...


class Module(Protocol):
    """`tests/engines/KIND.py`. Importing it must need no engine."""

    LACKS: frozenset[Lack]
    """What its engine is without; the scenarios about that are not for it."""

    def start(self, folder: Path) -> Harness:
        """Start the engine, with all that it keeps under the folder. What fails here fails the suite."""


def module(kind: str) -> Module:
    return cast(Module, importlib.import_module(f"tests.engines.{kind}"))


class Stage:
    """A scenario's fleet on an engine, and the daemon over it: what people do there, and what comes of it."""

    def __init__(self, world: World, engine: Harness) -> None:
        self.world, self.engine = world, engine
        world.driver_yaml = engine.driver_yaml()
        world.settings_more = engine.daemon_yaml()

    def release(self, version: str, mode: Mode = "ok", service: str = "api") -> None:
        self.engine.release(self.world, version, mode, service)

    def probed(self, version: str, probe: str, *, deadline: str, service: str = "api") -> None:
        """Have a release that was written be asked one thing more, for so long."""
        file = f"releases/{service}/{version}.yaml"
        text = re.sub(r"deadline: \w+", f"deadline: {deadline}", self.world.files[file] or "")
        self.world.files[file] = text.replace("  probes:\n", f"  probes:\n    - {probe}\n")

    def bump(
        self, version: str, mode: Mode = "ok", *services: str, instances: int = 1, strategy: str = ""
    ) -> str:
        """Write a release of each service, pin it and merge that; the commit's id."""
        for service in services or ("api",):
            self.release(version, mode, service)
            self.pin(version, service, instances=instances, strategy=strategy)
        return self.world.merge(f"Bump to {version}")

    def pin(self, version: str, service: str = "api", *, instances: int = 1, strategy: str = "") -> None:
        more = f", strategy: {strategy}" if strategy else ""
        several = f'{{version: "{version}", instances: {instances}{more}}}'
        self.world.pin(several if instances > 1 or strategy else version, service)

    @contextlib.contextmanager
    def daemon(self) -> Iterator[DaemonProcess]:
        with daemon(self.world, config=configured(self.world)) as running:
            running.patience_s = PATIENCE_S
            running.until_serving()
            yield running

    @contextlib.contextmanager
    def running(self, version: str = "1.0.0", *services: str, instances: int = 1) -> Iterator[DaemonProcess]:
        """A daemon, under which that version of each service has just been deployed."""
        self.bump(version, "ok", *services, instances=instances)
        with self.daemon() as running:
            for service in services or ("api",):
                running.until_runs(version, service)
            yield running

    def ugs(self, *arguments: str) -> str:
        """What a verb prints; it must succeed."""
        done = ugs(*arguments, "--config", self.world.folder / "ugs.yaml")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def upgrades(self, service: str = "api") -> list[Upgrade]:
        """Every upgrade of the service, oldest first."""
        with self._store() as store:
            return store.upgrades(environment="production", service=service)[::-1]

    def phases(self, service: str = "api") -> list[str]:
        return [upgrade.phase.value for upgrade in self.upgrades(service)]

    def steps(self, upgrade: Upgrade) -> list[str]:
        """The steps that the upgrade has begun."""
        with self._store() as store:
            return [step.step for step in store.steps(upgrade.operation)]

    def audit(self, *events: str) -> list[AuditRow]:
        """The rows of these events, oldest first; the audit must be whole."""
        with self._store() as store:
            assert store.verify_audit() is None
            return [row for row in reversed(store.audit_rows(limit=1000)) if row.event in events]

    def until_ended(self, running: DaemonProcess, *phases: str, service: str = "api") -> None:
        """Wait until the service's upgrades stand so, oldest first."""
        running.until(lambda: self.phases(service) == list(phases))

    def _store(self) -> contextlib.closing[Store]:
        return contextlib.closing(store_of(settings_from(self.world.folder / "ugs.yaml")))
