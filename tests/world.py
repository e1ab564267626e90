"""A small world for scenarios: a real remote, a colleague who pushes, real processes, a clock to be moved."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from reconciler.cli.graph import core_from, settings_from
from reconciler.cli.state import state_lock
from reconciler.drivers import DRIVERS
from reconciler.engine.core import Core
from reconciler.engine.fleet import Fleet
from reconciler.engine.mail import carry_notices, empty_outbox, held_again
from reconciler.engine.view import ServiceView
from reconciler.model.codec import decode
from reconciler.model.lease import environment_of
from reconciler.model.notice import Notice
from reconciler.model.upgrade import Phase, Upgrade
from reconciler.store import SLACK
from tests.drivers.services import Mode, answered, get, kill_all
from tests.fleet_repository import FleetRepository
from tests.forge.server import ForgeServer
from tests.git.colleague import git
from tests.git.http_backend import serve
from tests.moved_clock import MovedClock
from tests.notify.slack_server import SlackServer

PASSES_MAX = 50
WAIT_S = 90.0
STOP_S = 30.0


class World(FleetRepository):
    """A fleet's repository, and the engine over it, on real processes and a real database."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.state = folder / "state"
        self.clock = MovedClock()
        self.url = str(self.remote)
        self.repository_more = ""
        self.settings_more = ""
        self.identity_more = ""
        self.accept_first = False
        self.host = ""
        """The name of this machine; by default its own."""
        self.leased = False
        """Whether the engine acts only while it holds the lease; `holding` keeps it."""
        self.at: dict[str, Callable[[], object]] = {}
        """What happens at which failpoint."""
        self.driver = cast(Any, SimpleNamespace(**vars(DRIVERS["process"])))
        """The process driver; a function put in here takes the place of its own."""
        self._core: Core | None = None
        self._fleet: Fleet | None = None
        self._closing = contextlib.ExitStack()

    # the engine

    @contextlib.contextmanager
    def over_http(self, *, password: str, port: int = 0) -> Iterator[str]:
        """Reach the remote over http, with a password, from now on and as long as this lasts."""
        git(self.remote, "config", "http.receivepack", "true")
        secret = self.folder / "git-password"
        secret.write_text(password)
        with serve(self.folder, user="ugs", password=password, port=port) as base:
            self.url = f"{base}/fleet.git"
            self.repository_more = f', username: ugs, password: {{file: "{secret}"}}'
            yield base

    def notify(self, slack: SlackServer) -> None:
        """Tell this Slack. To be said before the engine is used."""
        token = self.folder / "slack-token"
        token.write_text(slack.token)
        where = f'token: {{file: "{token}"}}, channel: "{slack.channel}", api: "{slack.api}"'
        self.settings_more += f"notify: {{slack: {{{where}}}}}\n"

    def report_to(self, forge: ForgeServer) -> None:
        """Tell this forge. To be said before the engine is used."""
        token = self.folder / "forge-token"
        token.write_text(forge.token)
        self.settings_more += f"forge: {forge.settings(token)}\n"

    def push_aside(self, branch: str, version: str, mode: Mode = "ok", service: str = "api") -> str:
        """Write a release and pin it on a branch of its own, which nobody merges; the commit's id."""
        self.release(version, mode, service=service)
        self.pin(version, service)
        self.ada.pull_if_any()
        self.ada.git("checkout", "--quiet", "-B", branch)
        made = self.commit(f"Bump {service} to {version}")
        self.ada.git("push", "--quiet", "origin", branch)
        self.ada.git("checkout", "--quiet", "main")
        return made

    def propose(self, forge: ForgeServer, version: str, mode: Mode = "ok", service: str = "api") -> int:
        """Ada's pull request that bumps a service; its number."""
        branch = f"{service}-{version}"
        self.push_aside(branch, version, mode, service)
        return forge.open(branch, title=f"Bump {service} to {version}")

    def configure(self) -> Path:
        """Write ugs.yaml; its path."""
        path = self.folder / "ugs.yaml"
        path.write_text(
            f'repository: {{url: "{self.url}", branch: main, poll: 5s{self.repository_more}}}\n'
            f'state: "{self.state}"\n'
            f"identity: {{name: UGS, email: ugs@example.org{self.identity_more}}}\n{self.settings_more}"
        )
        return path

    @property
    def core(self) -> Core:
        if self._core is None:
            settings = dataclasses.replace(settings_from(self.configure()), host=self.host)
            self._closing.enter_context(state_lock(settings.state))
            core = self._closing.enter_context(core_from(settings, self.clock, leased=self.leased))
            self._core = dataclasses.replace(core, drivers={"process": self.driver}, failpoint=self._at)
        return self._core

    @contextlib.asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """Look after the leases as the daemon does, for as long as this lasts."""
        passes, core = self.fleet.passes, self.core

        def changed(name: str) -> None:
            passes[environment_of(name)].wake.set()
            if core.leases.standing(name) == "held":
                held_again(core)

        keep = core.leases.keep(lambda: sorted({*passes, *map(core.share, passes)}), changed)
        keeper = asyncio.create_task(keep)
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.wait([keeper])

    def _at(self, failpoint: str) -> None:
        if failpoint in self.at:
            self.at[failpoint]()

    @property
    def fleet(self) -> Fleet:
        if self._fleet is None:
            self._fleet = Fleet(self.core, accept_first=self.accept_first)
        return self._fleet

    async def settle(self, *, refresh: bool = True) -> None:
        """Fetch, and pass until nothing moves any more by itself."""
        if refresh:
            await self.fleet.refresh()
        here = self.fleet.passes
        for _ in range(PASSES_MAX):
            for environment in here.values():
                environment.wake.clear()
            await self.a_pass()
            tasks = [task for environment in here.values() for task in environment.tasks()]
            if not tasks and not any(environment.wake.is_set() for environment in here.values()):
                return
            if tasks:
                done, _ = await asyncio.wait(tasks, timeout=WAIT_S)
                assert done, "an upgrade neither ended nor waited"
        raise AssertionError("it does not settle")

    async def settle_until(self, condition: Callable[[], object]) -> None:
        """Fetch, and pass again and again until it is so; what is under way then stays so."""
        await self.fleet.refresh()
        end_s = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < end_s, "what was waited for did not happen"
            await self.a_pass()
            await asyncio.sleep(0.01)

    async def a_pass(self) -> None:
        await asyncio.gather(*(here.once() for here in self.fleet.passes.values()))

    async def reach(self, phase: Phase, service: str = "api") -> Upgrade:
        """Fetch, pass, and wait until the newest upgrade of the service is in this phase."""
        await self.fleet.refresh()
        await self.a_pass()
        return await self.until(phase, service)

    async def until(self, phase: Phase, service: str = "api") -> Upgrade:
        """Wait until the newest upgrade of the service is in this phase."""
        await self.eventually(
            lambda: (newest := self.newest(service)) and newest.phase is phase,
            lambda: f"{service} got to {self.newest(service)}, not to {phase.value}",
        )
        newest = self.newest(service)
        assert newest is not None
        return newest

    async def rest(self) -> None:
        """Wait until what is under way has ended or waits; no new pass."""
        tasks = [task for here in self.fleet.passes.values() for task in here.tasks()]
        if tasks:
            await asyncio.wait(tasks, timeout=WAIT_S)

    def hold(self, call: str) -> threading.Event:
        """From now on this call of the driver has its effect only when the event is set."""
        free, own = threading.Event(), getattr(self.driver, call)

        def held(*arguments: Any, **keywords: Any) -> Any:
            assert free.wait(WAIT_S)
            return own(*arguments, **keywords)

        setattr(self.driver, call, held)
        return free

    async def eventually(
        self, condition: Callable[[], object], instead: Callable[[], str] = lambda: ""
    ) -> None:
        """Wait until it is so. `instead`: what there is to say where it never is."""
        end_s = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < end_s, f"what was waited for did not happen; {instead()}"
            await asyncio.sleep(0.01)

    async def tries(self, step: str, *, outcome: str) -> None:
        """Wait until this step of the newest upgrade has ended so."""
        newest = self.newest()
        assert newest is not None
        steps = self.core.store.steps
        await self.eventually(
            lambda: (step, outcome) in {(s.step, s.outcome) for s in steps(newest.operation)}
        )

    async def restart(self) -> None:
        """Stop the engine at a safe point, as a daemon does, and start a new one on the same state."""
        await self.stopped()
        await self.fleet.start()

    async def stopped(self) -> None:
        """Stop the engine at a safe point. Services run on."""
        if tasks := [task for here in self.fleet.passes.values() for task in here.halt()]:
            _, late = await asyncio.wait(tasks, timeout=STOP_S)
            assert not late, "it does not stop"
        self.forget()

    async def deliver(self) -> None:
        """One round of telling people, and of pushing notes."""
        await empty_outbox(self.core)

    @contextlib.asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Carry notices as the daemon does, each channel on its own, for as long as this lasts."""
        tasks = [asyncio.create_task(carry_notices(self.core, outbox)) for outbox in self.core.outboxes]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def forget(self) -> None:
        """End an engine that is at rest; the next use makes a new one on the same state."""
        self._closing.close()
        self._core = self._fleet = None

    def wipe(self) -> None:
        """Of an engine that is forgotten: all that it ever wrote is gone, save what keeps the services running."""
        for path in self.state.iterdir():
            if path.name != "services":
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    # what came of it

    def upgrades(self, service: str = "api") -> list[Upgrade]:
        return self.core.store.upgrades(environment="production", service=service)

    def newest(self, service: str = "api") -> Upgrade | None:
        return next(iter(self.upgrades(service)), None)

    def phases(self, service: str = "api") -> list[str]:
        """How every upgrade of the service stands, oldest first."""
        return [upgrade.phase.value for upgrade in reversed(self.upgrades(service))]

    def answers(self, service: str = "api") -> str:
        """The version that really answers at the service's port; empty when none does."""
        return answered(self.port(service))

    def stop(self, service: str = "api") -> None:
        """Kill the whole service: what runs it, and what keeps it running."""
        kill_all(self.state, service=service)

    def pid(self, service: str = "api") -> str:
        return get(self.port(service), "/pid")

    def state_of_branch(self) -> str:
        return self.fleet.state

    def view(self, service: str = "api") -> ServiceView:
        return self.fleet.passes["production"].views()[service]

    def notices(self) -> list[Notice]:
        """All that was written for people, oldest first, delivered or not."""
        rows = self.core.store._all("SELECT payload FROM outbox WHERE channel = ? ORDER BY id", (SLACK,))
        return [decode(row["payload"], Notice) for row in rows]

    def told(self) -> list[str]:
        return [notice.sentence for notice in self.notices()]

    def calls(self) -> list[str]:
        """The sentences that ask a person to act."""
        return [notice.sentence for notice in self.notices() if notice.severity == "person"]

    def events(self) -> list[str]:
        """The audit, oldest first, as `event service`; it must be whole."""
        assert self.core.store.verify_audit() is None
        rows = reversed(self.core.store.audit_rows(limit=1000))
        return [f"{row.event} {row.service}".strip() for row in rows]

    def close(self) -> None:
        self.forget()
        for environment in ("production", "staging", "dev"):
            kill_all(self.state, environment)


def patiently(world: World, version: str) -> str:
    """Pin a healthy release of api that has all the time a busy machine may need; the commit's id."""
    return world.bump(version, deadline="2m")


@contextlib.contextmanager
def a_world(folder: Path) -> Iterator[World]:
    world = World(folder)
    try:
        yield world
    finally:
        world.close()
