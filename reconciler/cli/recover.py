"""`ugs recover`: what safe mode found, and a person's word that it will do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from reconciler.cli import client
from reconciler.cli.graph import config_option, daemon_at
from reconciler.cli.output import json_option, print_json, print_table, when


@click.command()
@click.argument("environment", required=False)
@click.option("--accept", is_flag=True, help="What is shown will do: let upgrades start again.")
@config_option
@json_option
def recover(environment: str | None, config: Path | None, *, accept: bool, as_json: bool) -> None:
    """Show why environments are in safe mode, what is known of them, and what accepting that would do."""
    at = daemon_at(config)
    if accept:
        answer = client.call(at, "POST", "/recover/accept", {"environment": environment})
        lines = [f"{name}: safe mode is over" for name in answer["accepted"]]
    else:
        answer = client.call(at, "GET", "/recover")
        lines = []
    if as_json:
        print_json(answer)
        return
    for line in lines:
        click.echo(line)
    for here in answer.get("environments", ()):
        if environment in (None, here["environment"]):
            _show(here)
    if not accept and not answer["environments"]:
        click.echo("nothing is in safe mode")


def _show(here: dict[str, Any]) -> None:
    click.echo(f"{here['environment'] or 'everywhere'}: {here['reason']} (since {when(here['since'])})")
    if here["base"] is None:
        click.echo("Git has not been asked yet: a fetch has to succeed first")
        return
    click.echo(f"Git was asked at {here['base'][:12]}; a pin that a later commit moves is followed\n")
    rows = [
        (
            one["service"],
            one["pinned"] or "-",
            one["running"] or "-",
            one["last_good"] or "-",
            ", ".join(one["quarantined"]) or "-",
            one["on_accept"],
        )
        for one in here["services"]
    ]
    print_table(("service", "pinned", "running", "last-good", "quarantined", "on accept"), rows)
    click.echo(f"\nTo go on from here: ugs recover --accept {here['environment']}")
