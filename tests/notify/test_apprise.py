"""E-mail and JSON webhooks through the real Apprise, against servers of our own on this machine."""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from reconciler.model.errors import HostError
from reconciler.notify import AppriseChannel, Outbox
from reconciler.store import Store
from tests.notify.mail_server import MailServer
from tests.notify.notices import alert, notice
from tests.store.builders import START, HandClock

MAIL = "ops-mail"


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


def outbox(store: Store, clock: HandClock, url: str, timeout_s: float = 30.0) -> Outbox:
    store.route_by(lambda _notice: (MAIL,))
    return Outbox(store, AppriseChannel(MAIL, url, timeout_s=timeout_s), now=clock.now, channel=MAIL)


async def test_an_upgrade_is_a_mail_for_each_phase_and_each_call_for_help(
    store: Store, clock: HandClock, mail: MailServer
) -> None:
    box = outbox(store, clock, mail.url)
    for told in (
        notice("probing"),
        notice("1 of 3 probes pass"),
        notice("probes cannot be made", severity="person"),
        alert("the disk is full", severity="warning"),
    ):
        store.tell(told)
        assert await box.deliver() is None
    assert [one["Subject"] for one in mail.received] == [
        "production: api 1.4.0 → 1.5.0 — verifying",
        "A person is needed: production: api 1.4.0 → 1.5.0 — verifying",
        "production: api",
    ]
    assert "2026-11-22 10:00:00 UTC  probing" in mail.parts()[0][1]
    assert store.pending(MAIL) == 0


@pytest.mark.fault("NT-02")
async def test_what_comes_from_git_is_only_text_in_a_mail(
    store: Store, clock: HandClock, mail: MailServer
) -> None:
    box = outbox(store, clock, mail.url)
    store.tell(notice("<script>alert(1)</script> & <b>", title="a\r\nBcc: evil@example.org"))
    assert await box.deliver() is None
    (told,) = mail.received
    assert told["Bcc"] is None
    assert mail.parts(), "there is something to read"
    for kind, text in mail.parts():
        assert kind == "text/plain" or "<script>" not in text


@pytest.mark.fault("NT-01")
async def test_a_mail_server_that_refuses_is_tried_again(
    store: Store, clock: HandClock, mail: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    box = outbox(store, clock, mail.url.replace("mailto://", "mailto://user:hunter2@"))
    mail.refusal = "451 try hunter2 again"
    store.tell(alert("help"))
    assert await box.deliver() == START + timedelta(seconds=1)
    assert store.trouble(MAIL).startswith("ops-mail: not taken: ")
    assert "hunter2" not in store.trouble(MAIL) + caplog.text


@pytest.mark.fault("NT-01")
async def test_a_server_that_hangs_holds_up_nothing_for_long_and_gets_one_call_at_a_time(
    store: Store, clock: HandClock
) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)  # and never answers
        url = f"mailto://127.0.0.1:{listening.getsockname()[1]}?from=a@b.example&to=c@d.example&mode=insecure&cto=60"
        box = outbox(store, clock, url, timeout_s=0.2)
        store.tell(alert("help"))
        assert await box.deliver() == START + timedelta(seconds=1)
        assert store.trouble(MAIL) == "ops-mail: no answer within 0.2 s"
        clock.move(1)
        assert await box.deliver() == clock.now() + timedelta(seconds=2)
        assert store.trouble(MAIL) == "ops-mail has not yet taken the message before"


async def test_a_json_webhook_gets_title_text_and_severity(store: Store, clock: HandClock) -> None:
    got: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is http.server's
            """The test says what matters."""

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        box = outbox(store, clock, f"json://127.0.0.1:{server.server_port}/hook")
        store.tell(alert("help"))
        assert await box.deliver() is None
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    (hook,) = got
    assert (hook["title"], hook["type"]) == ("A person is needed: production: api", "failure")
    assert hook["message"] == "2026-11-22 10:00:00 UTC  help"


def test_a_url_that_apprise_does_not_know_is_refused_at_the_start_and_not_shown() -> None:
    with pytest.raises(HostError, match=r"notify\.apprise\.ops-mail: Apprise does not know") as caught:
        AppriseChannel(MAIL, "nosuch://hunter2@example.org")
    assert "hunter2" not in repr(caught.value)


def test_without_the_extra_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(
        HostError, match=r"needs Apprise, which is not installed; pip install 'ugs\[apprise\]'"
    ):
        AppriseChannel(MAIL, "json://127.0.0.1")


async def test_a_plugin_that_breaks_ends_nothing(
    store: Store, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    import apprise

    def broken(*_args: object, **_named: object) -> None:
        raise ZeroDivisionError("hunter2")

    monkeypatch.setattr(apprise.Apprise, "notify", broken)
    box = outbox(store, clock, "json://127.0.0.1")
    store.tell(alert("help"))
    assert await box.deliver() == START + timedelta(seconds=1)
    assert store.trouble(MAIL) == "ops-mail: Apprise failed: ZeroDivisionError"
