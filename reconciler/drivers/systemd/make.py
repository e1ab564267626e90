"""Making units be as a workload says: stopped, rewritten, read anew, started.

In this order, since systemd reads descriptions anew while a service runs on: a unit's file is never replaced
under a running process, so what its description says is what runs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler.clock import SystemClock
from reconciler.drivers.base import Cause, Site
from reconciler.drivers.layout import directory_of, service_folder
from reconciler.drivers.mark import Mark
from reconciler.drivers.render import expand, instance_values
from reconciler.drivers.started import command_file, own_environment, port_of, run_of, told_environment
from reconciler.drivers.systemd.bus import Manager, Unit
from reconciler.drivers.systemd.files import SECRET, Files, write
from reconciler.drivers.systemd.look import files_of, is_blank, mark_of, stranger
from reconciler.drivers.systemd.options import engine_of, run_options
from reconciler.drivers.systemd.unit import (
    Plan,
    drop_in,
    is_plain,
    pattern_of,
    secrets_file,
    split,
    template,
)
from reconciler.drivers.trouble import host_trouble
from reconciler.model.errors import ArtifactError, HostError, UgsError
from reconciler.model.release import SecretName
from reconciler.model.target import Workload

START_S = 15.0
UNREADY_S = 1.0
"""After so long without having failed, a service that says itself when it is ready was at least started."""
STOP_MARGIN_S = 15.0
GRACE_MAX_US = 3600 * 1_000_000
PATH_BYTES_MAX = 4096
EXEC = 203
SPAWN = {
    200: "its working directory cannot be entered",
    EXEC: "its program cannot be executed",
    216: "its group cannot be had",
    217: "its user cannot be had",
    218: "its capabilities cannot be had",
    219: "its control group cannot be made",
    226: "its sandbox cannot be made",
    228: "its system calls cannot be filtered",
    238: "its state directory cannot be made",
    243: "its credentials cannot be had",
}
"""How systemd says, by an exit status, what it could not do before the service's own program ran."""


async def make_so(site: Site, cause: Cause, work: Workload, upto: int, manager: Manager) -> None:
    """See that instances 0 to upto - 1 run `work`, and, when these are all, that there are no others."""
    if not is_plain(site.state.resolve()):
        raise HostError(
            f"systemd cannot be given the path {site.state}", "move the state folder to a plain one"
        )
    files = files_of(site, work.environment, work.service)
    known = await _known(files, upto, manager)
    _refuse_strangers(cause, files, known.values())
    lacking = [index for index in range(upto) if not _is_right(work, files, index, known)]
    ours = await _indexes(files, manager) if upto >= work.instances else []
    surplus = [index for index in ours if index >= work.instances]
    if not lacking and not surplus:
        return
    # Everything that can fail is tried before anything is stopped.
    made = [(index, *_texts(site, cause, work, files, index)) for index in lacking]
    common = template(files.environment, work.service, files.site, is_system=files.is_system)
    await _stop(manager, [files.unit(index) for index in (*lacking, *surplus)])
    for index, own, secrets in made:
        _write_secrets(site, work, index, secrets)
        files.install(index, common, own)
    _remove(site, work.environment, files, surplus)
    await manager.reload()
    await _start(site, work, files, lacking, manager)


async def remove(site: Site, environment: str, service: str, manager: Manager) -> None:
    """Stop every instance of ours, and take the units away; the service's data stays where it is."""
    files = files_of(site, environment, service)
    indexes = await _indexes(files, manager)
    names = [files.unit(index) for index in indexes]
    await _stop(manager, names)
    _remove(site, environment, files, indexes)
    if names:
        await manager.reload()
        await asyncio.gather(*map(manager.forget_failure, names))


async def _known(files: Files, upto: int, manager: Manager) -> dict[str, Unit]:
    """What there is by the names of the instances, loaded or not."""
    loaded = {unit.name: unit for unit in await manager.units([pattern_of(files.environment, files.service)])}
    others = [
        files.unit(index)
        for index in range(upto)
        if files.unit(index) not in loaded and not files.has_none(index)
    ]
    return loaded | (await manager.named(others) if others else {})


def _refuse_strangers(cause: Cause, files: Files, units: Iterable[Unit]) -> None:
    for unit in units:
        if cause.adopted or unit.load == "not-found" or is_blank(unit, files):
            continue
        if mark_of(unit, files) is None:
            raise HostError(stranger(unit), "rename or remove it, or let UGS take it over: ugs adopt")


def _is_right(work: Workload, files: Files, index: int, known: Mapping[str, Unit]) -> bool:
    """It runs, or systemd is about to start it (again), as we would make it now."""
    unit = known.get(files.unit(index))
    mark = mark_of(unit, files) if unit else None
    if unit is None or mark is None or mark.target != work.target or unit.active in ("inactive", "failed"):
        return False
    return not files.drift(index)


