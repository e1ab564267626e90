"""What is Bitbucket's own: short keys and ids, scopes in its words, and merges that nobody can bind to a commit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.forge import Annotation, Check, Denied, Draft, Status
from reconciler.forge.bitbucket import Bitbucket
from reconciler.forge.bitbucket.checks import ANNOTATIONS_MAX
from tests.forge.conftest import client
from tests.forge.dialects import Answer
from tests.forge.server import ForgeServer
from tests.git.colleague import Colleague, git

COMMIT = "a" * 40


@pytest.fixture
def server(remote: Path) -> Iterator[ForgeServer]:
    with ForgeServer("bitbucket", remote) as running:
        yield running
        assert running.violations == []


@pytest.fixture
def forge(server: ForgeServer) -> Iterator[Bitbucket]:
    with contextlib.closing(client(server)) as made:
        assert isinstance(made, Bitbucket)
        yield made


def test_contexts_that_begin_alike_have_keys_of_their_own(server: ForgeServer, forge: Bitbucket) -> None:
    names = [f"ugs/production/{'long-' * 8}{last}" for last in ("one", "two")]
    for name in names:
        forge.set_status(COMMIT, Status(name, "error", "overtaken"))
    assert [server.status(COMMIT, name) for name in names] == [("STOPPED", "overtaken")] * 2


def test_a_report_holds_a_bounded_number_of_annotations(server: ForgeServer, forge: Bitbucket) -> None:
    wrong = tuple(Annotation("a", line, "x" * 1000) for line in range(1, ANNOTATIONS_MAX + 50))
    forge.set_check(COMMIT, Check("ugs/check", "pending", "wrong", "y" * 9000, wrong))
    [report] = server.checks[COMMIT, "ugs-check"].values()
    assert report["result"] == "PENDING"
    assert len(report["annotations"]) == ANNOTATIONS_MAX
    assert len({one["external_id"] for one in report["annotations"]}) == ANNOTATIONS_MAX


def test_a_token_is_told_which_scope_it_lacks(server: ForgeServer, forge: Bitbucket) -> None:
    error = {
        "message": "Your credentials lack one or more required privilege scopes.",
        "detail": {"granted": ["repository"], "required": ["pullrequest:write"]},
    }
    server.answer_next(Answer(403, {"type": "error", "error": error}))
    with pytest.raises(Denied, match=r"required: pullrequest:write"):
        forge.comment(1, "x")


def test_a_head_is_whole_and_asked_for_once(server: ForgeServer, forge: Bitbucket) -> None:
    number = server.open("bump")
    heads = {forge.pull(number).head for _ in range(3)}
    assert heads == {server.pulls[number].head}
    assert sum(call.split(" ")[1].endswith("/commits") for call in server.calls) == 1


def test_what_was_pushed_to_since_is_not_merged(
    server: ForgeServer, forge: Bitbucket, remote: Path, tmp_path: Path
) -> None:
    pull = forge.open_pull(Draft("bump", "main", "Bump", "x"))
    bob = Colleague(tmp_path / "bob", remote)
    git(bob.folder, "fetch", "--quiet", "origin", "bump")
    git(bob.folder, "reset", "--quiet", "--hard", "FETCH_HEAD")
    bob.commit({"a": "3"}, "One more thing")
    git(bob.folder, "push", "--quiet", "origin", "HEAD:bump")
    assert not forge.merge_when_ready(pull)
    assert not server.pulls[pull.number].waits_to_merge
    assert forge.merge_when_ready(forge.pull(pull.number))
