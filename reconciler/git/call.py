"""Calling git, in one fixed environment: nothing on the machine or in the mirror steers it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from types import MappingProxyType

from reconciler import command
from reconciler.git.errors import clean, remedy_for
from reconciler.git.remote import Remote
from reconciler.model.errors import HostError, TransientError

LOCAL_TIMEOUT_S = 60.0
NETWORK_TIMEOUT_S = 60.0
OUTPUT_BYTES_MAX = 64 << 20

ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_SSH_VARIANT": "ssh",
    "LC_ALL": "C",
    "TZ": "UTC",
}
# Stronger than the mirror's own configuration, and out of sight of a local remote's own git and hooks.
CONFIGURATION = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", ""),
    ("core.askPass", ""),
    ("core.alternateRefsCommand", ""),
    ("core.fsync", "committed,reference"),
    ("core.logAllRefUpdates", "false"),
    ("credential.helper", ""),
    ("fetch.fsckObjects", "true"),
    ("fetch.recurseSubmodules", "false"),
    ("gc.autoDetach", "false"),
    ("http.followRedirects", "false"),
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "10"),
    ("log.showSignature", "false"),
    ("push.gpgSign", "false"),
    ("push.recurseSubmodules", "no"),
)
OBJECT_ID = re.compile(r"(?!0{40})[0-9a-f]{40}")


def checked(sha: str) -> str:
    """The full object id, so that it can be neither an option nor a range. Raises ValueError (a bug)."""
    if not OBJECT_ID.fullmatch(sha):
        raise ValueError(f"{sha!r} is not a full object id")
    return sha


class Git:
    """git in one bare repository that tracks one remote. Safe to use from several threads."""

    def __init__(self, path: Path, remote: Remote, *, network_timeout_s: float = NETWORK_TIMEOUT_S) -> None:
        self.path = path
        self.remote = remote
        self.alone = Lock()
        """Held by who writes references."""
        self._network_timeout_s = network_timeout_s

    def ref(self, name: str) -> str | None:
        """The commit that a reference of ours names, None when there is none."""
        result = self.ask("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        return result.stdout.decode("ascii").strip() if result.code == 0 else None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """`alone`, so that a lock found now was left by a git that was killed, and goes."""
        with self.alone:
            try:
                for lock in (*(self.path / "refs").rglob("*.lock"), self.path / "packed-refs.lock"):
                    lock.unlink(missing_ok=True)
            except OSError as error:
                raise HostError(
                    f"{self.path}: {error.strerror}", "see to the state folder and to this machine's limits"
                ) from error
            yield

    def set_ref(self, name: str, sha: str) -> None:
        """Durable when this returns."""
        with self.writing():
            self.local("update-ref", name, checked(sha))

    def delete_ref(self, name: str) -> None:
        """No matter whether it was there."""
        with self.writing():
            self.local("update-ref", "-d", name)

    def local(
        self,
        *argv: str,
        stdin: bytes = b"",
        configuration: tuple[tuple[str, str], ...] = (),
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> bytes:
        """What a call that stays on this machine prints. Raises HostError or TransientError."""
        result = self.ask(*argv, stdin=stdin, configuration=configuration, variables=variables)
        if result.code != 0:
            raise self.broken(result)
        return result.stdout

    def ask(
        self,
        *argv: str,
        stdin: bytes = b"",
        git_dir: Path | None = None,
        configuration: tuple[tuple[str, str], ...] = (),
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> command.Result:
        """The same where the exit code is an answer. Raises TransientError when it takes too long."""
        result = command.run(
            ("git", f"--git-dir={git_dir or self.path}", *argv),
            timeout_s=LOCAL_TIMEOUT_S,
            environment={**self.environment(configuration), **variables},
            stdin=stdin,
            output_bytes_max=OUTPUT_BYTES_MAX,
        )
        if result.timed_out:
            raise TransientError(f"git {argv[0]} took over {LOCAL_TIMEOUT_S:.0f} s", "it is tried again")
        if result.truncated:
            raise HostError(
                f"git {argv[0]} says more than {OUTPUT_BYTES_MAX} bytes", "make the repository smaller"
            )
        return result

    def broken(self, result: command.Result) -> HostError:
        """The error for a local call that ought to work: the disk, or a damaged mirror."""
        said = clean(result.stderr)
        remedy = remedy_for(said) or f"see that {self.path} is writable, or remove it: it is made anew"
        return HostError(f"git {result.argv[2]} failed: {said or f'exit code {result.code}'}", remedy)

    def network(self, *argv: str) -> tuple[command.Result, str]:
        """A call to the remote, and what git said in one clean line. Raises TransientError on timeout."""
        secret = self.remote.secret()
        configuration = (self.remote.authorization(secret),) if secret is not None else ()
        result = command.run(
            ("git", f"--git-dir={self.path}", *argv),
            timeout_s=self._network_timeout_s,
            environment=self.environment(configuration),
            output_bytes_max=OUTPUT_BYTES_MAX,
        )
        if result.timed_out:
            limit = f"{self._network_timeout_s:g} s"
            raise TransientError(
                f"{self.remote.url}: git {argv[0]} had no end after {limit}", "it is tried again"
            )
        return result, clean(result.stderr, (secret or "",))

    def environment(self, configuration: tuple[tuple[str, str], ...] = ()) -> Mapping[str, str]:
        """All that a git process sees. Configuration travels here too: an argv can be read by every user."""
        pairs = (*CONFIGURATION, *configuration)
        return {
            "PATH": os.defpath,
            **self.remote.environment,
            **ENVIRONMENT,
            "GIT_ALLOW_PROTOCOL": self.remote.scheme,
            "GIT_SSH_COMMAND": self.remote.ssh_command(),
            "GIT_CONFIG_COUNT": str(len(pairs)),
            **{f"GIT_CONFIG_KEY_{index}": key for index, (key, _) in enumerate(pairs)},
            **{f"GIT_CONFIG_VALUE_{index}": value for index, (_, value) in enumerate(pairs)},
        }
