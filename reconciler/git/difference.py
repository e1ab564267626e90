"""Which files differ between two commits, through one long-lived `diff-tree --stdin`: work as what differs."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import IO, Any

from reconciler.git.call import Git, checked
from reconciler.git.objects import Entry, Objects
from reconciler.model.errors import HostError

OUTPUT_BYTES_MAX = 64 << 20
CHUNK_BYTES = 1 << 16
GITLINK = "160000"
ABSENT = "000000"


class Differences:
    """Shared by all threads; a process that died is started again. It looks under the folders of the last question."""

    def __init__(self, git: Git, objects: Objects) -> None:
        self._git, self._objects = git, objects
        self._lock = Lock()
        self._process: Any = None
        self._folders: tuple[str, ...] = ()

    def between(self, older: str, newer: str, folders: Sequence[str]) -> Mapping[str, Entry | None]:
        """By path, what stands under these folders in `newer` and stood otherwise, or not at all, in `older`; None
        where nothing does any more. Raises HostError, and TransientError where one of the commits is not here."""
        for commit in (older, newer):
            self._objects.size(commit)  # of what is not here, git says that nothing differs
        with self._lock:
            try:
                said = self._ask(older, newer, tuple(folders))
            except (OSError, ValueError):
                self._end()
                try:
                    said = self._ask(older, newer, tuple(folders))
                except (OSError, ValueError) as error:
                    self._end()
                    remedy = "start again: a broken mirror is made anew"
                    raise HostError("the mirror's commits cannot be compared", remedy) from error
        return self._entries(said)

    def close(self) -> None:
        with self._lock:
            self._end()

    def _ask(self, older: str, newer: str, folders: tuple[str, ...]) -> bytes:
        if self._process is None or folders != self._folders:
            self._end()
            self._process, self._folders = self._started(folders), folders
        # A line that is no object comes back as it is, after all that was said of those before it.
        end = f"end-{secrets.token_hex(16)}\n".encode()
        stdin: IO[bytes] = self._process.stdin
        stdin.write(f"{checked(newer)} {checked(older)}\n".encode() + end)
        stdin.flush()
        said = bytearray()
        while not said.endswith(end):
            chunk = self._process.stdout.read1(CHUNK_BYTES)
            if not chunk:
                raise ValueError("it ended in the middle of an answer")
            said += chunk
            if len(said) > OUTPUT_BYTES_MAX:
                raise ValueError(f"more than {OUTPUT_BYTES_MAX} bytes")
        return bytes(said[: -len(end)])

    def _started(self, folders: tuple[str, ...]) -> Any:
        reader = self._objects.reader(self._git)
        options = ("--stdin", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", "--no-commit-id")
        return reader.diff_tree(*options, "--", *folders, istream=subprocess.PIPE, as_process=True)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        popen: subprocess.Popen[bytes] = process.proc
        popen.kill()  # it has nothing to lose
        for stream in (popen.stdin, popen.stdout, popen.stderr):
            with suppress(OSError):
                if stream is not None:
                    stream.close()
        popen.wait()

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
