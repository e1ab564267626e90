from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.range import LENGTH_MAX, Range
from reconciler.model.version import Version

# Each row: a range, versions inside it, versions outside it.
TABLE: list[tuple[str, str, str]] = [
    # comparators
    (">=1.2.7", "1.2.7 1.2.8 2.5.3 1.3.9", "1.2.6 1.1.0 1.2.7-rc.1 1.3.0-rc.1"),
    (">=1.2.7 <1.3.0", "1.2.7 1.2.8 1.2.99", "1.2.6 1.3.0 1.1.0"),
    ("1.2.7 || >=1.2.9 <2.0.0", "1.2.7 1.2.9 1.4.6", "1.2.8 2.0.0"),
    ("=1.2.3", "1.2.3 1.2.3+build.7", "1.2.4"),
    ("1.2.3", "1.2.3", "1.2.2 1.2.3-rc.1"),
    ("v1.2.3", "1.2.3", "1.2.4"),
    ("> 1.2.3 <= 1.3.0", "1.2.4 1.3.0", "1.2.3 1.3.1"),
    ("<2.0.0", "0.0.0 1.9.9", "2.0.0 2.0.0-rc.1 1.0.0-rc.1"),
    # npm's rule for pre-releases
    (">1.2.3-alpha.3", "1.2.3-alpha.7 1.2.3 3.4.5", "1.2.3-alpha.3 3.4.5-alpha.9"),
    (">=1.2.3-rc.1 || >=3.0.0-rc.1", "1.2.3-rc.2 3.0.0-rc.2", "2.0.0-rc.1"),
    (">=1.0.0-rc.1 <1.0.0", "1.0.0-rc.1 1.0.0-rc.9", "1.0.0 0.9.0"),
    # hyphen
    ("1.2.3 - 2.3.4", "1.2.3 2.3.4", "1.2.2 2.3.5"),
    ("1.2 - 2.3.4", "1.2.0 2.3.4", "1.1.9 2.3.5"),
    ("1.2.3 - 2.3", "1.2.3 2.3.9", "1.2.2 2.4.0 2.4.0-rc.1"),
    ("1.2.3 - 2", "1.2.3 2.9.9", "1.2.2 3.0.0"),
    ("* - 2", "0.0.0 2.9.9", "3.0.0"),
    ("1.2 - *", "1.2.0 9.0.0", "1.1.9"),
    ("1.2.3 - 2.0.0 || 4.x", "1.5.0 4.1.0", "3.0.0"),
    # x
    ("*", "0.0.0 9.9.9", "1.0.0-rc.1"),
    ("", "0.0.0 9.9.9", "1.0.0-rc.1"),
    ("||", "0.0.0 9.9.9", "1.0.0-rc.1"),
    ("1.x", "1.0.0 1.9.9", "0.9.9 2.0.0 2.0.0-rc.1"),
    ("1.2.X", "1.2.0 1.2.9", "1.1.9 1.3.0"),
    ("1", "1.0.0 1.9.9", "0.9.9 2.0.0"),
    ("1.2", "1.2.0 1.2.9", "1.1.9 1.3.0"),
    ("1.x.3", "1.0.0 1.9.9", "2.0.0"),
    (">1", "2.0.0", "1.9.9 2.0.0-rc.1"),
    (">1.2.x", "1.3.0", "1.2.9"),
    (">=1.2", "1.2.0 2.0.0", "1.1.9"),
    ("<1.2", "1.1.9", "1.2.0 1.2.0-rc.1"),
    ("<=1.2", "1.2.9", "1.3.0 1.3.0-rc.1"),
    (">*", "", "0.0.0 1.0.0 0.0.0-0"),
    ("<x", "", "0.0.0 1.0.0"),
    (">=*", "0.0.0 1.0.0", "1.0.0-rc.1"),
    # tilde
    ("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0 1.3.0-rc.1"),
    ("~>1.2.3", "1.2.3 1.2.9", "1.3.0"),
    ("~1.2", "1.2.0 1.2.9", "1.1.9 1.3.0"),
    ("~1", "1.0.0 1.9.9", "0.9.9 2.0.0"),
    ("~0.2.3", "0.2.3 0.2.9", "0.2.2 0.3.0"),
    ("~0", "0.0.0 0.9.9", "1.0.0"),
    ("~1.2.3-beta.2", "1.2.3-beta.2 1.2.3-beta.4 1.2.3 1.2.9", "1.2.3-beta.1 1.2.4-beta.2 1.3.0"),
    # caret
    ("^1.2.3", "1.2.3 1.9.9", "1.2.2 2.0.0 2.0.0-rc.1 1.3.0-rc.1"),
    ("^0.2.3", "0.2.3 0.2.9", "0.2.2 0.3.0"),
    ("^0.0.3", "0.0.3", "0.0.2 0.0.4"),
    ("^1.2.3-beta.2", "1.2.3-beta.2 1.2.3-beta.4 1.9.9", "1.2.3-beta.1 1.2.4-beta.2 2.0.0"),
    ("^0.0.3-beta", "0.0.3-beta 0.0.3-pr.2 0.0.3", "0.0.3-alpha 0.0.4"),
    ("^1.2.x", "1.2.0 1.9.9", "1.1.9 2.0.0"),
    ("^0.0.x", "0.0.0 0.0.9", "0.1.0"),
    ("^0.0", "0.0.0 0.0.9", "0.1.0"),
    ("^1.x", "1.0.0 1.9.9", "2.0.0"),
    ("^0.x", "0.0.0 0.9.9", "1.0.0"),
    ("^0.0.0", "0.0.0", "0.0.1"),
    ("^*", "0.0.0 9.9.9", "1.0.0-rc.1"),
    # together
    ("^1.2.0 <1.5", "1.2.0 1.4.9", "1.5.0 1.1.0"),
    ("<1.0.0 || ^2.1 || ~3.4.5", "0.5.0 2.9.0 3.4.9", "1.0.0 2.0.0 3.5.0"),
]


