"""A real Prometheus scrapes a real daemon over the network, with a token, and its alert fires."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.api.network import call, token_for
from tests.daemon_process import configured, daemon
from tests.drivers.services import free_port
from tests.world import World

ALERTS = Path(__file__).resolve().parents[2] / "docs/monitoring/alerts.yaml"
WAIT_S = 60.0
CONFIG = """\
global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: ugs
    authorization: {{credentials_file: "{token}"}}
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Debian's package prometheus"),
]


class Prometheus:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)["data"]

    def value(self, query: str) -> float | None:
        found = self.get("/api/v1/query?" + urllib.parse.urlencode({"query": query}))["result"]
        return float(found[0]["value"][1]) if found else None

    def firing(self) -> set[str]:
        alerts = self.get("/api/v1/alerts")["alerts"]
        return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}

    def ready(self) -> bool:
        with suppress(OSError):
            return bool(self.get("/api/v1/targets")["activeTargets"])
        return False


def eventually(condition: Callable[[], object], log: Path) -> None:
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, log.read_text()
        time.sleep(0.1)


@contextmanager
def prometheus(folder: Path, *, token: str, port: int) -> Iterator[tuple[Prometheus, Path]]:
    folder.mkdir()
    (folder / "token").write_text(token)
    # The rules as they are, but as fast as a test: what lasts minutes there lasts a second here.
    rules = ALERTS.read_text()
    for wait in ("for: 1m", "for: 2m", "for: 5m", "for: 15m"):
        rules = rules.replace(f"{wait}\n", "for: 1s\n")
    (folder / "alerts.yaml").write_text(rules)
    config, log, own = folder / "prometheus.yaml", folder / "log", free_port()
    config.write_text(CONFIG.format(rules=folder / "alerts.yaml", token=folder / "token", port=port))
    argv = (
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{own}",
    )
    with log.open("wb") as sink, subprocess.Popen(argv, stdout=sink, stderr=sink) as process:
        try:
            server = Prometheus(own)
            eventually(server.ready, log)
            yield server, log
        finally:
            process.terminate()


def test_a_real_prometheus_scrapes_the_daemon_and_its_alerts_fire(world: World, tmp_path: Path) -> None:
    port = free_port()
    world.settings_more = f'listen: "127.0.0.1:{port}"\n'
    world.deploy_first("1.0.0")
    with daemon(world, config=configured(world, poll="1s")) as running:
        running.until_runs("1.0.0")
        assert call(port, "GET", "/metrics").status == 401
        elsewhere = token_for(running, "sid", "viewer", environments=("staging",))
        assert call(port, "GET", "/metrics", token=elsewhere).status == 403
        token = token_for(running, "prometheus", "viewer")
        with prometheus(tmp_path / "prometheus", token=token, port=port) as (server, log):
            eventually(lambda: server.value('ugs_service_health{service="api", health="healthy"}') == 1, log)
            eventually(lambda: server.firing() == set(), log)  # it was not there before the first scrape
            world.bump("1.0.1", "unhealthy")
            eventually(lambda: "UgsUpgradeFailed" in server.firing(), log)
            assert server.value('ugs_upgrades_total{class="patch", result="reverted"}') == 1
            eventually(lambda: server.value("ugs_service_resident_bytes > 0"), log)
            running.stop()
            eventually(lambda: "UgsDown" in server.firing(), log)
