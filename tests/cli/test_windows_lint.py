"""`ugs windows lint`: what is odd, where it stands, and what it costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.calendars import ODD, RELEASE, asked, planted, run
from tests.test_docs import json_shapes, same_shape


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return planted(tmp_path)


def odd(tree: Path) -> None:
    (tree / "releases/api").mkdir(parents=True)
    (tree / "releases/api/1.5.0.yaml").write_text(RELEASE)
    (tree / "environments/production.yaml").write_text(ODD)


def test_good_windows_have_no_findings(tree: Path) -> None:
    result = run("lint", "--repository", str(tree))
    assert (result.exit_code, result.stdout) == (0, "errors: 0, warnings: 0\n")


def test_findings_stand_at_their_window_and_say_what_to_do(tree: Path) -> None:
    odd(tree)
    result = run("lint", "production", "--repository", str(tree))
    assert result.exit_code == 1
    skipped, repeated, short, summary = result.stdout.splitlines()
    assert skipped.startswith(
        "environments/production.yaml:6:11: warning: windows.minor[0]: the clocks skip 02:30 on 2027-03-28: "
        "this window opens Sun 2027-03-28 03:00 CEST; move its start"
    )
    assert "warning: windows.minor[0]: the clocks repeat 02:30 on 2027-10-31" in repeated
    assert short == (
        "environments/production.yaml:6:10: error: windows.minor: an upgrade to api 1.5.0 may take 4h 1m, "
        "and no minor opening is longer than 3h; give it a duration of 4h 1m or more"
    )
    assert summary == "errors: 1, warnings: 2"


def test_warnings_alone_are_no_failure(tree: Path) -> None:
    odd(tree)
    (tree / "releases/api/1.5.0.yaml").write_text(RELEASE.replace("4h", "4m"))
    result = run("lint", "--repository", str(tree))
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "errors: 0, warnings: 2")


def test_findings_for_machines(tree: Path) -> None:
    odd(tree)
    answer = asked(tree, "lint")
    same_shape(json_shapes()["windows lint"], answer, "windows lint")
    assert answer["ok"] is False
    assert [(one["severity"], one["environment"], one["line"]) for one in answer["findings"]] == [
        ("warning", "production", 6),
        ("warning", "production", 6),
        ("error", "production", 6),
    ]


def test_a_bad_file_is_a_finding_and_a_folder_is_read(tree: Path) -> None:
    (tree / "environments/test.yaml").write_text("environment: test\n")
    staging = tree / "environments/staging/environment.yaml"
    staging.write_text(ODD.replace("production", "staging").partition("pins")[0])
    result = run("lint", "--repository", str(tree))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "environments/test.yaml:1:1: error: the key `driver` is missing; add `driver: ...`"
    assert lines[1].startswith("environments/staging/environment.yaml:6:11: warning: windows.minor[0]: ")
