"""Small builders of model values for tests: each has sensible defaults, and takes what a scenario is about."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from reconciler.model.desired import Desired
from reconciler.model.environment import DriverChoice, Environment, Pin
from reconciler.model.errors import Place
from reconciler.model.observation import Instance, Observation
from reconciler.model.plan import Change, Good, Records
from reconciler.model.release import Archive, Artifact, Health, Release, Run, Upgrading
from reconciler.model.target import Target, Workload, workload
from reconciler.model.upgrade import Phase, Upgrade, operation_id
from reconciler.model.version import Version

NOW = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
REVISION = "a" * 40


def release(version: str = "1.0.0", service: str = "api", **fields: Any) -> Release:
    return Release(
        service=service,
        version=Version(version),
        place=Place(f"releases/{service}/{version}.yaml"),
        artifact=fields.pop("artifact", Artifact(Archive(f"archives/{service}-{version}.tar.gz", "0" * 64))),
        run=fields.pop("run", Run(command=("bin/serve",), port=8080)),
        health=fields.pop("health", Health(soak_s=0.0, deadline_s=5.0)),
        upgrade=fields.pop("upgrade", Upgrading()),
        **fields,
    )


def pin(version: str = "1.0.0", service: str = "api", **fields: Any) -> Pin:
    return Pin(
        service=service, version=Version(version), place=Place("environments/production.yaml", 5, 8), **fields
    )


def environment(*pins: Pin, **fields: Any) -> Environment:
    return Environment(
        name=fields.pop("name", "production"),
        driver=DriverChoice("process"),
        pins={one.service: one for one in pins},
        **fields,
    )


def work(
    version: str = "1.0.0", service: str = "api", *, of: Release | None = None, **pinned: Any
) -> Workload:
    described = of or release(version, service)
    return workload("production", pin(version, service, **pinned), described, node=json.dumps(version))


def desired(
    *works: Workload, blind: frozenset[str] = frozenset(), hidden: bool = False, **fields: Any
) -> Desired:
    pins = fields.pop("pins", None) or [pin(one.target.version.text, one.service) for one in works]
    return Desired(
        revision=REVISION,
        environment=environment(*pins, **fields),
        workloads={one.service: one for one in works},
        blind=blind,
        hidden=hidden,
        flagged=any(one.release.flags for one in works),
    )


def seen(*works: Workload, state: str = "running") -> dict[str, Observation]:
    """Every instance of every one of these runs."""
    return {
        one.service: Observation(
            one.service,
            tuple(instance(index, one.target, state) for index in range(one.instances)),
        )
        for one in works
    }


def instance(index: int, target: Target, state: str = "running") -> Instance:
    return Instance(
        index, target, "running" if state == "running" else "crashed", pid=100 + index, started_at=NOW
    )


def good(*works: Workload, at: datetime = NOW) -> Records:
    """These proved healthy, the last-good of a service first."""
    services = {one.service for one in works}
    return Records(
        good={name: tuple(Good(one, at) for one in works if one.service == name) for name in services},
        attempted={one.service: one.target.version for one in reversed(works)},
    )


def change(before: Workload | None, after: Workload | None, **fields: Any) -> Change:
    """`after` None: the removal of `before`."""
    either = after or before
    assert either is not None
    return Change(
        environment="production",
        service=either.service,
        change_class=fields.pop("change_class", "patch" if after else "removal"),
        running=fields.pop("running", before.target if before else None),
        before=before,
        after=after,
        downgrade=fields.pop("downgrade", False),
        goal=fields.pop("goal", after),
        path=fields.pop("path", (after.target.version.text,) if after else ()),
        **fields,
    )


def upgrade(before: Workload | None = None, after: Workload | None = None, **fields: Any) -> Upgrade:
    after = after or work("1.1.0")
    old = before.target if before else None
    return Upgrade(
        operation=operation_id("production", after.service, old, after.target, REVISION, 1),
        environment="production",
        service=after.service,
        change_class=fields.pop("change_class", "minor"),
        revision=REVISION,
        attempt=1,
        phase=fields.pop("phase", Phase.PLANNED),
        before=before,
        after=after,
        running=old,
        created_at=NOW,
        changed_at=NOW,
        **fields,
    )
