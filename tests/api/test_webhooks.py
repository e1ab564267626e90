"""Webhooks over the network: forged, replayed, too large, slow, and in a flood; a genuine one is a fetch."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reconciler.api import webhooks
from reconciler.api.webhooks import BODY_BYTES_MAX
from reconciler.model.delivery import BECAME
from reconciler.store import Store
from tests.api.network import Reply, call, token_for
from tests.daemon_process import DaemonProcess, daemon
from tests.drivers.services import wait_until
from tests.world import World, a_world

SECRETS = {"github": "It's a Secret to Everybody", "gitlab": "a token", "gitea": "tea", "bitbucket": "bucket"}
OLD_SECRET = "as it was"
GENUINE_BURST = 1_000
GIT_PUSH = {"ref": "refs/heads/main", "repository": {"full_name": "fleet"}}
EVENTS: dict[str, tuple[dict[str, str], object]] = {
    "github": ({"X-GitHub-Event": "push"}, GIT_PUSH),
    "gitlab": (
        {"X-Gitlab-Event": "Push Hook"},
        {"object_kind": "push", "ref": "refs/heads/main", "project": {"path_with_namespace": "fleet"}},
    ),
    "gitea": ({"X-Gitea-Event": "push", "X-Forgejo-Event": "push"}, GIT_PUSH),
    "bitbucket": (
        {"X-Event-Key": "repo:push"},
        {"push": {"changes": [{"new": {"type": "branch", "name": "main"}}]}},
    ),
}
SIGNED_IN = {
    "github": "X-Hub-Signature-256",
    "gitlab": "X-Gitlab-Token",
    "gitea": "X-Gitea-Signature",
    "bitbucket": "X-Hub-Signature",
}
NUMBERED_IN = {
    "github": "X-GitHub-Delivery",
    "gitlab": "Idempotency-Key",
    "gitea": "X-Gitea-Delivery",
    "bitbucket": "X-Request-UUID",
}


def signature(provider: str, body: bytes, secret: str) -> str:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"gitlab": secret, "gitea": digest}.get(provider, f"sha256={digest}")


def deliver(
    port: int,
    provider: str = "github",
    said: object = None,
    *,
    secret: str = "",
    number: str = "",
    **headers: str,
) -> Reply:
    """One delivery, genuine unless `secret` says otherwise, of a push to main unless `said` is something else."""
    event, push = EVENTS[provider]
    content = push if said is None else said
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    signed = {
        SIGNED_IN[provider]: signature(provider, body, secret or SECRETS[provider]),
        NUMBERED_IN[provider]: number or str(uuid.uuid4()),
        "Content-Type": "application/json",
    }
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return call(port, "POST", f"/webhook/{provider}", body, headers={**event, **signed, **more})


@pytest.fixture(scope="module")
def fetches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a git that writes down how it is called, into `calls`."""
    folder, real = tmp_path_factory.mktemp("git"), shutil.which("git")
    script = folder / "git"
    script.write_text(f'#!/bin/sh\necho "$*" >> "{folder}/calls"\nexec {real} "$@"\n')
    script.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[World]:
    with a_world(tmp_path_factory.mktemp("webhooks")) as world:
        hooks = ""
        for provider, secret in {**SECRETS, "old": OLD_SECRET}.items():
            path = world.folder / f"{provider}-secret"
            path.write_text(f"{secret}\n")
            path.chmod(0o600)
            if provider not in ("github", "old"):
                hooks += f', {provider}: {{secret: {{file: "{path}"}}}}'
        both = f'[{{file: "{world.folder}/github-secret"}}, {{file: "{world.folder}/old-secret"}}]'
        world.settings_more = f'listen: "127.0.0.1:{port}"\nwebhooks: {{github: {{secret: {both}}}{hooks}}}\n'
        world.deploy_first("1.0.0", "api")
        yield world


@pytest.fixture(scope="module")
def served(fleet: World, fetches: Path) -> Iterator[DaemonProcess]:
    """Over http and with a poll of an hour: nothing but a webhook makes this daemon fetch."""
    path = {"PATH": f"{fetches}:{os.environ['PATH']}"}
    with fleet.over_http(password="s3cret"), daemon(fleet, environment=path) as running:
        running.until_runs("1.0.0")
        yield running


def count(fetches: Path) -> int:
    """How often something was fetched so far."""
    return sum(" fetch " in f" {line} " for line in (fetches / "calls").read_text().splitlines())


def at_rest(fetches: Path) -> int:
    """The same, once nothing more is fetched for a while."""
    seen, since = count(fetches), time.monotonic()
    while time.monotonic() - since < webhooks.NUDGES_APART_S + 0.5:
        time.sleep(0.1)
        if (now := count(fetches)) != seen:
            seen, since = now, time.monotonic()
    return seen


