"""`ugs run`: the daemon. `ugs sync`: have it fetch now."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.allocator import share_arenas
from reconciler.cli import client
from reconciler.cli.channels import gap, hearing
from reconciler.cli.graph import config_option, core_from, daemon_at, issuers_of, settings_from
from reconciler.cli.loglines import FORMS, Form, configure
from reconciler.cli.output import json_option, print_json
from reconciler.cli.programs import programs
from reconciler.cli.state import LOCKED_EXIT, Locked, private_files, state_lock
from reconciler.cli.tracing import traced
from reconciler.config import Settings
from reconciler.config.exposure import refuse_exposed
from reconciler.model.errors import HostError

if TYPE_CHECKING:
    from reconciler.engine.daemon import Daemon

LEVELS = ("debug", "info", "warning", "error")
THREADS_MAX = 64
"""For what blocks beside drivers, which have their own: a remote, a forge or a disk that hangs is not to take all that
there are, by default six on two cores."""


@click.command()
@config_option
@click.option("--once", is_flag=True, help="Bring everything to its pins as far as gates allow, then end.")
@click.option("--accept-first", is_flag=True, help="Let more than five first deployments start at once.")
@click.option("--strict", is_flag=True, help="Do not start with a git or SQLite that is too old.")
@click.option(
    "--host", help="The name of this machine in environments that list their hosts; by default its host name."
)
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True)
@click.option("--log-format", type=click.Choice(FORMS), default="human", show_default=True)
def run(
    config: Path | None,
    *,
    once: bool,
    accept_first: bool,
    strict: bool,
    host: str | None,
    log_level: str,
    log_format: Form,
) -> None:
    """Run the daemon until SIGTERM or Ctrl-C; the services that it started run on."""
    settings = settings_from(config)
    if host is not None:
        settings = dataclasses.replace(settings, host=host)
    share_arenas()
    configure(log_level, log_format)
    try:
        refuse_exposed(settings)
        lacks = _lacks(strict=strict)
        if untold := gap(settings.notify, settings.environments):
            lacks.append(untold)
        with (
            private_files() as umask,
            state_lock(settings.state),
            core_from(settings, leased=True, umask=umask) as core,
            traced(core),
            closing(core.lanes),
            closing(core.asking),
        ):
            for text in lacks:
                logging.getLogger("ugs").warning("%s", text)
            from reconciler.engine.daemon import Daemon

            daemon = Daemon(core, accept_first=accept_first)
            if once:
                sys.exit(0 if asyncio.run(daemon.run_once()) else 1)
            asyncio.run(_serve(daemon, settings))
    except Locked as error:
        click.echo(f"ugs: {error}", err=True)
        sys.exit(LOCKED_EXIT)


def _lacks(*, strict: bool) -> list[str]:
    """What speaks against the versions of this machine's programs. With `strict`, raise HostError for it."""
    lacks = [text for one in programs() for text in one.lacks]
    if strict and lacks:
        raise HostError("; ".join(lacks), "install a newer one, or start without --strict")
    return lacks


async def _serve(daemon: Daemon, settings: Settings) -> None:
    from reconciler.api import application, by_socket, by_token_or_session, fleetlock, serve

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="ugs"))
    companions, routes = hearing(daemon, settings)
    doors = [partial(serve, application(daemon, by_socket), settings.state / client.SOCKET_NAME)]
    if settings.listen:
        # The dashboard, with its templates, is for a daemon that shows it to people.
        from reconciler.api.signin import routes_of
        from reconciler.api.web import pages

        issuers = issuers_of(settings, daemon.core.clock)
        open_to = by_token_or_session(daemon.core, issuers)
        doors.append(
            partial(
                serve,
                application(daemon, open_to, [routes_of(issuers), pages, *routes]),
                settings.listen,
                settings.tls,
            )
        )
    if settings.fleetlock.listen:
        doors.append(partial(serve, fleetlock(daemon.core), settings.fleetlock.listen))
    await daemon.run(*doors, *companions)


@click.command()
@config_option
@json_option
@click.option("--accept-rewrite", is_flag=True, help="Take a force-pushed branch into force.")
def sync(config: Path | None, *, as_json: bool, accept_rewrite: bool) -> None:
    """Have the running daemon fetch now, and wait until what is new is in force."""
    answer = client.call(daemon_at(config), "POST", "/sync", {"accept_rewrite": accept_rewrite})
    if as_json:
        print_json(answer)
    else:
        click.echo(f"{answer['revision'][:12]} is in force")
