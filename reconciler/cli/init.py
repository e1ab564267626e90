"""`ugs init`: a repository to start from, which passes `ugs check` and runs as it is."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli.example import copy_example
from reconciler.model.errors import UgsError

CONFIGURATION = """\
# The daemon's own configuration: keep it out of the repository that it watches when that is shared.
repository: {{url: "{url}", branch: main, poll: 30s}}
state: ./var
environments: [demo]
drivers: [process]
"""


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
def init(folder: Path) -> None:
    """Scaffold a repository in FOLDER: releases/, environments/ and a ugs.yaml beside them."""
    for name in ("releases", "environments", "ugs.yaml"):
        if (folder / name).exists():
            raise UgsError(f"{folder / name} exists already", "choose a folder without it")
    folder.mkdir(parents=True, exist_ok=True)
    copy_example(folder)
    (folder / "ugs.yaml").write_text(CONFIGURATION.format(url=folder.resolve()))
    (folder / ".gitignore").write_text("/var/\n/ugs.yaml\n")
    _init_git(folder)
    click.echo(
        f"{folder} holds an example service, greeter, and an environment, demo, that pins it.\n"
        f"  cd {folder} && git add -A && git commit -m 'Start'\n"
        "  ugs check\n"
        "  ugs run            # deploys greeter 1.0.0 and watches this repository\n"
        "  ugs bump demo greeter 1.1.0    # in another terminal: this commit is the deployment"
    )


def _init_git(folder: Path) -> None:
    """A repository of its own, whose checked-out branch takes the reverts that UGS pushes."""
    import git

    try:
        git.Repo(folder, search_parent_directories=True).close()
    except git.InvalidGitRepositoryError:
        with git.Repo.init(folder, initial_branch="main") as repository, repository.config_writer() as writer:
            writer.set_value("receive", "denyCurrentBranch", "updateInstead")
