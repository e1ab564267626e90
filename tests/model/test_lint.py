"""What is legal in windows and freezes, and hardly meant."""

from __future__ import annotations

from datetime import datetime

import pytest

from reconciler.model import lint as lint_module
from reconciler.model.cron import Disagreement
from reconciler.model.environment import Environment, Freeze, Schedule, Window
from reconciler.model.lint import Finding, lint
from reconciler.model.window import Source
from tests.build import environment

HOUR = 3600.0
NOW = datetime.fromisoformat("2026-11-22T12:00:00+01:00")
MONTHLY = Window("0 4 * * 6#1", 3 * HOUR)
FRIDAYS = Freeze(reason="Fridays", cron="0 12 * * 5", duration_s=12 * HOUR)


def berlin(schedule: Schedule, *freezes: Freeze, zone: str = "Europe/Berlin") -> Environment:
    return environment(timezone=zone, windows={"minor": schedule}, freezes=freezes)


def told(where: Environment, expected_s: float = 600.0) -> list[tuple[str, str, str]]:
    """Severity, path and message of every finding."""
    found = lint(where, {"api 1.5.0": expected_s, "web 1.0.0": 1.0}, now=NOW)
    assert all(finding.remedy for finding in found)
    return [(one.severity, ".".join(map(str, one.path)), one.message) for one in found]


@pytest.mark.parametrize(
    "where",
    [
        berlin((MONTHLY,), FRIDAYS),
        berlin((Window("0 9 * * 1-4", 7 * HOUR),), FRIDAYS),
        berlin(None, FRIDAYS),
        berlin("manual", FRIDAYS),
        environment(),
    ],
)
def test_plain_windows_need_no_remark(where: Environment) -> None:
    assert told(where) == []


NIGHTS: list[tuple[str, str, str, list[str]]] = [
    ("a start that spring skips and autumn repeats", "Europe/Berlin", "30 2 * * *",
     ["the clocks skip 02:30 on 2027-03-28: this window opens Sun 2027-03-28 03:00 CEST",
      "the clocks repeat 02:30 on 2027-10-31: this window opens once, at the first"]),
    ("only the night that has the cron line's day", "Europe/Berlin", "0 2 1-28 * *",
     ["the clocks skip 02:00 on 2027-03-28: this window opens Sun 2027-03-28 03:00 CEST"]),
    ("the hour after is safe", "Europe/Berlin", "0 3 * * *", []),
    ("what follows elapsed time is safe", "Europe/Berlin", "30 * * * *", []),
    ("half an hour", "Australia/Lord_Howe", "15 2 * * 0",
     ["the clocks skip 02:15 on 2027-10-03: this window opens Sun 2027-10-03 02:30 +11"]),
    ("half an hour repeated", "Australia/Lord_Howe", "45 1 * * 0",
     ["the clocks repeat 01:45 on 2027-04-04: this window opens once, at the first"]),
    ("midnight", "America/Havana", "0 0 * * 0",
     ["the clocks skip 00:00 on 2027-03-14: this window opens Sun 2027-03-14 01:00 CDT",
      "the clocks repeat 00:00 on 2027-11-07: this window opens once, at the first"]),
    ("the last Friday has no midnight", "Africa/Cairo", "0 0 * * L5",
     ["the clocks skip 00:00 on 2027-04-30: this window opens Fri 2027-04-30 01:00 EEST"]),
    ("a zone without transitions", "Asia/Kolkata", "30 2 * * *", []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "cron", "messages"), [row[1:] for row in NIGHTS], ids=[row[0] for row in NIGHTS]
)
def test_nights_on_which_clocks_change(zone: str, cron: str, messages: list[str]) -> None:
    where = berlin((Window(cron, 900.0),), zone=zone)
    assert told(where) == [("warning", "windows.minor.0", message) for message in messages]


def test_the_one_night_that_both_day_fields_name() -> None:
    where = berlin((Window("30 2 25-31 3 0", 900.0, "both"),))
    message = "the clocks skip 02:30 on 2027-03-28: this window opens Sun 2027-03-28 03:00 CEST"
    assert told(where)[0] == ("warning", "windows.minor.0", message)


def test_windows_that_overlap_name_each_other_and_the_first_day() -> None:
    where = berlin(
        (MONTHLY, Window("0 9 * * 1", HOUR), Window("30 6 * * 6", HOUR), Window("0 7 * * 6", 60.0))
    )
    assert told(where) == [
        ("warning", "windows.minor.2", "this window overlaps window 1 of minor, first on 2026-12-05"),
        ("warning", "windows.minor.3", "this window overlaps window 3 of minor, first on 2026-11-28"),
    ]


