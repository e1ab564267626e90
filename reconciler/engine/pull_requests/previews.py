"""Showing on open pull requests what they would change: read beside the mirror, never run, and in nobody's way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from reconciler.engine import problems
from reconciler.engine.fleet import Fleet
from reconciler.engine.pull_requests.comments import upsert
from reconciler.engine.pull_requests.foreseen import Foreseer, Merged
from reconciler.engine.pull_requests.prospect import distrust, known_of, running
from reconciler.engine.pull_requests.report import denied
from reconciler.forge import Annotation, Check, Denied, Forge, Invalid, Pull, State, Unavailable
from reconciler.git import Aside
from reconciler.model import plan_text
from reconciler.model import previewed as rules
from reconciler.model.errors import InputError, Problem, UgsError
from reconciler.model.introduced import introduced
from reconciler.model.layout import FOLDERS
from reconciler.model.plan_text import MARKER, Shown
from reconciler.model.planned import Preview
from reconciler.model.preview import preview
from reconciler.model.previewed import Looked, Previewed
from reconciler.model.report import marked
from reconciler.model.snapshot import Snapshot

log = logging.getLogger("ugs")
LOOK_S = 180.0
"""So often it is asked which pull requests are open, where no webhook tells."""
APART_S = 5.0
"""However often webhooks tell."""
JITTER = 0.1
READY_WITHIN_S = 60.0
"""So long what runs is waited for, after a start."""
AT_ONCE_MAX = 20
FAILED_AT_ONCE_MAX = 5
ANNOTATIONS_MAX = 50
RETRY_FIRST_S = 30.0
RETRY_MAX_S = 600.0
MARK = "preview denied"
NOTHING = Preview((), (), (), (), ())


class Found(Struct, frozen=True):
    """What a pull request comes to. `after`: None where its repository cannot be read at all."""

    head: str
    base: str
    before: Snapshot
    after: Snapshot | None
    problems: tuple[Problem, ...]
    touched: bool
    remarks: tuple[str, ...]


class Previewer:
    """One task's. Used from the event loop's thread; Git and the forge are asked in others."""

    def __init__(self, fleet: Fleet) -> None:
        core = fleet.core
        if core.forge is None or core.aside is None:
            raise RuntimeError("there is no forge, or nowhere to look at what is proposed")
        self._fleet, self._core = fleet, core
        self._forge: Forge = core.forge
        self._mirror: Aside = core.aside
        self._repository = core.repository.beside(core.aside)
        self._foreseer = Foreseer(core, core.forge)
        self._looked: dict[int, Looked] = {}
        self._failed: dict[int, tuple[int, float]] = {}
        """By pull request: how often in a row it failed, and until when it is left alone."""
        self._put_off: tuple[int, float] = 0, 0.0
        """The same of the forge."""
        self._began_s = core.clock.monotonic()
        self._checks = True
        """Whether the token may set them, as far as this run knows."""

    async def keep(self) -> None:
        """Look at once where a webhook or a new tip says so, else every few minutes; for ever."""
        core = self._core
        while True:
            core.wake.previews.clear()
            wait_s = await self.round()
            await core.clock.sleep(APART_S)
            await core.clock.wait(core.wake.previews, wait_s)

    async def round(self) -> float:
        """One look at those that are due; in how many seconds to look again."""
        core = self._core
        now_s = core.clock.monotonic()
        if self._put_off[1] > now_s:
            return self._put_off[1] - now_s
        if self._fleet.tip is None or not self._ready(now_s):
            return APART_S
        if not self._mine():
            return LOOK_S
        try:
            more = await self._look_around()
        except Denied as error:
            denied(core, error, mark=MARK)
            return self._wait_for_forge(None)
        except UgsError as error:
            log.warning("%s, and pull requests are looked at later", error)
            return self._wait_for_forge(error.retry_s if isinstance(error, Unavailable) else None)
        self._put_off = 0, 0.0
        if not self._failed and core.store.marks(MARK):
            core.store.mark(MARK, None)
        # Spread, so that a hundred daemons do not ask one forge at the same instant.
        return APART_S if more else LOOK_S * core.random.uniform(1 - JITTER, 1 + JITTER)

    def _mine(self) -> bool:
        """Whether this daemon tells: of several that follow the same, the one that holds the first environment."""
        core = self._core
        names = sorted(name for name, one in core.desired.items() if one.gone is None)
        return not names or core.leases.opening(names[0]).open

    def _ready(self, now_s: float) -> bool:
        """Whether what runs is known everywhere, or was waited for long enough."""
        passes = self._fleet.passes
        seen = all(
            here.decided or here.trouble for name, here in passes.items() if name in self._core.desired
        )
        return seen or now_s - self._began_s >= READY_WITHIN_S

    async def _look_around(self) -> bool:
        """Look at those that are due, AT_ONCE_MAX at most; True where some are left. Raises as the forge does."""
        core, branch = self._core, self._core.settings.repository.branch
        found = await asyncio.to_thread(self._forge.open_pulls, branch)
        pulls = {one.number: one for one in found if one.state == "open" and one.base == branch}
        known = core.store.previews()
        self._forget((known.keys() | self._looked.keys() | self._failed.keys()) - pulls.keys())
        due, failed = list(self._due(pulls.values(), known)), 0
        for pull in due[:AT_ONCE_MAX]:
            try:
                await self._look(pull, known.get(pull.number) or Previewed(pull.number))
            except Unavailable:
                raise
            except UgsError as error:
                if isinstance(error, Denied):
                    denied(core, error, mark=MARK)
                log.warning("pull request %d is not previewed: %s", pull.number, error)
                self._leave_alone(pull.number)
                if (failed := failed + 1) >= FAILED_AT_ONCE_MAX:
                    break
            else:
                self._failed.pop(pull.number, None)
                self._looked[pull.number] = Looked(pull.head, core.clock.now())
        return len(due) > AT_ONCE_MAX

    def _due(self, pulls: Iterable[Pull], known: dict[int, Previewed]) -> list[Pull]:
        """Those that were pushed to first; the newest first."""
        now, now_s = self._core.clock.now(), self._core.clock.monotonic()
        due = [
            pull
            for pull in pulls
            if self._failed.get(pull.number, (0, 0.0))[1] <= now_s
            and rules.due(known.get(pull.number), self._looked.get(pull.number), pull.head, now=now)
        ]
        return sorted(due, key=lambda pull: pull.number in known and known[pull.number].head == pull.head)

    async def _look(self, pull: Pull, row: Previewed) -> None:
        tip = self._fleet.tip
        if tip is None:
            return
        found = await asyncio.to_thread(self._read, pull, tip)
        if found.touched or row.comment:
            row = await self._tell(pull, row, found, current=found.base == tip)
        if row.head != pull.head:
            self._core.store.show(replace(row, head=pull.head))

    def _read(self, pull: Pull, tip: str) -> Found:
        """Blocking. Fetch it, merge it beside the mirror, and read both."""
        core, mirror, branch = self._core, self._mirror, self._core.settings.repository.branch
        head = pull.head
        if not mirror.has(head):
            ref = self._forge.head_ref(pull) or ("" if pull.fork else f"refs/heads/{pull.branch}")
            if not ref:
                raise UgsError(f"{self._forge.name} does not let forks' commits be fetched")
            head = mirror.fetch_head(ref, base=tip)
        repository = self._repository
        merged, base = mirror.merged(tip, head), tip
        remarks = list[str]()
        if merged is None:
            left = mirror.merge_base(head, tip)
            if left is None:
                raise UgsError(f"it has no commit in common with {branch}")
            merged, base = head, left
            remarks.append(
                f"it conflicts with {branch}, and is compared with where it left it: what runs is not looked at"
            )
        touched = not mirror.alike(base, merged, FOLDERS)
        remarks += distrust(core, mirror, base, head, merged) if touched else []
        before = core.repository.snapshot(tip) if base == tip else repository.snapshot(base)
        try:
            after = repository.snapshot(merged)
        except InputError as error:
            return Found(head, base, before, None, error.problems, touched, tuple(remarks))
        refused = introduced(*(problems.refused(core, one, one.environments) for one in (before, after)))
        return Found(head, base, before, after, (), touched, (*remarks, *map(str, refused)))

    async def _tell(self, pull: Pull, row: Previewed, found: Found, *, current: bool) -> Previewed:
        """Say what is new, durably one thing after the other. `current`: it is compared with what is in force."""
        core = self._core
        shown = await self._shown(pull, found, current=current)
        row = await self._set_check(row, found, shown.preview.problems)
        shown = replace(shown, preview=rules.concerning(shown.preview, core.settings.environments))
        if found.touched and (shown.preview != NOTHING or not core.settings.environments):
            digest, text = rules.digest(shown), plan_text.body(shown)
        elif row.comment:
            text = rules.untouched_text(core.settings.repository.branch)
            digest = rules.digest_of(found.head, text)
        else:
            return row
        if digest == row.comment:
            return row
        name = rules.name_of(core.settings.environments)
        await upsert(self._forge, pull.number, name, marked(name, text.strip()), instead=MARKER)
        return self._kept(replace(row, comment=digest, head=pull.head))

    async def _shown(self, pull: Pull, found: Found, *, current: bool) -> Shown:
        sentence = (
            "what runs is as the daemon sees it" if current else "what was pinned there is taken to run"
        )
        if found.after is None:
            made = replace(NOTHING, problems=found.problems)
        else:
            made = await self._made(pull, found.before, found.after, current=current)
        return Shown(
            made, found.base, found.head, "daemon" if current else "repository", sentence, found.remarks
        )

    async def _made(self, pull: Pull, before: Snapshot, after: Snapshot, *, current: bool) -> Preview:
        """The preview, where approvals are wanted with those that its reviews will be."""
        fleet, core = self._fleet, self._core
        make = partial(
            preview,
            before,
            after,
            now=core.clock.now(),
            running=running(fleet) if current else None,
            frozen=core.frozen,
        )
        known = known_of(fleet, before, after) if current else {}
        made = await asyncio.to_thread(make, known=known)
        merged = Merged(pull, before, after)
        reviewed = await asyncio.to_thread(self._foreseer.known, merged, made, known)
        return made if reviewed is None else await asyncio.to_thread(make, known=reviewed)

    async def _set_check(self, row: Previewed, found: Found, problems: tuple[Problem, ...]) -> Previewed:
        """Where the token may not, all else is told none the less."""
        after = found.after.problems if found.after else ()
        title, summary = rules.verdict(problems, max(0, len(after) - len(problems)))
        digest = rules.digest_of(found.head, title, summary)
        if digest == row.check or not self._checks:
            return row
        annotations = tuple(
            Annotation(one.place.file, one.place.line, rules.message(one))
            for one in problems[:ANNOTATIONS_MAX]
        )
        state: State = "failure" if problems else "success"
        check = Check(rules.CHECK, state, title, summary, annotations)
        try:
            await asyncio.to_thread(self._forge.set_check, found.head, check)
        except Denied as error:
            self._checks = False
            denied(self._core, error, mark=MARK)
            return row
        except Invalid as error:  # that commit is not there any more, say
            log.warning("the check of %s is given up: %s", found.head[:12], error)
        return self._kept(replace(row, check=digest))

    def _kept(self, row: Previewed) -> Previewed:
        self._core.store.show(row)
        return row

    def _forget(self, numbers: Iterable[int]) -> None:
        """They are merged or closed: what stands there stays."""
        gone = list(numbers)
        self._core.store.forget_previews(gone)
        for number in gone:
            self._looked.pop(number, None)
            self._failed.pop(number, None)

    def _leave_alone(self, number: int) -> None:
        self._failed[number] = self._later(self._failed.get(number, (0, 0.0))[0], None)

    def _wait_for_forge(self, asked_s: float | None) -> float:
        self._put_off = self._later(self._put_off[0], asked_s)
        return self._put_off[1] - self._core.clock.monotonic()

    def _later(self, attempts: int, asked_s: float | None) -> tuple[int, float]:
        """Twice as long each time, or what was asked for."""
        usual_s = min(RETRY_FIRST_S * 2.0 ** min(attempts, 10), RETRY_MAX_S)
        return attempts + 1, self._core.clock.monotonic() + (asked_s or usual_s)
