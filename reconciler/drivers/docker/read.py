"""What containers wrote, put together by time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from reconciler.drivers.docker.seen import Seen

if TYPE_CHECKING:
    from reconciler.drivers.docker.session import Client

LINES_MAX = 10_000
CONTAINERS_MAX = 50
BYTES_MAX = 1024 * 1024


def merged(client: Client, found: list[Seen], lines: int) -> list[str]:
    """The last `lines` lines of all of them, at most 10,000, the oldest first."""
    count = min(lines, LINES_MAX)
    if count <= 0:
        return []
    several = len({one.mark.index for one in found}) > 1
    stamped: list[tuple[str, str]] = []
    for one in sorted(found, key=lambda one: one.is_alive)[-CONTAINERS_MAX:]:
        text = _tail(client.logs(one.id, tail=count, timestamps=True, stream=True, follow=False))
        label = f"{one.mark.index}: " if several else ""
        stamped += [(stamp, label + line) for stamp, line in stamps(text)]
    return [line for _, line in sorted(stamped, key=lambda pair: pair[0])[-count:]]


def stamps(text: str) -> Iterable[tuple[str, str]]:
    """Each line's time, as text that sorts, and what it says."""
    for line in text.splitlines():
        stamp, _, said = line.partition(" ")
        yield stamp, said


def _tail(stream: Iterable[bytes]) -> str:
    kept = bytearray()
    for part in stream:
        kept += part
        del kept[:-BYTES_MAX]
    return kept.decode(errors="replace")
