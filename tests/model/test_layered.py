"""What shares with another is the mapping that it would be if it shared nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model import layered as module
from reconciler.model.layered import Layered, differing, layered

KEYS = st.integers(0, 12)
STEPS = st.lists(st.tuples(st.dictionaries(KEYS, st.text(max_size=1), max_size=4), st.sets(KEYS, max_size=4)))


@given(st.dictionaries(KEYS, st.text(max_size=1)), STEPS)
def test_it_is_what_a_plain_mapping_would_be(
    first: dict[int, str], steps: list[tuple[dict[int, str], set[int]]]
) -> None:
    plain, made = dict(first), Layered(dict(first))
    for now, gone in steps:
        before, was = made, dict(plain)
        away = gone - now.keys()
        made = made.changed(now, away)
        plain = {key: one for key, one in plain.items() if key not in away} | now
        assert made == plain
        assert len(made) == len(plain)
        assert set(made) == set(plain)
        assert all((key in made) == (key in plain) for key in range(13))
        assert all(made.get(key) == plain.get(key) for key in range(13))
        assert all(made.get(key, "?") == plain.get(key, "?") for key in range(13))
        assert before == was  # what came before it stays as it was
        other = {key for key in was.keys() | plain.keys() if was.get(key) is not plain.get(key)}
        assert differing(before, made) == differing(made, before) == other
        assert differing(was, made) == other


def test_what_nothing_changed_in_is_the_very_same() -> None:
    made = layered({1: "a"})
    assert made.changed({}) is made
    assert layered(made) is made
    assert differing(made, made) == set()


def test_when_much_has_changed_it_is_written_out() -> None:
    made = Layered(dict.fromkeys(range(10_000), "old"))
    for number in range(module.SHARE * 4):
        made = made.changed({number: "new"}, {9_999 - number})
        assert len(made._over) + len(made._gone) <= 10_000 // module.SHARE + 2
    assert len(made) == 10_000 - module.SHARE * 4
