"""The order of one environment's changes, so that every requirement holds after each of them.

A change waits for another where going first would break a requirement: one of its own new version ("web 2.0.0 needs
api >=2.0.0"), or one of a version that runs until the other has moved ("web 1.0.0 runs and needs api <2.0.0"). What
must wait for something that is refused, or for itself, is refused too, with the whole chain. Where both versions of
a dependency would do, its dependents wait for it all the same, unless that closes a circle.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from itertools import islice

from msgspec import Struct

from reconciler.model.plan import Change
from reconciler.model.range import Range
from reconciler.model.target import Workload
from reconciler.model.version import LENGTH_MAX, Version

ANSWERS_KEPT_MAX = 50_000
LINKS_MAX = 12
RIVALS_MAX = 20

States = tuple[str | None, ...]
"""The versions that a service has one after the other; None where it does not run."""
Waits = dict[str, dict[str, str]]
"""By service: those whose changes must come before its own, each with the sentence that says why."""


class Running(Struct, frozen=True):
    """What runs of one service before anything moves, or is being started again; `requires` of its release."""

    version: Version
    requires: Mapping[str, str] = {}


class Arrangement(Struct, frozen=True):
    """Every change stands in `order`, or its service in `refused`, which says why in one line.

    `after`: by service in `order`, those whose changes must have succeeded before its own may start. Whatever
    keeps to that keeps every requirement that held, however many changes run at once.
    """

    order: tuple[Change, ...]
    after: Mapping[str, frozenset[str]]
    refused: Mapping[str, str]


def arrange(changes: Iterable[Change], running: Mapping[str, Running]) -> Arrangement:
    """The order of `changes`, one a service, all of the environment in which `running` is all that runs."""
    survey = _Survey({change.service: change for change in sorted(changes, key=_service)}, running)
    refused = _refused(survey.must, survey.faults)
    waits = {
        service: (first.keys() | survey.rather[service]) - refused.keys()
        for service, first in survey.must.items()
        if service not in refused
    }
    order, after = sequence(waits, survey.must)
    return Arrangement(
        order=tuple(survey.changes[service] for service in order),
        after=after,
        refused={service: "; ".join(links) for service, links in sorted(refused.items())},
    )


class _Survey:
    """What each change has to wait for (`must`), had better wait for (`rather`), and can never have (`faults`)."""

    def __init__(self, changes: dict[str, Change], running: Mapping[str, Running]) -> None:
        self.changes, self.running = changes, running
        self.must: Waits = {service: {} for service in changes}
        self.rather: dict[str, set[str]] = {service: set() for service in changes}
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.states: dict[str, States] = {}
        lasting = {service: runs.requires for service, runs in running.items()}
        lasting |= {service: _requires(change.goal) for service, change in changes.items()}
        self.wanted: dict[str, dict[str, str]] = defaultdict(dict)
        """By service: the ranges of it that are wanted in the end, each with the first service that wants it."""
        for service, requires in sorted(lasting.items()):
            for needed, wanted in requires.items():
                self.wanted[needed].setdefault(wanted, service)
        for change in changes.values():
            for step in _steps(change):
                for needed, wanted in sorted(step.release.requires.items()):
                    self._of_step(step, needed, wanted, last=step is change.goal)
        for service, runs in sorted(running.items()):
            for needed, wanted in sorted(runs.requires.items()):
                if needed in changes and needed != service and _fits(wanted, self._states(needed))[0]:
                    self._keep(f"{service} {runs.version} runs and", service, needed, wanted)

    def _of_step(self, step: Workload, needed: str, wanted: str, *, last: bool) -> None:
        """A requirement of a version that a change brings, the pinned one when `last`."""
        service, version = step.service, step.target.version
        fit = _fits(wanted, (version.text,) if needed == service else self._states(needed))
        if fit[-1]:
            if not all(fit):
                self.must[service][needed] = f"{service} {version} needs {needed} {wanted}"
            elif needed in self.changes and needed != service:
                self.rather[service].add(needed)
        elif not last and needed in self.changes and fit[0]:
            self._keep(f"{service} {version}", service, needed, wanted)
        else:
            self.faults[service].append(self._unmet(step, needed, wanted))

    def _keep(self, who: str, service: str, needed: str, wanted: str) -> None:
        """What `needed` is now fits a version that `service` leaves, or stays at: it must not move before that."""
        if all(_fits(wanted, self._states(needed))):
            return
        last = self._states(needed)[-1]
        moved = f"the pin moves {needed} to {last}" if last else f"{needed} is pinned no longer"
        reason = f"{who} needs {needed} {wanted}; {moved}"
        if service in self.changes:
            self.must[needed][service] = reason
        else:
            self.faults[needed].append(reason)

    def _states(self, service: str) -> States:
        """What runs of a service, then its next step and what is pinned where it changes, were nothing refused."""
        if service not in self.states:
            old = self.running[service].version.text if service in self.running else None
            change = self.changes.get(service)
            steps = (_version(change.after), _version(change.goal)) if change else ()
            self.states[service] = (old, *steps)
        return self.states[service]

    def _unmet(self, step: Workload, needed: str, wanted: str) -> str:
        needs = f"{step.service} {step.target.version} needs {needed} {wanted}"
        if needed not in self.changes and needed not in self.running:
            return f"{needs}, which neither runs nor is pinned"
        for other, rival in islice(self.wanted[needed].items(), RIVALS_MAX):
            if rival != step.service and _disjoint(wanted, other):
                needs += (
                    f" and {rival} {self._states(rival)[-1]} needs {needed} {other}, which no version fits"
                )
                break
        if (last := self._states(needed)[-1]) is None:
            return f"{needs}, which is pinned no longer"
        return f"{needs}; {needed} " + (f"is pinned to {last}" if needed in self.changes else f"{last} runs")


def _refused(must: Waits, faults: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """By service: the chain of sentences from a change that cannot be to what is at fault."""
    followers = _followers(must)
    refused: dict[str, tuple[str, ...]] = {}

    def refuse(roots: Mapping[str, tuple[str, ...]]) -> None:
        refused.update({service: _shortened(links) for service, links in roots.items()})
        told = deque(roots)
        while told:
            service = told.popleft()
            for follower in followers[service]:
                if follower not in refused:
                    refused[follower] = _shortened((must[follower][service], *refused[service]))
                    told.append(follower)

    refuse({service: tuple(faults[service]) for service in sorted(faults)})
    refuse(_circles({service: first for service, first in must.items() if service not in refused}))
    return refused


def _circles(must: Waits) -> dict[str, tuple[str, ...]]:
    """Changes that wait for one another in a circle: by service, the circle told from there on."""
    left = {service: set(first) for service, first in must.items()}
    followers = _followers(must)
    free = [service for service, first in left.items() if not first]
    while free:
        service = free.pop()
        del left[service]
        for follower in followers[service]:
            left[follower].discard(service)
            if not left[follower]:
                free.append(follower)
    circles: dict[str, tuple[str, ...]] = {}
    seen: set[str] = set()
    for start in left:
        circle = _circle(start, left, seen)
        links = [must[service][min(left[service])] for service in circle]
        told = min(len(links), LINKS_MAX)  # what is told is shortened anyway
        links += links[:told]
        for turn, service in enumerate(circle):
            circles[service] = (*links[turn : turn + told], "none of them can go first")
    return circles


def _circle(start: str, waits: Mapping[str, Collection[str]], seen: set[str]) -> list[str]:
    """The circle to which asking each for one that it waits for leads; empty when it leads to what was `seen`."""
    trail: list[str] = []
    while start not in seen:
        seen.add(start)
        trail.append(start)
        start = min(waits[start])
    return trail[trail.index(start) :] if start in trail else []


def sequence(
    waits: Mapping[str, Collection[str]], must: Mapping[str, Collection[str]]
) -> tuple[list[str], dict[str, frozenset[str]]]:
    """An order in which everyone comes after what it waits for, by name among the free, and what each waits for.

    Where some wait in a circle, one of them gives up one wait that is not a `must`; of musts alone there is none.
    """
    left = {service: set(first) for service, first in waits.items()}
    after = {service: set(first) for service, first in waits.items()}
    followers = _followers(waits)
    free = [service for service, first in left.items() if not first]
    heapq.heapify(free)
    order: list[str] = []

    def settle(service: str, other: str) -> None:
        left[service].discard(other)
        if not left[service]:
            heapq.heappush(free, service)

    while left:
        if free:
            service = heapq.heappop(free)
            order.append(service)
            del left[service]
            for follower in followers[service]:
                if service in left.get(follower, ()):
                    settle(follower, service)
        else:
            circle = _circle(next(iter(left)), left, set())
            steps = ((one, min(left[one])) for one in circle)
            service, other = min(step for step in steps if step[1] not in must.get(step[0], ()))
            after[service].discard(other)
            settle(service, other)
    return order, {service: frozenset(first) for service, first in after.items()}


def _followers(waits: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    followers: dict[str, list[str]] = defaultdict(list)
    for service, first in waits.items():
        for other in first:
            followers[other].append(service)
    return followers


def _shortened(links: tuple[str, ...]) -> tuple[str, ...]:
    """The first links of a long chain, and its last, which is the one at fault."""
    return links if len(links) <= LINKS_MAX else (*links[: LINKS_MAX - 2], "…", links[-1])


def _disjoint(one: str, other: str) -> bool:
    """Whether no version is in both ranges: one that is would lie at a bound, just above one, or lowest of all."""
    ranges = Range.parse(one), Range.parse(other)
    tried = {"0.0.0"}
    for bound in (c.bound for found in ranges for comparators in found.alternatives for c in comparators):
        tried |= {str(bound), str(bound.finalize_version()), str(bound.bump_patch())}
    versions = [Version(text) for text in tried if len(text) <= LENGTH_MAX]
    return not any(all(found.contains(version) for found in ranges) for version in versions)


def fits(wanted: str, version: Version | None) -> bool:
    """Whether a version is there and in the range."""
    return _fits(wanted, (version.text if version else None,))[0]


@lru_cache(ANSWERS_KEPT_MAX)
def _fits(wanted: str, states: States) -> tuple[bool, ...]:
    """Whether each is there and in the range."""
    return tuple(text is not None and Range.parse(wanted).contains(Version(text)) for text in states)


def _requires(work: Workload | None) -> Mapping[str, str]:
    return work.release.requires if work else {}


def _version(work: Workload | None) -> str | None:
    return work.target.version.text if work else None


def _steps(change: Change) -> tuple[Workload, ...]:
    """What is pinned, and the next step where that is another one; none for a removal."""
    if change.goal is None or change.after is None:
        return ()
    return (change.goal,) if change.after.target == change.goal.target else (change.goal, change.after)


def _service(change: Change) -> str:
    return change.service
