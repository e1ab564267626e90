"""What is left out as settled changes nothing of what is found: drawn environments, with it and without."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from reconciler.engine.weigh import arrangement
from reconciler.model import plan
from reconciler.model.desired import Desired
from reconciler.model.drift import drifts
from reconciler.model.observation import Instance, Observation
from reconciler.model.plan import Good, Records
from reconciler.model.settled import settled
from reconciler.model.target import Target, Workload
from tests.build import NOW, desired, release, seen, work

SERVICES = tuple(f"s{number}" for number in range(7))
VERSIONS = ("1.0.0", "1.1.0", "2.0.0")
WANTED = (">=1.0.0", ">=1.1.0", "<2.0.0", ">=2.0.0")


def drawn_work(random: Random, service: str) -> Workload:
    version, requires = random.choice(VERSIONS[: random.choice((1, 1, 3))]), dict[str, str]()
    if random.random() < 0.4:
        requires[random.choice(SERVICES)] = random.choice(WANTED)
    of = release(version, service, requires=requires)
    return work(version, service, of=of, instances=random.choice((1, 1, 2)))


def drawn_instance(random: Random, index: int, target: Target) -> Instance:
    state = random.choice(("running", "running", "starting", "crashed"))
    drift = "edited" if random.random() < 0.1 else ""
    return Instance(index, replace(target), state, drift=drift)  # type: ignore[arg-type]  # one of three


def drawn(random: Random) -> tuple[Desired, dict[str, Observation], Records, frozenset[str]]:
    """An environment of which most runs as it is pinned, and is proven."""
    known = {service: [drawn_work(random, service) for _ in range(3)] for service in SERVICES}
    pins = {service: works[0] for service, works in known.items() if random.random() < 0.9}
    observed, good = dict[str, Observation](), dict[str, tuple[Good, ...]]()
    for service, works in known.items():
        odd = random.random() < 0.4
        runs = random.choice(works) if odd else works[0]
        instances = [drawn_instance(random, index, runs.target) for index in range(runs.instances)]
        if odd and random.random() < 0.3:
            instances = [*instances[1:], drawn_instance(random, 1, random.choice(works).target)]
        if not odd or random.random() < 0.8:
            observed[service] = Observation(service, tuple(instances))
        proven = [works[0]] if random.random() < 0.7 else random.sample(works, random.randint(0, 2))
        good[service] = tuple(Good(one, NOW) for one in proven)
    works = [one for some in known.values() for one in some]
    releases = {
        service: {one.target.version: one.release for one in reversed(some)}
        for service, some in known.items()
    }
    here = replace(
        desired(*pins.values(), blind=frozenset(random.sample(SERVICES, random.randint(0, 1)))),
        releases=releases,
        hidden=random.random() < 0.1,
    )
    left = {service: random.choice(works).target for service in random.sample(SERVICES, 2)}
    attempted = {service: some[-1].work.target.version for service, some in good.items() if some}
    busy = frozenset(random.sample(SERVICES, random.randint(0, 1)))
    return here, observed, Records(good, attempted, {}, left), busy


def proven(records: Records) -> dict[str, str]:
    return {service: str(some[0].work.target) for service, some in records.good.items() if some}


@pytest.mark.parametrize("first", range(0, 2_000, 200))
def test_a_pass_finds_the_same_without_what_is_settled(first: int) -> None:
    still_seen, changed = 0, 0
    for seed in range(first, first + 200):
        here, observed, records, busy = drawn(Random(seed))
        still = settled(here, observed, proven(records), busy)
        narrow = replace(
            records,
            good={service: some for service, some in records.good.items() if service not in still},
            settled=still,
        )
        changes = plan.plan(here, observed, records, now=NOW)
        assert plan.plan(here, observed, narrow, now=NOW) == changes, seed
        assert not still & {change.service for change in changes}, seed
        for find in (plan.repairs, plan.leftovers, drifts):
            assert find(here, observed, narrow, busy) == find(here, observed, records, busy), (seed, find)
        assert arrangement(here, observed, changes, still) == arrangement(here, observed, changes), seed
        still_seen, changed = still_seen + len(still), changed + len(changes)
    assert still_seen > 200
    assert changed > 200


def test_settled_is_only_what_is_whole_proven_and_as_it_was_applied() -> None:
    api = work("1.0.0", instances=2)
    here, runs, known = desired(api), seen(api), {"api": str(api.target)}
    assert settled(here, runs, known) == {"api"}
    assert not settled(here, runs, known, {"api"})
    assert not settled(here, runs, {})
    assert not settled(here, runs, {"api": str(work("1.1.0").target)})
    assert not settled(here, {}, known)
    assert not settled(desired(work("1.1.0")), runs, known)
    instances = runs["api"].instances
    for some in (
        instances[1:],
        (*instances, replace(instances[0], index=2, target=work("1.1.0").target)),
        (replace(instances[0], drift="edited"), instances[1]),
        (),
    ):
        assert not settled(here, {"api": Observation("api", some)}, known)
