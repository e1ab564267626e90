"""Whose a path is, as each forge reads CODEOWNERS."""

from __future__ import annotations

import time

import pytest

from reconciler.model.codeowners import Dialect, Unreadable, owners

FILE = "environments/production.yaml"


@pytest.mark.parametrize("dialect", ["github", "gitlab"])
@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("*", True),
        ("*.yaml", True),
        ("*.yml", False),
        ("environments/", True),
        ("/environments/", True),
        ("environments", True),
        ("production.yaml", True),
        ("environments/*", True),
        ("environments/production.*", True),
        ("/environments/**", True),
        ("**/production.yaml", True),
        ("**/production*", True),
        ("environments/**/production.yaml", True),
        ("environments/prod?ction.yaml", True),
        ("/production.yaml", False),
        ("production", False),
        ("environments/staging.yaml", False),
        ("vironments/", False),
        ("environmentsXproduction.yaml", False),
    ],
)
def test_a_pattern_fits_as_one_of_gitignore_does(dialect: Dialect, pattern: str, fits: bool) -> None:
    assert owners(f"{pattern} @ada", FILE, dialect) == (("@ada",) if fits else ())


def test_a_star_at_the_end_is_not_for_folders_below() -> None:
    assert owners("environments/* @ada", "environments/production/api.yaml", "github") == ()
    assert owners("environments/ @ada", "environments/production/api.yaml", "github") == ("@ada",)


def test_the_last_line_that_fits_counts_and_may_name_nobody() -> None:
    text = "# ours\n* @ada  # everything\n\nenvironments/ @ops/deployers bob@example.org\n"
    assert owners(text, FILE, "github") == ("@ops/deployers", "bob@example.org")
    assert owners(text + "production.yaml\n", FILE, "github") == ()
    assert owners(text, "a\\ b", "github") == ("@ada",)


def test_a_space_in_a_pattern_is_written_with_a_backslash() -> None:
    assert owners("my\\ environments/ @ada", "my environments/x.yaml", "github") == ("@ada",)


def test_each_section_of_gitlab_has_its_owners() -> None:
    text = (
        "* @ada\n"
        "[Data][2] @ops/dba\nenvironments/\n/environments/production.yaml @cyd\n"
        "^[Docs]\ndocs/ @eve\n[data]\n*.yaml @bob\n"
    )
    assert owners(text, FILE, "gitlab") == ("@ada", "@bob")
    assert owners(text, "environments/staging.txt", "gitlab") == ("@ada", "@ops/dba")


def test_all_lines_of_gitea_that_fit_count() -> None:
    text = ".* @ada\nenvironments/.*\\.yaml @ops/deployers\n!environments/[^/]*\\.yaml @eve\n.*\\.md @bob\n"
    assert owners(text, FILE, "gitea") == ("@ada", "@ops/deployers")
    assert owners(text, "README.md", "gitea") == ("@ada", "@eve", "@bob")


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        ("* @ada\n!environments/ @bob", "github"),
        ("(a+)+$ @ada", "gitea"),
        (".*.*.*.*.* @ada", "gitea"),
        ("a*b*c*d*e* @ada", "github"),
        ("* @ada\n" * 6_000, "github"),
    ],
)
def test_what_is_not_understood_is_said(text: str, dialect: Dialect) -> None:
    with pytest.raises(Unreadable):
        owners(text, FILE, dialect)


@pytest.mark.parametrize(
    ("pattern", "dialect"), [("**/**/**/x", "github"), ("*x*x*x*x", "gitlab"), (".*x.*x.*x.*x", "gitea")]
)
def test_no_pattern_takes_long(pattern: str, dialect: Dialect) -> None:
    begun = time.perf_counter()
    owners(f"{pattern} @ada", "environments/" + "x/" * 100 + "y", dialect)
    assert time.perf_counter() - begun < 10
