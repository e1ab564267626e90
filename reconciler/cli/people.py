"""`ugs rollback`, `ugs retry`, `ugs quarantine`: what a person may say about a version."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli import client
from reconciler.cli.graph import config_option, daemon_at
from reconciler.cli.output import json_option, print_json, print_table, when


@click.command()
@click.argument("environment")
@click.argument("service")
@click.option("--reason", required=True, help="Why; it stands in the commit and in the audit.")
@config_option
@json_option
def rollback(environment: str, service: str, reason: str, config: Path | None, *, as_json: bool) -> None:
    """Take a service back to what ran before, at once, and revert its pin."""
    body = {"environment": environment, "service": service, "reason": reason}
    answer = client.call(daemon_at(config), "POST", "/upgrade/rollback", body)
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{environment}: {service} is being taken back (operation {answer['operation']})")


@click.command()
@click.argument("environment")
@click.argument("service")
@config_option
@json_option
def retry(environment: str, service: str, config: Path | None, *, as_json: bool) -> None:
    """Commit a quarantined pin again, with the trailer that allows one more attempt."""
    body = {"environment": environment, "service": service}
    answer = client.call(daemon_at(config), "POST", "/upgrade/retry", body)
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{environment}: {service} is pinned again by {answer['commit'][:12]}")


@click.group()
def quarantine() -> None:
    """Show or release what failed and is not tried again."""


@quarantine.command("list")
@config_option
@json_option
def show(config: Path | None, *, as_json: bool) -> None:
    """Show everything that is quarantined."""
    answer = client.call(daemon_at(config), "GET", "/quarantine")
    if as_json:
        print_json(answer)
        return
    rows = answer["quarantine"]
    print_table(
        ("since", "environment", "service", "target", "operation", "reason"),
        [
            (
                when(r["quarantined_at"]),
                r["environment"],
                r["service"],
                r["target"],
                r["operation"],
                r["reason"],
            )
            for r in rows
        ],
    )


@quarantine.command()
@click.argument("environment")
@click.argument("service")
@click.option("--reason", required=True, help="Why; it stands in the audit.")
@config_option
@json_option
def release(environment: str, service: str, reason: str, config: Path | None, *, as_json: bool) -> None:
    """Let what failed be tried once more, by whatever commit pins it."""
    body = {"environment": environment, "service": service, "reason": reason}
    answer = client.call(daemon_at(config), "POST", "/quarantine/release", body)
    if as_json:
        print_json(answer)
    else:
        for row in answer["released"]:
            click.echo(f"{environment}: {service} {row['target']} may be tried once more")
