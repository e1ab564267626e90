"""How a plan between two revisions prints for people."""

from __future__ import annotations

import click

from reconciler.cli.output import print_table
from reconciler.model.markdown import inert
from reconciler.model.plan_text import COLUMNS, Shown, aside, facts, row, title


def print_text(shown: Shown) -> None:
    """For a terminal or a pipe."""
    preview = shown.preview
    click.echo(f"{shown.before[:12]}..{shown.after[:12]}: {shown.headline}; {shown.running}")
    if preview.changes:
        print_table(COLUMNS, [row(planned) for planned in preview.changes])
    for planned in preview.changes:
        click.echo(f"\n{title(planned)}")
        for label, text in facts(planned):
            click.echo(f"  {label}: {inert(' '.join(text.split()))}")
        for release in planned.notes:
            click.echo(f"  notes of {release.version}:" + ("" if release.notes.strip() else " none"))
            for line in inert(release.notes.strip()).splitlines():
                click.echo(f"  | {line}".rstrip())  # a line that starts with :: is a command to a runner
    rest = [*aside(preview), *map(str, preview.problems)]
    for line in ["", *rest] if rest else []:
        click.echo(inert(line))
