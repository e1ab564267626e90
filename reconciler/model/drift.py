"""Drift: what runs differs from what was applied, and no commit asks for that. Somebody changed it by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from reconciler.model.observation import Observation
from reconciler.model.target import Target, Workload
from reconciler.model.upgrade import Phase, Upgrade

if TYPE_CHECKING:
    from reconciler.model.desired import Desired
    from reconciler.model.plan import Records

PUT_BACK = frozenset({Phase.REVERTED, Phase.RESTORED, Phase.CANCELLED})


class Drift(Struct, frozen=True):
    """`work`: what was applied, and should run. `what`: how what runs differs from it, in words."""

    work: Workload
    what: str


def drifts(
    desired: Desired, observed: Mapping[str, Observation], records: Records, busy: frozenset[str]
) -> list[Drift]:
    """Every service of which something else runs than what last proved healthy here, through no commit."""
    return [
        Drift(good[0].work, what)
        for service, good in sorted(records.good.items())
        if good
        and service not in busy
        and (service in desired.workloads or service in desired.blind)
        and (observation := observed.get(service)) is not None
        and (
            what := drift_of(
                good[0].work, observation, desired.workloads.get(service), records.left.get(service)
            )
        )
    ]


def drift_of(work: Workload, observation: Observation, pinned: Workload | None, left: Target | None) -> str:
    """What differs; empty when nothing does. `left`: what the last upgrade left running, if that is known."""
    changed = [
        f"instance {one.index}: {one.drift}"
        for one in observation.instances
        if one.target == work.target and one.drift
    ]
    if changed:
        return "; ".join(changed)
    asked_for = {work.target} | ({pinned.target} if pinned else set())
    if left != work.target or not observation.targets.isdisjoint(asked_for):
        return ""
    return ", ".join(sorted(f"{target} runs in its place" for target in observation.targets))


def left_running(upgrade: Upgrade) -> Target | None:
    """What an upgrade that touched the service has left running; None where nobody can say."""
    if upgrade.phase is Phase.SUCCEEDED:
        return upgrade.to
    if upgrade.phase in PUT_BACK and not upgrade.needs_person and upgrade.before:
        return upgrade.before.target
    return None
