"""The sockets that systemd listens on for a service, and hands to each release of it: `run.socket: pass`.

The public one is a unit of the port's, which every release at that port is handed, so that it is never closed between
them; the probe socket is one side's alone. A socket unit starts a service when somebody connects and none is there:
that is a holder, which does nothing, for UGS alone says what runs. Connections wait meanwhile.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
from collections.abc import Collection, Iterable
from contextlib import suppress

from reconciler.drivers.systemd.bus import Manager, Unit
from reconciler.drivers.systemd.files import Files
from reconciler.drivers.systemd.unit import Slot, sealed
from reconciler.model.errors import HostError

PUBLIC, PROBE = "public", "probe"
PUBLIC_ADDRESS, PROBE_ADDRESS = "0.0.0.0", "127.0.0.1"  # noqa: S104  the public socket is for everyone
BACKLOG = 1024
PROBE_PORTS = tuple(range(61_000, 65_536))
"""Above those that the kernel gives to connections: what systemd listens on at boot must be free then too."""
OPEN_S = 10.0


class PortTaken(HostError):
    """Systemd could not listen: somebody else does."""


def names_of(files: Files, slot: Slot, port: int) -> tuple[str, str]:
    """The units of the public and the probe socket of an instance at a port."""
    return f"{files.base}@{port}.{PUBLIC}.socket", f"{files.base}@{slot}.{PROBE}.socket"


def probe_port(files: Files, slot: Slot) -> int | None:
    """Where the probe socket of a slot listens; None where it has none."""
    said = re.search(r"^ListenStream=.*:(\d+)$", files.text_of(names_of(files, slot, 0)[1]), re.MULTILINE)
    return int(said[1]) if said else None


def write_units(files: Files, slot: Slot, port: int) -> None:
    """Write the socket units of an instance, and their holder. A probe socket that is there keeps its port."""
    public, probe = names_of(files, slot, port)
    files.install_unit(_holder_template(files), _holder_text(files))
    files.install_unit(public, _text(files, public, PUBLIC, f"{PUBLIC_ADDRESS}:{port}"))
    own = probe_port(files, slot) or _free_port(files, slot)
    files.install_unit(probe, _text(files, probe, PROBE, f"{PROBE_ADDRESS}:{own}"))


async def listen(manager: Manager, files: Files, names: Collection[str]) -> None:
    """See that systemd listens. Raises PortTaken where somebody else does."""
    closed = [unit.name for unit in (await manager.named(names)).values() if unit.active != "active"]
    # A socket unit whose service is there already refuses to start.
    await _stop(manager, map(_holder_of, closed))
    await asyncio.gather(*map(manager.start, closed))
    for unit in await manager.wait(names, _is_settled, timeout_s=OPEN_S):
        if unit.active != "active":
            said = re.search(r"^ListenStream=(.*)$", files.text_of(unit.name), re.MULTILINE)
            if f".{PROBE}." in unit.name:  # somebody took it meanwhile; the next try finds another
                files.remove_units([unit.name])
            raise PortTaken(
                f"systemd cannot listen on {said[1] if said else unit.name} for {files.service}",
                f"free it, or pin another port; see systemctl status {unit.name}",
            )


async def close(manager: Manager, files: Files, kept: Collection[str] = ()) -> list[str]:
    """Stop listening at all sockets of the service that are not kept, and remove their units: these."""
    gone = sorted(files.sockets() - set(kept))
    if gone:
        await _stop(manager, [*gone, *map(_holder_of, gone)])
        files.remove_units(gone if kept else [*gone, _holder_template(files)])
    return gone


def _is_settled(unit: Unit) -> bool:
    """It listens, or could not: what failed before is failed still until its job is done."""
    return unit.active in ("active", "failed") and not unit.job


async def _stop(manager: Manager, names: Iterable[str]) -> None:
    units = (await manager.named(wanted)).values() if (wanted := list(names)) else ()
    up = [unit.name for unit in units if not unit.is_down]
    await asyncio.gather(*map(manager.stop, up))
    if up:
        await manager.wait(up, lambda unit: unit.is_down, timeout_s=OPEN_S)


def _free_port(files: Files, slot: Slot) -> int:
    """One that nobody listens at, and no other socket unit of UGS's names: each slot looks from somewhere else on."""
    first = int(hashlib.sha256(files.unit(slot).encode()).hexdigest()[:8], 16) % len(PROBE_PORTS)
    named = {
        int(found[1])
        for path in files.folder.glob(f"ugs-*.{PROBE}.socket")
        if (
            found := re.search(
                rf"^ListenStream={PROBE_ADDRESS}:(\d+)$", files.text_of(path.name), re.MULTILINE
            )
        )
    }
    for port in (*PROBE_PORTS[first:], *PROBE_PORTS[:first]):
        if port not in named:
            with suppress(OSError):
                socket.create_server((PROBE_ADDRESS, port)).close()
                return port
    raise HostError(
        f"no port from {PROBE_PORTS[0]} on is free for the probes of {files.service}",
        "see who listens there",
    )


def _holder_of(name: str) -> str:
    base, _, which = name.removesuffix(".socket").partition("@")
    return f"{base}.holder@{which}.service"


def _holder_template(files: Files) -> str:
    return f"{files.base}.holder@.service"


def _holder_text(files: Files) -> str:
    return sealed(
        [
            "[Unit]",
            f"Description=Holds connections to {files.service} in {files.environment} (ugs {files.site})",
            "",
            "[Service]",
            "Type=oneshot",
            "RemainAfterExit=yes",
            "ExecStart=/bin/true",
        ]
    )


def _text(files: Files, name: str, kind: str, address: str) -> str:
    return sealed(
        [
            "[Unit]",
            f"Description=The {kind} socket of {files.service} in {files.environment} (ugs {files.site})",
            "",
            "[Socket]",
            f"ListenStream={address}",
            f"FileDescriptorName={kind}",
            f"Service={_holder_of(name)}",
            f"Backlog={BACKLOG}",
        ]
    )
