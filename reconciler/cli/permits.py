"""`ugs hold`, `ugs approve`, `ugs override`: what a person may say about gates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import click

from reconciler.cli import client
from reconciler.cli.graph import config_option, daemon_at
from reconciler.cli.output import json_option, print_json, print_table, when

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT = "add"


class Verb(click.Group):
    """A verb that may be used as one: `ugs hold production` is `ugs hold add production`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = self.commands.keys() | set(ctx.help_option_names)
        return super().parse_args(ctx, [DEFAULT, *args] if args and args[0] not in own else args)


def reason_option(command: F) -> F:
    return click.option("--reason", required=True, help="Why; everybody who waits is told.")(command)


def end_options(command: F) -> F:
    """`--until` and `--for`: when it ends by itself."""
    until = click.option("--until", help="When it ends, such as 2026-11-03T18:00:00+01:00.")
    lasting = click.option("--for", "lasting", help="For how long, such as 30m, 4h or 7d.")
    return until(lasting(command))


@click.group(cls=Verb)
def hold() -> None:
    """Let nothing start in an environment, or of a service. ENVIRONMENT [SERVICE] alone adds a hold."""


@hold.command("add")
@click.argument("environment")
@click.argument("service", required=False)
@reason_option
@end_options
@config_option
@json_option
def add_hold(
    environment: str,
    service: str | None,
    reason: str,
    until: str | None,
    lasting: str | None,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    """Let nothing start, until it ends or is released. What is under way is finished."""
    body = {"environment": environment, "service": service, "reason": reason, "until": until, "for": lasting}
    made = post(config, "/holds", body, as_json=as_json)
    say(made, f"held until {end_of(made)} (hold {made['id']})", as_json=as_json)


@hold.command("list")
@click.argument("environment", required=False)
@config_option
@json_option
def list_holds(environment: str | None, config: Path | None, *, as_json: bool) -> None:
    """Show what is held, by whom, why and until when."""
    columns = ("id", "environment", "service", "owner", "since", "until", "reason")
    print_list(config, "holds", environment, columns, as_json=as_json)


@hold.command("release")
@click.argument("number", metavar="ID", type=int)
@config_option
@json_option
def release_hold(number: int, config: Path | None, *, as_json: bool) -> None:
    """End a hold before its time."""
    ended = post(config, "/holds/release", {"id": number}, as_json=as_json)
    say(ended, "is held by this no longer", as_json=as_json)


@click.group(cls=Verb)
def approve() -> None:
    """Approve the change that is planned for a service. ENVIRONMENT SERVICE alone adds an approval."""


@approve.command("add")
@click.argument("environment")
@click.argument("service")
@end_options
@config_option
@json_option
def add_approval(
    environment: str,
    service: str,
    until: str | None,
    lasting: str | None,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    """Approve the change that is planned now, for 7 days unless said otherwise.

    Another version, starting version, path or commit is another change, and not approved.
    """
    body = {"environment": environment, "service": service, "until": until, "for": lasting}
    made = post(config, "/approvals", body, as_json=as_json)
    step = f"{_version(made['from'])} → {_version(made['to'])}, pinned by {made['revision'][:12]},"
    say(made, f"{step} is approved until {end_of(made)} (approval {made['id']})", as_json=as_json)


@approve.command("list")
@click.argument("environment", required=False)
@config_option
@json_option
def list_approvals(environment: str | None, config: Path | None, *, as_json: bool) -> None:
    """Show who approved what, and until when."""
    columns = ("id", "environment", "service", "from", "to", "revision", "by", "until")
    print_list(config, "approvals", environment, columns, as_json=as_json)


@approve.command("withdraw")
@click.argument("number", metavar="ID", type=int)
@config_option
@json_option
def withdraw_approval(number: int, config: Path | None, *, as_json: bool) -> None:
    """Take an approval back, as long as the change has not started."""
    taken = post(config, "/approvals/withdraw", {"id": number}, as_json=as_json)
    say(taken, f"{_version(taken['to'])} is approved by {taken['by']} no longer", as_json=as_json)


@click.group(cls=Verb)
def override() -> None:
    """Pass by a closed gate, for a while. ENVIRONMENT [SERVICE] alone adds an override."""


@override.command("add")
@click.argument("environment")
@click.argument("service", required=False)
@click.option("--gate", required=True, help="Which, as `ugs explain` names it.")
@reason_option
@end_options
@config_option
@json_option
def add_override(
    environment: str,
    service: str | None,
    gate: str,
    reason: str,
    until: str | None,
    lasting: str | None,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    """Have a closed gate count as open, for at most 24 hours. It is told at once, and a second person confirms it."""
    body = {
        "environment": environment,
        "service": service,
        "gate": gate,
        "reason": reason,
        "until": until,
        "for": lasting,
    }
    made = post(config, "/overrides", body, as_json=as_json)
    question = f"a second person confirms it with `ugs override confirm {made['id']}`"
    say(made, f"the gate {made['gate']} is overridden until {end_of(made)}; {question}", as_json=as_json)


@override.command("list")
@click.argument("environment", required=False)
@config_option
@json_option
def list_overrides(environment: str | None, config: Path | None, *, as_json: bool) -> None:
    """Show what is overridden, and what nobody has confirmed yet."""
    columns = ("id", "environment", "service", "gate", "by", "until", "confirmed_by", "reason")
    print_list(config, "overrides", environment, columns, as_json=as_json)


@override.command("confirm")
@click.argument("number", metavar="ID", type=int)
@config_option
@json_option
def confirm_override(number: int, config: Path | None, *, as_json: bool) -> None:
    """Say that somebody else's override was right. Nobody confirms their own."""
    made = post(config, "/overrides/confirm", {"id": number}, as_json=as_json)
    say(made, f"the override of the gate {made['gate']} by {made['by']} is confirmed", as_json=as_json)


def post(config: Path | None, path: str, body: object, *, as_json: bool) -> Any:
    answer = client.call(daemon_at(config), "POST", path, body)
    if as_json:
        print_json(answer)
    return answer


def say(row: dict[str, Any], text: str, *, as_json: bool) -> None:
    if not as_json:
        where = ": ".join(filter(None, (row["environment"], row["service"])))
        click.echo(f"{where}: {text}")


def print_list(
    config: Path | None, kind: str, environment: str | None, columns: Sequence[str], *, as_json: bool
) -> None:
    query = f"?{urlencode({'environment': environment})}" if environment else ""
    answer = client.call(daemon_at(config), "GET", f"/{kind}{query}")
    if as_json:
        print_json(answer)
        return
    titles = [column.replace("_", " ") for column in columns]
    print_table(titles, [[_cell(column, row[column]) for column in columns] for row in answer[kind]])


def _cell(column: str, value: str | int | None) -> str:
    if column in ("since", "until"):
        return when(str(value)) if value else "-"
    if column == "revision":
        return str(value)[:12]
    return str(value) if value is not None else "-"


def end_of(row: dict[str, Any]) -> str:
    return when(row["until"]) if row["until"] else "it is released"


def _version(target: str | None) -> str:
    return target.partition("@")[0] if target else "nothing"
