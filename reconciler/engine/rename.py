"""Environments that take over what another name had: records, and what runs, untouched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Mapping

from msgspec import Struct

from reconciler.drivers.base import Driver
from reconciler.engine import departure
from reconciler.engine.core import Core
from reconciler.model.desired import Desired
from reconciler.model.errors import Place, Problem, UgsError
from reconciler.model.notice import Notice, Severity
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


async def carry_over(
    core: Core, wanted: Mapping[str, Desired], there: Container[str], busy: Callable[[str], bool]
) -> Outcome:
    """Carry out every rename that was not yet. Each step may run twice.

    `there`: the names that the repository has; `busy`: whether upgrades are under way somewhere.
    """
    waiting, problems = dict[str, str](), list[Problem]()
    heirs = core.store.marks(MARK)
    former = {mark.removeprefix(MARK) for mark in heirs}
    concerned = sorted(renaming(wanted).union(name for name in former if name in wanted))
    for name in concerned:
        desired = wanted[name]
        old = desired.environment.renamed_from
        try:
            heir = _heir(heirs, name)
            if heir not in (name, old):  # what runs there may still carry the name
                raise UgsError(f"{name} was renamed to {heir}, which goes on under it", "choose another name")
            if old is None or heirs.get(MARK + old) == name:
                continue
            if old in there:
                raise UgsError(
                    f"{old} is there still: nothing that gives it another name is trusted",
                    f"have the files of {old} removed in a commit that is",
                )
            if busy(old) or core.store.held_slots(old) or core.leases.standing(old) == "elsewhere":
                waiting[name] = old
            elif core.store.knows(old) or old in core.desired:
                driver = core.drivers[desired.environment.driver.kind]
                if not await _carry_over(core, driver, old, name, busy):
                    waiting[name] = old
                heirs = core.store.marks(MARK)
            else:
                _warn(core, old, name)
        except UgsError as error:
            waiting[name] = old or name
            place = Place(f"environments/{name}.yaml")
            problems.append(Problem(place, "environment", error.message, error.remedy))
    return Outcome(waiting, tuple(problems))


def _heir(heirs: Mapping[str, str], name: str) -> str:
    """Who goes on under a name, through all those that came after it; itself where nobody has taken it over."""
    for _ in heirs:
        name = heirs.get(MARK + name, name)
    return name


async def _carry_over(core: Core, driver: Driver, old: str, new: str, busy: Callable[[str], bool]) -> bool:
    """Whether it was: not where a person has begun something under the old name meanwhile, such as a rollback."""
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
            store.mark(MARK + old, new)
            store.mark(departure.MARK + old, None)
            _tell(core, new, f"{new} goes on where {old} was", "info")
        left = None
    finally:
        if left:
            core.desired[old] = left
    core.failpoint("rename:recorded")
    return True


def _warn(core: Core, old: str, new: str) -> None:
    """Nothing is known of the former name: told once."""
    if NEVER_MARK + new not in core.store.marks(NEVER_MARK):
        with core.store.transaction():
            core.store.mark(NEVER_MARK + new, old)
            core.store.audit("never-renamed", environment=new, detail=old)
            text = f"{new} says that it was {old}, of which nothing is known here: nothing is carried over"
            _tell(core, new, text, "warning")


def _tell(core: Core, environment: str, text: str, severity: Severity) -> None:
    now = core.clock.now()
    core.store.tell(
        Notice(
            environment=environment, service="", sentence=text, severity=severity, at=now, title=environment
        )
    )
    core.wake.notices.set()
