"""`ugs notes`: what a change brings, in the words of those who made the releases."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import click

from reconciler.cli.output import print_json
from reconciler.cli.revisions import Revisions, repository_option, revisions_of
from reconciler.engine.notes import gain_json, in_range
from reconciler.model.environment import Environment
from reconciler.model.errors import UgsError
from reconciler.model.markdown import code, quote
from reconciler.model.notes import Gain, catalogue, gains
from reconciler.model.snapshot import Snapshot
from reconciler.model.version import Version
from reconciler.model.zone import first_instant

Format = Literal["markdown", "json"]
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[T ].*")


@click.command()
@click.argument("environment", required=False)
@click.option(
    "--since", metavar="REV|DATE", help="What ENVIRONMENT got since a revision, a day or an instant."
)
@click.option("--service", help="Of this service alone.")
@click.option("--from", "before", metavar="VERSION", help="Of --service, what came after this version.")
@click.option("--to", "after", metavar="VERSION", help="Up to this one; by default its newest.")
@click.option("--revision", metavar="REV", default="HEAD", show_default=True, help="Where to read.")
@repository_option
@click.option(
    "--format", "form", type=click.Choice(["markdown", "json"]), default="markdown", show_default=True
)
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
def notes(
    environment: str | None,
    since: str | None,
    service: str | None,
    before: str | None,
    after: str | None,
    revision: str,
    folder: Path,
    form: Format,
) -> None:
    """Show release notes: what ENVIRONMENT got --since a revision or a date, or a --service between two versions.

    Reads a local repository alone.
    """
    asks_place = environment is not None and since is not None and before is None and after is None
    asks_range = environment is None and since is None and service is not None and before is not None
    if asks_place == asks_range:
        raise click.UsageError("say ENVIRONMENT --since REV|DATE, or --service NAME --from VERSION")
    start: str | None = None
    with revisions_of(folder) as revisions:
        end = revisions.local.revision(revision)
        snapshot = revisions.inhabited(end)
        if environment is not None and since is not None:
            place = _environment(snapshot, environment)
            start = _revision_at(revisions, since, end, place.timezone or "UTC")
            was = revisions.snapshot(start).environments.get(environment) if start else None
            found = gains(catalogue(snapshot.releases.values()), was, place)
            if service is not None:
                found = [gain for gain in found if gain.service == service]
        else:
            found = [_range(snapshot, service or "", before or "", after)]
    if form == "json":
        about = {"environment": environment, "from_revision": start, "to_revision": end}
        print_json(about | {"services": [gain_json(gain) for gain in found]})
        return
    where = f"{environment} since {since}" if environment else service or ""
    click.echo("\n".join(_markdown(where, found)))


def _revision_at(revisions: Revisions, since: str, end: str, zone: str) -> str | None:
    """The revision that `since` means on the way to `end`; None when nothing was there yet. Raises UgsError."""
    try:
        if _DATE.fullmatch(since):
            return revisions.local.at(first_instant(since, zone), end)
        if _INSTANT.fullmatch(since):
            instant = datetime.fromisoformat(since)
            if instant.tzinfo is None:
                raise UgsError(f"{since} has no offset", f"write {since}Z, or {since}+01:00")
            return revisions.local.at(instant.astimezone(UTC), end)
    except (ValueError, OverflowError) as error:
        raise UgsError(f"{since} is no date", "write 2026-11-02, or 2026-11-02T09:30:00+01:00") from error
    return revisions.local.revision(since)


def _environment(snapshot: Snapshot, name: str) -> Environment:
    if name not in snapshot.environments:
        known = ", ".join(snapshot.environments) or "none"
        raise UgsError(
            f"there is no environment {name} that can be used", f"there are {known}; see `ugs check`"
        )
    return snapshot.environments[name]


def _range(snapshot: Snapshot, service: str, before: str, after: str | None) -> Gain:
    return in_range(snapshot, service, _version(before), _version(after) if after else None)


def _version(text: str) -> Version:
    try:
        return Version(text)
    except ValueError as error:
        raise UgsError(str(error), "write one in full") from error


def _markdown(where: str, found: Sequence[Gain]) -> list[str]:
    lines = [f"# {code(where)}", ""]
    if not found:
        lines += ["Nothing is new."]
    for gain in found:
        lines += [f"## {code(gain.service)} {_step(gain)}", ""]
        for release in gain.releases:
            withdrawn = f" (withdrawn: {code(release.withdrawn.reason)})" if release.withdrawn else ""
            lines += [f"### {code(release.version.text)}{withdrawn}", ""]
            lines += [*(quote(release.notes) if release.notes.strip() else ["No notes."]), ""]
    return lines[:-1] if not lines[-1] else lines


def _step(gain: Gain) -> str:
    if gain.before is None:
        return f"{code(gain.after.text)} (new)"
    step = f"{code(gain.before.text)} → {code(gain.after.text)}"
    return f"{step} (back: what it lost)" if gain.down else step
