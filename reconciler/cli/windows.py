"""`ugs windows`: when an environment may change, asked of a folder."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
from msgspec.structs import replace

from reconciler.cli.availability import print_overview, row
from reconciler.cli.output import json_option, print_json, print_table
from reconciler.cli.tree import content, read_tree
from reconciler.clock import SystemClock
from reconciler.engine.windows import CLASSES, answer, overview, year_shape
from reconciler.model.calendar import TooOften, events
from reconciler.model.cron import Disagreement
from reconciler.model.document import read
from reconciler.model.environment import ChangeClass, Environment
from reconciler.model.errors import HostError, InputError, Problem, UgsError
from reconciler.model.expectation import expected_s
from reconciler.model.lint import lint
from reconciler.model.parts import parse_environment
from reconciler.model.snapshot import Snapshot
from reconciler.model.year import year_of
from reconciler.model.zone import YEARS, parse_instant

F = TypeVar("F", bound=Callable[..., Any])
DAYS_MAX = 3_660
THIS_YEAR = 0


class At(NamedTuple):
    """An instant, and how it was written."""

    text: str
    instant: datetime


def instant(text: str) -> At:
    """An option's value, in RFC 3339 with its offset."""
    try:
        return At(text, parse_instant(text))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


class Windows(click.Group):
    """`ugs windows …` without a verb of its own is `ugs windows show …`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self.commands, *self.get_help_option_names(ctx)}:
            args = ["show", *args]
        return super().parse_args(ctx, args)


def asked_of(command: F) -> F:
    """`[ENVIRONMENT]` and `--repository`: which environments, of which folder."""
    argument = click.argument("environment", required=False)
    option = click.option(
        "--repository",
        "folder",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        default=".",
        show_default=True,
        help="The folder with environments/ and releases/.",
    )
    return argument(option(command))


@click.group(cls=Windows)
def windows() -> None:
    """When a change of each class may start, by windows and freezes. Without a verb: show."""


@windows.command()
@asked_of
@click.option("--at", type=instant, help="Then instead of now, such as 2026-10-25T02:30:00+01:00.")
@click.option(
    "--year",
    type=int,
    is_flag=False,
    flag_value=THIS_YEAR,
    help="A calendar of this year, or of the given one.",
)
@json_option
def show(environment: str | None, folder: Path, at: At | None, year: int | None, *, as_json: bool) -> None:
    """Show what is open, when each class opens and closes next, and what is frozen."""
    now = at.instant if at else SystemClock().now()
    if year is not None and year not in (THIS_YEAR, *YEARS[:-1]):
        raise click.BadParameter(f"{year} is not between {YEARS[0]} and {YEARS[-2]}", param_hint="--year")
    found, unreadable = environments(read_tree(folder), environment)
    if year is not None:
        _show_year(found, year or now.year, as_json=as_json)
    elif as_json:
        print_json({"at": now.isoformat(), "environments": [overview(one, now) for one in found]})
    else:
        for index, one in enumerate(found):
            click.echo("\n" * bool(index), nl=False)
            print_overview(one, now)
    _end(unreadable)


@windows.command("lint")
@asked_of
@json_option
def examine(environment: str | None, folder: Path, *, as_json: bool) -> None:
    """Find windows that are legal and hardly meant. Exit code 1 for errors, 0 for nothing but warnings."""
    snapshot, now = read_tree(folder), SystemClock().now()
    found, unreadable = environments(snapshot, environment)
    told = [("error", problem) for problem in unreadable]
    for one in found:
        file = _file_of(folder, one.name)
        document = read(content(folder / file), file)
        told += [
            (finding.severity, document.problem(finding.path, finding.message, finding.remedy))
            for finding in lint(one, _expected_s(snapshot, one), now=now)
        ]
    errors = sum(severity == "error" for severity, _ in told)
    if as_json:
        print_json({"ok": not errors, "findings": [_finding(*each) for each in told]})
    else:
        for severity, problem in told:
            place = f"{problem.place}: "
            click.echo(f"{place}{severity}: {str(problem).removeprefix(place)}")
        click.echo(f"errors: {errors}, warnings: {len(told) - errors}")
    sys.exit(1 if errors else 0)


@windows.command()
@asked_of
@click.option("--ics", flag_value="ics", required=True, expose_value=False, help="As iCalendar.")
@click.option(
    "--days", type=click.IntRange(1, DAYS_MAX), default=400, show_default=True, help="So far ahead."
)
@click.option("--until", type=instant, help="So far ahead instead.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file instead of stdout."
)
def export(environment: str | None, folder: Path, days: int, until: At | None, output: Path | None) -> None:
    """Export every opening and every freeze to come, for people's calendars."""
    from reconciler.feed import rendered

    now = SystemClock().now()
    end = until.instant if until else now + timedelta(days=days)
    if not timedelta() < end - now <= timedelta(days=DAYS_MAX):
        raise click.BadParameter(f"name an instant within the next {DAYS_MAX} days", param_hint="--until")
    found, unreadable = environments(read_tree(folder), environment)
    with _listing("ask for a shorter time with --days or --until"):
        listed = [event for one in found for event in events(one, since=now, until=end)]
    data = rendered(f"UGS {environment}" if environment else "UGS", listed, now=now)
    if output is None:
        click.echo(data, nl=False)
    else:
        try:
            output.write_bytes(data)
        except OSError as error:
            raise HostError(f"{output} cannot be written: {error.strerror}", "name another file") from error
    _end(unreadable)


