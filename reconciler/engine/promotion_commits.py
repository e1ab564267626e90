"""The commits that promote: made on the tip in force, held against what would be wrong, pushed without force."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from reconciler.engine.core import Core
from reconciler.engine.pins import Moved, moved
from reconciler.engine.revert import HISTORY_MAX
from reconciler.model import promoted as saying
from reconciler.model.desired import Desired
from reconciler.model.environment import Promotion
from reconciler.model.errors import UgsError
from reconciler.model.introduced import introduced
from reconciler.model.promoted import PROMOTION_TRAILER, promotion_id
from reconciler.model.promotion import Verdict


class Pushed(Struct, frozen=True):
    """A commit that promotes, and what it moves. `source`: where that was healthy; the policy may have been changed
    since, or be gone. Empty in what was written before it stood here."""

    commit: str
    moves: tuple[Verdict, ...]
    source: str = ""


class Outcome(Struct, frozen=True):
    """`raced`: the branch has moved, and all is to be looked at again.

    `refused`: by service and version, what must not be pinned and why; on this tip (`tip`), else (empty) for good.
    """

    commit: str = ""
    raced: bool = False
    refused: Mapping[tuple[str, str], str] = {}
    tip: str = ""


def moved_at(core: Core, desired: Desired, moves: tuple[Verdict, ...], tip: str) -> Moved:
    """Blocking: the pins moved at a tip, where they stand there as they are in force."""
    to = {one.service: one.to for one in moves if one.to}
    return moved(
        core.repository.mirror,
        tip,
        desired.environment.name,
        to,
        lambda service, node: node == desired.workloads[service].node,
    )


def commit_of(core: Core, desired: Desired, rule: Promotion, moves: tuple[Verdict, ...]) -> str | Outcome:
    """Blocking: the commit on the tip that is in force, not pushed yet; or why there is none."""
    mirror, name = core.repository.mirror, desired.environment.name
    tip = core.repository.fetch().tip
    if tip != desired.revision:
        return Outcome(raced=True)
    if refused := _before(core, tip, name, moves):
        return Outcome(refused=refused)
    try:
        found = moved_at(core, desired, moves, tip)
    except UgsError as error:
        return Outcome(refused=dict.fromkeys((one.key for one in moves), str(error)), tip=tip)
    if left := [one.key for one in moves if one.service in found.left]:
        why = "its pin in the repository is not the one that is in force"
        return Outcome(refused=dict.fromkeys(left, why), tip=tip)
    text = saying.message(name, rule, moves)
    commit = mirror.commit(tip, found.files, text, at=core.clock.now())
    before, after = core.repository.snapshot(tip), core.repository.snapshot(commit)
    if problems := introduced(before.problems, after.problems):
        wrong = {f"pins.{one.service}": one.key for one in moves}
        blamed = {key: str(new) for new in problems if (key := wrong.get(new.path))}
        return Outcome(refused=blamed or dict.fromkeys((one.key for one in moves), str(problems[0])), tip=tip)
    return commit


def fate(core: Core, commit: str) -> Literal["arrived", "on its way", "lost"]:
    """Blocking: what became of a commit whose push had no answer. As long as the branch stands where it was made, it
    may arrive yet: whoever was told to push it, or whatever lies between, may be slow."""
    mirror = core.repository.mirror
    tip = mirror.fetch()
    if mirror.is_ancestor(commit, tip):
        return "arrived"
    return "on its way" if mirror.has(commit) and mirror.described(commit).parents == (tip,) else "lost"


def _before(core: Core, tip: str, environment: str, moves: tuple[Verdict, ...]) -> dict[tuple[str, str], str]:
    """What was pinned there before and is no longer: people or a revert moved it away, which is not undone."""
    mirror, past = core.repository.mirror, core.repository.past
    found = dict[tuple[str, str], str]()
    for one in moves:
        version = one.to or one.pinned
        mark = promotion_id(environment, one.service, version)
        done = mirror.find_trailer(PROMOTION_TRAILER, mark, until=tip, limit=HISTORY_MAX)
        if done or past.pinned(tip, environment, one.service, version):
            by = f"promoted by {done[:12]}" if done else "pinned"
            found[one.key] = (
                f"{version} was {by} here before and moved away: to pin it again is left to people"
            )
    return found
