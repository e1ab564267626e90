"""Probes over time: the same numbers in the API and on the page, drawn to scale, with the upgrades on them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from msgspec.structs import replace

from reconciler.api.probes import first_hour
from reconciler.api.web.moment import seconds
from reconciler.api.web.probes import FAILED_HEIGHT, LATENCY_HEIGHT, WIDTH, _chart, _marks, stretches
from reconciler.model.probed import NONE, ProbedHour, Rollup
from reconciler.model.upgrade import Phase
from reconciler.store import Transition
from tests.api.network import call, token_for
from tests.api.test_routes import ask
from tests.api.web.visitor import Visitor
from tests.daemon_process import DaemonProcess
from tests.store.builders import bump

NOW = datetime(2026, 11, 3, 18, 30, tzinfo=UTC)
SINCE = first_hour(NOW, 24)
BILLING = "/ui/service/production/billing"


def rollup(samples: int, failed: int, latency_s: float) -> Rollup:
    return Rollup(samples, failed, 0, latency_s, latency_s, (0, 0, 0, 0, 0, 1, *NONE[6:]))


def test_columns_stand_at_their_hours_and_are_drawn_to_scale() -> None:
    assert SINCE.isoformat() == "2026-11-02T19:00:00+00:00"
    found = [
        ProbedHour("tcp", SINCE, rollup(10, 5, 0.2)),
        ProbedHour("tcp", SINCE + timedelta(hours=12), rollup(1000, 1, 0.1)),
        ProbedHour("tcp", SINCE + timedelta(hours=23), Rollup(4, 0, 4)),
    ]
    chart = _chart("tcp", found, SINCE, 24)
    assert [one.x for one in chart.columns] == [0, WIDTH / 2, WIDTH * 23 / 24]
    assert chart.top_s == found[0].rollup.p95_s
    assert chart.columns[0].p95 == LATENCY_HEIGHT
    assert chart.columns[1].p95 == pytest.approx(
        LATENCY_HEIGHT * cast(float, found[1].rollup.p95_s) / cast(float, chart.top_s), abs=0.06
    )
    assert [one.failed for one in chart.columns] == [FAILED_HEIGHT / 2, 3.0, 0.0]  # one failure is seen too
    assert (chart.columns[2].p95, chart.columns[2].mean) == (0.0, 0.0)
    assert (chart.samples, chart.failed) == (1014, 6)


def test_upgrades_are_marked_when_they_were_begun() -> None:
    begun = replace(bump(phase=Phase.SUCCEEDED), started_at=SINCE + timedelta(hours=6))
    failed = replace(bump(phase=Phase.REVERTED), started_at=SINCE + timedelta(hours=18))
    marks = _marks([begun, failed, bump()], SINCE, 24)
    assert [(one.x, one.well) for one in marks] == [(WIDTH / 4, True), (WIDTH * 3 / 4, False)]


def test_the_strip_of_health_begins_with_what_was_so_already() -> None:
    known = [
        Transition("healthy", SINCE - timedelta(hours=3), ""),
        Transition("degraded", SINCE + (NOW - SINCE) / 2, "it fell"),
    ]
    found = stretches(known, SINCE, NOW)
    assert [(one.x, one.width, one.state) for one in found] == [
        (0.0, WIDTH / 2, "healthy"),
        (WIDTH / 2, WIDTH / 2, "degraded"),
    ]
    assert stretches([], SINCE, NOW) == []
    day = timedelta(hours=24)
    over = [Transition("healthy", NOW - 3 * day, ""), Transition("unknown", NOW - 2 * day, "")]
    assert [one.state for one in stretches(over, SINCE, NOW)] == ["unknown"]


@pytest.mark.parametrize(
    ("length_s", "told"),
    [
        (None, "-"),
        (0.00042, "420 µs"),
        (0.0123, "12.3 ms"),
        (0.9, "900 ms"),
        (0.9999, "1.00 s"),
        (12.5, "12.50 s"),
    ],
)
def test_latencies_are_told_in_their_own_units(length_s: float | None, told: str) -> None:
    assert seconds(length_s) == told


def test_the_api_and_the_page_say_what_the_probes_came_to(served: DaemonProcess, port: int) -> None:
    query = "environment=production&service=billing"
    found = ask(served, "GET", f"/probes?{query}").body
    names = [one["probe"] for one in found["probes"]]
    assert "process" in names
    hours = next(one["hours"] for one in found["probes"] if one["probe"].endswith("/healthz"))
    assert sum(one["failed"] for one in hours) > 0  # of 1.4.2, which was reverted
    assert all(one["samples"] >= one["failed"] + one["unknown"] for one in hours)
    assert 0 < hours[-1]["latency"]["mean_s"] <= hours[-1]["latency"]["max_s"]
    assert [one["phase"] for one in found["upgrades"]] == ["succeeded", "reverted"]
    week = ask(served, "GET", f"/probes?{query}&hours=168").body
    assert (datetime.fromisoformat(found["since"]) - datetime.fromisoformat(week["since"])).days == 6
    assert ask(served, "GET", f"/probes?{query}&hours=169").status == 400

    ada = Visitor(port, token_for(served, "ada", "admin"))
    for span, words in (("24h", "24 hours"), ("7d", "7 days"), ("nonsense", "24 hours")):
        page = ada.get(f"{BILLING}?span={span}")
        assert f"Probes, the last {words}" in page.words
        assert len(re.findall(r'<svg class="probe', page.text)) == len(names)
        assert page.text.count('<line class="upgrade"') == len(names) + 1  # and in the legend
        assert page.text.count('<line class="upgrade bad"') == len(names) + 1
        assert '<rect class="failed" x=' in page.text
        assert '<rect class="p95" x=' in page.text
        assert page.text.count("As a table") == len(names)


def test_who_may_not_see_a_service_does_not_see_its_probes(served: DaemonProcess, port: int) -> None:
    token = token_for(served, "sam", "viewer", environments=("production",), services=("web",))
    headers = {"Authorization": f"Bearer {token}"}
    query = "/probes?environment=production&service="
    assert call(port, "GET", f"{query}web", headers=headers).status == 200
    assert call(port, "GET", f"{query}billing", headers=headers).status == 404
