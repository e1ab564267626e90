"""The expected duration: what past upgrades took, once there are enough of them."""

from __future__ import annotations

from reconciler.model.expectation import expected_s
from reconciler.model.release import Health
from tests.build import release

MANIFEST = release(health=Health(soak_s=30.0, deadline_s=180.0))


def test_without_enough_of_a_past_it_is_what_the_manifest_allows() -> None:
    assert expected_s([], MANIFEST) == 210.0
    assert expected_s([1.0, 2.0, 3.0, 4.0], MANIFEST) == 210.0


def test_with_a_past_it_is_what_nineteen_of_twenty_did_not_exceed() -> None:
    assert expected_s([5.0, 4.0, 3.0, 2.0, 1.0], MANIFEST) == 5.0
    assert expected_s([float(number) for number in range(1, 21)], MANIFEST) == 19.0
    assert expected_s([float(number) for number in range(100, 0, -1)], MANIFEST) == 95.0
