"""Which files differ between two commits, from one long-lived process: work as what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reconciler.git.call import Git, checked
from reconciler.git.lasting import Reader
from reconciler.git.objects import Entry, Objects

OPTIONS = ("-r", "--raw", "--no-renames", "--no-abbrev", "--no-commit-id")
GITLINK = "160000"
ABSENT = "000000"


class Differences:
    """Shared by all threads."""

    def __init__(self, git: Git, objects: Objects) -> None:
        self._objects, self._reader = objects, Reader(git)

    def between(self, older: str, newer: str, folders: Sequence[str]) -> Mapping[str, Entry | None]:
        """By path, what stands under these folders in `newer` and stood otherwise, or not at all, in `older`; None
        where nothing does any more. Raises HostError, and TransientError where one of the commits is not here."""
        said = b""
        try:
            said = self._reader.said(f"{checked(newer)} {checked(older)}", OPTIONS, folders)
        finally:
            if not said:  # of what is not here, git says that nothing differs, or nothing at all
                for commit in (older, newer):
                    self._objects.size(commit)
        return self._entries(said)

    def close(self) -> None:
        self._reader.close()

    def _entries(self, said: bytes) -> dict[str, Entry | None]:
        found: dict[str, Entry | None] = {}
        fields = iter(said.split(b"\0")[:-1])
        for head, name in zip(fields, fields, strict=True):
            _, mode, _, oid, _ = head.decode("ascii").split()
            path = name.decode("utf-8", "backslashreplace")
            if mode == ABSENT:
                found[path] = None
            else:
                found[path] = Entry(mode, oid, path, 0 if mode == GITLINK else self._objects.size(oid))
        return found
