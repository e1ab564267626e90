"""Version ranges, in npm's grammar: comparators, `^`, `~`, `x`, hyphen, space for and, `||` for or."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NoReturn

import semver
from msgspec import Struct

from reconciler.model.version import NO_LABELS, Rank, Version, rank_of

LENGTH_MAX = 256
KEPT_MAX = 10_000
"""Every pass asks the same ranges of the same releases."""

_PART = r"(?:0|[1-9][0-9]{0,15}|[xX*])"
_LABEL = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_PARTIAL = re.compile(
    rf"v?(?P<major>{_PART})(?:\.(?P<minor>{_PART})(?:\.(?P<patch>{_PART})"
    rf"(?:-(?P<prerelease>{_LABEL}))?(?:\+{_LABEL})?)?)?(?=\s|$)"
)
_OPERATOR = re.compile(r"(?P<operator>\^|~>?|>=|<=|>|<|=|)\s*")
_HYPHEN = re.compile(r"\s+-\s+")
_BLANK = re.compile(r"\s*")


class Comparator(Struct, frozen=True):
    """One bound: `operator` is one of `>=`, `>`, `<`, `<=`, `=`; `rank` is the bound's."""

    operator: str
    bound: semver.Version
    rank: Rank

    def admits(self, rank: Rank) -> bool:
        match self.operator:
            case ">=":
                return rank >= self.rank
            case ">":
                return rank > self.rank
            case "<":
                return rank < self.rank
            case "<=":
                return rank <= self.rank
            case _:
                return rank == self.rank


class Range(Struct, frozen=True):
    """A set of versions: `alternatives` are joined by or, the comparators within one by and."""

    text: str
    alternatives: tuple[tuple[Comparator, ...], ...]

    @classmethod
    @lru_cache(KEPT_MAX)
    def parse(cls, text: str) -> Range:
        """Raise ValueError, with the column (from 1) and what is wrong there, for what is not a range."""
        if len(text) > LENGTH_MAX:
            raise ValueError(f"a version range is at most {LENGTH_MAX} characters long")
        if not text.isascii() or not text.isprintable():
            raise ValueError(f"{text!r} holds characters that no version range has")
        alternatives: list[tuple[Comparator, ...]] = []
        start = 0
        for part in text.split("||"):
            alternatives.append(_alternative(text, start, start + len(part)))
            start += len(part) + len("||")
        return cls(text, tuple(alternatives))

    def contains(self, version: Version) -> bool:
        """Whether the version lies in the range. Build metadata does not count."""
        return any(_admits(comparators, version.rank) for comparators in self.alternatives)

    def __str__(self) -> str:
        return self.text


class _Partial(Struct, frozen=True):
    """A version of which the last parts may be open (None)."""

    major: int | None
    minor: int | None
    patch: int | None
    prerelease: str | None

    @property
    def full(self) -> bool:
        return self.patch is not None

    @property
    def floor(self) -> semver.Version:
        """The lowest version that it names."""
        return semver.Version(self.major or 0, self.minor or 0, self.patch or 0, self.prerelease)

    def above(self, place: int) -> semver.Version:
        """The lowest release after all versions that agree with this one up to `place`."""
        floor = self.floor
        return (floor.bump_major, floor.bump_minor, floor.bump_patch)[place]()

    @property
    def open_place(self) -> int:
        """The last given part's place; -1 when none is given."""
        return (self.major, self.minor, self.patch, None).index(None) - 1


def _comparator(operator: str, bound: semver.Version) -> Comparator:
    return Comparator(operator, bound, rank_of(bound))


_NOTHING = (_comparator("<", semver.Version(0, 0, 0, "0")),)


def _admits(comparators: tuple[Comparator, ...], rank: Rank) -> bool:
    if not all(comparator.admits(rank) for comparator in comparators):
        return False
    if rank[3] == NO_LABELS:
        return True
    # Whoever names a pre-release of a version has opted in to that version's pre-releases, and to no others'.
    return any(
        comparator.rank[3] != NO_LABELS and comparator.rank[:3] == rank[:3] for comparator in comparators
    )


