"""Which service of Swarm's one of ours lives in, and which comes beside it with blue-green.

Swarm replaces an instance as soon as its successor runs, whatever our probes say later: so the new side is a service of
its own. Both are known in their networks by the same name. The one that was there first has been proven.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.drivers.labels import PREFIX, target_in
from reconciler.drivers.layout import names_of
from reconciler.drivers.swarm.managers import Manager
from reconciler.drivers.swarm.options import name_of
from reconciler.drivers.swarm.slots import is_ours
from reconciler.drivers.swarm.wire import Service
from reconciler.model.target import Target, Workload

GREEN = "_green"
"""Ends the name of the second side: no service of ours has an underscore in its own."""


def sides(engine: Manager, environment: str, service: str) -> list[Service]:
    """What is ours of one service, oldest first."""
    names = names_of(engine.site, environment)
    ours = (one for one in engine.services() if is_ours(one, engine.id, names))
    mine = (one for one in ours if one.labels[f"{PREFIX}service"] == service)
    return sorted(mine, key=lambda one: (one.created_at is None, one.created_at, one.name))


def of_target(there: Iterable[Service], target: Target) -> Service | None:
    return next((one for one in there if target_in(one.labels) == target), None)


def place(work: Workload, there: list[Service]) -> tuple[Service | None, str]:
    """Where `work` is to run, (the service that is there already, its name): in the one that has its target; beside
    the proven one; or in its place."""
    plain = name_of(work.environment, work.service)
    if mine := of_target(there, work.target):
        return mine, mine.name
    if not there:
        return None, plain
    if work.strategy != "blue-green":
        return there[0], there[0].name
    if len(there) > 1:  # of a target that was given up before it had a verdict
        return there[-1], there[-1].name
    name = name_of(work.environment, f"{work.service}{GREEN}") if there[0].name == plain else plain
    return None, name
