"""Releases whose files were edited after they were deployed: what describes them no longer is what froze."""

from __future__ import annotations

from reconciler.model.desired import Frozen
from reconciler.model.errors import Problem
from reconciler.model.layered import differing, plain
from reconciler.model.release import Release
from reconciler.model.snapshot import Snapshot
from reconciler.model.target import FROZEN_FIELDS, frozen_digest


class Thawer:
    """Looks anew only at releases that changed, or froze, since it was asked last."""

    def __init__(self) -> None:
        self._last: tuple[Frozen, Frozen, dict[tuple[str, str], Problem]] = {}, {}, {}

    def __call__(self, snapshot: Snapshot, frozen: Frozen) -> list[Problem]:
        """An error for every release whose frozen fields were edited after it was deployed."""
        releases, (before, thought, known) = snapshot.releases, self._last
        if releases is not before or frozen is not thought:
            known = dict(known)
            now, froze = plain(releases), plain(frozen)
            for key in differing(before, releases) | differing(thought, frozen):
                known.pop(key, None)
                kept, release = froze.get(key), now.get(key)
                if not (release and kept) or kept == release:
                    continue
                if frozen_digest(kept) != frozen_digest(release):
                    known[key] = _edited(release)
            self._last = releases, frozen, known
        return list(known.values())


def _edited(release: Release) -> Problem:
    what = f"{release.service} {release.version}"
    return Problem(
        release.place,
        "",
        f"{what} was deployed and is frozen, and this file no longer describes what was deployed",
        f"put its {', '.join(FROZEN_FIELDS)} back, and publish the change as a new version",
    )


def thawed(snapshot: Snapshot, frozen: Frozen) -> list[Problem]:
    """The same, all looked at."""
    return Thawer()(snapshot, frozen)
