"""What a change brings that was not wrong before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from reconciler.model.errors import Problem


def introduced(before: Iterable[Problem], after: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems that are new, by place. One that only moved within its file is not."""
    known = Counter(map(_unplaced, before))
    new = []
    for problem in sorted(after):
        key = _unplaced(problem)
        if known[key]:
            known[key] -= 1
        else:
            new.append(problem)
    return tuple(new)


def _unplaced(problem: Problem) -> tuple[str, str, str, str]:
    return problem.place.file, problem.path, problem.message, problem.remedy
