"""Open pull requests, and what was said there."""

from __future__ import annotations

from msgspec.structs import replace

from reconciler.model.previewed import Previewed
from reconciler.store import Store

FIRST = Previewed(7, "a" * 40, comment="c", check="d")


def test_the_last_that_was_said_is_kept_until_it_is_forgotten(store: Store) -> None:
    store.show(FIRST)
    store.show(again := replace(FIRST, head="b" * 40))
    store.show(Previewed(3))
    assert store.previews() == {3: Previewed(3), 7: again}
    store.forget_previews([7, 9])
    store.forget_previews([])
    assert store.previews() == {3: Previewed(3)}
