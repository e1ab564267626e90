"""A large document that does not fit its schema is explained as a small one is, and soon."""

from __future__ import annotations

import pytest

from benchmarks import hostile
from reconciler.model.document import read
from reconciler.model.errors import InputError, Problem
from reconciler.model.schema import PROBLEMS_MAX, check
from tests.counting import calls

ENVIRONMENT = "environment: test\ntimezone: UTC\ndriver: {kind: process}\n"
CALLS_MAX, CALLS_PER_FILE_MAX = 500_000, 12
"""Whatever the file; what grows with the square of it makes a hundred million and more."""


def refused(text: str) -> list[Problem]:
    with pytest.raises(InputError) as caught:
        check(read(text.encode(), "environments/test.yaml"), "environment")
    return list(caught.value.problems)


def test_the_one_bad_pin_of_thousands_is_told_where_it_stands() -> None:
    pins = [f"  s{number}: '1.0.0'\n" for number in range(4_000)]
    pins[2_345] = "  s2345: 1.0\n"
    [problem] = refused(f"{ENVIRONMENT}pins:\n{''.join(pins)}")
    assert (problem.place.line, problem.path) == (5 + 2_345, "pins.s2345")
    assert (problem.message, problem.remedy) == ("versions must be quoted", 'write "1.0"')


def test_a_bad_item_of_a_long_list_keeps_its_number() -> None:
    freezes = ["  - {from: 2026-12-20, until: 2027-01-02, reason: x}\n"] * 190
    freezes[77] = "  - {from: 2026-12-20, until: 2027-01-02, reason: 7}\n"
    [problem] = refused(f"{ENVIRONMENT}pins: {{}}\nfreezes:\n{''.join(freezes)}")
    assert (problem.place.line, problem.path) == (6 + 77, "freezes[77].reason")


def test_of_many_that_are_bad_the_first_are_told() -> None:
    problems = refused(f"{ENVIRONMENT}pins:\n" + "".join(f"  s{number}: 1.0\n" for number in range(4_000)))
    assert [problem.path for problem in problems] == [f"pins.s{number}" for number in range(PROBLEMS_MAX)]


def test_too_many_are_told_as_such() -> None:
    window = "{cron: '0 2 * * 6', duration: 1h}"
    [problem] = refused(f"{ENVIRONMENT}pins: {{}}\nwindows: {{minor: [{', '.join([window] * 2_000)}]}}\n")
    assert (problem.path, problem.message) == ("windows.minor", "this is too long")


def test_what_is_missing_beside_thousands_is_told() -> None:
    pins = "".join(f"  s{number}: '1.0.0'\n" for number in range(4_000))
    [problem] = refused(f"environment: test\npins:\n{pins}")
    assert problem.message == "the key `driver` is missing"


@pytest.mark.fault("YM-04", "YM-05", "YM-06", "YM-08", "YM-09", "YM-10", "HR-06")
def test_whatever_is_hostile_is_refused_soon_and_spoils_nothing() -> None:
    over = {}
    for name, files, contents in hostile.repositories():
        [found] = hostile.refused(name, files, contents, 1, calls)
        if found > CALLS_MAX + CALLS_PER_FILE_MAX * len(files):
            over[name] = found
    assert not over
