"""The cache of the Kubernetes driver: a list, and watches that keep it true, whatever happens to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from reconciler.drivers.kubernetes import cache
from reconciler.drivers.kubernetes.access import Access
from reconciler.drivers.kubernetes.api import Api
from reconciler.drivers.kubernetes.cache import Feed
from reconciler.drivers.kubernetes.objects import Named
from reconciler.model.codec import decode
from reconciler.model.errors import HostError
from tests.drivers.kubernetes.api_server import ApiServer, serving

PODS = "/api/v1/namespaces/shop/pods"
PATIENCE_S = 20.0


def named(data: bytes, _before: str | None) -> tuple[str, str, str]:
    found = decode(bytes(data), Named).metadata
    return found.name, found.resource_version, found.labels.get("is", "")


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving() as api:
        yield api


@pytest.fixture
def feed(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Feed[str]]:
    monkeypatch.setattr(cache, "RETRY_S", 0.01)
    api = Api(Access(server.url, None, lambda _anew: server.token))
    made = Feed(api, "v1", "pods", "shop", "ugs/service", named)
    yield made
    made.end()
    server.cut()
    api.close()


def until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "it did not come to be"
        time.sleep(0.01)


def pod(server: ApiServer, name: str, state: str = "well") -> None:
    server.put(f"{PODS}/{name}", {"metadata": {"labels": {"is": state}}})


def test_what_is_there_is_listed_in_pages_and_what_changes_is_heard(
    server: ApiServer, feed: Feed[str]
) -> None:
    server.page = 2
    for name in ("a", "b", "c"):
        pod(server, name)
    assert feed.read() == {"a": "well", "b": "well", "c": "well"}
    pod(server, "d")
    pod(server, "a", "ill")
    server.drop(f"{PODS}/b")
    until(lambda: feed.read() == {"a": "ill", "c": "well", "d": "well"})
    assert [one.query.get("continue") for one in server.sent("GET") if "watch" not in one.query] == [
        None,
        "2",
    ]


def test_reading_again_and_again_asks_the_server_nothing(server: ApiServer, feed: Feed[str]) -> None:
    pod(server, "a")
    feed.read()
    server.until_watching(1)
    for _ in range(100):
        feed.read()
    assert len(server.asked) == 2  # the list and the watch


def test_a_watch_that_breaks_off_is_taken_up_where_it_was(server: ApiServer, feed: Feed[str]) -> None:
    pod(server, "a")
    feed.read()
    server.until_watching(1)
    server.event("pods", "BOOKMARK", {"metadata": {"resourceVersion": "7"}})
    server.cut()
    until(lambda: len([one for one in server.sent("GET") if "watch" in one.query]) > 1)
    until(
        lambda: (
            [one.query["resourceVersion"] for one in server.sent("GET") if "watch" in one.query][-1] == "7"
        )
    )
    assert len([one for one in server.sent("GET") if "watch" not in one.query]) == 1


def test_a_version_that_is_too_old_has_everything_listed_again(server: ApiServer, feed: Feed[str]) -> None:
    pod(server, "a")
    feed.read()
    server.until_watching(1)
    del server.objects[f"{PODS}/a"]  # behind the watch's back
    server.event("pods", "ERROR", {"kind": "Status", "code": 410, "message": "too old", "metadata": {}})
    until(lambda: feed.read() == {})


def test_what_is_older_than_the_bound_is_asked_for_or_refused(
    server: ApiServer, feed: Feed[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pod(server, "a")
    feed.read()
    server.until_watching(1)
    monkeypatch.setattr(cache, "STALE_S", 0.0)
    server.refuse("GET /pods", 503, "etcd has no leader")
    with pytest.raises(Exception, match="cannot list pods in shop: etcd has no leader"):
        feed.read()
    server.refusals.clear()
    assert feed.read() == {"a": "well"}


def test_a_server_that_is_gone_is_an_error_and_not_an_empty_namespace(
    server: ApiServer, feed: Feed[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.drivers.kubernetes.api.CONNECT_S", 0.5)
    unreachable = Feed(
        Api(Access("http://127.0.0.1:9", None, lambda _anew: "")), "v1", "pods", "shop", "", named
    )
    with pytest.raises(HostError, match=r"the API server .* does not answer"):
        unreachable.read()


def test_what_a_call_of_ours_has_answered_is_known_before_the_watch_tells_it(
    server: ApiServer, feed: Feed[str]
) -> None:
    feed.read()
    feed.put("mine", "well")
    assert feed.read() == {"mine": "well"}
    feed.put("mine", None)
    assert feed.read() == {}


def test_a_watch_that_nobody_reads_ends(
    server: ApiServer, feed: Feed[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.read()
    server.until_watching(1)
    monkeypatch.setattr(cache, "IDLE_S", 0.0)
    server.cut()
    until(lambda: server.watching == 0 and not _alive(feed))
    monkeypatch.setattr(cache, "IDLE_S", 900.0)
    pod(server, "a")
    until(lambda: feed.read() == {"a": "well"})


def _alive(feed: Feed[str]) -> bool:
    thread = feed._thread
    return thread is not None and thread.is_alive()
