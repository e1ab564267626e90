"""What is GitHub's own: limits, scopes, Apps, deployments; and the answers that it publishes as examples."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from reconciler.forge import Annotation, Check, Denied, Draft, Status, Unavailable
from reconciler.forge.github import REVIEWERS_MAX, App, GitHub
from reconciler.forge.github.answers import (
    Account,
    CommentAnswer,
    Made,
    Permission,
    PullAnswer,
    Repository,
    ReviewAnswer,
)
from tests.forge.conftest import client
from tests.forge.description import Description
from tests.forge.dialects import Answer
from tests.forge.server import ForgeServer

COMMIT = "a" * 40
STATUS = Status("ugs/production/api", "success", "succeeded")
PUBLISHED: dict[str, Any] = {
    "get /repos/{owner}/{repo}": Repository,
    "post /repos/{owner}/{repo}/check-runs": Made,
    "patch /repos/{owner}/{repo}/check-runs/{check_run_id}": Made,
    "get /repos/{owner}/{repo}/collaborators/{username}/permission": Permission,
    "get /repos/{owner}/{repo}/commits/{commit_sha}/pulls": list[PullAnswer],
    "get /repos/{owner}/{repo}/deployments": list[Made],
    "get /repos/{owner}/{repo}/issues/{issue_number}/comments": list[CommentAnswer],
    "get /repos/{owner}/{repo}/pulls": list[PullAnswer],
    "get /repos/{owner}/{repo}/pulls/{pull_number}": PullAnswer,
    "get /repos/{owner}/{repo}/pulls/{pull_number}/reviews": list[ReviewAnswer],
    "get /orgs/{org}/teams/{team_slug}/members": list[Account],
    "patch /repos/{owner}/{repo}/issues/comments/{comment_id}": Made,
    "patch /repos/{owner}/{repo}/pulls/{pull_number}": PullAnswer,
    "post /repos/{owner}/{repo}/deployments/{deployment_id}/statuses": Made,
    "post /repos/{owner}/{repo}/issues/{issue_number}/comments": Made,
    "post /repos/{owner}/{repo}/pulls": PullAnswer,
    "post /repos/{owner}/{repo}/statuses/{sha}": Made,
}


@pytest.fixture
def server(remote: Path) -> Iterator[ForgeServer]:
    with ForgeServer("github", remote) as running:
        yield running
        assert running.violations == []


@pytest.fixture
def forge(server: ForgeServer) -> Iterator[GitHub]:
    with contextlib.closing(client(server)) as made:
        assert isinstance(made, GitHub)
        yield made


@pytest.mark.parametrize("operation", PUBLISHED)
def test_what_it_publishes_as_an_answer_is_read(operation: str) -> None:
    answers = Description("github").operations[operation]["answers"]
    found = [one for examples in answers.values() for one in examples]
    assert found
    for one in found:
        msgspec.json.decode(json.dumps(one).encode(), type=PUBLISHED[operation])


def test_the_primary_limit_is_waited_out_by_its_own_clock(server: ForgeServer, forge: GitHub) -> None:
    headers = {
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "1700000100",
        "Date": "Tue, 14 Nov 2023 22:13:20 GMT",  # 1700000000, whatever our clock says
    }
    server.answer_next(Answer(403, {"message": "API rate limit exceeded for user ID 1."}, headers))
    with pytest.raises(Unavailable) as caught:
        forge.set_status(COMMIT, STATUS)
    assert caught.value.retry_s == 100


@pytest.mark.parametrize(("headers", "retry_s"), [({"Retry-After": "30"}, 30), ({}, 60)])
def test_a_secondary_limit_is_waited_out(
    server: ForgeServer, forge: GitHub, headers: dict[str, str], retry_s: float
) -> None:
    said = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
    server.answer_next(Answer(403, {"message": said}, headers))
    with pytest.raises(Unavailable) as caught:
        forge.comment(1, "x")
    assert caught.value.retry_s == retry_s


def test_a_token_without_the_scope_is_told_by_its_name(server: ForgeServer, forge: GitHub) -> None:
    server.scopes = "gist, read:user"
    with pytest.raises(Denied, match=r"lacks the scope repo; give it that scope; it has gist, read:user"):
        forge.check()


def test_a_fine_grained_token_is_told_which_permission_it_lacks(server: ForgeServer, forge: GitHub) -> None:
    headers = {"X-Accepted-GitHub-Permissions": "statuses=write"}
    server.answer_next(Answer(403, {"message": "Resource not accessible by personal access token"}, headers))
    with pytest.raises(Denied, match=r"give the token statuses=write"):
        forge.set_status(COMMIT, STATUS)


def test_a_redirect_of_a_write_is_a_moved_repository(server: ForgeServer, forge: GitHub) -> None:
    server.answer_next(
        Answer(307, {"message": "Moved"}, {"Location": f"{server.api}/repositories/1/statuses"})
    )
    with pytest.raises(Denied, match=r"the repository has moved; set forge\.repository"):
        forge.set_status(COMMIT, STATUS)


def test_a_redirect_to_another_server_is_not_followed(server: ForgeServer, forge: GitHub) -> None:
    server.answer_next(Answer(301, {"message": "Moved"}, {"Location": "http://evil.example/x"}))
    with pytest.raises(Denied, match=r"correct forge\.api"):
        forge.set_status(COMMIT, STATUS)


def test_a_commit_is_deployed_once_to_an_environment_and_its_state_follows(
    server: ForgeServer, forge: GitHub
) -> None:
    forge.set_deployment(COMMIT, "production/api", Status("ugs/production/api", "pending", "is under way"))
    forge.set_deployment(COMMIT, "production/api", STATUS)
    forge.set_deployment(COMMIT, "production/web", STATUS)
    assert [(one["environment"], one["states"]) for one in server.deployments.values()] == [
        ("production/api", ["in_progress", "success"]),
        ("production/web", ["success"]),
    ]


def test_what_nothing_stands_in_the_way_of_is_merged_as_it_was_seen(
    server: ForgeServer, forge: GitHub
) -> None:
    server.mergeable = True
    pull = forge.open_pull(Draft("bump", "main", "Bump", "x"))
    assert forge.merge_when_ready(pull)
    assert server.pulls[pull.number].state == "merged"


def test_a_token_that_was_changed_is_used_from_then_on(server: ForgeServer) -> None:
    tokens = ["old", server.token]
    with contextlib.closing(GitHub(server.repository, api=server.api, token=lambda: tokens[0])) as forge:
        with pytest.raises(Denied):
            forge.check()
        del tokens[0]
        forge.check()


# Apps


@pytest.fixture
def app(server: ForgeServer) -> Iterator[GitHub]:
    """An App's client."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with contextlib.closing(GitHub(server.repository, api=server.api, app=App(7, key.decode))) as made:
        yield made


