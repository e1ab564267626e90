"""What is remembered here against what Git tells: when neither may be acted upon, and which of them counts."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from reconciler.engine import people, recovery
from reconciler.engine.permits import hold, release_hold
from reconciler.engine.repository import Fetched
from reconciler.model.errors import TransientError
from reconciler.model.lease import Claim
from reconciler.model.upgrade import Phase
from reconciler.store import EVERYWHERE
from tests.engine.test_lease import REFUSING, bob_takes_it_at, in_others_hands
from tests.rival import Rival, a_third_passes, bob_gives_it_back, bob_takes_it, tell
from tests.world import WAIT_S, World, patiently


async def test_what_an_older_database_left_under_way_waits_until_git_was_asked(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", soak="60s", deadline="120s")
    await world.reach(Phase.VERIFYING)
    await world.eventually(world.answers)
    pid = world.pid()
    await world.stopped()

    world.core.store.enter_recovery(EVERYWHERE, "it is older than it was")
    away = world.folder / "away.git"
    world.remote.rename(away)
    await world.fleet.start()
    await world.a_pass()
    assert world.fleet.passes["production"].running == {}
    assert (world.phases(), world.pid()) == (["succeeded", "verifying"], pid)
    away.rename(world.remote)
    await world.settle()
    assert (world.phases(), world.pid()) == (["succeeded", "superseded"], pid)
    ended = world.newest()
    assert ended
    assert ended.reason == "safe mode: what came of it is not known"


async def recalled(world: World, rival: Rival) -> None:
    """Bob has had the environment for a while, so that what Git says is read when it is back."""
    await bob_takes_it(world, rival)
    await bob_gives_it_back(world, rival)
    await world.settle()
    assert "recalled" in world.events()


@pytest.mark.parametrize("released", [False, True])
async def test_what_failed_here_and_git_was_not_told_of_is_not_last_good_by_what_git_says(
    world: World, released: bool
) -> None:
    world.leased, world.more = True, "policy: {revert: off}\n"
    rival = Rival(world)
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        patiently(world, "1.1.0")
        await world.settle()
        await world.deliver()  # from here on Git says that it succeeded
        await people.rollback(world.fleet, "production", "api", actor="Ada", reason="it loses orders")
        await world.settle()
        await world.eventually(lambda: world.answers() == "1.0.0")
        if released:  # it may be tried again, and has not been
            hold(world.fleet, "production", "api", actor="Ada", reason="look", lasting="1h")
            people.release(world.fleet, "production", "api", actor="Ada", why="mended")
        await recalled(world, rival)
        good = world.core.store.good("production", "api", limit=1)
        assert [work.target.version.text for work, _ in good] == ["1.0.0"]


async def test_what_went_back_with_another_and_git_was_not_told_of_is_not_last_good_by_what_git_says(
    world: World,
) -> None:
    world.leased, world.more = True, "policy: {atomic: true}\n"
    rival = Rival(world)
    world.deploy_first("1.0.0", "api", "web")
    async with world.holding():
        await world.settle()
        for service, soak in (("api", "0s"), ("web", "1h")):
            world.release("1.1.0", service=service, soak=soak, deadline="2h")
            world.pin("1.1.0", service)
        world.merge("Both")
        await world.settle_until(lambda: world.phases("api")[1:] == ["succeeded"])
        await world.until(Phase.VERIFYING, "web")
        await world.deliver()  # from here on Git says that api succeeded
        await people.rollback(world.fleet, "production", "web", actor="Ada", reason="it loses orders")
        await world.settle()
        assert world.phases("api")[2:] == ["reverted"]
        await recalled(world, rival)
        assert world.phases("api")[2:] == ["reverted"]  # and nothing was begun since
        assert world.answers("api") == "1.0.0"


async def test_what_was_removed_here_and_git_was_not_told_of_is_not_last_good_by_what_git_says(
    world: World,
) -> None:
    world.leased, world.more = True, "policy: {prune: true}\n"
    rival = Rival(world)
    world.deploy_first("1.0.0", "api", "web")
    async with world.holding():
        await world.settle()
        await world.deliver()  # from here on Git says that it succeeded
        world.pin(None)
        world.merge("Remove api")
        await world.settle()
        assert world.phases() == ["succeeded", "succeeded"]
        await recalled(world, rival)
        assert world.core.store.good("production", "api") == []
        assert world.answers() == ""


async def test_what_was_being_reverted_when_the_lease_ended_is_reverted_when_it_is_back(world: World) -> None:
    world.leased = True
    rival = Rival(world)
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        commit = world.bump("1.1.0", "unhealthy")
        await bob_takes_it_at(world, rival, Phase.REVERTING)
        assert (world.phases(), world.tip()) == (["succeeded", "reverting"], commit)
        await bob_gives_it_back(world, rival)
        await world.settle()
        assert world.phases() == ["succeeded", "reverted"]
        assert world.reverts() == [world.tip()]


async def test_what_was_being_reverted_is_not_restored_again_where_what_failed_still_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where its data cannot be taken back; the last that Git was told is that it was being restored."""
    world.leased = True
    rival = Rival(world)
    monkeypatch.setattr(recovery, "runs", lambda *_: True)
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        commit = world.bump("1.1.0", "unhealthy")
        failed = await bob_takes_it_at(world, rival, Phase.REVERTING)
        assert failed.before
        said: dict[str, Any] = {"from": str(failed.before.target), "ended_at": None, "epoch": 1, "row": 9}
        await tell(world, commit, Phase.RESTORING, failed.operation, **said)
        await bob_gives_it_back(world, rival)
        await world.settle()
        assert "recalled" in world.events()
        assert "taken-back-again api" not in world.events()
        assert world.phases() == ["succeeded", "reverted"]


