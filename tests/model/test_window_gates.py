"""What the windows and freezes of an environment say about a change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from reconciler.model import window as window_module
from reconciler.model.cron import Disagreement
from reconciler.model.environment import ChangeClass, DriverChoice, Environment, Freeze, Schedule, Window
from reconciler.model.window import UNION_STEPS_MAX, frozen, opening

HOUR = 3600.0
YEAR_END = Freeze(reason="year end", from_="2026-12-20", until="2027-01-02")
CLASSES: tuple[ChangeClass, ...] = get_args(ChangeClass)
FRIDAYS = Freeze(reason="no deploy on Friday afternoons", cron="0 12 * * 5", duration_s=12 * HOUR)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def berlin(
    windows: dict[ChangeClass, Schedule] | None = None, freezes: tuple[Freeze, ...] = ()
) -> Environment:
    return Environment(
        name="production",
        driver=DriverChoice(kind="process"),
        timezone="Europe/Berlin",
        windows=windows or {},
        freezes=freezes,
    )


MONTHLY = Window("0 2 * * 6#1", 3 * HOUR)


def test_a_closed_window_says_when_it_opens() -> None:
    answer = opening(berlin({"minor": (MONTHLY,)}), "minor", now=at("2026-11-20T12:00:00+01:00"))
    assert not answer.open
    assert answer.reason == "the minor window opens Sat 2026-12-05 02:00 CET"
    assert answer.until == at("2026-12-05T01:00Z")
    assert answer.opened_by == "the calendar"


def test_an_open_window_says_when_it_closes() -> None:
    answer = opening(berlin({"minor": (MONTHLY,)}), "minor", now=at("2026-12-05T02:00:00+01:00"))
    assert answer.open
    assert answer.reason == "the minor window is open until Sat 2026-12-05 05:00 CET"
    assert answer.until == at("2026-12-05T04:00Z")
    assert answer.opened_by == ""


NEVER_NOW = (Window("0 2 29 2 *", HOUR),)


@pytest.mark.parametrize(
    ("windows", "change_class", "is_open"),
    [
        ({}, "major", True),
        ({"patch": None}, "patch", True),
        ({"patch": NEVER_NOW}, "patch", False),
        ({"patch": NEVER_NOW}, "config", False),
        ({"patch": NEVER_NOW, "config": None}, "config", True),
        ({"config": NEVER_NOW}, "patch", True),
        ({"major": NEVER_NOW}, "removal", False),
        ({"major": NEVER_NOW, "removal": None}, "removal", True),
        ({"major": NEVER_NOW}, "minor", True),
        ({"major": NEVER_NOW, "minor": NEVER_NOW, "patch": NEVER_NOW}, "rollback", True),
        ({"major": NEVER_NOW, "minor": NEVER_NOW, "patch": NEVER_NOW}, "initial", True),
        ({"major": NEVER_NOW, "minor": NEVER_NOW, "patch": NEVER_NOW}, "emergency", True),
        ({"rollback": NEVER_NOW}, "rollback", False),
        ({"initial": NEVER_NOW}, "initial", False),
        ({"emergency": NEVER_NOW}, "emergency", False),
    ],
)
def test_which_windows_govern_a_class(
    windows: dict[ChangeClass, Schedule], change_class: ChangeClass, is_open: bool
) -> None:
    answer = opening(berlin(windows), change_class, now=at("2026-11-20T12:00:00+01:00"))
    assert answer.open is is_open
    assert (answer.until is None) is is_open


def test_a_class_without_windows_says_so() -> None:
    answer = opening(berlin(), "patch", now=at("2026-11-20T12:00:00+01:00"))
    assert answer.reason == "no window limits patch changes"


def test_manual_is_closed_until_a_person_starts_it() -> None:
    answer = opening(berlin({"major": "manual"}), "major", now=at("2026-11-20T12:00:00+01:00"))
    assert (answer.open, answer.until) == (False, None)
    assert answer.reason == "major changes start only when a person starts them"
    assert answer.opened_by == "a person who starts it"


def test_a_class_that_follows_another_is_manual_with_it() -> None:
    where, now = berlin({"major": "manual", "patch": "manual"}), at("2026-11-20T12:00:00+01:00")
    for name in CLASSES:
        answer = opening(where, name, now=now)
        assert answer.open is (name not in {"major", "removal", "patch", "config"})
        assert answer.open or answer.reason == f"{name} changes start only when a person starts them"


def test_windows_that_overlap_or_touch_close_together() -> None:
    nights = (Window("0 2 * * *", 3 * HOUR), Window("0 4 * * *", 2 * HOUR), Window("0 6 * * *", HOUR))
    answer = opening(berlin({"patch": nights}), "patch", now=at("2026-06-01T02:30:00+02:00"))
    assert answer.until == at("2026-06-01T07:00:00+02:00")


def test_closed_windows_open_with_the_first_of_them() -> None:
    nights = (Window("0 4 * * *", HOUR), Window("0 2 * * *", HOUR))
    answer = opening(berlin({"patch": nights}), "patch", now=at("2026-06-01T00:30:00+02:00"))
    assert answer.until == at("2026-06-01T02:00:00+02:00")


def test_windows_that_never_end_are_followed_for_a_bounded_way() -> None:
    now = at("2026-06-01T00:00:00+02:00")
    answer = opening(berlin({"patch": (Window("* * * * *", 60.0),)}), "patch", now=now)
    assert answer.open
    assert answer.until == now + timedelta(minutes=UNION_STEPS_MAX)


def test_no_windows_at_all_or_none_within_five_years_wait_for_a_commit() -> None:
    for windows in ((), (Window("0 2 * 2 6#5", HOUR),)):
        answer = opening(berlin({"major": windows}), "major", now=at("2026-11-20T12:00:00+01:00"))
        assert not answer.open
        assert answer.until is None
        assert answer.reason == "the major window does not open within five years"
        assert answer.opened_by == "a commit that changes the environment"


def test_an_environment_without_a_zone_is_read_in_utc() -> None:
    environment = Environment(
        name="staging", driver=DriverChoice(kind="process"), windows={"patch": (Window("0 2 * * *", HOUR),)}
    )
    answer = opening(environment, "patch", now=at("2026-06-01T00:00Z"))
    assert answer.reason == "the patch window opens Mon 2026-06-01 02:00 UTC"


@pytest.mark.parametrize(
    ("instant", "is_open"),
    [
        ("2026-12-19T23:59:59+01:00", True),
        ("2026-12-20T00:00:00+01:00", False),
        ("2027-01-02T23:59:59+01:00", False),
        ("2027-01-03T00:00:00+01:00", True),
    ],
)
def test_a_date_freeze_is_of_whole_days_its_last_included(instant: str, is_open: bool) -> None:
    assert frozen(berlin(freezes=(YEAR_END,)), "patch", now=at(instant)).open is is_open


def test_a_freeze_says_until_when_and_why() -> None:
    answer = frozen(berlin(freezes=(YEAR_END,)), "patch", now=at("2026-12-24T12:00:00+01:00"))
    assert answer.reason == "frozen until Sun 2027-01-03 00:00 CET: year end"
    assert answer.until == at("2027-01-02T23:00Z")
    assert answer.opened_by == "the calendar"


def test_before_a_freeze_it_says_when_the_next_begins() -> None:
    answer = frozen(berlin(freezes=(YEAR_END, FRIDAYS)), "patch", now=at("2026-12-14T12:00:00+01:00"))
    assert answer.open
    assert answer.until == at("2026-12-18T12:00:00+01:00")
    assert answer.reason == "no freeze before Fri 2026-12-18 12:00 CET"


def test_after_the_last_freeze_nothing_is_to_come() -> None:
    answer = frozen(berlin(freezes=(YEAR_END,)), "patch", now=at("2027-01-03T00:00:00+01:00"))
    assert (answer.open, answer.until) == (True, None)
    assert answer.reason == "no freeze holds patch changes"


def test_freezes_that_overlap_or_touch_end_together_and_give_all_reasons() -> None:
    audit = Freeze(reason="audit", from_="2027-01-03", until="2027-01-04")
    environment = berlin(freezes=(audit, FRIDAYS, YEAR_END))
    answer = frozen(environment, "patch", now=at("2027-01-01T13:00:00+01:00"))
    assert answer.until == at("2027-01-05T00:00:00+01:00")
    assert answer.reason.endswith("CET: no deploy on Friday afternoons; year end; audit")


def test_an_excepted_class_passes_a_freeze_and_no_other_does() -> None:
    lenient = Freeze(reason="year end", from_="2026-12-20", until="2027-01-02", except_=("emergency",))
    environment, now = berlin(freezes=(lenient,)), at("2026-12-24T12:00:00+01:00")
    assert frozen(environment, "emergency", now=now).open
    assert not frozen(environment, "rollback", now=now).open


def test_a_freeze_without_an_end_waits_for_a_commit() -> None:
    environment = berlin(freezes=(Freeze(reason="sold", from_="2026-12-20"),))
    answer = frozen(environment, "patch", now=at("2026-12-24T12:00:00+01:00"))
    assert (answer.open, answer.until, answer.reason) == (False, None, "frozen with no end: sold")
    assert answer.opened_by == "a commit that changes the environment"


def test_a_freeze_without_a_beginning_holds_until_its_day_is_over() -> None:
    environment = berlin(freezes=(Freeze(reason="not yet", until="2026-12-20"),))
    assert frozen(environment, "patch", now=at("2026-12-20T23:59:00+01:00")).until == at("2026-12-20T23:00Z")


def test_a_freeze_day_without_midnight_begins_after_the_gap() -> None:
    environment = Environment(
        name="habana",
        driver=DriverChoice(kind="process"),
        timezone="America/Havana",
        freezes=(Freeze(reason="r", from_="2026-03-08", until="2026-03-08"),),
    )
    assert frozen(environment, "patch", now=at("2026-03-08T04:59:59Z")).until == at("2026-03-08T05:00Z")
    assert frozen(environment, "patch", now=at("2026-03-08T05:00Z")).until == at("2026-03-09T04:00Z")


@pytest.mark.fault("TM-04")
def test_when_two_ways_of_computing_disagree_the_gates_are_closed_and_say_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def doubtful(_cron: str, _zone: str, _now: datetime) -> datetime:
        raise Disagreement("'0 2 * * *' does not allow 02:01, which croniter named")

    monkeypatch.setattr(window_module, "_last_start", doubtful)
    window_module._gap.cache_clear()  # else both starts may be known already
    environment = berlin({"patch": (Window("0 2 * * *", HOUR),)}, (FRIDAYS,))
    now = datetime(2026, 6, 1, tzinfo=UTC)
    for answer in (opening(environment, "patch", now=now), frozen(environment, "patch", now=now)):
        assert not answer.open
        assert answer.until is None
        assert "does not allow 02:01" in answer.reason
        assert answer.opened_by.startswith("a person")
