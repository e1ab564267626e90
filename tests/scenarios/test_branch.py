"""The branch itself: rewritten, deleted, unreachable. Services are left alone, and it is told once."""

from __future__ import annotations

import pytest

from reconciler.engine.repository import Rewritten
from reconciler.model.errors import HostError, TransientError, UgsError
from tests.git.colleague import git
from tests.world import World


@pytest.mark.fault("GT-03", "GT-04")
async def test_a_rewritten_branch_is_refused_until_a_person_accepts_it(world: World) -> None:
    world.deploy_first("1.0.0")
    start = world.tip()
    await world.settle()
    world.bump("1.1.0")
    await world.settle()
    pid = world.pid()

    world.ada.git("reset", "--quiet", "--hard", start)
    world.release("1.2.0")
    world.pin("1.2.0")
    world.commit("Something else")
    world.ada.push("--force")
    for _ in range(2):
        with pytest.raises(Rewritten, match="the branch was rewritten"):
            await world.fleet.refresh()
        await world.settle(refresh=False)
    assert world.state_of_branch() == "rewritten"
    assert world.pid() == pid
    assert len([call for call in world.calls() if "ugs sync --accept-rewrite" in call]) == 1

    await world.fleet.refresh(accept_rewrite=True)
    await world.settle()
    assert world.state_of_branch() == "ok"
    assert world.answers() == "1.2.0"
    assert "rewrite-accepted" in world.events()


@pytest.mark.fault("GT-03")
async def test_a_revert_is_not_pushed_onto_a_rewritten_branch(world: World) -> None:
    world.deploy_first("1.0.0")
    start = world.tip()
    await world.settle()
    world.bump("1.1.0", "unhealthy")

    def rewrite() -> None:
        world.ada.git("reset", "--quiet", "--hard", start)
        world.ada.git("commit", "--quiet", "--amend", "--message", "Another past")
        world.ada.push("--force")

    world.at["phase:restoring"] = rewrite
    await world.fleet.refresh()
    await world.settle(refresh=False)
    assert world.phases() == ["succeeded", "restored"]
    assert world.answers() == "1.0.0"
    assert world.reverts() == []
    assert any("the branch was rewritten" in call for call in world.calls())


@pytest.mark.fault("GT-17")
async def test_a_deleted_branch_changes_nothing_and_is_told(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid, tip = world.pid(), world.tip()
    git(world.remote, "update-ref", "-d", "refs/heads/main")
    for _ in range(2):
        with pytest.raises(HostError, match="push the branch, or set"):
            await world.fleet.refresh()
        await world.settle(refresh=False)
    assert world.state_of_branch() == "unreachable"
    assert world.pid() == pid
    assert len([call for call in world.calls() if "push the branch" in call]) == 1

    git(world.remote, "update-ref", "refs/heads/main", tip)
    await world.settle()
    assert world.state_of_branch() == "ok"
    assert any("the repository is in order again" in sentence for sentence in world.told())


@pytest.mark.fault("GT-01")
async def test_a_server_that_is_down_is_told_once_and_its_return_too(world: World) -> None:
    with world.over_http(password="open sesame") as base:
        world.deploy_first("1.0.0")
        await world.settle()
    port = int(base.rpartition(":")[2])
    for _ in range(2):
        with pytest.raises(TransientError):
            await world.fleet.refresh()
    assert len(world.told()) == len(set(world.told()))
    with world.over_http(password="open sesame", port=port):
        await world.settle()
    assert world.state_of_branch() == "ok"
    assert [event for event in world.events() if event.startswith("repository-")] == [
        "repository-ok",
        "repository-unreachable",
        "repository-ok",
    ]


@pytest.mark.fault("GT-07")
async def test_a_wrong_password_calls_a_person(world: World) -> None:
    with world.over_http(password="open sesame"):
        world.deploy_first("1.0.0")
        await world.settle()
        (world.folder / "git-password").write_text("wrong")
        with pytest.raises(UgsError, match="check the credentials"):
            await world.fleet.refresh()
    assert any("check the credentials" in call for call in world.calls())


async def test_the_log_has_each_reason_for_trouble_and_a_person_is_called_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with world.over_http(password="open sesame"):
        world.deploy_first("1.0.0")
        await world.settle()
        password = world.folder / "git-password"
        for content in ("", "", "wrong", "wrong"):
            password.write_text(content)
            with pytest.raises(UgsError):
                await world.fleet.refresh()
    logged = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    empty, refused = (text for text in logged if text.startswith("repository: "))
    assert f"{password} is empty" in empty
    assert "check the credentials" in refused
    await world.settle(refresh=False)
    assert len(world.calls()) == 1


async def test_more_than_can_be_read_is_told_and_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0")
    monkeypatch.setattr("reconciler.model.snapshot.FILES_MAX", 1)
    for _ in range(2):
        with pytest.raises(UgsError, match="move old releases out"):
            await world.fleet.refresh()
    await world.settle(refresh=False)
    assert world.answers() == "1.0.0"
    assert len([call for call in world.calls() if "move old releases out" in call]) == 1


@pytest.mark.crash  # half a minute
@pytest.mark.fault("GT-16")
async def test_of_ten_thousand_commits_in_one_push_only_where_they_lead_counts(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.release("1.1.0")
    world.pin("1.1.0")
    world.commit("Bump api to 1.1.0")
    stream = "".join(
        f"commit refs/heads/main\nmark :{number}\ncommitter Ada <ada@example.org> 1793600000 +0000\ndata 2\nx\n"
        + (f"from {world.ada.git('rev-parse', 'HEAD')}\n" if number == 1 else "")
        + f"M 100644 inline counter\ndata {len(str(number))}\n{number}\n"
        for number in range(1, 10_001)
    )
    world.ada.git("fast-import", "--quiet", "--force", stdin=stream.encode())
    world.ada.push()
    await world.settle()
    assert world.phases() == ["succeeded", "succeeded"]
    assert world.answers() == "1.1.0"
    [upgrade] = world.upgrades()[:1]
    assert upgrade.revision == world.ada.git("rev-list", "--max-count=1", "main", "--", "releases")
