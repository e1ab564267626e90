"""What the calendar answers about one class at one instant, and whether an upgrade fits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model import calendar as calendar_module
from reconciler.model.availability import Availability, availability, fits, lasting
from reconciler.model.cron import Disagreement
from reconciler.model.environment import Environment, Freeze, Schedule, Window
from reconciler.model.window import Source, frozen, opening
from tests.build import environment

HOUR = 3600.0
DAY = 24 * HOUR
YEAR_END = Freeze(reason="year end", from_="2026-12-20", until="2027-01-02")
FRIDAYS = Freeze(reason="Friday afternoons", cron="0 12 * * 5", duration_s=12 * HOUR)
SATURDAYS = Window("0 2 * * 6", 3 * HOUR)
FRIDAY_NOON = Window("0 11 * * 5", 4 * HOUR)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def berlin(schedule: Schedule, *freezes: Freeze) -> Environment:
    return environment(timezone="Europe/Berlin", windows={"patch": schedule}, freezes=freezes)


def asked(where: Environment, now: str) -> Availability:
    return availability(where, "patch", now=at(now))


# What each row shows, when each class may start, the instant, and: open, reason, opens at, closes at.
CASES: list[tuple[str, Environment, str, tuple[bool, str, str | None, str | None]]] = [
    ("open in a window", berlin((SATURDAYS,)), "2026-12-05T03:00:00+01:00",
     (True, "the patch window is open until Sat 2026-12-05 05:00 CET", "2026-12-05T01:00Z", "2026-12-05T04:00Z")),
    ("closed before a window", berlin((SATURDAYS,)), "2026-12-04T03:00:00+01:00",
     (False, "the patch window opens Sat 2026-12-05 02:00 CET", "2026-12-05T01:00Z", "2026-12-05T04:00Z")),
    ("a freeze closes an open window early", berlin((FRIDAY_NOON,), FRIDAYS), "2026-12-04T11:30:00+01:00",
     (True, "the patch window is open; a freeze begins Fri 2026-12-04 12:00 CET",
      "2026-12-04T10:00Z", "2026-12-04T11:00Z")),
    ("frozen in an open window", berlin((FRIDAY_NOON,), FRIDAYS), "2026-12-04T13:00:00+01:00",
     (False, "frozen until Sat 2026-12-05 00:00 CET: Friday afternoons; outside the freezes it opens "
      "Fri 2026-12-11 11:00 CET", "2026-12-11T10:00Z", "2026-12-11T11:00Z")),
    ("the next window lies in a freeze", berlin((SATURDAYS,), YEAR_END), "2026-12-19T12:00:00+01:00",
     (False, "the patch window opens Sat 2026-12-26 02:00 CET; outside the freezes it opens "
      "Sat 2027-01-09 02:00 CET", "2027-01-09T01:00Z", "2027-01-09T04:00Z")),
    ("no windows", berlin(None), "2026-12-04T13:00:00+01:00",
     (True, "no window limits patch changes", None, None)),
    ("no windows, a freeze to come", berlin(None, YEAR_END), "2026-12-04T13:00:00+01:00",
     (True, "no window limits patch changes; a freeze begins Sun 2026-12-20 00:00 CET", None, "2026-12-19T23:00Z")),
    ("no windows, frozen", berlin(None, YEAR_END), "2026-12-24T13:00:00+01:00",
     (False, "frozen until Sun 2027-01-03 00:00 CET: year end", "2027-01-02T23:00Z", None)),
    ("manual", berlin("manual"), "2026-12-04T13:00:00+01:00",
     (False, "patch changes start only when a person starts them", None, None)),
    ("never", berlin((Window("0 2 * 2 6#5", HOUR),)), "2026-12-04T13:00:00+01:00",
     (False, "the patch window does not open within five years", None, None)),
    ("every window lies in a freeze", berlin((Window("0 13 * * 5", HOUR),), FRIDAYS), "2026-12-03T13:00:00+01:00",
     (False, "the patch window opens Fri 2026-12-04 13:00 CET; no opening outside the freezes is known", None, None)),
    ("a freeze without an end", berlin((SATURDAYS,), Freeze(reason="sold", from_="2026-12-01")),
     "2026-12-05T03:00:00+01:00", (False, "frozen with no end: sold", None, None)),
    ("windows that never close", berlin((Window("* * * * *", 60.0),)), "2026-12-05T03:00:00+01:00",
     (True, "the patch window is open", None, None)),
    ("autumn: opens once, at the first 02:30", berlin((Window("30 2 * * *", HOUR),)), "2026-10-25T02:30:00+01:00",
     (False, "the patch window opens Mon 2026-10-26 02:30 CET", "2026-10-26T01:30Z", "2026-10-26T02:30Z")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "now", "expected"), [row[1:] for row in CASES], ids=[row[0] for row in CASES]
)
def test_an_answer(where: Environment, now: str, expected: tuple[bool, str, str | None, str | None]) -> None:
    is_open, reason, opens_at, closes_at = expected
    found = asked(where, now)
    assert (found.open, found.reason) == (is_open, reason)
    assert found.opens_at == (at(opens_at) if opens_at else None)
    assert found.closes_at == (at(closes_at) if closes_at else None)


@settings(max_examples=60, deadline=None)
@given(
    hour=st.integers(0, 23),
    hours=st.sampled_from([0.5, 6.0, 24.0, 30.0]),
    frozen_hour=st.integers(0, 23),
    now=st.datetimes(at("2026-01-01"), at("2027-12-01"), timezones=st.just(UTC)),
)
def test_it_agrees_with_the_gates_now_and_at_what_it_promises(
    hour: int, hours: float, frozen_hour: int, now: datetime
) -> None:
    nights = Freeze(reason="r", cron=f"0 {frozen_hour} * * 1-5", duration_s=5 * HOUR)
    where = berlin((Window(f"15 {hour} * * 2,4-7", hours * HOUR),), nights)
    answer = availability(where, "patch", now=now)
    assert answer.open == (opening(where, "patch", now=now).open and frozen(where, "patch", now=now).open)
    assert answer.opens_at is not None
    assert answer.closes_at is not None
    assert (answer.opens_at <= now < answer.closes_at) == answer.open
    assert answer.open or now < answer.opens_at
    assert availability(where, "patch", now=answer.opens_at).open
    assert not availability(where, "patch", now=answer.opens_at - timedelta(microseconds=1)).open
    assert not availability(where, "patch", now=answer.closes_at).open


def test_two_ways_of_computing_that_disagree_close_it_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def doubtful(_window: Window, _zone: str) -> Source:
        raise Disagreement("'0 2 * * 6' does not allow 02:01, which croniter named")

    monkeypatch.setattr(calendar_module, "window_source", doubtful)
    where, now = berlin((SATURDAYS,)), at("2026-12-05T03:00:01+01:00")
    assert opening(where, "patch", now=now).open
    answer = availability(where, "patch", now=now)
    assert (answer.open, answer.opens_at, answer.closes_at) == (False, None, None)
    assert "does not allow 02:01" in answer.reason
    fit = fits(where, "patch", 60.0, now=now)
    assert (fit.open, fit.until) == (False, None)
    assert fit.opened_by.startswith("a person")


# Will it fit?

NIGHTS = (Window("0 2 * * 1-6", HOUR), Window("0 2 * * 0", 4 * HOUR))


def test_what_is_left_is_enough_until_it_is_not() -> None:
    where = berlin(NIGHTS)
    at_two = fits(where, "patch", 1800.0, now=at("2026-06-01T02:00:00+02:00"))
    assert (at_two.open, at_two.opened_by) == (True, "")
    assert at_two.until == at("2026-06-01T02:30:00+02:00")
    assert fits(where, "patch", 1800.0, now=at_two.until).open
    late = fits(where, "patch", 1800.0, now=at("2026-06-01T02:30:01+02:00"))
    assert not late.open
    assert late.until == at("2026-06-02T02:00:00+02:00")
    assert late.opened_by == "the calendar"
    assert late.reason == (
        "the upgrade is expected to take 30m, and 29m 59s are left; it fits from Tue 2026-06-02 02:00 CEST"
    )


def test_it_waits_for_the_first_window_that_is_long_enough() -> None:
    now = at("2026-06-01T02:00:00+02:00")
    answer = fits(berlin(NIGHTS), "patch", 2 * HOUR, now=now)
    assert (answer.open, answer.until) == (False, at("2026-06-07T02:00:00+02:00"))


def test_while_closed_it_is_about_the_next_opening() -> None:
    where, now = berlin(NIGHTS), at("2026-06-06T12:00:00+02:00")
    assert fits(where, "patch", 2 * HOUR, now=now).open
    short = fits(where, "patch", 2 * HOUR, now=at("2026-06-01T12:00:00+02:00"))
    assert short.until == at("2026-06-07T02:00:00+02:00")
    assert "and the next opening lasts 1h; it fits from Sun 2026-06-07 02:00 CEST" in short.reason


def test_windows_that_touch_are_one_time_to_fit_into() -> None:
    where = berlin((Window("0 2 * * *", HOUR), Window("0 3 * * *", HOUR)))
    assert fits(where, "patch", 1.5 * HOUR, now=at("2026-06-01T02:10:00+02:00")).open


def test_a_freeze_ends_what_is_left() -> None:
    where = berlin(None, FRIDAYS)
    answer = fits(where, "patch", HOUR, now=at("2026-06-05T11:30:00+02:00"))
    assert (answer.open, answer.until) == (False, at("2026-06-06T00:00:00+02:00"))
    assert fits(where, "patch", HOUR, now=at("2026-06-05T10:30:00+02:00")).open


def test_what_can_never_fit_waits_for_a_commit() -> None:
    yearly = (Window("0 2 1 1 *", HOUR),)
    answer = fits(berlin(yearly), "patch", 2 * HOUR, now=at("2026-06-01T12:00:00+02:00"))
    assert (answer.open, answer.until) == (False, None)
    assert answer.reason.endswith("and the next opening lasts 1h; no later opening is long enough")
    assert answer.opened_by == "a commit that changes the environment"
    nightly = fits(
        berlin((Window("0 2 * * *", HOUR),)), "patch", 2 * HOUR, now=at("2026-06-01T12:00:00+02:00")
    )
    assert "; no later opening before Fri 2027-10-15 03:00 CEST is long enough" in nightly.reason
    often = fits(berlin((Window("*/5 * * * *", 60.0),)), "patch", HOUR, now=at("2026-06-01T12:00:00+02:00"))
    assert (often.open, often.until) == (False, None)
    assert "is long enough" in often.reason


def test_openings_that_are_too_many_to_follow_are_followed_as_far_as_that() -> None:
    where = berlin((Window("* * * * 1", 60.0), Window("0 12 * * 0", HOUR)))
    now = at("2026-06-07T12:00:00+02:00")
    assert fits(where, "patch", 23 * HOUR, now=now).until == at("2026-06-08T00:00:00+02:00")
    answer = fits(where, "patch", 25 * HOUR, now=now)
    assert (answer.open, answer.until) == (False, None)
    assert "; no later opening before Mon 2026-06-15 " in answer.reason


def test_without_any_opening_the_window_or_the_freeze_says_why() -> None:
    answer = fits(berlin((Window("0 2 * 2 6#5", HOUR),)), "patch", 60.0, now=at("2026-06-01T12:00:00+02:00"))
    assert (answer.open, answer.until) == (True, None)
    assert answer.reason == "no opening is known, and its window or a freeze says why"


def test_what_never_closes_and_what_a_person_starts_fits() -> None:
    now = at("2026-06-01T12:00:00+02:00")
    for where in (berlin(None), berlin("manual"), berlin((Window("* * * * *", 60.0),))):
        assert fits(where, "patch", 30 * DAY, now=now).open
    assert fits(berlin(None), "patch", DAY, now=now).until is None


@settings(max_examples=60, deadline=None)
@given(
    expected_s=st.integers(1, 9 * 3600),
    minutes=st.integers(0, 14 * 24 * 60),
)
def test_when_it_says_that_it_fits_the_whole_of_it_is_open(expected_s: int, minutes: int) -> None:
    where = berlin((*NIGHTS, Window("0 10 * * 5", 8 * HOUR)), FRIDAYS)
    now = at("2026-03-20T00:00Z") + timedelta(minutes=minutes)
    answer = fits(where, "patch", expected_s, now=now)
    if answer.open and availability(where, "patch", now=now).open:
        begin = now
    elif not answer.open and answer.until:
        begin = answer.until
        assert not fits(where, "patch", expected_s, now=begin - timedelta(seconds=1)).open or begin > now
    else:
        return
    during = availability(where, "patch", now=begin)
    assert during.open
    assert during.closes_at is not None
    assert begin + timedelta(seconds=expected_s) <= during.closes_at


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [(0, "0s"), (59.6, "1m"), (45, "45s"), (210, "3m 30s"), (7500, "2h 5m"), (183_600, "2d 3h")],
)
def test_a_duration_for_people(duration_s: float, text: str) -> None:
    assert lasting(duration_s) == text
