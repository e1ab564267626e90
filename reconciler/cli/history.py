"""`ugs history`: past upgrades, from the daemon's database."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from reconciler.cli.graph import config_option, settings_from, store_of
from reconciler.cli.output import json_option, print_json, print_table, when
from reconciler.engine.journal import entry

LIMIT = 20


@click.command()
@click.argument("environment", required=False)
@click.argument("service", required=False)
@click.option("--limit", type=click.IntRange(1, 10_000), default=LIMIT, show_default=True)
@config_option
@json_option
def history(
    environment: str | None, service: str | None, limit: int, config: Path | None, *, as_json: bool
) -> None:
    """Show past upgrades, the newest first; with --json, each with its journal."""
    with contextlib.closing(store_of(settings_from(config))) as store:
        upgrades = store.upgrades(environment=environment, service=service, limit=limit)
        if as_json:
            print_json({"upgrades": [entry(store, upgrade) for upgrade in upgrades]})
            return
    rows = [
        (
            when(upgrade.created_at.isoformat()),
            upgrade.environment,
            upgrade.service,
            upgrade.before.target.version.text if upgrade.before else "-",
            upgrade.to.version.text if upgrade.to else "-",
            upgrade.phase.value,
            upgrade.reason,
        )
        for upgrade in upgrades
    ]
    print_table(("created", "environment", "service", "from", "to", "phase", "reason"), rows)
