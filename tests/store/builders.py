"""Values to put into a store, and a clock that moves when told to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from reconciler.model.environment import Pin
from reconciler.model.errors import Place
from reconciler.model.notice import Notice
from reconciler.model.release import Health, Release, Run
from reconciler.model.target import Workload, workload
from reconciler.model.upgrade import Phase, Upgrade, operation_id
from reconciler.model.version import Version

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


class HandClock:
    """Stands still until moved."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def work(
    version: str = "1.4.0",
    *,
    service: str = "api",
    environment: str = "production",
    workers: int = 1,
    soak_s: float = 10.0,
) -> Workload:
    release = Release(
        service=service,
        version=Version(version),
        place=Place(f"releases/{service}/{version}.yaml"),
        run=Run(command=("bin/api", version), port=8080),
        health=Health(soak_s=soak_s),
    )
    pin = Pin(
        service, Version(version), Place("environments/production.yaml", 9, 8), config={"workers": workers}
    )
    return workload(environment, pin, release, node=f'"{version}"')


def upgrade(
    *,
    before: Workload | None = None,
    after: Workload | None = None,
    revision: str = "a" * 40,
    attempt: int = 1,
    phase: Phase = Phase.PLANNED,
    at: datetime = START,
) -> Upgrade:
    side = after or before
    assert side is not None
    return Upgrade(
        operation=operation_id(
            side.environment,
            side.service,
            before.target if before else None,
            after.target if after else None,
            revision,
            attempt,
        ),
        environment=side.environment,
        service=side.service,
        change_class="minor",
        revision=revision,
        attempt=attempt,
        phase=phase,
        before=before,
        after=after,
        running=before.target if before else None,
        created_at=at,
        changed_at=at,
    )


def bump(*, phase: Phase = Phase.PLANNED, revision: str = "a" * 40, attempt: int = 1) -> Upgrade:
    """api 1.4.0 → 1.5.0 in production."""
    return upgrade(before=work("1.4.0"), after=work("1.5.0"), phase=phase, revision=revision, attempt=attempt)


def notice(sentence: str = "api 1.5.0 is being verified", *, operation: str | None = None) -> Notice:
    return Notice(
        environment="production",
        service="api",
        sentence=sentence,
        severity="info",
        at=START,
        operation=operation,
        phase="verifying",
        title="production: api 1.4.0 → 1.5.0",
    )
