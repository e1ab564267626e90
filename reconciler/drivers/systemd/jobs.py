"""Stopping units and starting them, and what kept one from starting."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from reconciler.clock import SystemClock
from reconciler.drivers.base import Site
from reconciler.drivers.layout import directory_of
from reconciler.drivers.started import command_file
from reconciler.drivers.systemd.bus import Manager, Unit
from reconciler.drivers.systemd.files import Files
from reconciler.drivers.systemd.look import mark_of
from reconciler.drivers.systemd.options import run_options
from reconciler.drivers.systemd.unit import Slot, pattern_of
from reconciler.model.errors import ArtifactError, HostError, UgsError
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


async def stop(manager: Manager, names: list[str]) -> None:
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


async def start(site: Site, work: Workload, files: Files, slots: list[Slot], manager: Manager) -> None:
    """Start what was written, and see that systemd could.

    Raises HostError for what this machine lacks, ArtifactError for a program that can never run.
    """
    names = list(map(files.unit, slots))
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
    await stop(manager, names)  # whatever came up while it was rewritten
    await asyncio.gather(*map(manager.start, names))
    clock = SystemClock()
    begun_s = clock.monotonic()

    def is_settled(unit: Unit) -> bool:
        waits_for_it = unit.sub == "start" and run_options(work).notify
        enough = waits_for_it and clock.monotonic() > begun_s + UNREADY_S
        return unit.active == "active" or unit.is_waiting or enough

    for unit in await manager.wait(names, is_settled, timeout_s=START_S):
        if unit.is_waiting and (error := _unspawned(site, work, files, await manager.properties(unit))):
            await stop(manager, names)
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
