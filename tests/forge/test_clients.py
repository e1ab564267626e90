"""Every client against a stand-in that holds each request against the forge's own description of its API."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from reconciler.forge import Denied, Draft, Forge, Invalid, Status, Unavailable
from tests.forge.conftest import client
from tests.forge.dialects import Answer
from tests.forge.server import ForgeServer

COMMIT = "a" * 40
CONTEXT = "ugs/production/api"
DRAFT = Draft("bump", "main", "Bump api", "What it brings", ("ugs", "ugs: minor"))


def test_a_token_that_may_do_all_is_found_well(forge: Forge) -> None:
    forge.check()


def test_a_status_is_set_and_set_again(server: ForgeServer, forge: Forge) -> None:
    forge.set_status(COMMIT, Status(CONTEXT, "pending", "waits: the window opens on Saturday"))
    forge.set_status(COMMIT, Status(CONTEXT, "pending", "waits: the window opens on Saturday"))
    forge.set_status(COMMIT, Status(CONTEXT, "failure", "x" * 1000))
    state, said = server.status(COMMIT, CONTEXT)
    assert state.casefold() in {"failure", "failed"}
    assert said.startswith("xxx")
    assert len(said) <= 255


def test_a_pull_request_is_opened_labelled_found_and_closed(server: ForgeServer, forge: Forge) -> None:
    assert forge.pull_from("bump") is None
    pull = forge.open_pull(DRAFT)
    assert (pull.state, pull.branch, pull.base) == ("open", "bump", "main")
    assert pull.head == server.pulls[pull.number].head
    kept = server.pulls[pull.number]
    labels = [] if server.kind == "bitbucket" else ["ugs", "ugs: minor"]
    assert (kept.title, kept.body, kept.labels) == ("Bump api", "What it brings", labels)
    assert forge.pull_from("bump") == pull
    forge.close_pull(pull.number)
    found = forge.pull_from("bump")
    assert found
    assert found.state == "closed"


def test_a_label_that_is_there_is_used_again(server: ForgeServer, forge: Forge) -> None:
    labels = [] if server.kind == "bitbucket" else ["ugs", "ugs: minor"]  # it has none
    for _ in range(2):
        forge.close_pull(forge.open_pull(DRAFT).number)
    assert [one.labels for one in server.pulls.values()] == [labels] * 2
    assert len(server.label_ids) in {0, 2}


def test_the_pull_request_by_which_a_commit_came_is_found(server: ForgeServer, forge: Forge) -> None:
    merged = server.merge(number := server.open("bump"))
    [found] = forge.pulls_with(merged)
    assert (found.number, found.state) == (number, "merged")
    assert forge.pulls_with("b" * 40) == ()


def test_a_comment_is_made_listed_and_edited(server: ForgeServer, forge: Forge) -> None:
    number = server.open("bump")
    forge.comment(number, "first")
    forge.comment(number, "second")
    first, second = forge.comments(number)
    assert (first.body, second.body) == ("first", "second")
    forge.edit_comment(number, second.id, "changed")
    assert server.said(number) == ["first", "changed"]


def test_comments_of_many_pages_are_all_listed(server: ForgeServer, forge: Forge) -> None:
    number = server.open("bump")
    server.pulls[number].comments.update({1000 + index: str(index) for index in range(150)})
    assert [one.body for one in forge.comments(number)] == [str(index) for index in range(150)]


def test_a_merge_is_asked_for_where_the_forge_has_that(server: ForgeServer, forge: Forge) -> None:
    pull = forge.open_pull(DRAFT)
    assert forge.merge_when_ready(pull)
    assert server.pulls[pull.number].waits_to_merge
    server.auto_merge = False
    assert not forge.merge_when_ready(pull)


def test_a_branch_that_was_deleted_cannot_be_proposed(forge: Forge) -> None:
    with pytest.raises(Invalid):
        forge.open_pull(Draft("gone", "main", "Bump", "x"))


def test_an_expired_token_is_told_by_what_to_do_and_never_shown(server: ForgeServer) -> None:
    with (
        contextlib.closing(client(server, "ghp_expired")) as forge,
        pytest.raises(Denied, match=r"does not know the token: .*forge\.token") as caught,
    ):
        forge.check()
    assert "ghp_expired" not in str(caught.value)


def test_a_moved_repository_is_told_by_its_new_name(server: ForgeServer, forge: Forge) -> None:
    server.full_name = "platform/fleet"
    with pytest.raises(Denied, match=r"ops/fleet has moved to platform/fleet; set forge\.repository"):
        forge.check()


def test_a_repository_that_is_not_there_is_told(server: ForgeServer, forge: Forge) -> None:
    server.answer_next(Answer(404, {"message": "Not Found"}))
    with pytest.raises(Denied, match=r"has no ops/fleet that the token may see; check forge\.repository"):
        forge.check()


def test_a_server_that_asks_to_wait_says_how_long(server: ForgeServer, forge: Forge) -> None:
    server.answer_next(Answer(429, {"message": "Too Many Requests"}, {"Retry-After": "77"}))
    with pytest.raises(Unavailable, match="asks to wait 77 s") as caught:
        forge.comment(1, "x")
    assert caught.value.retry_s == 77


def test_a_limit_is_waited_out_by_the_server_s_own_clock(server: ForgeServer, forge: Forge) -> None:
    prefix = "RateLimit" if server.kind == "gitlab" else "X-RateLimit"
    headers = {
        f"{prefix}-Remaining": "0",
        f"{prefix}-Reset": "1700000100",
        "Date": "Tue, 14 Nov 2023 22:13:20 GMT",  # 1700000000, years ago by our clock
    }
    server.answer_next(Answer(429, {"message": "Too Many Requests"}, headers))
    with pytest.raises(Unavailable, match="asks to wait 100 s") as caught:
        forge.pulls_with(COMMIT)
    assert caught.value.retry_s == 100


def test_a_server_in_maintenance_says_when_to_come_back(server: ForgeServer, forge: Forge) -> None:
    server.answer_next(Answer(503, {"message": "Down for maintenance"}, {"Retry-After": "120"}))
    with pytest.raises(Unavailable, match="answered 503") as caught:
        forge.set_status(COMMIT, Status(CONTEXT, "success", "x"))
    assert caught.value.retry_s == 120


@pytest.mark.parametrize("status", [307, 308])
def test_a_write_that_is_sent_elsewhere_is_a_moved_repository(
    server: ForgeServer, forge: Forge, status: int
) -> None:
    there = {"Location": f"{server.url}/elsewhere"}
    server.answer_next(Answer(status, {"message": "Moved"}, there))
    with pytest.raises(Denied, match=r"the repository has moved; set forge\.repository"):
        forge.comment(1, "x")
    assert len(server.calls) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_token_is_shown_to_no_other_server(
    server: ForgeServer, forge: Forge, remote: Path, status: int
) -> None:
    with ForgeServer(server.kind, remote) as other:
        server.answer_next(Answer(status, "", {"Location": f"{other.api}/x"}))
        with pytest.raises((Denied, Unavailable)):
            forge.pulls_with(COMMIT)
        assert other.calls == []
    server.violations.clear()  # what is asked of the same server instead, it may refuse


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_that_is_ill_is_asked_again(server: ForgeServer, forge: Forge, status: int) -> None:
    server.answer_next(Answer(status, "<html>upstream</html>"))
    with pytest.raises(Unavailable, match=f"answered {status}"):
        forge.set_status(COMMIT, Status(CONTEXT, "success", "x"))
    assert len(server.calls) == 1


@pytest.mark.parametrize("body", ["<html>Sign in to the hotel's network</html>", '{"id": "x"}', "[1, 2"])
def test_what_is_no_answer_of_a_forge_is_asked_again(server: ForgeServer, forge: Forge, body: str) -> None:
    server.answer_next(Answer(200, body))
    with pytest.raises(Unavailable, match="answered"):
        forge.set_status(COMMIT, Status(CONTEXT, "success", "x"))


def test_a_server_that_is_down_is_asked_again(server: ForgeServer, forge: Forge) -> None:
    server.go_down()
    with pytest.raises(Unavailable, match="cannot be reached"):
        forge.comments(1)


def test_what_can_never_be_done_is_said_once(server: ForgeServer, forge: Forge) -> None:
    server.answer_next(Answer(422, {"message": "No commit found for SHA"}))
    with pytest.raises(Invalid, match=r"refuses \(422\): No commit found"):
        forge.set_status(COMMIT, Status(CONTEXT, "success", "x"))


def test_what_the_token_may_not_do_is_for_a_person(server: ForgeServer, forge: Forge) -> None:
    server.answer_next(Answer(403, {"message": "required=[write:repository], token scope=read:repository"}))
    with pytest.raises(Denied, match=r"write:repository"):
        forge.comment(1, "x")
