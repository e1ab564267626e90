"""Which names are one person's, where people are counted and nobody counts twice. Pure."""

from __future__ import annotations

from collections.abc import Collection


def person(name: str) -> str:
    """Two spellings of one name are one person."""
    return " ".join(name.split()).casefold()


def same_person(one: str, other: str) -> bool:
    """Whether two names are one person's: the same, or one is what stands before the other's `@`. A token for `ada`
    and an account of `ada@example.org` are one."""
    first, second = person(one), person(other)
    return first == second or first == second.partition("@")[0] or second == first.partition("@")[0]


def wrote(by: str, authors: Collection[str]) -> bool:
    """Whether somebody is one of the authors, by name, by address, or by what stands before its `@`."""
    return any(same_person(by, author) for author in authors)
