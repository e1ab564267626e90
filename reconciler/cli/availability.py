"""How the answers of the calendar look: one shape for machines, tables for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args
from zoneinfo import ZoneInfo

import click

from reconciler.cli.output import print_table
from reconciler.model.availability import availability
from reconciler.model.environment import ChangeClass, Environment
from reconciler.model.window import freeze_source
from reconciler.model.year import Year
from reconciler.model.zone import local_text

CLASSES: tuple[ChangeClass, ...] = get_args(ChangeClass)


def answer(environment: Environment, change_class: ChangeClass, now: datetime) -> dict[str, Any]:
    """The documented shape of one answer, without what was asked; instants in the environment's own offset."""
    found = availability(environment, change_class, now=now)
    return {
        "open": found.open,
        "reason": found.reason,
        "opens_at": _written(environment, found.opens_at),
        "closes_at": _written(environment, found.closes_at),
    }


def row(environment: Environment, one: dict[str, Any]) -> tuple[str, ...]:
    """An answer as cells of a table: now, opens, closes, why."""
    instants = (_shown(environment, one[key]) for key in ("opens_at", "closes_at"))
    return ("open" if one["open"] else "closed", *instants, one["reason"])


def overview(environment: Environment, now: datetime) -> dict[str, Any]:
    """Every class, and each freeze that is in force or to come, in the documented shape."""
    return {
        "environment": environment.name,
        "timezone": environment.timezone,
        "classes": [{"class": name, **answer(environment, name, now)} for name in CLASSES],
        "freezes": _freezes(environment, now),
    }


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


def year_shape(environment: Environment, year: Year) -> dict[str, Any]:
    """The documented shape of a year."""
    return {
        "environment": environment.name,
        "timezone": environment.timezone,
        "year": year.year,
        "days": [
            {"date": day.date.isoformat(), "open": list(day.open), "frozen": list(day.frozen)}
            for day in year.days
        ],
        "unlisted": list(year.unlisted),
    }


def _freezes(environment: Environment, now: datetime) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for freeze in environment.freezes:
        source = freeze_source(freeze, environment.timezone or "UTC")
        one = source.at(now.astimezone(UTC)) or source.after(now.astimezone(UTC))
        if one is not None:
            found.append(
                {
                    "reason": freeze.reason,
                    "except": list(freeze.except_),
                    "in_force": one.start <= now,
                    "starts_at": _written(environment, one.start),
                    "ends_at": _written(environment, one.end),
                }
            )
    return sorted(found, key=lambda one: datetime.fromisoformat(one["starts_at"]))


def _written(environment: Environment, instant: datetime | None) -> str | None:
    return instant.astimezone(ZoneInfo(environment.timezone or "UTC")).isoformat() if instant else None


def _shown(environment: Environment, text: str | None) -> str:
    return local_text(datetime.fromisoformat(text), environment.timezone or "UTC") if text else "-"
