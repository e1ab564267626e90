"""Which reviews of a merged pull request are approvals."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.model.reviews import Given, Review, Tally, tally, told

HEAD, BEFORE = "a" * 40, "b" * 40
URL = "https://forge.example/ops/fleet/pull/7"


def review(person: str, **fields: Any) -> Review:
    said: dict[str, Any] = {"verdict": "approved", "commit": HEAD, "may_write": True}
    return Review(person, **said | fields)


def counted(*reviews: Review, **fields: Any) -> Tally:
    said: dict[str, Any] = {"head": HEAD, "author": "bob", "names": {}, "owners": ()}
    return tally(reviews, **said | fields)


def test_an_approving_review_of_what_was_merged_counts() -> None:
    found = counted(review("ada"))
    assert found == Tally((Given("ada", known=False, owner=False),))
    assert told(found, URL) == ""


@pytest.mark.parametrize(
    ("ignored", "why"),
    [
        (review("eve", may_write=False), "eve (may not write to the repository)"),
        (review("ada", commit=BEFORE), "ada (of an earlier push)"),
        (review("ada", commit=""), "ada (the forge does not say of which push)"),
        (review("Bob"), "Bob (opened the pull request)"),
        (review("robert"), "robert (opened the pull request)"),
        (review("eve", verdict="rejected", may_write=False), "eve asks for changes, and may not write"),
    ],
)
def test_other_reviews_do_not_and_it_is_said_why(ignored: Review, why: str) -> None:
    names = {"Bob": "bob@example.org", "robert": "Bob@example.org"}
    found = counted(ignored, review("cyd"), names=names)
    assert ([one.by for one in found.given], found.ignored) == (["cyd"], (why,))
    assert told(found, URL) == f"of the reviews of {URL} do not count: {why}"


def test_whoever_may_write_and_asks_for_changes_takes_all_with_him() -> None:
    found = counted(review("ada"), review("cyd", verdict="rejected", commit=BEFORE))
    assert found == Tally(ignored=("cyd asks for changes",))


def test_an_account_is_the_person_whom_ugs_yaml_names() -> None:
    found = counted(review("Ada-L"), names={"ada-l": "ada@example.org"})
    assert found.given == (Given("ada@example.org", known=True, owner=False),)


@pytest.mark.parametrize("owner", ["ADA-L", "ada@example.org"])
def test_an_owner_is_known_by_account_or_by_address(owner: str) -> None:
    found = counted(review("ada-l"), review("cyd"), names={"ada-l": "ada@example.org"}, owners={owner})
    assert [one.owner for one in found.given] == [True, False]


def test_nothing_is_told_where_nobody_has_said_a_word() -> None:
    assert told(counted(), URL) == f"nobody has reviewed {URL}"
