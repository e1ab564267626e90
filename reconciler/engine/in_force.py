"""What of flags and pins is in force, and what is ahead of it."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from reconciler.model.circumstances import Gate
from reconciler.model.desired import Desired
from reconciler.model.standing import Standing


class InForce(Struct, frozen=True):
    """A flag as clients get it. `revision`: the commit since which, `author`: who wrote that, empty where unknown."""

    standing: Standing
    revision: str
    author: str
    since: datetime
    pending: Standing | None = None
    """What a commit has made of it, and `waits` keeps from coming in force."""
    waits: tuple[Gate, ...] = ()
    needed_by: tuple[str, ...] = ()
    """What runs and declares it still, where nothing that is pinned does."""


class Ahead(Struct, frozen=True):
    """What an environment would ask for, were the branch trusted to its tip; and the gate that keeps it from it."""

    desired: Desired
    gate: Gate
