"""A version: SemVer 2.0 order, but identity is the exact text (build metadata included)."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Literal

import semver

LENGTH_MAX = 100
PARSED_MAX = 10_000

Step = Literal["major", "minor", "patch"]
Rank = tuple[int, int, int, tuple[tuple[int, int, str], ...]]
"""Sorts as SemVer does, and far faster: the numbers, then the labels of a pre-release."""
NO_LABELS = ((2, 0, ""),)
"""A release comes after all of its pre-releases."""


class Version:
    """A SemVer 2.0 version. Equal only when the text is equal; ordered by SemVer, then by text."""

    def __init__(self, text: str) -> None:
        """Raise ValueError, with a message for people, when `text` is not SemVer 2.0."""
        self.text = text
        self.parts = _parse(text)

    @cached_property
    def rank(self) -> Rank:
        return rank_of(self.parts)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Version({self.text!r})"

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self.text == other.text

    def __lt__(self, other: Version) -> bool:
        return (self.rank, self.text) < (other.rank, other.text)

    def __le__(self, other: Version) -> bool:
        return (self.rank, self.text) <= (other.rank, other.text)

    def __gt__(self, other: Version) -> bool:
        return other < self

    def __ge__(self, other: Version) -> bool:
        return other <= self


@lru_cache(maxsize=PARSED_MAX)
def version_of(text: str) -> Version:
    """The same value wherever its text stands: a repository names the same few again and again. Raises ValueError."""
    return Version(text)


def rank_of(version: semver.Version) -> Rank:
    """Of versions that differ in build metadata alone the same."""
    labels: tuple[tuple[int, int, str], ...] = NO_LABELS
    if version.prerelease is not None:
        labels = tuple(
            (0, int(label), "") if label.isdigit() else (1, 0, label)
            for label in version.prerelease.split(".")
        )
    return version.major, version.minor, version.patch, labels


@lru_cache(maxsize=PARSED_MAX)
def _parse(text: str) -> semver.Version:
    """The same few versions are read again and again, with every row and file that names them."""
    if len(text) > LENGTH_MAX:
        raise ValueError(f"a version is at most {LENGTH_MAX} characters long")
    if not semver.Version.is_valid(text) or text != text.strip():
        raise ValueError(f"{text!r} is not a SemVer 2.0 version such as 1.4.2")
    return semver.Version.parse(text)


def step_between(older: Version, newer: Version, *, zero_minor: Step = "major") -> Step:
    """The SemVer class of the step between two versions, whichever way it goes.

    `zero_minor`: what a minor step below 1.0.0 counts as; SemVer lets it break anything.
    """
    a, b = older.parts, newer.parts
    if a.major != b.major:
        return "major"
    if a.minor != b.minor:
        return zero_minor if a.major == 0 else "minor"
    return "patch"
