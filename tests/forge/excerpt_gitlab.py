"""Takes what we use of GitLab's published API description into gitlab.json. It is published in its source repository
alone (doc/api/openapi/openapi_v3.yaml; a mirror is github.com/gitlabhq/gitlabhq).

python -m tests.forge.excerpt_gitlab openapi_v3.yaml 'gitlabhq/gitlabhq COMMIT'
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.forge.excerpt_github import resolved

API = "/api/v4"
PROJECT = "/projects/{id}"
REQUESTS = f"{PROJECT}/merge_requests"
REQUEST = f"{REQUESTS}/{{merge_request_iid}}"
NOTES = f"{REQUESTS}/{{noteable_id}}/notes"
USED = {
    "/groups/{id}/members/all": ["get"],
    "/personal_access_tokens/self": ["get"],
    PROJECT: ["get"],
    f"{PROJECT}/members/all/{{user_id}}": ["get"],
    REQUESTS: ["get", "post"],
    REQUEST: ["get", "put"],
    f"{REQUEST}/approvals": ["get"],
    f"{REQUEST}/merge": ["put"],
    f"{REQUEST}/reviewers": ["get"],
    f"{REQUEST}/versions": ["get"],
    NOTES: ["get", "post"],
    f"{NOTES}/{{note_id}}": ["put"],
    f"{PROJECT}/repository/commits/{{sha}}/merge_requests": ["get"],
    f"{PROJECT}/statuses/{{sha}}": ["post"],
}
SAID_OF_LISTS = {"page": "integer", "per_page": "integer"}
"""What docs.gitlab.com/api/rest says of every list, and the description of most."""
IN_WORDS = {
    f"post {PROJECT}/statuses/{{sha}}": {"description": {"maxLength": 255}},
    f"post {REQUESTS}": {"description": {"maxLength": 1_048_576}},
    f"put {REQUEST}": {"description": {"maxLength": 1_048_576}},
    f"post {NOTES}": {"body": {"maxLength": 1_000_000}},
    f"put {NOTES}/{{note_id}}": {"body": {"maxLength": 1_000_000}},
}
"""What the description, or docs.gitlab.com, says in words alone."""


def operation(key: str, said: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    answer = said["responses"].get("200", {}).get("content", {}).get("application/json", {}).get("schema", {})
    query = {
        one["name"]: resolved(one["schema"], whole)
        for one in said.get("parameters", [])
        if one["in"] == "query"
    }
    if answer.get("type") == "array":
        query = query | {name: {"type": kind} for name, kind in SAID_OF_LISTS.items() if name not in query}
    content = said.get("requestBody", {}).get("content", {}).get("application/json", {})
    body: dict[str, Any] | None = resolved(content["schema"], whole) if content else None
    if body:
        for name, more in IN_WORDS.get(key, {}).items():
            body["properties"][name] |= more
    return {
        "parameters": [{"name": name, "in": "query", "schema": one} for name, one in query.items()],
        "body": body,
    }


def main(path: Path, had_from: str) -> None:
    whole = YAML(typ="safe").load(path)
    keys = {f"{method} {where}": (method, where) for where, methods in USED.items() for method in methods}
    lines = [
        f"  {json.dumps(key)}: {json.dumps(operation(key, whole['paths'][API + where][method], whole))}"
        for key, (method, where) in keys.items()
    ]
    source = f"{had_from}: doc/api/openapi/openapi_v3.yaml, GitLab {whole['info']['version']}"
    text = f'{{\n"source": {json.dumps(source)},\n"operations": {{\n' + ",\n".join(lines) + "\n}}\n"
    Path(__file__).with_name("gitlab.json").write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
