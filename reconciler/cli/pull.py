"""A pull request from the branch that was just committed on, on the forge that ugs.yaml names."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli.edit import last_message, on_branch, push
from reconciler.cli.forge import closing_forge
from reconciler.config import Settings
from reconciler.model.errors import UgsError
from reconciler.model.markdown import quote

LABEL = "ugs"


def check_forge(settings: Settings) -> None:
    """Raise UgsError unless ugs.yaml says where pull requests are."""
    if settings.forge is None:
        raise UgsError(
            f"{settings.file} names no forge, so there are no pull requests",
            "add `forge`, or push the branch and open it by hand",
        )


def proposed_already(settings: Settings, branch: str, ask: str) -> str:
    """Where the daemon's own pull request from this branch is, if one is open that asks for this; else empty."""
    from reconciler.model.pulls import asked_in

    with closing_forge(settings) as forge:
        pull = forge.pull_from(branch) if forge else None
    return pull.url if pull and pull.state == "open" and ask in asked_in(pull.body) else ""


def propose(settings: Settings, folder: Path, branch: str, *labels: str) -> None:
    """Push the branch that is checked out, and open a pull request from it, unless one is open; print where it is.

    Raises UgsError, having left the branch as it is: the same command goes on from there.
    """
    from reconciler.forge import Draft

    if on_branch(folder) != branch:
        raise UgsError(f"{branch} is not checked out", f"run `git switch {branch}`, and try again")
    title, _, text = last_message(folder).partition("\n")
    push(folder, branch)
    with closing_forge(settings) as forge:
        if forge is None:
            raise RuntimeError("there is no forge")
        pull = forge.pull_from(branch)
        if pull is None or pull.state != "open":
            body = "\n".join(quote(text)) if text.strip() else title
            base = settings.repository.branch
            pull = forge.open_pull(Draft(branch, base, title, body, (LABEL, *labels)))
    click.echo(f"{title}: {pull.url}; merge it to deploy")
