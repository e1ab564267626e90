"""Webhooks' deliveries, as each provider publishes that it signs and writes them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from reconciler.model.delivered import Event, concerns, read_event
from reconciler.model.delivery import PROVIDERS, Provider, delivery_of, genuine, shown

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)
SECRET = "It's a Secret to Everybody"
BODY = b"Hello, World!"
PUBLISHED = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
"""What GitHub's documentation gives for this secret and this body."""
KEY = base64.b64encode(b"a key of thirty-two bytes, really").decode()
SIGNING_SECRET = f"whsec_{KEY}"
SIGNED: list[tuple[Provider, dict[str, str]]] = [
    ("github", {"x-hub-signature-256": f"sha256={PUBLISHED}"}),
    ("bitbucket", {"x-hub-signature": f"sha256={PUBLISHED}"}),
    ("gitea", {"x-gitea-signature": PUBLISHED}),
    ("gitea", {"x-forgejo-signature": PUBLISHED}),
    ("gitlab", {"x-gitlab-token": SECRET}),
]
GIT_PUSH = {"ref": "refs/heads/main", "repository": {"full_name": "ops/fleet", "id": 1}, "commits": []}
CLOUD = {
    "push": {"changes": [{"new": {"type": "branch", "name": "main"}, "old": None}]},
    "repository": {"full_name": "ops/fleet"},
}
DELETED = {"push": {"changes": [{"new": None, "old": {"type": "branch", "name": "main"}}]}}
TAGGED = {"push": {"changes": [{"new": {"type": "tag", "name": "main"}}]}}
SERVER = {
    "changes": [{"ref": {"id": "refs/heads/main", "displayId": "main", "type": "BRANCH"}, "type": "UPDATE"}],
    "repository": {"slug": "fleet", "project": {"key": "OPS"}},
}
GITLAB = {"ref": "refs/heads/main", "project": {"path_with_namespace": "ops/fleet"}}
GIT_PULL = {
    "action": "synchronize",
    "pull_request": {"number": 7, "base": {"ref": "main", "sha": "00"}},
    "repository": {"full_name": "ops/fleet"},
}
GITLAB_PULL = {
    "object_kind": "merge_request",
    "object_attributes": {"iid": 7, "source_branch": "bump", "target_branch": "main"},
    "project": {"path_with_namespace": "ops/fleet"},
}
CLOUD_PULL = {
    "pullrequest": {"id": 7, "destination": {"branch": {"name": "main"}}},
    "repository": {"full_name": "ops/fleet"},
}
SERVER_PULL = {
    "pullRequest": {
        "toRef": {
            "id": "refs/heads/main",
            "displayId": "main",
            "repository": {"slug": "fleet", "project": {"key": "OPS"}},
        }
    }
}
PULL = Event("ops/fleet", ("main",), pull=True)
SERVER_EVENT = Event("OPS/fleet", ("main",), pull=True)
FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
READ: list[tuple[str, Provider, dict[str, str], object, Event | None]] = [
    ("push", "github", {"x-github-event": "push"}, GIT_PUSH, Event("ops/fleet", ("main",))),
    ("ping", "github", {"x-github-event": "ping"}, {"zen": "…"}, None),
    ("tag", "github", {"x-github-event": "push"}, GIT_PUSH | {"ref": "refs/tags/v1"}, Event("ops/fleet", ())),
    ("push", "gitea", {"x-gitea-event": "push"}, GIT_PUSH, Event("ops/fleet", ("main",))),
    ("forgejo", "gitea", {"x-forgejo-event": "push"}, GIT_PUSH, Event("ops/fleet", ("main",))),
    ("issue", "gitea", {"x-gitea-event": "issues"}, {}, None),
    ("push", "gitlab", {}, GITLAB | {"object_kind": "push"}, Event("ops/fleet", ("main",))),
    ("system", "gitlab", {}, GITLAB | {"event_name": "push"}, Event("ops/fleet", ("main",))),
    ("note", "gitlab", {}, {"object_kind": "note"}, None),
    ("cloud", "bitbucket", {"x-event-key": "repo:push"}, CLOUD, Event("ops/fleet", ("main",))),
    ("deleted", "bitbucket", {"x-event-key": "repo:push"}, DELETED, Event("", ("main",))),
    ("tag", "bitbucket", {"x-event-key": "repo:push"}, TAGGED, Event("", ())),
    ("server", "bitbucket", {"x-event-key": "repo:refs_changed"}, SERVER, Event("OPS/fleet", ("main",))),
    ("ping", "bitbucket", {"x-event-key": "diagnostics:ping"}, {"test": True}, None),
    ("pull", "github", {"x-github-event": "pull_request"}, GIT_PULL, PULL),
    ("review", "github", {"x-github-event": "pull_request_review"}, GIT_PULL, PULL),
    ("comment", "github", {"x-github-event": "pull_request_review_comment"}, GIT_PULL, None),
    ("comment", "github", {"x-github-event": "issue_comment"}, GIT_PULL, None),
    ("pull", "gitea", {"x-gitea-event": "pull_request"}, GIT_PULL, PULL),
    ("review", "gitea", {"x-forgejo-event": "pull_request_approved"}, GIT_PULL, PULL),
    ("pull", "gitlab", {}, GITLAB_PULL, PULL),
    ("cloud pull", "bitbucket", {"x-event-key": "pullrequest:updated"}, CLOUD_PULL, PULL),
    ("cloud comment", "bitbucket", {"x-event-key": "pullrequest:comment_created"}, CLOUD_PULL, None),
    ("server pull", "bitbucket", {"x-event-key": "pr:from_ref_updated"}, SERVER_PULL, SERVER_EVENT),
    ("server review", "bitbucket", {"x-event-key": "pr:reviewer:approved"}, SERVER_PULL, SERVER_EVENT),
    ("server comment", "bitbucket", {"x-event-key": "pr:comment:added"}, SERVER_PULL, None),
]
ODD = [
    b"",
    b"null",
    b"[]",
    b'{"ref": 5}',
    b"\xff",
    b"[" * 100_000,
    b'{"ref": "\\ud800"}',
    b'{"push": {}}',
    b"{",
]


