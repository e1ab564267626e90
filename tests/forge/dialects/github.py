"""GitHub."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tests.forge.dialects.base import (
    AT,
    Answer,
    Dialect,
    Said,
    comment,
    comments,
    edit_comment,
    page,
    status,
)

if TYPE_CHECKING:
    from tests.forge.server import ForgeServer, Pull

STATES = {"approved": "APPROVED", "rejected": "CHANGES_REQUESTED", "commented": "COMMENTED"}


def _pull(forge: ForgeServer, pull: Pull) -> Said:
    here = {"full_name": forge.full_name}
    return {
        "number": pull.number,
        "node_id": f"PR_{pull.number}",
        "html_url": f"{forge.url}/{forge.repository}/pull/{pull.number}",
        "state": "open" if pull.state == "open" else "closed",
        "merged_at": AT if pull.state == "merged" else None,
        "title": pull.title,
        "body": pull.body or None,
        "user": {"login": pull.author},
        "labels": [{"name": one} for one in pull.labels],
        "head": {
            "ref": pull.branch,
            "sha": forge.head_of(pull),
            "repo": {"full_name": "eve/fleet"} if pull.fork else here,
        },
        "base": {"ref": pull.base, "sha": "", "repo": here},
    }


def _repository(forge: ForgeServer, *_: Any) -> Answer:
    return Answer(200, {"full_name": forge.full_name, "private": True}, {"X-OAuth-Scopes": forge.scopes})


def _run_check(forge: ForgeServer, _: Any, __: Any, said: Said) -> Answer:
    if not forge.app:
        return Answer(403, {"message": "You must authenticate via a GitHub App."})
    number = forge.number()
    forge.checks.setdefault((said["head_sha"], said["name"]), {})[number] = said
    return Answer(201, {"id": number})


def _edit_check(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    for runs in forge.checks.values():
        if found := runs.get(int(match[1])):
            output = said["output"]
            output["annotations"] = found["output"]["annotations"] + output["annotations"]
            found.update(said)
            return Answer(200, {"id": int(match[1])})
    return Answer(404, {"message": "Not Found"})


def _deployments(forge: ForgeServer, _: Any, query: dict[str, str], __: Said) -> Answer:
    found = [
        {"id": number}
        for number, one in forge.deployments.items()
        if one["ref"] == query["sha"] and one["environment"] == query["environment"]
    ]
    return Answer(200, found)


def _deploy(forge: ForgeServer, _: Any, __: Any, said: Said) -> Answer:
    forge.deployments[number := forge.number()] = said | {"states": []}
    return Answer(201, {"id": number})


def _deployed(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    forge.deployments[int(match[1])]["states"].append(said["state"])
    return Answer(201, {"id": forge.number()})


def _pulls(forge: ForgeServer, _: Any, query: dict[str, str], __: Said) -> Answer:
    owner, _, branch = query.get("head", "").partition(":")
    found = [
        one
        for one in forge.pulls.values()
        if query.get("state", "open") in {"all", one.state}
        and (not branch or (one.branch == branch and bool(one.fork) == (owner != "ops")))
        and query.get("base", one.base) == one.base
    ]
    return Answer(200, page([_pull(forge, one) for one in reversed(found)], query))


def _pulls_with(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    return Answer(200, [_pull(forge, one) for one in forge.with_commit(match[1])])


def _open(forge: ForgeServer, _: Any, __: Any, said: Said) -> Answer:
    taken = [one for one in forge.pulls.values() if one.state == "open" and one.branch == said["head"]]
    if taken or not forge.has_branch(said["head"]):
        why = "A pull request already exists" if taken else "head is invalid"
        return Answer(422, {"message": "Validation Failed", "errors": [{"message": why}]})
    number = forge.open(said["head"], title=said["title"], body=said["body"], base=said["base"], author="ugs")
    return Answer(201, _pull(forge, forge.pulls[number]))


def _label(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    forge.pulls[int(match[1])].add(said["labels"])
    return Answer(200, [{"id": 1, "name": one} for one in said["labels"]])


def _unlabel(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    labels = forge.pulls[int(match[1])].labels
    if (name := unquote(match[2])) not in labels:
        return Answer(404, {"message": "Label does not exist"})
    labels.remove(name)
    return Answer(200, [{"id": 1, "name": one} for one in labels])


def _edit_pull(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    pull = forge.pulls[int(match[1])]
    pull.state = said.get("state", pull.state)
    pull.title, pull.body = said.get("title", pull.title), said.get("body", pull.body)
    return Answer(200, _pull(forge, pull))


def _graphql(forge: ForgeServer, _: Any, __: Any, said: Said) -> Answer:
    pull = forge.pulls[int(said["variables"]["pull"].removeprefix("PR_"))]
    why = (
        "Auto merge is not allowed for this repository"
        if not forge.auto_merge
        else "Pull request is in clean status"
        if forge.mergeable
        else ""
    )
    if why:
        return Answer(200, {"data": None, "errors": [{"type": "UNPROCESSABLE", "message": why}]})
    pull.waits_to_merge = True
    return Answer(200, {"data": {"enablePullRequestAutoMerge": {"clientMutationId": None}}})


def _merge(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    pull = forge.pulls[int(match[1])]
    if said.get("sha") not in (None, forge.head_of(pull)):
        return Answer(409, {"message": "Head branch was modified"})
    forge.merge(pull.number)
    return Answer(200, {"sha": pull.merged_as, "merged": True, "message": "merged"})


def _reviews(forge: ForgeServer, match: re.Match[str], query: dict[str, str], _: Said) -> Answer:
    found = [
        {
            "state": "DISMISSED" if one.dismissed else STATES[one.verdict],
            "user": {"login": one.person},
            "commit_id": one.commit,
        }
        for one in forge.pulls[int(match[1])].reviews
    ]
    return Answer(200, page(found, query))


def _permission(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    return Answer(200, {"permission": "write" if match[1] in forge.writers else "read"})


def _members(forge: ForgeServer, match: re.Match[str], query: dict[str, str], _: Said) -> Answer:
    return Answer(200, page([{"login": one} for one in forge.teams[f"{match[1]}/{match[2]}"]], query))


R = "/repos/ops/fleet"
GITHUB = Dialect(
    "/api/v3",
    lambda forge, headers: headers.get("authorization") == f"token {forge.token}",
    [
        ("GET", R, _repository),
        ("GET", rf"{R}/commits/(\w+)/pulls", _pulls_with),
        ("POST", rf"{R}/statuses/(\w+)", status),
        ("POST", rf"{R}/check-runs", _run_check),
        ("PATCH", rf"{R}/check-runs/(\d+)", _edit_check),
        ("GET", f"{R}/deployments", _deployments),
        ("POST", f"{R}/deployments", _deploy),
        ("POST", rf"{R}/deployments/(\d+)/statuses", _deployed),
        ("GET", rf"{R}/issues/(\d+)/comments", comments),
        ("POST", rf"{R}/issues/(\d+)/comments", comment),
        ("PATCH", rf"{R}/issues/comments/(?P<comment>\d+)", edit_comment),
        ("POST", rf"{R}/issues/(\d+)/labels", _label),
        ("DELETE", rf"{R}/issues/(\d+)/labels/([^/]+)", _unlabel),
        ("GET", f"{R}/pulls", _pulls),
        ("POST", f"{R}/pulls", _open),
        ("GET", rf"{R}/pulls/(\d+)", lambda f, m, _q, _s: Answer(200, _pull(f, f.pulls[int(m[1])]))),
        ("PATCH", rf"{R}/pulls/(\d+)", _edit_pull),
        ("PUT", rf"{R}/pulls/(\d+)/merge", _merge),
        ("GET", rf"{R}/pulls/(\d+)/reviews", _reviews),
        ("GET", rf"{R}/collaborators/([^/]+)/permission", _permission),
        ("GET", r"/orgs/([^/]+)/teams/([^/]+)/members", _members),
        ("POST", "/graphql", _graphql),
    ],
)
