"""The guard against removing much by mistake: a deleted file, an emptied list of pins, a merge gone wrong."""

from __future__ import annotations

from reconciler.model.circumstances import Circumstances
from reconciler.model.plan import Change

SHARE_MAX = 0.2
AT_ONCE_MIN = 2
"""One service of several is what somebody who removes a pin means, however few there are."""


def guard(change: Change, around: Circumstances) -> str:
    """Why a removal waits for a person, whatever the policy says: how many of how many go; empty when it need not."""
    if change.after is not None:
        return ""
    here = change.environment
    if around.gone:
        return f"the repository has no environment {here} any more"
    removed, services = around.unwanted, around.unwanted | around.environment.pins.keys()
    if much(len(removed), len(services)):
        return f"{len(removed)} of the {len(services)} services of {here} would be removed at once"
    asked = around.asked.get(change.service)
    # As the push asked for them: what was removed meanwhile makes the rest no smaller, but what was put back does.
    left_out = asked.left_out - around.environment.pins.keys() if asked else ()
    if asked and much(len(left_out), len(asked.pinned)):
        return f"one push removes {len(left_out)} of the {len(asked.pinned)} pins of {here}"
    return ""


def much(removed: int, of: int) -> bool:
    """Whether so many of so many are more than a person removes without a second look: all, or over a fifth."""
    return removed > 0 and (removed == of or (removed >= AT_ONCE_MIN and removed > SHARE_MAX * of))
