"""`ugs bump`: edit one pin in a working tree, keep every comment, and commit it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.tree import read_tree
from reconciler.model import splice
from reconciler.model.errors import Place, Problem, UgsError
from reconciler.model.introduced import introduced
from reconciler.model.notes import between, catalogue
from reconciler.model.range import Range
from reconciler.model.release import Release
from reconciler.model.snapshot import Snapshot
from reconciler.model.version import Version, step_between

if TYPE_CHECKING:
    import git

LINES_MAX = 60
LINE_CHARACTERS_MAX = 500


@click.command()
@click.argument("environment")
@click.argument("service")
@click.argument("version")
@click.option(
    "--repository",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    show_default=True,
    help="The working tree.",
)
@click.option("--branch", metavar="NAME", help="Commit on a new branch, which is then checked out.")
@click.option("--no-commit", is_flag=True, help="Edit the file only.")
def bump(
    environment: str, service: str, version: str, folder: Path, branch: str | None, *, no_commit: bool
) -> None:
    """Edit one pin to VERSION (1.5.0, latest, or a range such as ^1.4) and commit it on the current branch.

    The message says what the bump brings. Refuses what `ugs check` would refuse, leaving the file as it was.
    """
    if no_commit and branch is not None:
        raise click.UsageError("--branch makes a commit, and --no-commit makes none")
    before = read_tree(folder)
    release = choose(before, service, version)
    path = _file_of(before, environment, service)
    original = (folder / path).read_bytes()
    changed = splice.set_version(original, path, service, release.version.text)
    if changed == original:
        click.echo(f"{environment}: {service} is pinned to {release.version} already")
        return
    with _written(folder / path, changed, original):
        if problems := introduced(before.problems, read_tree(folder).problems):
            raise UgsError("\n".join(map(str, problems)))
        if branch is not None:
            _switch(folder, branch)
    text = message(before, environment, release)
    if no_commit:
        click.echo(f"{path}: {service} is pinned to {release.version}")
        return
    commit = _commit(folder, path, text)
    way = f"push {branch} and merge it to deploy" if branch else "push it to deploy"
    click.echo(f"{commit[:12]} {text.splitlines()[0]}; {way}")


def choose(snapshot: Snapshot, service: str, wanted: str) -> Release:
    """The release that `wanted` means: an exact version, or the newest that is not withdrawn in a range."""
    releases = [release for (name, _), release in snapshot.releases.items() if name == service]
    if not releases:
        raise UgsError(f"there is no release of {service}", f"add releases/{service}/<version>.yaml")
    exact = [release for release in releases if release.version.text == wanted]
    if exact:
        return exact[0]
    fitting = [
        release for release in releases if release.withdrawn is None and _fits(wanted, release.version)
    ]
    if not fitting:
        known = ", ".join(sorted(release.version.text for release in releases))
        raise UgsError(f"no release of {service} fits {wanted}", f"there are {known}")
    return max(fitting, key=lambda release: release.version)


def message(snapshot: Snapshot, environment: str, release: Release) -> str:
    """The commit message: what the bump of one pin to `release` brings to what `snapshot` pins."""
    before = snapshot.environments[environment].pins[release.service].version
    lines = [f"Bump {environment}/{release.service} from {before} to {release.version}", ""]
    lines += [f"Class: {_class(before, release)}.", ""]
    if release.withdrawn is not None:
        lines += [
            f"Withdrawn since {release.withdrawn.since}: {' '.join(release.withdrawn.reason.split())}",
            "",
        ]
    if release.requires:
        lines += [*(f"Needs {name} {wanted}." for name, wanted in sorted(release.requires.items())), ""]
    for brought in between(catalogue(snapshot.releases.values()), release.service, before, release.version):
        if brought.notes.strip():
            lost = " (taken back)" if release.version < before else ""
            # Indented: at the left margin a line of notes could be a trailer, which the daemon obeys.
            noted = [
                f"  {line[:LINE_CHARACTERS_MAX]}".rstrip() for line in brought.notes.strip().splitlines()
            ]
            lines += [f"{brought.version}{lost}:", *noted, ""]
    if len(lines) > LINES_MAX:
        lines = [*lines[:LINES_MAX], "", "More: see `ugs notes`."]
    return "\n".join(lines).strip() + "\n"


def _class(before: Version, release: Release) -> str:
    """As far as two versions say; `rollback` depends on what proved healthy."""
    urgent = release.upgrade.urgency == "emergency"
    step = step_between(*sorted((before, release.version)))
    down = ", and down: needs allow_downgrade, unless it goes back to what ran before"
    return ("emergency" if urgent else step) + (down if release.version < before else "")


def _fits(wanted: str, version: Version) -> bool:
    if wanted == "latest":
        return version.parts.prerelease is None
    try:
        return Range.parse(wanted).contains(version)
    except ValueError as error:
        raise UgsError(f"{wanted}: {error}", "give a version, a range such as ^1.4, or latest") from error


def _file_of(snapshot: Snapshot, environment: str, service: str) -> str:
    if environment not in snapshot.environments:
        raise UgsError(
            f"there is no environment {environment} that can be used",
            f"there are {', '.join(snapshot.environments) or 'none'}; see `ugs check`",
        )
    pin = snapshot.environments[environment].pins.get(service)
    if pin is None:
        place = Place(f"environments/{environment}.yaml")
        raise UgsError(str(Problem(place, f"pins.{service}", "is not pinned", "add the pin by hand first")))
    return pin.place.file


@contextlib.contextmanager
def _written(file: Path, data: bytes, original: bytes) -> Iterator[None]:
    """The file with these bytes; as it was where something fails in here."""
    file.write_bytes(data)
    try:
        yield
    except UgsError:
        file.write_bytes(original)
        raise


def _switch(folder: Path, branch: str) -> None:
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


def _commit(folder: Path, path: str, text: str) -> str:
    """Commit this one file, with the person's own Git settings."""
    import git

    with _working_tree(folder) as repository:
        try:
            repository.git.commit("--quiet", "--message", text, "--", str((folder / path).resolve()))
        except git.GitCommandError as error:
            raise UgsError(
                f"git refused the commit: {_said(error)}", "mend that; the file is edited"
            ) from error
        return str(repository.head.commit.hexsha)


def _working_tree(folder: Path) -> git.Repo:
    import git

    try:
        return git.Repo(folder, search_parent_directories=True)
    except git.InvalidGitRepositoryError as error:
        raise UgsError(f"{folder} is no Git working tree", "use --no-commit, or run `git init`") from error


def _said(error: git.GitCommandError) -> str:
    return str(error.stderr).strip()
