"""Who goes back together with an upgrade that failed, who has to stay, and in which order they are restored.

What came in the same commit goes back with it where it cannot be without the failed version; where pins share their
fate (`policy.atomic`), all of that commit does. What other commits brought is never taken back for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from msgspec import Struct

from reconciler.model.order import Running, fits, sequence
from reconciler.model.target import Workload
from reconciler.model.version import Version


class Part(Struct, frozen=True):
    """What one commit made of one service."""

    service: str
    pinned: Workload | None
    """What the commit pins."""
    before: Workload | None
    """What the service goes back to; None where it was not there before."""
    now: Workload | None = None
    """What runs of it through this commit, or is being started; None while nothing is touched."""

    @property
    def back(self) -> Version | None:
        return self.before.target.version if self.before else None


class Together(Struct, frozen=True):
    """`goes`: by service, why it goes back too; dependents before what they need, and untouched ones last.

    `after`: by service, who has to be restored before it. `stays`: by service that would have gone (or is the failed
    one), by service in its way, the sentence that says why it cannot go back.
    """

    goes: Mapping[str, str]
    after: Mapping[str, frozenset[str]]
    stays: Mapping[str, Mapping[str, str]]


def together(
    failed: Part,
    parts: Mapping[str, Part],
    *,
    running: Mapping[str, Running],
    leaving: Mapping[str, Part] = {},
    atomic: bool = False,
) -> Together:
    """`parts`: what else the commit moved. `running`: all that runs. `leaving`: what goes back by itself already."""
    stays: dict[str, dict[str, str]] = {}
    find = partial(_atomic if atomic else _dependents, failed)
    while True:
        goes = find({name: part for name, part in parts.items() if name not in stays})
        going = {failed.service: failed} | {name: parts[name] for name in goes}
        touched = {name: part for name, part in (going | dict(leaving)).items() if part.now}
        blocked = {
            name: way
            for name in goes
            if (way := _for_good(parts[name]) | _in_the_way(parts[name], touched, running))
        }
        if not blocked:
            break
        stays |= blocked
    if way := _in_the_way(failed, touched, running):
        stays[failed.service] = way
    order, after = _order(touched)
    names = [name for name in order if name in goes] + sorted(goes.keys() - touched.keys())
    return Together({name: goes[name] for name in names}, after, stays)


def needs(part: Part, back: Mapping[str, Version | None]) -> dict[str, str]:
    """By service, the range of it that the commit's version of this one needs and that it would no longer be in.

    `back`: the version to which each that goes back does.
    """
    asked = [work.release.requires for work in (part.now, part.pinned) if work]
    return {
        needed: wanted
        for requires in asked
        for needed, wanted in requires.items()
        if needed in back and needed != part.service and not fits(wanted, back[needed])
    }


def _dependents(failed: Part, parts: Mapping[str, Part]) -> dict[str, str]:
    """Those that need the failed version, and those that need them."""
    version, goes = _version(failed), dict[str, str]()
    back = {failed.service: failed.back}
    found = True
    while found:
        found = False
        for name, part in sorted(parts.items()):
            if name not in goes and (unmet := needs(part, back)):
                needed, wanted = min(unmet.items())
                fate = (
                    f"{version} of it failed"
                    if needed == failed.service
                    else f"{needed} goes back with {failed.service} {version}"
                )
                goes[name], back[name], found = f"it needs {needed} {wanted}, and {fate}", part.back, True
    return goes


def _atomic(failed: Part, parts: Mapping[str, Part]) -> dict[str, str]:
    why = f"it came in one commit with {failed.service} {_version(failed)}, which failed, and shares its fate"
    return dict.fromkeys(parts, why)


def _for_good(part: Part) -> dict[str, str]:
    """What is not reversible goes back by a person's verdict on it alone."""
    if part.now is None or part.before is None or part.now.release.reversible:
        return {}
    return {part.service: f"{part.service} {part.now.target.version} must not be taken back by itself"}


def _in_the_way(part: Part, touched: Mapping[str, Part], running: Mapping[str, Running]) -> dict[str, str]:
    """By service: what runs, stays, and needs `part` as it is now, each with the sentence that says so."""
    if part.now is None:
        return {}
    version = part.now.target.version
    return {
        name: f"{name} {runs.version} needs {part.service} {wanted}"
        for name, runs in sorted(running.items())
        if name not in touched
        and (wanted := runs.requires.get(part.service))
        and fits(wanted, version)
        and not fits(wanted, part.back)
    }


def _order(touched: Mapping[str, Part]) -> tuple[list[str], dict[str, frozenset[str]]]:
    """Dependents before what they need; and where the old version of one needs the old one of another, that first.

    Where both cannot be, dependents go first all the same.
    """
    first: dict[str, set[str]] = {name: set() for name in touched}
    then: dict[str, set[str]] = {name: set() for name in touched}
    for name, part in touched.items():
        for needed, wanted in (part.now.release.requires if part.now else {}).items():
            if needed != name and _turns(touched.get(needed), wanted) == (True, False):
                first[needed].add(name)
        for needed, wanted in (part.before.release.requires if part.before else {}).items():
            if needed != name and _turns(touched.get(needed), wanted) == (False, True):
                then[name].add(needed)
    _, must = sequence(first, {})
    return sequence({name: must[name] | then[name] for name in touched}, must)


def _turns(part: Part | None, wanted: str) -> tuple[bool, bool]:
    """Whether what a part is now is in the range, and whether what it goes back to is."""
    if part is None or part.now is None:
        return False, False
    return fits(wanted, part.now.target.version), fits(wanted, part.back)


def _version(part: Part) -> str:
    work = part.now or part.pinned
    return work.target.version.text if work else ""
