"""What a person may say to a running daemon: sync, retry, release, roll back. Each has a world of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon_process import DaemonProcess, configured, daemon, run_once, ugs
from tests.git.colleague import git
from tests.world import World


@pytest.fixture
def config(world: World) -> Path:
    """Where 1.0.0 of api runs."""
    world.deploy_first("1.0.0")
    assert run_once(world)[0] == 0
    return configured(world)


@pytest.fixture
def served(world: World, config: Path) -> Iterator[DaemonProcess]:
    with daemon(world) as running:
        running.until_runs("1.0.0")
        yield running


def fails(world: World, served: DaemonProcess) -> str:
    """A bump to a bad 1.1.0 that was taken back; its commit."""
    world.release("1.1.0", "unhealthy")
    world.pin("1.1.0")
    commit = world.merge("Bump api to 1.1.0")
    served.until(world.reverts)
    served.until_runs("1.0.0")
    return commit


def said(config: Path, *arguments: str, code: int = 0) -> str:
    done = ugs(*arguments, "--config", config)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def audited(config: Path, event: str) -> list[dict[str, str]]:
    rows = json.loads(said(config, "audit", "log", "--json", "--limit", "1000"))["rows"]
    return [row for row in rows if row["event"] == event]


def test_rollback_takes_back_what_runs_and_reverts_its_pin(
    world: World, config: Path, served: DaemonProcess
) -> None:
    before = world.pinned()
    world.release("1.1.0")
    world.pin("1.1.0")
    world.merge("Bump api to 1.1.0")
    served.until_runs("1.1.0")

    shown = said(config, "rollback", "production", "api", "--reason", "it loses orders")

    assert shown.startswith("production: api is being taken back (operation ")
    served.until_runs("1.0.0")
    assert world.pinned() == before
    [revert] = world.reverts()
    assert "it loses orders" in git(world.remote, "show", "--no-patch", "--format=%B", revert)


def test_rollback_answers_machines_with_the_operation(
    world: World, config: Path, served: DaemonProcess
) -> None:
    world.release("1.1.0")
    world.pin("1.1.0")
    world.merge("Bump api to 1.1.0")
    served.until_runs("1.1.0")
    answer = json.loads(said(config, "rollback", "production", "api", "--reason", "slow", "--json"))
    served.until(world.reverts)
    [revert] = world.reverts()
    form = "--format=%(trailers:key=Ugs-Operation,valueonly)"
    assert git(world.remote, "show", "--no-patch", form, revert) == answer["operation"]


def test_rollback_where_nothing_ran_before_is_refused(config: Path, served: DaemonProcess) -> None:
    said_why = said(config, "rollback", "production", "api", "--reason", "slow", code=1)
    assert "nothing that api could be rolled back to; pin a version" in said_why
    assert ugs("rollback", "production", "api", "--config", config).returncode == 2  # a reason is due


def test_retry_commits_the_pin_again_for_one_more_attempt(
    world: World, config: Path, served: DaemonProcess
) -> None:
    fails(world, served)
    shown = said(config, "retry", "production", "api")
    served.until(lambda: len(world.reverts()) == 2)
    served.until_runs("1.0.0")
    again = git(world.remote, "log", "--format=%H", "--grep=^Ugs-Retry: ", "main")
    assert shown == f"production: api is pinned again by {again[:12]}\n"
    assert [row["detail"] for row in audited(config, "retry")] == [again]
    answer = json.loads(said(config, "retry", "production", "api", "--json"))
    assert answer["commit"] in git(world.remote, "log", "--format=%H", "main")


def test_release_lets_the_next_commit_try_again(world: World, config: Path, served: DaemonProcess) -> None:
    fails(world, served)
    world.pins["api"] = '"1.1.0"'
    world.merge("Bump api to 1.1.0 once more")
    served.until(lambda: served.service()["phase"] == "waiting")
    needs = ugs("status", "--config", config)
    assert needs.returncode == 2
    assert "needs a person: production: api 1.1.0 failed and is still pinned" in needs.stdout
    assert len(world.reverts()) == 1

    shown = said(config, "quarantine", "release", "production", "api", "--reason", "it was the disk")

    assert shown.startswith("production: api 1.1.0@")
    assert shown.endswith(" may be tried once more\n")
    served.until(lambda: len(world.reverts()) == 2)
    assert "it was the disk" in audited(config, "quarantine-released")[0]["detail"]
    served.until_runs("1.0.0")
    answer = said(config, "quarantine", "release", "production", "api", "--reason", "again", "--json")
    assert [entry["target"].partition("@")[0] for entry in json.loads(answer)["released"]] == ["1.1.0"]
    assert json.loads(said(config, "quarantine", "list", "--json")) == {"quarantine": []}


def test_a_rewritten_branch_is_in_force_only_once_a_person_says_so(
    world: World, config: Path, served: DaemonProcess
) -> None:
    world.merge("A commit that is about to vanish")
    served.until(lambda: served.service() and served.status()["environments"][0]["revision"] == world.tip())
    was = world.tip()
    world.ada.git("reset", "--quiet", "--hard", "HEAD~1")
    world.ada.commit({"README.md": "another past\n"}, "Another past")
    world.ada.push("--force")

    assert "the branch was rewritten" in said(config, "sync", code=1)
    status = ugs("status", "--json", "--config", config)
    assert status.returncode == 2
    told = json.loads(status.stdout)
    assert told["daemon"]["state"] == "rewritten"
    assert told["environments"][0]["revision"] == was
    assert "ugs sync --accept-rewrite" in told["needs_person"][0]

    assert said(config, "sync", "--accept-rewrite") == f"{world.tip()[:12]} is in force\n"
    assert [row["detail"] for row in audited(config, "rewrite-accepted")] == [world.tip()]
    assert ugs("status", "--config", config).returncode == 0
