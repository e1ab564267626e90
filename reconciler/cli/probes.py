"""`ugs probes`: what the probes of a service came to, hour by hour."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import click

from reconciler.cli import client
from reconciler.cli.graph import config_option, daemon_at
from reconciler.cli.output import json_option, print_json, print_table, when

HOURS_MAX = 7 * 24


@click.command()
@click.argument("environment")
@click.argument("service")
@click.option("--hours", type=click.IntRange(1, HOURS_MAX), default=24, show_default=True)
@config_option
@json_option
def probes(environment: str, service: str, hours: int, config: Path | None, *, as_json: bool) -> None:
    """Show latency and failures of every probe of SERVICE, by the hour, the newest first."""
    query = urlencode({"environment": environment, "service": service, "hours": hours})
    answer = client.call(daemon_at(config), "GET", f"/probes?{query}")
    if as_json:
        print_json(answer)
        return
    rows = [
        (
            one["probe"],
            when(hour["hour"]),
            str(hour["samples"]),
            str(hour["failed"]),
            str(hour["unknown"]),
            *(_told(hour["latency"], name) for name in ("mean_s", "p95_s", "max_s")),
        )
        for one in answer["probes"]
        for hour in reversed(one["hours"])
    ]
    print_table(("probe", "hour", "asked", "failed", "unknown", "mean", "95 %", "longest"), rows)


def _told(latency: dict[str, float] | None, name: str) -> str:
    return f"{latency[name] * 1e3:.1f} ms" if latency else "-"
