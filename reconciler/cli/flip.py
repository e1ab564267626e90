"""A flag switched in a working tree: the one setting edited, the plan shown, the file committed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from reconciler.cli import preview as show
from reconciler.cli.edit import committed, next_step, switch, written
from reconciler.cli.output import print_json
from reconciler.clock import SystemClock
from reconciler.engine.between import between_json
from reconciler.model import splice
from reconciler.model.codec import encode
from reconciler.model.document import read
from reconciler.model.errors import UgsError
from reconciler.model.flags import exactly
from reconciler.model.plan_text import Shown
from reconciler.model.preview import preview
from reconciler.model.release import AnyFlagValue
from reconciler.model.snapshot import Snapshot
from reconciler.model.standing import Standing
from reconciler.model.switching import text_of

SWITCHES = {"true": True, "on": True, "false": False, "off": False}
TAKEN = "what is pinned is taken to run"


class Wanted(Struct, frozen=True):
    """A value, for everybody or for so many percent."""

    value: AnyFlagValue
    percent: float | None = None


def parsed(flag: Standing, text: str) -> AnyFlagValue:
    """The value that a person typed, as the flag's type. Raises UgsError."""
    wanted = exactly(flag.default)
    try:
        match wanted:
            case "true or false":
                return SWITCHES[text.lower()]
            case "text":
                return text
            case "a whole number":
                return int(text)
            case "a number":
                return float(text)
            case _:
                if isinstance(found := json.loads(text), dict):
                    return found
                raise ValueError(text)
    except (KeyError, ValueError) as error:
        example = json.dumps(flag.default, ensure_ascii=False)
        raise UgsError(f"{text}: {flag.name} is {wanted}", f"write it like its default, {example}") from error


def carry_out(
    before: Snapshot,
    folder: Path,
    environment: str,
    flag: str,
    wanted: Wanted | None,
    *,
    branch: str | None,
    no_commit: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Edit, show, commit. None: the setting goes. Raises UgsError."""
    if no_commit and branch is not None:
        raise click.UsageError("--branch makes a commit, and --no-commit makes none")
    path = _file_of(folder, environment)
    original = (folder / path).read_bytes()
    now = (read(original, path).data.get("flags") or {}).get(flag)
    if wanted is None:
        changed = splice.remove_flag(original, path, flag) if now is not None else original
        text = f"Unset {environment} flag {flag}\n"
    else:
        changed = splice.set_flag(original, path, flag, _setting(now, wanted))
        whom = "" if wanted.percent is None else f" for {wanted.percent:g} %"
        text = f"Set {environment} flag {flag} to {text_of(wanted.value)}{whom}\n"
    with written(folder, path, changed, original, before) as after:
        made = preview(before, after, now=SystemClock().now())
        keep = not dry_run and changed != original
        if not keep:
            (folder / path).write_bytes(original)
        elif branch is not None:
            switch(folder, branch)
    commit = committed(folder, path, text) if keep and not no_commit else None
    shown = Shown(made, "before", "after", "repository", TAKEN)
    if as_json:
        print_json(between_json(made, shown.before, shown.after, shown.basis) | {"commit": commit})
    elif changed == original:
        click.echo(f"{path}: {flag} stands so already")
    else:
        show.print_text(shown)
        click.echo(next_step(commit, text, branch) if commit else _left(path, flag, dry_run=dry_run))


def _left(path: str, flag: str, *, dry_run: bool) -> str:
    return f"{path} is as it was" if dry_run else f"{path}: {flag} is edited, and not committed"


def _setting(now: Any, wanted: Wanted) -> Any:
    """The setting that makes it so, given the one that stands in the file."""
    value = wanted.value
    if wanted.percent is None:
        return {"value": value} if isinstance(value, dict) else value
    had = now if isinstance(now, dict) else {} if now is None else {"value": now}
    rules = list(had.get("rules", []))
    if rules and rules[-1].keys() <= {"value", "percent"} and _same(rules[-1].get("value"), value):
        rules.pop()
    elif "value" in had and _same(had["value"], value):
        raise UgsError(
            f"everybody to whom no rule gives another value gets {text_of(value)} already",
            "set first what the others are to get",
        )
    percent = int(wanted.percent) if wanted.percent == int(wanted.percent) else wanted.percent
    return had | {"rules": [*rules, {"value": value, "percent": percent}]}


def _same(one: Any, other: Any) -> bool:
    return encode(one) == encode(other)


def _file_of(folder: Path, environment: str) -> str:
    """The file of the environment's settings."""
    single, foldered = f"environments/{environment}.yaml", f"environments/{environment}/environment.yaml"
    for path in (single, foldered):
        if (folder / path).is_file():
            return path
    raise UgsError(f"there is no environment {environment}", f"it would stand in {single}")
