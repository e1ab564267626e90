"""`policy.revert: pull-request`: what failed is taken back at once, and people are asked to put its pin back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from reconciler.engine.core import Core
from reconciler.engine.daemon import Daemon
from reconciler.engine.pull_requests import reverts
from reconciler.engine.pull_requests.reverts import Follower
from reconciler.model.errors import TransientError
from reconciler.model.proposal import Proposal
from reconciler.model.window import Opening
from tests.forge.dialects import Answer
from tests.forge.server import ForgeServer
from tests.git.colleague import git
from tests.world import World

pytestmark = pytest.mark.slow

FREEZE = 'timezone: UTC\nfreezes: [{from: 2020-01-01, until: 2020-01-02, reason: "a note"}]\n'


async def started(world: World, *services: str) -> None:
    """1.0.0 runs, however slow this machine is."""
    for service in services or ("api",):
        world.release("1.0.0", service=service, deadline="60s")
        world.pin("1.0.0", service)
    world.merge("Start")
    await world.settle()


async def failed(world: World, *services: str) -> Proposal:
    """A bad 1.1.0 is merged and taken back; the revert that is proposed."""
    world.more = "policy: {revert: pull-request}\n"
    await started(world, *services)
    world.bump("1.1.0", "unhealthy")
    await world.settle()
    assert world.phases() == ["succeeded", "restored"]
    assert world.answers() == "1.0.0"
    [made] = world.core.store.proposals()
    return made


async def failed_already(world: World) -> Proposal:
    """The same where 1.0.0 runs."""
    world.more += "policy: {revert: pull-request}\n"
    world.bump("1.1.0", "unhealthy")
    await world.settle()
    [made] = world.core.store.proposals()
    return made


def unanswered(
    world: World, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object] = lambda: None
) -> None:
    """The next push to a branch arrives, and its answer does not."""
    mirror = world.core.repository.mirror
    push = mirror.push_branch

    def lose(*arguments: Any, **keywords: Any) -> None:
        monkeypatch.setattr(mirror, "push_branch", push)
        push(*arguments, **keywords)
        meanwhile()
        raise TransientError("the connection was closed", "it is tried again")

    monkeypatch.setattr(mirror, "push_branch", lose)


def push_to_the_revert(world: World) -> str:
    """A commit of Ada's on the branch that puts the pin back."""
    name = git(world.remote, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/ugs-revert-*")
    world.ada.git("fetch", "--quiet", "origin", name)
    world.ada.git("checkout", "--quiet", "-B", name, "FETCH_HEAD")
    hers = world.ada.commit({"NOTES.md": "why\n"}, "Say why")
    world.ada.git("push", "--quiet", "origin", name)
    world.ada.git("checkout", "--quiet", "main")
    return hers


async def follow(world: World) -> None:
    """One look at the proposals, after fetching, and all that is told of it."""
    await world.settle()
    await Follower(world.core).round()
    await world.deliver()


def branch(world: World, made: Proposal) -> str:
    return git(world.remote, "for-each-ref", "--format=%(objectname)", f"refs/heads/{made.branch}")


async def test_a_bad_release_is_proposed_back_merged_and_in_sync(world: World, forge: ForgeServer) -> None:
    made = await failed(world)
    tip = world.tip()
    await follow(world)

    [pull] = forge.pulls.values()
    assert (pull.branch, pull.base, pull.labels) == (made.branch, "main", ["ugs", "ugs: revert"])
    assert pull.waits_to_merge
    assert "healthz" in pull.body
    assert world.reverts() == []
    assert git(world.remote, "diff", "--stat", tip, branch(world, made)).splitlines()[-1].strip() == (
        "1 file changed, 1 insertion(+), 1 deletion(-)"
    )
    assert [row.service for row in world.core.store.quarantined("production")] == ["api"]
    await follow(world)
    assert len(forge.pulls) == 1

    forge.merge(pull.number)
    await follow(world)
    assert 'api: "1.0.0"' in world.pinned()
    assert world.view().sync == "in-sync"
    assert world.core.store.proposals() == []
    newest = world.newest()
    assert newest
    assert newest.revert_commit == world.reverts()[0]
    assert any("is reverted by" in told and "#1 is merged" in told for told in world.told())
    events = [row.event for row in world.core.store.audit_of(made.operation)]
    assert events.count("revert-merged") == 1
    counts = {one.event: one.count for one in world.core.store.tallies() if one.change_class == "revert"}
    assert counts == {"pull-opened": 1, "pull-merged": 1}
    await follow(world)
    assert world.phases() == ["succeeded", "restored"]


async def test_what_was_merged_while_no_daemon_ran_is_known_as_soon_as_the_lease_is_held(
    world: World, forge: ForgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reverts, "LOOK_S", 3600.0)
    world.leased = True
    async with world.holding():
        await failed(world)
        await follow(world)
    await world.core.leases.give_back()
    forge.merge(1)
    await world.restart()
    daemon = Daemon(world.core)
    await daemon.fleet.refresh()
    looks = asyncio.create_task(Follower(world.core).keep())
    await world.eventually(lambda: world.clock.waiting)  # it has looked, and nothing was held
    assert [one.state for one in world.core.store.proposals()] == ["open"]
    lease = asyncio.create_task(daemon._lease_loop())
    try:
        await world.eventually(lambda: not world.core.store.proposals())
    finally:
        for task in (looks, lease):
            task.cancel()
        await asyncio.wait([looks, lease])
    newest = world.newest()
    assert newest
    assert newest.revert_commit == world.reverts()[0]


async def test_a_squash_without_trailers_counts_as_merged(world: World, forge: ForgeServer) -> None:
    made = await failed(world)
    await follow(world)
    world.ada.pull_if_any()
    world.pin("1.0.0")
    squashed = world.merge("Put api back, by hand of the forge")
    forge.pulls[1].state, forge.pulls[1].merged_as = "merged", squashed
    await follow(world)
    settled = world.core.store.proposal(made.operation)
    assert settled
    assert settled.state == "merged"


async def test_closed_unmerged_a_person_is_called_and_it_is_never_opened_again(
    world: World, forge: ForgeServer
) -> None:
    await failed(world)
    await follow(world)
    forge.pulls[1].state = "closed"
    await follow(world)
    assert any("#1 was closed unmerged: the failed version is still pinned" in call for call in world.calls())
    await world.restart()
    await follow(world)
    await follow(world)
    assert len(forge.pulls) == 1
    assert len([call for call in world.calls() if "closed unmerged" in call]) == 1
    assert [row.service for row in world.core.store.quarantined("production")] == ["api"]


@contextlib.contextmanager
def lost_over(call: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """From when Git is asked this, the environment is another daemon's."""
    whole, theirs = Core.git, Opening(False, "production is in other hands", None, "whoever has it")

    async def asked(core: Core, asks: Callable[..., object], *args: object, **kwargs: object) -> object:
        if asks is call:
            patch.setattr(core.leases, "opening", lambda _name: theirs)
        return await whole(core, asks, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Core, "git", asked)
        yield


async def test_nothing_is_proposed_or_made_anew_once_another_daemon_has_the_environment(
    world: World, forge: ForgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await failed(world, "api", "web")
    with lost_over(reverts._standing, monkeypatch):
        await follow(world)
    assert forge.pulls == {}
    await follow(world)
    first = branch(world, made)
    world.release("1.1.0", service="web", deadline="60s")
    world.pin("1.1.0", "web")
    moved = world.merge("Bump web")
    with lost_over(reverts._made_anew, monkeypatch):
        await follow(world)
    assert branch(world, made) == first
    await follow(world)
    assert git(world.remote, "rev-parse", f"{branch(world, made)}^") == moved
    assert [one.state for one in forge.pulls.values()] == ["open"]


async def test_it_follows_the_tip_only_where_its_environment_changed(
    world: World, forge: ForgeServer
) -> None:
    made = await failed(world, "api", "web")
    await follow(world)
    first = branch(world, made)
    world.files["README.md"] = "Hello\n"
    world.merge("Say hello")
    await follow(world)
    assert branch(world, made) == first

    world.release("1.1.0", service="web", deadline="60s")
    world.pin("1.1.0", "web")
    moved = world.merge("Bump web")
    await follow(world)
    second = branch(world, made)
    assert git(world.remote, "rev-parse", f"{second}^") == moved
    forge.merge(1)
    await follow(world)
    assert 'api: "1.0.0"' in world.pinned()
    assert 'web: "1.1.0"' in world.pinned()


async def test_who_never_hears_that_it_was_made_anew_follows_the_tip_all_the_same(
    world: World, forge: ForgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await failed(world, "api", "web")
    await follow(world)
    unanswered(world, monkeypatch)
    world.release("1.1.0", service="web", deadline="60s")
    world.pin("1.1.0", "web")
    first = world.merge("Bump web")
    await follow(world)
    assert git(world.remote, "rev-parse", f"{branch(world, made)}^") == first

    world.more += FREEZE
    second = world.merge("Note a freeze")
    await follow(world)
    assert git(world.remote, "rev-parse", f"{branch(world, made)}^") == second


async def test_what_was_pushed_before_the_tip_moved_and_never_heard_of_follows_it(
    world: World, forge: ForgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await started(world)
    moved: list[str] = []

    def person() -> None:
        world.more += FREEZE
        moved.append(world.merge("Note a freeze"))

    unanswered(world, monkeypatch, person)
    made = await failed_already(world)
    await follow(world)
    assert git(world.remote, "rev-parse", f"{branch(world, made)}^") == moved[0]


async def test_what_a_person_has_pushed_before_it_was_known_is_left_alone(
    world: World, forge: ForgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await started(world)
    hers: list[str] = []
    unanswered(world, monkeypatch, lambda: hers.append(push_to_the_revert(world)))
    made = await failed_already(world)
    world.more += FREEZE
    world.merge("Note a freeze")
    await follow(world)
    assert branch(world, made) == hers[0]
    assert [pull.branch for pull in forge.pulls.values()] == [made.branch]


@pytest.mark.parametrize("then", ["1.1.0", "1.2.0"])
async def test_merged_without_trailers_and_overtaken_before_that_is_known_it_names_the_commit(
    world: World, forge: ForgeServer, then: str
) -> None:
    made = await failed(world)
    await follow(world)
    world.ada.pull_if_any()
    world.pin("1.0.0")
    squashed = world.merge("Put api back, by hand of the forge")
    forge.pulls[1].state, forge.pulls[1].merged_as = "merged", squashed
    if then == "1.1.0":
        world.pin(then)
        world.merge("Pin what failed once more")
    else:
        world.bump(then, deadline="60s")
    await follow(world)
    settled = world.core.store.proposal(made.operation)
    assert settled
    assert settled.state == "merged"
    row = world.core.store.upgrade(made.operation)
    assert row
    assert row.revert_commit == squashed
    assert any(f"is reverted by {squashed[:12]}" in told for told in world.told())


async def test_put_back_by_hand_undone_and_then_merged_it_names_what_was_merged(
    world: World, forge: ForgeServer
) -> None:
    made = await failed(world)
    await follow(world)
    world.ada.pull_if_any()
    subjects = {"1.0.0": "Put api back", "1.1.0": "Undo", "1.0.0 ": "Revert production/api to 1.0.0 (#1)"}
    for version, subject in subjects.items():
        world.pin(version.strip())
        world.merge(subject)
    forge.pulls[1].state, squashed = "merged", world.tip()
    world.pin("1.1.0")
    world.merge("Pin what failed once more")
    world.pin("1.0.0")
    world.merge("Put api back once more")
    await follow(world)
    row = world.core.store.upgrade(made.operation)
    assert row
    assert row.revert_commit == squashed


async def test_a_merged_one_that_the_branch_does_not_have_calls_a_person(
    world: World, forge: ForgeServer
) -> None:
    await failed(world)
    await follow(world)
    forge.pulls[1].state = "merged"  # into another branch, or somebody has forced it off this one since
    await follow(world)
    await follow(world)
    assert len([call for call in world.calls() if "#1 is merged, and main does not have it" in call]) == 1
    assert world.core.store.proposals() == []


async def test_where_its_branch_is_deleted_and_the_forge_leaves_it_open_a_person_is_called(
    world: World, forge: ForgeServer
) -> None:
    made = await failed(world)
    await follow(world)
    git(world.remote, "update-ref", "-d", f"refs/heads/{made.branch}")
    await follow(world)
    await follow(world)
    assert forge.pulls[1].state == "closed"
    assert len([call for call in world.calls() if "its branch was deleted unmerged" in call]) == 1
    assert len(forge.pulls) == 1


async def test_what_a_person_pushed_onto_the_branch_is_left_alone(world: World, forge: ForgeServer) -> None:
    made = await failed(world)
    await follow(world)
    hers = push_to_the_revert(world)
    world.more += FREEZE
    world.merge("Note a freeze")
    await follow(world)
    assert branch(world, made) == hers


async def test_when_a_person_moves_the_pin_it_is_closed_as_moot(world: World, forge: ForgeServer) -> None:
    made = await failed(world)
    await follow(world)
    world.bump("1.2.0", deadline="60s")
    await follow(world)
    assert forge.pulls[1].state == "closed"
    settled = world.core.store.proposal(made.operation)
    assert settled
    assert settled.state == "moot"
    assert world.answers() == "1.2.0"
    assert not any("unmerged" in call for call in world.calls())


async def test_a_pin_that_was_moved_before_is_never_proposed(world: World, forge: ForgeServer) -> None:
    world.more = "policy: {revert: pull-request}\n"
    await started(world)
    world.bump("1.1.0", "unhealthy")
    moved: list[str] = []

    def person() -> None:
        if not moved:
            moved.append(world.bump("1.2.0", deadline="60s"))

    world.at["phase:restoring"] = person
    await world.settle()
    await follow(world)
    assert world.phases() == ["succeeded", "restored", "succeeded"]
    assert forge.pulls == {}
    assert world.core.store.proposals() == []


async def test_who_lets_it_be_tried_again_closes_it(world: World, forge: ForgeServer) -> None:
    made = await failed(world)
    await follow(world)
    world.core.store.release_quarantine(
        "production", "api", operation=None, by="ada", why="it was the network"
    )
    await Follower(world.core).round()
    assert forge.pulls[1].state == "closed"
    settled = world.core.store.proposal(made.operation)
    assert settled
    assert settled.state == "moot"


async def test_what_fails_once_more_is_proposed_back_when_the_first_is_closed(
    world: World, forge: ForgeServer
) -> None:
    await failed(world)
    await follow(world)
    world.core.store.release_quarantine("production", "api", operation=None, by="ada", why="try again")
    await world.settle()
    assert len(world.core.store.proposals()) == 2
    forge.answer_next(Answer(502, {"message": "Bad gateway"}))
    await Follower(world.core).round()
    assert [pull.state for pull in forge.pulls.values()] == ["open"]
    await follow(world)
    assert [pull.state for pull in forge.pulls.values()] == ["closed", "open"]


async def test_a_forge_that_is_down_gets_it_later_and_once(world: World, forge: ForgeServer) -> None:
    forge.go_down()
    await failed(world)
    for _ in range(3):
        await follow(world)
        world.clock.move(timedelta(minutes=20))
    await world.restart()
    forge.come_up()
    await follow(world)
    await follow(world)
    assert len(forge.pulls) == 1


async def test_opened_and_killed_before_that_was_known_it_is_found(world: World, forge: ForgeServer) -> None:
    await failed(world)

    def killed() -> None:
        raise RuntimeError("killed")

    world.at["pull:done"] = killed
    with pytest.raises(RuntimeError):
        await Follower(world.core).round()
    del world.at["pull:done"]
    await world.restart()
    await follow(world)
    assert len(forge.pulls) == 1
    [made] = world.core.store.proposals()
    assert (made.number, made.asked) == (1, True)
    counts = {one.event: one.count for one in world.core.store.tallies() if one.change_class == "revert"}
    assert counts == {"pull-opened": 1}


async def test_a_protected_branch_is_asked_for_by_a_pull_request_and_says_so(
    world: World, forge: ForgeServer
) -> None:
    await started(world)
    world.bump("1.1.0", "unhealthy")
    attempts = world.protect()
    await world.settle()
    await follow(world)
    assert attempts() == 1
    newest = world.newest()
    assert newest
    assert newest.phase == "restored"
    assert "main is protected" in newest.reason
    assert "puts it back once it is merged" in newest.reason
    assert len(forge.pulls) == 1
    assert world.calls() == []


async def test_without_a_forge_the_branch_is_there_to_be_merged(world: World) -> None:
    made = await failed(world)
    assert f"the branch {made.branch} puts it back once it is merged" in world.told()[-1]
    world.ada.pull_if_any()
    world.ada.git("fetch", "--quiet", "origin", made.branch)
    world.ada.git("merge", "--quiet", "--no-ff", "-m", "Merge the revert", "FETCH_HEAD")
    world.ada.push()
    await follow(world)
    assert 'api: "1.0.0"' in world.pinned()
    assert world.view().sync == "in-sync"
    settled = world.core.store.proposal(made.operation)
    assert settled
    assert settled.state == "merged"


async def test_without_a_forge_a_deleted_branch_calls_a_person(world: World) -> None:
    made = await failed(world)
    git(world.remote, "update-ref", "-d", f"refs/heads/{made.branch}")
    await follow(world)
    assert any("was deleted unmerged" in call for call in world.calls())
    await follow(world)
    assert branch(world, made) == ""


async def test_a_forge_that_denies_it_calls_a_person_once(world: World, forge: ForgeServer) -> None:
    await failed(world)
    said = {"message": "Resource not accessible by personal access token"}
    needed = {"X-Accepted-GitHub-Permissions": "pull_requests=write"}
    for _ in range(2):
        forge.answer_next(Answer(403, said, needed))
        await Follower(world.core).round()
    assert [call for call in world.calls() if "pull_requests=write" in call] == [
        "GitHub refuses: Resource not accessible by personal access token; give the token pull_requests=write"
    ]
    await follow(world)
    assert len(forge.pulls) == 1


async def test_what_the_forge_refuses_is_found_where_another_daemon_was_faster(
    world: World, forge: ForgeServer
) -> None:
    made = await failed(world)
    world.at["pull:begun"] = lambda: forge.pulls or forge.open(made.branch, title="Theirs")
    await follow(world)
    assert [pull.title for pull in forge.pulls.values()] == ["Theirs"]
    [known] = world.core.store.proposals()
    assert (known.number, known.asked) == (1, True)


async def test_the_remote_down_is_no_end_of_it(world: World, forge: ForgeServer) -> None:
    made = await failed(world)
    away = world.folder / "away.git"
    world.remote.rename(away)
    await Follower(world.core).round()
    away.rename(world.remote)
    await follow(world)
    assert [pull.branch for pull in forge.pulls.values()] == [made.branch]