def installed(permissions: dict[str, str]) -> Answer:
    return Answer(200, {"id": 99, "permissions": permissions})


def granted(token: str) -> Answer:
    return Answer(201, {"token": token, "expires_at": "2999-01-01T00:00:00Z", "permissions": {}})


def test_an_app_signs_in_once_and_uses_its_token_until_that_ends(server: ForgeServer, app: GitHub) -> None:
    server.answer_next(installed({}))
    server.answer_next(granted(server.token))
    app.set_status(COMMIT, STATUS)
    app.set_status(COMMIT, STATUS)
    assert server.calls == [
        "GET /api/v3/repos/ops/fleet/installation 200",
        "POST /api/v3/app/installations/99/access_tokens 201",
        f"POST /api/v3/repos/ops/fleet/statuses/{COMMIT} 201",
        f"POST /api/v3/repos/ops/fleet/statuses/{COMMIT} 201",
    ]


def test_an_app_checks_a_commit_line_by_line(server: ForgeServer, app: GitHub) -> None:
    server.app = True
    server.answer_next(installed({}))
    server.answer_next(granted(server.token))
    wrong = tuple(Annotation("environments/production.yaml", line, "no") for line in range(1, 121))
    app.set_check(COMMIT, Check("ugs/check", "pending", "is looked at", ""))
    app.set_check(COMMIT, Check("ugs/check", "failure", "120 lines are wrong", "All of them", wrong))
    pending, failed = server.checks[COMMIT, "ugs/check"].values()
    assert pending["status"] == "in_progress"
    assert (failed["status"], failed["conclusion"]) == ("completed", "failure")
    said = failed["output"]
    assert (said["title"], said["summary"]) == ("120 lines are wrong", "All of them")
    assert [one["start_line"] for one in said["annotations"]] == list(range(1, 121))
    assert server.statuses == {}


def test_an_app_that_may_make_no_checks_says_it_by_a_status_from_then_on(
    server: ForgeServer, app: GitHub
) -> None:
    server.answer_next(installed({}))
    server.answer_next(granted(server.token))
    for _ in range(2):
        app.set_check(COMMIT, Check("ugs/check", "success", "all is well", ""))
    assert server.statuses[COMMIT, "ugs/check"] == [("success", "all is well")] * 2
    assert sum("check-runs" in call for call in server.calls) == 1


def test_whether_many_may_write_is_asked_of_a_bounded_number(server: ForgeServer, forge: GitHub) -> None:
    number = server.open("bump")
    server.writers |= (people := {f"person-{number}" for number in range(REVIEWERS_MAX + 5)})
    for person in sorted(people):
        server.review(number, person)
    found = forge.reviews(number)
    assert len(found) == REVIEWERS_MAX + 5
    assert sum(one.may_write for one in found) == REVIEWERS_MAX


def test_an_app_that_may_not_write_what_it_must_is_told_which(server: ForgeServer, app: GitHub) -> None:
    server.answer_next(installed({}))
    server.answer_next(granted(server.token))
    server.answer_next(Answer(200, {"full_name": "ops/fleet"}))
    server.answer_next(installed({"statuses": "write", "pull_requests": "read"}))
    with pytest.raises(Denied, match=r"the App may not write deployments, pull_requests; give App 7"):
        app.check()


def test_an_app_that_is_not_installed_there_is_told(server: ForgeServer, app: GitHub) -> None:
    server.answer_next(Answer(404, {"message": "Not Found"}))
    with pytest.raises(Denied, match=r"has no ops/fleet that the token may see"):
        app.check()
