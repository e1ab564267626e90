"""A release's manifest to the typed model: what no schema can say is checked here, each finding with its place."""

from __future__ import annotations

from datetime import date
from typing import Any

from reconciler.model import schema
from reconciler.model.codec import encode
from reconciler.model.container import check_container
from reconciler.model.data import parse_data
from reconciler.model.document import Document, Path
from reconciler.model.findings import Findings
from reconciler.model.health import parse_health
from reconciler.model.range import Range
from reconciler.model.release import Health, Release, Run


def parse_release(document: Document) -> Release:
    """The release that a manifest describes. Raises InputError with its problems."""
    schema.check(document, "release")
    found = Findings(document)
    data = dict(document.data)
    found.version(("version",))
    expected = f"releases/{data['service']}/{data['version']}.yaml"
    if document.file != expected:
        remedy = f"move it to {expected}, or correct `service` and `version`"
        found.add(("service",), "this is not what the file's path says", remedy)
    for service in data.get("requires", {}):
        found.valid(("requires", service), Range.parse)
    if "from" in data.get("upgrade", {}):
        found.valid(("upgrade", "from"), Range.parse)
    if data.get("upgrade", {}).get("barrier") and "dead_end" in data["upgrade"]:
        message = "nobody could go on from a barrier that is a dead end"
        found.add(("upgrade", "dead_end"), message, "remove it, or `barrier`")
    if "withdrawn" in data:
        found.valid(("withdrawn", "since"), date.fromisoformat)
    _check_paths(found, data)
    if "archive" in data["artifact"] and not data.get("run", {}).get("command"):
        message = "an archive does not say how it is started"
        found.add(("run",) if "run" in data else (), message, 'add `run: {command: ["bin/api"]}`')
    if "run" in data:
        check_container(found, data)
        data["run"] = found.once("run", _run, Run)
    data |= strategy(found, ())
    for flag, said in data.get("flags", {}).items():
        if isinstance(said["default"], dict) and not said.get("live"):
            message = "a process cannot be given a mapping"
            found.add(("flags", flag, "default"), message, "add `live: true`, or write a plain value")
    if "health" in data:
        data["health"] = found.once("health", parse_health, Health)
    data |= parse_data(found)
    return found.converted(data | {"place": document.place(())}, Release)


def _run(found: Findings) -> dict[str, Any]:
    run = found.timed(("run",), ("stop_grace",))
    if "systemd" in run:
        run["systemd"] = found.timed(("run", "systemd"), ("watchdog",), positive=True)
    return run


def strategy(found: Findings, path: Path) -> dict[str, Any]:
    """`strategy` as a name, and how it goes on, from the mapping that it stands in."""
    data = found.document.at(path)
    said = data.get("strategy")
    if not isinstance(said, dict):
        return {}
    at: Path = (*path, "strategy")
    kinds = [kind for kind in ("rolling", "canary") if kind in said]
    if len(kinds) != 1:
        found.add(
            at,
            "a strategy is either `rolling` or `canary`",
            "write for example {canary: [1, 50%], pause: 10m}",
        )
        return {"strategy": None}
    timed = found.timed(at, ("pause",))
    rollout = {"pause_s": timed["pause_s"]} if "pause_s" in timed else {}
    named = {"rolling": "batch", "canary": "canary"}
    return {"strategy": kinds[0], "rollout": rollout | {named[kinds[0]]: said[kinds[0]]}}


def _check_paths(found: Findings, data: dict[str, Any]) -> None:
    """Paths stay inside their folders, and one config key has one value whichever file declares it."""
    archive = data["artifact"].get("archive", {})
    for key, example in (("url", "api-1.5.0.tar.gz"), ("signature", "api-1.5.0.tar.gz.minisig")):
        url = archive.get(key, example)
        if not (url.startswith(("https://", "http://", "file:")) or _inside(url)):
            message = "this is neither an https: or file: URL nor a path inside the repository"
            found.add(("artifact", "archive", key), message, f"write for example releases/api/{example}")
    declared: dict[str, Any] = {}
    for index, file in enumerate(data.get("config", [])):
        if not _inside(file["path"]):
            message = "this is not a path inside the release"
            found.add(("config", index, "path"), message, "write for example etc/api.toml")
        for key, value in file.get("values", {}).items():
            if encode(declared.setdefault(key, value)) != encode(value):
                message = "another file declares this key with another value"
                found.add(("config", index, "values", key), message, "use one value, or two keys")


def _inside(path: str) -> bool:
    """Whether a relative path stays in its folder, whatever system reads it."""
    return not {"", ".", ".."} & set(path.split("/")) and not any(sign in path for sign in ":\\\n")
