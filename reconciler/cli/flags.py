"""`ugs flags`: what is in force, how it came to be, what somebody gets, and a switch by a commit."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import click

from reconciler.cli import client
from reconciler.cli.edit import commit_options, tree_option
from reconciler.cli.graph import config_option, daemon_at, settings_from, store_of
from reconciler.cli.output import json_option, print_json, print_table, when
from reconciler.cli.tree import read_tree
from reconciler.config.elsewhere import Elsewhere
from reconciler.model.errors import UgsError
from reconciler.model.evaluation import evaluate as evaluated
from reconciler.model.flip import Wanted, parsed
from reconciler.model.snapshot import Snapshot
from reconciler.model.standing import Standing, standings
from reconciler.model.switching import evaluated_json, standing_json, told

F = TypeVar("F", bound=Callable[..., Any])
LIMIT = 20
HISTORY_MAX = 1000
DEFAULT = "list"


class Flags(click.Group):
    """`ugs flags …` without a verb of its own is `ugs flags list …`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {*self.commands, *self.get_help_option_names(ctx)}
        return super().parse_args(ctx, args if args and args[0] in own else [DEFAULT, *args])


def folder_option(command: F) -> F:
    """`--repository`: what a working tree says, in place of what the daemon has in force."""
    return click.option(
        "--repository",
        "folder",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="What this working tree says, without a daemon.",
    )(command)


@click.group(cls=Flags)
def flags() -> None:
    """Flags: who gets what, since when and by whom. Without a verb: list."""


@flags.command("list")
@click.argument("environment", required=False)
@folder_option
@config_option
@json_option
def list_flags(environment: str | None, folder: Path | None, config: Path | None, *, as_json: bool) -> None:
    """Show the flags that are in force, who switched each, and what waits or is needed no longer."""
    if folder is not None:
        snapshot = read_tree(folder)
        names = [environment] if environment else sorted(snapshot.environments)
        found = [one for name in names for one in _listed(snapshot, name)]
    else:
        query = f"?{urlencode({'environment': environment})}" if environment else ""
        found = client.call(daemon_at(config), "GET", f"/flags{query}")["flags"]
    if as_json:
        print_json({"flags": found})
        return
    columns = ("environment", "flag", "of", "everybody gets", "default", "switched", "by", "")
    print_table(columns, [_row(one) for one in found])


@flags.command()
@click.argument("environment", required=False)
@click.argument("flag", required=False)
@click.option("--limit", type=click.IntRange(1, HISTORY_MAX), default=LIMIT, show_default=True)
@config_option
@json_option
def history(
    environment: str | None, flag: str | None, limit: int, config: Path | None, *, as_json: bool
) -> None:
    """Show how flags came to stand as they do, the newest first, whether or not a daemon runs."""
    at = daemon_at(config)
    rows = _asked(at, environment, flag, limit) if isinstance(at, Elsewhere) else None
    if rows is None:
        from reconciler.engine.flags import row_json

        with contextlib.closing(store_of(settings_from(config))) as store:
            rows = [row_json(row) for row in store.flag_history(environment, flag, limit=limit)]
    if as_json:
        print_json({"history": rows})
        return
    print_table(
        ("since", "environment", "flag", "everybody gets", "by", "commit"),
        [
            (
                when(row["since"]),
                row["environment"],
                row["flag"],
                told(row["standing"]) if row["standing"] else "gone: nothing declares it",
                row["author"] or "-",
                row["revision"][:12],
            )
            for row in rows
        ],
    )


