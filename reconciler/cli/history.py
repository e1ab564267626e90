"""`ugs history`: past upgrades, from the daemon's database."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from reconciler.cli import client
from reconciler.cli.graph import config_option, daemon_at, settings_from, store_of
from reconciler.cli.output import json_option, print_json, print_table, when
from reconciler.config.elsewhere import Elsewhere
from reconciler.engine.journal import entry
from reconciler.model.availability import lasting

LIMIT = 20
PAGE = 100


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
    at = daemon_at(config)
    upgrades = _asked(at, environment, service, limit) if isinstance(at, Elsewhere) else None
    if upgrades is None:
        with contextlib.closing(store_of(settings_from(config))) as store:
            found = store.upgrades(environment=environment, service=service, limit=limit)
            upgrades = [entry(store, upgrade) for upgrade in found]
    if as_json:
        print_json({"upgrades": upgrades})
        return
    rows = [
        (
            when(one["created_at"]),
            one["environment"],
            one["service"],
            _version(one["from"]),
            _version(one["to"]),
            one["phase"],
            _phases(one["phases"]),
            one["reason"],
        )
        for one in upgrades
    ]
    print_table(("created", "environment", "service", "from", "to", "phase", "took", "reason"), rows)


def _version(target: str | None) -> str:
    return target.partition("@")[0] if target else "-"


def _phases(stays: list[dict[str, Any]]) -> str:
    """How long it stayed in each phase, all stays in it together."""
    found: dict[str, float] = {}
    for one in stays:
        if one["lasted_s"] is not None:
            found[one["phase"]] = found.get(one["phase"], 0.0) + one["lasted_s"]
    return ", ".join(f"{phase} {lasting(lasted_s)}" for phase, lasted_s in found.items()) or "-"


def _asked(at: Elsewhere, environment: str | None, service: str | None, limit: int) -> list[dict[str, Any]]:
    """Page by page, of another machine's daemon."""
    about = {name: value for name, value in (("environment", environment), ("service", service)) if value}
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while len(found) < limit:
        query = urlencode(about | after | {"limit": min(PAGE, limit - len(found))})
        page = client.call(at, "GET", f"/upgrade/history?{query}")
        found += page["upgrades"]
        if page["next"] is None:
            break
        after = {"cursor": page["next"]}
    return found
