"""`ugs audit`: the append-only, hash-chained log of everything that changed."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from reconciler.cli.graph import config_option, settings_here, store_of
from reconciler.cli.output import json_option, print_json, print_table, when
from reconciler.model.codec import builtins


@click.group()
def audit() -> None:
    """Show or verify the audit log."""


@audit.command("log")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@config_option
@json_option
def show(limit: int, config: Path | None, *, as_json: bool) -> None:
    """Show the newest rows, the oldest of them first."""
    with contextlib.closing(store_of(settings_here(config))) as store:
        rows = store.audit_rows(limit=limit)
    if as_json:
        print_json({"rows": builtins(rows)})
        return
    print_table(
        ("at", "event", "environment", "service", "actor", "detail"),
        [
            (when(r.at.isoformat()), r.event, r.environment, r.service, r.actor, r.detail)
            for r in reversed(rows)
        ],
    )


@audit.command()
@config_option
@json_option
def verify(config: Path | None, *, as_json: bool) -> None:
    """Check the hash chain. Exit code 1 where a row was edited, removed or put in."""
    with contextlib.closing(store_of(settings_here(config))) as store:
        found = store.verify_audit()
    if as_json:
        print_json({"ok": found is None, "broken_at": found.id if found else None})
    else:
        click.echo(f"broken at row {found.id}: {found.reason}" if found else "the audit log is whole")
    if found:
        sys.exit(1)
