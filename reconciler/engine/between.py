"""The plan between two revisions, of which the second may be on a branch that nobody has merged yet."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from reconciler.engine.fleet import Fleet
from reconciler.engine.people import Conflict
from reconciler.engine.status import problem_of
from reconciler.model import preview
from reconciler.model.codec import builtins
from reconciler.model.planned import Planned, Preview
from reconciler.model.target import Target


async def plan_between(
    fleet: Fleet, before: str | None, after: str | None, branch: str | None
) -> dict[str, Any]:
    """What one revision would change after another, by default after what is in force; against what really runs."""
    core, tip = fleet.core, fleet.tip
    mirror = core.repository.mirror
    if tip is None:
        raise Conflict("nothing has been fetched yet", "ask again in a moment")
    if branch is not None:
        after = await core.git(mirror.fetch_branch, branch)
    older, newer, now = before or tip, after or tip, core.clock.now()
    running: Mapping[str, Mapping[str, Target]] = {
        name: {
            service: observation.running
            for service, observation in here.observed.items()
            if observation.running is not None
        }
        for name, here in fleet.passes.items()
    }

    def made() -> Preview:
        for revision in (older, newer):
            if not mirror.has(revision):
                raise Conflict(
                    f"{revision[:12]} is not known here", "name a commit of the branch, or the `branch`"
                )
        snapshots = core.repository.snapshot(older), core.repository.snapshot(newer)
        return preview.preview(*snapshots, now=now, running=None if before else running)

    return between_json(await asyncio.to_thread(made), older, newer, "repository" if before else "daemon")


def between_json(made: Preview, before: str, after: str, basis: str) -> dict[str, Any]:
    """As `ugs plan --from --json` prints it. `basis`: what is taken to run, as the repository or the daemon says."""
    return {
        "from_revision": before,
        "to_revision": after,
        "basis": basis,
        "changes": [_change(planned) for planned in made.changes],
        "added": builtins(made.added),
        "removed": builtins(made.removed),
        "settings": [{"environment": name, "key": key} for name, key in made.settings],
        "flags": [
            {
                "environment": one.environment,
                "flag": one.flag,
                "from": one.before.said() if one.before else None,
                "to": one.after.said() if one.after else None,
            }
            for one in made.flags
        ],
        "errors": [problem_of(problem) for problem in made.problems],
    }


def _change(planned: Planned) -> dict[str, Any]:
    change = planned.change
    return {
        "change": f"{change.environment}/{change.service}",
        "environment": change.environment,
        "service": change.service,
        "from": str(change.running) if change.running else None,
        "to": str(change.to) if change.to else None,
        "class": planned.change_class,
        "path": [one.release.version.text for one in planned.steps],
        "gates": builtins(planned.gates),
        "starts_at": builtins(planned.starts_at),
        "duration_s": planned.longest_s,
        "steps": [
            {
                "version": one.release.version.text,
                "class": one.change_class,
                "starts_at": builtins(one.starts_at),
                "duration_s": one.expected_s,
            }
            for one in planned.steps
        ],
        "after": list(planned.after),
        "downtime": planned.downtime,
        "reversible": not planned.irreversible,
        "irreversible": [version.text for version in planned.irreversible],
        "backup": planned.saved,
        "migrations": builtins(planned.migrations),
        "withdrawn": planned.withdrawn or None,
        "impact": list(planned.impact),
        "requires": [
            {"service": need.service, "range": need.wanted, "found": builtins(need.found), "met": need.met}
            for need in planned.needs
        ],
        "notes": [{"version": one.version.text, "notes": one.notes} for one in planned.notes],
        "differences": list(planned.differences),
        "flags": builtins(planned.flags),
    }
