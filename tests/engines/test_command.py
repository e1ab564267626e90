"""What the command driver alone has: a program that keeps two versions beside each other."""

from __future__ import annotations

import pytest

from tests.engines.harness import Stage

pytestmark = [
    pytest.mark.engine,
    pytest.mark.parametrize("engine", ["command"], indirect=True, scope="session"),
]


def test_a_daemon_settles_a_good_side_and_takes_a_bad_one_back(stage: Stage) -> None:
    with stage.running("1.0.0") as daemon:
        stage.bump("1.1.0", strategy="blue-green")
        daemon.until(lambda: set(stage.engine.instances("api")) == {"1.0.0", "1.1.0"})
        daemon.until_runs("1.1.0")
        daemon.until(lambda: stage.engine.instances("api") == ["1.1.0"])
        stage.bump("1.2.0", "unhealthy", strategy="blue-green")
        daemon.until(lambda: set(stage.engine.instances("api")) == {"1.1.0", "1.2.0"})
        stage.until_ended(daemon, "succeeded", "succeeded", "reverted")
        daemon.until(lambda: stage.engine.instances("api") == ["1.1.0"])
    assert stage.world.reverts() == [stage.world.tip()]
