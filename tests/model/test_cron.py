from __future__ import annotations

import calendar
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model import cron
from reconciler.model.cron import Days, Disagreement, check_cron, next_match, parse, previous_match


@pytest.mark.parametrize(
    "text",
    [
        "0 2 * * *",
        "*/15 * * * *",
        "0,30 2-4 * jan-mar mon-fri",
        "0 2 * * 6#1",
        "0 2 * * SAT#1,sat#3",
        "0 2 * * L5",
        "0 2 * * 5-7",
        "0  2 * *   *",
        "0 2 29 2 *",
        "10-50/20 2 * * *",
        "0 2 31 * *",
    ],
)
def test_strict_lines_are_accepted(text: str) -> None:
    check_cron(text)


@pytest.mark.fault("TM-05", "TM-06")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 2 * *", "4 fields, not 5"),
        ("0 2 * * * *", "6 fields, not 5"),
        ("0 0 2 * * * 2026", "7 fields, not 5"),
        ("", "0 fields, not 5"),
        ("@daily", "1 fields, not 5"),
        ("@every 5m", "2 fields, not 5"),
        ("R 2 * * *", "minute 'r' is not a number"),
        ("H H * * *", "minute 'h' is not a number"),
        ("0 H(2-4) * * *", r"hour 'h\(2-4\)' is not a number"),
        ("0 22-22 * * *", "hour '22-22': a range must go up; write 22 alone"),
        ("0 22-2 * * *", "hour '22-2': a range must go up"),
        ("0 2 * * fri-mon", "'fri-mon': a range must go up"),
        (
            "0 2 13 * 5",
            "joins with OR; make one of them `\\*`, or add `days: either` if that is meant, `days: both`",
        ),
        ("0 2 */2 * 5", "joins with OR"),
        ("0 2 1-7 * 6#1", "joins with OR"),
        ("0 2 30 2 *", "never matches: no such month has a day 30"),
        ("0 2 31 4,6,9,11 *", "never matches: no such month has a day 31"),
        ("60 2 * * *", "minute '60' is not between 0 and 59"),
        ("0 24 * * *", "hour '24' is not between 0 and 23"),
        ("0 2 0 * *", "day of month '0' is not between 1 and 31"),
        ("0 2 * 13 *", "month '13' is not between 1 and 12"),
        ("0 2 * * 8", "day of week '8' is not between 0 and 7"),
        ("0 2 * foo *", "month 'foo' is not between"),
        ("0 2 L * *", "day of month 'l' is not a number"),
        ("0 2 15W * *", "day of month '15w' is not a number"),
        ("0 2 ? * *", r"day of month '\?' is not a number"),
        ("*,5 2 * * *", "`\\*` already says all"),
        ("*-5 2 * * *", "needs a number before the dash"),
        ("*/0 2 * * *", "step must be between 1 and 59"),
        ("*/61 2 * * *", "step must be between 1 and 59"),
        ("5/15 2 * * *", "write 5-59/15"),
        ("-1 2 * * *", "minute '-1' is not a number"),
        ("1,,2 2 * * *", "minute '' is not a number"),
        ("0 2 * * 6#0", "write 6#1 for the first Saturday"),
        ("0 2 * * 6#6", "write 6#1 for the first Saturday"),
        ("0 2 * * 5L", "L5 for the last Friday"),
        ("0 2 * * 6#1,3", "nothing else beside"),
        ("0 2 * * mon-fri#1", "write 6#1 for the first Saturday"),
        ("0 2 * * foo#1", "day of week 'foo' is not between"),
        ("0 2 * * *\n", "characters that no cron line has"),
        ("0\u00a02 * * *", "characters that no cron line has"),
        ("0 2 * * " + "1," * 200 + "1", "at most 200 characters"),
    ],
)
def test_what_is_not_strict_is_refused_with_a_message_for_people(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_cron(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "0 2 * * 6",
            r"says nothing where '0 2 \* \* 6' has every day of the month or of the week; remove it",
        ),
        ("0 2 13 * *", "says nothing where"),
        ("0 2 */1 * 5", "write `\\*` in the field that has every day"),
        ("0 2 13 * 0-6", "says nothing where"),
        ("0 2 30 2 5", "never matches: no such month has a day 30"),
    ],
)
@pytest.mark.parametrize("days", ["either", "both"])
def test_what_joins_no_two_days_is_refused(text: str, message: str, days: Days) -> None:
    with pytest.raises(ValueError, match=message):
        check_cron(text, days)


@pytest.mark.parametrize("text", ["0 2 8-14 * 6#1", "0 2 1-21 * L5", "0 2 29 2 6#1", "0 2 1-7 2 1#5"])
def test_days_that_are_never_both_are_refused(text: str) -> None:
    with pytest.raises(
        ValueError, match="never matches: no day is both such a day of the month and of the week"
    ):
        check_cron(text, "both")
    check_cron(text, "either")


def test_a_day_that_only_some_leap_year_has_may_be_meant() -> None:
    check_cron("0 2 29 2 6#5", "both")