async def test_a_fetch_that_began_before_the_lease_was_had_says_nothing_of_what_others_did(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.leased = True
    rival = Rival(world)
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        await bob_takes_it(world, rival)
        free, fetch, leases = threading.Event(), world.core.repository.fetch, world.core.leases

        def slow(**how: bool) -> Fetched:
            fetched = fetch(**how)
            assert free.wait(WAIT_S)
            return fetched

        with monkeypatch.context() as patch:
            patch.setattr(world.core.repository, "fetch", slow)
            fetching = asyncio.create_task(world.fleet.refresh())
            await bob_gives_it_back(world, rival)
            await world.eventually(lambda: leases.behind_s("production") is not None)
            free.set()
            await fetching
        assert leases.behind_s("production") is not None
        await world.fleet.refresh()
        assert leases.behind_s("production") is None
        assert leases.standing("production") == "held"


async def test_who_sees_that_others_had_it_starts_nothing_again_before_that_is_read(world: World) -> None:
    world.leased = True
    rival = Rival(world)
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        await bob_takes_it(world, rival)
        await in_others_hands(world)
        rival.gives_back(2)
        hook = world.remote / "hooks" / "update"
        hook.write_text(f"#!/bin/sh\n{REFUSING}\n")
        hook.chmod(0o755)
        await a_third_passes(world)
        assert world.core.leases.standing("production") == "unsure"
        world.stop()
        await world.a_pass()
        assert (world.answers(), "repair api" in world.events()) == ("", False)
        hook.unlink()
        await a_third_passes(world)
        await world.settle()
        await world.eventually(lambda: world.answers() == "1.0.0")


async def test_who_took_it_over_unheard_starts_nothing_again_either_before_that_is_read(
    world: World,
) -> None:
    """The claim arrived, and its answer did not."""
    world.leased = True
    rival = Rival(world)
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        ours = rival.claim()
        assert ours
        await bob_takes_it(world, rival)
    rival.gives_back(2)
    rival.takes(msgspec.structs.replace(ours, epoch=3))
    hook = world.remote / "hooks" / "update"
    hook.write_text(f"#!/bin/sh\n{REFUSING}\n")
    hook.chmod(0o755)
    world.forget()
    async with world.holding():
        await world.settle()
        await a_third_passes(world)
        assert world.core.leases.standing("production") == "unsure"
        world.stop()
        await world.a_pass()
        assert (world.answers(), "repair api" in world.events()) == ("", False)
        hook.unlink()
        await a_third_passes(world)
        await world.settle()
        await world.eventually(lambda: world.answers() == "1.0.0")


def last_good(world: World) -> list[str]:
    return [work.target.version.text for work, _ in world.core.store.good("production", "api", limit=1)]


HOUR = timedelta(hours=1)


@pytest.mark.parametrize("skew", [-HOUR, HOUR])
async def test_what_another_daemon_proved_is_last_good_here_whatever_its_clock_shows(
    world: World, skew: timedelta
) -> None:
    world.leased = True
    rival = Rival(world)
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        hold(world.fleet, "production", "api", actor="Ada", reason="look", lasting="10h")
        commit = world.bump("1.1.0")
        await world.settle()
        await bob_takes_it(world, rival)
        ended_at = (world.clock.now() + skew).isoformat()
        await tell(world, commit, Phase.SUCCEEDED, ended_at=ended_at, epoch=2, row=3)
        await bob_gives_it_back(world, rival)
        before = world.clock.now()
        await world.settle()
        assert last_good(world) == ["1.1.0"]
        [(_, since)] = world.core.store.good("production", "api", limit=1)
        assert since >= before, "it counts as healthy since that was heard, by this machine's clock"


async def test_what_was_proved_here_since_stays_last_good_whatever_the_others_clock_showed(
    world: World,
) -> None:
    world.leased = True
    rival = Rival(world)
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        hold(world.fleet, "production", "api", actor="Ada", reason="look", lasting="10h")
        commit = world.bump("1.1.0")
        await world.settle()
        await bob_takes_it(world, rival)
        ahead = (world.clock.now() + 5 * HOUR).isoformat()
        await tell(world, commit, Phase.SUCCEEDED, ended_at=ahead, epoch=2, row=3)
        await bob_gives_it_back(world, rival)
        await world.settle()
        release_hold(world.fleet, 1, actor="Ada")
        world.bump("1.2.0")
        await world.settle()
        assert (last_good(world), world.answers()) == (["1.2.0"], "1.2.0")
        rival.takes(Claim("b0b", "web-2", 4, 0, 90.0))
        await a_third_passes(world)
        rival.gives_back(4)
        await a_third_passes(world)
        await world.settle()
        assert world.events().count("recalled") == 2
        assert world.events().count("succeeded api") == 2, (
            "it is not carried out again as what is not last-good"
        )
        assert last_good(world) == ["1.2.0"]
        world.stop()
        await world.settle()
        await world.eventually(lambda: world.answers() == "1.2.0")


@pytest.mark.parametrize(("epoch", "good"), [(2, []), (0, ["1.0.0"])])
async def test_what_another_daemon_removed_is_not_last_good_though_its_clock_is_behind(
    world: World, epoch: int, good: list[str]
) -> None:
    """Of a line that an older daemon wrote, which names no epoch, the date is all that is known."""
    world.leased = True
    rival = Rival(world)
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        hold(world.fleet, "production", "api", actor="Ada", reason="look", lasting="10h")
        commit = world.bump("1.1.0")
        await world.settle()
        await bob_takes_it(world, rival)
        behind = (world.clock.now() - HOUR).isoformat()
        await tell(world, commit, Phase.SUCCEEDED, ended_at=behind, to=None, epoch=epoch, row=3)
        await bob_gives_it_back(world, rival)
        await world.settle()
        assert "recalled" in world.events()
        assert last_good(world) == good


async def test_what_git_ended_while_an_effect_was_under_way_stays_ended(world: World) -> None:
    """Whoever carries it began while nobody knew whose the environment was."""
    world.deploy_first("1.0.0")
    await world.settle()
    free = world.hold("apply")
    world.bump("1.1.0")
    left = await world.reach(Phase.APPLYING)
    now = world.clock.now()
    ended = replace(left, phase=Phase.CANCELLED, reason="it was in another daemon's hands", ended_at=now)
    world.core.store.record(ended, event="cancelled", detail=ended.reason)
    free.set()
    await world.rest()
    assert world.newest() == ended


async def test_nothing_is_adopted_before_git_was_asked_what_is_forgotten_here(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the remote went silent between the fetch and the question."""
    world.deploy_first("1.0.0")
    await world.settle()
    await world.deliver()
    world.forget()
    world.wipe()

    def silent(*_: object) -> None:
        raise TransientError("the remote does not answer", "it is tried again")

    with monkeypatch.context() as patched:
        patched.setattr(recovery.Recall, "_compare", silent)
        with pytest.raises(TransientError):
            await world.fleet.refresh()
        await world.a_pass()
        assert (world.answers(), last_good(world)) == ("1.0.0", [])
    await world.settle()
    assert last_good(world) == ["1.0.0"]


async def test_a_removal_that_waits_here_and_was_carried_out_elsewhere_counts_however_late_it_was(
    world: World,
) -> None:
    """Who had begun it before we got the environment came to its end after that, as one who was stopped meanwhile."""
    world.leased, world.more = True, "policy: {prune: true}\n"
    rival = Rival(world)
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        world.pin(None)
        commit = world.merge("Remove all of it")
        await world.settle()
        waits = world.newest()
        assert waits is not None
        assert (waits.phase, last_good(world)) == (Phase.WAITING, ["1.0.0"])
        await bob_takes_it(world, rival)
        world.stop()
        await tell(world, commit, Phase.SUCCEEDED, waits.operation, epoch=1, row=1)
        await bob_gives_it_back(world, rival)
        await world.settle()
        assert (world.answers(), last_good(world)) == ("", [])


async def test_what_is_under_way_is_let_go_before_git_is_heard(world: World) -> None:
    world.leased = True
    rival = Rival(world)
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        free = world.hold("apply")
        world.bump("1.1.0")
        left = await world.reach(Phase.APPLYING)
        await bob_takes_it(world, rival)
        await bob_gives_it_back(world, rival)
        await world.fleet.refresh()
        assert world.newest() == left, "what it is about to do is not done yet"
        free.set()
        await world.settle()
        assert "recalled" in world.events()
        ended = world.core.store.upgrade(left.operation)
        assert ended is not None
        assert ended.reason == "it was in another daemon's hands: what came of it is not known"
