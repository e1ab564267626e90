"""What /metrics says, in the middle of real stories."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as text_families
from prometheus_client.samples import Sample

from reconciler.engine.metrics import Metrics
from reconciler.engine.metrics.table import TABLE
from reconciler.model.promotion import Verdict
from reconciler.model.pulls import Kept
from reconciler.model.upgrade import Phase
from reconciler.model.version import Version
from tests.world import World

FORGE = "{kind: gitea, api: 'http://127.0.0.1:1/api/v1', repository: ops/fleet, token: {file: /nowhere}}"
LIVE = "environment: live\ndriver: {kind: process}\npolicy: {promote: {from: production, by: commit}}\npins: {}\n"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


class Exposed:
    """One answer, read back by Prometheus' own parser."""

    def __init__(self, text: str, *, is_open: bool = False) -> None:
        parsed = open_families(text) if is_open else text_families(text)  # type: ignore[no-untyped-call]
        families = list(parsed)
        self.samples: list[Sample] = [sample for family in families for sample in family.samples]
        self.families = {family.name: family for family in families}

    def of(self, name: str, **labels: str) -> list[Sample]:
        return [one for one in self.samples if one.name == name and labels.items() <= one.labels.items()]

    def value(self, name: str, **labels: str) -> float:
        [sample] = self.of(name, **labels)
        return sample.value


def far_hour(world: World) -> int:
    """Of a window that is closed now, whenever this runs."""
    return (world.clock.now().hour + 12) % 24


def metrics_of(world: World) -> Metrics:
    return Metrics(world.fleet, world.clock.now())


async def scrape(metrics: Metrics, accept: str = "") -> Exposed:
    body, media_type = await metrics.exposed(accept)
    return Exposed(body.decode(), is_open=media_type.startswith("application/openmetrics-text"))


async def test_an_upgrade_that_failed_is_counted_and_stays_so_after_a_restart(world: World) -> None:
    world.deploy_first("1.0.0")
    metrics = metrics_of(world)
    before = await scrape(metrics)
    assert before.value("ugs_git_fetched_timestamp_seconds") == 0
    await world.settle()
    zero = {"environment": "production", "class": "patch", "result": "reverted"}
    assert (await scrape(metrics)).value("ugs_upgrades_total", **zero) == 0  # a rate needs where it came from

    world.bump("1.0.1", "unhealthy")
    await world.settle()
    seen = await scrape(metrics)
    assert seen.value("ugs_upgrades_total", **zero) == 1
    initial = {"environment": "production", "class": "initial", "result": "succeeded"}
    assert seen.value("ugs_upgrades_total", **initial) == 1
    lag_s = world.clock.now().timestamp() - seen.value("ugs_git_fetched_timestamp_seconds")
    assert 0 <= lag_s < 60
    assert seen.value("ugs_repository_state", state="ok") == 1

    await world.stopped()
    await world.fleet.start()
    again = await scrape(metrics_of(world))
    assert again.value("ugs_upgrades_total", **zero) == 1


async def test_phases_are_timed_as_they_are_left(world: World) -> None:
    world.deploy_first("1.0.0")
    metrics = metrics_of(world)
    world.at["phase:verifying"] = lambda: world.clock.move(timedelta(minutes=10))
    await world.settle()
    seen = await scrape(metrics)
    verifying = {"environment": "production", "phase": "verifying"}
    assert seen.value("ugs_upgrade_phase_seconds_count", **verifying) == 1
    assert seen.value("ugs_upgrade_phase_seconds_bucket", le="300.0", **verifying) == 0
    assert seen.value("ugs_upgrade_phase_seconds_bucket", le="900.0", **verifying) == 1
    assert seen.value("ugs_upgrade_phase_seconds_sum", **verifying) >= 600
    assert seen.of("ugs_upgrade_phase_seconds_count", phase="succeeded") == []


