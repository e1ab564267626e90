"""`ugs bump`: edit one pin in a working tree, keep every comment, and commit it."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli.edit import (
    commit_options,
    committed,
    next_step,
    on_branch,
    switch,
    tree_option,
    written,
)
from reconciler.cli.graph import config_option, settings_from
from reconciler.cli.pull import check_forge, propose, proposed_already
from reconciler.cli.tree import read_tree
from reconciler.model import splice
from reconciler.model.bumped import message, step_of
from reconciler.model.bumps import ask_of
from reconciler.model.errors import Place, Problem, UgsError
from reconciler.model.notes import catalogue
from reconciler.model.pulls import branch_for
from reconciler.model.range import Range
from reconciler.model.release import Release
from reconciler.model.snapshot import Snapshot
from reconciler.model.version import Version


@click.command()
@click.argument("environment")
@click.argument("service")
@click.argument("version")
@tree_option
@commit_options
@click.option("--pr", is_flag=True, help="Push the branch, and open a pull request on the forge of ugs.yaml.")
@config_option
def bump(
    environment: str,
    service: str,
    version: str,
    folder: Path,
    branch: str | None,
    config: Path | None,
    *,
    no_commit: bool,
    pr: bool,
) -> None:
    """Edit one pin to VERSION (1.5.0, latest, or a range such as ^1.4) and commit it on the current branch.

    The message says what the bump brings. Refuses what `ugs check` would refuse, leaving the file as it was.
    """
    if no_commit and branch is not None:
        raise click.UsageError("--branch makes a commit, and --no-commit makes none")
    if no_commit and pr:
        raise click.UsageError("--pr makes a commit, and --no-commit makes none")
    settings = settings_from(config) if pr else None
    if settings:
        check_forge(settings)
    before = read_tree(folder)
    release = choose(before, service, version)
    if pr and branch is None:
        branch = f"bump-{environment}-{service}-{release.version}"
    path = _file_of(before, environment, service)
    original = (folder / path).read_bytes()
    changed = splice.set_version(original, path, service, release.version.text)
    if changed == original and settings and branch and on_branch(folder) == branch:
        propose(settings, folder, branch)  # it was cut short before
        return
    if changed == original:
        click.echo(f"{environment}: {service} is pinned to {release.version} already")
        return
    ours = branch_for("bump", environment, service)
    if settings and (url := proposed_already(settings, ours, ask_of(environment, service, release.version))):
        click.echo(
            f"{environment}: {service} {release.version} is proposed already: {url}; merge it to deploy"
        )
        return
    with written(folder, path, changed, original, before):
        if branch is not None:
            switch(folder, branch)
    pinned = before.environments[environment].pins[service].version
    text = message(catalogue(before.releases.values()), environment, pinned, release)
    if no_commit:
        click.echo(f"{path}: {service} is pinned to {release.version}")
        return
    commit = committed(folder, path, text)
    if settings and branch:
        propose(settings, folder, branch, f"ugs: {step_of(pinned, release)}")
    else:
        click.echo(next_step(commit, text, branch))


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
