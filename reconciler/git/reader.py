"""A git that is asked again and again: one long-lived process, which answers line by line."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from typing import IO, Any

from reconciler.git.call import Git
from reconciler.git.objects import Objects
from reconciler.model.errors import HostError

OUTPUT_BYTES_MAX = 64 << 20
CHUNK_BYTES = 1 << 16


class Reader:
    """`diff-tree --stdin`, shared by all threads; one that died, or was asked with other options, is started again."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._lock = Lock()
        self._process: Any = None
        self._options: tuple[str, ...] = ()

    def ask(self, line: str, options: Sequence[str], paths: Sequence[str]) -> bytes:
        """What it says of one line, with these options and under these paths. Raises HostError where it says nothing
        whole twice."""
        asked = (*options, "--", *paths)
        with self._lock:
            try:
                return self._answer(line, asked)
            except (OSError, ValueError):
                self._end()  # it may have died, or lost its place between two answers: once more, with a new one
            try:
                return self._answer(line, asked)
            except (OSError, ValueError) as error:
                self._end()
                remedy = "start again: a broken mirror is made anew"
                raise HostError("the mirror's commits cannot be read", remedy) from error

    def close(self) -> None:
        with self._lock:
            self._end()

    def _answer(self, line: str, options: tuple[str, ...]) -> bytes:
        if self._process is None or options != self._options:
            self._end()
            self._process, self._options = self._started(options), options
        # A line that is no object comes back as it is, after all that was said of those before it.
        end = f"end-{secrets.token_hex(16)}\n".encode()
        stdin: IO[bytes] = self._process.stdin
        stdin.write(f"{line}\n".encode() + end)
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

    def _started(self, options: tuple[str, ...]) -> Any:
        return Objects.reader(self._git).diff_tree(
            "--stdin", "-z", *options, istream=subprocess.PIPE, as_process=True
        )

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
