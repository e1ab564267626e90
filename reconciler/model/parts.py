"""An environment's files to the typed model: what no schema can say is checked here, each finding with its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model import schema
from reconciler.model.codec import convert, encode
from reconciler.model.document import Document, Path
from reconciler.model.environment import PORT_MAX, Environment, Freeze, Pin, Window
from reconciler.model.errors import InputError, Place, Problem
from reconciler.model.findings import Findings
from reconciler.model.manifest import strategy
from reconciler.model.range import Range
from reconciler.model.switches import setting
from reconciler.model.version import version_of
from reconciler.model.window import check_freeze, check_window, check_zone

VERSIONS_MAX = 10_000
"""An environment's pins name the same few again and again: one text serves them."""


class Part(Struct, frozen=True):
    """What one file says of an environment. `settings` has no pins; it is None in a file of pins alone.

    `nodes` keeps each pin's value as canonical JSON, so that a revert can put it back.
    """

    file: str
    name: str
    settings: Environment | None
    pins: dict[str, Pin]
    nodes: dict[str, str]


class Merged(Struct, frozen=True):
    """An environment's files together. `environment` is None where they do not make one.

    `torn`: services that two files pin; neither pin is in force.
    """

    environment: Environment | None
    nodes: dict[str, str]
    torn: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()


def parse_part(document: Document) -> Part:
    """What one file of an environment says. Raises InputError with its problems."""
    _, folder, *rest = document.file.split("/")
    name = folder.removesuffix(".yaml")
    main = not rest or rest == ["environment.yaml"]
    schema.check(document, "environment" if main else "pins")
    found = Findings(document)
    if document.data.get("environment", name) != name:
        remedy = f"write `environment: {name}`, or move the file"
        found.add(("environment",), "this is not what the file's path says", remedy)
    values = document.data.get("pins", {})
    places = document.quoted_in("pins")
    pins = {
        service: _plain(service, value, places) or _pin(found, service, value)
        for service, value in values.items()
    }
    settings = _settings(found, name) if main else None
    found.settle()
    return Part(
        file=document.file,
        name=name,
        settings=found.converted(settings, Environment) if settings else None,
        pins={
            service: pin if isinstance(pin, Pin) else found.converted(pin, Pin, at=("pins", service))
            for service, pin in pins.items()
        },
        nodes={
            service: version_node(value) if type(value) is str else encode(value).decode()
            for service, value in values.items()
        },
    )


def parse_environment(documents: Iterable[Document]) -> Environment:
    """The environment that one file, or a folder's files, describe. Raises InputError with its problems."""
    parts = [parse_part(document) for document in documents]
    merged = merge(parts)
    if merged.environment is None and not merged.problems:
        raise InputError(main_is_missing(parts[0].name))
    if merged.problems or merged.environment is None:
        raise InputError(*merged.problems)
    return merged.environment


def main_is_missing(name: str) -> Problem:
    """The problem of a folder that pins services and says nothing else of its environment."""
    file = f"environments/{name}/environment.yaml"
    return Problem(Place(file), "", "this file is missing", "add it: it names the driver, windows and policy")


def merge(parts: Iterable[Part], older: Iterable[Part] = ()) -> Merged:
    """One environment from the parts of one name.

    `older` parts stand in for files that are bad now: their pins count only where no current file pins the
    same service.
    """
    current, stale = sorted(parts, key=_file), sorted(older, key=_file)
    mains = [part for part in (*current, *stale) if part.settings is not None]
    if both := _both_forms([*current, *stale]):
        return Merged(None, {}, problems=(both,))
    owners: dict[str, Part] = {}
    problems: dict[str, Problem] = {}
    for part in current:
        twice = {service: owners[service] for service in part.pins if service in owners}
        for service, first in twice.items():
            problems[service] = _pinned_twice(first.pins[service], part.pins[service])
        owners.update(dict.fromkeys(part.pins, part) | twice)
    for part in stale:
        owners.update({service: part for service in part.pins if service not in owners})
    sound = {service: owners[service] for service in sorted(owners) if service not in problems}
    pins = {service: owner.pins[service] for service, owner in sound.items()}
    environment = replace(mains[0].settings, pins=pins) if mains and mains[0].settings else None
    nodes = {service: owner.nodes[service] for service, owner in sound.items()}
    return Merged(environment, nodes, frozenset(problems), tuple(problems.values()))


def _file(part: Part) -> str:
    return part.file


def _both_forms(parts: list[Part]) -> Problem | None:
    single = next((part.file for part in parts if part.file.count("/") == 1), None)
    foldered = next((part.file for part in parts if part.file.count("/") > 1), None)
    if single is None or foldered is None:
        return None
    message = f"both {single} and {foldered} describe this environment"
    return Problem(Place(foldered), "", message, "keep the file or the folder, not both")


def _pinned_twice(first: Pin, second: Pin) -> Problem:
    message = f"{second.service} is pinned here and in {first.place}"
    return Problem(second.place, f"pins.{second.service}", message, "remove one of the two")


