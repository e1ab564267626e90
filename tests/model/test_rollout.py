"""Batches: how many instances run the new version after each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.model.engines import ENGINES, Engine
from reconciler.model.expectation import expected_of
from reconciler.model.release import Rollout, Share, Strategy
from reconciler.model.rollout import batches, interrupts
from reconciler.model.target import Workload
from tests.build import work

BY_HAND = ENGINES["process"]
BY_ITSELF = Engine(frozenset({"rolling"}), "image", native=frozenset({"rolling"}))
shares: st.SearchStrategy[Share] = st.one_of(
    st.integers(1, 200), st.integers(1, 100).map(lambda percent: f"{percent}%")
)


def several(instances: int, strategy: Strategy, rollout: Rollout | None = None) -> Workload:
    return replace(work("1.1.0"), instances=instances, strategy=strategy, rollout=rollout or Rollout())


@pytest.mark.parametrize(
    ("instances", "strategy", "rollout", "expected"),
    [
        (3, "stop-start", Rollout(), (3,)),
        (1, "blue-green", Rollout(), (1,)),
        (3, "rolling", Rollout(), (1, 2, 3)),
        (5, "rolling", Rollout(batch=2), (2, 4, 5)),
        (5, "rolling", Rollout(batch="25%"), (2, 4, 5)),
        (4, "rolling", Rollout(batch=9), (4,)),
        (4, "canary", Rollout(), (1, 4)),
        (4, "canary", Rollout(canary=(1, "50%")), (1, 2, 4)),
        (10, "canary", Rollout(canary=("5%", "5%", "30%", "100%")), (1, 3, 10)),
        (1, "canary", Rollout(canary=(1, "50%")), (1,)),
    ],
)
def test_so_many_run_the_new_version_after_each_batch(
    instances: int, strategy: Strategy, rollout: Rollout, expected: tuple[int, ...]
) -> None:
    assert batches(several(instances, strategy, rollout), BY_HAND) == expected


def test_an_engine_that_rolls_by_itself_is_asked_once() -> None:
    assert batches(several(9, "rolling"), BY_ITSELF) == (9,)


@given(st.integers(1, 100), st.sampled_from(["rolling", "canary"]), st.lists(shares, min_size=1), shares)
def test_batches_always_rise_and_end_with_all(
    instances: int, strategy: Strategy, canary: list[Share], batch: Share
) -> None:
    counts = batches(several(instances, strategy, Rollout(tuple(canary), batch)), BY_HAND)
    assert list(counts) == sorted(set(counts))
    assert counts[0] >= 1
    assert counts[-1] == instances


@pytest.mark.parametrize(
    ("instances", "strategy", "expected"),
    [
        (3, "stop-start", True),
        (1, "rolling", True),
        (2, "rolling", False),
        (2, "canary", False),
        (1, "blue-green", False),
    ],
)
def test_whether_nothing_answers_for_a_moment(instances: int, strategy: Strategy, expected: bool) -> None:
    assert interrupts(several(instances, strategy)) is expected


def test_each_batch_may_take_as_long_as_the_first_and_its_pause() -> None:
    one = several(4, "canary", Rollout((1, 2), pause_s=600.0))
    health = one.release.health
    whole_s = health.deadline_s + health.soak_s
    assert expected_of((), one, "process") == whole_s + 2 * (health.deadline_s + 600.0)
    assert expected_of((), several(4, "stop-start"), "process") == whole_s
    assert expected_of([7.0] * 5, one, "process") == 7.0
