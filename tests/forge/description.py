"""What a forge's published API description says of a request: which are known, and what they must hold.

`github.json` is GitHub's own, as `excerpt_github.py` takes it, and `gitlab.json` GitLab's (`excerpt_gitlab.py`).
`gitea.json` and `bitbucket.json` are their forges' by way of packages that are generated from them
(`excerpt_gitea.py`, `excerpt_bitbucket.py`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs


class Description:
    def __init__(self, kind: str) -> None:
        said = json.loads(Path(__file__).with_name(f"{kind}.json").read_text())
        self.operations: dict[str, Any] = said["operations"]
        self._routes = [
            (key.partition(" ")[0], re.compile(_pattern(key.partition(" ")[2])), one)
            for key, one in self.operations.items()
        ]

    def problem(self, method: str, path: str, query: dict[str, str], body: Any) -> str:
        """What is wrong with a request; empty where nothing is."""
        if path == "/graphql":
            return "" if isinstance(body, dict) and "query" in body else "no query"
        found = [one for verb, route, one in self._routes if verb == method.lower() and route.fullmatch(path)]
        if not found:
            return f"{method} {path} is not described"
        known = {one["name"]: one for one in found[0]["parameters"] if one["in"] == "query"}
        for name, value in query.items():
            if name not in known:
                return f"{method} {path}: the parameter {name} is not described"
            schema = known[name]["schema"]
            if schema.get("type") == "integer" and not value.isdigit():
                return f"{method} {path}: {name} is no number"
            if "enum" in schema and (wrong := set(value.split(",")) - set(schema["enum"])):
                return f"{method} {path}: {name} must not be {', '.join(sorted(wrong))}"
        schema = found[0]["body"]
        if schema is None:
            return f"{method} {path}: no body is described" if body is not None else ""
        if isinstance(body, dict) and (unknown := set(body) - set(schema.get("properties", body))):
            return f"{method} {path}: {', '.join(sorted(unknown))} is not described"
        errors = [str(error) for error in jsonschema_rs.validator_for(schema).iter_errors(body)]
        return f"{method} {path}: {errors[0]}" if errors else ""


def _pattern(path: str) -> str:
    return re.sub(r"\\\{[A-Za-z_]+\\\}", "[^/]+", re.escape(path))
