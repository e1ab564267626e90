"""A repository beside the mirror, in which what anybody proposes is looked at: only ever read, and thrown away."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from reconciler.git import transfer
from reconciler.git.call import checked
from reconciler.git.commit import Identity
from reconciler.git.mirror import Mirror
from reconciler.git.remote import Remote
from reconciler.git.signatures import Signers
from reconciler.model.errors import HostError

PROPOSED_REF = "refs/ugs/proposed"
"""What was fetched last."""
BASE_REF = "refs/ugs/base"
"""What is here already, so that it does not come again."""
TIMEOUT_S = 30.0
"""What takes longer to come is left alone; nor is the daemon's end to wait for it."""
BYTES_MAX = 256 << 20
"""Beyond this it is made anew."""
MERGED = {
    "GIT_AUTHOR_NAME": "UGS",
    "GIT_AUTHOR_EMAIL": "ugs@localhost",
    "GIT_AUTHOR_DATE": "@0 +0000",
    "GIT_COMMITTER_NAME": "UGS",
    "GIT_COMMITTER_EMAIL": "ugs@localhost",
    "GIT_COMMITTER_DATE": "@0 +0000",
}
"""Of a merge that nobody makes: the same commits give the same one."""


class Aside(Mirror):
    """It has the mirror's objects and its own, so that nothing of a stranger's lies where releases are read from.

    Made anew at every start. Used from one thread at a time; nothing that the daemon does otherwise waits for it.
    """

    def __init__(
        self,
        path: Path,
        mirror: Path,
        remote: Remote,
        identity: Identity,
        *,
        signers: Signers | None = None,
        network_timeout_s: float = TIMEOUT_S,
        bytes_max: int = BYTES_MAX,
    ) -> None:
        """`mirror`: the folder of the mirror."""
        _remove(path)
        super().__init__(path, remote, identity, signers=signers, network_timeout_s=network_timeout_s)
        self._bytes_max = bytes_max
        self._alternate = mirror.absolute() / "objects"
        self._share()

    def fetch_head(self, ref: str, *, base: str) -> str:
        """Bring this ref of the remote here; its commit. `base`: a commit of the mirror.

        Raises UgsError where there is no such ref, HostError and TransientError.
        """
        self._stay_small()
        if self._git.ref(BASE_REF) != base:
            self._git.set_ref(BASE_REF, base)
        return transfer.bring(
            self._git, ref, PROPOSED_REF, kind="ref", name=ref, remedy="its branch may be gone"
        )

    def merged(self, base: str, head: str) -> str | None:
        """The commit that merging `head` into `base` would make; None where they conflict, or have nothing in common.

        Nothing of what is in them runs: no hook, no driver of theirs.
        """
        tree = self.merged_tree(base, head)
        if tree is None:
            return None
        parents = ("-p", base, "-p", head)
        said = self._git.local("commit-tree", tree, *parents, stdin=b"Merge\n", variables=MERGED)
        return said.decode("ascii").strip()

    def alike(self, one: str, other: str, folders: Sequence[str]) -> bool:
        """Whether two commits have the same under these folders."""
        argv = ("diff-tree", "--quiet", "-r", "--no-ext-diff", checked(one), checked(other), "--", *folders)
        result = self._git.ask(*argv)
        if result.code not in {0, 1}:
            raise self._git.broken(result)
        return result.code == 0

    def _stay_small(self) -> None:
        if (
            sum(file.stat().st_size for file in self._git.path.rglob("*") if file.is_file())
            <= self._bytes_max
        ):
            return
        self.close()
        _remove(self._git.path)
        self._prepare()
        self._share()

    def _share(self) -> None:
        try:
            (self._git.path / "objects/info").mkdir(exist_ok=True)
            (self._git.path / "objects/info/alternates").write_text(f"{self._alternate}\n")
        except OSError as error:
            raise HostError(
                f"{self._git.path}: {error.strerror}", "make the state folder writable"
            ) from error


def _remove(path: Path) -> None:
    try:
        if path.exists():
            shutil.rmtree(path)
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}", "remove it") from error
