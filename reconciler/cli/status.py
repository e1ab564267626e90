"""`ugs status` and `ugs explain`: what is, and why it is not yet what it should be."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from reconciler.cli import client
from reconciler.cli.graph import config_option, daemon_at
from reconciler.cli.output import json_option, print_json, print_table, rich_table, when
from reconciler.model.availability import lasting
from reconciler.model.sentence import migrating, switching

WATCH_S = 0.5
MOVING = ("as_of", "fetched_at")
"""What changes without anything having changed."""
COLUMNS = ("environment", "service", "pinned", "running", "sync", "health", "phase")


@click.command()
@click.argument("environment", required=False)
@config_option
@json_option
@click.option("--watch", is_flag=True, help="Go on showing it as it changes, until Ctrl-C.")
def status(environment: str | None, config: Path | None, *, as_json: bool, watch: bool) -> None:
    """Show what is pinned, what runs, and how it is. Exit code 2 when something needs a person."""
    at = daemon_at(config)
    path = "/upgrade/status" + (f"?{urlencode({'environment': environment})}" if environment else "")
    if watch:
        _watch(at, path, as_json=as_json)
        return
    answer = client.call(at, "GET", path)
    if as_json:
        print_json(answer)
    else:
        _print(answer)
    if answer["needs_person"]:
        sys.exit(2)


@click.command()
@click.argument("environment")
@click.argument("service")
@config_option
@json_option
def explain(environment: str, service: str, config: Path | None, *, as_json: bool) -> None:
    """Say why a service is not yet where its pin says: one sentence, every gate, and the way to go."""
    query = urlencode({"environment": environment, "service": service})
    answer = client.call(daemon_at(config), "GET", f"/upgrade/explain?{query}")
    if as_json:
        print_json(answer)
        return
    click.echo(answer["sentence"])
    if answer["gates"]:
        click.echo()
        print_gates(answer["gates"])
    if data := migrating(answer["backup"], answer["migrations"]):
        click.echo(f"\nits data is {data}")
    if flags := switching(answer["flags"]):
        click.echo(f"\nits flags: {flags}")
    if answer["steps"]:
        click.echo()
        print_steps(answer["steps"])
    if promotion := answer.get("promotion"):
        click.echo(f"\npromotion from {promotion['from']}: {_promotion(promotion)}")
    for one in answer.get("proposed", []):
        click.echo(f"\n{one['version']} is proposed: {one['url']}")


def _promotion(promotion: dict[str, Any]) -> str:
    """What comes next by itself, or why nothing does yet."""
    if promotion["version"] is None:
        return f"nothing newer: {promotion['why']}"
    if promotion["why"] is None:
        return f"{promotion['version']} comes now, by {promotion['by']}"
    return f"{promotion['version']} not yet: {promotion['why']}"


def print_gates(gates: list[dict[str, Any]]) -> None:
    rows = [
        (
            gate["gate"],
            "open" if gate["open"] else "closed",
            gate.get("reason") or "",
            when(gate.get("until")),
            gate.get("opened_by") or "",
        )
        for gate in gates
    ]
    print_table(("gate", "state", "reason", "until", "opened by"), rows)


def print_steps(steps: list[dict[str, Any]]) -> None:
    rows = [
        (
            step["version"],
            step["class"],
            f"not known: {step['unknown']}" if step["unknown"] else when(step["starts_at"]),
            lasting(step["duration_s"]),
            _opening(step["opens_at"], step["closes_at"]),
        )
        for step in steps
    ]
    print_table(("step", "class", "starts", "may take", "window"), rows)


def _opening(opens_at: str | None, closes_at: str | None) -> str:
    return f"{when(opens_at)} to {when(closes_at)}" if opens_at or closes_at else "-"


def _rows(answer: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            environment["environment"],
            service["service"],
            _short(service["pinned"]),
            _short(service["running"]),
            service["sync"],
            service["health"],
            service["phase"] or "",
        )
        for environment in answer["environments"]
        for service in environment["services"]
    ]


def _short(target: str | None) -> str:
    return target.partition("@")[0] if target else "-"


def _print(answer: dict[str, Any]) -> None:
    daemon = answer["daemon"]
    click.echo(f"repository {daemon['state']}: {daemon['sentence']} (fetched {when(answer['fetched_at'])})")
    print_table(COLUMNS, _rows(answer))
    for environment in answer["environments"]:
        if not environment["lease"]["held"]:
            click.echo(environment["lease"]["sentence"])
        if environment["hosts"]["sentence"]:
            click.echo(f"{environment['environment']}: {environment['hosts']['sentence']}")
        for service in environment["services"]:
            if service["phase"] or service["sync"] != "in-sync":
                click.echo(service["sentence"])
    for sentence in answer["needs_person"]:
        click.echo(f"needs a person: {sentence}")


def _watch(at: client.Address, path: str, *, as_json: bool) -> None:
    """Redraw in a terminal; in a pipe, print again whenever something changed."""
    if sys.stdout.isatty() and not as_json:
        from rich.live import Live

        with Live(rich_table(COLUMNS, []), refresh_per_second=4) as live:
            while True:
                live.update(rich_table(COLUMNS, _rows(client.call(at, "GET", path))))
                time.sleep(WATCH_S)
    before: object = None
    while True:
        answer = client.call(at, "GET", path)
        now = {key: value for key, value in answer.items() if key not in MOVING}
        if now != before:
            before = now
            print_json(answer) if as_json else _print(answer)
        time.sleep(WATCH_S)