def _alternative(text: str, start: int, end: int) -> tuple[Comparator, ...]:
    """The comparators between two `||`; none at all means any version."""
    at = _skip_blanks(text, start, end)
    if at == end:
        return ()
    operator, low, after = _term(text, at, end)
    hyphen = _HYPHEN.match(text, after, end)
    if hyphen is not None:
        upper, high, after = _term(text, hyphen.end(), end)
        if operator or upper:
            column = at if operator else hyphen.end()
            _refuse(text, column, "a hyphen range takes plain versions, as in 1.2.3 - 2.3.4")
        if (rest := _skip_blanks(text, after, end)) < end:
            _refuse(text, rest, "a hyphen range stands alone between `||`")
        return (*_comparators(">=", low), *_comparators("<=", high))
    found = [*_comparators(operator, low)]
    while (at := _skip_blanks(text, after, end)) < end:
        operator, partial, after = _term(text, at, end)
        found += _comparators(operator, partial)
    return tuple(found)


def _term(text: str, at: int, end: int) -> tuple[str, _Partial, int]:
    """An operator (perhaps empty) and a partial version, and where they end."""
    operator = _OPERATOR.match(text, at, end)
    assert operator is not None  # noqa: S101 - it matches the empty text too
    match = _PARTIAL.match(text, operator.end(), end)
    if match is None:
        _refuse(text, operator.end(), "expected a version such as 1.2.3, 1.2 or 1.x")
    parts: list[int | None] = []
    for name in ("major", "minor", "patch"):
        part = match[name]
        # What follows an open part is open too: 1.x.3 says no more than 1.x.
        is_open = part is None or part in "xX*" or None in parts
        parts.append(None if is_open else int(part))
    prerelease = match["prerelease"] if None not in parts else None
    partial = _Partial(parts[0], parts[1], parts[2], prerelease)
    if prerelease is not None and not semver.Version.is_valid(f"0.0.0-{prerelease}"):
        _refuse(text, match.start("prerelease"), "a number in a pre-release has no leading zero")
    return operator["operator"].replace("~>", "~"), partial, match.end()


def _comparators(operator: str, partial: _Partial) -> tuple[Comparator, ...]:
    """The plain bounds that an operator and a partial version stand for."""
    if partial.major is None:
        return _NOTHING if operator in ("<", ">") else ()
    place = partial.open_place
    match operator:
        case "^":
            given = (partial.major, partial.minor, partial.patch)[: place + 1]
            # The first part that is not zero must stay; of zeros alone, the last that is given.
            keep = next((index for index, part in enumerate(given) if part), place)
            return _between(partial, keep)
        case "~":
            return _between(partial, min(place, 1))
        case ">=":
            return (_comparator(">=", partial.floor),)
        case _ if partial.full:
            return (_comparator(operator or "=", partial.floor),)
        case ">":
            return (_comparator(">=", partial.above(place)),)
        case "<":
            return (_comparator("<", _before(partial.floor)),)
        case "<=":
            return (_comparator("<", _before(partial.above(place))),)
        case _:
            return _between(partial, place)


def _between(partial: _Partial, keep: int) -> tuple[Comparator, ...]:
    return _comparator(">=", partial.floor), _comparator("<", _before(partial.above(keep)))


def _before(version: semver.Version) -> semver.Version:
    """The lowest pre-release: `<2.0.0-0` keeps the pre-releases of 2.0.0 out as well."""
    return version.replace(prerelease="0")


def _skip_blanks(text: str, at: int, end: int) -> int:
    match = _BLANK.match(text, at, end)
    return match.end() if match else at


def _refuse(text: str, at: int, message: str) -> NoReturn:
    raise ValueError(f"{text!r}, column {at + 1}: {message}")