def test_a_window_that_is_always_frozen_is_an_error() -> None:
    where = berlin((MONTHLY, Window("0 14 * * 5", HOUR)), FRIDAYS)
    message = "no change can start in this window: before 2027-12-27 it is always frozen"
    assert told(where) == [("error", "windows.minor.1", message)]


def test_a_window_that_does_not_open_for_long_is_told() -> None:
    where = berlin((MONTHLY, Window("0 4 29 2 *", HOUR)))
    message = "this window does not open before 2027-12-27"
    assert told(where) == [("warning", "windows.minor.1", message)]


@pytest.mark.parametrize(
    ("schedule", "freezes", "message"),
    [
        ((Window("0 4 29 2 *", HOUR),), (), "no window for minor changes opens before 2027-12-27"),
        ((), (), "no window for minor changes opens before 2027-12-27"),
        (
            (Window("0 14 * * 5", HOUR),),
            (FRIDAYS,),
            "minor changes cannot start before 2027-12-27: whenever a window opens, it is frozen",
        ),
    ],
)
def test_a_class_that_can_never_start_is_an_error(
    schedule: tuple[Window, ...], freezes: tuple[Freeze, ...], message: str
) -> None:
    assert told(berlin(schedule, *freezes)) == [("error", "windows.minor", message)]


@pytest.mark.parametrize(
    ("schedule", "but"),
    [
        ((Window("0 * * * *", HOUR),), ""),
        ((Window("0 0 * * *", 25 * HOUR),), ""),
        ((Window("0 0 * * *", 24 * HOUR),), ", but for 1h in 400 days"),
        ((Window("0 0 * * 1-3", 24 * HOUR), Window("0 0 * * 4-6,0", 24 * HOUR)), ", but for 1h in 400 days"),
    ],
)
def test_windows_that_are_always_open_are_told(schedule: tuple[Window, ...], but: str) -> None:
    assert ("warning", "windows.minor", f"minor changes may always start{but}") in told(berlin(schedule))


def test_windows_that_are_too_short_for_everything_are_an_error() -> None:
    where = berlin((MONTHLY, Window("0 7 * * 6#1", HOUR)))
    assert told(where, 4 * HOUR) == []
    message = "an upgrade to api 1.5.0 may take 4h 1s, and no minor opening is longer than 4h"
    assert told(where, 4 * HOUR + 1) == [("error", "windows.minor", message)]


def test_a_window_that_alone_is_too_short_is_a_warning() -> None:
    where = berlin((MONTHLY, Window("0 9 * * 1", HOUR)))
    message = "an upgrade to api 1.5.0 may take 2h and never fits in this window"
    assert told(where, 2 * HOUR) == [("warning", "windows.minor.1", message)]


def test_a_freeze_that_cuts_every_opening_short_counts() -> None:
    where = berlin((Window("0 11 * * 5", 4 * HOUR),), FRIDAYS)
    message = "an upgrade to api 1.5.0 may take 2h, and no minor opening is longer than 1h"
    assert told(where, 2 * HOUR) == [("error", "windows.minor", message)]


def test_a_class_without_windows_that_is_frozen_for_long_is_told() -> None:
    sold = Freeze(reason="sold", from_="2026-01-01", until="2199-12-31", except_=("minor", "emergency"))
    frozen = "cannot start before 2027-12-27: frozen until Wed 2200-01-01 00:00 CET: sold"
    assert told(berlin(None, sold)) == [
        ("warning", "freezes", f"{name} changes {frozen}") for name in ("major", "patch")
    ]


def test_windows_that_open_too_often_are_not_checked_and_say_so() -> None:
    ((severity, path, message),) = told(berlin((Window("*/2 * * * *", 60.0),)))
    assert (severity, path) == ("warning", "windows.minor")
    assert message.startswith("these windows are not checked: there are too many starts")


def test_two_ways_of_computing_that_disagree_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def doubtful(_window: Window, _zone: str) -> Source:
        raise Disagreement("'0 4 * * 6#1' does not allow 04:01, which croniter named")

    monkeypatch.setattr(lint_module, "window_source", doubtful)
    (finding,) = lint(berlin((MONTHLY,)), {}, now=NOW)
    assert isinstance(finding, Finding)
    assert finding.severity == "error"
    assert finding.message.startswith("these windows count as closed: '0 4 * * 6#1' does not allow")
