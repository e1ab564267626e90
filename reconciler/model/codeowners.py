"""CODEOWNERS, as GitHub, GitLab, and Gitea with Forgejo read it: who owns one path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

Dialect = Literal["github", "gitlab", "gitea", "bitbucket"]
PLACES: dict[Dialect, tuple[str, ...]] = {
    "github": (".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"),
    "gitlab": ("CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS"),
    "bitbucket": (),
    "gitea": ("CODEOWNERS", "docs/CODEOWNERS", ".gitea/CODEOWNERS", ".forgejo/CODEOWNERS"),
}
"""Where it is looked for: the first that is there counts."""
LINES_MAX = 5_000
REPEATS_MAX = 4
SECTION = re.compile(r"\^?\[(?P<name>[^\]]+)\](?:\[\d+\])?(?P<owners>(?:\s+\S+)*)\s*")
PLAIN_REGEX = re.compile(r"(?:[\w/ @-]|\\[^\w]|\.[*+]?|\[\^/\][*+])*", re.ASCII)
"""Of Gitea's regular expressions those that end soon whatever the path is."""


class Unreadable(ValueError):
    """Something in the file is not understood: then nobody knows whose the path is."""


def owners(text: str, path: str, dialect: Dialect) -> tuple[str, ...]:
    """The owners of one path as they are written: `@ada`, `@org/team`, `ada@example.org`.

    GitHub: of the last line that fits. GitLab: of the last in each section. Gitea: of all that fit.
    Raises Unreadable, with the number of the line.
    """
    found = dict[str, tuple[str, ...]]()
    for number, (section, pattern, named) in _lines(text, dialect):
        try:
            fits = _fits(pattern, path, dialect)
        except Unreadable as error:
            raise Unreadable(f"line {number} of CODEOWNERS: {error}") from None
        if fits:
            found[section] = (*found.get(section, ()), *named) if dialect == "gitea" else named
    return tuple(dict.fromkeys(one for named in found.values() for one in named))


def _lines(text: str, dialect: Dialect) -> Iterator[tuple[int, tuple[str, str, tuple[str, ...]]]]:
    """By number of line: its section, its pattern, its owners."""
    section, default = "", tuple[str, ...]()
    lines = text.splitlines()
    if len(lines) > LINES_MAX:
        raise Unreadable(f"CODEOWNERS has {len(lines)} lines, and at most {LINES_MAX} are read")
    for number, line in enumerate(lines, 1):
        words = _words(line)
        if not words:
            continue
        if dialect == "gitlab" and (header := SECTION.fullmatch(" ".join(words))):
            section, default = header["name"].casefold(), tuple(header["owners"].split())
            continue
        yield number, (section, words[0], tuple(words[1:]) or default)


def _words(line: str) -> list[str]:
    """The pattern and the owners; a space in a pattern is written `\\ `, and `#` begins a comment."""
    words = re.findall(r"(?:\\.|[^\s\\])+", line.strip())
    for at, word in enumerate(words):
        if word.startswith("#"):
            return words[:at]
    return words


def _fits(pattern: str, path: str, dialect: Dialect) -> bool:
    if dialect == "gitea":
        return _fits_regex(pattern, path)
    if pattern.startswith("!"):
        raise Unreadable("`!` means nothing there")
    return _regex_of(pattern.replace("\\ ", " ")).fullmatch(path) is not None


def _fits_regex(pattern: str, path: str) -> bool:
    negated, pattern = pattern.startswith("!"), pattern.removeprefix("!")
    repeats = len(re.findall(r"(?<!\\)[*+]", pattern))
    if not PLAIN_REGEX.fullmatch(pattern) or repeats > REPEATS_MAX:
        raise Unreadable(
            "of regular expressions only `.`, `.*`, `.+`, `[^/]*`, `[^/]+` and `\\` are understood"
        )
    return (re.fullmatch(pattern, path) is not None) is not negated


def _regex_of(pattern: str) -> re.Pattern[str]:
    """Of a pattern as .gitignore has it: without a slash before its end it fits at any depth."""
    anchored = "/" in pattern.rstrip("/")
    parts = pattern.strip("/").split("/")
    if len(re.findall(r"\*+", pattern)) > REPEATS_MAX:
        raise Unreadable(f"more than {REPEATS_MAX} times `*` in one pattern are not understood")
    made = "" if anchored else "(?:.*/)?"
    for at, part in enumerate(parts):
        last = at == len(parts) - 1
        if part == "**":
            made += ".*" if last else "(?:.*/)?"
        else:
            made += re.sub(r"\\\*+", "[^/]*", re.escape(part)).replace(r"\?", "[^/]") + ("" if last else "/")
    if pattern.endswith("/"):
        return re.compile(made + "/.*")
    # GitHub: `docs/*` is what stands in that folder itself, not deeper down.
    return re.compile(made if parts[-1] == "*" and anchored else made + "(?:/.*)?")
