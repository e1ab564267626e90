"""`ugs adopt`: let what is not ours, and has a service's name, be taken over."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli.graph import config_option
from reconciler.cli.output import json_option
from reconciler.cli.permits import Verb, end_of, end_options, post, print_list, reason_option, say


@click.group(cls=Verb)
def adopt() -> None:
    """Let what is not ours be taken over. ENVIRONMENT SERVICE alone adds an adoption."""


@adopt.command("add")
@click.argument("environment")
@click.argument("service")
@reason_option
@end_options
@config_option
@json_option
def add_adoption(
    environment: str,
    service: str,
    reason: str,
    until: str | None,
    lasting: str | None,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    """Let the next deployment take over what has the service's name, within 7 days unless said otherwise.

    What is there is replaced by what is pinned; UGS did not make it, and cannot bring it back.
    """
    body = {"environment": environment, "service": service, "reason": reason, "until": until, "for": lasting}
    made = post(config, "/adoptions", body, as_json=as_json)
    text = f"may be adopted until {end_of(made)} (adoption {made['id']}): {made['what']}"
    say(made, text, as_json=as_json)


@adopt.command("list")
@click.argument("environment", required=False)
@config_option
@json_option
def list_adoptions(environment: str | None, config: Path | None, *, as_json: bool) -> None:
    """Show what may be adopted, by whose word, why and until when."""
    columns = ("id", "environment", "service", "by", "until", "reason", "what")
    print_list(config, "adoptions", environment, columns, as_json=as_json)


@adopt.command("withdraw")
@click.argument("number", metavar="ID", type=int)
@config_option
@json_option
def withdraw_adoption(number: int, config: Path | None, *, as_json: bool) -> None:
    """Take the word back, as long as it was not used."""
    taken = post(config, "/adoptions/withdraw", {"id": number}, as_json=as_json)
    say(taken, "may be adopted no longer", as_json=as_json)
