"""Pull requests that are shown what they would change: when one is looked at anew, and what is said there. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.errors import Problem
from reconciler.model.markdown import code, inert
from reconciler.model.plan_text import Shown, body, lasting_of
from reconciler.model.planned import Preview
from reconciler.model.sentence import count

CHECK = "ugs/check"
"""The name under which a commit is said to be right or wrong."""
AGAIN_AFTER = timedelta(minutes=5)
"""So long a pull request that nobody pushed to is left as it is, whatever else has changed."""
PROBLEMS_TOLD_MAX = 50
MESSAGE_CHARACTERS_MAX = 1000
NAMES_MAX = 5


class Previewed(Struct, frozen=True):
    """What was said of one pull request, so that no news is no request. Digests; empty: nothing was said."""

    number: int
    head: str = ""
    comment: str = ""
    """Of what the comment says, without what time alone changes."""
    check: str = ""


class Looked(Struct, frozen=True):
    """When a pull request was looked at last, and how it stood."""

    head: str
    at: datetime


def due(row: Previewed | None, last: Looked | None, head: str, *, now: datetime) -> bool:
    """Whether to look at it: at once where it was pushed to; else now and then where it has a comment.

    What was looked at before a restart counts for what touches nothing that is deployed: that stays so.
    """
    if last is not None and last.head == head:
        return bool(row and row.comment) and now - last.at >= AGAIN_AFTER
    return row is None or row.head != head or bool(row.comment)


def digest(shown: Shown) -> str:
    """Equal for what would be the same news."""
    return digest_of(shown.after, body(lasting_of(shown)))


def concerning(made: Preview, environments: Collection[str]) -> Preview:
    """What of it a daemon of these environments alone has to say; all of it where none are named."""
    if not environments:
        return made
    return replace(
        made,
        changes=tuple(one for one in made.changes if one.change.environment in environments),
        added=tuple(one for one in made.added if one.environment in environments),
        removed=tuple(one for one in made.removed if one.environment in environments),
        settings=tuple(one for one in made.settings if one[0] in environments),
        flags=tuple(one for one in made.flags if one.environment in environments),
    )


def verdict(problems: Sequence[Problem], older: int) -> tuple[str, str]:
    """A title and a summary in Markdown of what a commit brings that is wrong. `older`: how much was so before."""
    before = (
        [f"{count(older, 'older problem')} that it did not bring: see `ugs check` on the branch."]
        if older
        else []
    )
    if not problems:
        return "nothing that it brings is wrong", "\n".join(before)
    told = [f"- {code(str(problem))}" for problem in problems[:PROBLEMS_TOLD_MAX]]
    left = len(problems) - PROBLEMS_TOLD_MAX
    more = [f"{left} more: see `ugs check`."] if left > 0 else []
    return count(len(problems), "new problem"), "\n".join(
        [*told, *([""] if more or before else []), *more, *before]
    )


def message(problem: Problem) -> str:
    """What an annotation says, on one line."""
    path = f"{problem.path}: " if problem.path else ""
    return inert(" ".join(f"{path}{problem.message}; {problem.remedy}".split()))[:MESSAGE_CHARACTERS_MAX]


def untouched_text(branch: str) -> str:
    """In place of a plan."""
    return (
        "### UGS: nothing to deploy\n\n"
        f"Merged into {code(branch)} now, it changes nothing that is deployed here."
    )


def name_of(environments: Collection[str]) -> str:
    """Under which name a daemon's comment stands: that of one which follows only some environments is its own."""
    if not environments:
        return "preview"
    names = sorted(environments)
    return "preview:" + (",".join(names) if len(names) <= NAMES_MAX else digest_of(*names))


def digest_of(*texts: str) -> str:
    """Of texts, in their order."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
