"""The daemon itself beside a forge: what is merged there is deployed, told, and where it is bad proposed back."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from tests.api.network import Reply, call
from tests.daemon_process import DaemonProcess
from tests.drivers.services import free_port
from tests.forge.server import ForgeServer
from tests.world import World

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["gitea", "gitlab"])
def test_from_merge_to_status_and_from_a_bad_release_to_its_revert_merged(world: World, kind: str) -> None:
    world.more = "policy: {revert: pull-request}\n"
    world.release("1.0.0", deadline="60s")
    world.pin("1.0.0")
    world.merge("Start")
    with ForgeServer(kind, world.remote) as forge:
        world.report_to(forge)
        daemon = DaemonProcess(world.configure(), world.state, environment={})
        try:
            daemon.until_runs("1.0.0")
            merged = forge.merge(number := world.propose(forge, "1.1.0", "unhealthy"))
            daemon.until(lambda: (merged, "ugs/production/api") in forge.statuses and forge.said(number))
            assert "failed and was taken back" in forge.said(number)[0]
            assert forge.status(merged, "ugs/production/api")[0] in {"failure", "failed"}
            daemon.until(lambda: any(pull.waits_to_merge for pull in forge.pulls.values()))
            [revert] = [pull for pull in forge.pulls.values() if pull.branch.startswith("ugs-revert-")]
            assert revert.labels == ["ugs", "ugs: revert"]
            forge.merge(revert.number)
            daemon.until(lambda: (api := daemon.service("api")) and api["sync"] == "in-sync")
            daemon.until(lambda: "is merged" in daemon.log())
            assert 'api: "1.0.0"' in world.pinned()
        finally:
            daemon.stop()
        assert forge.violations == []


@pytest.mark.parametrize("kind", ["gitea", "gitlab"])
def test_a_webhook_of_a_pull_request_lets_it_be_previewed_at_once(world: World, kind: str) -> None:
    world.release("1.0.0", deadline="60s")
    world.pin("1.0.0")
    world.merge("Start")
    secret, port = world.folder / "hook-secret", free_port()
    secret.write_text("s3cret")
    secret.chmod(0o600)
    world.settings_more += (
        f'listen: "127.0.0.1:{port}"\nwebhooks: {{{kind}: {{secret: {{file: "{secret}"}}}}}}\n'
    )
    with ForgeServer(kind, world.remote) as forge:
        world.report_to(forge)
        daemon = DaemonProcess(world.configure(), world.state, environment={})
        try:
            daemon.until_runs("1.0.0")
            daemon.until(lambda: any(call.endswith(f"/{PULLS[kind]} 200") for call in forge.calls))
            number = world.propose(forge, "1.1.0")
            reply = deliver(port, kind)
            assert (reply.status, reply.body) == (202, {"did": "the pull requests will be looked at"})
            daemon.until(lambda: forge.said(number))
            [comment] = forge.said(number)
            assert "| `production` | `api` | `1.0.0` | `1.1.0` | minor | at once |" in comment
            daemon.until(lambda: (forge.pulls[number].head, "ugs/check") in forge.statuses)
        finally:
            daemon.stop()
        assert forge.violations == []


PULLS = {"gitea": "pulls", "gitlab": "merge_requests"}


def deliver(port: int, kind: str) -> Reply:
    """Says, genuinely, that somebody opened one."""
    if kind == "gitlab":
        said = {"object_kind": "merge_request", "object_attributes": {"target_branch": "main"}}
        return call(port, "POST", "/webhook/gitlab", said, headers={"X-Gitlab-Token": "s3cret"})
    body = json.dumps({"action": "opened", "pull_request": {"base": {"ref": "main"}}}).encode()
    signature = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    headers = {"X-Gitea-Event": "pull_request", "X-Gitea-Signature": signature}
    headers["Content-Type"] = "application/json"
    return call(port, "POST", "/webhook/gitea", body, headers=headers)


def test_from_a_release_to_its_bump_proposed_merged_and_running(world: World) -> None:
    world.release("1.0.0", deadline="60s")
    world.pin('{version: "1.0.0", bump: {from: releases, range: "^1"}}')
    world.merge("Start")
    with ForgeServer("gitea", world.remote) as forge:
        world.report_to(forge)
        daemon = DaemonProcess(world.configure(), world.state, environment={})
        try:
            daemon.until_runs("1.0.0")
            world.release("1.1.0", deadline="60s")
            world.merge("Release 1.1.0")
            daemon.until(lambda: forge.pulls)
            [pull] = forge.pulls.values()
            daemon.until(lambda: sorted(pull.labels) == ["ugs", "ugs: minor"])
            merged = forge.merge(pull.number)
            daemon.until_runs("1.1.0")
            daemon.until(lambda: (merged, "ugs/production/api") in forge.statuses)
            daemon.until(lambda: forge.status(merged, "ugs/production/api")[0] == "success")
        finally:
            daemon.stop()
        assert forge.violations == []
