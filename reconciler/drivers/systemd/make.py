"""Making units be as a workload says: stopped, rewritten, read anew, started.

In this order, since systemd reads descriptions anew while a service runs on: a unit's file is never replaced
under a running process, so what its description says is what runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

from reconciler.drivers.base import Cause, Site
from reconciler.drivers.layout import directory_of, service_folder
from reconciler.drivers.mark import Mark
from reconciler.drivers.render import expand, instance_values
from reconciler.drivers.started import command_file, own_environment, port_of, run_of, told_environment
from reconciler.drivers.systemd import sockets
from reconciler.drivers.systemd.bus import Manager, Unit
from reconciler.drivers.systemd.files import SECRET, Files, write
from reconciler.drivers.systemd.jobs import start, stop
from reconciler.drivers.systemd.look import files_of, is_blank, mark_of, stranger
from reconciler.drivers.systemd.options import engine_of, run_options
from reconciler.drivers.systemd.unit import (
    SIDES,
    Plan,
    Slot,
    drop_in,
    is_plain,
    pattern_of,
    secrets_file,
    split,
    template,
)
from reconciler.drivers.trouble import host_trouble
from reconciler.model.errors import HostError
from reconciler.model.release import SecretName
from reconciler.model.target import Workload


async def make_so(
    site: Site, cause: Cause, work: Workload, upto: int, manager: Manager, *, beside: bool = False
) -> None:
    """See that instances 0 to upto - 1 run `work`, and, when these are all, that there are no others.

    `beside`: what runs of another release runs on, if it leaves the new one the socket."""
    if not is_plain(site.state.resolve()):
        raise HostError(
            f"systemd cannot be given the path {site.state}", "move the state folder to a plain one"
        )
    files = files_of(site, work.environment, work.service)
    known = await _known(files, upto, manager)
    _refuse_strangers(cause, files, known.values())
    ours = await _slots(files, manager)
    right = {
        slot.index: slot
        for slot in sorted(ours, reverse=True)
        if slot.index < upto and _is_right(work, files, slot, known)
    }
    lacking = [_place(ours, index, work, beside=beside) for index in range(upto) if index not in right]
    others = _others(ours, {*lacking, *right.values()}, work, upto)
    if not lacking and (beside or not others):
        return
    # Everything that can fail is tried before anything is stopped.
    made = [(slot, *_texts(site, cause, work, files, slot)) for slot in lacking]
    common = template(files.environment, work.service, files.site, is_system=files.is_system)
    await stop(manager, [files.unit(slot) for slot in (*lacking, *(() if beside else others))])
    for slot, own, secrets in made:
        _write_secrets(site, work, slot, secrets)
        if wanted := _sockets(work, files, slot):
            sockets.write_units(files, slot, wanted[0])
        files.install(slot, common, own)
    if not beside:
        _remove(site, work.environment, files, others)
    kept = {name for slot in files.slots() for name in files.sockets_of(slot)}
    await sockets.close(manager, files, kept)
    await manager.reload()
    await _listen(files, lacking, others if beside else [], manager)
    await start(site, work, files, lacking, manager)


async def settle(site: Site, work: Workload, manager: Manager) -> None:
    """Stop the other sides of the service, and take their units away."""
    files = files_of(site, work.environment, work.service)
    ours = await _slots(files, manager)
    others = [slot for slot, mark in ours.items() if mark.target != work.target]
    if not others or len(others) == len(ours):
        return
    await stop(manager, [files.unit(slot) for slot in others])
    await _take_away(site, work.environment, files, others, manager)


async def remove(site: Site, environment: str, service: str, manager: Manager) -> None:
    """Stop every instance of ours, and take the units away; the service's data stays where it is."""
    files = files_of(site, environment, service)
    slots = list(await _slots(files, manager))
    await stop(manager, list(map(files.unit, slots)))
    await _take_away(site, environment, files, slots, manager)


async def _take_away(site: Site, environment: str, files: Files, slots: list[Slot], manager: Manager) -> None:
    """The units of slots that are stopped, and the sockets that nobody is handed any more."""
    _remove(site, environment, files, slots)
    kept = {name for slot in files.slots() for name in files.sockets_of(slot)}
    closed = await sockets.close(manager, files, kept)
    if slots or closed:
        await manager.reload()
        await asyncio.gather(*map(manager.forget_failure, map(files.unit, slots)))


async def _listen(files: Files, lacking: list[Slot], others: list[Slot], manager: Manager) -> None:
    """See that systemd listens for what is to start. Raises PortTaken.

    The others, which run beside, are stopped first where one of them listens there by itself."""
    names = [name for slot in lacking for name in files.sockets_of(slot)]
    if not names:
        return
    try:
        await sockets.listen(manager, files, names)
    except sockets.PortTaken:
        if not others:
            raise
        await stop(manager, list(map(files.unit, others)))
        await sockets.listen(manager, files, names)


