"""The breaker and the control group: when many fail together, it is hardly each release's own fault."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from reconciler.model.breaker import suspects_the_checker, trips
from reconciler.model.upgrade import Phase, Upgrade
from tests.build import NOW, upgrade, work

MINUTE = timedelta(minutes=1)


def failed(service: str, *, ago: timedelta = MINUTE) -> Upgrade:
    return replace(
        upgrade(work("1.0.0", service), work("1.1.0", service)),
        phase=Phase.REVERTING,
        failed=True,
        changed_at=NOW - ago,
    )


def succeeded(service: str, *, ago: timedelta = MINUTE) -> Upgrade:
    return replace(failed(service, ago=ago), phase=Phase.SUCCEEDED, failed=False)


def test_three_services_that_fail_within_ten_minutes_trip_it() -> None:
    why = trips([failed("api"), failed("web"), failed("billing", ago=9 * MINUTE)], now=NOW)
    assert why == "3 of 3 upgrades failed within 10 minutes (api, billing, web)"


def test_two_services_do_not_however_often_they_fail() -> None:
    assert trips([failed("api"), failed("api"), failed("web"), failed("web")], now=NOW) == ""


def test_what_failed_longer_ago_does_not_count() -> None:
    assert trips([failed("api"), failed("web"), failed("billing", ago=11 * MINUTE)], now=NOW) == ""


def test_three_bad_ones_among_many_good_ones_are_their_own_fault() -> None:
    bad = [failed("api"), failed("web"), failed("billing")]
    assert trips([*bad, *(succeeded(f"s{number}") for number in range(3))], now=NOW) != ""
    assert trips([*bad, *(succeeded(f"s{number}") for number in range(4))], now=NOW) == ""


def test_what_is_under_way_or_was_cancelled_has_no_verdict() -> None:
    waiting = replace(failed("cache"), phase=Phase.VERIFYING, failed=False)
    cancelled = replace(failed("queue"), phase=Phase.CANCELLED, failed=False)
    assert trips([failed("api"), failed("web"), failed("billing"), waiting, cancelled], now=NOW).startswith(
        "3 of 3"
    )


@pytest.mark.parametrize(
    ("controls", "suspect"),
    [
        ([], False),
        ([False, False], False),
        ([True, True, False], False),
        ([True, False, False], True),
        ([True, True, False, False], True),
        ([True, True, True, False], False),
    ],
)
def test_the_checker_is_suspect_when_half_of_three_untouched_services_fail_too(
    controls: list[bool], suspect: bool
) -> None:
    assert suspects_the_checker(controls) is suspect
