"""Holds and overrides: what counts, for what, until when, and in which words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.model.permits import (
    BREAKER,
    DATA,
    Hold,
    Override,
    Permits,
    hold_gate,
    may_repair,
    overridden,
    override_text,
)
from reconciler.model.window import Opening
from tests.build import NOW, environment

HOUR = timedelta(hours=1)
HERE = environment(timezone="UTC")


def hold(**fields: Any) -> Hold:
    told = {"service": None, "reason": "database move", "owner": "ada", "since": NOW, "until": None}
    return Hold(id=fields.pop("id", 1), environment="production", **told | fields)


def override(**fields: Any) -> Override:
    made = Override(
        id=1,
        environment="production",
        service=None,
        gate="window",
        reason="orders are lost",
        by="ada",
        at=NOW,
        until=NOW + HOUR,
        confirmed_by=None,
    )
    return replace(made, **fields)


# Holds


def test_nobody_holds_it_and_it_may_start() -> None:
    assert hold_gate(Permits(), HERE, "api", now=NOW) == Opening(True, "nobody holds it", None, "")


def test_a_hold_says_who_why_and_until_when_and_how_it_ends() -> None:
    end = datetime(2026, 11, 3, 18, tzinfo=UTC)
    gate = hold_gate(Permits(holds=(hold(until=end, id=7),)), HERE, "api", now=NOW)
    assert gate == Opening(
        False, "held by ada until Tue 2026-11-03 18:00 UTC: database move", end, "ugs hold release 7"
    )


def test_a_hold_speaks_in_the_time_of_its_environment() -> None:
    berlin = environment(timezone="Europe/Berlin")
    held = Permits(holds=(hold(until=datetime(2026, 11, 3, 18, tzinfo=UTC)),))
    assert "until Tue 2026-11-03 19:00 CET" in hold_gate(held, berlin, "api", now=NOW).reason


def test_a_hold_without_an_end_waits_for_a_person() -> None:
    gate = hold_gate(Permits(holds=(hold(),)), HERE, "api", now=NOW)
    assert (gate.open, gate.reason, gate.until) == (False, "held by ada: database move", None)


def test_a_hold_ends_at_its_very_end() -> None:
    held = Permits(holds=(hold(until=NOW + HOUR),))
    assert not hold_gate(held, HERE, "api", now=NOW + HOUR - timedelta(microseconds=1)).open
    assert hold_gate(held, HERE, "api", now=NOW + HOUR).open


@pytest.mark.parametrize(
    ("of", "open_"), [({"service": "api"}, False), ({"service": "web"}, True), ({"service": None}, False)]
)
def test_a_hold_of_a_service_holds_no_other(of: dict[str, Any], *, open_: bool) -> None:
    assert hold_gate(Permits(holds=(hold(**of),)), HERE, "api", now=NOW).open is open_


def test_a_hold_of_another_environment_holds_nothing_here() -> None:
    assert hold_gate(Permits(holds=(hold(),)), environment(name="staging"), "api", now=NOW).open


def test_of_several_holds_all_are_told_and_the_last_decides() -> None:
    both = hold(until=NOW + HOUR, id=1), hold(until=NOW + 2 * HOUR, owner="bob", reason="audit", id=2)
    gate = hold_gate(Permits(holds=both), HERE, "api", now=NOW)
    assert gate.until == NOW + 2 * HOUR
    assert gate.reason.count("held by") == 2
    assert gate.opened_by == "ugs hold release 1, ugs hold release 2"
    endless = hold_gate(Permits(holds=(*both, hold(id=3))), HERE, "api", now=NOW)
    assert endless.until is None


def test_no_override_passes_by_a_hold_for_the_sake_of_data() -> None:
    passed = Permits(overrides=(override(gate="hold"),))
    for_data = hold(owner=DATA, service="api")
    assert may_repair(replace(passed, holds=(hold(),)), HERE, "api", now=NOW)
    held = replace(passed, holds=(hold(), for_data))
    assert not may_repair(held, HERE, "api", now=NOW)
    assert may_repair(held, HERE, "web", now=NOW)
    assert overridden(held, "hold", HERE, "api", now=NOW) is None
    assert overridden(replace(held, overrides=(override(),)), "window", HERE, "api", now=NOW)


def test_repairs_wait_for_a_hold_unless_that_is_overridden() -> None:
    held = Permits(holds=(hold(),))
    assert may_repair(Permits(), HERE, "api", now=NOW)
    assert not may_repair(held, HERE, "api", now=NOW)
    assert not may_repair(replace(held, overrides=(override(),)), HERE, "api", now=NOW)
    assert may_repair(replace(held, overrides=(override(gate="hold"),)), HERE, "api", now=NOW)


def test_the_breakers_hold_stops_no_repair_and_a_persons_beside_it_does() -> None:
    breaker = hold(id=8, owner=BREAKER)
    assert not hold_gate(Permits(holds=(breaker,)), HERE, "api", now=NOW).open
    assert may_repair(Permits(holds=(breaker,)), HERE, "api", now=NOW)
    assert not may_repair(Permits(holds=(breaker, hold())), HERE, "api", now=NOW)


# Overrides


@pytest.mark.parametrize(
    ("of", "counts"),
    [
        ({}, True),
        ({"service": "api"}, True),
        ({"service": "web"}, False),
        ({"environment": "staging"}, False),
        ({"gate": "freeze"}, False),
        ({"until": NOW}, False),
        ({"confirmed_by": "bob"}, True),
    ],
)
def test_an_override_counts_for_its_gate_and_place_and_time(of: dict[str, Any], *, counts: bool) -> None:
    found = overridden(Permits(overrides=(override(**of),)), "window", HERE, "api", now=NOW)
    assert (found is not None) is counts


def test_of_two_overrides_the_longer_one_is_told() -> None:
    both = override(id=1, until=NOW + 2 * HOUR), override(id=2)
    found = overridden(Permits(overrides=both), "window", HERE, "api", now=NOW)
    assert found is not None
    assert found.id == 1
    assert override_text(found, "UTC") == "overridden by ada until Tue 2026-11-03 14:00 UTC: orders are lost"
