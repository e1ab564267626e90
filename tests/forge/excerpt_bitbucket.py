"""Takes what we use of Bitbucket Cloud's published API description into bitbucket.json: its maker publishes no package
of that, and others the types that openapi-typescript generates from its swagger.v3.json (npm: @coderabbitai/bitbucket,
Apache-2.0), which are read, never run.

npm pack @coderabbitai/bitbucket && tar xzf coderabbitai-bitbucket-*.tgz
python -m tests.forge.excerpt_bitbucket package
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from tests.forge.typescript import Types

TYPES = "dist/cloud/openapi/openapi-typescript.d.ts"
REPOSITORY = "/repositories/{workspace}/{repo_slug}"
USED = {
    REPOSITORY: ["get"],
    f"{REPOSITORY}/commit/{{commit}}/pullrequests": ["get"],
    f"{REPOSITORY}/commit/{{commit}}/reports/{{reportId}}": ["put"],
    f"{REPOSITORY}/commit/{{commit}}/reports/{{reportId}}/annotations": ["post"],
    f"{REPOSITORY}/commit/{{commit}}/statuses/build": ["post"],
    f"{REPOSITORY}/pullrequests": ["get", "post"],
    f"{REPOSITORY}/pullrequests/{{pull_request_id}}": ["get", "put"],
    f"{REPOSITORY}/pullrequests/{{pull_request_id}}/activity": ["get"],
    f"{REPOSITORY}/pullrequests/{{pull_request_id}}/comments": ["get", "post"],
    f"{REPOSITORY}/pullrequests/{{pull_request_id}}/comments/{{comment_id}}": ["put"],
    f"{REPOSITORY}/pullrequests/{{pull_request_id}}/commits": ["get"],
    f"{REPOSITORY}/pullrequests/{{pull_request_id}}/decline": ["post"],
    f"{REPOSITORY}/pullrequests/{{pull_request_id}}/merge": ["post"],
    "/workspaces/{workspace}/permissions/repositories/{repo_slug}": ["get"],
}
PAGED = {"page": {"type": "integer"}, "pagelen": {"type": "integer"}}
"""What Bitbucket's introduction says of every list, and the description of some alone."""
SORTED = {"q": {"type": "string"}, "sort": {"type": "string"}}
"""What the introduction says of the lists that "support filtering and sorting"."""
LISTS = re.compile(r".*/(pullrequests|comments|commits|activity|permissions/repositories/\{repo_slug\})")
DESCRIPTION = {"description": {"type": "string"}}
IN_WORDS: dict[str, dict[str, Any]] = {
    f"post {REPOSITORY}/commit/{{commit}}/statuses/build": {"required": ["key", "state", "url"]},
    f"post {REPOSITORY}/commit/{{commit}}/reports/{{reportId}}/annotations": {"minItems": 1, "maxItems": 100},
    f"post {REPOSITORY}/pullrequests": {"properties": DESCRIPTION, "required": ["title", "source"]},
    f"put {REPOSITORY}/pullrequests/{{pull_request_id}}": {"properties": DESCRIPTION},
}
"""What the description says in words and examples alone."""
DEPTH_MAX = 4
"""Below that, what a body holds is left out: users, repositories and projects, of which we send none."""


def short(schema: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """Without what is too deep, and without asking for `type`, by which its objects are told apart: its own examples of
    requests leave it out."""
    if depth > DEPTH_MAX:
        return {}
    made = dict(schema)
    if "properties" in made:
        made["properties"] = {key: short(one, depth + 1) for key, one in made["properties"].items()}
        made["required"] = [one for one in made["required"] if one != "type"]
    if "items" in made:
        made["items"] = short(made["items"], depth + 1)
    return made


def operation(method: str, where: str, types: Types) -> dict[str, Any]:
    key = f"{method} {where}"
    said = types.member("paths", where)["properties"][method]["properties"]
    query = said["parameters"]["properties"]["query"].get("properties", {})
    if method == "get" and LISTS.fullmatch(where):
        sorts = "filtering and sorting" in types.words("paths", where, method)
        query = PAGED | (SORTED if sorts else {}) | query
    body = said.get("requestBody", {}).get("properties", {}).get("content", {}).get("properties", {})
    return {
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": "integer"} if one == {"type": "number"} else one}
            for name, one in query.items()
        ],
        "body": _with(short(body["application/json"]), IN_WORDS.get(key, {})) if body else None,
    }


def _with(schema: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return (
        schema
        | more
        | ({"properties": schema["properties"] | more["properties"]} if "properties" in more else {})
    )


def main(package: Path) -> None:
    types = Types((package / TYPES).read_text())
    lines = [
        f"  {json.dumps(f'{method} {where}')}: {json.dumps(operation(method, where, types))}"
        for where, methods in USED.items()
        for method in methods
    ]
    version = json.loads((package / "package.json").read_text())["version"]
    source = f"@coderabbitai/bitbucket {version}, generated from Bitbucket's swagger.v3.json"
    text = f'{{\n"source": {json.dumps(source)},\n"operations": {{\n' + ",\n".join(lines) + "\n}}\n"
    Path(__file__).with_name("bitbucket.json").write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
