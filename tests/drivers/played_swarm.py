"""A swarm that is played: a manager's API on a real socket, whose instances do at once what a test says.

What a real one does is seen in `tests/engines`; here stand its answers to what seldom happens.
"""

from __future__ import annotations

import base64
import json
import socketserver
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]
BEGAN = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)


class PlayedSwarm:
    """`state`: what new instances come to at once. `refusals`: (word in "METHOD path", status, message), each used up
    by the request that it fits. `hangs`: requests with this word get no answer."""

    def __init__(self, socket: Path) -> None:
        self.host = f"unix://{socket}"
        self.services: dict[str, Json] = {}
        self.tasks: list[Json] = []
        self.nodes = [_node(number) for number in (1, 2, 3)]
        self.networks: list[Json] = [{"Name": "backend", "Id": "network-1", "Scope": "swarm"}]
        self.stored: dict[str, dict[str, Json]] = {"secrets": {}, "configs": {}}
        self.contents: dict[str, bytes] = {}
        """What is in secrets and configs, by name; a real swarm shows it to nobody."""
        self.history = 5
        self.ends = False
        """Whether the instances of a service that is removed end at once."""
        self.state = "running"
        self.error = ""
        self.update = "updating"
        self.moves = 1000
        """How many instances an update replaces before it stops."""
        self.refusals: list[tuple[str, int, str]] = []
        self.hangs = ""
        self.asked: list[str] = []
        self.logins: list[Json] = []
        self.log = b""
        self.released = threading.Event()
        self._made = 0
        self._server = socketserver.ThreadingUnixStreamServer(str(socket), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def service(self) -> Json:
        """The only one."""
        [one] = self.services.values()
        return one

    def writes(self) -> list[str]:
        return [one for one in self.asked if one.startswith("POST /services")]

    def task(
        self,
        slot: int,
        spec: Json,
        *,
        state: str = "",
        wanted: str = "running",
        error: str = "",
        of: str = "",
    ) -> Json:
        """A new task of the only service, or of the one with that id."""
        self._made += 1
        at = (BEGAN + timedelta(seconds=self._made)).isoformat()
        made = {
            "ID": f"task-{self._made}",
            "CreatedAt": at,
            "ServiceID": of or self.service["ID"],
            "Slot": slot,
            "NodeID": f"node-{(slot - 1) % 3 + 1}",
            "DesiredState": wanted,
            "Status": {"State": state or self.state, "Err": error or self.error, "Timestamp": at},
            "Spec": spec["TaskTemplate"],
        }
        self.tasks.append(made)
        return made

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Json) -> tuple[int, Any]:
        for refusal in self.refusals:
            word, status, message = refusal
            if word in f"{method} {path}":
                self.refusals.remove(refusal)
                return status, {"message": message}
        parts = path.strip("/").split("/")
        match method:
            case "GET":
                return 200, self._get(parts, query)
            case "POST":
                return self._post(parts, query, body)
            case _:
                return self._delete(*parts)

    def _get(self, parts: list[str], query: dict[str, list[str]]) -> Any:
        listed: dict[str, Any] = {
            "version": {"ApiVersion": "1.41"},
            "swarm": {"Spec": {"Orchestration": {"TaskHistoryRetentionLimit": self.history}}},
            "services": list(self.services.values()),
            "tasks": self.tasks,
            "nodes": self.nodes,
            "networks": self.networks,
            "distribution": {"Descriptor": {}},
        }
        if parts[-1] == "logs":
            return self.log
        if parts[0] in self.stored:
            wanted = json.loads(query["filters"][0])["label"]
            return [one for one in self.stored[parts[0]].values() if _has(one, wanted)]
        return listed[parts[0]]

    def _post(self, parts: list[str], query: dict[str, list[str]], body: Json) -> tuple[int, Any]:
        if parts[-1] == "update":
            return self._update(parts[1], int(query["version"][0]), body)
        return self._create(body) if parts[0] == "services" else self._store(parts[0], body)

    def _delete(self, kind: str, identity: str) -> tuple[int, Any]:
        if kind != "services":
            return self._discard(kind, identity)
        del self.services[identity]
        for one in self.tasks:
            if one["ServiceID"] == identity and self.ends:
                one["DesiredState"] = one["Status"]["State"] = "shutdown"
        return 200, None

    def _create(self, spec: Json) -> tuple[int, Any]:
        if any(one["Spec"]["Name"] == spec["Name"] for one in self.services.values()):
            return 409, {
                "message": "rpc error: name conflicts with an existing object: service already exists"
            }
        self._made += 1
        identity, at = f"service-{self._made}", (BEGAN + timedelta(seconds=self._made)).isoformat()
        self.services[identity] = {"ID": identity, "Version": {"Index": 1}, "Spec": spec, "CreatedAt": at}
        for slot in range(1, spec["Mode"]["Replicated"]["Replicas"] + 1):
            self.task(slot, spec, of=identity)
        return 201, {"ID": identity}

    def _update(self, identity: str, version: int, spec: Json) -> tuple[int, Any]:
        found = self.services[identity]
        if found["Version"]["Index"] != version:
            return 500, {"message": "rpc error: code = Unknown desc = update out of sequence"}
        found["Spec"] = spec
        found["Version"]["Index"] += 1
        found["UpdateStatus"] = {"State": self.update, "Message": f"update {self.update}"}
        size = spec["UpdateConfig"]["Parallelism"] if spec["UpdateConfig"]["Delay"] else 0
        left = min(size or 1000, self.moves)
        for slot in range(1, spec["Mode"]["Replicated"]["Replicas"] + 1):
            live = [
                one
                for one in self.tasks
                if (one["ServiceID"], one["Slot"], one["DesiredState"]) == (identity, slot, "running")
            ]
            if live and (live[0]["Spec"] == spec["TaskTemplate"] or left == 0):
                continue
            left -= 1
            for one in live:
                one["DesiredState"] = one["Status"]["State"] = "shutdown"
            self.task(slot, spec, of=identity)
        return 200, {"Warnings": None}

    def _store(self, kind: str, body: Json) -> tuple[int, Any]:
        if any(one["Spec"]["Name"] == body["Name"] for one in self.stored[kind].values()):
            return 409, {"message": f"rpc error: {kind[:-1]} {body['Name']} already exists"}
        self._made += 1
        spec = {"Name": body["Name"], "Labels": body["Labels"]}
        self.contents[body["Name"]] = base64.b64decode(body["Data"])
        self.stored[kind][f"{kind}-{self._made}"] = {"ID": f"{kind}-{self._made}", "Spec": spec}
        return 201, {"ID": f"{kind}-{self._made}"}

    def _discard(self, kind: str, identity: str) -> tuple[int, Any]:
        users = [one["Spec"]["Name"] for one in self.services.values() if identity in json.dumps(one["Spec"])]
        if users:
            return 400, {"message": f"rpc error: {kind[:-1]} is in use by the following service: {users[0]}"}
        del self.stored[kind][identity]
        return 204, None


