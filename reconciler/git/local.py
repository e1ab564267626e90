"""A repository on this machine, bare or a clone's: only read, and trusted no further than its objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from reconciler import command
from reconciler.git import history, objects
from reconciler.git.ahead import Ahead
from reconciler.git.call import Git
from reconciler.git.errors import clean, plain
from reconciler.git.history import Commit
from reconciler.git.objects import Entry, Objects
from reconciler.git.remote import Remote
from reconciler.model.errors import HostError, TransientError, UgsError
from reconciler.model.layout import File

LOG_LIMIT = 1000
NAME_CHARACTERS_MAX = 1000
POINTER_BYTES_MAX = 8192
_OBJECT_ID = re.compile(r"[0-9a-f]{40}")


class Local:
    """Whatever a person's folder lies in: nothing is written, nothing fetched, no configuration obeyed.

    `top` is where paths start: the working tree's top, or the bare repository itself. Revisions are full
    commit ids; `revision` makes one of what a person writes. Every method may raise HostError.
    """

    def __init__(self, folder: Path) -> None:
        """Open the repository that `folder` lies in. Raises UgsError when it lies in none."""
        self.top, own, common = _find(folder.absolute())
        self._git = _Offline(own)
        # A further working tree has a HEAD of its own, and shares the objects.
        self._objects = Objects(_Offline(common))

    def close(self) -> None:
        """End the object reader."""
        self._objects.close()

    def revision(self, name: str) -> str:
        """The commit that a person means by `name`. Raises UgsError when it means none."""
        found = self.find(name)
        if found is None:
            raise UgsError(
                f"{plain(name)[:100]!r} is no commit in {self.top}",
                "name a commit, branch or tag that was fetched; a shallow clone (as CI makes) lacks history",
            )
        return found

    def find(self, name: str) -> str | None:
        """The same, None where there is no such commit."""
        if not name or len(name) > NAME_CHARACTERS_MAX or "\0" in name:
            return None
        asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        result = self._git.ask(*asked)
        said = result.stdout.decode("ascii", "replace").strip()
        # What excludes commits, and what names two, is also said to be verified.
        return said if result.code == 0 and _OBJECT_ID.fullmatch(said) else None

    def entries(self, revision: str, folders: Sequence[str]) -> list[Entry]:
        """Every path under these folders, whatever its mode."""
        return objects.entries(self._git, revision, folders)

    def blob(self, oid: str) -> bytes:
        """A blob's bytes."""
        try:
            return self._objects.blob(oid)
        except (TransientError, HostError) as error:
            raise HostError(
                f"object {oid} cannot be read from {self.top}", "run `git fsck`; a partial clone lacks files"
            ) from error

    def blobs(self, wanted: Iterable[File]) -> Callable[[str], bytes]:
        """The same for many, which are wanted in about this order."""
        return Ahead(self._git, self.blob, wanted)

    def older(self, revision: str, path: str) -> Iterator[tuple[str, bytes]]:
        """What stood at this path before, each with the commit that brought it, newest first; bounded."""
        return history.older(self._git, self.blob, revision, path)

    def log(
        self,
        since: str | None,
        until: str,
        *,
        paths: Sequence[str] = (),
        first_parent: bool = True,
        limit: int = LOG_LIMIT,
    ) -> list[Commit]:
        """The commits that `until` reaches and `since` does not, newest first."""
        return history.log(self._git, since, until, paths=paths, first_parent=first_parent, limit=limit)

    def at(self, instant: datetime, until: str) -> str | None:
        """What stood at `until`'s branch at an instant: its newest first-parent commit that is no younger."""
        found = history.log(self._git, None, until, limit=1, no_later_than=instant)
        return found[0].sha if found else None


class _Offline(Git):
    """git where nobody vouches for the repository: no protocol, so that a partial clone fetches nothing."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, Remote(str(path)))

    def environment(self, configuration: tuple[tuple[str, str], ...] = ()) -> Mapping[str, str]:
        return {**super().environment(configuration), "GIT_ALLOW_PROTOCOL": "", "GIT_NO_LAZY_FETCH": "1"}

    def broken(self, result: command.Result) -> HostError:
        said = clean(result.stderr) or f"exit code {result.code}"
        remedy = "run `git fsck` there; a shallow or partial clone lacks history"
        return HostError(f"git {result.argv[2]} failed in {self.path}: {said}", remedy)


def _find(folder: Path) -> tuple[Path, Path, Path]:
    """The repository around a folder: its top, its git directory, and the one that holds the objects.

    git's own search would follow the configuration that it finds, and refuses what another user owns.
    """
    for top in (folder, *folder.parents):
        if _is_git_directory(top):
            return top, top, _common(top)
        own = top / ".git"
        if own.is_file():
            own = _pointed(own, "gitdir: ")
        if _is_git_directory(own):
            return top, own, _common(own)
    raise UgsError(f"{folder} lies in no Git repository", "name a clone or a bare repository")


def _is_git_directory(path: Path) -> bool:
    return (path / "HEAD").is_file() and ((path / "objects").is_dir() or (path / "commondir").is_file())


def _common(path: Path) -> Path:
    pointer = path / "commondir"
    return _pointed(pointer) if pointer.is_file() else path


def _pointed(pointer: Path, prefix: str = "") -> Path:
    """The path that a file holds, from where the file stands."""
    with pointer.open("rb") as file:
        text = file.read(POINTER_BYTES_MAX).decode("utf-8", "replace").removeprefix(prefix)
    return (pointer.parent / text.strip("\n").replace("\0", "")).resolve()
