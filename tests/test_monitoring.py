"""The alert rules, the dashboard and the page: of metrics that there are, and taken by Prometheus' own tools."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from reconciler.engine.metrics.table import METRICS, TABLE

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs/monitoring"
ALERTS = FOLDER / "alerts.yaml"
UNIT_TESTS = ROOT / "tests/monitoring/alerts.test.yaml"
PAGE = (ROOT / "docs/monitoring.md").read_text()
NAME = re.compile(r"\bugs_[a-z_]+")
promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs Debian's package prometheus")


def yaml(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path)


def rules() -> dict[str, Any]:
    return {rule["alert"]: rule for group in yaml(ALERTS)["groups"] for rule in group["rules"]}


def exprs(node: Any) -> Iterator[str]:
    """Every query of the dashboard."""
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "expr")
        for value in node.values():
            yield from exprs(value)
    elif isinstance(node, list):
        for value in node:
            yield from exprs(value)


def dashboard() -> Any:
    return json.loads((FOLDER / "dashboard.json").read_text())


def run(*argv: str | Path, cwd: Path = ROOT) -> None:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_has_every_metric_with_its_labels_and_no_other() -> None:
    section = PAGE.partition("\n## Metrics\n")[2].partition("\n## ")[0]
    rows = [row.split("|")[1:4] for row in re.findall(r"^\| `ugs_.*$", section, re.MULTILINE)]
    told = [
        (name.strip(" `"), kind.strip(), tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows
    ]
    assert told == [(metric.name, metric.kind, metric.labels) for metric in TABLE]


def test_the_page_says_what_to_do_for_every_alert() -> None:
    section = PAGE.partition("\n## Alerts\n")[2]
    told = dict(re.findall(r"^\| `(Ugs\w+)` \| (\w+) \|", section, re.MULTILINE))
    assert told == {name: rule["labels"]["severity"] for name, rule in rules().items()}


def test_alerts_and_dashboard_ask_for_metrics_that_there_are() -> None:
    known = METRICS.keys() | {f"ugs_upgrade_phase_seconds_{part}" for part in ("bucket", "count", "sum")}
    asked = [rule["expr"] for rule in rules().values()] + list(exprs(dashboard()))
    assert len(asked) > 30
    assert {name for text in asked for name in NAME.findall(text)} - known == set()


def test_every_alert_is_seen_to_fire_and_to_be_silent_in_a_unit_test() -> None:
    fires, silent = set[str](), set[str]()
    for group in yaml(UNIT_TESTS)["tests"]:
        for case in group["alert_rule_test"]:
            (fires if case["exp_alerts"] else silent).add(case["alertname"])
    assert fires == silent == rules().keys()


@promtool
def test_promtool_takes_the_rules_and_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    run("promtool", "check", "rules", ALERTS)
    queries = [
        text.replace("$__rate_interval", "5m").replace("$__interval", "5m").replace("$environment", ".*")
        for text in exprs(dashboard())
    ]
    recorded = [{"record": f"query:{number}", "expr": text} for number, text in enumerate(queries)]
    file = tmp_path / "queries.yaml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": recorded}]}))
    run("promtool", "check", "rules", file)


@promtool
def test_promtool_sees_every_alert_do_as_it_should() -> None:
    run("promtool", "test", "rules", UNIT_TESTS.name, cwd=UNIT_TESTS.parent)


def test_panels_stand_side_by_side_and_have_numbers_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set[tuple[int, int]]()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
