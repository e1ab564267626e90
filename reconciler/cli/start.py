"""`ugs start`: now, what the gates allow. `ugs verify`: how what runs is, asked at once."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from reconciler.cli import client
from reconciler.cli.graph import config_option, daemon_at
from reconciler.cli.output import json_option, print_json, print_table


@click.command()
@click.argument("environment")
@click.argument("service")
@click.option("--reason", default="", help="Why; needed with --override.")
@click.option("--override", "gate", help="Pass by this one closed gate; it takes the role admin.")
@click.option("--for", "lasting", help="For how long the override counts, such as 1h.")
@config_option
@json_option
def start(
    environment: str,
    service: str,
    reason: str,
    gate: str | None,
    lasting: str | None,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    """Start the change that is planned for SERVICE, where its gates allow that now.

    It also starts what has `manual` for a window, which nothing else does.
    """
    if (gate is None) != (lasting is None):
        raise click.UsageError("--override and --for go together")
    override = {"gate": gate, "for": lasting} if gate else None
    body = {"environment": environment, "service": service, "reason": reason, "override": override}
    answer = client.call(daemon_at(config), "POST", "/upgrade/execute", body)
    if as_json:
        print_json(answer)
    else:
        click.echo(answer["sentence"])


@click.command()
@click.argument("environment")
@click.argument("service", required=False)
@config_option
@json_option
def verify(environment: str, service: str | None, config: Path | None, *, as_json: bool) -> None:
    """Run the probes of what runs, once. Exit code 2 where anything is not healthy. Nothing is changed by it."""
    body = {"environment": environment, "service": service}
    answer = client.call(daemon_at(config), "POST", "/upgrade/verify", body)
    if as_json:
        print_json(answer)
    elif "look_at" in answer:
        click.echo("it takes longer; see `ugs status`")
    else:
        rows = [(one["service"], one["verdict"], one["sentence"]) for one in answer["services"]]
        print_table(("service", "verdict", "what"), rows)
    if any(one["verdict"] != "healthy" for one in answer.get("services", ())):
        sys.exit(2)