def _has(one: Json, wanted: list[str]) -> bool:
    said = {f"{key}={value}" for key, value in one["Spec"]["Labels"].items()}
    return set(wanted) <= said


def _node(number: int) -> Json:
    return {
        "ID": f"node-{number}",
        "Spec": {"Availability": "active", "Labels": {}},
        "Description": {"Hostname": f"sw{number}"},
        "Status": {"State": "ready", "Addr": f"10.214.0.{number}"},
    }


def _handler(swarm: PlayedSwarm) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def do_DELETE(self) -> None:
            self._answer("DELETE")

        def _answer(self, method: str) -> None:
            url = urlsplit(self.path)
            path = url.path.removeprefix("/v1.41")
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            swarm.asked.append(f"{method} {path}")
            if swarm.hangs and swarm.hangs in f"{method} {path}":
                swarm.released.wait()
                self.close_connection = True
                return
            if login := self.headers.get("X-Registry-Auth"):
                swarm.logins.append(json.loads(base64.urlsafe_b64decode(login)))
            status, answer = swarm.answer(method, path, parse_qs(url.query), json.loads(data or b"{}"))
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(0 if status == 204 else len(body)))
            self.end_headers()
            if status != 204:
                self.wfile.write(body)

        def address_string(self) -> str:
            return "a test"

        def log_message(self, *_: object) -> None: ...

    return Handler
