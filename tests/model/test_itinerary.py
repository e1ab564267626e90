"""When each step of a way starts, as far as that is known; where it is not, why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from reconciler.model.circumstances import Asked, Circumstances, Earlier
from reconciler.model.environment import Environment, Freeze, Policy, Window
from reconciler.model.gates import GATES
from reconciler.model.itinerary import Step, itinerary
from reconciler.model.permits import Hold, Override, Permits
from reconciler.model.version import Version
from tests.build import NOW, change, environment, pin, release, seen, work

HOUR = 3600.0
OLD, NEW = work("1.0.0"), work("2.0.0")
BETWEEN = release("1.5.0")
LONGEST = timedelta(seconds=5)
"""Deadline and soak of the builders' releases."""
SATURDAYS = (Window("0 2 * * 6", 3 * HOUR),)
SATURDAY = datetime(2026, 11, 7, 2, tzinfo=UTC)


def place(**fields: Any) -> Environment:
    return environment(pin("2.0.0"), timezone="UTC", **fields)


def around(where: Environment, **fields: Any) -> Circumstances:
    return Circumstances(
        environment=where,
        observed=seen(OLD),
        quarantined={},
        busy=fields.pop("busy", frozenset()),
        fetched_at=fields.pop("fetched_at", NOW),
        max_stale_s=600.0,
        initials=0,
        first_accepted=True,
        **fields,
    )


def steps(here: Circumstances, past_s: tuple[float, ...] = ()) -> tuple[Step, ...]:
    """From 1.0.0, a minor step to 1.5.0, then a major one to 2.0.0."""
    after = work("1.5.0", of=BETWEEN)
    step = change(OLD, after, change_class="minor", goal=NEW, path=("1.5.0", "2.0.0"))
    return itinerary(step, {Version("1.5.0"): BETWEEN}, here, now=NOW, first=GATES, past_s=past_s)


def told(here: Circumstances) -> list[tuple[datetime | None, str]]:
    return [(step.starts_at, step.unknown) for step in steps(here)]


def test_with_every_gate_open_each_starts_when_the_one_before_has_taken_its_time() -> None:
    first, second = steps(around(place()))
    assert (first.release.version.text, first.change_class, first.starts_at) == ("1.5.0", "minor", NOW)
    assert (second.release.version.text, second.change_class) == ("2.0.0", "major")
    assert second.starts_at == first.ends_at == NOW + LONGEST
    assert (first.opens_at, first.closes_at, first.unknown) == (None, None, "")


def test_what_past_upgrades_took_counts_for_every_step() -> None:
    assert [step.expected_s for step in steps(around(place()), past_s=(60.0,) * 5)] == [60.0, 60.0]


def test_each_step_waits_for_a_window_of_its_own_class() -> None:
    sundays = (Window("0 4 * * 0", HOUR),)
    first, second = steps(around(place(windows={"minor": SATURDAYS, "major": sundays})))
    assert (first.starts_at, first.opens_at) == (SATURDAY, SATURDAY)
    assert first.closes_at == SATURDAY + timedelta(hours=3)
    assert second.starts_at == datetime(2026, 11, 8, 4, tzinfo=UTC)


def test_a_window_that_opens_while_it_is_frozen_is_passed_over() -> None:
    frozen = Freeze(reason="fair", from_="2026-11-05", until="2026-11-08")
    [(start, _), _] = told(around(place(windows={"minor": SATURDAYS}, freezes=(frozen,))))
    assert start == SATURDAY + timedelta(days=7)


def test_what_a_person_or_an_event_decides_is_not_known_and_neither_is_what_comes_after_it() -> None:
    needed = around(place(policy=Policy(approvals={"major": 1})))
    assert told(needed) == [(None, "needs 1 approval, has none"), (None, "it comes after 1.5.0")]
    by_hand = place(windows={"minor": "manual"})
    assert told(around(by_hand))[0] == (None, "minor changes start only when a person starts them")
    after = told(around(place(), after={"api": frozenset({"base"})}))
    assert after[0] == (None, "it comes after base")


def test_a_step_that_waits_for_a_person_leaves_the_first_known() -> None:
    assert told(around(place(windows={"major": "manual"}))) == [
        (NOW, ""),
        (None, "major changes start only when a person starts them"),
    ]


def test_a_fetch_that_failed_is_news_of_now_and_not_of_saturday() -> None:
    minutes = timedelta(minutes=5)
    [(start, _), _] = told(around(place(windows={"minor": SATURDAYS}), fetched_at=NOW - minutes))
    assert start == SATURDAY
    [(_, unknown), _] = told(around(place(), fetched_at=NOW - 3 * minutes))
    assert unknown.startswith("the repository could not be fetched")


def test_what_ends_by_itself_is_waited_for() -> None:
    end = NOW + timedelta(hours=1)
    held = Permits(holds=(Hold(1, "production", None, "database move", "ada", NOW, end),))
    later = end + timedelta(minutes=5)
    parked = {"api": ("port 8080 is taken", later)}
    assert told(around(place(), permits=held, parked=parked))[0] == (later, "")


def test_an_override_counts_for_as_long_as_it_lasts() -> None:
    end = NOW + timedelta(minutes=5)
    opened = Override(1, "production", "api", "window", "orders are lost", "ada", NOW, end, None)
    here = around(place(windows={"minor": SATURDAYS}), permits=Permits(overrides=(opened,)))
    assert told(here)[0] == (NOW, "")
    later = replace(here, parked={"api": ("port 8080 is taken", end)})
    assert told(later)[0] == (SATURDAY, "")


def test_a_window_that_the_push_opened_counts_as_it_stood_before() -> None:
    before = Earlier("before the push", place(windows={"minor": SATURDAYS}))
    pushed = around(place(), asked={"api": Asked("a" * 40, earlier=(before,), since=place())})
    assert told(pushed)[0] == (SATURDAY, "")


def test_gates_that_never_open_together_are_given_up() -> None:
    hours = (Window("0 0 * * *", 23 * HOUR),)
    nights = tuple(Freeze(reason="busy", cron=f"0 {hour} * * *", duration_s=HOUR) for hour in range(23))
    [(start, unknown), _] = told(around(place(windows={"minor": hours}, freezes=nights)))
    assert start is None
    assert unknown
