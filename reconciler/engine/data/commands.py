"""Commands that work on a service's data, as journaled steps of one upgrade."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from reconciler import command, probes
from reconciler.drivers.base import Driver
from reconciler.engine.control import Control
from reconciler.engine.core import Core
from reconciler.errand import Order, Outcome, StillRunning
from reconciler.model.environment import Policy
from reconciler.model.errors import ArtifactError, TransientError
from reconciler.model.release import Means, SecretName
from reconciler.model.target import Workload
from reconciler.model.upgrade import Upgrade

OUTPUT_CHARS_MAX = 3_500
"""Of what a command wrote, in the journal."""
LEASE_PAUSE_S = 1.0
Argv = tuple[str, ...]


class Commands:
    """The commands of the release that one upgrade is to reach. Each is an errand: it outlives the daemon, and the
    next one waits for it and reads how it ended."""

    def __init__(self, core: Core, driver: Driver, upgrade: Upgrade, control: Control) -> None:
        if upgrade.after is None:
            raise RuntimeError(f"{upgrade.operation}: a removal has no data")
        self.core, self.driver, self.upgrade, self._control = core, driver, upgrade, control
        self.work: Workload = upgrade.after

    @property
    def policy(self) -> Policy:
        """The environment's, by the newest commit that is in force."""
        wanted = self.core.desired.get(self.upgrade.environment)
        return wanted.environment.policy if wanted else Policy()

    async def run(
        self,
        step: str,
        argv: Argv,
        means: Means,
        *,
        anew: bool,
        place: str = "",
        note: Callable[[], None] | None = None,
    ) -> Outcome:
        """One command as a journaled step, which `close` ends; `note` records what must be so before it runs."""
        core, operation = self.core, self.upgrade.operation
        order = await core.drive(self.work.environment, self._order, argv, means, place)
        await self._ours()  # last: this machine may be stopped at any await
        with core.store.transaction():
            if note is not None:
                note()
            core.store.begin(operation, step)
        core.failpoint(f"{step}:begun")
        outcome = await asyncio.to_thread(
            core.vault.carry_out,
            self.folder("errands"),
            f"{operation}.{step}",
            order,
            anew=anew,
            leave=lambda: self._control.stopping,
        )
        core.failpoint(f"{step}:done")
        return outcome

    async def _ours(self) -> None:
        """Return when the environment, whose the data are, is this daemon's: as long as it is not known whose it is,
        what has touched them waits. Raises Fenced, StillRunning; TransientError where nothing was touched yet."""
        control = self._control
        while True:
            if control.stopping:
                raise StillRunning("the daemon ends", "the next one goes on")
            try:
                await self.core.fence.passed()
                return
            except TransientError:
                rows = self.core.store.migrations(self.upgrade.environment, self.upgrade.service)
                if all(row.operation != self.upgrade.operation for row in rows):
                    raise
            control.wake.clear()
            await self.core.clock.wait(control.wake, LEASE_PAUSE_S)

    def close(self, step: str, outcome: Outcome) -> None:
        """The step ended so; its evidence is kept with it. Not in a transaction, which may yet be lost: see `end`."""
        self.end(step, outcome)
        self.forget(step)

    def end(self, step: str, outcome: Outcome) -> None:
        """The same on record alone; `forget` follows once that is durable."""
        operation = self.upgrade.operation
        self.core.store.end(
            operation, step, outcome="ok" if outcome.code == 0 else "failed", detail=evidence(outcome)
        )

    def forget(self, step: str) -> None:
        """How it ended is on record: whoever forgets it before would have it run again."""
        self.core.vault.forget(self.folder("errands"), f"{self.upgrade.operation}.{step}")

    def unfinished(self, step: str) -> bool:
        """Whether the step has begun, and did not end well."""
        steps = self.core.store.steps(self.upgrade.operation)
        return any(one.step == step and one.outcome != "ok" for one in steps)

    def folder(self, kind: str) -> Path:
        """Where the service's files of that kind are kept."""
        return self.core.site.state.resolve().joinpath(kind, self.upgrade.environment, self.upgrade.service)

    def _order(self, argv: Argv, means: Means, place: str) -> Order:
        """A command with its placeholders filled and its secrets resolved. Raises HostError."""
        site, work = self.core.site_of(self.work.environment), self.work
        around = self.driver.surroundings(site, work)
        values = around.values | {"backup": place}
        own, secrets = dict[str, str](), list[str]()
        for name, value in means.environment.items():
            if isinstance(value, SecretName):
                own[name] = site.secret(value.secret, work.environment, work.service)
                secrets.append(own[name])
            else:
                own[name] = probes.fill(value, values)
        run = work.release.run
        for name, value in run.environment.items() if run else ():
            if isinstance(value, SecretName):
                secrets.append(around.environment[name])
        return Order(
            argv=(*around.prefix, *(probes.fill(word, values) for word in argv)),
            environment=around.environment | _home(means.user) | own,
            directory=str(around.directory / means.directory),
            timeout_s=means.timeout_s,
            user=means.user,
            secrets=tuple(secrets),
            umask=site.umask,
        )

    def check(self, means: Means, *commands: Argv | None) -> None:
        """Raise ArtifactError when one names a file of the release that is not there, or not executable."""
        around = self.driver.surroundings(self.core.site_of(self.work.environment), self.work)
        if around.prefix:
            return  # they are inside what the engine runs, and nobody can look there before
        root = around.directory
        for argv in filter(None, commands):
            program = root / means.directory / argv[0]
            if "/" in argv[0] and program.is_relative_to(root) and not os.access(program, os.X_OK):
                raise ArtifactError(
                    f"{self.work.release.place}: the archive has no executable {argv[0]!r}",
                    "mend the archive or the command in a new release",
                )


def _home(user: str | None) -> dict[str, str]:
    """What tells another user's programs who they are."""
    if user is None:
        return {}
    return {"HOME": command.account(user).pw_dir, "USER": user, "LOGNAME": user}


def evidence(outcome: Outcome) -> str:
    """How it ended, and the end of what it wrote."""
    return "\n".join(filter(None, (_how(outcome), outcome.output[-OUTPUT_CHARS_MAX:])))


def told(outcome: Outcome) -> str:
    """How it ended and the last line that it wrote, in one bounded line."""
    last = outcome.output.splitlines()[-1] if outcome.output else ""
    return probes.one_line(f"{_how(outcome)}: {last}" if last else _how(outcome))


def _how(outcome: Outcome) -> str:
    if outcome.refusal:
        return outcome.refusal
    if outcome.timed_out:
        return "it did not end within its time limit"
    if outcome.code is None:
        return "it was cut short"
    return f"exit code {outcome.code}" if outcome.code >= 0 else f"ended by signal {-outcome.code}"
