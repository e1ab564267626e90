"""How each forge speaks of what the stand-in keeps."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.forge.server import ForgeServer, Pull

AT = "2026-11-28T10:00:00Z"
Said = dict[str, Any]
Handle = Callable[["ForgeServer", re.Match[str], dict[str, str], Said], "Answer"]


@dataclass
class Answer:
    status: int
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Dialect:
    prefix: str
    knows: Callable[[ForgeServer, dict[str, str]], bool]
    routes: list[tuple[str, str, Handle]]

    def answer(self, forge: ForgeServer, method: str, path: str, query: dict[str, str], said: Said) -> Answer:
        for verb, pattern, handle in self.routes:
            if verb == method and (match := re.fullmatch(pattern, path)):
                return handle(forge, match, query, said)
        return Answer(404, {"message": "Not Found"})


def _page(found: list[Any], query: dict[str, str], size: str = "per_page") -> list[Any]:
    count, page = int(query.get(size, 30)), int(query.get("page", 1))
    return found[(page - 1) * count : page * count]


# GitHub


def _gh_pull(forge: ForgeServer, pull: Pull) -> Said:
    return {
        "number": pull.number,
        "node_id": f"PR_{pull.number}",
        "html_url": f"{forge.url}/{forge.repository}/pull/{pull.number}",
        "state": "open" if pull.state == "open" else "closed",
        "merged_at": AT if pull.state == "merged" else None,
        "head": {"ref": pull.branch, "sha": forge.head_of(pull)},
        "base": {"ref": pull.base, "sha": ""},
    }


def _gh_repository(forge: ForgeServer, *_: Any) -> Answer:
    return Answer(200, {"full_name": forge.full_name, "private": True}, {"X-OAuth-Scopes": forge.scopes})


def _gh_status(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    known = forge.statuses.setdefault((match[1], said["context"]), [])
    known.append((said["state"], said["description"]))
    return Answer(201, {"id": forge.number()})


def _gh_deployments(forge: ForgeServer, _: Any, query: dict[str, str], __: Said) -> Answer:
    found = [
        {"id": number}
        for number, one in forge.deployments.items()
        if one["ref"] == query["sha"] and one["environment"] == query["environment"]
    ]
    return Answer(200, found)


def _gh_deploy(forge: ForgeServer, _: Any, __: Any, said: Said) -> Answer:
    forge.deployments[number := forge.number()] = said | {"states": []}
    return Answer(201, {"id": number})


def _gh_deployed(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    forge.deployments[int(match[1])]["states"].append(said["state"])
    return Answer(201, {"id": forge.number()})


def _gh_pulls(forge: ForgeServer, _: Any, query: dict[str, str], __: Said) -> Answer:
    found = [
        one for one in forge.pulls.values() if query.get("head", f":{one.branch}").endswith(f":{one.branch}")
    ]
    return Answer(200, [_gh_pull(forge, one) for one in reversed(found)])


def _gh_pulls_with(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    return Answer(200, [_gh_pull(forge, one) for one in forge.with_commit(match[1])])


def _gh_open(forge: ForgeServer, _: Any, __: Any, said: Said) -> Answer:
    taken = [one for one in forge.pulls.values() if one.state == "open" and one.branch == said["head"]]
    if taken or not forge.has_branch(said["head"]):
        why = "A pull request already exists" if taken else "head is invalid"
        return Answer(422, {"message": "Validation Failed", "errors": [{"message": why}]})
    number = forge.open(said["head"], title=said["title"], body=said["body"], base=said["base"])
    return Answer(201, _gh_pull(forge, forge.pulls[number]))


def _gh_label(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    forge.pulls[int(match[1])].labels += said["labels"]
    return Answer(200, [{"id": 1, "name": one} for one in said["labels"]])


def _gh_edit_pull(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    pull = forge.pulls[int(match[1])]
    pull.state = said["state"]
    return Answer(200, _gh_pull(forge, pull))


def _gh_graphql(forge: ForgeServer, _: Any, __: Any, said: Said) -> Answer:
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


def _gh_merge(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    pull = forge.pulls[int(match[1])]
    if said.get("sha") not in (None, forge.head_of(pull)):
        return Answer(409, {"message": "Head branch was modified"})
    forge.merge(pull.number)
    return Answer(200, {"sha": pull.merged_as, "merged": True, "message": "merged"})


def _comments(forge: ForgeServer, match: re.Match[str], query: dict[str, str], _: Said) -> Answer:
    found = [{"id": key, "body": body} for key, body in forge.pulls[int(match[1])].comments.items()]
    return Answer(200, _page(found, query) if query else found)


def _comment(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    forge.pulls[int(match[1])].comments[number := forge.number()] = said["body"]
    return Answer(201, {"id": number})


def _edit_comment(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    for pull in forge.pulls.values():
        if (number := int(match["comment"])) in pull.comments:
            pull.comments[number] = said["body"]
            return Answer(200, {"id": number})
    return Answer(404, {"message": "Not Found"})


R = "/repos/ops/fleet"
GITHUB = Dialect(
    "/api/v3",
    lambda forge, headers: headers.get("authorization") == f"token {forge.token}",
    [
        ("GET", R, _gh_repository),
        ("GET", rf"{R}/commits/(\w+)/pulls", _gh_pulls_with),
        ("POST", rf"{R}/statuses/(\w+)", _gh_status),
        ("GET", f"{R}/deployments", _gh_deployments),
        ("POST", f"{R}/deployments", _gh_deploy),
        ("POST", rf"{R}/deployments/(\d+)/statuses", _gh_deployed),
        ("GET", rf"{R}/issues/(\d+)/comments", _comments),
        ("POST", rf"{R}/issues/(\d+)/comments", _comment),
        ("PATCH", rf"{R}/issues/comments/(?P<comment>\d+)", _edit_comment),
        ("POST", rf"{R}/issues/(\d+)/labels", _gh_label),
        ("GET", f"{R}/pulls", _gh_pulls),
        ("POST", f"{R}/pulls", _gh_open),
        ("GET", rf"{R}/pulls/(\d+)", lambda f, m, _q, _s: Answer(200, _gh_pull(f, f.pulls[int(m[1])]))),
        ("PATCH", rf"{R}/pulls/(\d+)", _gh_edit_pull),
        ("PUT", rf"{R}/pulls/(\d+)/merge", _gh_merge),
        ("POST", "/graphql", _gh_graphql),
    ],
)

# Gitea


def _ge_pull(forge: ForgeServer, pull: Pull) -> Said:
    return {
        "number": pull.number,
        "html_url": f"{forge.url}/{forge.repository}/pulls/{pull.number}",
        "state": "open" if pull.state == "open" else "closed",
        "merged": pull.state == "merged",
        "head": {"ref": pull.branch, "sha": forge.head_of(pull)},
        "base": {"ref": pull.base, "sha": ""},
    }


def _ge_pull_of(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    found = forge.with_commit(match[1])
    return Answer(200, _ge_pull(forge, found[0])) if found else Answer(404, {"message": "not found"})


def _ge_pulls(forge: ForgeServer, _: Any, query: dict[str, str], __: Said) -> Answer:
    found = [_ge_pull(forge, one) for one in reversed(forge.pulls.values())]
    return Answer(200, _page(found, query, "limit"))


def _ge_open(forge: ForgeServer, _: Any, __: Any, said: Said) -> Answer:
    if not forge.has_branch(said["head"]):
        return Answer(404, {"message": "head branch does not exist"})
    number = forge.open(said["head"], title=said["title"], body=said["body"], base=said["base"])
    names = {number: name for name, number in forge.label_ids.items()}
    forge.pulls[number].labels += [names[one] for one in said["labels"]]
    return Answer(201, _ge_pull(forge, forge.pulls[number]))


def _ge_edit_pull(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    forge.pulls[int(match[1])].state = said["state"]
    return Answer(201, _ge_pull(forge, forge.pulls[int(match[1])]))


def _ge_merge(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    if not forge.auto_merge:
        return Answer(405, {"message": "Please try again later"})
    forge.pulls[int(match[1])].waits_to_merge = True
    return Answer(200, "")


def _ge_labels(forge: ForgeServer, *_: Any) -> Answer:
    return Answer(200, [{"id": number, "name": name} for name, number in forge.label_ids.items()])


def _ge_label(forge: ForgeServer, _: Any, __: Any, said: Said) -> Answer:
    forge.label_ids[said["name"]] = number = forge.number()
    return Answer(201, {"id": number, "name": said["name"]})


GITEA = Dialect(
    "/api/v1",
    lambda forge, headers: headers.get("authorization") == f"token {forge.token}",
    [
        (
            "GET",
            R,
            lambda f, *_: Answer(
                200, {"full_name": f.full_name, "permissions": {"push": f.scopes != "read"}}
            ),
        ),
        ("GET", rf"{R}/commits/(\w+)/pull", _ge_pull_of),
        ("POST", rf"{R}/statuses/(\w+)", _gh_status),
        ("GET", rf"{R}/issues/(\d+)/comments", _comments),
        ("POST", rf"{R}/issues/(\d+)/comments", _comment),
        ("PATCH", rf"{R}/issues/comments/(?P<comment>\d+)", _edit_comment),
        (
            "GET",
            f"{R}/pulls",
            _ge_pulls,
        ),
        ("POST", f"{R}/pulls", _ge_open),
        ("PATCH", rf"{R}/pulls/(\d+)", _ge_edit_pull),
        ("POST", rf"{R}/pulls/(\d+)/merge", _ge_merge),
        ("GET", f"{R}/labels", _ge_labels),
        ("POST", f"{R}/labels", _ge_label),
    ],
)

# GitLab


def _gl_pull(forge: ForgeServer, pull: Pull) -> Said:
    return {
        "iid": pull.number,
        "web_url": f"{forge.url}/{forge.repository}/-/merge_requests/{pull.number}",
        "state": "opened" if pull.state == "open" else pull.state,
        "source_branch": pull.branch,
        "target_branch": pull.base,
        "sha": forge.head_of(pull),
    }


def _gl_status(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    known = forge.statuses.setdefault((match[1], said["name"]), [])
    if known and known[-1][0] == said["state"]:
        why = f"Cannot transition status via :run from :{said['state']} (Reason(s): Status cannot transition)"
        return Answer(400, {"message": why})
    known.append((said["state"], said["description"]))
    return Answer(201, {"id": forge.number()})


def _gl_open(forge: ForgeServer, _: Any, __: Any, said: Said) -> Answer:
    if not forge.has_branch(said["source_branch"]):
        return Answer(422, {"message": ["source_branch does not exist"]})
    number = forge.open(
        said["source_branch"], title=said["title"], body=said["description"], base=said["target_branch"]
    )
    forge.pulls[number].labels += [one for one in said["labels"].split(",") if one]
    return Answer(201, _gl_pull(forge, forge.pulls[number]))


def _gl_edit_pull(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    forge.pulls[int(match[1])].state = "closed"
    return Answer(200, _gl_pull(forge, forge.pulls[int(match[1])]))


def _gl_merge(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    if not forge.auto_merge:
        return Answer(405, {"message": "405 Method Not Allowed"})
    forge.pulls[int(match[1])].waits_to_merge = True
    return Answer(200, _gl_pull(forge, forge.pulls[int(match[1])]))


P = "/projects/ops%2Ffleet"
GITLAB = Dialect(
    "/api/v4",
    lambda forge, headers: headers.get("private-token") == forge.token,
    [
        ("GET", P, lambda f, *_: Answer(200, {"path_with_namespace": f.full_name})),
        ("GET", "/personal_access_tokens/self", lambda f, *_: Answer(200, {"scopes": f.scopes.split(", ")})),
        ("POST", rf"{P}/statuses/(\w+)", _gl_status),
        (
            "GET",
            rf"{P}/repository/commits/(\w+)/merge_requests",
            lambda f, m, _q, _s: Answer(200, [_gl_pull(f, one) for one in f.with_commit(m[1])]),
        ),
        ("GET", rf"{P}/merge_requests/(\d+)/notes", _comments),
        ("POST", rf"{P}/merge_requests/(\d+)/notes", _comment),
        ("PUT", rf"{P}/merge_requests/(\d+)/notes/(?P<comment>\d+)", _edit_comment),
        (
            "GET",
            f"{P}/merge_requests",
            lambda f, _m, q, _s: Answer(
                200,
                [_gl_pull(f, one) for one in reversed(f.pulls.values()) if one.branch == q["source_branch"]],
            ),
        ),
        ("POST", f"{P}/merge_requests", _gl_open),
        ("PUT", rf"{P}/merge_requests/(\d+)", _gl_edit_pull),
        ("PUT", rf"{P}/merge_requests/(\d+)/merge", _gl_merge),
    ],
)

DIALECTS = {"github": GITHUB, "gitea": GITEA, "gitlab": GITLAB}
