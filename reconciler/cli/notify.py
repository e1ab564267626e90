"""`ugs notify test`: does a message arrive where ugs.yaml says? It needs no daemon."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import click
from msgspec import Struct

from reconciler.cli.channels import gap, sender_of
from reconciler.cli.client import actor_name
from reconciler.cli.graph import config_option, settings_from
from reconciler.cli.output import json_option, print_json, print_table, working
from reconciler.clock import SystemClock
from reconciler.config import Notify, Settings
from reconciler.model.codec import builtins
from reconciler.model.errors import UgsError
from reconciler.model.notice import Notice, Severity
from reconciler.model.routing import routed

SEVERITIES = get_args(Severity)


class Tried(Struct, frozen=True):
    """What came of one channel. `sent`: None where nothing was."""

    channel: str
    sent: bool | None = None
    error: str = ""


@click.group()
def notify() -> None:
    """Try what people are told through."""


@notify.command()
@click.option("--channel", help="This channel alone, whatever the rules say.")
@click.option("--environment", default="", help="As if of this environment; by default of all.")
@click.option("--severity", type=click.Choice(SEVERITIES), default="info", show_default=True)
@click.option("--service", default="", help="As if of this service; by default of all.")
@click.option("--dry-run", is_flag=True, help="Only show which channels the rules choose.")
@config_option
@json_option
@click.pass_context
def test(
    context: click.Context,
    channel: str | None,
    environment: str,
    severity: Severity,
    service: str,
    config: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Send a test message through each channel that the rules choose.

    Exit code 1 when one did not take it, or none is chosen.
    """
    settings = settings_from(config)
    notice = _notice(environment, service, severity)
    channels = _chosen(settings.notify, notice, channel)
    if dry_run:
        rows = [Tried(name) for name in channels]
    else:
        with working("sending"):
            rows = asyncio.run(_sent(settings.notify, channels, notice))
    _show(settings, rows, as_json=as_json)
    context.exit(1 if not rows or any(row.error for row in rows) else 0)


def _notice(environment: str, service: str, severity: Severity) -> Notice:
    if service and not environment:
        raise UgsError("a service is one of an environment", "add --environment")
    return Notice(
        environment=environment,
        service=service,
        sentence=f"a test, sent by {actor_name()} on {socket.gethostname()}: nothing has happened",
        severity=severity,
        at=SystemClock().now(),
        title="UGS: test",
    )


def _chosen(notify: Notify, notice: Notice, channel: str | None) -> tuple[str, ...]:
    known = notify.channels
    if channel is not None and channel not in known:
        raise UgsError(
            f"ugs.yaml has no channel {channel}", f"name one of {', '.join(known) or 'none: add some'}"
        )
    return (channel,) if channel else routed(notice, notify.rules, known)


async def _sent(notify: Notify, channels: Sequence[str], notice: Notice) -> list[Tried]:
    return list(await asyncio.gather(*(_try(notify, name, notice) for name in channels)))


async def _try(notify: Notify, channel: str, notice: Notice) -> Tried:
    try:
        await sender_of(notify, channel).tell(notice, None)
    except UgsError as error:
        return Tried(channel, sent=False, error=str(error))
    return Tried(channel, sent=True)


def _show(settings: Settings, rows: Sequence[Tried], *, as_json: bool) -> None:
    if as_json:
        print_json({"channels": builtins(rows)})
        return
    if rows:
        print_table(
            ("channel", "result"),
            [(row.channel, row.error or ("sent" if row.sent else "chosen")) for row in rows],
        )
    else:
        click.echo("no channel is chosen: nobody would be told")
    if lack := gap(settings.notify, settings.environments):
        click.echo(lack, err=True)
