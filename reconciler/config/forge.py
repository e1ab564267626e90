"""Where pull requests are: what ugs.yaml says under `forge`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from reconciler.config.secret import Secret
from reconciler.config.settings import Bumps, Forge
from reconciler.model.findings import Findings
from reconciler.model.pulls import Limits

AT = ("forge",)
NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+")

Reference = Callable[[dict[str, Any]], Secret]


def forge_of(data: Mapping[str, Any], found: Findings, reference: Reference) -> Forge | None:
    """The forge. `data`, the whole file, fits the schema; what else is wrong is added to `found`."""
    said = data.get("forge")
    if said is None:
        return None
    kind, api, app = said["kind"], said.get("api"), said.get("app")
    if ("token" in said) == (app is not None):
        found.add(AT, "a forge needs either `token` or `app`", "write one of the two")
    elif app is not None and kind != "github":
        found.add((*AT, "app"), f"{kind} has no Apps", "write `token`")
    if kind == "gitea" and api is None:
        found.add(
            AT, "nobody knows where this server is", "add `api`, for example https://git.example/api/v1"
        )
    name = said.get("repository") or name_in(data["repository"]["url"])
    if not name:
        found.add(
            AT, "repository.url does not say how the forge names it", "add `repository`, such as ops/fleet"
        )
    if kind != "gitlab" and name.count("/") > 1:
        found.add(
            AT, f"{name} is no repository there: it is owner/name", "set `repository`, such as ops/fleet"
        )
    return Forge(
        kind=kind,
        repository=name,
        api=api,
        token=reference(said["token"]) if "token" in said else None,
        app=app["id"] if app else 0,
        app_key=reference(app["key"]) if app else None,
        people=said.get("people", {}),
        preview=said.get("preview", True),
        pulls=Limits(**said.get("pulls", {})),
    )


def bumps_of(data: Mapping[str, Any], found: Findings) -> Bumps:
    """Where newer versions may be asked for."""
    if "bumps" not in data:
        return Bumps()
    said = found.timed(("bumps",), ("every",), positive=True)
    return Bumps(
        said.get("every_s", Bumps.every_s),
        tuple(said.get("repositories", ())),
        tuple(said.get("registries", ())),
    )


def name_in(url: str) -> str:
    """`ops/fleet` of a URL or of git@host:path; empty for a path on this machine, and for what is no name."""
    if "://" in url:
        parts = urlsplit(url)
        path = "" if parts.scheme == "file" else parts.path
    else:
        path = "" if url.startswith((".", "/")) else url.partition(":")[2]
    name = path.strip("/").removesuffix(".git")
    return name if NAME.fullmatch(name) else ""