@pytest.mark.parametrize(("text", "inside", "outside"), TABLE, ids=[row[0] or "empty" for row in TABLE])
def test_what_a_range_contains(text: str, inside: str, outside: str) -> None:
    found = Range.parse(text)
    assert [str(v) for v in map(Version, inside.split()) if not found.contains(v)] == []
    assert [str(v) for v in map(Version, outside.split()) if found.contains(v)] == []
    assert str(found) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latest", "column 1: expected a version"),
        (">=", "column 3: expected a version"),
        (">=1.2.3 and <2", "column 9: expected a version"),
        ("1.2.3 || foo", "column 10: expected a version"),
        ("1.2.3.4", "column 1: expected a version"),
        ("01.2.3", "column 1: expected a version"),
        ("1.2-beta", "column 1: expected a version"),
        (">1.2.3<2.0.0", "column 2: expected a version"),
        ("1.2.3,2.0.0", "column 1: expected a version"),
        ("=>1.2.3", "column 2: expected a version"),
        ("1.2.3 -2.0.0", "column 7: expected a version"),
        ("1.2.3 - ", "column 9: expected a version"),
        ("1.2.3-01", "column 7: a number in a pre-release has no leading zero"),
        ("99999999999999999.0.0", "column 1: expected a version"),
        (">1.0.0 - 2.0.0", "column 1: a hyphen range takes plain versions"),
        ("1.0.0 - <2.0.0", "column 9: a hyphen range takes plain versions"),
        ("1.0.0 - 2.0.0 <3", "column 15: a hyphen range stands alone"),
        ("1.0.0\n", "characters that no version range has"),
        ("1.0.0 || ٣.x", "characters that no version range has"),
        ("1" * (LENGTH_MAX + 1), f"at most {LENGTH_MAX} characters"),
    ],
)
def test_what_is_not_a_range_is_refused_at_its_column(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Range.parse(text)


NUMBERS = st.integers(0, 4)
RELEASES = st.builds(lambda a, b, c: f"{a}.{b}.{c}", NUMBERS, NUMBERS, NUMBERS)
VERSIONS = st.builds(
    lambda release, tail: Version(release + tail), RELEASES, st.sampled_from(["", "-0", "-a.1", "-b"])
)
SIMPLE = st.builds(
    lambda operator, release, parts: operator + ".".join(release.split(".")[:parts]),
    st.sampled_from(["", "=", ">", ">=", "<", "<=", "^", "~"]),
    RELEASES,
    st.integers(1, 3),
)


@given(SIMPLE, SIMPLE, VERSIONS)
def test_or_is_a_union(a: str, b: str, version: Version) -> None:
    either = Range.parse(f"{a} || {b}").contains(version)
    assert either == (Range.parse(a).contains(version) or Range.parse(b).contains(version))


@given(SIMPLE, SIMPLE, RELEASES.map(Version))
def test_and_is_an_intersection_of_releases(a: str, b: str, version: Version) -> None:
    both = Range.parse(f"{a} {b}").contains(version)
    assert both == (Range.parse(a).contains(version) and Range.parse(b).contains(version))


@given(RELEASES, VERSIONS)
def test_the_comparators_of_a_full_version_split_all_releases_in_three(bound: str, version: Version) -> None:
    inside = [Range.parse(operator + bound).contains(version) for operator in ("<", "=", ">")]
    assert sum(inside) == (version.parts.prerelease is None)


@given(st.sampled_from("^~"), RELEASES, RELEASES.map(Version))
def test_caret_and_tilde_hold_their_base_and_nothing_lower(
    operator: str, base: str, version: Version
) -> None:
    found = Range.parse(operator + base)
    assert found.contains(Version(base))
    assert not found.contains(version) or version >= Version(base)


@given(RELEASES, RELEASES.map(Version))
def test_tilde_is_narrower_than_caret_above_zero(base: str, version: Version) -> None:
    narrow, wide = Range.parse(f"~{base}"), Range.parse(f"^{base}")
    assert base.startswith("0") or not narrow.contains(version) or wide.contains(version)


@given(SIMPLE, VERSIONS.filter(lambda version: version.parts.prerelease is not None))
def test_a_pre_release_matches_no_range_that_names_none(text: str, version: Version) -> None:
    assert not Range.parse(text).contains(version)


@given(st.text(alphabet="0123.xX*^~<>=|- va", max_size=30))
def test_any_text_is_a_range_or_a_value_error(text: str) -> None:
    try:
        found = Range.parse(text)
    except ValueError:
        return
    assert Range.parse(str(found)) == found
