"""How far the branch is trusted: every new commit is looked at once, and what was found is remembered."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Container, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct

from reconciler.engine.core import Core
from reconciler.engine.in_force import Ahead
from reconciler.engine.repository import Retry
from reconciler.engine.upkeep import records_of
from reconciler.git import Arrival
from reconciler.model.circumstances import Gate
from reconciler.model.codec import decode, encode
from reconciler.model.desired import Desired
from reconciler.model.errors import Place, Problem, UgsError
from reconciler.model.layout import FOLDERS
from reconciler.model.observation import Observation
from reconciler.model.plan import Change, change_to
from reconciler.model.target import Target
from reconciler.model.trust import (
    SHORT,
    Held,
    Refusal,
    Rule,
    Signature,
    Standing,
    Touched,
    environment_of,
    held_remedy,
    held_text,
    onward,
    pardoned,
    refusal_remedy,
    refusal_text,
)

PAGE_COMMITS = 200
"""How many signatures are verified before what was found is remembered: some seconds' work."""
BROUGHT_MAX = 1000
"""How many commits one merge may bring where all of them must be signed: they are verified in one go."""
MARK = "trust"


class Untrusted(UgsError):
    """The branch goes on with a commit that is not trusted; what is in force stays."""


class Judged(Struct, frozen=True):
    """How far a tip is followed. `tip`: the last trusted revision, None when there is none."""

    tip: str | None
    held: Mapping[str, Held] = {}
    refused: Refusal | None = None


class Guard:
    """Judges tips by `trust` in ugs.yaml; without it, every tip is trusted."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._trust = core.settings.trust
        self.rule = Rule(self._trust.movers if self._trust else {}, core.own_key)
        self._everything = self._trust is not None and self._trust.commits == "all"

    def last(self) -> str | None:
        """What was in force when a former daemon ended, or what it had found trusted since."""
        mirror = self._core.repository.mirror
        accepted, known = mirror.accepted(), self._remembered().tip if self._trust else None
        return known if known and accepted and mirror.is_ancestor(accepted, known) else accepted

    async def judge(self, tip: str) -> Judged:
        """Look at every commit up to `tip` that was not looked at before; those that were stay as they were found.

        Raises UgsError where `trust.since` is not on the branch, HostError where nothing can be verified.
        """
        if self._trust is None:
            return Judged(tip)
        standing, arrived = await asyncio.to_thread(self._start, self._remembered(), tip)
        refused = None
        for page in _pages(arrived):
            standing, refused = await asyncio.to_thread(self._verified, standing, page)
            self._core.store.mark(MARK, encode(standing).decode())
            if refused:
                break
        return Judged(standing.tip, standing.held, refused)

    async def may_release(self, retry: Retry, environment: str, since: str, tip: str) -> bool:
        """Whether the commit that brought a person's word to the branch is by someone who may move the environment."""
        if environment not in self.rule.movers:
            return True
        return await asyncio.to_thread(self._brought_by_mover, retry.commit, environment, since, tip)

    def permits(self, commit: str, environment: str, tip: str | None) -> bool:
        """Blocking. Whether a commit of the trusted branch up to `tip`, however old, was brought by one who may move
        an environment."""
        if environment not in self.rule.movers or self._trust is None or tip is None:
            return True
        since = self._trust.since
        if since and self._core.repository.mirror.is_ancestor(commit, since):
            return True  # that far, everything is trusted as it is
        return self._brought_by_mover(commit, environment, since, tip)

    def problems(self, held: Mapping[str, Held], environments: Container[str]) -> list[Problem]:
        """Every environment that stays behind, and every rule about one that does not exist."""
        behind = [
            Problem(Place(f"environments/{name}"), "", held_text(name, one, self.rule), held_remedy(one))
            for name, one in held.items()
        ]
        lost = [
            Problem(
                Place(str(self._core.settings.file)),
                f"trust.environments.{name}",
                "the repository has no such environment",
                "correct the name: whoever is an allowed signer may move what is meant",
            )
            for name in self.rule.movers
            if name not in environments and name not in held
        ]
        return behind + lost

    def _remembered(self) -> Standing:
        """What was found before, if it was found from the same anchor."""
        trust = self._trust
        anchor = f"{trust.commits}:{trust.since or ''}" if trust else ""
        text = self._core.store.marks(MARK).get(MARK)
        try:
            standing = decode(text, Standing) if text else Standing(anchor)
        except msgspec.MsgspecError:
            standing = Standing(anchor)
        return pardoned(standing, self.rule) if standing.anchor == anchor else Standing(anchor)

    def _start(self, standing: Standing, tip: str) -> tuple[Standing, list[Arrival]]:
        """Where the walk goes on, and what has come since: from `trust.since` when the branch was rewritten."""
        mirror, since = self._core.repository.mirror, self._trust.since if self._trust else None
        if standing.tip and mirror.is_ancestor(standing.tip, tip):
            return standing, mirror.arrivals(standing.tip, tip, everything=self._everything)
        if since and mirror.is_ancestor(tip, since):
            return Standing(standing.anchor, tip), []
        if since and not mirror.is_ancestor(since, tip):
            raise UgsError(
                f"trust.since: the branch does not contain {since[:SHORT]}",
                "name the newest commit of the branch that you trust as it is, and start the daemon again",
            )
        arrived = mirror.arrivals(since, tip, everything=self._everything)
        return Standing(standing.anchor, arrived[0].parent if arrived else tip), arrived

    def _verified(self, standing: Standing, page: Sequence[Arrival]) -> tuple[Standing, Refusal | None]:
        """A page's commits on top of what stands, up to the first that is not trusted."""
        mirror = self._core.repository.mirror
        bounded = [one for one in page if len(one.commits) <= BROUGHT_MAX]
        found = {
            one.commit: one for one in mirror.signatures([sha for one in bounded for sha in one.commits])
        }
        moved = mirror.touched(page, FOLDERS) if self.rule.movers else {}
        for arrival in page:
            if arrival not in bounded:
                return standing, Refusal(arrival.commit, f"it merges more than {BROUGHT_MAX} commits at once")
            signatures = [found[sha] for sha in arrival.commits]
            after = self._after(standing, arrival, signatures, moved.get(arrival.commit, []))
            if isinstance(after, Refusal):
                return standing, after
            standing = after
        return standing, None

    def _after(
        self, standing: Standing, arrival: Arrival, signatures: Sequence[Signature], files: Sequence[Touched]
    ) -> Standing | Refusal:
        for signature in signatures:
            if signature.why:
                return Refusal(signature.commit, signature.why)
        own = signatures[-1]
        touched = self._by_environment(standing, arrival, own, files)
        return onward(standing, self.rule, arrival.parent, own, touched)

    def _by_environment(
        self, standing: Standing, arrival: Arrival, own: Signature, files: Sequence[Touched]
    ) -> dict[str, list[Touched]]:
        """What a commit moves of each restricted environment: its own files, and the releases that it pins.

        Pinned counts what the branch pins, and what the environment pins where it has stayed behind.
        """
        touched: dict[str, list[Touched]] = {}
        for file in files:
            if name := environment_of(file.path, self.rule.movers):
                touched.setdefault(name, []).append(file)
        released = [file for file in files if file.path.startswith("releases/")]
        for name in self.rule.movers if released else ():
            held = standing.held.get(name)
            known = tuple(held.files) if held else ()
            if not self.rule.permits(name, own.signer, own.key):
                for revision in {arrival.parent, held.revision if held else None} - {None}:
                    known += self._core.repository.pinned(revision or "", name)
            if moved := [file for file in released if file.path.startswith(known)]:
                touched.setdefault(name, []).extend(moved)
        return touched

    def _brought_by_mover(self, commit: str, environment: str, since: str | None, tip: str) -> bool:
        mirror = self._core.repository.mirror
        chain = [one.commit for one in mirror.arrivals(since, tip, everything=False)]
        at = bisect_left(chain, True, key=lambda one: mirror.is_ancestor(commit, one))
        [found] = mirror.signatures([chain[at]])
        return not found.why and self.rule.permits(environment, found.signer, found.key)


