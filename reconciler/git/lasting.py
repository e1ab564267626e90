"""A git that is asked again and again: one long-lived process, which answers line by line."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from typing import IO, Any

from reconciler.git.call import Git, checked
from reconciler.git.objects import Objects
from reconciler.model.errors import HostError

OUTPUT_BYTES_MAX = 64 << 20
CHUNK_BYTES = 1 << 16


class Lasting:
    """Shared by all threads; one that died, or is to run with other options, is started again."""

    def __init__(self, git: Git, command: str) -> None:
        """`command`: of git, with underscores, such as `diff_tree`; it answers each line of its input at once."""
        self._git, self._command = git, command
        self._lock = Lock()
        self._process: Any = None
        self._options: tuple[str, ...] = ()

    def ask(self, said: bytes, end: bytes, options: tuple[str, ...]) -> bytes:
        """What it answers, up to the `end` of its answer. Where it gives none, it is asked once more, in a new process.

        Raises HostError.
        """
        with self._lock:
            try:
                return self._answer(said, end, options)
            except (OSError, ValueError):
                self._end()  # it may have died, or lost its place between two answers
            try:
                return self._answer(said, end, options)
            except (OSError, ValueError) as error:
                self._end()
                what = f"the mirror gives no answer to git {self._command.replace('_', '-')}"
                raise HostError(what, "start again: a broken mirror is made anew") from error

    def close(self) -> None:
        with self._lock:
            self._end()

    def _answer(self, said: bytes, end: bytes, options: tuple[str, ...]) -> bytes:
        if self._process is None or options != self._options:
            self._end()
            start = getattr(Objects.reader(self._git), self._command)
            self._process = start("--stdin", "-z", *options, istream=subprocess.PIPE, as_process=True)
            self._options = options
        stdin: IO[bytes] = self._process.stdin
        stdin.write(said)
        stdin.flush()
        answer = bytearray()
        while not answer.endswith(end):
            chunk = self._process.stdout.read1(CHUNK_BYTES)
            if not chunk:
                raise ValueError("it ended in the middle of an answer")
            answer += chunk
            if len(answer) > OUTPUT_BYTES_MAX:
                raise ValueError(f"more than {OUTPUT_BYTES_MAX} bytes")
        return bytes(answer[: -len(end)])

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


class Reader(Lasting):
    """`diff-tree`: what differs between two commits, and what one of them says."""

    def __init__(self, git: Git) -> None:
        super().__init__(git, "diff_tree")

    def said(self, line: str, options: Sequence[str], paths: Sequence[str]) -> bytes:
        """What it says of one line, with these options and under these paths. Raises HostError."""
        # A line that is no object comes back as it is, after all that was said of those before it.
        end = f"end-{secrets.token_hex(16)}\n".encode()
        return self.ask(f"{line}\n".encode() + end, end, (*options, "--", *paths))


class Writer(Lasting):
    """`update-ref`: where a reference is moved again and again."""

    def __init__(self, git: Git) -> None:
        super().__init__(git, "update_ref")

    def set_ref(self, name: str, sha: str) -> None:
        """Durable when this returns. Raises HostError, and TransientError where that takes too long."""
        moves = f"start\0update {name}\0{checked(sha)}\0\0prepare\0commit\0".encode()
        try:
            with self._git.alone:
                self.ask(moves, b"commit: ok\n", ())
        except HostError:
            # It takes away the locks of a git that was killed, or says what is wrong.
            self._git.set_ref(name, sha)
