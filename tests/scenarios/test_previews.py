"""Open pull requests are shown what they would change: one comment, edited in place, and a check."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from reconciler.engine.pull_requests import previews
from reconciler.engine.pull_requests.previews import Previewer
from reconciler.model.previewed import AGAIN_AFTER, CHECK
from tests.forge.dialects import Answer
from tests.forge.server import ForgeServer
from tests.git.colleague import git
from tests.world import World

pytestmark = pytest.mark.slow

LATER = AGAIN_AFTER + timedelta(seconds=1)
WRITES = ("POST", "PATCH", "PUT")


async def started(world: World) -> Previewer:
    """1.0.0 runs."""
    world.release("1.0.0", deadline="60s")
    world.pin("1.0.0")
    world.merge("Start")
    await world.settle()
    return Previewer(world.fleet)


async def told(world: World, forge: ForgeServer, previewer: Previewer) -> list[str]:
    """One round; what was written there in it."""
    before = len(forge.calls)
    world.clock.move(timedelta(seconds=previews.LOOK_S))
    await previewer.round()
    return [call for call in forge.calls[before:] if call.startswith(WRITES)]


def push(world: World, branch: str, message: str = "Go on") -> str:
    """Commit what was written onto a branch; its tip."""
    world.ada.git("checkout", "--quiet", branch)
    sha = world.commit(message)
    world.ada.git("push", "--quiet", "origin", branch)
    world.ada.git("checkout", "--quiet", "main")
    return sha


def as_an_app(world: World, forge: ForgeServer) -> None:
    """The daemon is a GitHub App, which alone may annotate lines. To be said before the engine is used."""
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    key = world.folder / "app-key"
    private = rsa.generate_private_key(65537, 2048)
    key.write_bytes(private.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    token = f'token: {{file: "{world.folder / "forge-token"}"}}'
    assert token in world.settings_more
    world.settings_more = world.settings_more.replace(token, f'app: {{id: 7, key: {{file: "{key}"}}}}')
    forge.app = True
    forge.answer_next(Answer(200, {"id": 99, "permissions": {}}))
    lasts = {"token": forge.token, "expires_at": "2999-01-01T00:00:00Z", "permissions": {}}
    forge.answer_next(Answer(201, lasts))


def the_check(forge: ForgeServer, head: str) -> tuple[str, str]:
    return forge.status(head, CHECK)


async def test_an_opened_pull_request_gets_the_plan_and_a_check(world: World, forge: ForgeServer) -> None:
    previewer = await started(world)
    number = world.propose(forge, "1.1.0")
    await told(world, forge, previewer)
    [comment] = forge.said(number)
    assert "### UGS: 1 change in production\n" in comment
    assert "what runs is as the daemon sees it" in comment
    assert "| `production` | `api` | `1.0.0` | `1.1.0` | minor | at once |" in comment
    state, said = the_check(forge, forge.pulls[number].head)
    assert (state, said) == ("success", "nothing that it brings is wrong")
    assert world.answers() == "1.0.0"
    # No news is no request.
    assert await told(world, forge, previewer) == []
    world.clock.move(LATER)
    assert await told(world, forge, previewer) == []


async def test_pushed_to_it_is_edited_in_place(world: World, forge: ForgeServer) -> None:
    previewer = await started(world)
    number = world.propose(forge, "1.1.0")
    await told(world, forge, previewer)
    first = forge.pulls[number].head
    world.release("1.2.0")
    world.pin("1.2.0")
    second = push(world, "api-1.1.0")
    await told(world, forge, previewer)
    [comment] = forge.said(number)
    assert "`1.2.0`" in comment
    assert {the_check(forge, head)[0] for head in (first, second)} == {"success"}


async def test_what_is_wrong_is_annotated_line_by_line_and_stands_in_the_comment(
    world: World, forge: ForgeServer
) -> None:
    as_an_app(world, forge)
    world.files["releases/web/9.9.9.yaml"] = "service: web\n"  # wrong before: nobody else's fault
    previewer = await started(world)
    world.files["releases/api/1.1.0.yaml"] = 'service: api\nversion: "1.1.0"\nrun: {command: "no list"}\n'
    world.ada.git("checkout", "--quiet", "-b", "broken")
    world.pin("1.1.0")
    head = push(world, "broken")
    number = forge.open("broken")
    await told(world, forge, previewer)
    [run] = forge.checks[head, CHECK].values()
    assert run["conclusion"] == "failure"
    found = {(one["path"], one["start_line"]) for one in run["output"]["annotations"]}
    assert ("releases/api/1.1.0.yaml", 3) in found
    assert all(path != "releases/web/9.9.9.yaml" for path, _ in found)
    assert "older problem" in run["output"]["summary"]
    [comment] = forge.said(number)
    assert "- Problem: `releases/api/1.1.0.yaml:3:" in comment
    world.release("1.1.0")
    mended = push(world, "broken", "Mend it")
    await told(world, forge, previewer)
    [run] = forge.checks[mended, CHECK].values()
    assert run["conclusion"] == "success"
    assert "older problem" in run["output"]["summary"]
    assert len(forge.said(number)) == 1


async def test_a_forks_pull_request_is_previewed_and_nothing_of_it_runs_or_comes_into_the_mirror(
    world: World, forge: ForgeServer, tmp_path: Path
) -> None:
    previewer = await started(world)
    fork = tmp_path / "fork.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(world.remote), str(fork))
    canary = tmp_path / "ran"
    world.release("1.1.0", command=f"[touch, {canary}]")
    world.pin("1.1.0")
    world.ada.git("checkout", "--quiet", "-b", "theirs")
    head = world.commit("Evil")
    world.ada.git("push", "--quiet", str(fork), "theirs")
    world.ada.git("checkout", "--quiet", "main")
    number = forge.open("theirs", fork=fork, author="mallory")
    await told(world, forge, previewer)
    [comment] = forge.said(number)
    assert "| `1.0.0` | `1.1.0` |" in comment
    assert not canary.exists()
    assert not world.core.repository.mirror.has(head)
    await world.settle()
    assert world.answers() == "1.0.0"


async def test_what_touches_nothing_that_is_deployed_is_left_alone_and_what_no_longer_does_says_so(
    world: World, forge: ForgeServer
) -> None:
    previewer = await started(world)
    world.ada.git("checkout", "--quiet", "-b", "docs")
    world.files["README.md"] = "Hello\n"
    push(world, "docs")
    number = forge.open("docs")
    assert await told(world, forge, previewer) == []
    world.release("1.1.0")
    push(world, "docs")
    await told(world, forge, previewer)
    assert len(forge.said(number)) == 1
    world.files["releases/api/1.1.0.yaml"] = ""
    world.ada.git("checkout", "--quiet", "docs")
    world.ada.git("rm", "--quiet", "-r", "releases/api/1.1.0.yaml")
    world.ada.git("commit", "--quiet", "-m", "Think better of it")
    world.ada.git("push", "--quiet", "origin", "docs")
    world.ada.git("checkout", "--quiet", "main")
    await told(world, forge, previewer)
    [comment] = forge.said(number)
    assert "nothing to deploy" in comment


async def test_a_comment_that_a_person_edited_is_kept_and_the_news_stands_below(
    world: World, forge: ForgeServer
) -> None:
    previewer = await started(world)
    number = world.propose(forge, "1.1.0")
    await told(world, forge, previewer)
    [(key, comment)] = forge.pulls[number].comments.items()
    forge.pulls[number].comments[key] = comment.replace("at once", "when Ada is back")
    world.release("1.2.0")
    world.pin("1.2.0")
    push(world, "api-1.1.0")
    await told(world, forge, previewer)
    edited, new = forge.said(number)
    assert "when Ada is back" in edited
    assert "`1.2.0`" in new


async def test_ci_that_has_written_the_plan_already_is_left_the_word(
    world: World, forge: ForgeServer
) -> None:
    previewer = await started(world)
    number = world.propose(forge, "1.1.0")
    forge.pulls[number].comments[1] = "<!-- ugs plan -->\n### UGS: 1 change"
    await told(world, forge, previewer)
    assert len(forge.said(number)) == 1
    assert the_check(forge, forge.pulls[number].head)[0] == "success"


async def test_the_tip_that_moves_changes_the_comment_once_in_a_while(
    world: World, forge: ForgeServer
) -> None:
    previewer = await started(world)
    number = world.propose(forge, "1.1.0")
    await told(world, forge, previewer)
    world.pins["api"] = '"1.0.0"'
    world.bump("1.0.1", deadline="60s")
    await world.settle()
    assert await told(world, forge, previewer) == []  # too soon
    world.clock.move(LATER)
    await told(world, forge, previewer)
    [comment] = forge.said(number)
    assert "it conflicts with main" in comment  # both moved the pin
    world.files["README.md"] = "Hello\n"
    world.merge("Say hello")
    await world.settle()
    world.clock.move(LATER)
    assert await told(world, forge, previewer) == []


async def test_what_holds_it_here_is_told_and_that_it_no_longer_does(
    world: World, forge: ForgeServer
) -> None:
    previewer = await started(world)
    number = world.propose(forge, "1.1.0")
    hold = world.core.store.hold("production", None, owner="ada", reason="look `first`", until=None)
    await told(world, forge, previewer)
    [comment] = forge.said(number)
    assert "not by itself" in comment
    assert "look `first`" in comment
    world.core.store.release_hold(hold.id, by="ada")
    world.clock.move(LATER)
    await told(world, forge, previewer)
    [comment] = forge.said(number)
    assert "at once" in comment


async def test_what_has_to_soak_elsewhere_first_is_told_as_the_gate_will_tell_it(
    world: World, forge: ForgeServer
) -> None:
    before, file = (
        "environment: staging\ndriver: {kind: process}\npins:\n  api: ",
        "environments/staging.yaml",
    )
    pin = f'{{version: "1.0.0", port: {world.port("staging")}}}\n'
    world.files[file] = before + pin
    world.more = "policy: {promote: {from: staging, soak: 24h}}\n"
    previewer = await started(world)
    world.files[file] = before + pin.replace("1.0.0", "1.1.0")
    world.release("1.1.0", deadline="60s")
    world.merge("Bump staging")
    await world.settle()
    world.clock.move(timedelta(hours=25))
    world.core.store.health("staging", "api", "degraded", "HTTP 500")
    number = world.propose(forge, "1.1.0")
    await told(world, forge, previewer)
    [comment] = forge.said(number)
    assert "- waits for promotion: `1.1.0 is degraded in staging (opened by" in comment
    world.core.store.health("staging", "api", "healthy", "")
    world.clock.move(LATER)
    await told(world, forge, previewer)
    [comment] = forge.said(number)
    forge.merge(number)
    await world.settle()
    [gate] = [one for one in world.view().gates if not one.open]
    assert gate.reason.startswith("1.1.0 has to run healthily in staging until ")
    assert f"- waits for promotion: `{gate.reason} (opened by" in comment


async def test_what_failed_here_before_is_told_before_it_is_merged_again(
    world: World, forge: ForgeServer
) -> None:
    previewer = await started(world)
    world.bump("1.1.0", "unhealthy")
    await world.settle()
    await world.settle()
    world.ada.pull_if_any()
    world.ada.git("checkout", "--quiet", "-b", "again")
    world.pin("1.1.0")
    push(world, "again")
    number = forge.open("again")
    await told(world, forge, previewer)
    [comment] = forge.said(number)
    assert "waits for quarantine" in comment
    assert "healthz" in comment
    # Nor does another content under the same version help: what was tried is frozen.
    world.release("1.1.0", deadline="60s")
    head = push(world, "again", "Change it")
    await told(world, forge, previewer)
    [comment] = forge.said(number)
    assert "waits for quarantine" in comment
    assert "- Problem: `releases/api/1.1.0.yaml:" in comment
    assert the_check(forge, head)[0] == "failure"


async def test_a_forge_that_is_down_for_an_hour_loses_nothing(world: World, forge: ForgeServer) -> None:
    previewer = await started(world)
    number = world.propose(forge, "1.1.0")
    forge.go_down()
    for _ in range(6):
        await previewer.round()
        world.clock.move(timedelta(minutes=10))
    assert len(forge.calls) == 0
    forge.come_up()
    await told(world, forge, previewer)
    assert len(forge.said(number)) == 1


async def test_a_restart_writes_no_second_comment(world: World, forge: ForgeServer) -> None:
    previewer = await started(world)
    number = world.propose(forge, "1.1.0")
    await told(world, forge, previewer)
    await world.restart()
    await world.settle()
    again = Previewer(world.fleet)
    assert await told(world, forge, again) == []
    world.core.store.forget_previews([number])  # not even where that was lost
    again._looked.clear()
    await told(world, forge, again)
    assert len(forge.said(number)) == 1


async def test_merged_it_is_forgotten_and_its_comment_stays(world: World, forge: ForgeServer) -> None:
    previewer = await started(world)
    number = world.propose(forge, "1.1.0")
    await told(world, forge, previewer)
    assert set(world.core.store.previews()) == {number}
    forge.merge(number)
    await told(world, forge, previewer)
    assert world.core.store.previews() == {}
    assert "### UGS: 1 change" in forge.said(number)[0]


async def test_a_branch_that_is_gone_is_left_alone_for_a_while_and_the_others_are_told(
    world: World, forge: ForgeServer
) -> None:
    previewer = await started(world)
    gone = world.propose(forge, "1.1.0")
    git(world.remote, "update-ref", "-d", f"refs/pull/{gone}/head")
    git(world.remote, "update-ref", "-d", "refs/heads/api-1.1.0")
    there = world.propose(forge, "1.2.0")
    git(world.remote, "reflog", "expire", "--expire=now", "--all")
    await told(world, forge, previewer)
    assert forge.said(gone) == []
    assert len(forge.said(there)) == 1
    assert await told(world, forge, previewer) == []


async def test_a_token_that_may_not_set_checks_still_writes_the_comment(
    world: World, forge: ForgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    previewer = await started(world)
    number = world.propose(forge, "1.1.0")
    answers = [
        Answer(403, {"message": "Resource not accessible"}, {"X-Accepted-GitHub-Permissions": "checks=write"})
    ]
    own = forge._proper

    def proper(method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        if answers and method == "POST" and "/statuses/" in path:
            return answers.pop()
        return own(method, path, query, body)

    monkeypatch.setattr(forge, "_proper", proper)
    await told(world, forge, previewer)
    assert len(forge.said(number)) == 1
    assert [call for call in world.calls() if "checks=write" in call]


async def test_a_pull_request_that_cannot_be_commented_on_keeps_no_other_from_it(
    world: World, forge: ForgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    previewer = await started(world)
    locked, free = world.propose(forge, "1.1.0"), world.propose(forge, "1.2.0")
    own = forge._proper

    def proper(method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        if method == "POST" and path.endswith(f"/issues/{locked}/comments"):
            return Answer(403, {"message": "Unable to create comment because issue is locked."})
        return own(method, path, query, body)

    monkeypatch.setattr(forge, "_proper", proper)
    await told(world, forge, previewer)
    assert (len(forge.said(locked)), len(forge.said(free))) == (0, 1)


async def test_switched_off_nothing_is_looked_at(world: World, forge: ForgeServer) -> None:
    world.settings_more = world.settings_more.replace("forge: {", "forge: {preview: false, ")
    world.deploy_first("1.0.0")
    assert world.core.forge is not None
    assert world.core.aside is None
    assert not (world.state / "previews.git").exists()