def standard(body: bytes, stamp: datetime, key: str = KEY, name: str = "msg_1") -> dict[str, str]:
    """The headers of Standard Webhooks, as its published rules make them."""
    seconds = str(int(stamp.timestamp()))
    signed = hmac.new(base64.b64decode(key), f"{name}.{seconds}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(signed).decode()}"
    return {"webhook-id": name, "webhook-timestamp": seconds, "webhook-signature": signature}


@pytest.mark.parametrize(("provider", "headers"), SIGNED)
def test_who_knows_the_secret_is_genuine(provider: Provider, headers: dict[str, str]) -> None:
    assert shown(provider, headers)
    assert genuine(provider, headers, BODY, SECRET, now=NOW)
    assert not genuine(provider, headers, BODY, "another", now=NOW)
    if provider != "gitlab":
        assert not genuine(provider, headers, BODY + b"\n", SECRET, now=NOW)


@pytest.mark.fault("AP-01")
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("secret", [SECRET, SIGNING_SECRET])
@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha256=",
        PUBLISHED[:-1],
        f"sha256={PUBLISHED[:32]}",
        f"sha1={hashlib.sha1(BODY).hexdigest()}",
        "sha256=\u00fc\u2713",
        "\ud800",
        "v1,",
        "v1,\u00fc",
    ],
)
def test_whatever_else_is_shown_is_forged(provider: Provider, secret: str, value: str) -> None:
    names = ("x-hub-signature", "x-hub-signature-256", "x-gitea-signature", "x-forgejo-signature")
    headers = dict.fromkeys((*names, "x-gitlab-token", "webhook-signature"), value)
    stamped = headers | {"webhook-id": "msg_1", "webhook-timestamp": str(int(NOW.timestamp()))}
    for shows in ({}, headers, stamped):
        assert not genuine(provider, shows, BODY, secret, now=NOW)


def test_sha_1_is_not_enough_for_github() -> None:
    headers = {"x-hub-signature": f"sha1={hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest()}"}
    assert not shown("github", headers)
    assert not genuine("github", headers, BODY, SECRET, now=NOW)


