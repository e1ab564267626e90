"""A delivery of a webhook: whether its sender knows the secret, and which branches he says have moved. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Literal, get_args
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct

from reconciler.model.codec import decode, resolve_types

Provider = Literal["github", "gitlab", "gitea", "bitbucket"]
"""Forgejo is `gitea`; Bitbucket's Cloud and Data Center are one."""
PROVIDERS: tuple[Provider, ...] = get_args(Provider)
Headers = Mapping[str, str]
"""By names in lower case."""

SIGNING = "whsec_"
"""So begins a secret with which GitLab signs, in the manner of Standard Webhooks, rather than one that it sends."""
SIGNED_WITHIN = timedelta(minutes=5)
STAMP_DIGITS_MAX = 12
FORM_FIELDS_MAX = 10
DELIVERY_CHARS_MAX = 100


class Push(Struct, frozen=True):
    """`repository`: as its server names it, `ops/fleet`; empty where the delivery does not say it."""

    repository: str
    branches: tuple[str, ...]


class Named(Struct, frozen=True):
    full_name: str = ""


class GitPush(Struct, frozen=True):
    """What GitHub, Gitea and Forgejo say of a push."""

    ref: str
    repository: Named = Named()


class Project(Struct, frozen=True):
    path_with_namespace: str = ""


class GitLabEvent(Struct, frozen=True):
    """A project's or group's hook says `object_kind`, a system hook `event_name`."""

    object_kind: str = ""
    event_name: str = ""
    ref: str = ""
    project: Project = Project()


class CloudBranch(Struct, frozen=True):
    type: str = ""
    name: str = ""


class CloudChange(Struct, frozen=True):
    """`new` is null where the branch was deleted."""

    new: CloudBranch | None = None
    old: CloudBranch | None = None


class CloudPush(Struct, frozen=True):
    changes: tuple[CloudChange, ...]


class BitbucketCloud(Struct, frozen=True):
    push: CloudPush
    repository: Named = Named()


class ServerRef(Struct, frozen=True):
    id: str


class ServerChange(Struct, frozen=True):
    ref: ServerRef


class ServerProject(Struct, frozen=True):
    key: str = ""


class ServerRepository(Struct, frozen=True):
    slug: str = ""
    project: ServerProject = ServerProject()


class BitbucketServer(Struct, frozen=True):
    changes: tuple[ServerChange, ...]
    repository: ServerRepository = ServerRepository()


resolve_types(GitPush, GitLabEvent, BitbucketCloud, BitbucketServer)


def shown(provider: Provider, headers: Headers) -> bool:
    """Whether there is anything by which the sender shows that he knows the secret."""
    return any(headers.get(name) for name in SHOWN_IN[provider])


def genuine(provider: Provider, headers: Headers, body: bytes, secret: str, *, now: datetime) -> bool:
    """Whether the sender knows the secret. Of `body`, every byte counts as it came."""
    return CHECKS[provider](headers, body, secret, now)


def delivery_of(provider: Provider, headers: Headers, body: bytes) -> str:
    """By what the same delivery is known when it comes again: its number, else its content."""
    number = next((headers[name] for name in NUMBERED_BY[provider] if headers.get(name)), "")
    return f"{provider} {number[:DELIVERY_CHARS_MAX] or hashlib.sha256(body).hexdigest()}"


def pushed(provider: Provider, headers: Headers, body: bytes) -> Push | None:
    """Which branches have moved; None for whatever else has happened. Raises ValueError for what is no such event."""
    try:
        return READERS[provider](headers, body)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def concerns(push: Push, branch: str, url: str) -> bool:
    """Whether a push is to this branch of the repository at this URL (or path, which no server's name says)."""
    return branch in push.branches and _same(push.repository, url)


def _same(name: str, url: str) -> bool:
    """One repository has several URLs, and some have more before its name: the shorter of both decides."""
    if "://" in url:
        parts = urlsplit(url)
        path = "" if parts.scheme == "file" else parts.path
    else:
        path = "" if url.startswith("/") else url.partition(":")[2]
    theirs, ours = _segments(name), _segments(path)
    common = min(len(theirs), len(ours))
    return theirs[len(theirs) - common :] == ours[len(ours) - common :]


def _segments(path: str) -> list[str]:
    return [part for part in path.casefold().rstrip("/").removesuffix(".git").split("/") if part]