@windows.command()
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--class", "change_class", type=click.Choice(CLASSES), required=True, help="Of such a change.")
@click.option("--at", "instants", type=instant, multiple=True, help="Any number of them; by default now.")
@json_option
def test(file: Path, change_class: ChangeClass, instants: tuple[At, ...], *, as_json: bool) -> None:
    """Say whether a change could start at each instant, by an environment's FILE (or folder) anywhere."""
    environment, now = environment_at(file), SystemClock().now()
    asked = instants or (At(now.isoformat(), now),)
    results = [{"at": at.text, **answer(environment, change_class, at.instant)} for at in asked]
    if as_json:
        print_json({"results": results})
    else:
        rows = [(one["at"], *row(environment, one)) for one in results]
        print_table(("at", "then", "opens", "closes", "why"), rows)


def environments(snapshot: Snapshot, name: str | None) -> tuple[list[Environment], list[Problem]]:
    """The one of that name, or all; and what keeps others from being read. Raises UgsError for an unknown name."""
    unreadable = [
        problem
        for problem in snapshot.problems
        if (found := _environment_of(problem.place.file)) and found not in snapshot.environments
    ]
    if name is None:
        return list(snapshot.environments.values()), unreadable
    if name in snapshot.environments:
        return [snapshot.environments[name]], []
    if why := [problem for problem in unreadable if _environment_of(problem.place.file) == name]:
        raise InputError(*why)
    known = ", ".join(snapshot.environments) or "none"
    raise UgsError(f"there is no environment {name}", f"there are {known}; see `ugs check`")


def environment_at(path: Path) -> Environment:
    """The environment that a file or folder describes, whatever it is called. Raises InputError and HostError."""
    file = path / "environment.yaml" if path.is_dir() else path
    document = read(content(file), str(file))
    name = document.data.get("environment")
    named = name if isinstance(name, str) and "/" not in name else "environment"
    try:
        return parse_environment([dataclasses.replace(document, file=f"environments/{named}.yaml")])
    except InputError as error:
        problems = [replace(one, place=replace(one.place, file=str(file))) for one in error.problems]
        raise InputError(*problems) from error


def _show_year(found: Iterable[Environment], year: int, *, as_json: bool) -> None:
    from reconciler.cli.almanac import print_year

    with _listing("write fewer and longer windows"):
        years = [(one, year_of(one, year)) for one in found]
    if as_json:
        print_json({"environments": [year_shape(*each) for each in years]})
        return
    for index, (one, shown) in enumerate(years):
        click.echo("\n" * bool(index), nl=False)
        click.echo(f"{one.name} {year} ({one.timezone or 'UTC'})")
        print_year(shown)


@contextmanager
def _listing(remedy: str) -> Iterator[None]:
    try:
        yield
    except TooOften as often:
        raise UgsError(str(often), remedy) from often
    except Disagreement as doubt:
        raise UgsError(str(doubt), "this is a bug in UGS, please report it") from doubt


def _expected_s(snapshot: Snapshot, environment: Environment) -> dict[str, float]:
    """What a manifest lets an upgrade take, in seconds, by what is pinned here."""
    releases = [snapshot.releases[name, pin.version.text] for name, pin in environment.pins.items()]
    return {f"{release.service} {release.version}": expected_s((), release) for release in releases}


def _file_of(folder: Path, name: str) -> str:
    single = f"environments/{name}.yaml"
    return single if (folder / single).is_file() else f"environments/{name}/environment.yaml"


def _environment_of(file: str) -> str:
    """The environment that a file is about; empty for other files."""
    top, _, rest = file.partition("/")
    return rest.partition("/")[0].removesuffix(".yaml").removesuffix(".yml") if top == "environments" else ""


def _finding(severity: str, problem: Problem) -> dict[str, Any]:
    return {
        "severity": severity,
        "environment": _environment_of(problem.place.file),
        "file": problem.place.file,
        "line": problem.place.line,
        "column": problem.place.column,
        "path": problem.path,
        "message": problem.message,
        "remedy": problem.remedy,
    }


def _end(problems: list[Problem]) -> None:
    """Tell on stderr what could not be read. Exit code 1 when there is any."""
    for problem in problems:
        click.echo(str(problem), err=True)
    sys.exit(1 if problems else 0)
