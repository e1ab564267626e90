"""An SMTP server on this machine that stands in for a provider's: it keeps what it took.

with MailServer() as mail:
    ...  # notify.apprise: mail.url
    assert mail.received == [...]
"""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message
from email.policy import default
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.drivers.services import free_port


class MailServer:
    """`refusal`: what every message is answered with, where that is set."""

    def __init__(self) -> None:
        self.received: list[Message] = []
        self.refusal = ""
        self.port = free_port()
        self.url = f"mailto://127.0.0.1:{self.port}?from=ugs@example.org&to=ops@example.org&mode=insecure"
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._controller.stop()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's
        if self.refusal:
            return self.refusal
        content: Any = envelope.content
        self.received.append(message_from_bytes(content, policy=default))
        return "250 taken"

    def parts(self) -> list[tuple[str, str]]:
        """All that a reader may see, by its media type."""
        return [
            (part.get_content_type(), bytes(part.get_payload(decode=True)).decode())
            for one in self.received
            for part in one.walk()
            if not part.is_multipart()
        ]
