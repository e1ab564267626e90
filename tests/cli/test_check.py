"""`ugs check`: one line a problem, a shape for machines, annotations for GitHub, and an exit code."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reconciler.cli import tree as reading
from reconciler.cli.check import check
from reconciler.cli.tree import content, read_tree
from reconciler.model import section
from reconciler.model.engines import ENGINES
from reconciler.model.errors import HostError, UgsError

ROOT = Path(__file__).parent.parent.parent
RELEASE = f"""\
service: api
version: "1.5.0"
artifact: {{archive: {{url: a.tgz, sha256: "{"0" * 64}"}}}}
run: {{command: [x]}}
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(check, [str(argument) for argument in arguments])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A working tree with one release and one environment."""
    (tmp_path / "releases/api").mkdir(parents=True)
    (tmp_path / "environments").mkdir()
    (tmp_path / "releases/api/1.5.0.yaml").write_text(RELEASE)
    pins = "environment: test\ndriver: {kind: process}\npins: {api: '1.5.0'}\n"
    (tmp_path / "environments/test.yaml").write_text(pins)
    return tmp_path


def test_a_good_tree_is_fine(tree: Path) -> None:
    result = run(tree)
    assert (result.exit_code, result.output) == (0, "1 release, 1 environment: fine\n")
    as_json = run(tree, "--json")
    assert (as_json.exit_code, json.loads(as_json.output)) == (0, {"ok": True, "errors": []})
    github = run(tree, "--format", "github")
    assert (github.exit_code, github.output) == (0, "")


def test_the_current_folder_is_checked_by_default(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert run().output == "1 release, 1 environment: fine\n"


def test_every_problem_is_a_line_that_an_editor_can_jump_to(tree: Path) -> None:
    (tree / "releases/api/1.5.0.yaml").write_text(RELEASE.replace("service", "servce"))
    (tree / "environments/prod.yaml").write_text("environment: prod\npins: {api: 1.10}\n")
    result = run(tree)
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "environments/prod.yaml:1:1: the key `driver` is missing; add `driver: ...`",
        'environments/prod.yaml:2:13: pins.api: versions must be quoted; write "1.10"',
        "environments/test.yaml:3:13: pins.api: release 1.5.0 cannot be used; correct releases/api/1.5.0.yaml",
        'releases/api/1.5.0.yaml:1:1: the key `service` is missing; add it, for example `service: "api"`',
        "releases/api/1.5.0.yaml:1:1: servce: this key is unknown; did you mean `service`? known here: "
        "artifact, backup, config, flags, health, migrations, notes, requires, run, service, strategy, upgrade, "
        "version, withdrawn",
        "5 problems beside 0 releases, 1 environment",
    ]


def test_machines_get_the_documented_shape(tree: Path) -> None:
    (tree / "environments/test.yaml").write_text("environment: test\ndriver: {kind: pigeons}\n")
    for form in (["--json"], ["--format", "json"]):
        result = run(tree, *form)
        assert result.exit_code == 1
        assert json.loads(result.output) == {
            "ok": False,
            "errors": [
                {
                    "file": "environments/test.yaml",
                    "line": 2,
                    "column": 16,
                    "path": "driver.kind",
                    "message": "this value is unknown",
                    "remedy": f"write {' or '.join(ENGINES)}",
                }
            ],
        }


def test_github_gets_annotations_that_no_content_can_break_out_of(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "environments/a,b:100%.yaml").write_text("x\n")
    (tree / "environments/test.yaml").write_text(
        'environment: test\ndriver: {kind: process}\n"50%\\n::error": 1\n'
    )
    monkeypatch.chdir(tree.parent)
    lines = run(tree.name, "--format", "github").output.splitlines()
    assert lines == [
        f"::error file={tree.name}/environments/a%2Cb%3A100%25.yaml,line=1,col=1::the name is not one that can be "
        "used here; rename it with lower-case letters, digits and hyphens",
        f"::error file={tree.name}/environments/test.yaml,line=3,col=1::50%25 ::error: this key is unknown; "
        "known here: driver, environment, flags, freezes, hosts, pins, policy, renamed_from, strategy, "
        "timezone, windows",
    ]


def test_ugs_yaml_is_checked_where_there_is_one(tree: Path) -> None:
    (tree / "ugs.yaml").write_text(
        "repository: {url: .}\nsecrets: {a: {env: NOT_SET, environments: [p], services: [s]}}\n"
    )
    assert run(tree).exit_code == 0
    (tree / "ugs.yaml").write_text('repository: {url: .}\nlisten: "x:70000"\n')
    result = run(tree)
    assert result.exit_code == 1
    assert result.output.startswith("ugs.yaml:2:9: listen: there is no port 70000;")


# Working trees


def test_a_folder_that_is_no_repository_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        UgsError, match="neither releases/ nor environments/; name its working tree, or start one"
    ):
        read_tree(tmp_path)


def test_links_are_problems_and_are_not_followed(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "1.6.0.yaml").write_text("not: read")
    (tree / "releases/web").symlink_to(elsewhere)
    (tree / "releases/api/1.6.0.yaml").symlink_to(elsewhere / "1.6.0.yaml")
    assert [str(problem) for problem in read_tree(tree).problems] == [
        "releases/api/1.6.0.yaml:1:1: this is a symbolic link; put a regular file here, or remove it",
        "releases/web:1:1: this is a symbolic link; put a regular file here, or remove it",
    ]


def test_a_folder_that_is_a_link_is_refused(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (tree / "releases").rename(tmp_path_factory.mktemp("moved") / "releases")
    (tree / "releases").symlink_to("/etc")
    result = run(tree)
    assert result.exit_code == 1
    assert result.output == (
        "releases:1:1: this is not a folder; put the folder back\nthe repository cannot be read\n"
    )


def test_submodules_and_special_files_are_problems(tree: Path) -> None:
    (tree / "releases/vendor").mkdir()
    (tree / "releases/vendor/.git").write_text("gitdir: ../../.git/modules/vendor\n")
    (tree / "releases/vendor/1.0.0.yaml").write_text("not: read")
    os.mkfifo(tree / "environments/pipe.yaml")
    assert [str(problem).split(";")[0] for problem in read_tree(tree).problems] == [
        "environments/pipe.yaml:1:1: this is no regular file",
        "releases/vendor:1:1: this is a submodule",
    ]


def test_what_cannot_be_read_is_the_hosts_trouble(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        HostError, match="cannot be read: No such file or directory; check its owner and mode"
    ):
        content(tree / "absent")

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(tree / "releases"))

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(
        HostError, match="releases cannot be read: Permission denied; check its owner and mode"
    ):
        read_tree(tree)


# What this project publishes


def test_this_projects_own_examples_pass() -> None:
    assert run(ROOT).output == "3 releases, 2 environments: fine\n"


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0", "1.2.0"])
def test_the_examples_archives_are_what_their_sources_give(version: str, tmp_path: Path) -> None:
    greeter = ROOT / "releases/greeter"
    archive = (greeter / f"archives/greeter-{version}.tar.gz").read_bytes()
    release = read_tree(ROOT).releases["greeter", version]
    assert release.artifact.archive is not None
    assert release.artifact.archive.sha256 == hashlib.sha256(archive).hexdigest()
    subprocess.run(
        [sys.executable, greeter / "build.py", tmp_path], check=True, capture_output=True, timeout=60
    )
    built = (tmp_path / f"greeter-{version}.tar.gz").read_bytes()
    assert gzip.decompress(built) == gzip.decompress(archive)


def test_a_good_check_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from reconciler.cli.check import check\n"
        "check([sys.argv[1]], standalone_mode=False)\n"
        "heavy = ['jsonschema', 'git', 'rich', 'slack_sdk', 'aiohttp', 'sqlite_utils', 'watchdog', 'starlette']\n"
        "sys.exit(', '.join(name for name in heavy if name in sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, ROOT], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr.strip() == ""


@pytest.mark.fault("OP-05")
def test_the_programs_of_this_machine_are_held_against_their_floors(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "bin" / "git"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho git version 2.30.2\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(old.parent))
    shown = run(tree, "--programs")
    assert shown.exit_code == 1
    assert "git 2.30.2 is older than 2.34.0: it cannot sign with SSH keys" in shown.output
    assert "SQLite " in shown.output
    told = json.loads(run(tree, "--programs", "--json").stdout)
    assert told["ok"]
    assert [one["program"] for one in told["programs"] if one["lacks"]][:1] == ["git"]
    assert "programs" not in json.loads(run(tree, "--json").stdout)
    old.write_text("#!/bin/sh\nexit 3\n")
    assert isinstance(run(tree, "--programs").exception, HostError)


def test_a_large_tree_is_not_read_twice_and_a_small_one_leaves_nothing_behind(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caches = tmp_path / "caches"
    assert read_tree(tree, caches) == read_tree(tree)
    assert not caches.exists()
    monkeypatch.setattr(reading, "MANY", 2)
    assert read_tree(tree, caches).releases == read_tree(tree).releases
    (kept,) = caches.iterdir()

    def nobody_parses(_data: bytes, _path: str) -> None:
        raise AssertionError("this was read before")

    with monkeypatch.context() as patch:
        patch.setattr(section, "_parse", nobody_parses)
        assert read_tree(tree, caches).releases == read_tree(tree / ".", caches).releases
    (tree / "releases/api/1.5.0.yaml").write_text("cut off")
    assert read_tree(tree, caches).problems == read_tree(tree).problems != ()
    assert [*caches.iterdir()] == [kept]
    assert read_tree(tree, tree / "environments/test.yaml").problems != ()


def test_of_many_large_trees_those_checked_last_are_remembered(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MANY", 2)
    monkeypatch.setattr(reading, "REMEMBERED_MAX", 2)
    caches = tmp_path / "caches"

    def checked(name: str) -> Path:
        """What is remembered of that tree, as if it was last used long ago."""
        known = {*caches.glob("*")}
        read_tree(shutil.copytree(tree, tmp_path / name), caches)
        (made,) = {*caches.iterdir()} - known
        os.utime(made, (len(known), len(known)))
        return made

    first, second = checked("first"), checked("second")
    read_tree(tmp_path / "first", caches)  # so that the second is what was not used for longest
    third = checked("third")
    assert {*caches.iterdir()} == {first, third}
    assert not second.exists()
