"""GitLab."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.forge.dialects.base import Answer, Dialect, Said, comment, comments, edit_comment, page

if TYPE_CHECKING:
    from tests.forge.server import ForgeServer, Pull


def _pull(forge: ForgeServer, pull: Pull) -> Said:
    return {
        "iid": pull.number,
        "web_url": f"{forge.url}/{forge.repository}/-/merge_requests/{pull.number}",
        "state": "opened" if pull.state == "open" else pull.state,
        "source_branch": pull.branch,
        "target_branch": pull.base,
        "sha": forge.head_of(pull),
        "title": pull.title,
        "description": pull.body or None,
        "author": _account(forge, pull.author),
        "labels": pull.labels,
        "source_project_id": 2 if pull.fork else 1,
        "target_project_id": 1,
    }


def _account(forge: ForgeServer, person: str) -> Said:
    """Whoever it has heard of has a number."""
    return {"id": forge.accounts.setdefault(person, len(forge.accounts) + 1), "username": person}


def _status(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    known = forge.statuses.setdefault((match[1], said["name"]), [])
    if known and known[-1][0] == said["state"]:
        why = f"Cannot transition status via :run from :{said['state']} (Reason(s): Status cannot transition)"
        return Answer(400, {"message": why})
    known.append((said["state"], said["description"]))
    return Answer(201, {"id": forge.number()})


def _pulls(forge: ForgeServer, _: Any, query: dict[str, str], __: Said) -> Answer:
    found = [
        _pull(forge, one)
        for one in reversed(forge.pulls.values())
        if query.get("source_branch", one.branch) == one.branch
        and query.get("target_branch", one.base) == one.base
        and query.get("state", "all").removesuffix("ed") in {"all", one.state, one.state.removesuffix("ed")}
    ]
    return Answer(200, page(found, query))


def _open(forge: ForgeServer, _: Any, __: Any, said: Said) -> Answer:
    if not forge.has_branch(said["source_branch"]):
        return Answer(422, {"message": ["source_branch does not exist"]})
    number = forge.open(
        said["source_branch"],
        title=said["title"],
        body=said["description"],
        base=said["target_branch"],
        author="ugs",
    )
    forge.pulls[number].labels += said["labels"]
    return Answer(201, _pull(forge, forge.pulls[number]))


def _edit_pull(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    pull = forge.pulls[int(match[1])]
    if said.get("state_event") == "close":
        pull.state = "closed"
    pull.title, pull.body = said.get("title", pull.title), said.get("description", pull.body)
    pull.add(said.get("add_labels", []))
    taken = said.get("remove_labels", [])
    pull.labels = [one for one in pull.labels if one not in taken]
    return Answer(200, _pull(forge, pull))


def _merge(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    if not forge.auto_merge:
        return Answer(405, {"message": "405 Method Not Allowed"})
    forge.pulls[int(match[1])].waits_to_merge = True
    return Answer(200, _pull(forge, forge.pulls[int(match[1])]))


def _approvals(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    pull = forge.pulls[int(match[1])]
    return Answer(
        200,
        {
            "approved_by": [
                {"user": _account(forge, one.person), "approved_at": one.at}
                for one in pull.opinions()
                if one.verdict == "approved"
            ]
        },
    )


def _reviewers(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    states = {"approved": "approved", "rejected": "requested_changes", "commented": "reviewed"}
    return Answer(
        200,
        [
            {"user": _account(forge, one.person), "state": states[one.verdict]}
            for one in forge.pulls[int(match[1])].opinions()
        ],
    )


def _versions(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    pull = forge.pulls[int(match[1])]
    forge.head_of(pull)
    found = [{"head_commit_sha": commit, "created_at": at} for commit, at in pull.heads.items()]
    return Answer(200, found[::-1])


def _member(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    for name, number in forge.accounts.items():
        if number == int(match[1]) and name in forge.writers:
            return Answer(200, {"id": number, "username": name, "access_level": 30})
    return Answer(404, {"message": "404 Not found"})


def _members(forge: ForgeServer, match: re.Match[str], query: dict[str, str], _: Said) -> Answer:
    found = forge.teams[match[1].replace("%2F", "/")]
    return Answer(200, page([_account(forge, one) | {"access_level": 30} for one in found], query))


P = "/projects/ops%2Ffleet"
GITLAB = Dialect(
    "/api/v4",
    lambda forge, headers: headers.get("private-token") == forge.token,
    [
        ("GET", P, lambda f, *_: Answer(200, {"path_with_namespace": f.full_name})),
        ("GET", "/personal_access_tokens/self", lambda f, *_: Answer(200, {"scopes": f.scopes.split(", ")})),
        ("POST", rf"{P}/statuses/(\w+)", _status),
        (
            "GET",
            rf"{P}/repository/commits/(\w+)/merge_requests",
            lambda f, m, _q, _s: Answer(200, [_pull(f, one) for one in f.with_commit(m[1])]),
        ),
        ("GET", rf"{P}/merge_requests/(\d+)/notes", comments),
        ("POST", rf"{P}/merge_requests/(\d+)/notes", comment),
        ("PUT", rf"{P}/merge_requests/(\d+)/notes/(?P<comment>\d+)", edit_comment),
        ("GET", f"{P}/merge_requests", _pulls),
        ("POST", f"{P}/merge_requests", _open),
        ("GET", rf"{P}/merge_requests/(\d+)", lambda f, m, _q, _s: Answer(200, _pull(f, f.pulls[int(m[1])]))),
        ("PUT", rf"{P}/merge_requests/(\d+)", _edit_pull),
        ("PUT", rf"{P}/merge_requests/(\d+)/merge", _merge),
        ("GET", rf"{P}/merge_requests/(\d+)/approvals", _approvals),
        ("GET", rf"{P}/merge_requests/(\d+)/reviewers", _reviewers),
        ("GET", rf"{P}/merge_requests/(\d+)/versions", _versions),
        ("GET", rf"{P}/members/all/(\d+)", _member),
        ("GET", r"/groups/([^/]+)/members/all", _members),
    ],
)
