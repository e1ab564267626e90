"""What needs no daemon: a plan that starts nothing, and an audit log that tells when it was tampered with."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

from tests.daemon_process import run_once, ugs
from tests.world import World


def test_a_plan_without_a_daemon_shows_what_would_start_and_starts_nothing(world: World) -> None:
    world.deploy_first("1.0.0")
    config = world.configure()
    shown = ugs("plan", "--config", config)
    assert shown.returncode == 2, shown.stderr
    _, row = shown.stdout.splitlines()
    assert row.split()[:3] == ["production", "api", "-"]
    assert row.split()[4:] == ["initial", "now"]
    [change] = json.loads(ugs("plan", "--json", "--config", config).stdout)["changes"]
    assert (change["from"], change["class"]) == (None, "initial")
    assert all(gate["open"] for gate in change["gates"])
    assert world.answers() == ""
    assert json.loads(ugs("history", "--json", "--config", config).stdout) == {"upgrades": []}

    assert run_once(world)[0] == 0
    done = ugs("plan", "--config", config)
    assert (done.returncode, done.stdout) == (0, "nothing to change\n")


def test_a_row_of_the_audit_that_was_edited_is_found(world: World) -> None:
    world.deploy_first("1.0.0")
    assert run_once(world)[0] == 0
    config = world.configure()
    with closing(sqlite3.connect(world.state / "ugs.db")) as database:
        database.execute("DROP TRIGGER maintenance_logs_no_update")
        database.execute("UPDATE maintenance_logs SET actor = 'nobody' WHERE id = 2")
        database.commit()
    told = ugs("audit", "verify", "--config", config)
    assert told.returncode == 1
    assert told.stdout == "broken at row 2: the row is not what its hash was made from\n"
    told = ugs("audit", "verify", "--json", "--config", config)
    assert told.returncode == 1
    assert json.loads(told.stdout) == {"ok": False, "broken_at": 2}
