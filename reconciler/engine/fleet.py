"""What is in force: fetched, judged, resolved, and handed to the environments that it concerns."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import datetime
from typing import Literal

from reconciler.engine import departure, rename
from reconciler.engine.core import Core
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.engine.repository import Retry, Rewritten
from reconciler.model.desired import resolve, thawed
from reconciler.model.errors import HostError, InputError, Place, Problem, UgsError
from reconciler.model.notice import Notice, Severity
from reconciler.model.snapshot import Snapshot

log = logging.getLogger("ugs")
EMPTIED = Problem(
    Place("environments"),
    "",
    "the repository was emptied: it has neither releases nor environments any more",
    "put them back; to give an environment up, remove its file alone",
)
PROBLEM_MARK = "problem: "
State = Literal["starting", "ok", "unreachable", "rewritten", "unreadable"]


def trouble_of(error: UgsError) -> tuple[State, Severity]:
    """What it means for the repository, and whether a person has to see to it."""
    match error:
        case Rewritten():
            return "rewritten", "person"
        case InputError():
            return "unreadable", "person"
        case HostError():
            return "unreachable", "person"
        case _:
            return "unreachable", "warning"


class Fleet:
    """The environments of one repository, and the commit that is in force for them."""

    def __init__(self, core: Core, *, accept_first: bool = False) -> None:
        self.core = core
        self.accept_first = accept_first
        self.passes: dict[str, EnvironmentPass] = {}
        self.problems: tuple[Problem, ...] = ()
        self.state: State = "starting"
        self.sentence = "nothing has been fetched yet"
        self.needs_person = False
        """Whether the state stays as it is until someone acts."""
        self.tip: str | None = None
        self.fetched_at: datetime | None = None
        self.joined = asyncio.Event()
        """Set when an environment has come that no task runs for yet."""
        self._refreshing = asyncio.Lock()
        self._again = False
        """Something of the commit in force could not be taken yet."""

    async def start(self) -> None:
        """What was in force before is in force again at once, even while the remote is down."""
        accepted = self.core.repository.mirror.accepted()
        if accepted:
            await self._take(await asyncio.to_thread(self.core.repository.snapshot, accepted))
        for upgrade in self.core.store.upgrades(unfinished=True):
            self._pass(upgrade.environment).resume([upgrade])

    async def refresh(self, *, accept_rewrite: bool = False) -> str:
        """Fetch, and take what is new into force. Returns the tip; raises UgsError after telling it."""
        core = self.core
        async with self._refreshing:
            try:
                fetched = await core.git(core.repository.fetch, accept_rewrite=accept_rewrite)
                news = fetched.tip != self.tip
                look = news or self._again
                snapshot = await asyncio.to_thread(core.repository.snapshot, fetched.tip) if look else None
                if snapshot is not None and core.desired and snapshot.empty:
                    raise InputError(EMPTIED)
            except UgsError as error:
                self._tell(*trouble_of(error), str(error))
                raise
            self.fetched_at = core.clock.now()
            if snapshot is not None and news:
                if accept_rewrite and fetched.previous is None:
                    core.store.audit("rewrite-accepted", detail=fetched.tip)
                for retry in fetched.retries:
                    self._release(retry)
                departure.keep(core, snapshot)
                await core.git(core.repository.accept, fetched.tip)
                core.store.audit("accepted", detail=fetched.tip)
            if snapshot is not None:
                await self._take(snapshot)
            waited_for = self.state != "ok"
            self._tell("ok", "info", f"{fetched.tip[:12]} is in force")
            for environment in self.passes.values():
                environment.fetched_at = self.fetched_at
                if waited_for:
                    environment.wake.set()
            return fetched.tip

    def _release(self, retry: Retry) -> None:
        """A trailer releases the one operation that it names, and nothing that was not quarantined by it."""
        upgrade = self.core.store.upgrade(retry.operation)
        if upgrade is None:
            log.warning("%s: Ugs-Retry names no operation known here: %s", retry.commit[:12], retry.operation)
            return
        self.core.store.release_quarantine(
            upgrade.environment,
            upgrade.service,
            operation=retry.operation,
            by=retry.author,
            why=f"Ugs-Retry in {retry.commit}",
        )

    async def _take(self, snapshot: Snapshot) -> None:
        core, frozen = self.core, self.core.frozen
        found = resolve(snapshot, frozen)
        wanted = {name: found[name] for name in found if departure.ours(core, found[name].environment)}
        busy = frozenset(name for name, here in self.passes.items() if here.busy)
        renames = await rename.carry_over(core, wanted, busy)
        self._again = renames.again
        usable = {name: desired for name, desired in wanted.items() if name not in renames.waiting}
        # What cannot be read at all stays as it is, neither gone nor emptied; so does what keeps its name for now.
        staying = snapshot.blind.union(renames.waiting.values()) & core.desired.keys() - usable.keys()
        kept = {name: core.desired[name] for name in staying}
        gone = departure.gone(core, snapshot)
        core.desired.clear()
        core.desired.update(gone | kept | usable)
        self.tip = snapshot.revision
        refused = (*self._refused(snapshot), *renames.problems)
        self._tell_problems((*snapshot.problems, *thawed(snapshot, frozen), *refused))
        for name in usable | gone:
            self._pass(name)
        for environment in self.passes.values():
            environment.wake.set()

    def _pass(self, name: str) -> EnvironmentPass:
        if name not in self.passes:
            self.passes[name] = EnvironmentPass(
                self.core, name, self._refresh_quietly, accept_first=self.accept_first
            )
            self.joined.set()
        return self.passes[name]

    async def _refresh_quietly(self) -> None:
        with contextlib.suppress(UgsError):
            await self.refresh()

    def _refused(self, snapshot: Snapshot) -> list[Problem]:
        return [
            Problem(
                Place(f"environments/{name}.yaml"),
                "driver.kind",
                f"the driver {environment.driver.kind} may not be used by this daemon",
                "add it to `drivers` in ugs.yaml, or name one that is there",
            )
            for name, environment in snapshot.environments.items()
            if environment.driver.kind not in self.core.settings.drivers
        ]

    def _tell(self, state: State, severity: Severity, text: str) -> None:
        """Keep the state of the repository; a change of it is told, once."""
        if state != self.state:
            log.log(logging.INFO if state == "ok" else logging.WARNING, "repository: %s", text)
            self.core.store.audit(f"repository-{state}", detail=text)
            if state != "ok" and (severity == "person" or self.state != "starting"):
                self._alert(text, severity)
            elif state == "ok" and self.state != "starting":
                self._alert(f"the repository is in order again: {text}", "info")
        self.state, self.sentence, self.needs_person = state, text, severity == "person"

    def _tell_problems(self, problems: tuple[Problem, ...]) -> None:
        """Each is told once while it lasts, however often the daemon is started anew."""
        store, now = self.core.store, {f"{PROBLEM_MARK}{problem}": problem for problem in problems}
        with store.transaction():
            told = store.marks(PROBLEM_MARK)
            for mark in sorted(now.keys() - told.keys()):
                log.error("%s", now[mark])
                store.mark(mark, "told")
                self._alert(str(now[mark]), "person")
            for mark in told.keys() - now.keys():
                store.mark(mark, None)
        self.problems = tuple(sorted(now.values()))

    def _alert(self, text: str, severity: Severity) -> None:
        now = self.core.clock.now()
        notice = Notice(
            environment="", service="", sentence=text, severity=severity, at=now, title="repository"
        )
        self.core.store.tell(notice)
        self.core.wake_notices.set()
