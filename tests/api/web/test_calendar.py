"""A year in squares: what is open, frozen and planned on each day."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from reconciler.api.web import calendar
from reconciler.api.web.calendar import Planned, months
from reconciler.model.calendar import TooOften
from reconciler.model.codec import encode
from reconciler.model.document import read
from reconciler.model.environment import Environment
from reconciler.model.parts import parse_environment
from reconciler.model.year import Day, Year, year_of


def environment(more: str) -> Environment:
    text = f"environment: production\ndriver: {{kind: process}}\n{more}pins: {{}}\n"
    return parse_environment([read(text.encode(), "environments/production.yaml")])


def test_each_day_has_its_square_and_is_told_in_words() -> None:
    first = date(2027, 1, 2)
    year = Year(2027, (Day(first, ("major", "minor"), ("year end",)),), ())
    at = datetime(2027, 1, 2, 1, tzinfo=UTC)
    found = months(2027, year, {first: [Planned("api", "api waits", at)]}, date(2027, 1, 4))
    assert [month.name for month in found][:2] == ["January", "February"]
    weeks = found[0].weeks
    assert [day.number for day in weeks[0]] == [0, 0, 0, 0, 1, 2, 3]
    square = weeks[0][5]
    assert square.letters == "Mm"
    assert square.told == "2027-01-02: open for major, minor; frozen: year end; planned: api"
    assert [day.number for week in weeks for day in week if day.today] == [4]
    assert weeks[1][0].told == "2027-01-04: nothing"
    assert sum(1 for month in found for week in month.weeks for day in week if day.number) == 365


def test_a_year_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def count(one: Environment, year: int) -> Year:
        asked.append(year)
        return year_of(one, year)

    monkeypatch.setattr(calendar, "year_of", count)
    monkeypatch.setattr(calendar, "YEARS_KEPT", 2)
    monkeypatch.setattr(calendar, "_KEPT", {})
    one = environment('timezone: UTC\nwindows: {minor: [{cron: "0 2 * * 6", duration: 3h}]}\n')
    for year in (2027, 2027, 2028, 2029, 2027):
        assert calendar._year(encode(one), one, year).year == year
    assert asked == [2027, 2028, 2029, 2027]


def test_a_year_of_too_many_starts_is_not_drawn() -> None:
    often = environment(
        'timezone: UTC\nfreezes: [{cron: "* * * * *", duration: 30s, reason: "always again"}]\n'
    )
    with pytest.raises(TooOften):
        calendar._year(encode(often), often, 2027)
