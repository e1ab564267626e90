"""What is in force is put together for whoever looks, the same for all who do, and stays what it was for who has it."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from reconciler.model.desired import Desired, alike, moved
from reconciler.model.layered import Layered, sorted_with
from reconciler.model.stamped import Desires, Stamped, named_alike, otherwise, promoting, renaming, without
from tests.build import desired, work

NAMES = tuple("abcdefgh")


def kept(random: Random, name: str) -> Desired:
    former = random.choice((None, None, "z"))
    return replace(
        desired(work(random.choice(("1.0.0", "1.1.0"))), name=name, renamed_from=former), revision=""
    )


def stamped(some: Layered[str, Desired], revision: str) -> Stamped:
    says = frozenset(name for name, one in some.items() if one.environment.renamed_from)
    return Stamped(some, revision, {}, says, frozenset())


@pytest.mark.parametrize("seed", range(40))
def test_what_has_moved_is_found_without_looking_at_the_rest(seed: int) -> None:
    random = Random(seed)
    some = Layered({name: kept(random, name) for name in NAMES if random.random() < 0.7})
    before = stamped(some, "r0")
    for number in range(6):
        anew = set(random.sample(NAMES, random.randint(0, 3)))
        now = {name: kept(random, name) for name in anew if random.random() < 0.7}
        some = sorted_with(some, anew, now)
        after = stamped(some, f"r{number + 1}")
        plain = {name: replace(one, revision=after.kept and f"r{number + 1}") for name, one in some.items()}
        assert after == plain
        assert list(after) == sorted(after) == list(after.keys())
        assert len(after) == len(plain)
        assert moved(before, after) == moved(dict(before), plain)
        assert renaming(after) == renaming(plain)
        assert promoting(after) == promoting(plain)
        assert otherwise(dict(before), after) is None
        alike_named = set(before) == set(plain)
        assert named_alike(before, after) is named_alike(after, before) is alike_named
        assert named_alike(before, plain) is named_alike(dict(before), after) is alike_named
        before = after


def test_all_who_ask_get_the_very_same() -> None:
    asked = stamped(Layered({"a": replace(desired(work()), revision="")}), "r1")
    assert asked["a"] is asked["a"] is asked.get("a") is dict(asked)["a"] is next(iter(asked.values()))
    assert asked["a"].revision == "r1"
    assert alike(asked["a"], asked.kept["a"])
    assert "b" not in asked
    assert asked.get("b") is None
    assert without(asked, []) is asked
    assert without(asked, ["a"]) == {}


def test_what_was_taken_as_a_whole_stays_as_it_was() -> None:
    here, one, other = Desires(), desired(work()), desired(work("1.1.0"))
    here.follow({"a": one})
    before = here.now
    here["b"] = other
    assert here.pop("a") is one
    assert here.pop("a", None) is None
    assert dict(here) == {"b": other}
    assert before == {"a": one}
    assert "a" not in here
    assert (list(here), len(here), list(here.values())) == (["b"], 1, [other])
    here.clear()
    assert not here
