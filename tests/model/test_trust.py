"""Who may move which environment, folded commit by commit over what was changed and put back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model import trust
from reconciler.model.trust import Held, Intrusion, Refusal, Rule, Signature, Standing, Touched, onward

RULE = Rule({"production": ("ada@*",)}, own_key="SHA256:ugs")
START = Standing("first-parent:", "c0")


def signed(commit: str, signer: str, key: str = "") -> Signature:
    return Signature(commit, f"{signer}@example.org", key)


@pytest.mark.parametrize(
    ("environment", "signer", "key", "permitted"),
    [
        ("production", "ada@example.org", "", True),
        ("production", "mallory@ada", "", False),
        ("production", "ugs@example.org", "SHA256:ugs", True),
        ("production", "ugs@example.org", "SHA256:other", False),
        ("staging", "mallory@example.org", "", True),
    ],
)
def test_who_may_move_an_environment(environment: str, signer: str, key: str, permitted: bool) -> None:
    assert RULE.permits(environment, signer, key) is permitted


def test_without_a_key_of_our_own_no_key_is_ours() -> None:
    assert not Rule({"production": ()}).permits("production", "ugs@example.org", "")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("environments/production.yaml", "production"),
        ("environments/production.yml", "production"),
        ("environments/production/api.yaml", "production"),
        ("environments/production-eu.yaml", None),
        ("releases/production/1.0.0.yaml", None),
    ],
)
def test_the_environment_that_a_file_belongs_to(path: str, name: str | None) -> None:
    assert trust.environment_of(path, ["staging", "production"]) == name


def test_more_intrusions_than_are_remembered_refuse_the_whole_commit() -> None:
    files = [Touched(f"environments/production/{n}.yaml", "a", "b") for n in range(trust.FILES_MAX + 1)]
    found = onward(START, RULE, "c0", signed("c1", "mallory"), {"production": files})
    assert found == Refusal(
        "c1", "it moves more than 1000 files of production, which mallory@example.org may not move"
    )


def test_what_is_told_names_one_file_and_counts_the_others() -> None:
    files = {name: Intrusion("a", "c1" * 20, "mallory@example.org") for name in ("x", "y", "z")}
    text = trust.held_text("production", Held("c0", files), Rule({"production": ()}))
    assert "changes x and 2 more files" in text
    assert text.endswith("those who may: nobody but the daemon itself")


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["ada", "mallory"]), st.dictionaries(st.sampled_from("xyz"), st.integers(0, 3))
    ),
    max_size=12,
)


@given(EDITS)
def test_nothing_is_ever_in_force_that_nobody_wrote_who_may(
    edits: list[tuple[str, dict[str, int]]],
) -> None:
    tree = dict.fromkeys("xyz", 0)
    trees, written = {"c0": dict(tree)}, {(path, 0) for path in tree}
    standing = START
    for number, (signer, changes) in enumerate(edits, start=1):
        moved = {path: after for path, after in changes.items() if tree[path] != after}
        touched = [Touched(path, str(tree[path]), str(after)) for path, after in moved.items()]
        before, tree = f"c{number - 1}", tree | moved
        trees[f"c{number}"] = dict(tree)
        if signer == "ada":
            written |= set(moved.items())
        after = onward(standing, RULE, before, signed(f"c{number}", signer), {"production": touched})
        assert isinstance(after, Standing)
        standing = after
        held = standing.held.get("production")
        in_force = trees[(held.revision if held else standing.tip) or ""]
        assert set(in_force.items()) <= written
        if all(signer == "ada" for signer, _ in edits[:number]):
            assert held is None
        if held:
            back = [Touched(path, str(tree[path]), one.trusted) for path, one in held.files.items()]
            mended = onward(standing, RULE, f"c{number}", signed("mended", "mallory"), {"production": back})
            assert mended == Standing(START.anchor, "mended")
    assert trust.pardoned(standing, RULE) == standing
    assert trust.pardoned(standing, Rule()).held == {}
