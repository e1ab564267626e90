"""Environments that take over what another name had: records, and what runs, untouched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Container, Mapping
from functools import partial

from msgspec import Struct

from reconciler.drivers.base import Driver
from reconciler.engine import departure
from reconciler.engine.core import Core
from reconciler.engine.names import names_before
from reconciler.engine.reading import Reading, Resolvers
from reconciler.model.desired import Desired
from reconciler.model.environment import Environment
from reconciler.model.errors import Place, Problem, UgsError
from reconciler.model.notice import Notice, Severity
from reconciler.model.renaming import doubtful, heir_of, known_as
from reconciler.model.stamped import renaming

MARK = "was: "
"""By former name: the environment that took it over."""
NEVER_MARK = "never was: "


class Outcome(Struct, frozen=True):
    """What could not be carried out: `waiting` environments, each with its former name (or its own), are not to be
    taken into force now. `problems`: what a person must mend."""

    waiting: dict[str, str]
    problems: tuple[Problem, ...]

    @property
    def again(self) -> bool:
        """Whether there is something to be tried again, be it only when an upgrade has ended."""
        return bool(self.waiting)


async def formers(core: Core, wanted: Mapping[str, Desired], tip: str) -> dict[str, str]:
    """By environment of this daemon that says what it was: the name of that which is known here, or its own where it
    goes on under it already. Left out: those of which nothing is known.

    Of one that got several names before anybody looked, the history of `tip` is asked.
    """
    found, names = dict[str, str](), sorted(renaming(wanted))
    if not names:
        return found
    heirs, never, known = heirs_of(core), core.store.marks(NEVER_MARK), partial(_is_known, core)
    for name in names:
        environment = wanted[name].environment
        old = environment.renamed_from
        if old is None or not departure.ours(core, environment):
            continue
        now = known_as(name, old, (), known, heirs)
        if now is None and never.get(NEVER_MARK + name) != old:
            before = await asyncio.to_thread(names_before, core.repository, tip, old)
            now = known_as(name, old, before, known, heirs)
        if now is not None:
            found[name] = now
    return found


async def keep_lost(
    core: Core, lost: Collection[Environment], reading: Reading, resolvers: Resolvers
) -> None:
    """Write down what the repository has lost, and has under no other name."""
    if lost:
        was = await formers(core, reading.resolved(core.frozen, resolvers), reading.snapshot.revision)
        departure.keep(core, lost, reading, was.values())


async def carry_over(
    core: Core,
    wanted: Mapping[str, Desired],
    tip: str,
    there: Container[str],
    busy: Callable[[str], bool],
) -> Outcome:
    """Carry out every rename that was not yet, by the commits up to `tip`. Each step may run twice.

    `there`: the names that the repository has; `busy`: whether upgrades are under way
    somewhere.
    """
    waiting, problems = dict[str, str](), list[Problem]()
    was, heirs = await formers(core, wanted, tip), heirs_of(core)
    concerned = sorted(renaming(wanted).union(name for name in heirs if name in wanted))
    for name in concerned:
        desired = wanted[name]
        said = desired.environment.renamed_from
        old = was.get(name)
        try:
            heir = heir_of(heirs, name)
            if heir not in (name, said, old):  # what runs there may still carry the name
                raise UgsError(f"{name} was renamed to {heir}, which goes on under it", "choose another name")
            if said is None:
                continue
            if old is None:
                _start_anew(core, heirs, name, said)
            elif old == name:
                if heir_of(heirs, said) != name:
                    core.store.mark(MARK + said, name)  # it had that name in between
            elif old in there:
                raise UgsError(
                    f"{old} is there still: nothing that gives it another name is trusted",
                    f"have the files of {old} removed in a commit that is",
                )
            elif busy(old) or core.store.held_slots(old) or core.leases.standing(old) == "elsewhere":
                waiting[name] = old
            else:
                driver = core.drivers[desired.environment.driver.kind]
                if not await _carry_over(core, driver, old, name, said, busy):
                    waiting[name] = old
                heirs = heirs_of(core)
        except UgsError as error:
            waiting[name] = old or said or name
            place = Place(f"environments/{name}.yaml")
            problems.append(Problem(place, "environment", error.message, error.remedy))
    return Outcome(waiting, tuple(problems))


def heirs_of(core: Core) -> dict[str, str]:
    """By former name, who took it over."""
    return {mark.removeprefix(MARK): name for mark, name in core.store.marks(MARK).items()}


def _is_known(core: Core, name: str) -> bool:
    """Whether anything is in force there, or was deployed there ever."""
    return name in core.desired or core.store.knows(name)


def _start_anew(core: Core, heirs: Mapping[str, str], name: str, old: str) -> None:
    """Nothing is known of the former name: told once. Raises UgsError where it may have been one that is known."""
    if core.store.marks(NEVER_MARK).get(NEVER_MARK + name) == old:
        return
    if doubt := doubtful(name, old, heirs, partial(_is_known, core), core.store.marked(departure.MARK)):
        raise doubt
    with core.store.transaction():
        core.store.mark(NEVER_MARK + name, old)
        core.store.audit("never-renamed", environment=name, detail=old)
        text = f"{name} says that it was {old}, of which nothing is known here: nothing is carried over"
        _tell(core, name, text, "warning")


async def _carry_over(
    core: Core, driver: Driver, old: str, new: str, said: str, busy: Callable[[str], bool]
) -> bool:
    """Whether it was: not where a person has begun something under the old name meanwhile, such as a rollback.

    `said`: the former name that the file says, which is taken from then on too.
    """
    store = core.store
    if store.knows(new):
        raise UgsError(f"{new} has a history of its own, and cannot be {old} too", "choose a new name")
    # First of all, so that no pass starts anything under the old name while it is given up.
    left = core.desired.pop(old, None)
    try:
        store.audit("renaming", environment=new, detail=old)
        core.failpoint("rename:begun")
        await core.drive(new, driver.rename, core.site_of(new), old, new)
        await asyncio.to_thread(core.vault.rename, core.site.state, old, new)
        core.failpoint("rename:done")
        if busy(old):
            return False
        with store.transaction():
            store.rename(old, new)
            store.mark(MARK + new, None)
            for name in {old, said}:
                store.mark(MARK + name, new)
            for mark in (departure.MARK, departure.STAYS):
                store.mark(mark + old, None)
            _tell(core, new, f"{new} goes on where {old} was", "info")
        left = None
    finally:
        if left:
            core.desired[old] = left
    core.failpoint("rename:recorded")
    return True


def _tell(core: Core, environment: str, text: str, severity: Severity) -> None:
    now = core.clock.now()
    core.store.tell(
        Notice(
            environment=environment, service="", sentence=text, severity=severity, at=now, title=environment
        )
    )
    core.wake.notices.set()
