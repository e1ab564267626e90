"""`ugs driver`: what each driver can do, and whether a team's own program keeps to the contract."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.graph import config_option, settings_from, site_of
from reconciler.cli.output import json_option, print_json, print_table
from reconciler.model.errors import ArtifactError, HostError, UgsError

if TYPE_CHECKING:
    from reconciler.config import Settings
    from reconciler.drivers.base import Site
    from reconciler.model.target import Workload

RELEASES = 2


@click.group()
def driver() -> None:
    """Show what each driver can do, or check a program of your own."""


@driver.command("list")
@json_option
def list_drivers(*, as_json: bool) -> None:
    """Show every driver: what it needs of a release, and what it can do."""
    from reconciler.model.engines import ENGINES

    rows: list[dict[str, Any]] = [
        {
            "driver": kind,
            "artifact": engine.artifact,
            "strategies": sorted(engine.strategies),
            "native": sorted(engine.native),
            "commands": engine.commands,
            "measures": engine.measures,
        }
        for kind, engine in ENGINES.items()
    ]
    if as_json:
        print_json({"drivers": rows})
        return
    print_table(list(rows[0]), [[_cell(value) for value in row.values()] for row in rows])


@driver.command()
@click.argument("program")
@click.option(
    "--release",
    "releases",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A manifest in a working tree; given twice, the program is put to work with both.",
)
@config_option
@json_option
def check(program: str, releases: tuple[Path, ...], config: Path | None, *, as_json: bool) -> None:
    """Run a program of engines.command through the contract, in an environment named ugs-check."""
    from reconciler.drivers.command import conformance
    from reconciler.drivers.command.program import granted
    from reconciler.model.codec import builtins

    if len(releases) not in (0, RELEASES):
        raise UgsError(f"{len(releases)} releases do not do", "give two versions of one service, or none")
    settings = settings_from(config)
    with tempfile.TemporaryDirectory(prefix="ugs-check-") as state:
        site = _site(settings, program, Path(state), releases)
        asked = granted(site, program, None)
        works = (_work(site, releases[0]), _work(site, releases[1])) if releases else None
        found = conformance.check(asked, site, works)
    ok = not any(one.trouble for one in found)
    if as_json:
        print_json({"ok": ok, "findings": builtins(found)})
    else:
        for one in found:
            click.echo(
                f"{'not kept' if one.trouble else 'kept'}: {one.rule}"
                + (f": {one.trouble}" if one.trouble else "")
            )
    if not ok:
        raise SystemExit(1)


def _site(settings: Settings, program: str, state: Path, releases: tuple[Path, ...]) -> Site:
    from msgspec.structs import replace

    def blob(_revision: str, path: str) -> bytes:
        try:
            return (releases[0].resolve().parents[2] / path).read_bytes()
        except OSError as error:
            raise ArtifactError(
                f"{path} cannot be read: {error.strerror}", "add it to the working tree"
            ) from error

    engine = settings.engines.get("command", {})
    options = {"program": program}
    return replace(site_of(settings), state=state, blob=blob, options=options, engine=engine)


def _work(site: Site, path: Path) -> Workload:
    """A release as it is checked with, prepared."""
    from reconciler.cli.tree import content
    from reconciler.drivers import command
    from reconciler.drivers.command.conformance import ENVIRONMENT
    from reconciler.model.document import read
    from reconciler.model.environment import Pin
    from reconciler.model.manifest import parse_release
    from reconciler.model.target import workload

    resolved = path.resolve()
    if len(resolved.parents) <= RELEASES:
        raise HostError(f"{path} is no release of a repository", "name releases/SERVICE/VERSION.yaml")
    name = resolved.relative_to(resolved.parents[2]).as_posix()
    release = parse_release(read(content(path), name))
    pin = Pin(service=release.service, version=release.version, place=release.place)
    work = workload(ENVIRONMENT, pin, release, node=f'"{release.version}"')
    command.prepare(site, work, "")
    return work


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)
