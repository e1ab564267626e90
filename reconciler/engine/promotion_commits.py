"""The commits that promote: made on the tip in force, held against what would be wrong, pushed without force."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from reconciler.engine.core import Core
from reconciler.engine.pins import environment_files, find_pin
from reconciler.engine.revert import HISTORY_MAX
from reconciler.model import promoted as saying
from reconciler.model import splice
from reconciler.model.desired import Desired
from reconciler.model.environment import Promotion
from reconciler.model.errors import UgsError
from reconciler.model.introduced import introduced
from reconciler.model.promoted import PROMOTION_TRAILER, promotion_id
from reconciler.model.promotion import Verdict


class Pushed(Struct, frozen=True):
    """A commit that promotes, and what it moves."""

    commit: str
    moves: tuple[Verdict, ...]


class Outcome(Struct, frozen=True):
    """`raced`: the branch has moved, and all is to be looked at again.

    `refused`: by service and version, what must not be pinned and why; on this tip (`tip`), else (empty) for good.
    """

    commit: str = ""
    raced: bool = False
    refused: Mapping[tuple[str, str], str] = {}
    tip: str = ""


def files_of(core: Core, desired: Desired, moves: tuple[Verdict, ...], tip: str) -> dict[str, bytes | None]:
    """Blocking: the files that change at a tip, where the pins stand there as they are in force."""
    mirror, name = core.repository.mirror, desired.environment.name
    files = dict(environment_files(mirror, tip, name))
    old = dict(files)
    for one in moves:
        found = find_pin(files.items(), one.service)
        if found and found[2] == desired.workloads[one.service].node:
            path, data, _ = found
            files[path] = splice.set_version(data, path, one.service, str(one.to))
    return {path: data for path, data in files.items() if data != old[path]}


def commit_of(core: Core, desired: Desired, rule: Promotion, moves: tuple[Verdict, ...]) -> str | Outcome:
    """Blocking: the commit on the tip that is in force, not pushed yet; or why there is none."""
    mirror, name = core.repository.mirror, desired.environment.name
    tip = core.repository.fetch().tip
    if tip != desired.revision:
        return Outcome(raced=True)
    if refused := _before(core, tip, name, moves):
        return Outcome(refused=refused)
    if (moved := _unlike(core, desired, moves, tip)) is not None:
        return Outcome(
            refused={moved.key: "its pin in the repository is not the one that is in force"}, tip=tip
        )
    try:
        changed = files_of(core, desired, moves, tip)
    except UgsError as error:
        return Outcome(refused=dict.fromkeys((one.key for one in moves), str(error)), tip=tip)
    text = saying.message(name, rule, moves)
    commit = mirror.commit(tip, changed, text, at=core.clock.now())
    before, after = core.repository.snapshot(tip), core.repository.snapshot(commit)
    if problems := introduced(before.problems, after.problems):
        wrong = {f"pins.{one.service}": one.key for one in moves}
        blamed = {key: str(new) for new in problems if (key := wrong.get(new.path))}
        return Outcome(refused=blamed or dict.fromkeys((one.key for one in moves), str(problems[0])), tip=tip)
    return commit


def _unlike(core: Core, desired: Desired, moves: tuple[Verdict, ...], tip: str) -> Verdict | None:
    """The first of the moves whose pin stands otherwise at the tip than it is in force."""
    files = environment_files(core.repository.mirror, tip, desired.environment.name)
    for one in moves:
        found = find_pin(files, one.service)
        if found is None or found[2] != desired.workloads[one.service].node:
            return one
    return None


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
