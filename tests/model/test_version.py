from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.version import LENGTH_MAX, Version, step_between

PRECEDENCE = [
    "0.0.1",
    "0.9.9",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.2.0",
    "1.10.0",
    "2.0.0",
]

VERSIONS = st.builds(
    lambda numbers, tail: Version(".".join(map(str, numbers)) + tail),
    st.tuples(*[st.integers(0, 12)] * 3),
    st.sampled_from(["", "-alpha", "-alpha.1", "-rc.2", "+build.1", "-rc.2+build.1"]),
)


def test_order_is_that_of_semver() -> None:
    assert [str(version) for version in sorted(map(Version, reversed(PRECEDENCE)))] == PRECEDENCE


@pytest.mark.fault("YM-11")
def test_build_metadata_makes_another_version_of_the_same_precedence() -> None:
    plain, built = Version("1.0.0"), Version("1.0.0+build.7")
    assert plain != built
    assert plain.parts.compare(built.parts) == 0
    assert plain < built
    assert len({plain, built, Version("1.0.0")}) == 2


@pytest.mark.fault("YM-11")
@pytest.mark.parametrize(
    "text", ["", "1", "1.2", "v1.2.3", "01.2.3", "1.2.3-01", "1.2.3 ", "1.2.3\n", "1.2.3-", "latest", "1.2.x"]
)
def test_what_is_not_semver_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a SemVer 2\.0 version such as"):
        Version(text)


@pytest.mark.fault("YM-11")
def test_a_number_too_long_for_the_parser_is_refused_for_its_length() -> None:
    with pytest.raises(ValueError, match=f"at most {LENGTH_MAX} characters"):
        Version("1" * 5000 + ".0.0")


def test_a_version_is_equal_to_versions_only_and_shows_itself() -> None:
    assert Version("1.0.0") != "1.0.0"
    assert repr(Version("1.0.0")) == "Version('1.0.0')"


@pytest.mark.parametrize(
    ("older", "newer", "step"),
    [
        ("1.4.2", "1.4.3", "patch"),
        ("1.4.2", "1.5.0", "minor"),
        ("1.4.2", "2.0.0", "major"),
        ("0.4.2", "0.4.3", "patch"),
        ("0.4.2", "0.5.0", "major"),
        ("0.4.2", "1.0.0", "major"),
        ("1.5.0", "1.4.2", "minor"),
        ("1.5.0-rc.1", "1.5.0", "patch"),
        ("1.5.0+a", "1.5.0+b", "patch"),
    ],
)
def test_the_step_between_two_versions(older: str, newer: str, step: str) -> None:
    assert step_between(Version(older), Version(newer)) == step


@given(VERSIONS, VERSIONS, VERSIONS)
def test_the_order_is_total_and_agrees_with_equality(a: Version, b: Version, c: Version) -> None:
    assert (a < b) + (b < a) + (a == b) == 1
    assert not (a < b < c) or a < c
    assert a != b or hash(a) == hash(b)


@given(VERSIONS, VERSIONS)
def test_a_step_is_the_same_both_ways(a: Version, b: Version) -> None:
    assert step_between(a, b) == step_between(b, a)