def _hex(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _equal(shown: str, right: str) -> bool:
    return hmac.compare_digest(shown.encode("utf-8", "replace"), right.encode("utf-8", "replace"))


def _github(headers: Headers, body: bytes, secret: str, _now: datetime) -> bool:
    return _equal(headers.get("x-hub-signature-256", ""), f"sha256={_hex(secret, body)}")


def _bitbucket(headers: Headers, body: bytes, secret: str, _now: datetime) -> bool:
    return _equal(headers.get("x-hub-signature", ""), f"sha256={_hex(secret, body)}")


def _gitea(headers: Headers, body: bytes, secret: str, _now: datetime) -> bool:
    shown = headers.get("x-forgejo-signature") or headers.get("x-gitea-signature", "")
    return _equal(shown, _hex(secret, body))


def _gitlab(headers: Headers, body: bytes, secret: str, now: datetime) -> bool:
    """A secret that signs is never compared with what was sent: nobody who reads one request could make another."""
    if not secret.startswith(SIGNING):
        return _equal(headers.get("x-gitlab-token", ""), secret)
    stamp = headers.get("webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= STAMP_DIGITS_MAX):
        return False
    try:
        key = base64.b64decode(secret.removeprefix(SIGNING), validate=True)
    except ValueError:
        return False
    signed = f"{headers.get('webhook-id', '')}.{stamp}.".encode() + body
    right = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    fresh = abs(now.timestamp() - int(stamp)) <= SIGNED_WITHIN.total_seconds()
    # A server that changes its secret signs with both for a while.
    return fresh and any(_equal(one, right) for one in headers.get("webhook-signature", "").split(" ")[:10])


def _from_git(*events: str) -> Callable[[Headers, bytes], Push | None]:
    """`events`: the headers of which one says what has happened."""

    def read(headers: Headers, body: bytes) -> Push | None:
        if "push" not in {headers.get(event) for event in events}:
            return None
        said = decode(_content(headers, body), GitPush)
        return Push(said.repository.full_name, _branches(said.ref))

    return read


def _content(headers: Headers, body: bytes) -> bytes:
    """The JSON, which a form may hold as `payload`."""
    if headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return body
    fields = parse_qs(body.decode("ascii"), max_num_fields=FORM_FIELDS_MAX)
    return fields.get("payload", [""])[0].encode()


def _from_gitlab(_headers: Headers, body: bytes) -> Push | None:
    said = decode(body, GitLabEvent)
    if "push" not in (said.object_kind, said.event_name):
        return None
    return Push(said.project.path_with_namespace, _branches(said.ref))


def _from_bitbucket(headers: Headers, body: bytes) -> Push | None:
    match headers.get("x-event-key"):
        case "repo:push":
            cloud = decode(body, BitbucketCloud)
            moved = [one for change in cloud.push.changes for one in (change.new, change.old) if one]
            names = tuple(dict.fromkeys(one.name for one in moved if one.type == "branch"))
            return Push(cloud.repository.full_name, names)
        case "repo:refs_changed":
            server = decode(body, BitbucketServer)
            names = tuple(name for change in server.changes for name in _branches(change.ref.id))
            return Push(f"{server.repository.project.key}/{server.repository.slug}".strip("/"), names)
        case _:
            return None


def _branches(ref: str) -> tuple[str, ...]:
    return (ref.removeprefix("refs/heads/"),) if ref.startswith("refs/heads/") else ()


SHOWN_IN: Mapping[Provider, tuple[str, ...]] = {
    "github": ("x-hub-signature-256",),
    "gitlab": ("x-gitlab-token", "webhook-signature"),
    "gitea": ("x-forgejo-signature", "x-gitea-signature"),
    "bitbucket": ("x-hub-signature",),
}
CHECKS: Mapping[Provider, Callable[[Headers, bytes, str, datetime], bool]] = {
    "github": _github,
    "gitlab": _gitlab,
    "gitea": _gitea,
    "bitbucket": _bitbucket,
}
NUMBERED_BY: Mapping[Provider, tuple[str, ...]] = {
    "github": ("x-github-delivery",),
    "gitlab": ("webhook-id", "idempotency-key", "x-gitlab-webhook-uuid"),
    "gitea": ("x-forgejo-delivery", "x-gitea-delivery"),
    "bitbucket": ("x-request-uuid", "x-request-id"),
}
READERS: Mapping[Provider, Callable[[Headers, bytes], Push | None]] = {
    "github": _from_git("x-github-event"),
    "gitlab": _from_gitlab,
    "gitea": _from_git("x-forgejo-event", "x-gitea-event"),
    "bitbucket": _from_bitbucket,
}
