"""`ugs recover` and `ugs backup`, as a person types them after a database was damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon_process import DaemonProcess, configured, daemon, run_once, ugs
from tests.world import World, a_world

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """1.0.0 runs and 1.1.0 is pinned; of the database nothing can be read."""
    with a_world(tmp_path_factory.mktemp("recover")) as world:
        world.deploy_first("1.0.0")
        assert run_once(world)[0] == 0
        world.bump("1.1.0")
        (world.state / "ugs.db").write_bytes(b"no database at all, but long enough" * 1000)
        configured(world)
        yield world


@pytest.fixture(scope="module")
def served(fleet: World) -> Iterator[DaemonProcess]:
    with daemon(fleet) as running:
        running.until_serving()
        running.until(lambda: (seen := running.service()) and "safe mode" in seen["sentence"])
        yield running


def said(fleet: World, *arguments: str | Path, code: int = 0) -> str:
    done = ugs(*arguments, "--config", fleet.folder / "ugs.yaml", environment={"LOGNAME": "ada"})
    assert done.returncode == code, done.stderr
    return done.stdout if code != 1 else done.stderr


def printed(fleet: World, *arguments: str | Path) -> Any:
    return json.loads(said(fleet, *arguments, "--json"))


@pytest.mark.fault("DB-06")
def test_safe_mode_is_shown_and_accepted_and_a_backup_is_made_and_put_back(
    fleet: World, served: DaemonProcess, tmp_path: Path
) -> None:
    assert "needs a person: production: safe mode: " in said(fleet, "status", code=2)
    text = said(fleet, "recover")
    assert "the database is damaged" in text
    assert "ugs.db.damaged-" in text
    assert "To go on from here: ugs recover --accept production" in text
    [here] = printed(fleet, "recover", "production")["environments"]
    [service] = here["services"]
    assert service["on_accept"] == "1.1.0 is deployed"
    assert service["running"].startswith("1.0.0@")
    assert fleet.answers() == "1.0.0"

    assert "there is no environment staging" in said(fleet, "recover", "staging", "--accept", code=1)
    assert said(fleet, "recover", "--accept") == "production: safe mode is over\n"
    served.until_runs("1.1.0")
    assert said(fleet, "recover") == "nothing is in safe mode\n"

    made = printed(fleet, "backup", "create")
    assert Path(made["file"]).parent == fleet.state / "copies"
    file = tmp_path / "copy.db"
    assert "is made and verified" in said(fleet, "backup", "create", "--to", file)
    checked = ugs("backup", "verify", file)
    assert (checked.returncode, "is whole" in checked.stdout) == (0, True), checked
    assert "another daemon" in said(fleet, "backup", "restore", file, code=1)

    assert served.stop() == 0
    assert "what stood there is kept as" in said(fleet, "backup", "restore", file)
    assert printed(fleet, "backup", "restore", file)["kept"] is not None
    with daemon(fleet) as running:
        running.until_serving()
        running.until(
            lambda: any("a backup was restored by ada" in one for one in running.status()["needs_person"])
        )
