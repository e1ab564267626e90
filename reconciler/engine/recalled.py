"""What Git tells of a failure, as records of our own: what was lost here, or is another daemon's."""

from __future__ import annotations

from datetime import datetime

from reconciler.model.recovery import Failed
from reconciler.model.target import Workload
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
