"""`ugs backup`: copies of the daemon's own database, and of services' data."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.client import actor_name
from reconciler.cli.graph import config_option, settings_from, settings_here, store_of
from reconciler.cli.output import json_option, print_json, print_table, when
from reconciler.cli.state import state_lock
from reconciler.clock import SystemClock
from reconciler.model.codec import builtins

if TYPE_CHECKING:
    from reconciler.store.backup import Backup


@click.group()
def backup() -> None:
    """Copies of the daemon's database, and of services' data."""


@backup.command()
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    help="A new file; by default one in the state folder, by the time.",
)
@config_option
@json_option
def create(to: Path | None, config: Path | None, *, as_json: bool) -> None:
    """Copy the database, also while the daemon runs; the copy is verified."""
    from reconciler.store import backup as backups
    from reconciler.store.opening import DATABASE

    state, now = settings_from(config).state, SystemClock().now
    if to is None:
        (state / backups.FOLDER).mkdir(mode=0o700, exist_ok=True)
        to = state / backups.FOLDER / now().strftime(backups.FORM)
    _show(backups.create(state / DATABASE, to, now=now), "is made and verified", as_json=as_json)


@backup.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def verify(file: Path, *, as_json: bool) -> None:
    """Check every page, reference and row of the audit of a copy. Exit code 1 where one is not as it was written."""
    from reconciler.store import backup as backups

    _show(backups.verify(file, now=SystemClock().now), "is whole", as_json=as_json)


@backup.command()
@click.argument("file", type=click.Path(path_type=Path))
@config_option
@json_option
def restore(file: Path, config: Path | None, *, as_json: bool) -> None:
    """Put a verified copy in the database's place while no daemon runs; the next one starts in safe mode."""
    from reconciler.store import backup as backups

    state = settings_from(config).state
    with state_lock(state):
        kept = backups.restore(file, state, now=SystemClock().now, actor=actor_name())
    if as_json:
        print_json({"restored": str(file), "kept": str(kept) if kept else None})
        return
    click.echo(f"{file} is the database now" + (f"; what stood there is kept as {kept}" if kept else ""))
    click.echo("start the daemon: it begins in safe mode, and `ugs recover` shows what it finds")


@backup.command("list")
@click.argument("environment", required=False)
@click.argument("service", required=False)
@config_option
@json_option
def list_backups(environment: str | None, service: str | None, config: Path | None, *, as_json: bool) -> None:
    """Show the backups that are kept of services' data, the newest first."""
    with contextlib.closing(store_of(settings_here(config))) as store:
        rows = store.backups(environment, service)
    if as_json:
        print_json({"backups": builtins(rows)})
        return
    print_table(
        ("saved", "environment", "service", "of", "kind", "state", "bytes", "path"),
        [
            (
                when(row.saved_at.isoformat()),
                row.environment,
                row.service,
                row.version or "-",
                row.kind,
                row.state,
                str(row.size_bytes),
                row.path,
            )
            for row in rows
        ],
    )


def _show(made: Backup, what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "file": str(made.path),
                "schema": made.schema,
                "rows": made.rows,
                "newest": builtins(made.newest),
            }
        )
        return
    newest = f", the newest of {when(made.newest.isoformat())}" if made.newest else ""
    click.echo(f"{made.path} {what}: {made.rows} rows of audit{newest}")
