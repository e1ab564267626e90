"""The verbs that only read, asked of a running daemon: as text for people, as JSON for machines."""

from __future__ import annotations

import json
import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.store import Store
from tests.daemon_process import DaemonProcess, ugs
from tests.world import World

GATE = {"gate", "open", "reason", "until", "opened_by"}
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


@pytest.fixture
def config(fleet: World, served: DaemonProcess) -> Path:
    return fleet.folder / "ugs.yaml"


def text(config: Path, *arguments: str, code: int = 0) -> str:
    """What a verb prints in a pipe; never an escape code."""
    done = ugs(*arguments, "--config", config)
    assert (done.returncode, done.stderr) == (code, "")
    assert "\x1b" not in done.stdout
    return done.stdout


def value(config: Path, *arguments: str, code: int = 0) -> Any:
    return json.loads(text(config, *arguments, "--json", code=code))


def test_status_shows_every_service_in_a_line(config: Path, fleet: World) -> None:
    first, header, *lines = text(config, "status").splitlines()
    assert first.startswith(f"repository ok: {fleet.tip()[:12]} is in force (fetched 20")
    assert header.split() == ["environment", "service", "pinned", "running", "sync", "health", "phase"]
    rows = [line.split() for line in lines]
    assert rows[0] == ["production", "api", "1.1.0", "1.1.0", "in-sync", "healthy"]
    assert rows[1][:5] == ["production", "db", "2.0.0", "1.0.0", "out-of-sync"]
    assert rows[1][-1] == "waiting"
    assert rows[2] == ["production", "web", "1.0.0", "1.0.0", "in-sync", "healthy"]
    assert lines[3].startswith("production: db 1.0.0 → 2.0.0 waits: frozen until Wed 2200-01-01")
    assert len(lines) == 4


def test_status_in_json(config: Path, fleet: World, served: DaemonProcess) -> None:
    status = value(config, "status")
    assert status.keys() >= {"as_of", "fetched_at", "daemon", "environments", "needs_person", "errors"}
    assert INSTANT.fullmatch(status["as_of"])
    assert INSTANT.fullmatch(status["fetched_at"])
    assert status["daemon"]["pid"] == served.pid
    [environment] = status["environments"]
    assert (environment["environment"], environment["revision"]) == ("production", fleet.tip())
    assert [service["service"] for service in environment["services"]] == ["api", "db", "web"]
    keys = {"service", "pinned", "running", "sync", "health", "phase", "sentence", "instances"}
    assert all(service.keys() >= keys for service in environment["services"])


def test_status_of_one_environment_and_of_none(config: Path) -> None:
    assert text(config, "status", "production") == text(config, "status")
    done = ugs("status", "nowhere", "--config", config)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "ugs: there is no environment nowhere; known here: production\n"


def test_explain_says_why_in_a_sentence_and_then_shows_every_gate(config: Path) -> None:
    sentence, _, header, *rows = text(config, "explain", "production", "db").splitlines()
    assert sentence.startswith("production: db 1.0.0 → 2.0.0 waits: frozen until Wed 2200-01-01")
    assert header.split() == ["gate", "state", "reason", "until", "opened", "by"]
    rows, [flags, _, *steps] = rows[: rows.index("")], rows[rows.index("") + 1 :]
    assert flags == "its flags: new-index undeclared → true"
    [closed] = [row for row in rows if " closed " in row]
    assert closed.startswith("freeze ")
    assert closed.endswith("the calendar")
    assert [re.split("  +", line) for line in steps] == [
        ["step", "class", "starts", "may take", "window"],
        ["2.0.0", "major", "2200-01-01 00:00:00", "3s", "-"],
    ]


def test_explain_in_json(config: Path) -> None:
    why = value(config, "explain", "production", "db")
    assert why.keys() >= {"sentence", "gates", "path", "starts_at"}
    assert all(gate.keys() == GATE for gate in why["gates"])
    assert [gate["gate"] for gate in why["gates"] if not gate["open"]] == ["freeze"]
    assert (why["path"], why["starts_at"]) == (["2.0.0"], "2200-01-01T00:00:00Z")
    [step] = why["steps"]
    assert (step["version"], step["class"], step["starts_at"]) == ("2.0.0", "major", "2200-01-01T00:00:00Z")
    assert step["unknown"] is None
    assert step["duration_s"] > 0


def test_explain_of_what_is_at_rest_is_one_sentence(config: Path) -> None:
    assert text(config, "explain", "production", "api") == (
        "production: api 1.1.0 runs as pinned and is healthy\n"
    )


def test_plan_shows_what_would_change_and_exits_with_2(config: Path) -> None:
    header, row, flags = text(config, "plan", code=2).splitlines()
    assert header.split()[:6] == ["environment", "service", "from", "to", "class", "starts"]
    assert re.match(r"production +db +1\.0\.0@\w{12} +2\.0\.0@\w{12} +major +2200-01-01 00:00:00 +froz", row)
    assert flags == "production/db: its flags: new-index undeclared → true"


