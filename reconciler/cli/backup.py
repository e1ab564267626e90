"""`ugs backup`: copies of services' data."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from reconciler.cli.graph import config_option, settings_from, store_of
from reconciler.cli.output import json_option, print_json, print_table, when
from reconciler.model.codec import builtins


@click.group()
def backup() -> None:
    """Show the backups of services' data."""


@backup.command("list")
@click.argument("environment", required=False)
@click.argument("service", required=False)
@config_option
@json_option
def list_backups(environment: str | None, service: str | None, config: Path | None, *, as_json: bool) -> None:
    """Show the backups that are kept of services' data, the newest first."""
    with contextlib.closing(store_of(settings_from(config))) as store:
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
