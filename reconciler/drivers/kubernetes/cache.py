"""What one namespace holds, kept up to date by watches, so that observing asks the API server nothing.

Each kind is listed once and watched from that version on. A watch is asked for WATCH_S at a time, and whatever
comes of it (an event, a bookmark, its regular end) proves that the server still talks to us: what `read` gives is
at most STALE_S old, or it lists anew, or it raises.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from reconciler.clock import SystemClock
from reconciler.drivers.kubernetes.api import Api, Gone, path_of
from reconciler.drivers.kubernetes.objects import EVENTS, LISTED, NAMED, Event
from reconciler.model.errors import UgsError

WATCH_S = 20
SILENCE_S = WATCH_S + 5.0
STALE_S = WATCH_S + 10.0
IDLE_S = 900.0
"""A watch that nobody has read for so long ends: the environment is gone."""
RETRY_S = 0.2
RETRY_MAX_S = 10.0
PAGE = 500
NAME = "kubernetes-watch"
CLOCK = SystemClock()

T = TypeVar("T")
Decode = Callable[[bytes, "T | None"], tuple[str, str, T]]
"""(JSON of an object, the same as it was last seen) -> name, resource version, what is kept of it."""


class Feed(Generic[T]):
    """One kind of object in one namespace."""

    def __init__(
        self, api: Api, group: str, plural: str, namespace: str, selector: str, decode: Decode[T]
    ) -> None:
        self._api, self._path, self._decode = api, path_of(group, plural, namespace), decode
        self._query = {"labelSelector": selector} if selector else {}
        self._what = f"{plural} in {namespace}"
        self._lock = threading.Lock()
        self._kept: dict[str, T] = {}
        self._version = ""
        self._lists = 0
        """How often everything was listed: a watch from before the last time has no say any more."""
        self._alive_s = float("-inf")
        self._read_s = CLOCK.monotonic()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def read(self) -> dict[str, T]:
        """By name, at most STALE_S old. Raises what `Api.call` raises."""
        self._read_s = CLOCK.monotonic()
        if self._read_s - self._alive_s > STALE_S:
            self.refresh()
        if self._thread is None or not self._thread.is_alive():
            self._start()
        with self._lock:
            return dict(self._kept)

    def refresh(self) -> None:
        """List everything now."""
        kept, version, began_s = self._listed()
        with self._lock:
            self._kept, self._version, self._alive_s = kept, version, began_s
            self._lists += 1

    def put(self, name: str, value: T | None) -> None:
        """What a call of our own has just answered, which the watch will tell later."""
        with self._lock:
            if value is None:
                self._kept.pop(name, None)
            else:
                self._kept[name] = value

    def end(self) -> None:
        """Without waiting for the watch to notice."""
        self._ended.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._follow, name=NAME, daemon=True)
                self._thread.start()

    def _follow(self) -> None:
        """Watch for ever; what goes wrong is told to whoever reads, once what is kept is too old."""
        pause_s = RETRY_S
        while not self._ended.is_set() and CLOCK.monotonic() - self._read_s < IDLE_S:
            try:
                self._watch()
                pause_s = RETRY_S
            except Gone:
                with self._lock:
                    self._alive_s = float("-inf")
                self._relist()
            except UgsError:
                self._ended.wait(pause_s)
                pause_s = min(pause_s * 2, RETRY_MAX_S)

    def _relist(self) -> None:
        try:
            self.refresh()
        except UgsError:
            self._ended.wait(RETRY_S)

    def _watch(self) -> None:
        with self._lock:
            version, lists = self._version, self._lists
        query = self._query | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_S),
        }
        began_s = CLOCK.monotonic()
        with self._api.stream(f"watch {self._what}", self._path, query, SILENCE_S) as lines:
            self._heard(began_s, lists)
            for line in lines:
                if self._ended.is_set() or not self._take(EVENTS.decode(line), lists):
                    return
        self._heard(CLOCK.monotonic(), lists)

    def _heard(self, at_s: float, lists: int) -> None:
        with self._lock:
            if lists == self._lists:
                self._alive_s = max(self._alive_s, at_s)

    def _take(self, event: Event, lists: int) -> bool:
        """Whether the watch goes on."""
        if event.type == "ERROR":
            raise Gone(f"the watch of {self._what} has ended", "it is listed again")
        with self._lock:
            if lists != self._lists:
                return False
            if event.type == "BOOKMARK":
                self._version = NAMED.decode(event.object).metadata.resource_version
            else:
                self._apply(event)
            self._alive_s = CLOCK.monotonic()
        return True

    def _apply(self, event: Event) -> None:
        before = self._kept.get(_name(event.object))
        name, self._version, value = self._decode(event.object, before)
        if event.type == "DELETED":
            self._kept.pop(name, None)
        else:
            self._kept[name] = value

    def _listed(self) -> tuple[dict[str, T], str, float]:
        began_s, kept, query = CLOCK.monotonic(), dict[str, T](), self._query | {"limit": str(PAGE)}
        while True:
            body = self._api.call(f"list {self._what}", "GET", self._path, query=query)
            page = LISTED.decode(body)
            for raw in page.items:
                name, _, value = self._decode(raw, self._kept.get(_name(raw)))
                kept[name] = value
            if not page.metadata.next:
                return kept, page.metadata.resource_version, began_s
            query = query | {"continue": page.metadata.next}


def _name(raw: msgspec.Raw) -> str:
    return NAMED.decode(raw).metadata.name
