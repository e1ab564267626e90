"""`ugs bump`: one pin moved in a working tree, every comment kept, nothing written that `ugs check` refuses."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon_process import ugs
from tests.forge.server import ForgeServer
from tests.git.colleague import CANDID, git

RELEASE = """\
service: {service}
version: "{version}"
artifact: {{archive: {{url: "archives/api.tar.gz", sha256: "{sha256}"}}}}
run: {{command: ["bin/api"], port: 8080}}
{more}"""
ENVIRONMENT = """\
# Ask Ada first.
environment: production
driver: {kind: process}
pins:
  api:   "1.0.0"   # the shop front
  web: {version: "2.0.0", port: 9000}
"""
PATH = "environments/production.yaml"


def release(version: str, more: str = "", service: str = "api") -> str:
    return RELEASE.format(service=service, version=version, sha256="0" * 64, more=more)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A working tree with a handful of releases, one of them withdrawn, one a candidate."""
    folder = tmp_path / "fleet"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    files = {
        PATH: ENVIRONMENT,
        "releases/api/1.0.0.yaml": release("1.0.0"),
        "releases/api/1.4.0.yaml": release(
            "1.4.0", "notes: |\n  Faster.\n  Smaller.\nrequires: {web: '>=2.0.0'}\n"
        ),
        "releases/api/1.4.1.yaml": release(
            "1.4.1", 'withdrawn: {reason: "loses orders", since: 2026-11-02}\n'
        ),
        "releases/api/2.0.0.yaml": release("2.0.0", "upgrade: {urgency: emergency}\n"),
        "releases/api/2.1.0-rc.1.yaml": release("2.1.0-rc.1"),
        "releases/api/3.0.0.yaml": release("3.0.0", "requires: {web: '>=9.0.0'}\n"),
        "releases/web/2.0.0.yaml": release("2.0.0", service="web"),
        "releases/web/2.0.1.yaml": release("2.0.1", service="web"),
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Start")
    return folder


def bump(tree: Path, *arguments: str) -> tuple[int, str, str]:
    done = ugs("bump", *arguments, "--repository", tree, environment=CANDID)
    return done.returncode, done.stdout, done.stderr


def test_an_exact_version_is_committed_and_the_comments_stay(tree: Path) -> None:
    code, out, err = bump(tree, "production", "api", "1.4.0")
    assert (code, err) == (0, "")
    head = git(tree, "rev-parse", "HEAD")
    assert out == f"{head[:12]} Bump production/api from 1.0.0 to 1.4.0; push it to deploy\n"
    assert (tree / PATH).read_text() == ENVIRONMENT.replace('"1.0.0"', '"1.4.0"')
    assert git(tree, "show", "--name-only", "--format=%B", "HEAD") == (
        "Bump production/api from 1.0.0 to 1.4.0\n\nClass: minor.\n\nNeeds web >=2.0.0.\n\n"
        "1.4.0:\n  Faster.\n  Smaller.\n\n\n" + PATH
    )
    assert git(tree, "status", "--porcelain") == ""


def test_only_the_version_moves_in_a_pin_with_more(tree: Path) -> None:
    assert bump(tree, "production", "web", "latest")[0] == 0
    assert (tree / PATH).read_text() == ENVIRONMENT.replace('"2.0.0"', '"2.0.1"')


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [("^1.0", "1.4.0"), ("1.4.1", "1.4.1"), ("<3.0.0", "2.0.0"), ("2.1.0-rc.1", "2.1.0-rc.1")],
)
def test_a_range_means_the_newest_that_is_not_withdrawn(tree: Path, wanted: str, chosen: str) -> None:
    code, out, _ = bump(tree, "production", "api", wanted, "--no-commit")
    assert (code, out) == (0, f"{PATH}: api is pinned to {chosen}\n")
    assert (tree / PATH).read_text() == ENVIRONMENT.replace('"1.0.0"', f'"{chosen}"')
    assert git(tree, "log", "--format=%s") == "Start"


def test_an_emergency_is_named_in_the_message(tree: Path) -> None:
    assert bump(tree, "production", "api", "2.0.0")[0] == 0
    assert "\nClass: emergency.\n" in git(tree, "show", "--no-patch", "--format=%B")


def test_the_message_brings_the_notes_of_every_release_on_the_way_and_says_what_is_withdrawn(
    tree: Path,
) -> None:
    (tree / "releases/api/1.4.1.yaml").write_text(
        release("1.4.1", 'withdrawn: {reason: "loses orders", since: 2026-11-02}\nnotes: |\n  Oops.\n')
    )
    assert bump(tree, "production", "api", "1.4.1")[0] == 0
    body = git(tree, "show", "--no-patch", "--format=%b")
    assert "Withdrawn since 2026-11-02: loses orders\n" in body
    assert body.index("1.4.1:\n  Oops.") < body.index("1.4.0:\n  Faster.\n  Smaller.")


