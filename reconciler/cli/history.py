"""`ugs history`: past upgrades, from the daemon's database."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click

from reconciler.cli.graph import config_option, settings_from, store_of
from reconciler.cli.output import json_option, print_json, print_table, when
from reconciler.model.codec import builtins
from reconciler.model.upgrade import Companion, Upgrade
from reconciler.store import Step, Store

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


def entry(store: Store, upgrade: Upgrade) -> dict[str, Any]:
    """One upgrade as `ugs history --json` prints it."""
    return {
        "operation": upgrade.operation,
        "change": f"{upgrade.environment}/{upgrade.service}",
        "environment": upgrade.environment,
        "service": upgrade.service,
        "class": upgrade.change_class,
        "from": str(upgrade.before.target) if upgrade.before else None,
        "to": str(upgrade.to) if upgrade.to else None,
        "revision": upgrade.revision,
        "phase": upgrade.phase.value,
        "created_at": builtins(upgrade.created_at),
        "started_at": builtins(upgrade.started_at),
        "ended_at": builtins(upgrade.ended_at),
        "reason": upgrade.reason,
        "revert_commit": upgrade.revert_commit,
        "taken_with": upgrade.taken_with or None,
        "companions": [_companion(companion) for companion in upgrade.companions],
        "steps": [_step(step) for step in store.steps(upgrade.operation)],
    }


def _companion(companion: Companion) -> dict[str, Any]:
    return {
        "service": companion.service,
        "operation": companion.operation or None,
        "from": str(companion.failed),
        "to": str(companion.restored) if companion.restored else None,
        "reason": companion.why,
        "left": companion.outcome or None,
    }


def _step(step: Step) -> dict[str, Any]:
    value: dict[str, Any] = builtins(step)
    del value["operation"]
    return value
