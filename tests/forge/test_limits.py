from __future__ import annotations

import pytest

from reconciler.forge.limits import RETRY_AFTER_DEFAULT_S, RETRY_AFTER_MAX_S, exhausted, wait_s

DATE = {"date": "Tue, 14 Nov 2023 22:13:20 GMT"}
"""1700000000, whatever our clock says."""


@pytest.mark.parametrize(
    ("headers", "expected_s"),
    [
        ({"retry-after": "77"}, 77),
        ({"retry-after": "0"}, 1),
        ({"retry-after": "9" * 40}, RETRY_AFTER_MAX_S),
        ({"retry-after": "Tue, 14 Nov 2023 22:14:00 GMT"} | DATE, 40),
        ({"retry-after": "Tue, 14 Nov 2023 22:00:00 GMT"} | DATE, 1),
        ({"retry-after": "Tue, 14 Nov 2023 22:14:00 GMT"}, RETRY_AFTER_DEFAULT_S),
        ({"retry-after": "soon"} | DATE, RETRY_AFTER_DEFAULT_S),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000100"} | DATE, 100),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "1700000030"} | DATE, 30),
        ({"x-ratelimit-remaining": "12", "x-ratelimit-reset": "1700000100"} | DATE, RETRY_AFTER_DEFAULT_S),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000100"}, RETRY_AFTER_DEFAULT_S),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "tomorrow"} | DATE, RETRY_AFTER_DEFAULT_S),
        ({}, RETRY_AFTER_DEFAULT_S),
    ],
)
def test_a_forge_is_waited_for_as_it_asks_by_its_own_clock(
    headers: dict[str, str], expected_s: float
) -> None:
    assert wait_s(headers) == expected_s


def test_a_limit_is_reached_when_nothing_is_left() -> None:
    assert exhausted({"ratelimit-remaining": "0"})
    assert not exhausted({"x-ratelimit-remaining": "1"})
