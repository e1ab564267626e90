"""The reverts that people are asked to merge, as they are remembered."""

from __future__ import annotations

from msgspec.structs import replace

from reconciler.model.proposal import Proposal
from reconciler.store import Store
from tests.store.builders import bump


def test_the_oldest_stays_the_first_however_often_it_changes(store: Store) -> None:
    upgrade = bump()
    first, second = (
        Proposal(replace(upgrade, operation=name), "b" * 40, "c" * 40) for name in ("one", "two")
    )
    store.propose(first)
    store.propose(second)
    store.propose(replace(first, asked=True))
    assert [one.operation for one in store.proposals()] == ["one", "two"]
