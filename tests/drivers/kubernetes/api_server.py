"""A stand-in for a Kubernetes API server: real HTTP, objects in memory, and only as much of the API as is asked.

It keeps what is applied, hands out versions and generations, and lets a test put in what controllers and kubelets
would report. What it does not know of Kubernetes, the engine's suite asks of a real one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

WAIT_S = 20.0
Object = dict[str, Any]


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    token: str


@dataclass
class ApiServer:
    objects: dict[str, Object] = field(default_factory=dict)
    """By path."""
    refusals: dict[str, tuple[int, Object]] = field(default_factory=dict)
    """By `METHOD part-of-the-path`, what is answered instead."""
    logs: dict[str, str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    page: int = 500
    token: str = "secret-token"
    url: str = ""
    watching: int = 0
    """How many watches are open."""

    def __post_init__(self) -> None:
        self._versions = itertools.count(1)
        self._version = "0"
        self._events: list[tuple[str, str, Object]] = []
        self._moved = threading.Condition()
        self._cut = 0

    def put(self, path: str, found: Object) -> Object:
        """An object as it is from now on; whoever watches hears of it."""
        with self._moved:
            kind = "MODIFIED" if path in self.objects else "ADDED"
            self._version = str(next(self._versions))
            found.setdefault("metadata", {})["resourceVersion"] = self._version
            found["metadata"].setdefault("name", path.rpartition("/")[2])
            found["metadata"].setdefault("uid", f"uid-{self._version}")
            self.objects[path] = found
            self._tell(kind, path, found)
        return found

    def drop(self, path: str) -> None:
        with self._moved:
            found = self.objects.pop(path)
            self._version = found["metadata"]["resourceVersion"] = str(next(self._versions))
            self._tell("DELETED", path, found)

    def event(self, plural: str, kind: str, told: Object) -> None:
        """Tell whoever watches something that is no change of an object."""
        with self._moved:
            self._tell(kind, f"/{plural}/", told)

    def cut(self) -> None:
        """End every watch that is open, as a restart of the server would."""
        with self._moved:
            self._cut += 1
            self._moved.notify_all()

    def until_watching(self, count: int) -> None:
        with self._moved:
            assert self._moved.wait_for(lambda: self.watching >= count, WAIT_S)

    def refuse(self, what: str, code: int, message: str, **more: Any) -> None:
        self.refusals[what] = (code, {"kind": "Status", "code": code, "message": message} | more)

    def sent(self, method: str, part: str = "") -> list[Asked]:
        return [one for one in self.asked if one.method == method and part in one.path]

    def _wait_for(self, seen: int, cut: int) -> None:
        self._moved.wait_for(lambda: len(self._events) > seen or self._cut > cut, WAIT_S)

    def _tell(self, kind: str, path: str, found: Object) -> None:
        self._events.append((path, kind, json.loads(json.dumps(found))))
        self._moved.notify_all()

    def answer(self, asked: Asked) -> tuple[int, Object | str]:
        self.asked.append(asked)
        for what, (code, body) in self.refusals.items():
            method, _, part = what.partition(" ")
            if asked.method == method and part in asked.path and asked.query.get("watch") is None:
                return code, body
        if self.token and asked.token != f"Bearer {self.token}":
            return 401, {"message": "Unauthorized"}
        match asked.method:
            case "GET" if asked.path.endswith("/log"):
                return 200, self.logs.get(asked.path.split("/")[-2], "")
            case "GET" if asked.path in self.objects:
                return 200, self.objects[asked.path]
            case "GET" if asked.path.rpartition("/")[2].endswith("s"):
                return 200, self._list(asked)
            case "POST" | "PUT":
                return self._replace(asked)
            case "PATCH" if "apply" in asked.query.get("content", ""):
                return 200, self._apply(asked)
            case "PATCH" if asked.path in self.objects:
                return 200, self._merge(asked)
            case "DELETE" if asked.path in self.objects:
                self.drop(asked.path)
                return 200, {"status": "Success"}
        return 404, {"code": 404, "message": f'"{asked.path.rpartition("/")[2]}" not found'}

    def _list(self, asked: Asked) -> Object:
        with self._moved:
            found = [
                one for path, one in sorted(self.objects.items()) if path.rpartition("/")[0] == asked.path
            ]
            wanted = dict(
                pair.split("=") for pair in asked.query.get("labelSelector", "").split(",") if "=" in pair
            )
            found = [one for one in found if wanted.items() <= one["metadata"].get("labels", {}).items()]
            start = int(asked.query.get("continue", "0"))
            rest = str(start + self.page) if start + self.page < len(found) else ""
            meta = {"resourceVersion": self._version, "continue": rest}
            return {"metadata": meta, "items": found[start : start + self.page]}

    def _apply(self, asked: Asked) -> Object:
        before = self.objects.get(asked.path)
        body: Object = json.loads(json.dumps(asked.body))
        meta = body["metadata"]
        meta["generation"] = (
            before["metadata"]["generation"] + (before["spec"] != body["spec"])
            if before and "spec" in body
            else 1
        )
        others = [] if before is None else before["metadata"].get("managedFields", [])
        named = [f"f:{key}" for key in body["spec"]] if body["kind"] == "Service" else ["f:replicas"]
        mine = {
            "manager": asked.query["fieldManager"],
            "operation": "Apply",
            "fieldsV1": {"f:spec": {key: {} for key in named}},
        }
        meta["managedFields"] = [one for one in others if one["manager"] != "ugs"] + [mine]
        if before:
            meta["uid"] = before["metadata"]["uid"]
            meta["creationTimestamp"] = before["metadata"].get("creationTimestamp")
            body["status"] = before.get("status", {})
            if body["kind"] == "Service":  # what others own of it stays
                body["spec"] = before["spec"] | body["spec"]
                body["spec"]["selector"] = before["spec"]["selector"] | body["spec"]["selector"]
        else:
            meta["creationTimestamp"] = f"2026-11-03T12:00:{len(self.asked) % 60:02}Z"
        return body if asked.query.get("dryRun") else self.put(asked.path, body)

    def _replace(self, asked: Asked) -> tuple[int, Object]:
        """A POST creates what is not there; a PUT replaces what is there still as the body says that it was."""
        meta = asked.body["metadata"]
        path = f"{asked.path}/{meta['name']}" if asked.method == "POST" else asked.path
        before = self.objects.get(path)
        if asked.method == "PUT" and before is None:
            return 404, {"code": 404, "message": "not found"}
        if before and before["metadata"]["resourceVersion"] != meta.get("resourceVersion"):
            return 409, {"code": 409, "reason": "Conflict", "message": "the object has been modified"}
        return 200, self.put(path, asked.body)

    def _merge(self, asked: Asked) -> Object:
        return self.put(asked.path, merged(self.objects[asked.path], asked.body))

    def watch(self, asked: Asked) -> Iterator[bytes]:
        """Lines, from the version that was asked for on, until the watch is cut."""
        plural, since = asked.path.rpartition("/")[2], int(asked.query["resourceVersion"] or 0)
        with self._moved:
            cut, seen, opened = self._cut, 0, len(self._events)
            self.watching += 1
            self._moved.notify_all()
        try:
            while True:
                with self._moved:
                    self._wait_for(seen, cut)
                    told, seen = list(enumerate(self._events))[seen:], len(self._events)
                    if not told and self._cut > cut:
                        return
                for index, (path, kind, found) in told:
                    ours = (
                        path.startswith(f"{asked.path}/")
                        and int(found["metadata"]["resourceVersion"]) > since
                    )
                    if ours or (path == f"/{plural}/" and index >= opened):
                        yield json.dumps({"type": kind, "object": found}).encode() + b"\n"
        finally:
            with self._moved:
                self.watching -= 1
                self._moved.notify_all()


def merged(known: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    known = known if isinstance(known, dict) else {}
    both = known | {key: merged(known.get(key), value) for key, value in patch.items()}
    return {key: value for key, value in both.items() if value is not None}


@contextlib.contextmanager
def serving() -> Iterator[ApiServer]:
    api = ApiServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body leave together, and wait for no acknowledgement

        def log_message(self, *_: object) -> None: ...

        def _handle(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            query["content"] = self.headers.get("Content-Type", "")
            data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            body = json.loads(data) if data else None
            asked = Asked(self.command, parts.path, query, body, self.headers.get("Authorization", ""))
            if query.get("watch"):
                self._stream(asked)
                return
            code, answer = api.answer(asked)
            sent = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def _stream(self, asked: Asked) -> None:
            api.asked.append(asked)
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            with contextlib.suppress(OSError):
                for line in api.watch(asked):
                    self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                    self.wfile.flush()
                self.wfile.write(b"0\r\n\r\n")

        do_GET = do_PATCH = do_DELETE = do_POST = do_PUT = _handle  # noqa: N815 - the base class's names

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield api
    finally:
        api.cut()
        server.shutdown()
        thread.join()
        server.server_close()
