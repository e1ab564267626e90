"""Takes what we use of GitHub's published API description (npm: @octokit/openapi, MIT) into github.json.

npm pack @octokit/openapi && tar xzf octokit-openapi-*.tgz
python -m tests.forge.excerpt_github package/generated/api.github.com.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

USED = {
    "/repos/{owner}/{repo}": ["get"],
    "/repos/{owner}/{repo}/check-runs": ["post"],
    "/repos/{owner}/{repo}/check-runs/{check_run_id}": ["patch"],
    "/repos/{owner}/{repo}/collaborators/{username}/permission": ["get"],
    "/repos/{owner}/{repo}/commits/{commit_sha}/pulls": ["get"],
    "/repos/{owner}/{repo}/deployments": ["get", "post"],
    "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses": ["post"],
    "/repos/{owner}/{repo}/installation": ["get"],
    "/repos/{owner}/{repo}/issues/comments/{comment_id}": ["patch"],
    "/repos/{owner}/{repo}/issues/{issue_number}/comments": ["get", "post"],
    "/repos/{owner}/{repo}/issues/{issue_number}/labels": ["post"],
    "/repos/{owner}/{repo}/issues/{issue_number}/labels/{name}": ["delete"],
    "/repos/{owner}/{repo}/pulls": ["get", "post"],
    "/repos/{owner}/{repo}/pulls/{pull_number}": ["get", "patch"],
    "/repos/{owner}/{repo}/pulls/{pull_number}/merge": ["put"],
    "/repos/{owner}/{repo}/pulls/{pull_number}/reviews": ["get"],
    "/repos/{owner}/{repo}/statuses/{sha}": ["post"],
    "/orgs/{org}/teams/{team_slug}/members": ["get"],
    "/app/installations/{installation_id}/access_tokens": ["post"],
}
WORDS = {"description", "title", "examples", "example", "x-multi-segment"}


def resolved(node: Any, whole: dict[str, Any]) -> Any:
    """The schema without references, and without words for people."""
    match node:
        case {"$ref": str(ref)}:
            found: Any = whole
            for part in ref.removeprefix("#/").split("/"):
                found = found[part]
            return resolved(found, whole)
        case dict():
            inner = node.get("properties", {}) if isinstance(node.get("type"), str) else {}
            kept = {key: value for key, value in node.items() if key not in WORDS or key in inner}
            made = {
                key: {name: resolved(one, whole) for name, one in value.items()}
                if key == "properties"
                else resolved(value, whole)
                for key, value in kept.items()
            }
            if made.pop("nullable", False) and isinstance(made.get("type"), str):
                made["type"] = [made["type"], "null"]
            return made
        case list():
            return [resolved(one, whole) for one in node]
        case _:
            return node


def operation(said: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    content = said.get("requestBody", {}).get("content", {}).get("application/json", {})
    answers = {}
    for status, given in said["responses"].items():
        answer = resolved_answer(given, whole)
        examples = answer.get("content", {}).get("application/json", {}).get("examples", {})
        if status.startswith("2") and examples:
            answers[status] = [resolved_answer(one, whole)["value"] for one in examples.values()]
    return {
        "parameters": [
            {key: one[key] for key in ("name", "in", "required", "schema") if key in one}
            for one in (resolved(one, whole) for one in said.get("parameters", []))
        ],
        "body": resolved(content["schema"], whole) if content else None,
        "answers": answers,
    }


def resolved_answer(node: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        found: Any = whole
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def main(path: Path) -> None:
    whole = json.loads(path.read_text())
    lines = [
        f"  {json.dumps(f'{method} {where}')}: {json.dumps(operation(whole['paths'][where][method], whole))}"
        for where, methods in USED.items()
        for method in methods
    ]
    source = f"@octokit/openapi {whole['info']['version']}: {path.name}"
    text = f'{{\n"source": {json.dumps(source)},\n"operations": {{\n' + ",\n".join(lines) + "\n}}\n"
    Path(__file__).with_name("github.json").write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
