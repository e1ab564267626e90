"""One file edited in a working tree: written, held against `ugs check`, and committed with the person's own Git."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from reconciler.cli.tree import read_tree
from reconciler.model.errors import UgsError
from reconciler.model.introduced import introduced
from reconciler.model.snapshot import Snapshot

if TYPE_CHECKING:
    import git

F = TypeVar("F", bound=Callable[..., Any])


def tree_option(command: F) -> F:
    """`--repository`: the working tree."""
    return click.option(
        "--repository",
        "folder",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        default=".",
        show_default=True,
        help="The working tree.",
    )(command)


def commit_options(command: F) -> F:
    """`--branch` and `--no-commit`."""
    branch = click.option(
        "--branch", metavar="NAME", help="Commit on a new branch, which is then checked out."
    )
    return branch(click.option("--no-commit", is_flag=True, help="Edit the file only.")(command))


@contextlib.contextmanager
def written(folder: Path, path: str, data: bytes, original: bytes, before: Snapshot) -> Iterator[Snapshot]:
    """The file with these bytes, and what the tree then says; as it was where something fails in here, and where it
    brings a problem that the tree did not have `before`."""
    file = folder / path
    file.write_bytes(data)
    try:
        after = read_tree(folder)
        if problems := introduced(before.problems, after.problems):
            raise UgsError("\n".join(map(str, problems)))
        yield after
    except UgsError:
        file.write_bytes(original)
        raise


def switch(folder: Path, branch: str) -> None:
    """Make a branch here and now, and check it out. Raises UgsError."""
    import git

    with _working_tree(folder) as repository:
        try:
            repository.git.switch("--quiet", f"--create={branch}")
        except git.GitCommandError as error:
            said = _said(error)
            raise UgsError(
                f"git makes no branch {branch}: {said}", "name one that is not there yet"
            ) from error


def next_step(commit: str, text: str, branch: str | None) -> str:
    """One line that says which commit was made, and what makes it count."""
    way = f"push {branch} and merge it to deploy" if branch else "push it to deploy"
    return f"{commit[:12]} {text.splitlines()[0]}; {way}"


def committed(folder: Path, path: str, text: str) -> str:
    """Commit this one file, with the person's own Git settings; the commit's id. Raises UgsError."""
    import git

    with _working_tree(folder) as repository:
        try:
            repository.git.commit("--quiet", "--message", text, "--", str((folder / path).resolve()))
        except git.GitCommandError as error:
            raise UgsError(
                f"git refused the commit: {_said(error)}", "mend that; the file is edited"
            ) from error
        return str(repository.head.commit.hexsha)


def on_branch(folder: Path) -> str:
    """The branch that is checked out; empty where none is."""
    with _working_tree(folder) as repository:
        return str(repository.git.branch("--show-current"))


def last_message(folder: Path) -> str:
    """What the newest commit says."""
    with _working_tree(folder) as repository:
        return str(repository.git.log("-1", "--format=%B")).strip()


def push(folder: Path, branch: str) -> None:
    """Push what is checked out to this branch of the remote `origin`, or of the only one. Raises UgsError."""
    import git

    with _working_tree(folder) as repository:
        names = [remote.name for remote in repository.remotes]
        name = "origin" if "origin" in names else names[0] if len(names) == 1 else ""
        if not name:
            raise UgsError(
                "nobody knows which remote to push to", "call it origin: `git remote add origin URL`"
            )
        try:
            repository.git.push("--quiet", name, f"HEAD:refs/heads/{branch}")
        except git.GitCommandError as error:
            raise UgsError(
                f"git does not push {branch}: {_said(error)}", "mend that, and try again"
            ) from error


def _working_tree(folder: Path) -> git.Repo:
    import git

    try:
        return git.Repo(folder, search_parent_directories=True)
    except git.InvalidGitRepositoryError as error:
        raise UgsError(f"{folder} is no Git working tree", "use --no-commit, or run `git init`") from error


def _said(error: git.GitCommandError) -> str:
    return str(error.stderr).strip()
