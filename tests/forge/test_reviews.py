"""What people have said of a pull request, as every forge gives it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.forge import Denied, Forge, Review
from tests.forge.server import ForgeServer
from tests.git.colleague import Colleague, git


@pytest.fixture
def number(server: ForgeServer) -> int:
    return server.open("bump", author="bob")


def said(forge: Forge, number: int) -> dict[str, Review]:
    found = forge.reviews(number)
    assert len({one.person for one in found}) == len(found)
    return {one.person: one for one in found}


def test_an_approval_says_who_gave_it_and_of_which_commit(
    server: ForgeServer, forge: Forge, number: int
) -> None:
    assert forge.reviews(number) == ()
    server.review(number, "ada")
    server.review(number, "eve")
    head = server.pulls[number].head
    assert said(forge, number) == {
        "ada": Review("ada", "approved", head, may_write=True),
        "eve": Review("eve", "approved", head, may_write=False),
    }


def test_an_approval_of_an_earlier_push_keeps_its_commit(
    server: ForgeServer, forge: Forge, number: int, remote: Path, tmp_path: Path
) -> None:
    server.review(number, "ada")
    before = server.pulls[number].head
    bob = Colleague(tmp_path / "bob", remote)
    git(bob.folder, "fetch", "--quiet", "origin", "bump")
    git(bob.folder, "reset", "--quiet", "--hard", "FETCH_HEAD")
    bob.commit({"a": "3"}, "One more thing")
    git(bob.folder, "push", "--quiet", "origin", "HEAD:bump")
    server.review(number, "cyd")
    after = server.pulls[number].head
    assert before != after
    found = said(forge, number)
    assert found["cyd"].commit == after
    assert before.startswith(found["ada"].commit or "none")  # Bitbucket cuts it off


def test_the_newest_word_of_everybody_counts(server: ForgeServer, forge: Forge, number: int) -> None:
    server.review(number, "ada", "rejected")
    server.review(number, "cyd", "approved")
    server.review(number, "cyd", "rejected")
    server.review(number, "ada", "approved")
    server.review(number, "ada", "commented")
    verdicts = {who: one.verdict for who, one in said(forge, number).items()}
    assert verdicts == {"ada": "approved", "cyd": "rejected"}


def test_what_was_dismissed_and_mere_comments_are_left_out(
    server: ForgeServer, forge: Forge, number: int
) -> None:
    server.review(number, "ada")
    server.review(number, "cyd", "commented")
    server.dismiss(number, "ada")
    assert forge.reviews(number) == ()


def test_the_accounts_of_a_team_are_all_read(server: ForgeServer, forge: Forge) -> None:
    if server.kind == "bitbucket":
        with pytest.raises(Denied, match="name people"):
            forge.members("@ops/deployers")
        return
    server.teams["ops/deployers"] = ["ada", *(f"person-{number}" for number in range(120))]
    server.teams["ops/deploy"] = ["eve"]
    assert forge.members("@ops/deployers") == set(server.teams["ops/deployers"])
    assert forge.members("ops/deploy") == {"eve"}


def test_a_team_that_may_not_be_seen_is_told_with_the_scope(server: ForgeServer, forge: Forge) -> None:
    scopes = {
        "github": "read:org",
        "gitlab": "the scope api",
        "gitea": "read:organization",
        "bitbucket": "name people",
    }
    with pytest.raises(Denied, match=rf"shows no team @ops/gone; .*{scopes[server.kind]}"):
        forge.members("@ops/gone")