def _place(ours: Mapping[Slot, Mark], index: int, work: Workload, *, beside: bool) -> Slot:
    """Where an instance is to be made: where it was begun, else on a free side, or in the place of another release."""
    there = sorted(slot for slot in ours if slot.index == index)
    begun = [slot for slot in there if ours[slot].target == work.target]
    if begun or (there and not beside):
        return (begun or there)[0]
    taken = {slot.side for slot in there}
    for side in SIDES:
        if side not in taken:
            return Slot(index, side)
    raise HostError(f"{len(SIDES)} releases of {work.service} run beside each other", "stop what is too much")


def _others(ours: Iterable[Slot], wanted: set[Slot], work: Workload, upto: int) -> list[Slot]:
    """What gives way: the other sides of the first `upto` instances, and, once these are all, what else there is."""
    return [slot for slot in ours if slot not in wanted and (slot.index < upto or upto >= work.instances)]


def _sockets(work: Workload, files: Files, slot: Slot) -> tuple[int, tuple[str, str]] | None:
    """The public port of an instance that is handed its sockets, and their units."""
    port = port_of(work, slot.index)
    if run_of(work).socket != "pass" or port is None:
        return None
    return port, sockets.names_of(files, slot, port)


async def _known(files: Files, upto: int, manager: Manager) -> dict[str, Unit]:
    """What there is by the names of the instances, loaded or not."""
    loaded = {unit.name: unit for unit in await manager.units([pattern_of(files.environment, files.service)])}
    others = [
        files.unit(slot)
        for slot in map(Slot, range(upto))
        if files.unit(slot) not in loaded and not files.has_none(slot)
    ]
    return loaded | (await manager.named(others) if others else {})


def _refuse_strangers(cause: Cause, files: Files, units: Iterable[Unit]) -> None:
    for unit in units:
        if cause.adopted or unit.load == "not-found" or is_blank(unit, files):
            continue
        if mark_of(unit, files) is None:
            raise HostError(stranger(unit), "rename or remove it, or let UGS take it over: ugs adopt")


def _is_right(work: Workload, files: Files, slot: Slot, known: Mapping[str, Unit]) -> bool:
    """It runs, or systemd is about to start it (again), as we would make it now."""
    unit = known.get(files.unit(slot))
    mark = mark_of(unit, files) if unit else None
    if unit is None or mark is None or mark.target != work.target or unit.active in ("inactive", "failed"):
        return False
    return not files.drift(slot)


async def _slots(files: Files, manager: Manager) -> dict[Slot, Mark]:
    """All units of ours, loaded or not, and what each says that it is."""
    units = await manager.units([pattern_of(files.environment, files.service)])
    if on_disk := files.slots():
        units += (await manager.named(map(files.unit, on_disk))).values()
    found = ((split(unit.name, files.environment), mark_of(unit, files)) for unit in units)
    return {
        named[1]: mark for named, mark in sorted(found, key=str) if named is not None and mark is not None
    }


def _texts(site: Site, cause: Cause, work: Workload, files: Files, slot: Slot) -> tuple[str, dict[str, str]]:
    """The drop-in's text and the secrets of one instance. Raises HostError for a secret that is not granted."""
    index, wanted = slot.index, _sockets(work, files, slot)
    engine, run, directory = engine_of(site), run_of(work), directory_of(site, work)
    values = instance_values(work, index, directory, port_of(work, index))
    program, _ = command_file(work, directory, index)
    if program is None:
        raise HostError(f"there is no program {run.command[0]!r} here", "install it on this machine")
    own = own_environment(site, work, values)
    secrets = {
        name: own.pop(name) for name, value in run.environment.items() if isinstance(value, SecretName)
    }
    for name, value in (own | secrets).items():
        if any(not sign.isprintable() and sign not in "\t\n" for sign in value):
            raise HostError(
                f"{work.release.place}: run.environment.{name}: systemd passes no control characters on",
                "write it without",
            )
    mark = Mark(files.site, work.environment, work.service, index, work.target, cause.operation)
    plan = Plan(
        mark=mark,
        revision=cause.revision,
        run=run_options(work),
        state=site.state.resolve(),
        directory=directory,
        program=program,
        arguments=tuple(expand(word, values, work) for word in run.command[1:]),
        environment=own | told_environment(work),
        secrets=_secrets_path(site, work.environment, work.service, slot) if secrets else None,
        stop_grace_s=run.stop_grace_s,
        start_timeout_s=work.release.health.deadline_s,
        sockets=wanted[1] if wanted else (),
        is_system=engine.is_system,
    )
    return drop_in(plan), secrets


def _secrets_path(site: Site, environment: str, service: str, slot: Slot) -> Path:
    return service_folder(site, environment, service).resolve() / f"{slot}.secrets"


def _write_secrets(site: Site, work: Workload, slot: Slot, secrets: dict[str, str]) -> None:
    path = _secrets_path(site, work.environment, work.service, slot)
    with host_trouble(f"write the secrets of {work.service}"):
        if secrets:
            write(path, secrets_file(secrets), mode=SECRET)
        else:
            path.unlink(missing_ok=True)


def _remove(site: Site, environment: str, files: Files, slots: list[Slot]) -> None:
    files.remove(slots)
    with host_trouble(f"remove the secrets of {files.service}"):
        for slot in slots:
            _secrets_path(site, environment, files.service, slot).unlink(missing_ok=True)
