"""Flags as they are remembered: the newest row of each is in force, and stays whatever is dropped."""

from __future__ import annotations

from reconciler.model.standing import Standing
from reconciler.store import Store


def standing(value: bool) -> Standing:
    return Standing("style", ("api",), default=False, value=value)


def test_the_newest_row_of_a_flag_is_in_force_and_one_that_has_gone_is_not(store: Store) -> None:
    store.keep_flag("production", "style", standing(False), revision="a", author="")
    store.keep_flag("production", "style", standing(True), revision="b", author="Ada")
    store.keep_flag("production", "other", standing(True), revision="b", author="Ada")
    store.keep_flag("production", "other", None, revision="c", author="")
    store.keep_flag("staging", "style", standing(False), revision="d", author="")
    found = store.flags("production")
    assert {name: (row.revision, row.author, row.standing) for name, row in found.items()} == {
        "style": ("b", "Ada", standing(True))
    }
    assert store.flag_environments() == ["production", "staging"]
    assert [row.revision for row in store.flag_history("production", None, limit=10)] == ["c", "b", "b", "a"]
    assert [row.revision for row in store.flag_history(None, "style", limit=2)] == ["d", "b"]


def test_old_rows_are_dropped_and_what_is_in_force_is_not(store: Store) -> None:
    store.keep_flag("production", "quiet", standing(True), revision="first", author="")
    for number in range(20):
        store.keep_flag("production", "style", standing(bool(number % 2)), revision=str(number), author="")
    store.prune(flag_rows_max=5)
    kept = store.flag_history(None, None, limit=100)
    assert [row.revision for row in kept] == ["19", "18", "17", "16", "15", "first"]
    assert store.flags("production").keys() == {"quiet", "style"}


def test_an_environment_takes_its_flags_along_when_it_is_renamed(store: Store) -> None:
    store.keep_flag("production", "style", standing(True), revision="a", author="Ada")
    store.mark("flags: production", "{}")
    store.rename("production", "live")
    assert store.flags("live").keys() == {"style"}
    assert store.flags("production") == {}
    assert store.marks("flags: ") == {"flags: live": "{}"}