@pytest.mark.parametrize("provider", EVENTS)
def test_a_genuine_push_is_fetched_at_once(
    served: DaemonProcess, fetches: Path, port: int, provider: str
) -> None:
    before = at_rest(fetches)
    reply = deliver(port, provider)
    assert (reply.status, reply.body) == (202, {"did": "it will be fetched"})
    wait_until(lambda: count(fetches) > before)


def test_what_a_push_brings_is_deployed(served: DaemonProcess, fleet: World, port: int) -> None:
    fleet.bump("1.1.0")
    assert deliver(port).status == 202
    served.until_runs("1.1.0")


@pytest.mark.fault("AP-01")
def test_who_does_not_know_the_secret_is_turned_away_and_told_of_once(
    served: DaemonProcess, fleet: World, fetches: Path, port: int
) -> None:
    before = at_rest(fetches)
    replies = [deliver(port, provider, secret="guessed") for provider in EVENTS]
    replies += [
        call(port, "POST", "/webhook/github", GIT_PUSH),
        call(port, "POST", "/webhook/github", b"{", headers={"X-Hub-Signature": "sha1=00"}),
        call(port, "POST", "/webhook/github", b"{", headers={"X-Hub-Signature-256": "sha256=\xfc"}),
    ]
    assert {reply.status for reply in replies} == {401}
    assert len({reply.body["detail"] for reply in replies}) == 1  # missing and wrong look the same
    assert at_rest(fetches) == before
    store = Store(fleet.state / "ugs.db", now=lambda: pytest.fail("nobody asks"), read_only=True)
    try:
        rows = [row.detail or "" for row in store.audit_rows(limit=200) if row.event == "denied"]
    finally:
        store.close()
    assert sum("/webhook/github" in row for row in rows) == 1


@pytest.mark.fault("AP-02")
def test_what_is_delivered_again_is_fetched_once(served: DaemonProcess, fetches: Path, port: int) -> None:
    before = at_rest(fetches)
    replies = [deliver(port, number="the same") for _ in range(1_000)]
    assert {reply.status for reply in replies} == {202}
    assert [reply.body["did"] for reply in replies].count("it will be fetched") == 1
    assert at_rest(fetches) == before + 1


def counted(port: int, token: str, forge: str) -> dict[str, float]:
    """Deliveries by what became of them, as Prometheus is told."""
    text = call(port, "GET", "/metrics", token=token).body.decode()
    found = re.findall(
        rf'^ugs_webhooks_total{{forge="{forge}",outcome="([a-z-]+)"}} (.+)$', text, re.MULTILINE
    )
    return {outcome: float(value) for outcome, value in found}


def test_what_became_of_deliveries_is_counted_by_forge(served: DaemonProcess, port: int) -> None:
    token = token_for(served, "prometheus", "viewer")
    before, other = counted(port, token, "gitea"), counted(port, token, "bitbucket")
    assert before.keys() == set(BECAME)
    deliver(port, "gitea", number="twice")
    deliver(port, "gitea", number="twice")
    deliver(port, "gitea", {"ref": "refs/heads/other", "repository": {"full_name": "fleet"}})
    deliver(port, "gitea", secret="guessed")
    large = HEAD.replace("github", "gitea").replace("X-Hub-Signature-256: sha256=", "X-Gitea-Signature: ")
    raw(port, f"{large}Content-Length: {BODY_BYTES_MAX + 1}\n")
    deliver(port, "gitea", b"[]")
    after = counted(port, token, "gitea")
    grown = {
        outcome: after[outcome] - before[outcome] for outcome in BECAME if after[outcome] != before[outcome]
    }
    assert grown == dict.fromkeys(("heeded", "duplicate", "ignored", "unsigned", "too-large", "malformed"), 1)
    assert counted(port, token, "bitbucket") == other


def test_a_secret_is_changed_without_a_restart(served: DaemonProcess, fleet: World, port: int) -> None:
    assert deliver(port, secret=OLD_SECRET).status == 202
    old = fleet.folder / "old-secret"
    old.unlink()  # the other one still stands
    assert deliver(port).status == 202
    reply = deliver(port, secret=OLD_SECRET)
    assert reply.status == 503
    assert "old-secret" not in str(reply.body)
    served.until_says("old-secret cannot be read")
    old.write_text("a new one")
    assert deliver(port, secret=OLD_SECRET).status == 401
    assert deliver(port, secret="a new one").status == 202


