"""Taking a commit into force looks at what has moved; what comes of it is the same as if all were looked at."""

from __future__ import annotations

from random import Random

import pytest

from reconciler.engine.departure import ours
from reconciler.model.desired import alike, resolve
from tests.model.test_snapshot import release
from tests.world import World

NAMES = ("alpha", "beta", "gamma", "delta")
COMMITS = 14
DRIVERS = ("process", "process", "process", "docker")  # the last may not be used here


def an_environment(random: Random, name: str) -> str:
    former = f"renamed_from: {random.choice(NAMES)}\n" if random.random() < 0.1 else ""
    pin = random.choice(("1.0.0", "1.1.0", "1.2.0", "9.9.9"))
    return (
        f'environment: {name}\ndriver: {{kind: {random.choice(DRIVERS)}}}\n{former}pins: {{api: "{pin}"}}\n'
    )


def a_change(random: Random, number: int) -> dict[str, str | None]:
    """Of one file, or of two."""
    files: dict[str, str | None] = {"README.md": f"{number}\n"}
    for name in random.sample(NAMES, random.choice((0, 1, 1, 2))):
        kind = random.random()
        path = f"environments/{name}.yaml"
        files[path] = None if kind < 0.2 else "cut off" if kind < 0.35 else an_environment(random, name)
    return files


@pytest.mark.parametrize("seed", range(4))
async def test_what_comes_into_force_is_what_all_of_it_comes_to(world: World, seed: int) -> None:
    random, there = Random(seed), set[str]()
    world.ada.commit(
        {f"releases/api/{version}.yaml": release("api", version) for version in ("1.0.0", "1.1.0", "1.2.0")},
        "Release",
    )
    fleet, core = world.fleet, world.core
    for number in range(COMMITS):
        files = {path: text for path, text in a_change(random, number).items() if text or path in there}
        world.ada.commit(files, f"Change {number}")
        world.ada.push()
        there = (there | files.keys()) - {path for path, text in files.items() if text is None}
        for name, here in fleet.passes.items():
            here.wake.clear()
            if name in core.desired and random.random() < 0.8:
                here.rest.begin(core.desired[name])
        resting = {name for name, here in fleet.passes.items() if here.rest.begun}
        before = dict(core.desired)
        tip = await fleet.refresh()

        snapshot = core.repository.snapshot(tip)
        whole = {
            name: one for name, one in resolve(snapshot, core.frozen).items() if ours(core, one.environment)
        }
        taken = {name: one for name, one in core.desired.items() if one.gone is None}
        stays = {name for name in taken if taken[name].revision != tip}
        assert {name: one for name, one in taken.items() if name not in stays} == {
            name: one for name, one in whole.items() if name in taken and name not in stays
        }
        assert (
            stays <= snapshot.blind | {one.environment.renamed_from for one in whole.values()} | whole.keys()
        )
        assert {problem.place.file for problem in fleet.problems if problem.path == "driver.kind"} == {
            f"environments/{name}.yaml"
            for name, one in snapshot.environments.items()
            if one.driver.kind == "docker"
        }
        news = {
            name for name, one in core.desired.items() if name not in before or not alike(before[name], one)
        }
        woken = {name for name, here in fleet.passes.items() if here.wake.is_set()}
        assert woken == news | (fleet.passes.keys() - resting) | (fleet.passes.keys() - core.desired.keys())