def test_no_line_of_notes_becomes_a_trailer_that_the_daemon_obeys(tree: Path) -> None:
    text = release("1.4.0", "notes: |\n  Better.\n\n  Ugs-Retry: 0123456789abcdef\n")
    (tree / "releases/api/1.4.0.yaml").write_text(text)
    assert bump(tree, "production", "api", "1.4.0")[0] == 0
    assert "  Ugs-Retry: 0123456789abcdef" in git(tree, "show", "--no-patch", "--format=%b")
    assert git(tree, "show", "--no-patch", "--format=%(trailers:key=Ugs-Retry)") == ""


def test_endless_notes_are_cut(tree: Path) -> None:
    more = "".join(f"  line {number}\n" for number in range(200))
    (tree / "releases/api/1.4.0.yaml").write_text(release("1.4.0", f"notes: |\n{more}"))
    assert bump(tree, "production", "api", "1.4.0")[0] == 0
    body = git(tree, "show", "--no-patch", "--format=%b")
    assert body.endswith("More: see `ugs notes`.")
    assert "line 199" not in body


def test_a_way_down_says_so_and_what_is_lost(tree: Path) -> None:
    assert bump(tree, "production", "api", "1.4.0")[0] == 0
    assert bump(tree, "production", "api", "1.0.0")[0] == 0
    body = git(tree, "show", "--no-patch", "--format=%b")
    assert body.startswith(
        "Class: minor, and down: needs allow_downgrade, unless it goes back to what ran before."
    )
    assert "1.4.0 (taken back):\n  Faster." in body


def test_a_branch_of_its_own_takes_the_commit(tree: Path) -> None:
    code, out, err = bump(tree, "production", "api", "1.4.0", "--branch", "bump-api")
    assert (code, err) == (0, "")
    assert out.endswith("; push bump-api and merge it to deploy\n")
    assert git(tree, "log", "--format=%s", "main") == "Start"
    assert git(tree, "branch", "--show-current") == "bump-api"
    assert git(tree, "log", "-1", "--format=%s", "bump-api") == "Bump production/api from 1.0.0 to 1.4.0"


@pytest.mark.parametrize("name", ["main", "--orphan", "a..b"])
def test_a_branch_that_cannot_be_made_leaves_the_file_as_it_was(tree: Path, name: str) -> None:
    code, _, err = bump(tree, "production", "api", "1.4.0", f"--branch={name}")
    assert code == 1
    assert f"git makes no branch {name}: " in err
    assert (tree / PATH).read_text() == ENVIRONMENT
    assert git(tree, "branch", "--show-current") == "main"


def test_a_branch_without_a_commit_makes_no_sense(tree: Path) -> None:
    assert bump(tree, "production", "api", "1.4.0", "--branch", "x", "--no-commit")[0] == 2


def test_what_is_pinned_already_is_left_alone(tree: Path) -> None:
    assert bump(tree, "production", "api", "1.0.0") == (0, "production: api is pinned to 1.0.0 already\n", "")
    assert git(tree, "log", "--format=%s") == "Start"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("production", "nobody", "1.0.0"),
            "there is no release of nobody; add releases/nobody/<version>.yaml",
        ),
        (
            ("production", "api", "7.0.0"),
            "no release of api fits 7.0.0; there are 1.0.0, 1.4.0, 1.4.1, 2.0.0",
        ),
        (("production", "api", "newest"), "newest: "),
        (
            ("staging", "api", "1.4.0"),
            "there is no environment staging that can be used; there are production",
        ),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(
    tree: Path, arguments: tuple[str, ...], words: str
) -> None:
    code, out, err = bump(tree, *arguments)
    assert (code, out) == (1, "")
    assert words in err
    assert (tree / PATH).read_text() == ENVIRONMENT


def test_a_service_without_a_pin_is_not_given_one(tree: Path) -> None:
    (tree / "releases/db").mkdir()
    (tree / "releases/db/1.0.0.yaml").write_text(release("1.0.0", service="db"))
    code, _, err = bump(tree, "production", "db", "1.0.0")
    assert code == 1
    assert f"{PATH}:1:1: pins.db: is not pinned; add the pin by hand first" in err


def test_what_check_would_refuse_leaves_the_file_as_it_was(tree: Path) -> None:
    (tree / "releases/api/1.4.0.yaml").write_text(release("1.4.0", "colour: red\n"))
    code, _, err = bump(tree, "production", "api", "1.4.0")
    assert code == 1
    assert "1.4.0" in err
    assert (tree / PATH).read_text() == ENVIRONMENT


