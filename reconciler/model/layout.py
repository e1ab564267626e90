"""Where the files of the repository may stand, and what they may be called."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Protocol

from reconciler.model.errors import Place, Problem, printable

FOLDERS = ("releases", "environments")
"""All that is read of a repository."""
REGULAR = frozenset({"100644", "100755"})
_ENVIRONMENT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,119}")


class File(Protocol):
    """One path in a tree. `mode` as git writes it, `oid` the blob's id, `size` in bytes."""

    @property
    def mode(self) -> str: ...
    @property
    def oid(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def size(self) -> int: ...


def is_document(path: str) -> bool:
    """Whether the repository format gives the file at this path a meaning."""
    if not path.endswith(".yaml"):
        return False
    depth = path.count("/")
    return depth == 2 or (depth == 1 and path.startswith("environments/"))


def main_file(environment: str, paths: Container[str]) -> str:
    """Where an environment says what it is, of the two places where it may; `paths`: the repository's files."""
    alone = f"environments/{environment}.yaml"
    return alone if alone in paths else f"environments/{environment}/environment.yaml"


def paths_of(environment: str) -> tuple[str, str]:
    """The file of an environment, and the folder that it may be instead, as paths for Git."""
    return f"environments/{environment}.yaml", f"environments/{environment}"


def misplaced(file: File) -> Problem | None:
    """Why a file may not stand where it stands. Other files than YAML may stand anywhere."""
    wrong = _wrong(file)
    return Problem(Place(printable(file.path)), "", *wrong) if wrong else None


def _wrong(file: File) -> tuple[str, str] | None:
    """What is wrong with where it stands, and the remedy."""
    top, *rest = file.path.split("/")
    stem = rest[-1].removesuffix(".yaml")
    if file.mode not in REGULAR:
        kind = {"120000": "a symbolic link", "160000": "a submodule"}.get(file.mode, "no regular file")
        return f"this is {kind}", "put a regular file here, or remove it"
    if stem == rest[-1]:
        yml = file.path.endswith(".yml") and (top == "environments" or len(rest) <= 2)
        return ("the name ends in .yml", "rename it to .yaml") if yml else None
    if top == "releases":
        if len(rest) == 1:
            return "a release stands in its service's folder", "move it to releases/SERVICE/VERSION.yaml"
        if len(rest) > 2:
            return None
    elif len(rest) > 2:
        remedy = "move it to environments/NAME.yaml or environments/NAME/FILE.yaml"
        return "an environment's files stand no deeper than its folder", remedy
    named = top == "releases" or _ENVIRONMENT.fullmatch(rest[0].removesuffix(".yaml"))
    if not named or not _FILE_NAME.fullmatch(stem):
        remedy = "rename it with lower-case letters, digits and hyphens"
        return "the name is not one that can be used here", remedy
    return None