def test_plan_in_json(config: Path, fleet: World) -> None:
    plan = value(config, "plan", code=2)
    assert plan.keys() >= {"from_revision", "to_revision", "changes"}
    assert plan["to_revision"] == fleet.tip()
    [change] = plan["changes"]
    keys = {"change", "environment", "service", "from", "to", "class", "path", "gates", "starts_at"}
    assert change.keys() >= keys | {"duration_s"}
    assert (change["service"], change["class"]) == ("db", "major")
    assert all(gate.keys() == GATE for gate in change["gates"])


def test_history_shows_how_each_upgrade_ended_the_newest_first(config: Path) -> None:
    header, *rows = text(config, "history").splitlines()
    assert header.split() == ["created", "environment", "service", "from", "to", "phase", "took", "reason"]
    ended = [tuple(row.split()[2:7]) for row in rows]
    assert sorted(ended[:3]) == [
        ("production", "api", "1.0.0", "1.1.0", "succeeded"),
        ("production", "db", "1.0.0", "2.0.0", "waiting"),
        ("production", "web", "1.0.0", "1.1.0", "reverted"),
    ]
    assert {row[2] for row in ended[3:]} == {"-"}
    [good] = [row for row in rows if " succeeded " in row and "1.1.0" in row]
    assert re.search(r"succeeded +preparing \d+s, applying \d+s, verifying \d+s", good)


def test_history_in_json_holds_the_journal(config: Path, fleet: World) -> None:
    [bad, first] = value(config, "history", "production", "web")["upgrades"]
    keys = {"operation", "change", "environment", "service", "from", "to", "revision", "phase"}
    assert bad.keys() >= keys | {"started_at", "ended_at", "reason", "revert_commit", "steps"}
    assert (bad["change"], bad["phase"], bad["revert_commit"]) == (
        "production/web",
        "reverted",
        fleet.reverts()[0],
    )
    assert (first["from"], first["phase"], first["revert_commit"]) == (None, "succeeded", None)
    phases = ["preparing", "applying", "verifying", "restoring", "reverting"]
    assert [one["phase"] for one in bad["phases"]] == phases
    assert sum(one["lasted_s"] for one in bad["phases"]) > 0
    steps = [step["step"] for step in bad["steps"]]
    assert steps == ["artifact", "restorable", "preflight", "apply", "restore", "revert"]
    for step in bad["steps"]:
        assert step.keys() == {"step", "started_at", "ended_at", "outcome", "detail"}
        assert INSTANT.fullmatch(step["ended_at"])
        assert step["outcome"] == "ok"


def test_what_probes_came_to_outlives_the_daemon(fleet: World) -> None:
    began = datetime.now(UTC) - timedelta(days=1)
    with closing(Store(fleet.state / "ugs.db", now=lambda: datetime.now(UTC), read_only=True)) as store:
        hours = store.probed("production", "web", since=began)
    assert sum(one.rollup.failed for one in hours) > 0  # of 1.1.0, which was reverted
    assert {one.probe for one in hours} >= {"process"}


def test_history_has_a_limit(config: Path) -> None:
    assert len(value(config, "history", "--limit", "1")["upgrades"]) == 1
    assert ugs("history", "--limit", "0", "--config", config).returncode == 2


def test_logs_show_what_a_service_wrote(config: Path) -> None:
    assert text(config, "logs", "production", "api") == "1.0.0 listens\nstops politely\n1.1.0 listens\n"
    assert text(config, "logs", "production", "api", "-n", "1") == "1.1.0 listens\n"


def test_logs_of_what_never_ran_here(config: Path) -> None:
    done = ugs("logs", "production", "nobody", "--config", config)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "ugs: production: nothing is kept that nobody wrote; see `ugs status` for what runs where\n"
    )


def test_the_audit_log_ends_with_the_newest(config: Path) -> None:
    header, *rows = text(config, "audit", "log", "--limit", "100").splitlines()
    assert header.split() == ["at", "event", "environment", "service", "actor", "detail"]
    events = [row.split()[2] for row in rows]
    assert events[0] == "accepted"
    assert events.index("quarantined") < events.index("restoring") < events.index("reverted")
    newest = value(config, "audit", "log", "--limit", "2")["rows"]
    assert [row["id"] for row in newest] == [len(rows), len(rows) - 1]
    assert newest[0]["previous_hash"] == newest[1]["hash"]


def test_the_audit_log_is_whole(config: Path) -> None:
    assert text(config, "audit", "verify") == "the audit log is whole\n"
    assert value(config, "audit", "verify") == {"ok": True, "broken_at": None}


def test_what_failed_stands_in_quarantine(config: Path, fleet: World) -> None:
    _, row = text(config, "quarantine", "list").splitlines()
    assert row.split()[2:4] == ["production", "web"]
    [entry] = value(config, "quarantine", "list")["quarantine"]
    assert entry["target"].startswith("1.1.0@")
    assert entry["revert_commit"] == fleet.reverts()[0]


def test_sync_says_what_is_in_force(config: Path, fleet: World) -> None:
    assert text(config, "sync") == f"{fleet.tip()[:12]} is in force\n"
    assert value(config, "sync") == {"revision": fleet.tip()}
