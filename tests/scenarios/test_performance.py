"""A release that answers, but does worse than the one before it: judged by measures, as its manifest says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from reconciler.engine.checkup import checkup
from reconciler.model.upgrade import Phase
from tests.prometheus_server import PrometheusServer, prometheus_server
from tests.world import World

pytestmark = pytest.mark.slow

LATENCY = '{performance: latency, at_most: "2x baseline", interval: 50ms}'
QUERY = 'p99(job="{service}", version="{version}", place="{environment}")'
ASKED = f"{{prometheus: '{QUERY}', at_most: \"1.5x baseline\", interval: 50ms}}"


def delayed(seconds: float) -> str:
    return f', environment: {{DELAY_S: "{seconds}"}}'


@pytest.fixture
def prometheus(world: World) -> Iterator[PrometheusServer]:
    with prometheus_server() as server:
        token = world.folder / "prometheus-token"
        token.write_text("let-me-ask")
        world.settings_more += f'prometheus: {{url: "{server.url}", token: {{file: "{token}"}}}}\n'
        yield server


async def test_a_release_that_answers_three_times_slower_goes_back_and_its_pin_is_reverted(
    world: World,
) -> None:
    world.release("1.0.0", run=delayed(0.05))
    world.pin("1.0.0")
    world.merge()
    await world.settle()
    world.bump("1.1.0", run=delayed(0.15), probe=LATENCY)
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    assert world.answers() == "1.0.0"
    assert 'api: "1.0.0"' in world.pinned()
    newest = world.newest()
    assert newest
    assert "half of the answers of http://127.0.0.1:" in newest.reason
    assert "2 times what it was before: 0.0" in newest.reason
    assert "half of the answers" in world.text_of(world.tip())
    steps = {step.step: step.outcome for step in world.core.store.steps(newest.operation)}
    assert steps["baseline"] == "ok"


async def test_a_release_within_its_bounds_stays(world: World) -> None:
    world.release("1.0.0", run=delayed(0.05))
    world.pin("1.0.0")
    world.merge()
    await world.settle()
    world.bump("1.1.0", run=delayed(0.06), probe=LATENCY)
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
    newest = world.newest()
    assert newest
    assert newest.baseline
    assert newest.baseline.version == "1.0.0"
    assert newest.baseline.measured.latency_s["http://127.0.0.1:{port}/healthz"] >= 0.05
    assert "not compared" not in newest.reason
    assert (
        "; half of the answers of http://127.0.0.1:" in newest.reason
    )  # what came of it, beside what was before


async def test_a_first_deployment_has_nothing_to_compare_with_and_says_so(world: World) -> None:
    world.release("1.0.0", run=delayed(0.05), probe=LATENCY)
    world.pin("1.0.0")
    world.merge()
    await world.settle()
    newest = world.newest()
    assert newest
    assert newest.phase is Phase.SUCCEEDED
    assert newest.reason.endswith("; not compared: performance latency (nothing ran before)")


async def test_a_number_holds_for_a_first_deployment_too(world: World) -> None:
    world.release("1.0.0", run=delayed(0.05), probe="{performance: latency, at_most: 0.01, interval: 50ms}")
    world.pin("1.0.0")
    world.merge()
    await world.settle()
    assert world.phases() == ["reverted"]
    assert world.answers() == ""


async def test_a_release_that_needs_far_more_memory_goes_back(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    more = ', environment: {BALLAST_MIB: "64"}'
    world.bump("1.1.0", run=more, probe='{performance: memory, at_most: "1.5x baseline", interval: 50ms}')
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    newest = world.newest()
    assert newest
    assert "MiB, at most" in newest.reason


async def test_errors_and_processor_time_are_measured_against_what_ran_before(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    both = (
        '{performance: errors, at_most: "2%", interval: 50ms}\n'
        '    - {performance: cpu, at_most: "2x baseline", interval: 50ms}'
    )
    world.bump("1.1.0", probe=both, deadline="30s")
    await world.settle()
    newest = world.newest()
    assert newest
    assert newest.phase is Phase.SUCCEEDED, newest.reason
    assert newest.baseline
    assert newest.baseline.measured.errors == 0
    assert newest.baseline.measured.cpu is not None


async def test_what_prometheus_says_of_both_versions_decides(
    world: World, prometheus: PrometheusServer
) -> None:
    prometheus.say = lambda query: 0.9 if 'version="1.1.0"' in query else 0.3
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", probe=ASKED)
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    newest = world.newest()
    assert newest
    assert "the answer: 0.9, at most 0.45 (1.5 times what it was before: 0.3)" in newest.reason
    assert prometheus.queries[0] == 'p99(job="api", version="1.0.0", place="production")'
    assert prometheus.queries[-1] == 'p99(job="api", version="1.1.0", place="production")'
    assert prometheus.tokens == {"Bearer let-me-ask"}
    prometheus.say = lambda _query: 0.4
    world.bump("1.2.0", probe=ASKED)
    await world.settle()
    assert world.phases()[-1] == "succeeded"


async def test_a_prometheus_that_knows_nothing_speaks_neither_for_a_release_nor_against_it(
    world: World, prometheus: PrometheusServer
) -> None:
    prometheus.say = lambda query: 0.3 if 'version="1.0.0"' in query else None
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", probe=ASKED, deadline="1s")
    await world.settle()
    assert world.phases() == ["succeeded", "stuck"]
    assert world.answers() == "1.1.0"
    assert world.reverts() == []
    assert "Prometheus has no data for it" in world.calls()[-1]


async def test_what_had_no_number_before_is_not_compared_and_that_is_told(
    world: World, prometheus: PrometheusServer
) -> None:
    prometheus.say = lambda query: None if 'version="1.0.0"' in query else 0.3
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", probe=ASKED)
    await world.settle()
    newest = world.newest()
    assert newest
    assert newest.phase is Phase.SUCCEEDED
    assert newest.reason.endswith("(Prometheus has no number for it)")


async def test_nothing_is_touched_while_prometheus_cannot_be_asked_for_the_baseline(
    world: World, prometheus: PrometheusServer
) -> None:
    prometheus.say = lambda _query: 0.3
    prometheus.down = True
    world.deploy_first("1.0.0")
    await world.settle()
    pid = world.pid()
    world.bump("1.1.0", probe=ASKED)
    await world.settle()
    assert world.phases() == ["succeeded", "waiting"]
    newest = world.newest()
    assert newest
    assert "what runs cannot be measured: Prometheus answers status 503" in newest.reason
    assert world.pid() == pid


async def test_a_release_that_asks_a_prometheus_that_nobody_named_calls_a_person(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", probe=ASKED)
    await world.settle()
    assert world.phases() == ["succeeded", "waiting"]
    [call] = world.calls()
    assert "add `prometheus: {url: ...}` to" in call


async def test_the_baseline_outlives_the_daemon(world: World) -> None:
    world.release("1.0.0", run=delayed(0.05))
    world.pin("1.0.0")
    world.merge()
    await world.settle()
    world.bump("1.1.0", run=delayed(0.15), probe=LATENCY, soak="2s", deadline="4s")
    verifying = await world.reach(Phase.VERIFYING)
    assert verifying.baseline
    await world.restart()
    await world.settle(refresh=False)
    assert world.phases() == ["succeeded", "reverted"]
    newest = world.newest()
    assert newest
    assert newest.baseline == verifying.baseline
    steps = [step.step for step in world.core.store.steps(newest.operation)]
    assert steps.count("baseline") == 1


async def test_what_does_worse_later_is_told_when_it_begins_and_when_it_ends(
    world: World, prometheus: PrometheusServer
) -> None:
    prometheus.say = lambda _query: 0.3
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", probe=ASKED)
    await world.settle()
    tip, here = world.tip(), world.fleet.passes["production"]
    prometheus.say = lambda _query: 0.9
    for _ in range(3):
        await here.look()
    assert world.view().health == "degraded"
    [call] = world.calls()
    assert "1.5 times what it was before: 0.3" in call
    prometheus.down = True
    await here.look()
    prometheus.down, prometheus.say = False, lambda _query: 0.3
    await here.look()
    assert world.view().health == "healthy"
    assert world.told()[-1] == "production: api 1.1.0 is healthy"
    assert world.tip() == tip


async def test_who_asks_how_what_runs_is_gets_the_measures_beside_what_was_before(world: World) -> None:
    world.release("1.0.0", run=delayed(0.05))
    world.pin("1.0.0")
    world.merge()
    await world.settle()
    measures = f"{LATENCY}\n    - {{performance: memory, at_most: 1000000000, interval: 50ms}}"
    world.bump("1.1.0", run=delayed(0.06), probe=measures)
    await world.settle()
    world.clock.move(timedelta(days=1))  # longer ago than it is watched against the old version
    [said] = await checkup(world.fleet, "production", ["api"], actor="Ada")
    assert (said.verdict, said.sentence) == ("healthy", "production: api is healthy")
    probes = {one.probe: one for one in said.instances[0].probes}
    latency, memory = probes["performance latency"].measured, probes["performance memory"].measured
    assert latency
    assert latency.value
    assert latency.before
    assert 0.05 <= latency.before <= latency.value
    assert latency.at_most == 2 * latency.before
    assert memory
    assert memory.value
    assert (memory.at_most, memory.before is None) == (1_000_000_000, False)
    answered = probes["http://127.0.0.1:{port}/healthz"]
    assert answered.measured is None
    assert answered.latency_s
    assert answered.latency_s >= 0.06


async def test_measures_that_have_nothing_to_compare_with_are_told_when_asked(world: World) -> None:
    world.release("1.0.0", run=delayed(0.05), probe=LATENCY)
    world.pin("1.0.0")
    world.merge()
    await world.settle()
    [said] = await checkup(world.fleet, "production", ["api"], actor="Ada")
    assert said.verdict == "healthy"
    assert said.sentence.endswith("; not compared: performance latency (nothing ran before)")