def ahead_of(
    judged: Judged, rule: Rule, tip: Mapping[str, Desired], in_force: Mapping[str, Desired]
) -> dict[str, Ahead]:
    """By environment, what it does not follow. `tip`: what each asks for at the branch's own tip."""
    found = dict[str, Ahead]()
    if not (judged.refused or judged.held):
        return found
    for name, desired in tip.items():
        if name not in in_force or _targets(desired) == _targets(in_force[name]):
            continue
        if judged.refused:
            gate = _closed(refusal_text(judged.refused), refusal_remedy(judged.refused))
            found[name] = Ahead(desired, gate)
        elif held := judged.held.get(name):
            found[name] = Ahead(desired, _closed(held_text(name, held, rule), held_remedy(held)))
    return found


def has_movers(core: Core, environment: str) -> bool:
    """Whether only some signers may move an environment."""
    trust = core.settings.trust
    return trust is not None and environment in trust.movers


def strange_step(core: Core, desired: Desired, change: Change) -> str:
    """Blocking. Why the way to what is pinned must not be gone: a release on it was last written by someone who may
    not move the environment. Empty where all were not; the pinned one itself is vouched for by its pin.
    """
    trust, name = core.settings.trust, desired.environment.name
    if trust is None or not has_movers(core, name):
        return ""
    rule, mirror = Rule(trust.movers, core.own_key), core.repository.mirror
    known = {version.text: release for version, release in desired.releases.get(change.service, {}).items()}
    for version in change.path[:-1]:
        file = known[version].place.file
        for commit in mirror.log(trust.since, desired.revision, paths=(file,), limit=1):
            [found] = mirror.signatures([commit.sha])
            if not rule.permits(name, found.signer, found.key):
                who = f"{found.signer} wrote last (commit {commit.sha[:SHORT]})"
                return f"the way goes through {version}, whose file {who}, who may not move {name}"
    return ""


def beyond(core: Core, desired: Desired, observed: Mapping[str, Observation]) -> list[Change]:
    """The changes that only commits ask for that are not trusted: shown with their closed gate, never started."""
    ahead = core.ahead.get(desired.environment.name)
    if ahead is None:
        return []
    in_force, now = _targets(desired), core.clock.now()
    records = records_of(core, desired.environment.name)
    return [
        change_to(ahead.desired, work, observed.get(service), records, now=now)
        for service, work in sorted(ahead.desired.workloads.items())
        if work.target != in_force.get(service)
    ]


def _closed(why: str, remedy: str) -> Gate:
    return Gate("trust", open=False, reason=why, opened_by=remedy)


def _targets(desired: Desired) -> dict[str, Target]:
    return {service: work.target for service, work in desired.workloads.items()}


def _pages(arrived: Sequence[Arrival]) -> Iterator[list[Arrival]]:
    page: list[Arrival] = []
    commits = 0
    for arrival in arrived:
        page.append(arrival)
        commits += len(arrival.commits)
        if commits >= PAGE_COMMITS:
            yield page
            page, commits = [], 0
    if page:
        yield page
