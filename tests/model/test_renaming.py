"""Which environment goes on in one that says it had another name."""

from __future__ import annotations

import pytest

from reconciler.model.renaming import doubtful, heir_of, known_as

NOBODY: dict[str, str] = {}


@pytest.mark.parametrize(
    ("old", "before", "known", "heirs", "found"),
    [
        ("a", (), {"a"}, NOBODY, "a"),
        ("b", ("a",), {"a"}, NOBODY, "a"),
        ("b", ("x", "a"), {"a"}, NOBODY, "a"),
        ("b", ("x", "a"), {"a", "x"}, NOBODY, "x"),
        ("b", (), {"a"}, NOBODY, None),
        ("b", ("x",), {"a"}, NOBODY, None),
        # It goes on under it already, by one name or several.
        ("a", (), {"c"}, {"a": "c"}, "c"),
        ("a", (), {"c"}, {"a": "b", "b": "c"}, "c"),
        # Given and taken back; it is in force, and never was another that is.
        ("b", ("c",), {"c"}, NOBODY, "c"),
        ("b", ("a",), {"c", "a"}, NOBODY, None),
        # A name that was given twice in the row counts as little as another of which nothing is known.
        ("b", ("c", "b", "a"), {"a"}, NOBODY, "a"),
    ],
)
def test_what_is_known_of_a_former_name_or_of_one_before_it(
    old: str, before: tuple[str, ...], known: set[str], heirs: dict[str, str], found: str | None
) -> None:
    assert known_as("c", old, before, known.__contains__, heirs) == found


def test_names_that_go_round_have_an_end() -> None:
    assert heir_of({"a": "b", "b": "a"}, "a") in ("a", "b")
    assert heir_of({"a": "b", "b": "c"}, "a") == "c"
    assert heir_of({}, "a") == "a"


@pytest.mark.parametrize(
    ("heirs", "known", "lost", "said"),
    [
        ({}, set(), set(), ""),
        ({}, {"c"}, {"a"}, ""),
        ({"b": "z"}, {"c"}, {"z"}, ""),
        (
            {"b": "z"},
            set(),
            {"z"},
            "b has been called z since; write renamed_from: z if that is what it was, else remove the line",
        ),
        (
            {},
            set(),
            {"a", "d"},
            "nothing is known here of b, and a and d have no file any more, and run on; "
            "write renamed_from: a if that is what it was, else remove the line",
        ),
    ],
)
def test_what_may_have_been_one_that_runs_on_is_no_new_one(
    heirs: dict[str, str], known: set[str], lost: set[str], said: str
) -> None:
    assert str(doubtful("c", "b", heirs, known.__contains__, lost) or "") == said
