"""A delivery of a webhook: whether its sender knows the secret, and whether it came before. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Literal, get_args

Provider = Literal["github", "gitlab", "gitea", "bitbucket"]
"""Forgejo is `gitea`; Bitbucket's Cloud and Data Center are one."""
PROVIDERS: tuple[Provider, ...] = get_args(Provider)
Became = Literal[
    "heeded",
    "duplicate",
    "ignored",
    "unsigned",
    "too-large",
    "too-slow",
    "limited",
    "malformed",
    "unread",
]
"""What becomes of a delivery. `ignored`: it is of no concern here; `unsigned`: its signature is missing or wrong;
`limited`: its address has sent too many of these; `unread`: it cannot be looked at now."""
BECAME: tuple[Became, ...] = get_args(Became)
Headers = Mapping[str, str]
"""By names in lower case."""

SIGNING = "whsec_"
"""So begins a secret with which GitLab signs, in the manner of Standard Webhooks, rather than one that it sends."""
SIGNED_WITHIN = timedelta(minutes=5)
STAMP_DIGITS_MAX = 12
DELIVERY_CHARS_MAX = 100


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
