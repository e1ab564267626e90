"""What is in force: fetched, judged, resolved, and handed to the environments that it concerns."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Mapping
from typing import Literal

from reconciler.collector import standing_still
from reconciler.engine import departure, flags, problems, rename, soak
from reconciler.engine.core import Core
from reconciler.engine.reading import Reading, Resolvers, accepted_environments, read
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.engine.recovery import Recall
from reconciler.engine.remembering import Remembering
from reconciler.engine.repository import Retry, Rewritten
from reconciler.engine.trust import Guard, Judged, Untrusted, ahead_of
from reconciler.model.desired import Desired, moved
from reconciler.model.errors import HostError, InputError, Place, Problem, UgsError
from reconciler.model.notice import Severity
from reconciler.model.stamped import named_alike, without
from reconciler.model.thawed import Thawer
from reconciler.model.trust import refusal_remedy, refusal_text

log = logging.getLogger("ugs")
EMPTIED = Problem(
    Place("environments"),
    "",
    "the repository was emptied: it has neither releases nor environments any more",
    "put them back; to give an environment up, remove its file alone",
)
State = Literal["starting", "ok", "unreachable", "rewritten", "unreadable", "untrusted"]


def trouble_of(error: UgsError) -> tuple[State, Severity]:
    """What it means for the repository, and whether a person has to see to it."""
    match error:
        case Rewritten():
            return "rewritten", "person"
        case Untrusted():
            return "untrusted", "person"
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
        self.guard = Guard(core)
        self.accept_first = accept_first
        self._thawed = Thawer()
        self.passes: dict[str, EnvironmentPass] = {}
        self.problems: tuple[Problem, ...] = ()
        self.state: State = "starting"
        self.sentence = "nothing has been fetched yet"
        self.needs_person = False
        """Whether the state stays as it is until someone acts."""
        self.tip: str | None = None
        self.joined = asyncio.Event()
        """Set when an environment has come that no task runs for yet."""
        self._refreshing = asyncio.Lock()
        self._seen: tuple[str, Judged] | None = None
        """The branch's tip, and how far it is followed."""
        self._recall = Recall(core)
        self._resolvers = Resolvers()
        self.remembering = Remembering(core.repository)
        self._again = False
        """Something of the commit in force could not be taken yet."""
        self._called: Mapping[str, Desired] = {}
        """What passes were made for last: by its names alone."""
        self._gone = set[str]()
        """The passes of other names than those."""
        self._unsettled = set[str]()
        """Environments whose files are new, and whose flags were not looked at since."""

    async def start(self) -> None:
        """What was in force before is in force again at once, even while the remote is down."""
        flags.remember(self.core)
        if accepted := self.guard.last():
            try:
                judged = await self.guard.judge(accepted)
            except UgsError as error:
                self._tell("untrusted", "person", str(error))  # nothing is followed until it can be verified
            else:
                with standing_still():
                    await self._take_again(accepted, judged)
        for upgrade in self.core.store.upgrades(unfinished=True):
            here, recovery = self._pass(upgrade.environment), self.core.store.recovery(upgrade.environment)
            if (
                recovery is None or recovery.base
            ):  # else nothing goes on before Git was asked what became of it
                here.resume([upgrade])

    async def _take_again(self, accepted: str, judged: Judged) -> None:
        core = self.core
        if reading := await asyncio.to_thread(read, core.repository, accepted, judged):
            here = await asyncio.to_thread(accepted_environments, core.repository)
            await rename.keep_lost(core, departure.absent_of(here, reading), reading, self._resolvers)
            await self._take(reading, judged)

    async def refresh(self, *, accept_rewrite: bool = False, poll: bool = False) -> str:
        """Fetch, and take what is new and trusted into force. Returns the tip; raises UgsError after telling it.

        `poll`: ask the remote first whether there is any news.
        """
        core = self.core
        async with self._refreshing:
            # Who is stopped while he fetches knows what was so before.
            asked_at, asked_s = core.clock.now(), core.clock.monotonic()
            try:
                fetched = await core.git(core.repository.fetch, accept_rewrite=accept_rewrite, poll=poll)
                judged = await self.guard.judge(fetched.tip)
                news = (fetched.tip, judged) != self._seen
                look = news or self._again
                reading = (
                    await asyncio.to_thread(read, core.repository, fetched.tip, judged, fetched.previous)
                    if look
                    else None
                )
                if reading is not None and core.desired and reading.snapshot.empty:
                    raise InputError(EMPTIED)
                if accept_rewrite and news and fetched.previous is None:
                    core.store.audit("rewrite-accepted", detail=fetched.tip)
                    core.store.rebase_recoveries(fetched.tip)
                if reading is not None:
                    lost = departure.absent(core, reading, self._resolvers)
                    await rename.keep_lost(core, lost, reading, self._resolvers)
                    await self._accept(fetched.previous, reading)
                    await self._take(reading, judged)
                if news:
                    core.look_at_pulls()
                self._seen = fetched.tip, judged
                await self._recall.look(judged.tip or fetched.tip, self.passes, asked_s)
                await soak.learn(core)
            except UgsError as error:
                self._tell(*trouble_of(error), str(error))
                raise
            core.desired.fetched_at = asked_at
            waited_for = self.state != "ok"
            refused = self._untrusted(judged)
            if refused:
                self._tell(*trouble_of(refused), str(refused))
            else:
                self._tell("ok", "info", f"{fetched.tip[:12]} is in force")
            if waited_for:
                for environment in self.passes.values():
                    environment.wake.set()
            if refused:
                raise refused
            return fetched.tip

    def _untrusted(self, judged: Judged) -> Untrusted | None:
        if judged.refused is None:
            return None
        stays = f"{judged.tip[:12]} stays in force" if judged.tip else "nothing is in force"
        return Untrusted(f"{refusal_text(judged.refused)}; {stays}", refusal_remedy(judged.refused))

    async def _accept(self, previous: str | None, reading: Reading) -> None:
        """From now on this is in force, with what people released in the commits that came."""
        core, tip = self.core, reading.snapshot.revision
        # Where it is not on record yet, a daemon that ended meanwhile had found it trusted, and no more.
        if tip == self.tip == previous:
            return
        if previous is not None:
            for retry in reading.retries:
                await self._release(retry, previous, tip)
        # Written down first: what cannot be written down does not come into force half.
        with core.store.transaction():
            if previous != tip:
                core.store.advance(previous, tip)
            core.store.audit("accepted", detail=tip)
        await core.git(core.repository.accept, tip)

    async def _release(self, retry: Retry, since: str, tip: str) -> None:
        """A trailer releases the one operation that it names, and nothing that was not quarantined by it."""
        record = self.core.store.quarantine_of(retry.operation)
        if record is None:
            log.warning("%s: Ugs-Retry names no operation known here: %s", retry.commit[:12], retry.operation)
            return
        if not await self.guard.may_release(retry, record.environment, since, tip):
            log.warning(
                "%s: who signed it may not move %s: nothing is released",
                retry.commit[:12],
                record.environment,
            )
            return
        self.core.store.release_quarantine(
            record.environment,
            record.service,
            operation=retry.operation,
            by=retry.author,
            why=f"Ugs-Retry in {retry.commit}",
        )

    async def _take(self, reading: Reading, judged: Judged) -> None:
        core, frozen, snapshot = self.core, self.core.frozen, reading.snapshot
        wanted = reading.resolved(frozen, self._resolvers)
        # What asks for the very same is looked at no more: of very many environments few have moved.
        news = moved(core.desired.now, wanted)
        strange = [name for name in news if not departure.ours(core, wanted[name].environment)]
        wanted = without(wanted, strange)
        renames = await rename.carry_over(core, wanted, snapshot.revision, reading, self._is_engaged)
        self._again = renames.again
        usable = without(wanted, renames.waiting)
        # What cannot be read at all stays as it is, neither gone nor emptied; so does what keeps its name for now.
        waiting = {*renames.waiting, *renames.waiting.values(), *snapshot.blind}
        staying = [name for name in waiting if name not in usable]
        kept = await departure.staying(core, reading, staying, self._resolvers)
        gone, back = departure.gone(core, reading)
        in_force = {**gone, **kept, **usable} if gone or kept else usable
        asks = self._resolvers
        beyond = asks.beside(reading.beyond, frozen) if reading.beyond else asks.newest(snapshot, frozen)
        ahead = ahead_of(judged, self.guard.rule, beyond, in_force)
        before = core.desired.now
        core.desired.follow(in_force)
        core.ahead.clear()
        core.ahead.update(ahead)
        self.tip = snapshot.revision
        distrusted = self.guard.problems(judged.held, reading)
        suspects = snapshot.environments if reading.held else strange
        refused = (*problems.refused(core, snapshot, suspects), *renames.problems)
        self.remembering.keep(snapshot)
        for name in [one for one in core.flags if one not in core.desired and one not in snapshot.blind]:
            del core.flags[name]
        try:
            departure.forget(core, back)
            self.problems = problems.tell(
                core, (*snapshot.problems, *self._thawed(snapshot, frozen), *refused, *distrusted)
            )
        finally:  # it is in force, whatever could not be written down about it
            await self._call_for_passes(in_force, before, {*news, *gone, *kept})

    async def _call_for_passes(
        self, taken: Mapping[str, Desired], before: Mapping[str, Desired], suspects: Collection[str]
    ) -> None:
        """Of each environment that asks for something else than `before`, which of those that were there before is
        one of the `suspects`; and of each that does not rest."""
        core = self.core
        if not named_alike(self._called, taken):
            for name in taken:
                self._pass(name)
            self._gone = self.passes.keys() - taken.keys()
        self._called = taken
        suspected = {name: taken[name] for name in suspects if name in taken}
        if not named_alike(before, taken):
            suspected |= {name: taken[name] for name in taken.keys() - before.keys()}
        news = moved(before, suspected)
        self._unsettled.update(news)
        try:
            for name in sorted(self._unsettled & taken.keys()):
                await flags.settle(core, taken[name])
                self._unsettled.discard(name)
        finally:
            for name in sorted({*news, *core.ahead, *self._gone, *core.wake.restless}):
                if here := self.passes.get(name):
                    here.wake.set()

    def _is_engaged(self, name: str) -> bool:
        """Whether upgrades are under way there, or are yet to be carried on."""
        here = self.passes.get(name)
        return here is not None and bool(here.busy or here.left)

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

    def _tell(self, state: State, severity: Severity, text: str) -> None:
        """Keep the state of the repository; a change of it is told, once. The log has every new reason for trouble."""
        if state != self.state or (state != "ok" and text != self.sentence):
            log.log(logging.INFO if state == "ok" else logging.WARNING, "repository: %s", text)
        if state != self.state:
            self.core.store.audit(f"repository-{state}", detail=text)
            if state != "ok" and (severity == "person" or self.state != "starting"):
                problems.alert(self.core, text, severity)
            elif state == "ok" and self.state != "starting":
                problems.alert(self.core, f"the repository is in order again: {text}", "info")
        self.state, self.sentence, self.needs_person = state, text, severity == "person"
