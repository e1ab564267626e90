"""`ugs migrations`: which changes of services' data are applied, and a person's word where nobody knows."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from reconciler.cli import client
from reconciler.cli.graph import config_option, daemon_at, settings_here, store_of
from reconciler.cli.output import json_option, print_json, print_table, when
from reconciler.model.codec import builtins


@click.group()
def migrations() -> None:
    """Show which migrations of services' data are applied, or say it where nobody knows."""


@migrations.command("list")
@click.argument("environment", required=False)
@click.argument("service", required=False)
@config_option
@json_option
def list_migrations(
    environment: str | None, service: str | None, config: Path | None, *, as_json: bool
) -> None:
    """Show every migration that was ever touched, and how it stands."""
    with contextlib.closing(store_of(settings_here(config))) as store:
        rows = store.migrations(environment, service)
    if as_json:
        print_json({"migrations": builtins(rows)})
        return
    print_table(
        ("environment", "service", "migration", "of", "state", "since", "evidence"),
        [
            (
                row.environment,
                row.service,
                row.id,
                row.version,
                row.state,
                when(row.changed_at.isoformat()),
                (row.evidence.splitlines() or [""])[0],
            )
            for row in rows
        ],
    )


@migrations.command()
@click.argument("environment")
@click.argument("service")
@click.argument("name", metavar="ID")
@click.option("--applied/--absent", required=True, help="What you found: it is applied, or it is not.")
@click.option("--reason", required=True, help="How you know; it stands in the audit.")
@config_option
@json_option
def settle(
    environment: str,
    service: str,
    name: str,
    config: Path | None,
    reason: str,
    *,
    applied: bool,
    as_json: bool,
) -> None:
    """Say how a migration stands of which nobody knows, after looking at the data."""
    body = {"environment": environment, "service": service, "id": name, "applied": applied, "reason": reason}
    answer = client.call(daemon_at(config), "POST", "/migrations/settle", body)
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{environment}: {service}: migration {name} is {answer['state']}")
