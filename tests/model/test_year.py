from __future__ import annotations

from datetime import date

from reconciler.model.environment import Environment, Freeze, Window
from reconciler.model.year import Day, year_of
from tests.build import environment

HOUR = 3600.0
YEAR_END = Freeze(reason="year end", from_="2026-12-31", until="2027-01-01")


def berlin(*windows: Window, freezes: tuple[Freeze, ...] = ()) -> Environment:
    return environment(
        timezone="Europe/Berlin",
        windows={
            "major": windows,
            "minor": (Window("0 2 * 6 6#1", HOUR),),
            "patch": None,
            "config": "manual",
        },
        freezes=freezes,
    )


def test_days_on_which_anything_is_open_or_frozen() -> None:
    found = year_of(berlin(Window("0 2 6 6 *", HOUR), freezes=(YEAR_END,)), 2026)
    assert found.days == (
        Day(date(2026, 6, 6), ("major", "minor"), ()),
        Day(date(2026, 12, 31), (), ("year end",)),
    )
    assert (found.year, found.unlisted) == (2026, ())


def test_days_that_both_fields_name_and_days_that_either_names() -> None:
    second_saturday, sundays_or_first = (
        Window("0 2 8-14 6 6", HOUR, "both"),
        Window("0 2 1 6 0", HOUR, "either"),
    )
    for window, days in ((second_saturday, [13]), (sundays_or_first, [1, 7, 14, 21, 28])):
        found = [day.date for day in year_of(berlin(window), 2026).days if "major" in day.open]
        assert found == [date(2026, 6, day) for day in days]


def test_an_opening_past_midnight_is_of_both_days_and_ends_with_the_year() -> None:
    nights = Window("0 22 31 5,12 *", 6 * HOUR)
    assert [day.date for day in year_of(berlin(nights), 2026).days if "major" in day.open] == [
        date(2026, 1, 1),
        date(2026, 5, 31),
        date(2026, 6, 1),
        date(2026, 12, 31),
    ]


def test_an_opening_that_ends_at_midnight_is_not_of_the_next_day() -> None:
    evening = Window("0 22 31 5 *", 2 * HOUR)
    assert [day.date for day in year_of(berlin(evening), 2026).days if "major" in day.open] == [
        date(2026, 5, 31)
    ]


def test_a_frozen_day_has_no_opening() -> None:
    found = year_of(berlin(Window("0 2 1 1 *", HOUR), freezes=(YEAR_END,)), 2027)
    assert found.days[0] == Day(date(2027, 1, 1), (), ("year end",))


def test_a_class_that_opens_too_often_is_named() -> None:
    found = year_of(berlin(Window("*/2 * * * *", 60.0)), 2026)
    assert found.unlisted == ("major",)
    assert [day.open for day in found.days] == [("minor",)]


def test_a_year_of_366_days() -> None:
    whole = year_of(berlin(Window("0 0 * * *", 25 * HOUR)), 2028)
    assert sum("major" in day.open for day in whole.days) == 366