def _settings(found: Findings, name: str) -> dict[str, Any]:
    """The environment without its pins, ready to convert."""
    data = found.document.data
    zone = data.get("timezone")
    windows, freezes = data.get("windows", {}), data.get("freezes", [])
    timed = [("windows", kind) for kind, value in windows.items() if isinstance(value, list)]
    timed += [("freezes", index) for index in range(len(freezes))]
    if timed and zone is None:
        remedy = "add for example `timezone: Europe/Berlin`"
        found.add(timed[0], "a window or a freeze needs a time zone", remedy)
    if zone is not None and not found.valid(("timezone",), check_zone):
        zone = None
    settings = {
        "name": name,
        "driver": {
            "kind": data["driver"]["kind"],
            "options": {key: value for key, value in data["driver"].items() if key != "kind"},
        },
        "windows": {kind: _schedule(found, kind, value, zone) for kind, value in windows.items()},
        "freezes": [_freeze(found, index) for index in range(len(freezes))],
        "policy": _policy(found) if "policy" in data else {},
        "flags": {flag: setting(found, flag) for flag in data.get("flags", {})},
        "hosts": data.get("hosts", []),
        "strategy": _moving(found) if "strategy" in data else {},
        "renamed_from": data.get("renamed_from"),
    }
    return settings | ({"timezone": zone} if zone else {})


def _policy(found: Findings) -> dict[str, Any]:
    policy = found.timed(("policy",), ("rollback_within",))
    timed = {"promote": ("soak",), "restore_data": ("within",), "backups": ("for",)}
    return policy | {k: found.timed(("policy", k), keys) for k, keys in timed.items() if k in policy}


def _moving(found: Findings) -> dict[str, Any]:
    if "hosts" not in found.document.data:
        message = "a strategy of the environment says how its hosts move, and it has none"
        found.add(("strategy",), message, "list them under `hosts`, or give the pin a strategy")
    return found.timed(("strategy",), ("progressive",))


def _schedule(found: Findings, kind: str, value: Any, zone: str | None) -> Any:
    if isinstance(value, list):
        return [_window(found, kind, index, zone) for index in range(len(value))]
    return None if value == "always" else value


def _window(found: Findings, kind: str, index: int, zone: str | None) -> dict[str, Any]:
    path: Path = ("windows", kind, index)
    window = found.timed(path, ("duration",), positive=True)
    lasting_a_minute = Window(window["cron"], 60.0, window.get("days"))
    # A wrong zone is a finding of its own; UTC serves to look at the rest.
    found.valid((*path, "cron"), check_window, lasting_a_minute, zone or "UTC")
    return window


def _freeze(found: Findings, index: int) -> dict[str, Any]:
    path: Path = ("freezes", index)
    given = {"from", "until", "cron", "duration", "days"} & found.document.at(path).keys()
    freeze = found.timed(path, ("duration",), positive=True)
    if given not in ({"from", "until"}, {"cron", "duration"}, {"cron", "duration", "days"}):
        found.add(path, "a freeze has either `from` and `until`, or `cron` and `duration`", "write one pair")
    elif "cron" not in freeze or "duration_s" in freeze:
        found.valid(path, check_freeze, convert(freeze, Freeze))
    return freeze


@lru_cache(maxsize=VERSIONS_MAX)
def version_node(version: str) -> str:
    """The value as canonical JSON of a pin that is a version and nothing else."""
    return encode(version).decode()


def _plain(service: str, value: Any, places: Mapping[str, Place]) -> Pin | None:
    """What nearly every pin is: a version in quotes, and nothing else. None where it is more, or wrong."""
    place = places.get(service)
    try:
        return Pin(service, version_of(value), place) if place else None
    except ValueError:
        return None


def _pin(found: Findings, service: str, value: Any) -> dict[str, Any]:
    path: Path = ("pins", service)
    plain = isinstance(value, str)
    found.version(path if plain else (*path, "version"))
    pin = {"version": value} if plain else value | strategy(found, path)
    if "bump" in pin:
        _check_bump(found, (*path, "bump"), pin["bump"])
    if pin.get("port", 0) + pin.get("instances", 1) - 1 > PORT_MAX:
        found.add(path, f"the last instance's port would be above {PORT_MAX}", "lower `port` or `instances`")
    return pin | {"service": service, "place": found.document.place(path)}


def _check_bump(found: Findings, path: Path, bump: dict[str, Any]) -> None:
    found.valid((*path, "range"), Range.parse)
    if bump["from"] == "git-tags" and "repository" not in bump:
        found.add(
            path, "nobody knows whose tags", "add `repository`, such as https://git.example/ops/api.git"
        )
    elif bump["from"] != "git-tags" and "repository" in bump:
        found.add(
            (*path, "repository"),
            f"{bump['from']} has no use for this",
            "write `from: git-tags`, or remove it",
        )
