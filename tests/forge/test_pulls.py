"""Open pull requests, as every forge gives them: which there are, what they say, and where their heads are."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.forge import Annotation, Check, Draft, Forge, Invalid, paging
from tests.forge.server import ForgeServer
from tests.git.colleague import Colleague, git

COMMIT = "a" * 40
CHECK = Check("ugs/check", "failure", "2 lines are wrong", "Both are in `a`.", (Annotation("a", 3, "no"),))


@pytest.fixture
def fork(remote: Path, tmp_path: Path) -> Path:
    """Eve's copy, whose branch `bump` has a commit that our repository has not."""
    copy = tmp_path / "eve.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(remote), str(copy))
    eve = Colleague(tmp_path / "eve", copy)
    eve.commit({"a": "evil"}, "Bump")
    git(eve.folder, "push", "--quiet", "--force", "origin", "HEAD:refs/heads/bump")
    return copy


def test_all_open_ones_into_a_branch_are_listed_the_newest_first(
    server: ForgeServer, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = server.open("bump", title="First", author="ada", body="What it brings")
    elsewhere = server.open("bump", base="stable")
    merged, closed = server.open("bump"), server.open("bump")
    server.merge(merged)
    server.pulls[closed].state = "closed"
    many = [server.open("bump") for _ in range(110)]
    found = forge.open_pulls("main")
    assert [one.number for one in found] == [*reversed(many), first]
    assert (found[-1].title, found[-1].author, found[-1].body) == ("First", "ada", "What it brings")
    assert {one.base for one in found} == {"main"}
    assert forge.pull(elsewhere).base == "stable"
    monkeypatch.setattr(paging, "PAGES_MAX", 1)
    assert len(forge.open_pulls("main")) < 111


def test_one_is_asked_for_by_its_number(server: ForgeServer, forge: Forge) -> None:
    number = server.open("bump", title="Bump api", author="ada")
    found = forge.pull(number)
    assert (found.number, found.title, found.author, found.fork) == (number, "Bump api", "ada", False)
    with pytest.raises(Invalid):
        forge.pull(99)


def test_the_head_of_a_fork_is_fetched_from_our_own_repository(
    server: ForgeServer, forge: Forge, remote: Path, fork: Path
) -> None:
    if server.kind == "bitbucket":
        assert forge.head_ref(forge.pull(server.open("bump"))) == ""
        return
    ours, theirs = server.open("bump"), server.open("bump", fork=fork, author="eve")
    for number in (ours, theirs):
        pull = forge.pull(number)
        assert git(remote, "rev-parse", forge.head_ref(pull)) == pull.head
        assert pull.fork == (number == theirs)
    assert forge.pull(ours).head != forge.pull(theirs).head


def test_a_fork_s_branch_is_not_taken_for_ours(server: ForgeServer, forge: Forge, fork: Path) -> None:
    server.open("bump", fork=fork, author="eve")
    assert forge.pull_from("bump") is None
    ours = server.open("bump")
    server.open("bump", fork=fork, author="eve")
    found = forge.pull_from("bump")
    assert found
    assert found.number == ours


def test_title_text_and_labels_are_changed_later(server: ForgeServer, forge: Forge) -> None:
    number = forge.open_pull(Draft("bump", "main", "Bump", "x", ("ugs",))).number
    forge.edit_pull(number, "Bump api to 1.5.0", "Also brings 1.4.9")
    forge.label_pull(number, ("ugs: minor", "ugs"))
    if server.kind == "bitbucket":
        server.pulls[number].add(["ugs", "ugs: minor"])
    kept = server.pulls[number]
    assert (kept.title, kept.body, kept.state) == ("Bump api to 1.5.0", "Also brings 1.4.9", "open")
    assert kept.labels == ["ugs", "ugs: minor"]
    assert forge.pull(number).labels == (() if server.kind == "bitbucket" else ("ugs", "ugs: minor"))


def test_labels_are_taken_off_and_one_that_is_not_there_is_fine(server: ForgeServer, forge: Forge) -> None:
    number = forge.open_pull(Draft("bump", "main", "Bump", "x", ("ugs", "ugs: minor", "ugs: major"))).number
    server.pulls[number].labels.append("hers")
    if server.kind == "gitea":
        server.label_ids["ugs: patch"] = server.number()  # it is known there, and on no pull request
    forge.unlabel_pull(number, ("ugs: patch", "ugs: minor", "never made"))
    left = [] if server.kind == "bitbucket" else ["ugs", "ugs: major"]
    assert server.pulls[number].labels == [*left, "hers"]
    assert "never made" not in server.label_ids


def test_a_check_is_a_status_for_a_token(server: ForgeServer, forge: Forge) -> None:
    forge.set_check(COMMIT, CHECK)
    state, said = server.status(COMMIT, "ugs/check")
    assert (state.casefold() in {"failure", "failed"}, said) == (True, "2 lines are wrong")
    if server.kind == "bitbucket":
        [report] = server.checks[COMMIT, "ugs-check"].values()
        assert (report["result"], report["details"]) == ("FAILED", "2 lines are wrong\n\nBoth are in `a`.")
        assert [(one["path"], one["line"], one["summary"]) for one in report["annotations"]] == [
            ("a", 3, "no")
        ]
    else:
        assert server.checks == {}