async def _indexes(files: Files, manager: Manager) -> list[int]:
    """The indexes of all units of ours, loaded or not."""
    units = await manager.units([pattern_of(files.environment, files.service)])
    if on_disk := files.indexes():
        units += (await manager.named(map(files.unit, on_disk))).values()
    named = [split(unit.name, files.environment) for unit in units if mark_of(unit, files)]
    return sorted({name[1] for name in named if name is not None})


def _texts(site: Site, cause: Cause, work: Workload, files: Files, index: int) -> tuple[str, dict[str, str]]:
    """The drop-in's text and the secrets of one instance. Raises HostError for a secret that is not granted."""
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
        secrets=_secrets_path(site, work.environment, work.service, index) if secrets else None,
        stop_grace_s=run.stop_grace_s,
        start_timeout_s=work.release.health.deadline_s,
        is_system=engine.is_system,
    )
    return drop_in(plan), secrets


def _secrets_path(site: Site, environment: str, service: str, index: int) -> Path:
    return service_folder(site, environment, service).resolve() / f"{index}.secrets"


def _write_secrets(site: Site, work: Workload, index: int, secrets: dict[str, str]) -> None:
    path = _secrets_path(site, work.environment, work.service, index)
    with host_trouble(f"write the secrets of {work.service}"):
        if secrets:
            write(path, secrets_file(secrets), mode=SECRET)
        else:
            path.unlink(missing_ok=True)


def _remove(site: Site, environment: str, files: Files, indexes: Iterable[int]) -> None:
    files.remove(indexes)
    with host_trouble(f"remove the secrets of {files.service}"):
        for index in indexes:
            _secrets_path(site, environment, files.service, index).unlink(missing_ok=True)


async def _stop(manager: Manager, names: list[str]) -> None:
    """Have systemd stop the units, each with the grace that it was given; then it kills.

    Raises HostError when something does not even die of that.
    """
    up = [unit for unit in (await manager.named(names)).values() if not unit.is_down] if names else []
    if not up:
        return
    graces = [(await manager.properties(unit)).get("TimeoutStopUSec", 0) for unit in up]
    await asyncio.gather(*(manager.stop(unit.name) for unit in up))
    left = await manager.wait(
        [unit.name for unit in up],
        lambda unit: unit.is_down,
        timeout_s=min(max(graces), GRACE_MAX_US) / 1_000_000 + STOP_MARGIN_S,
    )
    if stubborn := [unit.name for unit in left if not unit.is_down]:
        raise HostError(
            f"systemd cannot stop {', '.join(stubborn)}", "look at what it waits for: systemctl status"
        )


async def _start(site: Site, work: Workload, files: Files, indexes: list[int], manager: Manager) -> None:
    """Start what was written, and see that systemd could.

    Raises HostError for what this machine lacks, ArtifactError for a program that can never run.
    """
    names = [files.unit(index) for index in indexes]
    if not names:
        return
    read = await manager.named(names)
    for unit in read.values():
        mark = mark_of(unit, files)
        if mark is None or mark.target != work.target:
            raise HostError(
                f"systemd does not read what stands in {files.folder} for {unit.name} ({unit.load})",
                "correct `engines.systemd.units` in ugs.yaml, or unmask the unit",
            )
    await _stop(manager, names)  # whatever came up while it was rewritten
    await asyncio.gather(*map(manager.start, names))
    clock = SystemClock()
    begun_s = clock.monotonic()

    def is_settled(unit: Unit) -> bool:
        waits_for_it = unit.sub == "start" and run_options(work).notify
        enough = waits_for_it and clock.monotonic() > begun_s + UNREADY_S
        return unit.active == "active" or unit.is_waiting or enough

    for unit in await manager.wait(names, is_settled, timeout_s=START_S):
        if unit.is_waiting and (error := _unspawned(site, work, files, await manager.properties(unit))):
            await _stop(manager, names)
            raise error


def _unspawned(site: Site, work: Workload, files: Files, properties: Mapping[str, Any]) -> UgsError | None:
    """Why systemd could not even begin to run the service's program; None where it could."""
    status, result = properties.get("ExecMainStatus", 0), properties.get("Result")
    why = SPAWN.get(status) if result == "exit-code" else None
    if result == "resources":
        why = "what it needs to run cannot be made"
    if why is None:
        return None
    text = f"{work.release.place}: run: systemd cannot start {work.service} {work.target.version}: {why}"
    if status == EXEC:
        path, is_own = command_file(work, directory_of(site, work))
        if is_own and path is not None and not _lacks_interpreter(path):
            why = "is it made for this machine, and is its interpreter within the sandbox?"
            return ArtifactError(f"{text}: {path}", f"{why} mend it in a new release")
    return HostError(text, f"see journalctl -u '{pattern_of(files.environment, work.service)}'")


def _lacks_interpreter(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        line = file.readline(PATH_BYTES_MAX)
        words = line[2:].split() if line.startswith(b"#!") else []
        return bool(words) and not Path(os.fsdecode(words[0])).exists()
    return False
