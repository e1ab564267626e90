"""What Git tells of a failure, as records of our own: what was lost here, or is another daemon's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from reconciler.model.observation import Observation
from reconciler.model.recovery import Failed
from reconciler.model.target import Target, Workload
from reconciler.model.upgrade import Phase, Upgrade
from reconciler.store import Quarantine


def quarantined(environment: str, failed: Failed) -> Quarantine:
    """The record by which it is not tried again."""
    return Quarantine(
        operation=failed.operation,
        environment=environment,
        service=failed.service,
        target=failed.target,
        restored=failed.restored,
        reason=failed.reason,
        quarantined_at=failed.at,
        revert_commit=failed.revert_commit,
    )


def restoring(environment: str, failed: Failed, before: Workload, after: Workload, now: datetime) -> Upgrade:
    """The upgrade that Git tells of, as it stood when its target had just failed."""
    return Upgrade(
        operation=failed.operation,
        environment=environment,
        service=failed.service,
        change_class="rollback",
        revision=failed.revision,
        attempt=1,
        phase=Phase.RESTORING,
        before=before,
        after=after,
        running=after.target,
        created_at=now,
        changed_at=now,
        started_at=now,
        reason=failed.reason,
        failed=True,
    )


def runs(seen: Mapping[str, Observation], service: str, target: Target | None) -> bool:
    """Whether a target is among what was seen of a service."""
    return service in seen and target in seen[service].targets


def as_it_left(upgrade: Upgrade, seen: Observation | None) -> bool:
    """Whether nothing runs but what the upgrade started and what it replaces."""
    old = {upgrade.before.target} if upgrade.before else set[Target]()
    new = upgrade.phase is not Phase.VERIFYING or (seen is not None and upgrade.to in seen.targets)
    return new and (seen is None or seen.targets <= old | {upgrade.to})
