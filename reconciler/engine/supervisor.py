"""Telling systemd that we are ready, alive, or about to end: its notify protocol, a datagram a message."""

from __future__ import annotations

import logging
import socket

from reconciler.clock import Clock
from reconciler.config import Settings

log = logging.getLogger("ugs")
IDLE_S = 3600.0


class Supervisor:
    """Does nothing where nobody supervises."""

    def __init__(self, settings: Settings) -> None:
        self._address = settings.notify_socket
        self._interval_s = settings.watchdog_s / 2 if settings.watchdog_s else None

    def say(self, message: str) -> None:
        """Send one message such as READY=1; a supervisor that is gone is no reason to stop."""
        if self._address is None:
            return
        # A leading @ names a socket in the abstract namespace.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            try:
                channel.sendto(message.encode(), address)
            except OSError as error:
                log.warning("the supervisor could not be told %s: %s", message, error)

    async def keep_alive(self, clock: Clock) -> None:
        """From the event loop, so that a loop that hangs is noticed and started again."""
        while True:
            if self._interval_s:
                self.say("WATCHDOG=1")
            await clock.sleep(self._interval_s or IDLE_S)
