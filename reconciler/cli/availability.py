"""How the answers of the calendar look to people."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from reconciler.cli.output import print_table
from reconciler.engine.windows import overview
from reconciler.model.environment import Environment
from reconciler.model.zone import local_text


def row(environment: Environment, one: dict[str, Any]) -> tuple[str, ...]:
    """An answer as cells of a table: now, opens, closes, why."""
    instants = (_shown(environment, one[key]) for key in ("opens_at", "closes_at"))
    return ("open" if one["open"] else "closed", *instants, one["reason"])


def print_overview(environment: Environment, now: datetime) -> None:
    shown = overview(environment, now)
    click.echo(f"{environment.name}, {local_text(now, environment.timezone or 'UTC')}")
    print_table(
        ("class", "now", "opens", "closes", "why"),
        [(one["class"], *row(environment, one)) for one in shown["classes"]],
    )
    for freeze in shown["freezes"]:
        begin, end = (_shown(environment, freeze[key]) for key in ("starts_at", "ends_at"))
        spared = f" (except {', '.join(freeze['except'])})" if freeze["except"] else ""
        when = f"frozen until {end}" if freeze["in_force"] else f"next freeze from {begin} until {end}"
        click.echo(f"{when}: {freeze['reason']}{spared}")


def _shown(environment: Environment, text: str | None) -> str:
    return local_text(datetime.fromisoformat(text), environment.timezone or "UTC") if text else "-"
