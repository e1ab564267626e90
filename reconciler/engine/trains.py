"""What is looked at to decide about the pins of one environment: the train that it stands in, as it is now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from msgspec.structs import replace

from reconciler.engine.core import Core
from reconciler.engine.fleet import Fleet
from reconciler.engine.soak import here, pinning, places_of, stage
from reconciler.model.desired import Desired
from reconciler.model.environment import Environment
from reconciler.model.errors import InputError
from reconciler.model.promotion import Stage, Train
from reconciler.model.train import upstream


async def train_of(fleet: Fleet, desired: Desired, refused: Mapping[tuple[str, str], str]) -> Train | str:
    """What is looked at to decide; or why nothing can be decided."""
    name = desired.environment.name
    # Another commit may have come into force meanwhile: of this environment it counts what is decided about.
    places = await asyncio.to_thread(places_of, fleet.core) | {name: desired.environment}
    try:
        names = upstream(name, places)
    except InputError as error:
        return str(error)
    stages = [await _stage(fleet, one, places.get(one)) for one in names]
    if desired.revision != fleet.tip:
        unknown = f"{name} does not follow the branch to its tip"
        stages = [replace(one, unknown=one.unknown or unknown) for one in stages]
    return Train(
        place=desired.environment,
        here=stage(fleet.core, name, desired.environment),
        stages=tuple(stages),
        releases=desired.releases,
        permits=fleet.core.store.permits(name),
        busy=_busy(fleet, name),
        blind=desired.blind,
        refused=refused,
    )


def recorded(fleet: Fleet, train: Train) -> Train:
    """The same with what has been recorded since, there and here, or read of what other daemons did there: holds,
    verdicts, degradations. Nothing is asked."""
    core, name = fleet.core, train.place.name
    return replace(
        train,
        here=stage(core, name, train.place),
        stages=tuple(_recorded(core, one) for one in train.stages),
        permits=core.store.permits(name),
        busy=_busy(fleet, name),
    )


def _recorded(core: Core, before: Stage) -> Stage:
    if here(core, before.name):
        return stage(core, before.name, core.desired[before.name].environment)
    return before if before.unknown else pinning(core, before.name, before.pins)


def _busy(fleet: Fleet, name: str) -> frozenset[str]:
    """Also what was left under way, and is taken up again when its turn comes."""
    return fleet.passes[name].engaged if name in fleet.passes else fleet.core.store.under_way(name)


async def _stage(fleet: Fleet, name: str, place: Environment | None) -> Stage:
    """What is known of an environment that comes before; of one in our hands, also how it is at this moment."""
    core, seen = fleet.core, fleet.passes.get(name)
    if not here(core, name) or seen is None:
        return stage(core, name, place)
    await seen.look(only_new=True)
    found, states = stage(core, name, place), seen.monitor.states()
    if seen.trouble:
        return replace(found, unknown=found.unknown or f"what runs in {name} could not be observed")
    proved = dict(found.proved)
    for service, one in found.proved.items():
        running = seen.observed_target(service)
        if running is None or running.version != one.version:
            proved[service] = replace(one, ill="does not run")
        elif not one.ill and (state := states.get(service, "unknown")) != "healthy":
            proved[service] = replace(one, ill=f"is not healthy at this moment ({state})")
    return replace(found, proved=proved)
