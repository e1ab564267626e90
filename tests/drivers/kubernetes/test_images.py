"""Whether an image exists, as its registry says."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import pytest

from reconciler.drivers.base import Registry
from reconciler.drivers.kubernetes import images
from reconciler.model.errors import ArtifactError
from tests.build import work

DIGEST = "sha256:" + "a" * 64


class Guarded(BaseHTTPRequestHandler):
    """A registry that has one image, behind a password."""

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        wanted = "Basic " + base64.b64encode(b"me:pw").decode()
        if "open" not in self.path and self.headers.get("Authorization") != wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="r"')
        else:
            self.send_response(200 if "there" in self.path else 404)
        self.end_headers()


@pytest.fixture
def registry() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_image_that_its_registry_has_not_can_never_be_right(registry: str) -> None:
    logins = {registry: Registry("me", lambda: "pw")}
    images.check(f"{registry}/open/there@{DIGEST}", {}, work())
    images.check(f"{registry}/there:1.0@{DIGEST}", logins, work())
    for name in ("open/gone", "gone"):
        with pytest.raises(ArtifactError, match=f"{registry} has no {name}@{DIGEST}; push it"):
            images.check(f"{registry}/{name}@{DIGEST}", logins, work())


def test_a_registry_that_does_not_answer_to_us_proves_nothing(registry: str) -> None:
    images.check(f"{registry}/gone@{DIGEST}", {}, work())
    images.check(f"127.0.0.1:9/gone@{DIGEST}", {}, work())


def test_a_token_is_fetched_where_the_registry_asks_for_one() -> None:
    class Answer:
        def read(self, _amount: int) -> bytes:
            return answers.pop(0)

        def close(self) -> None: ...

    class Pool:
        def request(self, method: str, url: str, **how: Any) -> Answer:
            asked.append((method, url, how))
            return Answer()

    asked: list[Any] = []
    challenge = 'Bearer realm="https://auth.example/token",service="r",scope="repository:a:pull"'
    answers = [b'{"token": "t"}', b"{}", b"x"]
    got = [images._signed(cast(Any, Pool()), challenge, Registry("me", lambda: "pw")) for _ in range(3)]
    assert got == [{"Authorization": "Bearer t"}, {}, {}]
    [(method, url, how), *_] = asked
    assert (method, url, how["fields"]) == (
        "GET",
        "https://auth.example/token",
        {"service": "r", "scope": "repository:a:pull"},
    )
    assert how["headers"]["authorization"].startswith("Basic ")


def test_the_parts_of_a_reference() -> None:
    assert images.parts(f"nginx@{DIGEST}") == ("docker.io", "library/nginx", DIGEST)
    assert images.parts(f"team/api:1.0@{DIGEST}") == ("docker.io", "team/api", DIGEST)
    assert images.parts(f"localhost/api@{DIGEST}") == ("localhost", "api", DIGEST)
    assert images.parts(f"r.example:5000/a/b@{DIGEST}") == ("r.example:5000", "a/b", DIGEST)
    with pytest.raises(ValueError, match="has no digest"):
        images.parts("api:latest")