def test_gitlab_signs_with_a_signing_token_and_for_a_while() -> None:
    headers = standard(BODY, NOW)
    assert shown("gitlab", headers)
    assert genuine("gitlab", headers, BODY, SIGNING_SECRET, now=NOW + timedelta(minutes=5))
    assert not genuine("gitlab", headers, BODY, SIGNING_SECRET, now=NOW + timedelta(minutes=6))
    assert not genuine("gitlab", headers, BODY, SIGNING_SECRET, now=NOW - timedelta(minutes=6))
    assert not genuine("gitlab", headers | {"webhook-id": "msg_2"}, BODY, SIGNING_SECRET, now=NOW)
    assert not genuine("gitlab", headers | {"webhook-timestamp": "9" * 5000}, BODY, SIGNING_SECRET, now=NOW)
    assert not genuine("gitlab", headers | {"webhook-timestamp": "²"}, BODY, SIGNING_SECRET, now=NOW)
    both = headers | {"webhook-signature": f"v1,{KEY} {headers['webhook-signature']}"}
    assert genuine("gitlab", both, BODY, SIGNING_SECRET, now=NOW)
    assert not genuine("gitlab", headers, BODY, "whsec_no base64", now=NOW)


def test_a_signing_token_that_was_sent_as_it_is_shows_nothing() -> None:
    assert not genuine("gitlab", {"x-gitlab-token": SIGNING_SECRET}, BODY, SIGNING_SECRET, now=NOW)


@pytest.mark.parametrize(("provider", "headers", "said", "push"), [one[1:] for one in READ])
def test_what_has_happened(
    provider: Provider, headers: dict[str, str], said: object, push: Event | None
) -> None:
    assert read_event(provider, headers, json.dumps(said).encode()) == push


def test_a_form_holds_the_same() -> None:
    form = urlencode({"payload": json.dumps(GIT_PUSH)}).encode()
    for provider, event in (("github", "x-github-event"), ("gitea", "x-gitea-event")):
        assert read_event(provider, FORM | {event: "push"}, form) == Event("ops/fleet", ("main",))  # type: ignore[arg-type]
    for odd in (b"", b"payload=%7B", b"\xff", b"&".join(b"a=b" for _ in range(100))):
        with pytest.raises(ValueError, match=r"."):
            read_event("github", FORM | {"x-github-event": "push"}, odd)


@pytest.mark.fault("AP-04")
@pytest.mark.parametrize("body", ODD)
def test_an_odd_body_is_a_value_error_and_nothing_else(body: bytes) -> None:
    for provider, headers in (
        ("github", {"x-github-event": "push"}),
        ("gitea", {"x-gitea-event": "push"}),
        ("bitbucket", {"x-event-key": "repo:push"}),
        ("bitbucket", {"x-event-key": "repo:refs_changed"}),
    ):
        with pytest.raises(ValueError, match=r"."):
            read_event(provider, headers, body)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("ssh://git@git.example/ops/fleet.git", True),
        ("git@git.example:ops/fleet.git", True),
        ("https://git.example/Ops/Fleet", True),
        ("https://git.example/forge/ops/fleet.git/", True),
        ("fleet-alias:fleet.git", True),
        ("/srv/git/mirror.git", True),
        ("file:///srv/git/mirror.git", True),
        ("ssh://git@git.example/dev/fleet.git", False),
        ("git@git.example:ops/fleet-2.git", False),
    ],
)
def test_a_push_concerns_the_repository_that_is_followed(url: str, ours: bool) -> None:
    assert concerns(Event("ops/fleet", ("dev", "main")), "main", url) is ours
    assert not concerns(Event("ops/fleet", ("dev",)), "main", url)
    assert concerns(Event("", ("main",)), "main", url)


def test_a_delivery_is_known_by_its_number_or_else_by_what_it_says() -> None:
    assert delivery_of("github", {"x-github-delivery": "1-2"}, BODY) == "github 1-2"
    assert delivery_of("gitlab", {"idempotency-key": "k", "x-gitlab-webhook-uuid": "u"}, b"") == "gitlab k"
    assert delivery_of("gitea", {}, BODY) == delivery_of("gitea", {}, BODY) != delivery_of("gitea", {}, b"")
    assert len(delivery_of("github", {"x-github-delivery": "x" * 5000}, BODY)) < 200
