"""Whatever a webhook delivers: a push, a pull request, nothing, or a ValueError; and never genuine by chance."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.delivered import concerns, read_event
from reconciler.model.delivery import PROVIDERS, Provider, delivery_of, genuine, shown
from tests.fuzz.damage import damaged
from tests.model.test_delivery import (
    CLOUD,
    CLOUD_PULL,
    FORM,
    GIT_PULL,
    GIT_PUSH,
    GITLAB,
    GITLAB_PULL,
    SERVER,
    SERVER_PULL,
    standard,
)

NOW = datetime(2026, 11, 28, tzinfo=UTC)
SOUND = [
    (path, json.dumps(said).encode())
    for path, said in {
        "git": GIT_PUSH,
        "gitlab": GITLAB | {"object_kind": "push"},
        "cloud": CLOUD,
        "server": SERVER,
        "git pull": GIT_PULL,
        "gitlab pull": GITLAB_PULL,
        "cloud pull": CLOUD_PULL,
        "server pull": SERVER_PULL,
    }.items()
]
NAMES = st.sampled_from(
    [
        *(
            "x-github-event",
            "x-gitea-event",
            "x-event-key",
            "content-type",
            "webhook-id",
            "webhook-timestamp",
        ),
        *("x-hub-signature", "x-hub-signature-256", "x-gitea-signature", "x-gitlab-token"),
        *("webhook-signature", "x-github-delivery", "idempotency-key"),
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [
            *("push", "repo:push", "repo:refs_changed", "sha256=", FORM["content-type"]),
            *("pull_request", "pullrequest:updated", "pr:opened"),
        ]
    ),
    st.text(max_size=20),
)
SECRETS = st.one_of(st.text(min_size=1, max_size=10), st.text(max_size=10).map("whsec_".__add__))


@given(st.sampled_from(PROVIDERS), st.dictionaries(NAMES, VALUES), damaged(SOUND), SECRETS)
def test_a_delivery_is_read_or_refused(
    provider: Provider, headers: dict[str, str], file: tuple[str, bytes], secret: str
) -> None:
    _, body = file
    assert delivery_of(provider, headers, body).startswith(provider)
    if genuine(provider, headers, body, secret, now=NOW):
        assert shown(provider, headers)
        assert headers["x-gitlab-token"] == secret  # nothing else is hit upon
    with contextlib.suppress(ValueError):
        event = read_event(provider, headers, body)
        if event is not None:
            assert all(isinstance(branch, str) for branch in event.branches)
            concerns(event, "main", "ssh://git@git.example/ops/fleet.git")


@given(damaged(SOUND), st.text(max_size=20))
def test_what_gitlab_signed_is_genuine_for_these_bytes_alone(file: tuple[str, bytes], more: str) -> None:
    _, body = file
    headers, secret = standard(body, NOW), "whsec_YSBrZXkgb2YgdGhpcnR5LXR3byBieXRlcywgcmVhbGx5"
    assert genuine("gitlab", headers, body, secret, now=NOW)
    other = body + more.encode()
    assert genuine("gitlab", headers, other, secret, now=NOW) == (other == body)
