"""A server that answers queries as Prometheus does, with what a test says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

Said = float | str | None


class PrometheusServer:
    """`say`: what a query gives: a number, None for no data, or text for an error that Prometheus reports."""

    def __init__(self) -> None:
        self.say: Callable[[str], Said] = lambda _query: None
        self.queries: list[str] = []
        self.tokens: set[str | None] = set()
        self.down = False
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/prefix/api/v1/query"
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                told.tokens.add(self.headers.get("Authorization"))
                status, reply = told.answer(parse_qs(body)["query"][0])
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(reply).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/prefix/"

    def answer(self, query: str) -> tuple[int, Any]:
        self.queries.append(query)
        if self.down:
            return 503, "the proxy's own words"
        said = self.say(query)
        if isinstance(said, str):
            return 400, {"status": "error", "errorType": "bad_data", "error": said}
        result = [] if said is None else [{"metric": {"job": "api"}, "value": [1762300800.1, str(said)]}]
        return 200, {"status": "success", "data": {"resultType": "vector", "result": result}}


@contextmanager
def prometheus_server() -> Iterator[PrometheusServer]:
    served = PrometheusServer()
    thread = Thread(target=served.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        served.server.shutdown()
        served.server.server_close()
        thread.join()
