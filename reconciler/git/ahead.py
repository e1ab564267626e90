"""Many blobs by one `cat-file --batch` at a time: to wait for each answer costs more than to read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from reconciler.git.call import Git, checked
from reconciler.model.errors import HostError
from reconciler.model.layout import File

AT_ONCE_MAX = 2_000
AT_ONCE_BYTES_MAX = 8 << 20
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
        self._here: dict[str, bytes] = {}

    def __call__(self, oid: str) -> bytes:
        """A blob's bytes. Raises as `one` does, and HostError or TransientError where git cannot be asked."""
        while oid in self._waiting:
            self._here.update(self._read(list(self._portion())))
            self._told(self._total - len(self._waiting), self._total)
        return self._here.pop(oid, None) or self._one(oid)

    def _portion(self) -> Iterator[str]:
        """The next ones, as many as may be in memory at once."""
        size_bytes = 0
        for oid in list(islice(self._waiting, AT_ONCE_MAX)):
            size_bytes += self._waiting[oid]
            if size_bytes > AT_ONCE_BYTES_MAX and size_bytes > self._waiting[oid]:
                return
            del self._waiting[oid]
            yield oid

    def _read(self, oids: list[str]) -> Iterator[tuple[str, bytes]]:
        asked = "".join(f"{checked(oid)}\n" for oid in oids).encode()
        said, at = self._git.local("cat-file", "--batch", stdin=asked), 0
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