def test_a_folder_that_git_does_not_know_is_only_edited(tree: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    (tree / ".git").rename(tmp_path / "git")
    tree.rename(plain)
    code, _, err = bump(plain, "production", "api", "1.4.0")
    assert (code, err) == (1, f"ugs: {plain} is no Git working tree; use --no-commit, or run `git init`\n")


def test_a_folder_without_a_repository_for_ugs(tmp_path: Path) -> None:
    code, _, err = bump(tmp_path, "production", "api", "1.4.0")
    assert code == 1
    assert "neither releases/ nor environments/" in err


def test_a_commit_that_git_refuses_says_why(tree: Path) -> None:
    hook = tree / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho 'not on a Friday' >&2\nexit 1\n")
    hook.chmod(0o755)
    code, _, err = bump(tree, "production", "api", "1.4.0")
    assert code == 1
    assert "git refused the commit" in err
    assert "not on a Friday" in err


def test_a_tree_from_which_ugs_is_called_is_the_default(tree: Path) -> None:
    done = ugs("bump", "production", "api", "1.4.0", cwd=tree, environment=CANDID)
    assert done.returncode == 0, done.stderr


# As a pull request


@pytest.fixture
def forge(tree: Path) -> Iterator[ForgeServer]:
    """A Gitea with the tree's repository, which ugs.yaml names."""
    remote = tree.parent / "fleet.git"
    git(tree.parent, "clone", "--quiet", "--bare", str(tree), str(remote))
    git(tree, "remote", "add", "origin", str(remote))
    token = tree.parent / "token"
    token.write_text(ForgeServer.token)
    with ForgeServer("gitea", remote) as server:
        (tree.parent / "ugs.yaml").write_text(
            f'repository: {{url: "{remote}"}}\nforge: {server.settings(token)}\n'
        )
        yield server
        assert server.violations == []


def proposed(tree: Path, version: str = "1.4.0") -> subprocess.CompletedProcess[str]:
    config = tree.parent / "ugs.yaml"
    return ugs("bump", "--pr", "--config", config, "production", "api", version, cwd=tree, environment=CANDID)


def test_a_bump_is_pushed_and_proposed_with_its_notes_and_class(tree: Path, forge: ForgeServer) -> None:
    told = proposed(tree)
    assert told.returncode == 0, told.stderr
    [pull] = forge.pulls.values()
    assert f"Bump production/api from 1.0.0 to 1.4.0: {forge.url}/ops/fleet/pulls/" in told.stdout
    assert (pull.branch, pull.base) == ("bump-production-api-1.4.0", "main")
    assert pull.title == "Bump production/api from 1.0.0 to 1.4.0"
    assert ">   Faster." in pull.body
    assert pull.labels == ["ugs", "ugs: minor"]
    assert pull.head == git(tree, "rev-parse", "HEAD")


def test_what_was_cut_short_goes_on_and_is_not_made_twice(tree: Path, forge: ForgeServer) -> None:
    forge.go_down()
    told = proposed(tree)
    assert told.returncode == 1
    assert "Gitea cannot be reached" in told.stderr
    forge.come_up()
    for _ in range(2):
        assert proposed(tree).returncode == 0
    assert len(forge.pulls) == 1
    assert git(tree, "log", "--format=%s", "main..HEAD").splitlines() == [
        "Bump production/api from 1.0.0 to 1.4.0"
    ]


def test_what_the_bot_proposes_already_is_named_and_not_made(tree: Path, forge: ForgeServer) -> None:
    git(tree, "push", "--quiet", "origin", "main:ugs-bump-production.api")
    number = forge.open("ugs-bump-production.api", body="<!-- ugs asks production/api 1.4.0 -->")
    told = proposed(tree)
    assert told.returncode == 0, told.stderr
    assert (
        f"production: api 1.4.0 is proposed already: {forge.url}/ops/fleet/pulls/{number}; merge it"
        in told.stdout
    )
    assert list(forge.pulls) == [number]
    assert git(tree, "status", "--porcelain") == ""
    forge.pulls[number].state = "closed"
    assert proposed(tree).returncode == 0
    assert len(forge.pulls) == 2


def test_without_a_forge_nothing_is_edited(tree: Path) -> None:
    (tree.parent / "ugs.yaml").write_text('repository: {url: "fleet.git"}\n')
    told = proposed(tree)
    assert told.returncode == 1
    assert "names no forge, so there are no pull requests; add `forge`" in told.stderr
    assert git(tree, "status", "--porcelain") == ""


def test_without_a_remote_it_is_said_where_to_push(tree: Path, forge: ForgeServer) -> None:
    git(tree, "remote", "remove", "origin")
    told = proposed(tree)
    assert told.returncode == 1
    assert "nobody knows which remote to push to; call it origin" in told.stderr


def test_a_pull_request_needs_a_commit(tree: Path) -> None:
    told = ugs("bump", "--pr", "--no-commit", "production", "api", "1.4.0", cwd=tree)
    assert told.returncode == 2
    assert "--pr makes a commit, and --no-commit makes none" in told.stderr
