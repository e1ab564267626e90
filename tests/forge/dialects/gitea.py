"""Gitea."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.forge.dialects.base import Answer, Dialect, Said, comment, comments, edit_comment, page, status

if TYPE_CHECKING:
    from tests.forge.server import ForgeServer, Pull

STATES = {"approved": "APPROVED", "rejected": "REQUEST_CHANGES", "commented": "COMMENT"}


def _pull(forge: ForgeServer, pull: Pull) -> Said:
    return {
        "number": pull.number,
        "html_url": f"{forge.url}/{forge.repository}/pulls/{pull.number}",
        "state": "open" if pull.state == "open" else "closed",
        "merged": pull.state == "merged",
        "title": pull.title,
        "body": pull.body,
        "user": {"login": pull.author},
        "labels": [{"id": forge.label_ids.get(one, 0), "name": one} for one in pull.labels] or None,
        "head": {"ref": pull.branch, "sha": forge.head_of(pull), "repo_id": 2 if pull.fork else 1},
        "base": {"ref": pull.base, "sha": "", "repo_id": 1},
    }


def _repository(forge: ForgeServer, *_: Any) -> Answer:
    return Answer(200, {"full_name": forge.full_name, "permissions": {"push": forge.scopes != "read"}})


def _pull_of(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    found = forge.with_commit(match[1])
    return Answer(200, _pull(forge, found[0])) if found else Answer(404, {"message": "not found"})


def _pulls(forge: ForgeServer, _: Any, query: dict[str, str], __: Said) -> Answer:
    found = [
        _pull(forge, one)
        for one in reversed(forge.pulls.values())
        if query.get("state", "open") in {"all", one.state}
    ]
    return Answer(200, page(found, query, "limit"))


def _open(forge: ForgeServer, _: Any, __: Any, said: Said) -> Answer:
    if not forge.has_branch(said["head"]):
        return Answer(404, {"message": "head branch does not exist"})
    number = forge.open(said["head"], title=said["title"], body=said["body"], base=said["base"], author="ugs")
    forge.pulls[number].labels += _names(forge, said["labels"])
    return Answer(201, _pull(forge, forge.pulls[number]))


def _edit_pull(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    pull = forge.pulls[int(match[1])]
    pull.state = said.get("state", pull.state)
    pull.title, pull.body = said.get("title", pull.title), said.get("body", pull.body)
    return Answer(201, _pull(forge, pull))


def _merge(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    if not forge.auto_merge:
        return Answer(405, {"message": "Please try again later"})
    forge.pulls[int(match[1])].waits_to_merge = True
    return Answer(200, "")


def _labels(forge: ForgeServer, _: Any, query: dict[str, str], __: Said) -> Answer:
    found = [{"id": number, "name": name} for name, number in forge.label_ids.items()]
    return Answer(200, page(found, query, "limit"))


def _new_label(forge: ForgeServer, _: Any, __: Any, said: Said) -> Answer:
    forge.label_ids[said["name"]] = number = forge.number()
    return Answer(201, {"id": number, "name": said["name"]})


def _label(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    forge.pulls[int(match[1])].add(_names(forge, said["labels"]))
    return Answer(
        200, [{"id": forge.label_ids[one], "name": one} for one in forge.pulls[int(match[1])].labels]
    )


def _unlabel(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    [name] = _names(forge, [int(match[2])])
    labels = forge.pulls[int(match[1])].labels
    if name in labels:
        labels.remove(name)
    return Answer(204)


def _names(forge: ForgeServer, numbers: list[int]) -> list[str]:
    names = {number: name for name, number in forge.label_ids.items()}
    return [names[one] for one in numbers]


def _reviews(forge: ForgeServer, match: re.Match[str], query: dict[str, str], _: Said) -> Answer:
    found: list[Said] = [{"state": "REQUEST_REVIEW", "user": None, "commit_id": ""}]
    found += [
        {
            "state": STATES[one.verdict],
            "user": {"login": one.person},
            "commit_id": one.commit,
            "official": one.person in forge.writers,
            "dismissed": one.dismissed,
        }
        for one in forge.pulls[int(match[1])].reviews
    ]
    return Answer(200, page(found, query, "limit"))


def _teams(forge: ForgeServer, match: re.Match[str], query: dict[str, str], _: Said) -> Answer:
    found = [
        {"id": 70 + number, "name": name.partition("/")[2]}
        for number, name in enumerate(forge.teams)
        if name.startswith(f"{match[1]}/") and query["q"] in name
    ]
    return Answer(200, {"ok": True, "data": found})


def _members(forge: ForgeServer, match: re.Match[str], query: dict[str, str], _: Said) -> Answer:
    found = list(forge.teams.values())[int(match[1]) - 70]
    return Answer(200, page([{"login": one} for one in found], query, "limit"))


R = "/repos/ops/fleet"
GITEA = Dialect(
    "/api/v1",
    lambda forge, headers: headers.get("authorization") == f"token {forge.token}",
    [
        ("GET", R, _repository),
        ("GET", rf"{R}/commits/(\w+)/pull", _pull_of),
        ("POST", rf"{R}/statuses/(\w+)", status),
        ("GET", rf"{R}/issues/(\d+)/comments", comments),
        ("POST", rf"{R}/issues/(\d+)/comments", comment),
        ("PATCH", rf"{R}/issues/comments/(?P<comment>\d+)", edit_comment),
        ("POST", rf"{R}/issues/(\d+)/labels", _label),
        ("DELETE", rf"{R}/issues/(\d+)/labels/(\d+)", _unlabel),
        ("GET", f"{R}/pulls", _pulls),
        ("POST", f"{R}/pulls", _open),
        ("GET", rf"{R}/pulls/(\d+)", lambda f, m, _q, _s: Answer(200, _pull(f, f.pulls[int(m[1])]))),
        ("PATCH", rf"{R}/pulls/(\d+)", _edit_pull),
        ("POST", rf"{R}/pulls/(\d+)/merge", _merge),
        ("GET", rf"{R}/pulls/(\d+)/reviews", _reviews),
        ("GET", f"{R}/labels", _labels),
        ("POST", f"{R}/labels", _new_label),
        ("GET", r"/orgs/([^/]+)/teams/search", _teams),
        ("GET", r"/teams/(\d+)/members", _members),
    ],
)
