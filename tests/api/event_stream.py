"""A client of `/events`, as a program would be one."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

TIMEOUT_S = 30


class Event(NamedTuple):
    """One event; `id` as it was sent, empty where it has none."""

    name: str
    id: str
    data: Any


class EventStream:
    """One open stream. Every read fails after half a minute without a byte."""

    def __init__(
        self,
        port: int,
        token: str | None,
        path: str = "/events",
        *,
        last: str | None = None,
        headers: Mapping[str, str] = {},
    ) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        own = {"Authorization": f"Bearer {token}"} if token else {}
        more = {"Last-Event-ID": last} if last is not None else {}
        self._connection.request("GET", path, headers={**own, **more, **headers})
        self.answer = self._connection.getresponse()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.answer.close()
        self._connection.close()

    def __iter__(self) -> Iterator[Event]:
        """Until the server ends it."""
        fields: dict[str, str] = {}
        for line in self.answer:
            key, _, value = line.decode().rstrip("\n").partition(": ")
            if key:
                fields[key] = value
            elif "data" in fields:
                yield Event(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
                fields = {}

    def until(self, name: str, **wanted: object) -> Event:
        """The next event of this name whose data has these values."""
        for event in self:
            if event.name == name and wanted.items() <= event.data.items():
                return event
        raise AssertionError(f"the stream ended before a {name} with {wanted}")
