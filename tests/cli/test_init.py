"""`ugs init`: what it scaffolds is right, and runs."""

from __future__ import annotations

import re
from pathlib import Path

from tests.daemon_process import ugs
from tests.drivers.services import answers, free_port, get, kill_all
from tests.git.colleague import CANDID, git


def test_the_scaffold_passes_check_and_deploys(tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    made = ugs("init", folder)
    assert made.returncode == 0, made.stderr
    assert "git add -A" in made.stdout
    checked = ugs("check", cwd=folder)
    assert (checked.returncode, checked.stdout) == (0, "3 releases, 2 environments: fine\n")

    demo = folder / "environments/demo.yaml"
    port = free_port()
    demo.write_text(re.sub(r"port: \d+", f"port: {port}", demo.read_text()))
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Start")
    assert "ugs.yaml" not in git(folder, "ls-files").split()
    try:
        done = ugs("run", "--once", cwd=folder)
        assert done.returncode == 0, done.stderr
        assert "1.0.0" in get(port, "/version")

        # A revert can be pushed into the branch that is checked out here.
        bumped = ugs("bump", "demo", "greeter", "1.2.0", cwd=folder, environment=CANDID)
        assert bumped.returncode == 0, bumped.stderr
        assert ugs("run", "--once", cwd=folder).returncode == 1
        assert "1.0.0" in get(port, "/version")
        assert 'version: "1.0.0"' in demo.read_text()
        assert git(folder, "log", "-1", "--format=%s") == "Revert demo/greeter to 1.0.0"
        assert git(folder, "status", "--porcelain") == ""
    finally:
        kill_all(folder / "var", "demo")
    assert not answers(port)


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "ugs.yaml").write_text("mine\n")
    done = ugs("init", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "ugs: ugs.yaml exists already; choose a folder without it\n"
    assert [path.name for path in tmp_path.iterdir()] == ["ugs.yaml"]
    assert (tmp_path / "ugs.yaml").read_text() == "mine\n"


def test_inside_a_repository_it_makes_no_other(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert ugs("init", tmp_path / "ops/fleet").returncode == 0
    assert not (tmp_path / "ops/fleet/.git").exists()
