"""`ugs check`: is everything in this repository right?"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

import click

from reconciler.cli.output import working
from reconciler.cli.tree import content, read_tree
from reconciler.config.caches import cache_folder
from reconciler.model.codec import builtins
from reconciler.model.document import read
from reconciler.model.errors import InputError, Problem
from reconciler.model.floors import Program
from reconciler.model.sentence import count

Format = Literal["text", "json", "github"]


@click.command()
@click.argument(
    "folder", metavar="[PATH]", type=click.Path(exists=True, file_okay=False, path_type=Path), default="."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="github annotates a pull request.",
)
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.option(
    "--programs",
    "with_programs",
    is_flag=True,
    help="Also hold this machine's git and SQLite against the versions that a daemon should have.",
)
@click.pass_context
def check(context: click.Context, folder: Path, form: Format, *, with_programs: bool) -> None:
    """Validate the repository in PATH: releases, environments, and ugs.yaml where there is one.

    Exit code 1 when something is wrong.
    """
    with working("reading"):
        problems, summary = checked(folder)
    found = _programs() if with_programs else ()
    match form:
        case "json":
            there = {"programs": builtins(found)} if with_programs else {}
            click.echo(json.dumps(as_json(problems) | there, indent=2, ensure_ascii=False))
        case "github":
            for problem in problems:
                click.echo(annotation(folder, problem))
        case _:
            for problem in problems:
                click.echo(str(problem))
            click.echo(summary)
            for one in found:
                click.echo("\n".join(one.lacks) or f"{one.program} {one.version}: fine")
    context.exit(1 if problems or any(one.lacks for one in found) else 0)


def _programs() -> tuple[Program, ...]:
    from reconciler.cli.programs import programs

    return programs()


def checked(folder: Path) -> tuple[tuple[Problem, ...], str]:
    """What is wrong in a folder, and one line that sums it up."""
    problems = _settings_problems(folder)
    try:
        snapshot = read_tree(folder, cache_folder(os.environ))
    except InputError as error:
        return (*error.problems, *problems), "the repository cannot be read"
    problems = (*snapshot.problems, *problems)
    counts = f"{count(len(snapshot.releases), 'release')}, {count(len(snapshot.environments), 'environment')}"
    if problems:
        return problems, f"{count(len(problems), 'problem')} beside {counts}"
    return (), f"{counts}: fine"


def as_json(problems: tuple[Problem, ...]) -> dict[str, object]:
    """The documented shape."""
    errors = [
        {
            "file": problem.place.file,
            "line": problem.place.line,
            "column": problem.place.column,
            "path": problem.path,
            "message": problem.message,
            "remedy": problem.remedy,
        }
        for problem in problems
    ]
    return {"ok": not errors, "errors": errors}


def annotation(folder: Path, problem: Problem) -> str:
    """A GitHub workflow command; its files are named from the current folder."""
    place = problem.place
    file = _escaped((folder / place.file).as_posix()).replace(":", "%3A").replace(",", "%2C")
    path = f"{problem.path}: " if problem.path else ""
    text = _escaped(f"{path}{problem.message}; {problem.remedy}")
    return f"::error file={file},line={place.line},col={place.column}::{text}"


def _settings_problems(folder: Path) -> tuple[Problem, ...]:
    file = folder / "ugs.yaml"
    if not file.is_file():
        return ()
    from reconciler.config import parse

    try:
        parse(read(content(file), "ugs.yaml"), file.resolve(), {})
    except InputError as error:
        return error.problems
    return ()


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
