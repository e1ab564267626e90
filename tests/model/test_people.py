"""Who somebody is by a provider's claims, and what he may do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.people import (
    GROUPS_MAX,
    Assignment,
    Nameless,
    Person,
    Registration,
    grants_of,
    person_of,
)
from reconciler.model.rights import RoleGrant

AT = Registration("https://login.example", "ugs", "ugs")
VIEWER, ADMIN = RoleGrant("viewer"), RoleGrant("admin", ("staging",))
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


def may(somebody: Person, **fields: str) -> bool:
    return grants_of([Assignment(AT.issuer, VIEWER, **fields)], somebody) == (VIEWER,)


@pytest.mark.parametrize(
    ("said", "groups"),
    [
        (["sre", "dev"], ("sre", "dev")),
        ("sre", ("sre",)),
        (None, ()),
        ({"sre": True}, ()),
        (["sre", 5, None, "", "x" * 201, ["dev"]], ("sre",)),
        ([f"g{number}" for number in range(1_000)], tuple(f"g{number}" for number in range(GROUPS_MAX))),
    ],
)
def test_groups_are_texts_and_not_endless(said: object, groups: tuple[str, ...]) -> None:
    assert person_of({"email": "ada@example.org", "groups": said}, AT).groups == groups


def test_all_that_fits_counts_together_and_for_its_own_provider_alone() -> None:
    ada = Person(AT.issuer, "ada@example.org", ("sre",))
    rules = [
        Assignment(AT.issuer, VIEWER, user="*@example.org"),
        Assignment(AT.issuer, ADMIN, group="sre"),
        Assignment("https://ci.example", RoleGrant("admin"), user="*"),
        Assignment(AT.issuer, RoleGrant("admin"), group="sre*"),  # a group is no pattern
        Assignment(AT.issuer, RoleGrant("admin")),
    ]
    assert grants_of(rules, ada) == (VIEWER, ADMIN)


def test_a_user_is_a_name_or_a_pattern() -> None:
    main = Person(AT.issuer, "repo:org/fleet:ref:refs/heads/main")
    assert may(main, user="repo:org/fleet:ref:refs/heads/main")
    assert may(main, user="repo:org/fleet:*")
    assert not may(main, user="repo:org/fleet")
    assert not may(main, user="repo:Org/fleet:*")
    assert not may(main, group="repo:org/fleet:ref:refs/heads/main")


@given(st.dictionaries(st.sampled_from(["email", "email_verified", "groups", "sub"]), JSON))
def test_whatever_a_provider_says_is_somebody_or_nobody(claims: dict[str, Any]) -> None:
    for at in (AT, Registration("i", "c", "c", name_claim="sub", groups_claim="email.groups")):
        try:
            somebody = person_of(claims, at)
        except Nameless:
            continue
        assert somebody.name.strip() == somebody.name != ""
        assert somebody.name.isprintable()
        assert all(isinstance(group, str) for group in somebody.groups)
