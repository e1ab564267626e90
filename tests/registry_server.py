"""An HTTP server that stands in for a registry of images: tags in pages, digests, and tokens where it wants them."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, dict[str, str], bytes]


class RegistryServer:
    """`images`: by name, the digest of each tag. `login`: who may read, None: everybody."""

    def __init__(self, *, login: tuple[str, str] | None = None, scheme: str = "Bearer") -> None:
        self.images: dict[str, dict[str, str]] = {}
        self.login = login
        self.scheme = scheme
        self.page = 1000
        self.realm = ""
        self.calls: list[str] = []
        self.next: list[Answer] = []
        """What is answered instead, once each."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def push(self, name: str, *tags: str) -> None:
        """Images under these tags, each with a digest of its own."""
        for tag in tags:
            digest = hashlib.sha256(f"{name}:{tag}".encode()).hexdigest()
            self.images.setdefault(name, {})[tag] = f"sha256:{digest}"

    def answer(self, target: str, authorization: str) -> Answer:
        url = urlsplit(target)
        asked = parse_qs(url.query)
        basic = f"Basic {base64.b64encode(':'.join(self.login).encode()).decode()}" if self.login else ""
        if self.next:
            return self.next.pop(0)
        if url.path == "/token":
            if authorization != basic:
                return 401, {}, b"{}"
            return 200, {}, json.dumps({"token": f"read-{asked['scope'][0]}"}).encode()
        name, what, last = url.path.removeprefix("/v2/").rsplit("/", 2)
        needed = f"Bearer read-repository:{name}:pull" if self.scheme == "Bearer" else basic
        if self.login and authorization != needed:
            realm = self.realm or f"http://{self.host}/token"
            return 401, {"WWW-Authenticate": f'{self.scheme} realm="{realm}",service="stand-in"'}, b"{}"
        known = self.images.get(name)
        if known is None:
            return 404, {}, b'{"errors": [{"code": "NAME_UNKNOWN"}]}'
        if what == "tags":
            return self._tags(name, sorted(known), asked)
        digest = known.get(last)
        return (200, {"Docker-Content-Digest": digest}, b"") if digest else (404, {}, b"")

    def _tags(self, name: str, tags: list[str], asked: dict[str, list[str]]) -> Answer:
        start = tags.index(asked["last"][0]) + 1 if "last" in asked else 0
        found = tags[start : start + min(self.page, int(asked["n"][0]))]
        more = start + len(found) < len(tags)
        onward = f'</v2/{name}/tags/list?n={self.page}&last={found[-1]}>; rel="next"' if more else ""
        return 200, {"Link": onward} if more else {}, json.dumps({"name": name, "tags": found}).encode()


def _handler(registry: RegistryServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            status, headers, body = registry.answer(self.path, self.headers.get("authorization", ""))
            registry.calls.append(f"{self.command} {urlsplit(self.path).path} {status}")
            self.send_response_only(status)
            for key, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = handle_any  # noqa: N815  the library's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
            pass

    return Handler
