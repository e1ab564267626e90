"""The daemon itself beside a forge: what is merged there is deployed, told, and where it is bad proposed back."""

from __future__ import annotations

import pytest

from tests.daemon_process import DaemonProcess
from tests.forge.server import ForgeServer
from tests.world import World


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
