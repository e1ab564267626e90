"""How the answers of the calendar look, in their documented shape; instants in the environment's own offset."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args
from zoneinfo import ZoneInfo

from reconciler.model.availability import availability
from reconciler.model.environment import ChangeClass, Environment
from reconciler.model.window import freeze_source
from reconciler.model.year import Year

CLASSES: tuple[ChangeClass, ...] = get_args(ChangeClass)


def answer(environment: Environment, change_class: ChangeClass, now: datetime) -> dict[str, Any]:
    """One class, without what was asked."""
    found = availability(environment, change_class, now=now)
    return {
        "open": found.open,
        "reason": found.reason,
        "opens_at": _written(environment, found.opens_at),
        "closes_at": _written(environment, found.closes_at),
    }


def overview(environment: Environment, now: datetime) -> dict[str, Any]:
    """Every class, and each freeze that is in force or to come."""
    return {
        "environment": environment.name,
        "timezone": environment.timezone,
        "classes": [{"class": name, **answer(environment, name, now)} for name in CLASSES],
        "freezes": _freezes(environment, now),
    }


def year_shape(environment: Environment, year: Year) -> dict[str, Any]:
    """A year, day by day."""
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
