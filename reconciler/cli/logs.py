"""`ugs logs`: what a service wrote."""

from __future__ import annotations

from pathlib import Path

import click

from reconciler.cli.graph import config_option, settings_here, site_of
from reconciler.model.errors import UgsError


@click.command()
@click.argument("environment")
@click.argument("service")
@click.option("-n", "--lines", type=click.IntRange(1, 10_000), default=100, show_default=True)
@config_option
def logs(environment: str, service: str, lines: int, config: Path | None) -> None:
    """Show the last lines that a service wrote, whether or not a daemon runs."""
    from reconciler.drivers import DRIVERS

    settings = settings_here(config)
    site = site_of(settings)
    written = [
        line
        for kind in settings.drivers
        for line in DRIVERS[kind].logs(site, environment, service, lines=lines)
    ]
    if not written:
        raise UgsError(
            f"{environment}: nothing is kept that {service} wrote", "see `ugs status` for what runs where"
        )
    for line in written:
        click.echo(line)
