"""`ugs plan`: what would change now, and what holds it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any, Literal

import click

from reconciler.cli import client
from reconciler.cli import preview as show
from reconciler.cli.check import annotation
from reconciler.cli.graph import config_option, core_from, daemon_at, daemon_is_known, settings_from
from reconciler.cli.output import print_json, print_table, when, working
from reconciler.cli.revisions import Revisions, repository_option, revisions_of
from reconciler.cli.state import state_lock
from reconciler.clock import SystemClock
from reconciler.config import Settings
from reconciler.engine.between import between_json
from reconciler.model import preview
from reconciler.model.errors import HostError
from reconciler.model.plan_text import Shown, markdown
from reconciler.model.sentence import migrating, switching
from reconciler.model.switching import told
from reconciler.model.target import Target

Format = Literal["text", "json", "markdown", "github"]
STATUS_TIMEOUT_S = 5.0


@click.command()
@click.option("--from", "before", metavar="REV", help="Plan from this revision, in a local repository.")
@click.option("--to", "after", metavar="REV", help="To this one, merged or not; by default HEAD.")
@repository_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "markdown", "github"]),
    default="text",
    show_default=True,
    help="markdown is a comment on a pull request; github annotates it too, on stderr.",
)
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@config_option
def plan(before: str | None, after: str | None, folder: Path, form: Format, config: Path | None) -> None:
    """Show what would change. Exit code 2 when there are changes.

    Without --from, now: it asks the daemon; where none runs, it fetches, observes and decides by itself, and
    starts nothing. With --from, between two revisions: it needs a local repository alone, and exit code 1 says
    that the second brings problems.
    """
    if before is not None:
        sys.exit(_between(before, after or "HEAD", folder, form, config))
    if after is not None or form not in {"text", "json"}:
        raise click.UsageError("--to, --format markdown and --format github need --from")
    sys.exit(_now(config, as_json=form == "json"))


def _between(before: str, after: str, folder: Path, form: Format, config: Path | None) -> int:
    with revisions_of(folder) as revisions:
        older, newer = (revisions.local.revision(name) for name in (before, after))
        running, sentence = _running(config, revisions)
        made = preview.preview(
            revisions.snapshot(older),
            revisions.inhabited(newer),
            now=SystemClock().now(),
            running=running,
        )
        here = revisions.folder
    shown = Shown(made, older, newer, "repository" if running is None else "daemon", sentence)
    match form:
        case "json":
            print_json(between_json(made, older, newer, shown.basis))
        case "text":
            show.print_text(shown)
        case _:
            click.echo(markdown(shown), nl=False)
    if form == "github":
        for problem in made.problems:
            click.echo(annotation(here, problem), err=True)
    return 1 if made.problems else 2 if made.changes or made.removed or made.flags else 0


def _running(config: Path | None, revisions: Revisions) -> tuple[preview.Observed | None, str]:
    """What really runs, None where nobody says so, and a sentence on which of the two it is."""
    pinned = "what the first revision pins is taken to run"
    if config is None and not daemon_is_known():
        return None, f"{pinned}: no daemon is configured here"
    at = daemon_at(config)
    try:
        answer = client.call(at, "GET", "/upgrade/status", timeout_s=STATUS_TIMEOUT_S)
    except (client.NoDaemon, HostError) as error:
        return None, f"{pinned}: {error.message}"
    places = answer["environments"]
    if not places or not all(revisions.local.find(place["revision"] or "") for place in places):
        return None, f"{pinned}: the daemon on {client.named(at)} is at a revision that is not here"
    running = {
        place["environment"]: {
            service["service"]: Target.parse(service["running"])
            for service in place["services"]
            if service["running"]
        }
        for place in places
    }
    return running, f"what runs is as the daemon on {client.named(at)} says"


def _now(config: Path | None, *, as_json: bool) -> int:
    try:
        answer = client.call(daemon_at(config), "POST", "/upgrade/plan", {})
    except client.NoDaemon:
        with working("fetching, observing and deciding"):
            answer = asyncio.run(_preview(settings_from(config)))
    changes, waiting = answer["changes"], answer["flags"]
    if as_json:
        print_json(answer)
    elif not changes and not waiting:
        click.echo("nothing to change")
    elif changes:
        print_table(
            ("environment", "service", "from", "to", "class", "starts", "waits for"),
            [_row(c) for c in changes],
        )
        for change in changes:
            if data := migrating(change["backup"], change["migrations"]):
                click.echo(f"{change['change']}: its data is {data}")
            if flags := switching(change["flags"]):
                click.echo(f"{change['change']}: its flags: {flags}")
    for one in [] if as_json else waiting:
        reasons = "; ".join(gate["reason"] for gate in one["gates"])
        step = f"{told(one['from'])} → {told(one['to'])}"
        click.echo(f"{one['environment']}: flag {one['flag']}: {step} waits: {reasons}")
    return 2 if changes or waiting else 0


def _row(change: dict[str, Any]) -> tuple[str, ...]:
    reasons = [gate["reason"] for gate in change["gates"] if not gate["open"]]
    return (
        change["environment"],
        change["service"],
        change["from"] or "-",
        change["to"] or "nothing",
        change["class"],
        "now" if not reasons else when(change["starts_at"]),
        "; ".join(reasons),
    )


async def _preview(settings: Settings) -> Any:
    with state_lock(settings.state), core_from(settings) as core:
        from reconciler.engine.fleet import Fleet
        from reconciler.engine.status import plan_of
        from reconciler.engine.trust import Untrusted

        fleet = Fleet(core)
        with contextlib.suppress(Untrusted):  # the plan says so, gate by gate
            await fleet.refresh()
        for environment in fleet.passes.values():
            await environment.preview()
        return plan_of(fleet)
