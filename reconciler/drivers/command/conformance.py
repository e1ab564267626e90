"""Whether a program keeps to the contract: asked well and badly, and, with two versions of a service, put to work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from reconciler.drivers import command as driver
from reconciler.drivers.base import Cause, Site
from reconciler.drivers.command.contract import Apply, Observe, Observed
from reconciler.drivers.command.program import Program
from reconciler.model.errors import HostError, UgsError
from reconciler.model.observation import Instance
from reconciler.model.target import Workload

ENVIRONMENT = "ugs-check"
"""Where it is put to work: nothing else may have that name."""
Step = tuple[str, Callable[[], object]]
KILLED_AFTER_S = (0.05, 0.2, 0.6)


class Finding(Struct, frozen=True):
    """One rule of the contract, and how the program breaks it; `trouble` is empty where it keeps to it."""

    rule: str
    trouble: str = ""


def check(program: Program, site: Site, works: tuple[Workload, Workload] | None = None) -> list[Finding]:
    """Every rule that was tried. With two versions of a service in ENVIRONMENT, prepared, it is put to work too."""
    found = _questions(program, site)
    if works is None or any(one.trouble for one in found):
        return found
    return found + _work_through(program, site, *works)


def _questions(program: Program, site: Site) -> list[Finding]:
    """What can be asked of a program without having it do anything."""
    observe: dict[str, Any] = msgspec.to_builtins(Observe(where=driver.where_of(site, ENVIRONMENT)))
    strange = observe | {"later": {"than": 1}}
    senseless = observe | {"action": "no-such-action"}
    return [
        _tried("it observes", lambda: _observed(site)),
        _tried("it ignores keys that it does not know", lambda: _accepts(program, site, strange)),
        _tried("it refuses an action that it does not know", lambda: _refuses(program, site, senseless)),
    ]


def _work_through(program: Program, site: Site, old: Workload, new: Workload) -> list[Finding]:
    """Deploy `old`, replace it by `new`, take that back and end it, killed and asked twice on the way.

    Stops at the first rule that is broken; whatever happened, nothing is left in the end, if the program can do that.
    """
    if _observed(site):
        raise HostError(
            f"something runs in the environment {ENVIRONMENT} already",
            "end it; only the check may use that name",
        )
    found: list[Finding] = []
    cause = Cause("ugs-check", "0" * 40)

    def end() -> None:
        driver.restore(site, cause, None, environment=ENVIRONMENT, service=old.service)

    steps: tuple[Step, ...] = (
        ("apply starts a version", lambda: _started(site, cause, old)),
        ("apply said twice changes nothing", lambda: _unchanged(site, cause, old)),
        ("apply puts another version into its place", lambda: _started(site, cause, new)),
        ("restore brings the former one back", lambda: _restored(site, cause, old)),
        *(_side_by_side(site, cause, old, new) if _settles(program, site) else ()),
        ("apply killed at any moment is ended by the next", lambda: _killed(program, site, cause, new)),
        ("logs tells lines", lambda: driver.logs(site, ENVIRONMENT, old.service, lines=10)),
        ("restore without work ends the service", end),
        ("restore said twice changes nothing", end),
    )
    try:
        for rule, step in steps:
            found.append(_tried(rule, step))
            if found[-1].trouble:
                break
    finally:
        last = _tried("it can clear away what it did", end)
    return [*found, last] if last.trouble else found


def _side_by_side(site: Site, cause: Cause, old: Workload, new: Workload) -> tuple[Step, ...]:
    """What a program that says `settles` is put to beside; `old` runs before and afterwards."""
    side = replace(new, strategy="blue-green")

    def settled() -> None:
        driver.apply(site, cause, side, side.instances)
        driver.settle(site, side)
        if {one.target for one in _observed(site)} != {new.target}:
            raise HostError(f"afterwards there are: {_told(_observed(site))}")

    return (
        ("apply beside leaves the former one alone", lambda: _beside(site, cause, old, side)),
        ("restore leaves alone what ran beside", lambda: _taken_back(site, cause, old)),
        ("settle ends what ran beside", settled),
        ("restore brings it back after that", lambda: _restored(site, cause, old)),
    )


def _tried(rule: str, step: Callable[[], object]) -> Finding:
    try:
        step()
    except UgsError as error:
        return Finding(rule, str(error))
    return Finding(rule)


def _observed(site: Site) -> tuple[Instance, ...]:
    return tuple(one for seen in driver.observe(site, ENVIRONMENT).values() for one in seen.instances)


def _accepts(program: Program, site: Site, request: dict[str, Any]) -> None:
    ended = program.run(msgspec.json.encode(request), directory=site.state)
    if ended.code != 0:
        raise HostError(f"it exited with {ended.code}")


def _refuses(program: Program, site: Site, request: dict[str, Any]) -> None:
    ended = program.run(msgspec.json.encode(request), directory=site.state)
    if ended.code == 0 and b'"error"' not in ended.stdout:
        raise HostError("it exited with 0, and says nothing of an error")


def _started(site: Site, cause: Cause, work: Workload) -> None:
    driver.apply(site, cause, work, work.instances)
    if len(running := _observed(site)) != work.instances:
        raise HostError(f"of {work.instances} instances there are: {_told(running)}")


def _unchanged(site: Site, cause: Cause, work: Workload) -> None:
    before = _observed(site)
    driver.apply(site, cause, work, work.instances)
    if (after := _observed(site)) != before:
        raise HostError(f"before, {_told(before)}; afterwards, {_told(after)}")


def _beside(site: Site, cause: Cause, old: Workload, side: Workload) -> None:
    before = set(_observed(site))
    driver.apply(site, cause, side, side.instances)
    if not before <= (after := set(_observed(site))):
        raise HostError(f"before, {_told(tuple(before))}; afterwards, {_told(tuple(after))}")
    places = [
        {
            (one.values.get("host"), one.port)
            for one in driver.endpoints(site, replace(work, strategy="blue-green"))
        }
        for work in (old, side)
    ]
    if shared := places[0] & places[1]:
        said = ", ".join(sorted(f"{host}:{port}" for host, port in shared))
        raise HostError(f"both versions are said to be at {said}, so that nobody can probe the new one alone")


def _taken_back(site: Site, cause: Cause, work: Workload) -> None:
    before = {one for one in _observed(site) if one.target == work.target}
    _restored(site, cause, work)
    if (after := set(_observed(site))) != before:
        raise HostError(f"before, {_told(tuple(before))}; afterwards, {_told(tuple(after))}")


def _settles(program: Program, site: Site) -> bool:
    where = driver.where_of(site, ENVIRONMENT)
    return program.ask(Observe(where=where), Observed, directory=site.state).settles


def _restored(site: Site, cause: Cause, work: Workload) -> None:
    driver.restore(site, cause, work, environment=work.environment, service=work.service)


def _killed(program: Program, site: Site, cause: Cause, work: Workload) -> None:
    call = Apply(
        where=driver.where_of(site, ENVIRONMENT),
        service=work.service,
        adopted=False,
        upto=work.instances,
        work=driver.work_of(site, cause, work),
    )
    for after_s in KILLED_AFTER_S:
        program.run(msgspec.json.encode(call), directory=site.state, timeout_s=after_s)
    driver.apply(site, cause, work, work.instances)


def _told(instances: tuple[Instance, ...]) -> str:
    return (
        ", ".join(f"{one.index} of {one.target} ({one.state}, pid {one.pid})" for one in instances) or "none"
    )
