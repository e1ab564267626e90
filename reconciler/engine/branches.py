"""Open branches of the remote: which there are, and what each would change were it merged now."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from reconciler.engine.fleet import Fleet
from reconciler.engine.people import Conflict
from reconciler.git.history import Commit
from reconciler.model.planned import Preview
from reconciler.model.preview import Observed, preview
from reconciler.model.target import Target

FRESH_S = 10.0
"""For so long what was found is told again, however often it is asked for."""
KEPT_MAX = 20
COMMITS_MAX = 50


class Proposed(Struct, frozen=True):
    """What a branch would change, compared with where it left the branch that is followed.

    `behind`: that one has moved on since. `commits` are the branch's own, the newest first.
    """

    branch: str
    tip: str
    base: str
    behind: bool
    commits: list[Commit]
    preview: Preview


class Branches:
    """Asks the remote seldom, one question at a time. Nothing of what it reads here comes into force."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet, self._core = fleet, fleet.core
        self._asking = asyncio.Lock()
        self._heads: dict[str, str] = {}
        self._asked_s: float | None = None
        self._kept: dict[tuple[str, str, str], tuple[float, Proposed]] = {}

    async def names(self) -> tuple[str, ...]:
        """The open branches by name, without the one that is followed. Raises UgsError."""
        async with self._asking:
            return await self._names()

    async def proposed(self, branch: str) -> Proposed:
        """What this branch would change. Raises Conflict where there is no such branch, and UgsError."""
        async with self._asking:
            if branch not in await self._names():
                raise Conflict(f"there is no branch {branch[:100]}", "push it, or name another")
            head, tip, now_s = self._heads[branch], self._fleet.tip, self._core.clock.monotonic()
            if tip is None:
                raise Conflict("nothing is in force yet", "wait until the repository was fetched")
            key = branch, head, tip
            if key in self._kept and now_s - self._kept[key][0] < FRESH_S:
                return self._kept[key][1]
            head = await self._core.git(self._core.repository.mirror.fetch_branch, branch)
            running = {
                name: {
                    service: target for service in here.observed if (target := here.observed_target(service))
                }
                for name, here in self._fleet.passes.items()
            }
            made = await asyncio.to_thread(self._compare, branch, head, tip, running)
            self._kept[branch, head, tip] = now_s, made
            for old in list(self._kept)[:-KEPT_MAX]:
                del self._kept[old]
            return made

    async def _names(self) -> tuple[str, ...]:
        now_s, mirror = self._core.clock.monotonic(), self._core.repository.mirror
        if self._asked_s is None or now_s - self._asked_s >= FRESH_S:
            self._heads = await asyncio.to_thread(mirror.branches)
            self._asked_s = now_s
        return tuple(sorted(self._heads.keys() - {self._core.repository.remote.branch}))

    def _compare(self, branch: str, head: str, tip: str, running: dict[str, dict[str, Target]]) -> Proposed:
        """Blocking."""
        core, repository = self._core, self._core.repository
        base = repository.mirror.merge_base(head, tip)
        if base is None:
            raise Conflict(f"{branch} has no commit in common with what is in force", "name another branch")
        # What has moved on since is nothing that the branch would change.
        observed: Observed | None = running if base == tip else None
        made = preview(
            repository.snapshot(base), repository.snapshot(head), now=core.clock.now(), running=observed
        )
        commits = repository.mirror.log(base, head, first_parent=False, limit=COMMITS_MAX)
        return Proposed(branch, head, base, base != tip, commits, made)
