"""Several machines of one environment on this one: a daemon each, with a state and a network of its own."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.daemon_process import WAIT_S, DaemonProcess
from tests.drivers.services import kill_all
from tests.git.colleague import git
from tests.world import World

OWN_NETWORK = ("unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
LEASE = "lease: 8s\n"
ILL = "{directory}/../../../../../ill"
"""A file in the state folder of the host that is ill, as a release sees it."""
PROBE = f'{{command: ["test", "!", "-e", "{ILL}"], interval: 50ms, failures: 2}}'


class Host:
    """One machine: its daemon is started, killed and started again; its services end with the test."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.state = world.folder / name
        self._world = world
        self.daemon: DaemonProcess | None = None

    def start(self, failpoint: str = "", network: tuple[str, ...] = OWN_NETWORK) -> DaemonProcess:
        world, config = self._world, self._world.folder / f"{self.name}.yaml"
        config.write_text(
            f'repository: {{url: "{world.remote}", branch: main, poll: 1s}}\nstate: "{self.state}"\n'
            f"identity: {{name: UGS, email: ugs@example.org}}\n{LEASE}{world.settings_more}"
        )
        environment = {"UGS_FAILPOINT": failpoint} if failpoint else {}
        self.daemon = DaemonProcess(
            config, self.state, "--host", self.name, environment=environment, prefix=network
        )
        return self.daemon

    @property
    def running(self) -> DaemonProcess:
        assert self.daemon is not None
        return self.daemon

    def ill(self) -> None:
        """From now on, releases that look for it are ill here."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        (self.state / "ill").touch()

    def kill(self) -> None:
        """The machine is gone, with all that runs there."""
        if self.daemon:
            self.daemon.kill()
        kill_all(self.state)

    def runs(self, service: str = "api") -> str:
        """The version that its daemon sees running, healthy and at rest; else nothing."""
        with contextlib.suppress(Exception):
            seen = self.running.service(service)
            if seen and seen["phase"] is None and seen["health"] == "healthy":
                return str(seen["running"] or "").partition("@")[0]
        return ""

    def knows(self) -> bool:
        """Whether its daemon has the environment."""
        with contextlib.suppress(Exception):
            return bool(self.running.status()["environments"])
        return False

    def status(self) -> Any:
        [here] = self.running.status()["environments"]
        return here


class Hosts:
    """The machines of `production`, by name."""

    def __init__(self, world: World, *names: str, strategy: str = "{}") -> None:
        self.world = world
        self.all = [Host(world, name) for name in names]
        world.more = f"hosts: [{', '.join(names)}]\nstrategy: {strategy}\n"

    def __getitem__(self, name: str) -> Host:
        return next(host for host in self.all if host.name == name)

    def start(self) -> None:
        """All of them, before anything is pinned: whoever comes to an environment of which Git tells already, since
        another was faster, is in safe mode."""
        self.world.merge("Begin")
        for host in self.all:
            host.start()
        self.until(lambda: all(host.knows() for host in self.all))

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition; the logs of all daemons tell why it was in vain."""
        end_s = time.monotonic() + 5 * WAIT_S
        while not condition():
            assert time.monotonic() < end_s, f"what was waited for did not happen:\n{self.logs()}"
            time.sleep(0.05)

    def logs(self) -> str:
        return "\n".join(f"--- {host.name}\n{host.running.log()}" for host in self.all if host.daemon)

    def until_all_run(self, version: str, *names: str, service: str = "api") -> None:
        chosen = [self[name] for name in names] if names else self.all
        self.until(lambda: all(host.runs(service) == version for host in chosen))

    def rollout(self, service: str = "api") -> dict[str, Any]:
        """What is published of a service's rollout; empty while there is nothing."""
        return dict(self.published("rollout/production").get("rollouts", {}).get(service, {}))

    def reached(self, version: str, service: str = "api") -> str:
        """How the rollout of this version stands; empty while none is published."""
        found = self.rollout(service)
        return str(found.get("state", "running")) if found and found["to"]["version"] == version else ""

    def report(self, host: str, service: str = "api") -> dict[str, Any]:
        return dict(self.published(f"hosts/production/{host}").get("reports", {}).get(service, {}))

    def published(self, ref: str) -> dict[str, Any]:
        listed = git(self.world.remote, "for-each-ref", "--format=%(contents:body)", f"refs/ugs/{ref}")
        return dict(json.loads(listed)) if listed.strip() else {}

    def holder(self) -> Host:
        """Whose daemon holds the lease of the whole environment."""
        claim = self.published("lease/production")
        return self[str(claim["host"])]

    def until_one_holds(self) -> Host:
        self.until(lambda: self.published("lease/production").get("lasts_s"))
        return self.holder()


@contextlib.contextmanager
def hosts(world: World, *names: str, strategy: str = "{}") -> Iterator[Hosts]:
    """All of them started, over what the world has pinned by then; all of them gone at the end."""
    found = Hosts(world, *names, strategy=strategy)
    try:
        yield found
        for host in found.all:
            if host.daemon and host.daemon.process.poll() is None:
                assert host.daemon.stop() == 0, host.daemon.log()
    finally:
        for host in found.all:
            host.kill()