async def test_the_time_in_a_phase_is_not_cut_by_a_change_of_its_reason(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    metrics = metrics_of(world)
    world.core.store.hold("production", None, reason="one", owner="Ada", until=None)
    world.bump("1.0.1")
    waiting = await world.reach(Phase.WAITING)
    world.clock.move(timedelta(hours=2))
    world.core.move(waiting, Phase.WAITING, "another reason")
    world.clock.move(timedelta(hours=2))
    world.core.store.release_hold(1, by="Ada")
    await world.settle()
    sum_s = (await scrape(metrics)).value("ugs_upgrade_phase_seconds_sum", phase="waiting")
    assert sum_s >= 4 * 3600


async def test_what_waits_and_why_and_until_when(world: World) -> None:
    closed = far_hour(world)
    world.more = f"timezone: UTC\nwindows: {{patch: [{{cron: '0 {closed} * * *', duration: 1h}}]}}\n"
    world.deploy_first("1.0.0")
    await world.settle()
    metrics = metrics_of(world)
    world.core.store.hold("production", None, reason="a fair", owner="Ada", until=None)
    world.bump("1.0.1")
    await world.reach(Phase.WAITING)
    seen = await scrape(metrics)
    assert seen.value("ugs_gate_closed", gate="hold") == 1
    assert seen.value("ugs_gate_closed", gate="approval") == 0
    assert seen.value("ugs_changes_pending", environment="production") == 1
    assert seen.value("ugs_upgrades_unfinished", phase="waiting") == 1
    newest = world.newest()
    assert newest
    assert (
        seen.value("ugs_upgrade_oldest_timestamp_seconds", phase="waiting") == newest.created_at.timestamp()
    )
    opens = datetime.fromtimestamp(seen.value("ugs_window_opens_timestamp_seconds"), world.clock.now().tzinfo)
    closes = datetime.fromtimestamp(seen.value("ugs_window_closes_timestamp_seconds"), opens.tzinfo)
    assert (opens.hour, closes - opens) == (closed, timedelta(hours=1))
    assert opens.date() - world.clock.now().date() <= timedelta(days=1)
    world.clock.move(timedelta(days=3))
    later = (await scrape(metrics)).value("ugs_window_closes_timestamp_seconds")
    assert later > world.clock.now().timestamp()
    missed = {"environment": "production", "class": "patch"}
    await world.settle()
    assert (await scrape(metrics)).value("ugs_windows_missed_total", **missed) == 1


async def test_health_resources_and_versions_of_services(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    metrics = metrics_of(world)
    assert (await scrape(metrics)).of("ugs_service_resident_bytes") == []  # nothing waits for a sample
    await metrics.resources.taken()
    seen = await scrape(metrics)
    for service in ("api", "web"):
        assert seen.value("ugs_service_health", service=service, health="healthy") == 1
        assert seen.value("ugs_service_info", service=service, running="1.0.0", pinned="1.0.0") == 1
        assert seen.value("ugs_service_resident_bytes", service=service, index="0") > 1 << 20
        assert seen.value("ugs_service_cpu_seconds_total", service=service, index="0") >= 0
        assert seen.value("ugs_service_threads", service=service, index="0") >= 1
        assert seen.value("ugs_service_open_files", service=service, index="0") >= 3
    assert seen.value("ugs_services", environment="production", health="healthy") == 2

    world.release("1.1.0")
    world.pin("1.1.0")
    free = world.hold("apply")
    world.merge()
    await world.reach(Phase.APPLYING)
    busy = await scrape(metrics)
    assert busy.value("ugs_service_health", service="api", health="progressing") == 1
    assert busy.value("ugs_services", environment="production", health="progressing") == 1
    free.set()
    await world.rest()


@pytest.mark.fault("AP-13")
async def test_of_too_many_services_the_ill_ones_keep_their_series(world: World) -> None:
    world.settings_more = "metrics: {services: 1}\n"
    ill = world.folder / "ill"
    probe = f'{{command: ["test", "!", "-e", "{ill}"], interval: 50ms, failures: 1}}'
    for service in ("api", "web"):
        world.release("1.0.0", service=service, probe=probe if service == "web" else "")
        world.pin("1.0.0", service)
    world.merge()
    await world.settle()
    metrics = metrics_of(world)
    seen = await scrape(metrics)
    assert [one.labels["service"] for one in seen.of("ugs_service_health")] == ["api"]
    assert seen.value("ugs_services_left_out") == 1
    ill.touch()
    for _ in range(3):
        await world.fleet.passes["production"].look()
    seen = await scrape(metrics)
    assert [one.labels["service"] for one in seen.of("ugs_service_health")] == ["web"]
    assert seen.value("ugs_service_health", health="degraded") == 1
    assert seen.value("ugs_services", environment="production", health="healthy") == 1


async def test_what_is_not_delivered_grows_old(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    metrics = metrics_of(world)
    world.clock.move(timedelta(minutes=30))
    seen = await scrape(metrics)
    assert seen.value("ugs_outbox_pending", channel="slack") == len(world.notices())
    assert seen.value("ugs_outbox_oldest_seconds", channel="slack") >= 1800
    await world.deliver()
    seen = await scrape(metrics)
    assert seen.value("ugs_outbox_pending", channel="slack") == 0
    assert seen.value("ugs_outbox_oldest_seconds", channel="slack") == 0


def keys(samples: Iterable[Sample]) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    return {(one.name, tuple(sorted(one.labels.items()))) for one in samples}


async def test_pull_requests_and_promotions_are_counted_where_there_may_be_any(world: World) -> None:
    world.files["environments/live.yaml"] = LIVE
    world.deploy_first("1.0.0")
    await world.settle()
    plain = await scrape(metrics_of(world))
    assert plain.of("ugs_pulls_total") == plain.of("ugs_pulls_open") == []  # no forge, no pull requests
    assert plain.of("ugs_promotions_total", environment="production") == []  # nobody promotes to it
    assert plain.value("ugs_promotions_total", environment="live", result="promoted") == 0

    await world.stopped()
    world.settings_more = f"forge: {FORGE}\n"
    await world.settle()
    core = world.core
    core.store.tally("production", "pull-refused", "bump")
    core.store.tally("live", "promoted", "promote")
    core.store.keep_pull(Kept("bump", "ugs-bump-live.api", "live", ("live/api 1.1.0",), core.clock.now()))
    version = Version("1.0.0")
    core.promotions["live"] = {
        "api": Verdict("api", version, Version("1.1.0"), why="it has to soak"),
        "web": Verdict("web", version, why="1.0.0 runs there too"),
    }
    seen = await scrape(metrics_of(world))
    refused = {"environment": "production", "kind": "bump", "event": "refused"}
    assert seen.value("ugs_pulls_total", **refused) == 1
    assert seen.value("ugs_pulls_total", **refused | {"kind": "revert"}) == 0
    assert seen.value("ugs_pulls_open", environment="live", kind="bump") == 1
    assert seen.value("ugs_promotions_total", environment="live", result="promoted") == 1
    assert seen.value("ugs_promotions_pending", environment="live") == 1


async def test_both_formats_say_the_same_and_the_table_names_everything(world: World) -> None:
    closed = far_hour(world)
    world.more = f"timezone: UTC\nwindows: {{minor: [{{cron: '0 {closed} * * *', duration: 1h}}]}}\n"
    world.settings_more = 'listen: "127.0.0.1:1"\nwebhooks: {gitea: {secret: {file: /nowhere}}}\n'
    world.settings_more += f"forge: {FORGE}\n"
    world.files["environments/live.yaml"] = LIVE
    world.deploy_first("1.0.0")
    await world.settle()
    metrics = metrics_of(world)
    world.core.deliveries["gitea", "unsigned"] += 2
    world.bump("1.0.1")
    await world.settle()
    world.bump("1.1.0")
    await world.reach(Phase.WAITING)
    await scrape(metrics)
    await metrics.resources.taken()
    text, opened = await scrape(metrics), await scrape(metrics, OPEN_METRICS)
    assert keys(text.samples) == keys(opened.samples)
    assert text.value("ugs_webhooks_total", forge="gitea", outcome="unsigned") == 2
    assert text.value("ugs_webhooks_total", forge="gitea", outcome="heeded") == 0
    assert text.of("ugs_webhooks_total", forge="github") == []  # nobody expects any
    own = {name: family for name, family in text.families.items() if not name.startswith("process_")}
    found = {name + "_total" * (family.type == "counter"): family for name, family in own.items()}
    assert found.keys() == {metric.name for metric in TABLE}
    for metric in TABLE:
        family = found[metric.name]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        assert labels == set(metric.labels), metric.name
