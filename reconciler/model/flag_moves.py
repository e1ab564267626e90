"""Which live flags a commit would let stand otherwise."""

from __future__ import annotations

from reconciler.model.desired import Desired
from reconciler.model.planned import FlagMove
from reconciler.model.standing import Standing, doubtful, standings


def flag_moves(old: Desired, new: Desired) -> list[FlagMove]:
    """Live flags that stand otherwise; what is wrong stays as it is, and is among the problems."""
    before, after = _live_flags(old), _live_flags(new)
    wrong = doubtful(new.environment, [work.release for work in new.workloads.values()])
    unread = new.hidden or bool(new.blind)
    return [
        FlagMove(
            new.environment.name,
            flag,
            was,
            will,
            waits="window" in {one.environment.policy.flags for one in (old, new)},
        )
        for flag in sorted(before.keys() | after.keys())
        if flag not in wrong
        and ((will := after.get(flag)) or not unread)
        and not ((was := before.get(flag)) and will and was.answers_as(will))
    ]


def _live_flags(desired: Desired) -> dict[str, Standing]:
    releases = [work.release for work in desired.workloads.values()]
    found = standings(releases, desired.environment.flags, {}, {})
    return {name: one for name, one in found.items() if one.live}
