"""systemd over D-Bus: a connection for each errand, with a time limit, and its refusals in our words."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct

from reconciler.clock import SystemClock
from reconciler.drivers.systemd.options import Engine
from reconciler.model.errors import HostError, TransientError

if TYPE_CHECKING:
    from dbus_fast.aio import MessageBus

T = TypeVar("T")
NAME = "org.freedesktop.systemd1"
PATH = "/org/freedesktop/systemd1"
CALL_S = 10.0
RELOAD_S = 90.0
POLL_S = 0.05
REMEDY_BUS = "see that systemd and dbus run, or correct `engines.systemd.bus` in ugs.yaml"
REMEDY_RIGHTS = "run the daemon as root, or let its user manage units (docs/drivers/systemd.md)"
UNAUTHORISED = frozenset(
    {
        "org.freedesktop.DBus.Error.AccessDenied",
        "org.freedesktop.DBus.Error.AuthFailed",
        "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
    }
)
PASSING = frozenset({"org.freedesktop.DBus.Error.NoReply", "org.freedesktop.DBus.Error.Disconnected"})
REMEDIES = {
    "org.freedesktop.systemd1.UnitMasked": "unmask it: systemctl unmask UNIT",
    "org.freedesktop.DBus.Error.ServiceUnknown": REMEDY_BUS,
    "org.freedesktop.DBus.Error.NameHasNoOwner": REMEDY_BUS,
}


class Unit(Struct, frozen=True):
    """One line of systemd's list. `job`: it is about to start or to stop it."""

    name: str
    description: str
    load: str
    active: str
    sub: str
    path: str
    job: int

    @property
    def is_down(self) -> bool:
        """Nothing of it runs, and nothing will by itself."""
        return self.active in ("inactive", "failed") and not self.job

    @property
    def is_waiting(self) -> bool:
        """It ended, and systemd is about to start it again, or has given up."""
        return self.active == "failed" or (self.active, self.sub) == ("activating", "auto-restart")


class Refused(Exception):
    """An error that systemd answered with, by its D-Bus name."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name, self.text = name, text


class Manager:
    """The calls that the driver makes. Every one has a time limit."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus

    async def units(self, patterns: Iterable[str]) -> list[Unit]:
        """All loaded units that a pattern fits, in one call however many they are."""
        (found,) = await self._call("ListUnitsByPatterns", "asas", [[], list(patterns)])
        return [_unit(row) for row in found]

    async def named(self, names: Iterable[str]) -> dict[str, Unit]:
        """Units by name, those among them that are not loaded now."""
        (found,) = await self._call("ListUnitsByNames", "as", [list(names)])
        return {unit.name: unit for unit in map(_unit, found)}

    async def properties(self, unit: Unit, kind: str = "Service") -> dict[str, Any]:
        """What systemd says of one unit; `kind` is the D-Bus interface: Unit or Service."""
        (found,) = await self._call(
            "GetAll", "s", [f"{NAME}.{kind}"], path=unit.path, interface="org.freedesktop.DBus.Properties"
        )
        return {name: variant.value for name, variant in found.items()}

    async def reload(self) -> None:
        """Have systemd read its unit files anew."""
        await self._call("Reload", "", [], timeout_s=RELOAD_S)

    async def start(self, name: str) -> None:
        await self._call("StartUnit", "ss", [name, "replace"])

    async def stop(self, name: str) -> None:
        with _where_there_is_one():
            await self._call("StopUnit", "ss", [name, "replace"])

    async def forget_failure(self, name: str) -> None:
        with _where_there_is_one():
            await self._call("ResetFailedUnit", "s", [name])

    async def wait(
        self, names: Iterable[str], is_there: Callable[[Unit], bool], *, timeout_s: float
    ) -> list[Unit]:
        """The units, as soon as all are where they should be; at the end of time, as they are then."""
        wanted, clock = list(names), SystemClock()
        end_s = clock.monotonic() + timeout_s
        while True:
            units = list((await self.named(wanted)).values())
            if all(map(is_there, units)) or clock.monotonic() > end_s:
                return units
            await asyncio.sleep(POLL_S)

    async def _call(
        self,
        member: str,
        signature: str,
        body: list[Any],
        *,
        path: str = PATH,
        interface: str = f"{NAME}.Manager",
        timeout_s: float = CALL_S,
    ) -> list[Any]:
        from dbus_fast import Message, MessageType

        message = Message(
            destination=NAME, path=path, interface=interface, member=member, signature=signature, body=body
        )
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._bus.call(message)
        except TimeoutError as error:
            raise HostError(
                f"systemd did not answer {member} within {timeout_s:g} s", "see what keeps it busy"
            ) from error
        if reply is None or reply.message_type is MessageType.ERROR:
            name = reply.error_name if reply else "org.freedesktop.DBus.Error.Disconnected"
            raise Refused(name or "", " ".join(map(str, reply.body)) if reply else "the bus hung up")
        return list(reply.body)


def manage(engine: Engine, errand: Callable[[Manager], Awaitable[T]]) -> T:
    """Do an errand with systemd, over a connection of its own. Not to be called on an event loop's own thread.

    Raises HostError for a manager that cannot be reached or refuses, TransientError for one that hung up.
    """
    return asyncio.run(_errand(engine, errand))


async def _errand(engine: Engine, errand: Callable[[Manager], Awaitable[T]]) -> T:
    from dbus_fast import DBusFastError

    bus = await _connected(engine)
    try:
        return await errand(Manager(bus))
    except Refused as refusal:
        raise as_our_error(refusal) from refusal
    except (EOFError, OSError, DBusFastError) as error:
        raise TransientError(f"systemd's bus hung up: {error}", "it is tried again") from error
    finally:
        bus.disconnect()
        with suppress(Exception):  # what ended the connection was told by the call that it ended
            await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # the library has not typed it


async def _connected(engine: Engine) -> MessageBus:
    from dbus_fast import BusType, DBusFastError
    from dbus_fast.aio import MessageBus

    kind = BusType.SYSTEM if engine.scope == "system" else BusType.SESSION
    where = engine.bus or f"the {kind.name.lower()} bus"
    try:
        async with asyncio.timeout(CALL_S):
            return await MessageBus(
                bus_address=engine.bus or None, bus_type=kind, auth_timeout=CALL_S
            ).connect()
    except TimeoutError as error:
        raise HostError(f"{where} did not answer within {CALL_S:g} s", REMEDY_BUS) from error
    except (OSError, EOFError, DBusFastError) as error:
        text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise HostError(f"cannot reach systemd by {where}: {text}", REMEDY_BUS) from error


def as_our_error(refusal: Refused) -> HostError | TransientError:
    if refusal.name in UNAUTHORISED:
        return HostError(f"systemd does not let this daemon do that: {refusal.text}", REMEDY_RIGHTS)
    if refusal.name in PASSING:
        return TransientError(f"systemd gave no answer: {refusal.text}", "it is tried again")
    remedy = REMEDIES.get(refusal.name, "look at it with systemctl status and journalctl")
    return HostError(f"systemd refuses: {refusal.text or refusal.name}", remedy)


@contextmanager
def _where_there_is_one() -> Iterator[None]:
    """What is not loaded need not be stopped, nor forgotten."""
    try:
        yield
    except Refused as refusal:
        if refusal.name != f"{NAME}.NoSuchUnit":
            raise


def _unit(row: list[Any]) -> Unit:
    name, description, load, active, sub, _following, path, job, *_ = row
    return Unit(name, description, load, active, sub, path, job)