def test_what_is_no_push_to_our_branch_is_left_alone(served: DaemonProcess, fetches: Path, port: int) -> None:
    before = at_rest(fetches)
    elsewhere = GIT_PUSH | {"repository": {"full_name": "dev/other"}}
    pull = {"pull_request": {"base": {"ref": "main"}}, "repository": {"full_name": "fleet"}}
    for reply in (
        deliver(port, said={"zen": "Keep it logically awesome."}, X_GitHub_Event="ping"),
        deliver(port, said=GIT_PUSH | {"ref": "refs/heads/dev"}),
        deliver(port, said=elsewhere),
        deliver(port, said=pull, X_GitHub_Event="pull_request"),
    ):
        assert reply.status == 202
        assert reply.body["did"].startswith("nothing: ")
    assert at_rest(fetches) == before


@pytest.mark.fault("AP-04")
@pytest.mark.parametrize("said", [b"", b"{", b"null", b'{"ref": 1}', b"[" * 50_000, b'{"ref": "\\ud800"}'])
def test_what_is_genuine_and_strange_is_refused(served: DaemonProcess, port: int, said: bytes) -> None:
    reply = deliver(port, said=said)
    assert reply.status == 400
    assert reply.headers["Content-Type"] == "application/problem+json"


def test_a_provider_that_is_not_expected_is_not_there(served: DaemonProcess, port: int) -> None:
    reply = call(port, "POST", "/webhook/gogs", b"{}")
    assert reply.status == 404
    assert "github, gitlab, gitea, bitbucket" in reply.body["remedy"]
    assert call(port, "GET", "/webhook/github").status == 405


def raw(port: int, head: str, *bodies: bytes) -> bytes:
    """What is answered to a request that is written by hand; an answer may come before all of it is sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as channel:
        channel.sendall(head.replace("\n", "\r\n").encode() + b"\r\n")
        try:
            for body in bodies:
                channel.sendall(body)
        except OSError:
            pass
        return channel.recv(4096)


HEAD = "POST /webhook/github HTTP/1.1\nHost: x\nX-Hub-Signature-256: sha256=00\nConnection: close\n"


@pytest.mark.fault("AP-03")
def test_what_is_too_large_is_refused_before_it_is_read(served: DaemonProcess, port: int) -> None:
    # Not a byte of the body is sent.
    answer = raw(port, f"{HEAD}Content-Length: {50 << 20}\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert raw(port, f"{HEAD}Content-Length: {'9' * 300}\n").startswith(b"HTTP/1.1 4")
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    answer = raw(port, f"{HEAD}Transfer-Encoding: chunked\n", *[chunk] * (BODY_BYTES_MAX // 0x10000 + 1))
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.fault("AP-03")
def test_slow_senders_wait_for_nobody_and_nobody_for_them(served: DaemonProcess, port: int) -> None:
    head = f"{HEAD}Content-Length: 100\n".replace("\n", "\r\n").encode() + b"\r\n{"
    slow = [
        socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(webhooks.READ_AT_ONCE_MAX)
    ]
    try:
        for channel in slow:
            channel.sendall(head)
        wait_until(lambda: deliver(port).status == 503)  # all of them are being read
        began = time.monotonic()
        assert call(port, "GET", "/health/check").status == 200
        assert time.monotonic() - began < 1
        assert slow[0].recv(4096).startswith(b"HTTP/1.1 408 ")
    finally:
        for channel in slow:
            channel.close()
    wait_until(lambda: deliver(port).status == 202)


@pytest.mark.fault("AP-03")
def test_a_flood_is_few_fetches_and_delays_nobody(served: DaemonProcess, fetches: Path, port: int) -> None:
    before, began, asked_s = at_rest(fetches), time.monotonic(), list[float]()
    done = threading.Event()

    def ask_for_health() -> None:
        while not done.is_set():
            asked = time.monotonic()
            assert call(port, "GET", "/health/check").status == 200
            asked_s.append(time.monotonic() - asked)
            done.wait(0.05)

    with ThreadPoolExecutor(5) as pool:
        asking = pool.submit(ask_for_health)
        statuses = set(pool.map(lambda _: deliver(port).status, range(GENUINE_BURST)))
        done.set()
        asking.result()
    took_s = time.monotonic() - began
    assert statuses == {202}
    assert sorted(asked_s)[len(asked_s) // 2] < 0.1
    assert max(asked_s) < 2
    assert 1 <= at_rest(fetches) - before <= 2 + took_s / webhooks.NUDGES_APART_S


@pytest.mark.fault("AP-03")
def test_who_guesses_often_is_made_to_wait_and_nobody_else(served: DaemonProcess, port: int) -> None:
    statuses = [deliver(port, secret="guessed").status for _ in range(60)]
    assert set(statuses) == {401, 429}
    assert statuses.index(429) >= 5

    def both_wait() -> bool:  # on a slow machine a turn comes free between the two
        return [deliver(port, secret=secret).status for secret in ("guessed", "")] == [429, 429]

    wait_until(both_wait)  # from the same address
    assert call(port, "GET", "/health/check").status == 200
    wait_until(lambda: deliver(port).status == 202)