@flags.command()
@click.argument("environment")
@click.argument("flag")
@click.option(
    "--context",
    "pairs",
    metavar="NAME=VALUE",
    multiple=True,
    help='An attribute; VALUE is JSON where it can be read so ("18" in quotes is text), else text.',
)
@folder_option
@config_option
@json_option
def evaluate(
    environment: str,
    flag: str,
    pairs: Sequence[str],
    folder: Path | None,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    """Say what somebody gets of a flag, and why. Exit code 1 when it is an error."""
    context = dict(_attribute(pair) for pair in pairs)
    if folder is not None:
        found = evaluated_json(environment, evaluated(_one(read_tree(folder), environment, flag), context))
    else:
        body = {"environment": environment, "flag": flag, "context": context}
        found = client.call(daemon_at(config), "POST", "/flags/evaluate", body)
    if as_json:
        print_json(found)
    elif found["error_code"]:
        click.echo(f"{found['error_code']}: {found['error_details']}")
    else:
        click.echo(f"{json.dumps(found['value'], ensure_ascii=False)} ({found['reason']})")
    sys.exit(1 if found["error_code"] else 0)


@flags.command("set")
@click.argument("environment")
@click.argument("flag")
@click.argument("value")
@click.option(
    "--percent",
    type=click.FloatRange(0, 100),
    help="For so many of all to whom no earlier rule gives a value; the rest get what they got.",
)
@tree_option
@commit_options
@click.option("--dry-run", is_flag=True, help="Show the plan, and leave everything as it is.")
@json_option
def set_value(
    environment: str,
    flag: str,
    value: str,
    percent: float | None,
    folder: Path,
    branch: str | None,
    *,
    no_commit: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Set a flag to VALUE in an environment's file, show the plan, and commit it on the current branch.

    Without --percent everybody gets it, and rules go. Refuses what `ugs check` would refuse.
    """
    from reconciler.cli import flip

    found = read_tree(folder)
    wanted = Wanted(parsed(_one(found, environment, flag), value), percent)
    flip.carry_out(
        found,
        folder,
        environment,
        flag,
        wanted,
        branch=branch,
        no_commit=no_commit,
        dry_run=dry_run,
        as_json=as_json,
    )


@flags.command()
@click.argument("environment")
@click.argument("flag")
@tree_option
@commit_options
@click.option("--dry-run", is_flag=True, help="Show the plan, and leave everything as it is.")
@json_option
def unset(
    environment: str,
    flag: str,
    folder: Path,
    branch: str | None,
    *,
    no_commit: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take what an environment sets of a flag out of its file: the release's default counts again."""
    from reconciler.cli import flip

    flip.carry_out(
        read_tree(folder),
        folder,
        environment,
        flag,
        None,
        branch=branch,
        no_commit=no_commit,
        dry_run=dry_run,
        as_json=as_json,
    )


def _asked(at: Elsewhere, environment: str | None, flag: str | None, limit: int) -> list[dict[str, Any]]:
    """Of another machine's daemon."""
    about = {name: value for name, value in (("environment", environment), ("flag", flag)) if value}
    query = urlencode(about | {"limit": str(limit)})
    found: list[dict[str, Any]] = client.call(at, "GET", f"/flags/history?{query}")["history"]
    return found


def _standings(snapshot: Snapshot, environment: str) -> dict[str, Standing]:
    """What a tree says of an environment's flags."""
    place = snapshot.environments.get(environment)
    if place is None:
        known = ", ".join(snapshot.environments) or "none"
        raise UgsError(
            f"there is no environment {environment} that can be used", f"there are {known}; see `ugs check`"
        )
    releases = [snapshot.releases[pin.service, pin.version.text] for pin in place.pins.values()]
    return standings(releases, place.flags, {}, {})


def _listed(snapshot: Snapshot, environment: str) -> list[dict[str, Any]]:
    found = _standings(snapshot, environment)
    pins = snapshot.environments[environment].pins.values()
    releases = [snapshot.releases[pin.service, pin.version.text] for pin in pins]
    return [standing_json(environment, one, releases) for one in found.values()]


def _one(snapshot: Snapshot, environment: str, flag: str) -> Standing:
    found = _standings(snapshot, environment)
    if flag not in found:
        known = ", ".join(found) or "none"
        raise UgsError(
            f"no release that is pinned in {environment} declares the flag {flag}", f"they declare {known}"
        )
    return found[flag]


def _attribute(pair: str) -> tuple[str, Any]:
    name, equals, text = pair.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--context")
    try:
        return name, json.loads(text)
    except ValueError:
        return name, text


def _row(flag: dict[str, Any]) -> tuple[str, ...]:
    aside = []
    if flag["pending"]:
        reasons = "; ".join(gate["reason"] for gate in flag["gates"])
        aside.append(f"{told(flag['pending'])} waits: {reasons}")
    if flag["needed_by"]:
        aside.append(f"only needed by {', '.join(flag['needed_by'])}")
    return (
        flag["environment"],
        flag["flag"],
        ", ".join(flag["services"]),
        told(flag),
        told({"value": flag["default"], "rules": []}),
        when(flag["since"]) if flag["author"] else "-",
        flag["author"] or "-",
        "; ".join(aside) or ("" if flag["live"] else "given to processes"),
    )
