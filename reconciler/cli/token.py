"""`ugs token`: make, show and revoke what lets people and programs use the API over the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from reconciler.cli import client
from reconciler.cli.graph import config_option, daemon_at
from reconciler.cli.output import json_option, print_json, print_table, when
from reconciler.cli.permits import end_options
from reconciler.model.rights import ALL, Role

COLUMNS = ("id", "name", "may", "made by", "used", "until")


@click.group()
def token() -> None:
    """Tokens for the API over the network. The socket of this machine needs none."""


@token.command("create")
@click.argument("name")
@click.option("--role", type=click.Choice(get_args(Role)), required=True, help="What its holder may do.")
@click.option(
    "--environment", "environments", multiple=True, help="Where; by default everywhere. Patterns: prod-*."
)
@click.option("--service", "services", multiple=True, help="With which services; by default all.")
@end_options
@config_option
@json_option
def create(
    name: str,
    role: str,
    environments: tuple[str, ...],
    services: tuple[str, ...],
    until: str | None,
    lasting: str | None,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    """Make a token for NAME, whom the audit then calls the actor. It is shown once, and kept nowhere."""
    grant = {"role": role, "environments": environments or ALL, "services": services or ALL}
    body = {"name": name, "grants": [grant], "until": until, "for": lasting}
    made = client.call(daemon_at(config), "POST", "/tokens", body)
    if as_json:
        print_json(made)
    else:
        click.echo(f"token {made['id']} of {name}: {_may(made)}, until {_until(made)}")
        click.echo(made["token"])


@token.command("list")
@config_option
@json_option
def list_tokens(config: Path | None, *, as_json: bool) -> None:
    """Show the tokens that are not revoked: whose, good for what, and when last used."""
    answer = client.call(daemon_at(config), "GET", "/tokens")
    if as_json:
        print_json(answer)
        return
    rows = [
        (str(one["id"]), one["name"], _may(one), one["made_by"], when(one["used_at"]), _until(one))
        for one in answer["tokens"]
    ]
    print_table(COLUMNS, rows)


@token.command("revoke")
@click.argument("number", metavar="ID", type=int)
@config_option
@json_option
def revoke(number: int, config: Path | None, *, as_json: bool) -> None:
    """End a token, and every stream that was opened with it."""
    gone = client.call(daemon_at(config), "POST", "/tokens/revoke", {"id": number})
    if as_json:
        print_json(gone)
    else:
        click.echo(f"token {gone['id']} of {gone['name']} is good for nothing any more")


def _may(token_row: Any) -> str:
    return "; ".join(
        f"{one['role']} of {','.join(one['environments'])}/{','.join(one['services'])}"
        for one in token_row["grants"]
    )


def _until(token_row: Any) -> str:
    if token_row["expires_at"] is None:
        return "revoked"
    return f"{when(token_row['expires_at'])}{' (expired)' if token_row['expired'] else ''}"
