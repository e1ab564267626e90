"""References of our own on the remote that several daemons share: each moves by compare-and-swap, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from reconciler.git import storage, transfer
from reconciler.git.call import Git
from reconciler.git.commit import Identity, build
from reconciler.git.errors import PushRefused, PushRejected
from reconciler.git.remote import Remote
from reconciler.model.errors import UgsError
from reconciler.model.register import Move

LEASES = "lease/"
_PREFIX = "refs/ugs/"
_FIELDS = ("%(objectname)", "%(refname)", "%(contents:body)")


class GitRegister:
    """Blocking. It has a small repository of its own, so that it waits for nobody and its litter is nobody's.

    References are named without `refs/ugs/`, and without `root`, which is common to all of them.
    """

    def __init__(
        self, path: Path, remote: Remote, identity: Identity, *, network_timeout_s: float, root: str = LEASES
    ) -> None:
        """Make the repository when it is absent, and anew when it is broken."""
        self._root = _PREFIX + root
        self._git = Git(path.absolute(), remote, network_timeout_s=network_timeout_s)
        self._identity = identity
        storage.prepare(self._git)

    def read(self, *beginnings: str) -> dict[str, tuple[str, str]]:
        """By name, the value of every such reference on the remote and the body of its commit.

        `beginnings`: of the names that are of interest; by default all. Raises TransientError, or HostError when
        the remote refuses us.
        """
        wanted = tuple(self._root + beginning for beginning in beginnings or ("",))
        transfer.fetch(self._git, *(f"+{ref}*:{ref}*" for ref in wanted), prune=True)
        listed = self._git.local("for-each-ref", f"--format={'%00'.join(_FIELDS)}%00", self._root)
        fields = listed.decode("utf-8", "replace").split("\0")
        values, names, bodies = fields[0:-1:3], fields[1::3], fields[2::3]
        return {
            name.removeprefix(self._root): (value.strip(), body.strip())
            for value, name, body in zip(values, names, bodies, strict=True)
            if name.startswith(wanted)
        }

    def swap(self, moves: Mapping[str, Move], *, at: datetime) -> dict[str, str | PushRejected | PushRefused]:
        """All of these in one push, each by itself; by name the new value, or why the old one still stands.

        PushRejected: it did not have the expected value any more. After a TransientError nobody knows.
        """
        values = {name: self._commit(move, at) for name, move in moves.items()}
        refused = transfer.swap(
            self._git, {self._root + name: (moves[name].expected, value) for name, value in values.items()}
        )
        with suppress(UgsError):  # mere tidiness: every move leaves a commit that nothing names
            self._git.ask("prune", "--expire=now")
        return {name: refused.get(self._root + name, value) for name, value in values.items()}

    def where(self, name: str) -> str:
        return f"{self._root}{name}"

    def allow(self, name: str) -> str:
        kind = name.partition("/")[0]
        return f"let this user push to {self._root}{kind}"

    def _commit(self, move: Move, at: datetime) -> str:
        # Without a parent: a chain would grow for ever.
        message = f"{move.subject}\n\n{move.body}\n"
        return build(self._git, None, {}, message, author=self._identity, committer=self._identity, at=at)