@pytest.mark.parametrize(
    ("text", "days", "first"),
    [
        ("0 2 8-14 * 6", "both", "2026-11-14 02:00"),
        ("0 2 13 * 5", "both", "2026-11-13 02:00"),
        ("0 2 13 * 5", "either", "2026-11-06 02:00"),
        ("0 2 1-7 * 5", "either", "2026-11-01 02:00"),
        ("0 2 31 * 1#1", "either", "2026-11-02 02:00"),
        ("0 2 30 * L5", "either", "2026-11-27 02:00"),
        ("0 2 */2 * 1", "both", "2026-11-09 02:00"),
        ("0 2 */7 * 2", "either", "2026-11-01 02:00"),
        ("0 2 15 * */3", "both", "2026-11-15 02:00"),
    ],
)
def test_two_day_fields_together_when_it_is_said_how(text: str, days: Days, first: str) -> None:
    """A step of `*` leaves days out like any other, whatever some crons make of a field that begins with `*`."""
    assert next_match(
        parse(text, days), datetime.fromisoformat("2026-11-01 00:00")
    ) == datetime.fromisoformat(first)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("0 2 * * 6#1", "2026-11-07 02:00"),
        ("0 2 * * L5", "2026-11-27 02:00"),
        ("0 2 * * 7", "2026-11-01 02:00"),
        ("0 2 * * 5-7", "2026-11-01 02:00"),
        ("0 2 * 1,4,7,10 6#1", "2027-01-02 02:00"),
        ("0 2 * * 6#5", "2027-01-30 02:00"),
        ("30 4 29 2 *", "2028-02-29 04:30"),
        ("0 2 31 * *", "2026-12-31 02:00"),
    ],
)
def test_the_next_match_after_the_first_of_november_2026(text: str, first: str) -> None:
    begin = datetime.fromisoformat("2026-11-01 00:00")
    assert next_match(parse(text), begin) == datetime.fromisoformat(first)


def test_the_previous_match_includes_its_own_minute_to_the_last_second() -> None:
    schedule, start = parse("30 2 * * *"), datetime.fromisoformat("2026-05-05 02:30")
    assert previous_match(schedule, start) == start
    assert previous_match(schedule, start + timedelta(seconds=59.9)) == start
    assert previous_match(schedule, start - timedelta(microseconds=1)) == start - timedelta(days=1)


def test_the_next_match_is_later_than_now() -> None:
    schedule, start = parse("30 2 * * *"), datetime.fromisoformat("2026-05-05 02:30")
    assert next_match(schedule, start) == start + timedelta(days=1)
    assert next_match(schedule, start - timedelta(seconds=1)) == start


def test_a_match_more_than_five_years_away_is_none() -> None:
    fifth_saturday_of_february = parse("0 2 * 2 6#5")
    assert next_match(fifth_saturday_of_february, datetime.fromisoformat("2026-11-01 00:00")) is None
    assert previous_match(fifth_saturday_of_february, datetime.fromisoformat("2028-11-01 00:00")) is None


@pytest.mark.fault("TM-04")
def test_an_answer_that_the_fields_do_not_allow_is_a_disagreement(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        def get_next(self, _kind: type, start_time: datetime) -> datetime:
            return start_time + timedelta(minutes=1)

    monkeypatch.setattr(cron, "_parsed_by_croniter", lambda _text: Wrong())
    with pytest.raises(Disagreement, match="does not allow 2026-05-05 00:01, which croniter named"):
        next_match(parse("30 2 * * *"), datetime.fromisoformat("2026-05-05 00:00"))


def numbers(low: int, high: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(low, high), min_size=1, max_size=3)


@settings(max_examples=150, deadline=None)
@given(
    minutes=numbers(0, 59),
    hours=numbers(0, 23),
    weekdays=st.one_of(st.none(), numbers(0, 6)),
    days=st.one_of(st.none(), numbers(1, 28)),
    nth=st.one_of(st.none(), st.integers(1, 5), st.just(-1)),
    joined_by=st.sampled_from(["either", "both"]),
    begin=st.datetimes(datetime.fromisoformat("2000-01-01"), datetime.fromisoformat("2037-01-01")),
)
def test_both_searches_find_what_a_walk_over_the_days_finds(
    minutes: list[int],
    hours: list[int],
    weekdays: list[int] | None,
    days: list[int] | None,
    nth: int | None,
    joined_by: Days,
    begin: datetime,
) -> None:
    times = sorted((hour, minute) for hour in set(hours) for minute in set(minutes))

    def is_day(day: datetime) -> bool:
        named = [day.day in days] if days is not None else []
        named += [is_weekday(day, weekdays)] if weekdays is not None else []
        return (any if joined_by == "either" and named else all)(named)

    def is_weekday(day: datetime, weekdays: list[int]) -> bool:
        if day.isoweekday() % 7 not in weekdays:
            return False
        left = calendar.monthrange(day.year, day.month)[1] - day.day
        return nth is None or (left < 7 if nth == -1 else (day.day - 1) // 7 + 1 == nth)

    def joined(values: list[int]) -> str:
        return ",".join(map(str, values))

    weekday_field = "*"
    if weekdays is not None:
        items = [f"L{day}" if nth == -1 else f"{day}#{nth}" if nth else str(day) for day in weekdays]
        weekday_field = ",".join(items)
    text = f"{joined(minutes)} {joined(hours)} {joined(days) if days else '*'} * {weekday_field}"
    midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    walked = [
        day.replace(hour=hour, minute=minute)
        for day in (midnight + timedelta(days=offset) for offset in range(-220, 221))
        if is_day(day)
        for hour, minute in times
    ]
    try:
        schedule = parse(text, joined_by if days and weekdays else None)
    except ValueError:
        assert days, "a weekday alone always comes"
        assert not walked
        return
    # Where the walk has none, the next is further away than it goes.
    ahead, behind = (
        [match for match in walked if match > begin],
        [match for match in walked if match <= begin],
    )
    nearest, latest = next_match(schedule, begin), previous_match(schedule, begin)
    assert nearest == min(ahead) if ahead else nearest is None or nearest > walked_to(midnight, 1)
    assert latest == max(behind) if behind else latest is None or latest < walked_to(midnight, -1)


def walked_to(midnight: datetime, direction: int) -> datetime:
    return midnight + timedelta(days=direction * 220)
