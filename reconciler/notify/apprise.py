"""E-mail, and whatever else Apprise knows: an extra, `pip install 'ugs[apprise]'`.

Apprise blocks, and may hang: each message is sent by a thread of its own that nobody waits for longer than a while,
at most one at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

from reconciler.model.errors import HostError
from reconciler.model.notice import Notice, Severity
from reconciler.model.redaction import redacted
from reconciler.notify import message
from reconciler.notify.sender import Teller, Undelivered

if TYPE_CHECKING:
    from apprise import Apprise

SEND_TIMEOUT_S = 30.0
WHY_CHARS_MAX = 300
TYPES: dict[Severity, str] = {"info": "info", "warning": "warning", "person": "failure"}
"""What Apprise calls our severities."""


class AppriseChannel(Teller):
    """`name`: what ugs.yaml calls it; `url`: where it goes, which is a secret.

    Raises HostError where Apprise is not installed, or does not know such a URL.
    """

    def __init__(self, name: str, url: str, *, timeout_s: float = SEND_TIMEOUT_S) -> None:
        try:
            from apprise import Apprise
        except ImportError as error:
            raise HostError(
                f"notify.apprise.{name} needs Apprise, which is not installed", "pip install 'ugs[apprise]'"
            ) from error
        # It warns in its own words, of which no one has taken the secrets out.
        logging.getLogger("apprise").propagate = False
        self._name = name
        self._secrets = [part for part in re.split(r"[/:@?&=,]+", url) for part in (part, unquote(part))]
        self._timeout_s = timeout_s
        self._thread: threading.Thread | None = None
        self._apprise: Apprise = Apprise()
        if not _added(self._apprise, url):
            raise HostError(
                f"notify.apprise.{name}: Apprise does not know such a URL",
                "look its form up in Apprise's documentation, and correct the secret",
            )

    async def say(self, notices: Sequence[Notice]) -> None:
        await self._deliver(*message.plain(notices), notices[-1].severity)

    async def sum_up(self, notices: Sequence[Notice]) -> None:
        await self._deliver(*message.plain_digest(notices), "info")

    async def _deliver(self, title: str, body: str, severity: Severity) -> None:
        if self._thread and self._thread.is_alive():
            raise Undelivered(f"{self._name} has not yet taken the message before", whole_channel=True)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()

        def settle(why: str) -> None:
            if not answer.done():
                answer.set_result(why)

        def work() -> None:
            why = self._send(title, body, severity)
            with contextlib.suppress(RuntimeError):  # nobody is there any more to hear it
                loop.call_soon_threadsafe(settle, why)

        # Not one of the loop's own threads, on which everything waits that blocks; the process may end with it.
        self._thread = threading.Thread(target=work, name=f"apprise {self._name}", daemon=True)
        self._thread.start()
        try:
            async with asyncio.timeout(self._timeout_s):
                why = await answer
        except TimeoutError:
            why = f"no answer within {self._timeout_s:g} s"
        if why:
            raise Undelivered(f"{self._name}: {why}", whole_channel=True)

    def _send(self, title: str, body: str, severity: Severity) -> str:
        """Why it could not be sent; empty when it was. Blocks."""
        try:
            result = self._apprise.notify(
                body=body, title=title, notify_type=TYPES[severity], body_format="text"
            )
            said = "" if result else " ".join(entry.message for entry in result.logs())
        except Exception as error:  # a plugin by whomever; it must not end the daemon
            return f"Apprise failed: {type(error).__name__}"
        if result:
            return ""
        return f"not taken: {message.readable(redacted(said, self._secrets), WHY_CHARS_MAX)}"


def _added(apprise: Apprise, url: str) -> bool:
    """Whether it knows such a URL. It loads its hundred plugins now, some of which are deprecated in parts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return bool(apprise.add(url))
