"""Bitbucket Cloud."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.forge.dialects.base import Answer, Dialect, Said, page

if TYPE_CHECKING:
    from tests.forge.server import ForgeServer, Pull

STATES = {"open": "OPEN", "merged": "MERGED", "closed": "DECLINED"}
PARTICIPATED = {"approved": "approved", "rejected": "changes_requested"}


def refusal(body: Any) -> Any:
    """In its own words."""
    if not isinstance(body, dict) or "message" not in body:
        return body
    return {"type": "error", "error": {"message": body["message"]}}


def _account(person: str) -> Said:
    return {"uuid": f"{{{person}}}", "account_id": person, "nickname": "somebody"}


def _pull(forge: ForgeServer, pull: Pull) -> Said:
    return {
        "type": "pullrequest",
        "id": pull.number,
        "state": STATES[pull.state],
        "title": pull.title,
        "description": pull.body,
        "author": _account(pull.author),
        "links": {"html": {"href": f"{forge.url}/{forge.repository}/pull-requests/{pull.number}"}},
        "source": {
            "branch": {"name": pull.branch},
            "commit": {"hash": forge.head_of(pull)[:12]},
            "repository": {"full_name": "eve/fleet" if pull.fork else forge.full_name},
        },
        "destination": {
            "branch": {"name": pull.base},
            "commit": {"hash": ""},
            "repository": {"full_name": forge.full_name},
        },
        "participants": [
            {"user": _account("bob"), "role": "PARTICIPANT", "approved": False, "state": None},
            *(
                {"user": _account(one.person), "role": "REVIEWER", "state": PARTICIPATED[one.verdict]}
                for one in pull.opinions()
            ),
        ],
    }


def _values(found: list[Any], query: dict[str, str]) -> Answer:
    return Answer(200, {"pagelen": 10, "values": page(found, {"pagelen": "10"} | query, "pagelen")})


def _status(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    if len(said["key"]) > 40:
        return Answer(400, {"message": "key: Ensure this value has at most 40 characters"})
    known = forge.statuses.setdefault((match[1], said["name"]), [])
    known.append((said["state"], said["description"]))
    return Answer(201, {"type": "build", "key": said["key"]})


def _report(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    forge.checks[match[1], match[2]] = {1: said | {"annotations": []}}
    return Answer(200, said)


def _annotate(forge: ForgeServer, match: re.Match[str], _: Any, said: Any) -> Answer:
    forge.checks[match[1], match[2]][1]["annotations"] += said
    return Answer(200, said)


def _with_commit(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    found = forge.with_commit(match[1])
    if not found:
        return Answer(404, {"message": "Commit not found"})
    return Answer(200, {"values": [{"type": "pullrequest", "id": one.number} for one in found]})


def _pulls(forge: ForgeServer, _: Any, query: dict[str, str], __: Said) -> Answer:
    asked = re.fullmatch(r'(source|destination)\.branch\.name = "([^"]*)"', query.pop("q"))
    assert asked
    found = [
        _pull(forge, one)
        for one in reversed(forge.pulls.values())
        if STATES[one.state] in query.get("state", "OPEN").split(",")
        and asked[2] == (one.branch if asked[1] == "source" else one.base)
    ]
    return _values(found, query)


def _open(forge: ForgeServer, _: Any, __: Any, said: Said) -> Answer:
    branch = said["source"]["branch"]["name"]
    if not forge.has_branch(branch):
        return Answer(400, {"message": "source: branch not found"})
    base = said["destination"]["branch"]["name"]
    number = forge.open(branch, title=said["title"], body=said["description"], base=base, author="ugs")
    return Answer(201, _pull(forge, forge.pulls[number]))


def _edit_pull(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    pull = forge.pulls[int(match[1])]
    pull.title, pull.body = said["title"], said["description"]
    return Answer(200, _pull(forge, pull))


def _decline(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    pull = forge.pulls[int(match[1])]
    pull.state = "closed"
    return Answer(200, _pull(forge, pull))


def _merge(forge: ForgeServer, match: re.Match[str], *_: Any) -> Answer:
    pull = forge.pulls[int(match[1])]
    if not forge.auto_merge:
        return Answer(400, {"message": "You need at least 1 approval"})
    pull.waits_to_merge = True
    return Answer(200, _pull(forge, pull))


def _commits(forge: ForgeServer, match: re.Match[str], query: dict[str, str], _: Said) -> Answer:
    pull = forge.pulls[int(match[1])]
    forge.head_of(pull)
    return _values([{"type": "commit", "hash": one} for one in reversed(pull.heads)], query)


def _activity(forge: ForgeServer, match: re.Match[str], query: dict[str, str], _: Said) -> Answer:
    pull = forge.pulls[int(match[1])]
    found: list[Said] = [
        {"approval": {"date": one.at, "user": _account(one.person)}}
        for one in pull.reviews
        if one.verdict == "approved"
    ]
    found += [
        {"update": {"date": at, "source": {"commit": {"hash": commit[:12]}}}}
        for commit, at in pull.heads.items()
    ]
    return _values([*found, {"comment": {"id": 1}}], query)


def _permissions(forge: ForgeServer, _: Any, query: dict[str, str], __: Said) -> Answer:
    found = [{"user": _account(one), "permission": "write"} for one in sorted(forge.writers)]
    return _values([*found, {"user": _account("eve"), "permission": "read"}], query)


def _comments(forge: ForgeServer, match: re.Match[str], query: dict[str, str], _: Said) -> Answer:
    found = [
        {"id": key, "content": {"raw": body}, "deleted": False}
        for key, body in forge.pulls[int(match[1])].comments.items()
    ]
    return _values([{"id": 0, "content": {"raw": ""}, "deleted": True}, *found], query)


def _comment(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    forge.pulls[int(match[1])].comments[number := forge.number()] = said["content"]["raw"]
    return Answer(201, {"id": number})


def _edit_comment(forge: ForgeServer, match: re.Match[str], _: Any, said: Said) -> Answer:
    forge.pulls[int(match[1])].comments[int(match[2])] = said["content"]["raw"]
    return Answer(200, {"id": int(match[2])})


R = "/repositories/ops/fleet"
C = rf"{R}/commit/(\w+)"
P = rf"{R}/pullrequests/(\d+)"
BITBUCKET = Dialect(
    "/2.0",
    lambda forge, headers: headers.get("authorization") == f"Bearer {forge.token}",
    [
        ("GET", R, lambda f, *_: Answer(200, {"full_name": f.full_name})),
        ("POST", rf"{C}/statuses/build", _status),
        ("PUT", rf"{C}/reports/([\w~-]+)", _report),
        ("POST", rf"{C}/reports/([\w~-]+)/annotations", _annotate),
        ("GET", rf"{C}/pullrequests", _with_commit),
        ("GET", f"{R}/pullrequests", _pulls),
        ("POST", f"{R}/pullrequests", _open),
        ("GET", P, lambda f, m, _q, _s: Answer(200, _pull(f, f.pulls[int(m[1])]))),
        ("PUT", P, _edit_pull),
        ("POST", rf"{P}/decline", _decline),
        ("POST", rf"{P}/merge", _merge),
        ("GET", rf"{P}/commits", _commits),
        ("GET", rf"{P}/activity", _activity),
        ("GET", rf"{P}/comments", _comments),
        ("POST", rf"{P}/comments", _comment),
        ("PUT", rf"{P}/comments/(\d+)", _edit_comment),
        ("GET", "/workspaces/ops/permissions/repositories/fleet", _permissions),
    ],
    refusal,
)
