"""Many blobs by one `cat-file --batch` at a time: to wait for each answer costs more than to read it.

While one portion is looked at, git reads the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from reconciler.git.call import Git, checked
from reconciler.model.errors import HostError
from reconciler.model.layout import File

AT_ONCE_MAX = 2_000
AT_ONCE_BYTES_MAX = 8 << 20
"""So many and so much in one portion; two of them may be in memory."""
FEW = 20
"""So few are asked for one by one: a process more would cost more."""


class Ahead:
    """The blobs that are about to be wanted, in about this order; `one` reads what is wanted beside them or not here.

    Used by one thread. `told` hears how many have been read, of how many.
    """

    def __init__(
        self,
        git: Git,
        one: Callable[[str], bytes],
        wanted: Iterable[File],
        told: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        self._git, self._one, self._told = git, one, told
        sizes = {entry.oid: entry.size for entry in wanted}
        self._total = len(sizes) if len(sizes) > FEW else 0
        self._waiting = sizes if self._total else {}
        self._coming: dict[str, Future[bytes]] = {}
        self._here: dict[str, bytes] = {}
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="ahead")

    def __call__(self, oid: str) -> bytes:
        """A blob's bytes. Raises as `one` does, and HostError or TransientError where git cannot be asked."""
        while oid in self._waiting or oid in self._coming:
            coming = self._coming or self._asked()
            self._coming = self._asked()
            self._here.update(_read(list(coming), next(iter(coming.values())).result()))
            self._told(self._total - len(self._waiting) - len(self._coming), self._total)
        return self._here.pop(oid, None) or self._one(oid)

    def _asked(self) -> dict[str, Future[bytes]]:
        """The next ones, and the answer for all of them; nothing where no more are waited for."""
        oids = list(self._portion())
        if not oids:
            self._threads.shutdown(wait=False)
            return {}
        asked = "".join(f"{checked(oid)}\n" for oid in oids).encode()
        return dict.fromkeys(oids, self._threads.submit(self._git.local, "cat-file", "--batch", stdin=asked))

    def _portion(self) -> Iterator[str]:
        """As many as may be in memory at once."""
        size_bytes = 0
        for oid in list(islice(self._waiting, AT_ONCE_MAX)):
            size_bytes += self._waiting[oid]
            if size_bytes > AT_ONCE_BYTES_MAX and size_bytes > self._waiting[oid]:
                return
            del self._waiting[oid]
            yield oid


def _read(oids: list[str], said: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    for oid in oids:
        end = said.find(b"\n", at)
        head = said[at:end].decode("ascii", "replace").split()
        at = end + 1
        if head[1:] == ["missing"]:
            continue  # `one` says so
        if end < 0 or head[:2] != [oid, "blob"]:
            raise HostError(f"object {oid} cannot be read", "start again: a broken mirror is made anew")
        size = int(head[2])
        yield oid, said[at : at + size]
        at += size + 1
