"""An HTTP server that stands in for Slack: it checks what it gets as Slack does, and remembers what it took.

with SlackServer() as slack:
    ...  # notify.slack: token slack.token, channel slack.channel, api slack.api (or webhook slack.webhook)
    slack.wait_for(lambda: len(slack.messages) == 1)
    assert slack.messages[0].replies == [...]
    assert slack.violations == []

`press` gives what Slack sends when a button is pressed; tests.notify.slack_people has the rest of what people do.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.notify.slack_people import pressed
from tests.notify.slack_rules import content_problem, view_problem

BODY_BYTES_MAX = 1_000_000
OPEN = "/api/apps.connections.open"
METHODS = (
    "/api/chat.postMessage",
    "/api/chat.update",
    "/api/chat.postEphemeral",
    "/api/views.open",
    OPEN,
)


@dataclass
class Posted:
    """One message as it stands. `edits` are the texts it had before; `replies` those in its thread."""

    ts: str
    text: str
    blocks: list[Any]
    channel: str = ""
    """Its id; empty for what came through the webhook."""
    edits: list[str] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    broadcasts: list[str] = field(default_factory=list)
    """Replies that were shown in the channel too."""


@dataclass
class Answer:
    """What is said in place of the proper answer."""

    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


class SlackServer:
    """`messages` are those at the top of the channel, of bot and webhook alike, oldest first."""

    token = "xoxb-the-secret-token"
    app_token = "xapp-the-secret-token"
    channel = "#deploys"
    channel_id = "C0DEPLOYS"
    webhook_path = "/services/T000/B000/the-secret-path"

    def __init__(self) -> None:
        self.messages: list[Posted] = []
        self.more_channels: dict[str, str] = {}
        """Other channels that the bot is in, by name, each with its id."""
        self.whispers: list[tuple[str, str]] = []
        """What somebody alone was shown: his id, and the text."""
        self.dialogs: list[dict[str, Any]] = []
        """Every view that was opened."""
        self.socket_url = ""
        """Where Socket Mode is to be had."""
        self.addresses: dict[str, str] = {}
        """The ids of people by their addresses."""
        self.reply_blocks: list[list[Any]] = []
        """Of every reply in a thread, the blocks."""
        self.strangers: set[str] = set()
        """Whom nobody may mention here."""
        self._only: dict[str, list[Answer]] = {}
        self._triggers: set[str] = set()
        self.calls: list[str] = []
        """Every request as `path status`, refused ones included."""
        self.violations: list[str] = []
        """What a client that respects Slack's rules would not have sent."""
        self._changed = threading.Condition()
        self._forced: list[Answer] = []
        self._always: Answer | None = None
        self._clock = 0
        # Bound but never listening: nobody else is given the port while this server is down.
        self._placeholder = socket.socket()
        self._placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._placeholder.bind(("127.0.0.1", 0))
        self.port: int = self._placeholder.getsockname()[1]
        self.api = f"http://127.0.0.1:{self.port}/api/"
        self.webhook = f"http://127.0.0.1:{self.port}{self.webhook_path}"
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.come_up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_down()
        self._placeholder.close()

    def come_up(self) -> None:
        """Listen, at the same port as ever, and answer properly."""
        self._always = None
        if self._server is None:
            self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
            self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
            self._thread.start()

    def go_down(self) -> None:
        """Refuse connections."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = self._thread = None

    def answer_always(self, answer: Answer) -> None:
        """Answer everything so, until `come_up`."""
        self._always = answer

    def answer_next(self, answer: Answer, *, times: int = 1) -> None:
        """Answer the next requests so, and then properly again."""
        self._forced += [answer] * times

    def answer_for(self, path: str, answer: Answer, *, times: int = 1) -> None:
        """Answer the next requests for this path so, and then properly again."""
        self._only.setdefault(path, []).extend([answer] * times)

    def rate_limit(self, retry_after_s: int, *, times: int = 1) -> None:
        """Answer the next requests 429."""
        body = '{"ok":false,"error":"ratelimited"}'
        self.answer_next(Answer(429, body, {"Retry-After": str(retry_after_s)}), times=times)

    def wait_for(self, condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
        """Until the condition holds, looked at after every request."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout_s):
                raise AssertionError(f"not within {timeout_s:g} s; Slack has {self.messages}")

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.messages]

    def texts_in(self, channel: str) -> list[str]:
        """The messages of one channel, which is named as the bot names it."""
        return [message.text for message in self.messages if message.channel == self._channels()[channel]]

    def _channels(self) -> dict[str, str]:
        return {self.channel: self.channel_id} | self.more_channels

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """The whole of Slack, one request at a time."""
        with self._changed:
            only = self._only.get(urlsplit(path).path)
            answer = only.pop(0) if only else self._forced.pop(0) if self._forced else self._always
            if answer is None:
                answer = self._dispatch(method, path, headers, body)
            self.calls.append(f"{path} {answer.status}")
            self._changed.notify_all()
            return answer

    def _dispatch(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        path, query = urlsplit(path).path, urlsplit(path).query
        if path == "/api/users.lookupByEmail":
            return self._lookup(method, headers, query)
        if method != "POST":
            return self._violation("method_not_allowed", status=405)
        fields = self._fields(headers, body)
        if fields is None:
            return self._violation("invalid_arguments", status=400)
        if path == self.webhook_path:
            return self._incoming(fields)
        return self._called(path, headers, fields) if path in METHODS else self._violation("unknown_method")

    def _called(self, path: str, headers: dict[str, str], fields: dict[str, Any]) -> Answer:
        """A method of the Web API."""
        token = self.app_token if path == OPEN else self.token
        if headers.get("authorization") != f"Bearer {token}":
            return _refusal("invalid_auth" if "authorization" in headers else "not_authed")
        if path == OPEN:
            return Answer(200, json.dumps({"ok": True, "url": self.socket_url}))
        if path == "/api/views.open":
            return self._open(fields)
        channels = self._channels()
        if fields.get("channel") not in (*channels, *channels.values()):
            return _refusal("channel_not_found")
        if path == "/api/chat.postEphemeral":
            return self._whisper(fields)
        if problem := content_problem(fields):
            return self._violation(problem)
        return self._post(fields) if path == "/api/chat.postMessage" else self._update(fields)

    def _fields(self, headers: dict[str, str], body: bytes) -> dict[str, Any] | None:
        kind = headers.get("content-type", "").partition(";")[0]
        try:
            if kind == "application/json":
                fields = json.loads(body)
                return fields if isinstance(fields, dict) else None
            if kind == "application/x-www-form-urlencoded":
                form = parse_qs(body.decode(), strict_parsing=True)
                fields = {name: values[-1] for name, values in form.items()}
                return fields | {"blocks": json.loads(fields.get("blocks", "[]"))}
        except ValueError:
            pass
        return None

    def _whisper(self, fields: dict[str, Any]) -> Answer:
        if problem := content_problem({"blocks": []} | fields):
            return self._violation(problem)
        self.whispers.append((fields["user"], fields["text"]))
        return Answer(200, json.dumps({"ok": True, "message_ts": self._next_ts()}))

    def _open(self, fields: dict[str, Any]) -> Answer:
        trigger = fields.get("trigger_id", "")
        if trigger not in self._triggers:
            return _refusal("expired_trigger_id")
        self._triggers.remove(trigger)
        if problem := view_problem(fields.get("view")):
            return self._violation(problem)
        view = fields["view"] | {"id": f"V{len(self.dialogs)}"}
        self.dialogs.append(view)
        return Answer(200, json.dumps({"ok": True, "view": view}))

    def _lookup(self, method: str, headers: dict[str, str], query: str) -> Answer:
        if method != "GET" or headers.get("authorization") != f"Bearer {self.token}":
            return self._violation("invalid_arguments")
        found = self.addresses.get(parse_qs(query).get("email", [""])[0])
        return (
            Answer(200, json.dumps({"ok": True, "user": {"id": found}}))
            if found
            else _refusal("users_not_found")
        )

    def press(self, message: Posted, label: str, user: str) -> dict[str, Any]:
        """What Slack sends when this user presses that button, once he has confirmed it."""
        with self._changed:
            self._clock += 1
            trigger = f"{self._clock}.trigger"
            self._triggers.add(trigger)
        return pressed(message.blocks, label, user, channel=message.channel, trigger=trigger)

    def _incoming(self, fields: dict[str, Any]) -> Answer:
        if problem := content_problem(fields):
            self.violations.append(problem)
            return Answer(400, problem)
        self.messages.append(Posted(self._next_ts(), fields["text"], fields["blocks"]))
        return Answer(200, "ok")

    def _post(self, fields: dict[str, Any]) -> Answer:
        ts, channel = self._next_ts(), self._channels().get(fields["channel"], fields["channel"])
        if "thread_ts" in fields:
            parent = self._find(fields["thread_ts"])
            if parent is None or parent.channel != channel:
                return self._violation("thread_not_found")
            if any(who in json.dumps(fields["blocks"]) for who in self.strangers):
                return self._violation("invalid_blocks")
            parent.replies.append(fields["text"])
            self.reply_blocks.append(fields["blocks"])
            if fields.get("reply_broadcast"):
                parent.broadcasts.append(fields["text"])
        else:
            self.messages.append(Posted(ts, fields["text"], fields["blocks"], channel))
        return self._taken(ts, channel)

    def _update(self, fields: dict[str, Any]) -> Answer:
        if fields["channel"] not in self._channels().values():
            return self._violation("channel_not_found")  # an edit takes an id, never a name
        message = self._find(fields.get("ts", ""))
        if message is None or message.channel != fields["channel"]:
            return _refusal("message_not_found")
        message.edits.append(message.text)
        message.text, message.blocks = fields["text"], fields["blocks"]
        return self._taken(message.ts, message.channel)

    def _find(self, ts: str) -> Posted | None:
        return next((message for message in self.messages if message.ts == ts), None)

    def _next_ts(self) -> str:
        self._clock += 1
        return f"1790000000.{self._clock:06}"

    def _taken(self, ts: str, channel: str) -> Answer:
        return Answer(200, json.dumps({"ok": True, "channel": channel, "ts": ts}))

    def _violation(self, error: str, *, status: int = 200) -> Answer:
        self.violations.append(error)
        return _refusal(error, status=status)


def _refusal(error: str, *, status: int = 200) -> Answer:
    return Answer(status, json.dumps({"ok": False, "error": error}))


def _handler(slack: SlackServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length", 0)), BODY_BYTES_MAX)
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = slack.answer(self.command, self.path, headers, self.rfile.read(length))
            body = answer.body.encode(errors="surrogateescape")
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if "Content-Type" not in answer.headers:
                kind = "application/json" if body.startswith(b"{") else "text/html"
                self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815  the name is http.server's

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is http.server's
            """The test says what matters."""

    return Handler
