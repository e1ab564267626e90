"""The repository as the engine sees it: each revision is read as what differs from another, while that is there."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.engine import repository as reading
from reconciler.engine.repository import Repository
from reconciler.git import Identity, Mirror, Remote, ahead
from reconciler.model.desired import resolve
from reconciler.model.errors import TransientError
from reconciler.model.layout import FOLDERS
from reconciler.model.plan import change_to
from reconciler.model.target import Target
from reconciler.parsed import Parsed
from tests.build import NOW, good
from tests.fleet_repository import FleetRepository
from tests.git.colleague import ENVIRONMENT, git


@pytest.fixture
def fleet(tmp_path: Path) -> FleetRepository:
    fleet = FleetRepository(tmp_path)
    fleet.deploy_first("1.0.0")
    return fleet


def test_a_branch_that_was_looked_at_and_is_gone_keeps_nobody_from_reading_on(
    fleet: FleetRepository, repository: Repository
) -> None:
    mirror = repository.mirror
    first = repository.fetch().tip
    assert repository.snapshot(first).environments["production"].pins["api"].version.text == "1.0.0"
    fleet.ada.git("checkout", "--quiet", "-b", "idea")
    fleet.ada.commit({"environments/staging.yaml": "environment: staging\n"}, "Try something")
    fleet.ada.git("push", "--quiet", "origin", "idea")
    looked_at = mirror.fetch_branch("idea")
    repository.snapshot(looked_at)
    fleet.ada.git("checkout", "--quiet", "main")
    fleet.ada.git("push", "--quiet", "origin", "--delete", "idea")

    git(mirror._git.path, "update-ref", "-d", "refs/ugs/looked-at")
    git(mirror._git.path, "-c", "gc.reflogExpire=now", "gc", "--quiet", "--prune=now")
    mirror.close()  # its long-lived readers have what was packed open still
    with pytest.raises(TransientError):
        mirror.differences(looked_at, first, FOLDERS)
    fleet.release("1.1.0")
    fleet.pin("1.1.0")
    fleet.merge("Bump")
    tip = repository.fetch().tip
    assert repository.snapshot(tip).environments["production"].pins["api"].version.text == "1.1.0"


def test_who_starts_again_reads_no_file_and_asks_git_for_none(fleet: FleetRepository, tmp_path: Path) -> None:
    remote = Remote(str(fleet.remote), environment=ENVIRONMENT)
    found = []
    for _ in range(2):
        with closing(Mirror(tmp_path / "mirror.git", remote, Identity("UGS", "ugs@example.org"))) as mirror:
            repository = Repository(mirror, remote, parsed=Parsed(tmp_path / "parsed.db"))
            tip = repository.fetch().tip
            found.append((repository.snapshot(tip), repository._cache.parsed))
            repository.remember(found[-1][0])
    assert found[0][0] == found[1][0]
    assert (found[0][1] > 0, found[1][1]) == (True, 0)


def test_of_a_long_first_reading_it_is_told_how_far_it_has_come(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ahead, "FEW", 0)
    monkeypatch.setattr(reading, "MANY", 1)
    with caplog.at_level(logging.INFO):
        repository.snapshot(repository.fetch().tip)
    assert "reading the repository: 2 of 2 files" in caplog.text


def test_what_was_only_passed_on_the_way_to_a_pin_is_described_by_the_pin(
    fleet: FleetRepository, repository: Repository
) -> None:
    first = repository.fetch().tip
    started = resolve(repository.snapshot(first), {})["production"].workloads["api"]
    fleet.release("1.1.0")
    fleet.release("2.0.0", more='upgrade: {from: ">=1.1.0"}\n')
    fleet.pin('{version: "2.0.0", instances: 2}')
    fleet.merge("Bump")
    fleet.pin('{version: "2.0.0", instances: 3}')
    fleet.merge("Scale")
    tip = repository.fetch().tip
    asked = resolve(repository.snapshot(tip), {})["production"]
    change = change_to(asked, asked.workloads["api"], None, good(started), now=NOW)
    passed = change.after
    assert passed
    assert (change.path, passed.instances) == (("1.1.0", "2.0.0"), 3)
    fleet.pin("2.0.0")
    fleet.merge("Let one do")
    tip = repository.fetch().tip
    past = repository.past
    assert past.workload_of(tip, "production", "api", passed.target, {}) == passed
    strange = Target(passed.target.version, "0" * 64)
    assert past.workload_of(tip, "production", "api", strange, {}) is None
