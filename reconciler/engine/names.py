"""What an environment was called before, as the commits tell it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from reconciler.git import Mirror
from reconciler.model.desired import Desired
from reconciler.model.errors import InputError
from reconciler.model.layout import paths_of
from reconciler.model.renaming import heir_of
from reconciler.model.snapshot import Snapshot
from reconciler.model.stamped import renaming

HISTORY_MAX = 200
"""How many commits are looked at."""


class Told(Protocol):
    """The repository, as far as this asks it. `snapshot`: how it stood at a revision."""

    @property
    def mirror(self) -> Mirror: ...
    @property
    def snapshot(self) -> Callable[[str], Snapshot]: ...


def names_before(told: Told, tip: str, environment: str) -> list[str]:
    """Every name that an environment, also one that is gone at `tip`, had before, as its files said last, the newest
    first; empty where they never said. Blocking."""
    found, start, left = list[str](), tip, HISTORY_MAX
    while start and left > 0:
        until, start = start, ""
        for commit in told.mirror.log(None, until, paths=paths_of(environment), limit=left):
            left -= 1
            with suppress(InputError):  # nothing of that one can be read
                place = told.snapshot(commit.sha).followed.get(environment)
                if place and (old := place.environment.renamed_from) and commit.parents:
                    found.append(old)
                    environment, start = old, commit.parents[0]
                    break
    return found


def names_now(told: Told, asked: Mapping[str, Desired], tip: str, heirs: Mapping[str, str]) -> dict[str, str]:
    """By former name: the environment that has another one now. Blocking.

    `heirs`: by former name, who took it over; what is not remembered of that, Git says.
    """
    found = {old: heir_of(heirs, old) for old in heirs}
    for name in sorted(renaming(asked)):
        old = asked[name].environment.renamed_from
        if old and old not in heirs:
            for one in (old, *names_before(told, tip, old)):
                found.setdefault(one, name)
    return {old: now for old, now in found.items() if old not in asked}
