"""Asking a registry for tags and digests: in pages, signed in or not, and when it misbehaves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconciler.model.errors import HostError, TransientError, UgsError
from reconciler.registry import BODY_BYTES_MAX, Login, Registry, name_in
from tests.registry_server import RegistryServer


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as one:
        one.push("ops/api", "1.0.0", "1.1.0", "latest")
        yield one


@pytest.fixture
def registry(server: RegistryServer) -> Iterator[Registry]:
    one = Registry(server.host)
    yield one
    one.close()


def test_tags_come_in_pages(server: RegistryServer, registry: Registry) -> None:
    server.page = 2
    assert registry.tags("ops/api") == ("1.0.0", "1.1.0", "latest")
    assert server.calls == ["GET /v2/ops/api/tags/list 200"] * 2


def test_a_tag_has_a_digest(server: RegistryServer, registry: Registry) -> None:
    assert registry.digest("ops/api", "1.1.0") == server.images["ops/api"]["1.1.0"]
    with pytest.raises(UgsError, match="has no ops/api"):
        registry.digest("ops/api", "9.9.9")


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
def test_who_asks_is_said_where_it_wants_to_know(scheme: str) -> None:
    with RegistryServer(login=("ugs", "hunter2"), scheme=scheme) as server:
        server.push("ops/api", "1.0.0")
        registry = Registry(server.host, Login("ugs", lambda: "hunter2"))
        assert registry.tags("ops/api") == ("1.0.0",)
        assert registry.digest("ops/api", "1.0.0")
        assert [call for call in server.calls if call.startswith("HEAD")] == [
            "HEAD /v2/ops/api/manifests/1.0.0 200"
        ]
        wrong = Registry(server.host, Login("ugs", lambda: "guess"))
        with pytest.raises(HostError, match="registries") as caught:
            wrong.tags("ops/api")
        assert "guess" not in str(caught.value)
        with pytest.raises(HostError):
            Registry(server.host).tags("ops/api")


def test_a_token_is_asked_of_nobody_in_the_clear() -> None:
    with RegistryServer(login=("ugs", "hunter2")) as server, RegistryServer() as thief:
        server.push("ops/api", "1.0.0")
        server.realm = f"http://{thief.host}/token"
        with pytest.raises(UgsError, match="in no known way"):
            Registry(server.host, Login("ugs", lambda: "hunter2")).tags("ops/api")
        assert thief.calls == []


def test_the_next_page_is_never_elsewhere(server: RegistryServer, registry: Registry) -> None:
    server.next = [(200, {"Link": '<http://127.0.0.1:1/v2/x>; rel="next"'}, b'{"tags": ["1.0.0"]}')]
    with pytest.raises(UgsError, match="elsewhere"):
        registry.tags("ops/api")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((500, {}, b""), TransientError),
        ((429, {}, b""), TransientError),
        ((403, {}, b""), HostError),
        ((404, {}, b""), UgsError),
        ((302, {"Location": "http://127.0.0.1:1/"}, b""), UgsError),
        ((200, {}, b"<html>"), UgsError),
        ((200, {}, b"[" * 100_000), UgsError),
        ((200, {}, b" " * (BODY_BYTES_MAX + 1)), UgsError),
    ],
)
def test_what_it_answers_instead_has_a_fate(
    server: RegistryServer,
    registry: Registry,
    answer: tuple[int, dict[str, str], bytes],
    kind: type[UgsError],
) -> None:
    server.next = [answer]
    with pytest.raises(UgsError) as caught:
        registry.tags("ops/api")
    assert type(caught.value) is kind


def test_a_registry_that_is_not_there_may_come_back() -> None:
    with RegistryServer() as server:
        host = server.host
    with pytest.raises(TransientError, match="cannot be asked"):
        Registry(host).tags("ops/api")


def test_a_digest_that_is_none_is_refused(server: RegistryServer, registry: Registry) -> None:
    server.next = [(200, {"Docker-Content-Digest": "sha256:xyz"}, b"")]
    with pytest.raises(UgsError, match="does not say which digest"):
        registry.digest("ops/api", "1.0.0")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("registry.example/ops/api@sha256:0", ("registry.example", "ops/api")),
        ("registry.example:5000/api:1.0@sha256:0", ("registry.example:5000", "api")),
        ("localhost/api@sha256:0", ("localhost", "api")),
        ("nginx@sha256:0", ("docker.io", "library/nginx")),
        ("grafana/grafana:11@sha256:0", ("docker.io", "grafana/grafana")),
    ],
)
def test_an_image_s_name_says_where_it_is(image: str, expected: tuple[str, str]) -> None:
    assert name_in(image) == expected


def test_the_hub_is_asked_where_its_api_is() -> None:
    assert Registry("docker.io")._base == "https://registry-1.docker.io"
    assert Registry("registry.example:5000")._base == "https://registry.example:5000"
    assert Registry("localhost:5000")._base == "http://localhost:5000"
