"""A flag switched in a working tree: the one setting edited, the plan shown, the file committed."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli import preview as show
from reconciler.cli.edit import committed, next_step, switch, written
from reconciler.cli.output import print_json
from reconciler.clock import SystemClock
from reconciler.engine.between import between_json
from reconciler.model.errors import UgsError
from reconciler.model.flip import Wanted, files_of, flipped, subject
from reconciler.model.plan_text import Shown
from reconciler.model.preview import preview
from reconciler.model.snapshot import Snapshot

TAKEN = "what is pinned is taken to run"


def carry_out(
    before: Snapshot,
    folder: Path,
    environment: str,
    flag: str,
    wanted: Wanted | None,
    *,
    branch: str | None,
    no_commit: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Edit, show, commit. None: the setting goes. Raises UgsError."""
    if no_commit and branch is not None:
        raise click.UsageError("--branch makes a commit, and --no-commit makes none")
    path = _file_of(folder, environment)
    original = (folder / path).read_bytes()
    changed, text = flipped(original, path, flag, wanted), f"{subject(environment, flag, wanted)}\n"
    with written(folder, path, changed, original, before) as after:
        made = preview(before, after, now=SystemClock().now())
        keep = not dry_run and changed != original
        if not keep:
            (folder / path).write_bytes(original)
        elif branch is not None:
            switch(folder, branch)
    commit = committed(folder, path, text) if keep and not no_commit else None
    shown = Shown(made, "before", "after", "repository", TAKEN)
    if as_json:
        print_json(between_json(made, shown.before, shown.after, shown.basis) | {"commit": commit})
    elif changed == original:
        click.echo(f"{path}: {flag} stands so already")
    else:
        show.print_text(shown)
        click.echo(next_step(commit, text, branch) if commit else _left(path, flag, dry_run=dry_run))


def _left(path: str, flag: str, *, dry_run: bool) -> str:
    return f"{path} is as it was" if dry_run else f"{path}: {flag} is edited, and not committed"


def _file_of(folder: Path, environment: str) -> str:
    """The file of the environment's settings."""
    paths = files_of(environment)
    for path in paths:
        if (folder / path).is_file():
            return path
    raise UgsError(f"there is no environment {environment}", f"it would stand in {paths[0]}")
