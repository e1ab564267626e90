"""What Git tells of the past of environments: the notes on commits, and the trailers in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from reconciler.engine.core import Core
from reconciler.engine.trust import Guard
from reconciler.model.account import accounts
from reconciler.model.recovery import Account, Commit

HISTORY_MAX = 10_000
"""So many commits are looked at for trailers."""


class Told(NamedTuple):
    """`notes`: by commit, its lines as they stand. `accounts`: by environment, what they and the commits come to."""

    notes: Mapping[str, list[str]]
    accounts: dict[str, Account]


def told(core: Core, tip: str | None, renamed: Mapping[str, str] = {}) -> Told:
    """Blocking. By the commits up to `tip` (None: by notes alone), of which only those let anything be tried again that
    are by somebody who may. `renamed`: by former name, the environments that have another one now. Raises UgsError."""
    mirror, guard = core.repository.mirror, Guard(core)
    commits = mirror.log(None, tip, first_parent=False, limit=HISTORY_MAX) if tip else []
    notes = mirror.all_notes()
    said = (Commit(one.sha, one.at, one.trailers, one.parents) for one in commits)
    return Told(notes, accounts(notes, said, renamed, lambda commit, name: guard.permits(commit, name, tip)))
