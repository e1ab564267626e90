"""An environment in our hands, in another daemon's, and in nobody's that the remote would name."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from reconciler.drivers.base import Cause
from reconciler.engine import people
from reconciler.engine.attention import needs_person
from reconciler.engine.holder import holder_of
from reconciler.engine.permits import hold, override
from reconciler.engine.status import status_of
from reconciler.git import GitRegister, Identity, Remote
from reconciler.model import verdict
from reconciler.model.lease import Claim
from reconciler.model.upgrade import Phase, Upgrade
from reconciler.model.verdict import Judgement
from reconciler.store import NOTE
from tests.git.colleague import ENVIRONMENT, git
from tests.git.http_backend import serve
from tests.rival import (
    REF,
    Rival,
    a_third_passes,
    bob_gives_it_back,
    bob_takes_it,
    tell,
)
from tests.world import World, patiently

BOBS = "production is in the hands of daemon b0b on web-2 (epoch 7)"


@pytest.fixture
def rival(world: World) -> Rival:
    world.leased = True
    return Rival(world)


def lease_of(world: World) -> dict[str, object]:
    [production] = status_of(world.fleet, {})["environments"]
    return dict(production["lease"])


def note_is_due(world: World) -> datetime:
    due = world.core.store.next_due(NOTE)
    assert due is not None
    return due


async def bob_takes_it_at(world: World, rival: Rival, phase: Phase) -> Upgrade:
    """The environment, with the second epoch, just as an upgrade comes to this phase; and the daemon has seen it."""
    at = f"phase:{phase.value}"

    def taken() -> None:
        del world.at[at]
        rival.takes(Claim("b0b", "web-2", 2, 0, 90.0))
        world.clock.move(timedelta(seconds=91))  # as after SIGCONT: nobody has asked the remote yet

    world.at[at] = taken
    left = await world.reach(phase)
    await in_others_hands(world)
    await world.rest()
    return left


async def in_others_hands(world: World) -> None:
    await world.eventually(lambda: world.core.leases.standing("production") == "elsewhere")


def remote_is_silent_for_long(world: World) -> None:
    """It is gone, and the lease has ended."""
    if world.remote.exists():
        world.remote.rename(world.folder / "away.git")
        world.clock.move(timedelta(seconds=91))


def remote_is_back(world: World) -> None:
    (world.folder / "away.git").rename(world.remote)
    world.clock.move(timedelta(minutes=6))


async def test_what_nobody_has_is_taken_and_given_back_at_the_end(world: World, rival: Rival) -> None:
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        assert world.phases() == ["succeeded"]
        assert lease_of(world) == {"held": True, "epoch": 1, "sentence": ""}
        assert "lease-taken" in world.events()
        held = rival.claim()
        assert held
        assert (held.epoch, held.beat, held.lasts_s) == (1, 0, 90)
        await a_third_passes(world)
        renewed = rival.claim()
        assert renewed
        assert (renewed.epoch, renewed.beat) == (1, 1)
    await world.core.leases.give_back()
    free = rival.claim()
    assert free
    assert (free.epoch, free.lasts_s) == (1, 0)
    assert git(world.remote, "log", "-1", "--format=%s", REF) == "production is free"


async def test_anothers_environment_is_looked_at_and_left_alone_until_it_is_free(
    world: World, rival: Rival
) -> None:
    rival.takes()
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        assert lease_of(world) == {"held": False, "epoch": None, "sentence": BOBS}
        assert BOBS in world.view().sentence
        assert world.upgrades() == []
        assert (world.told(), world.calls()) == ([], [])
        with pytest.raises(people.Conflict, match=r"b0b on web-2 \(epoch 7\); say it to that daemon"):
            await people.rollback(world.fleet, "production", "api", actor="Ada", reason="no")
        with pytest.raises(people.Conflict, match="nobody can override the gate lease; stop the daemon"):
            override(world.fleet, "production", "api", gate="lease", actor="Ada", reason="x", lasting="1h")
        rival.gives_back()
        await a_third_passes(world)
        assert "production was in other hands: what was done there is read" in str(
            lease_of(world)["sentence"]
        )
        await world.settle()
        assert lease_of(world) == {"held": True, "epoch": 8, "sentence": ""}
        assert world.phases() == ["succeeded"]


async def test_silence_ends_anothers_lease_and_not_before_its_time(world: World, rival: Rival) -> None:
    rival.takes()
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        for _ in range(3):
            await a_third_passes(world)
            assert world.core.leases.standing("production") == "elsewhere"
        await a_third_passes(world)
        assert world.core.leases.standing("production") == "unsure"
        await world.settle()
        assert world.core.leases.standing("production") == "held"
        assert world.phases() == ["succeeded"]


@pytest.mark.fault("GT-21", "CR-14")
async def test_an_upgrade_whose_environment_was_taken_is_left_as_it_stands_and_goes_on_when_it_comes_back(
    world: World, rival: Rival
) -> None:
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        commit = world.bump("1.1.0", "unhealthy", deadline="60s")
        await bob_takes_it_at(world, rival, Phase.VERIFYING)
        await world.eventually(world.answers)
        pid = world.pid()
        await world.settle()
        await world.deliver()
        assert world.phases() == ["succeeded", "verifying"]
        assert world.core.store.quarantined("production") == []
        assert (world.tip(), world.reverts()) == (commit, [])
        assert world.pid() == pid
        assert any(event.startswith("lease-lost") for event in world.events())
        assert "production is in the hands of daemon b0b on web-2 (epoch 2); nothing more is done here" in (
            world.told()
        )
        await bob_gives_it_back(world, rival)
        await world.settle()
        assert world.phases() == ["succeeded", "reverted"]
        assert world.reverts() == [world.tip()]
        assert lease_of(world)["epoch"] == 3


async def test_a_remote_that_is_down_keeps_nobody_from_restoring(world: World, rival: Rival) -> None:
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        world.bump("1.1.0", "unhealthy", deadline="500s")
        world.at["phase:verifying"] = lambda: remote_is_silent_for_long(world)
        await world.reach(Phase.REVERTING)
        assert world.core.leases.standing("production") == "unsure"
        assert world.answers() == "1.0.0"
        assert "the lease of production is not held: " in str(lease_of(world)["sentence"])
        remote_is_back(world)
        await world.rest()
        assert world.phases() == ["succeeded", "reverted"]
        assert world.reverts() == [world.tip()]
        assert lease_of(world)["epoch"] == 1


async def test_who_was_stopped_for_long_gives_nothing_up_before_it_is_known_whose_it_is(
    world: World, rival: Rival, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deploy_first("1.0.0")
    judge, judged = verdict.judge, list[Judgement]()

    def heard(series: verdict.Series, now: datetime) -> Judgement:
        judged.append(judge(series, now))
        return judged[-1]

    monkeypatch.setattr(verdict, "judge", heard)
    async with world.holding():
        await world.settle()
        world.bump("1.1.0", soak="60s", deadline="70s")
        await world.reach(Phase.VERIFYING)
        await world.eventually(lambda: "soaking" in judged[-1].sentence)
        remote_is_silent_for_long(world)
        world.clock.move(timedelta(minutes=5))
        await world.eventually(lambda: judged[-1].verdict == "unknown")
        # Bob takes it where nobody else can reach the remote yet.
        away = Remote(str(world.folder / "away.git"), environment=ENVIRONMENT)
        rival.register = GitRegister(
            world.folder / "beside.git", away, Identity("R", "r@x"), network_timeout_s=30
        )
        rival.takes(Claim("b0b", "web-2", 2, 0, 90.0))
        remote_is_back(world)
        await in_others_hands(world)
        await world.rest()
        assert world.phases() == ["succeeded", "verifying"]
        assert world.core.store.quarantined("production") == []


async def test_what_was_about_to_be_applied_waits_for_a_remote_that_says_so(
    world: World, rival: Rival
) -> None:
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        pid = world.pid()
        world.bump("1.1.0")
        world.at["phase:applying"] = lambda: remote_is_silent_for_long(world)
        await world.reach(Phase.WAITING)
        await world.rest()
        assert world.pid() == pid
        world.clock.move(timedelta(seconds=11))
        await world.a_pass()
        assert world.phases() == ["succeeded", "waiting"]
        [lease] = [gate for gate in world.view().gates if gate.gate == "lease"]
        assert (lease.open, lease.opened_by) == (False, "a remote that accepts it")
        del world.at["phase:applying"]
        remote_is_back(world)
        await world.eventually(lambda: world.core.leases.standing("production") == "held")
        await world.settle()
        assert world.phases() == ["succeeded", "succeeded"]


REFUSING = 'case "$1" in refs/ugs/*) echo "no leases here" >&2; exit 1;; esac'


async def test_a_remote_that_refuses_the_lease_starts_nothing_and_a_person_is_called_once(
    world: World, rival: Rival
) -> None:
    hook = world.remote / "hooks" / "update"
    hook.write_text(f"#!/bin/sh\n{REFUSING}\n")
    hook.chmod(0o755)
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        for _ in range(2):
            await a_third_passes(world)
            await world.settle()
        assert world.phases() == ["waiting"]
        [call] = world.calls()
        assert "remote: no leases here" in call
        assert "let this user push to refs/ugs/lease, or set `lease: off`" in call
        [needed] = needs_person(world.fleet)
        assert needed.startswith("production: nothing starts: ")
        hook.unlink()
        await a_third_passes(world)
        assert world.core.leases.standing("production") == "held"
        await world.settle()
        assert world.phases() == ["succeeded"]
        assert needs_person(world.fleet) == []


async def test_a_key_that_may_only_read_is_a_refusal_too(world: World, rival: Rival) -> None:
    world.deploy_first("1.0.0")
    with serve(world.folder) as base:
        git(world.remote, "config", "http.receivepack", "false")
        world.url = f"{base}/fleet.git"
        async with world.holding():
            await world.settle()
            assert world.phases() == ["waiting"]
            [call] = world.calls()
            assert "returned error: 403; let this user push to refs/ugs/lease" in call


async def test_a_server_that_is_down_at_the_start_is_asked_again_sooner(world: World, rival: Rival) -> None:
    world.deploy_first("1.0.0")
    with world.over_http(password="s3cret") as base:
        await world.fleet.refresh()
    async with world.holding():
        await world.eventually(lambda: "connect" in str(lease_of(world)["sentence"]))
        with world.over_http(password="s3cret", port=int(base.rpartition(":")[2])):
            world.clock.move(timedelta(seconds=11))
            await world.eventually(lambda: world.core.leases.standing("production") == "held")


async def test_a_ref_that_holds_something_else_is_left_there_and_said(world: World, rival: Rival) -> None:
    rival.puts("mine!")
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        assert world.phases() == ["waiting"]
        assert "what refs/ugs/lease/production says is no lease" in str(lease_of(world)["sentence"])
        git(world.remote, "update-ref", "-d", REF)
        await a_third_passes(world)
        assert world.core.leases.standing("production") == "held"


async def test_notes_wait_until_the_environment_is_ours_again(world: World, rival: Rival) -> None:
    commit = world.bump("1.0.0")
    async with world.holding():
        await world.settle()
        await bob_takes_it(world, rival)
        assert world.core.leases.standing("production") == "elsewhere"
        await world.deliver()
        assert git(world.remote, "for-each-ref", "refs/notes") == ""
        await bob_gives_it_back(world, rival)
        await world.settle()
        assert world.core.leases.standing("production") == "held"
        await world.deliver()
        assert '"outcome": "succeeded"' in world.notes(commit)


async def test_notes_that_waited_long_for_the_lease_are_pushed_as_soon_as_it_is_back(
    world: World, rival: Rival
) -> None:
    commit = world.bump("1.0.0")
    async with world.holding():
        await world.settle()
        rival.takes(Claim("b0b", "web-2", 2, 0, 3600.0))
        await a_third_passes(world)
        assert world.core.leases.standing("production") == "elsewhere"
        while (note_is_due(world) - world.clock.now()) < timedelta(minutes=4):
            world.clock.move(note_is_due(world) - world.clock.now())
            await world.deliver()  # each time it is put off for longer
        rival.gives_back(2)
        await a_third_passes(world)
        await world.settle()
        assert world.core.leases.standing("production") == "held"
        await world.deliver()
        assert '"outcome": "succeeded"' in world.notes(commit)


async def test_one_who_starts_again_on_the_same_state_goes_on_at_once(world: World, rival: Rival) -> None:
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
    world.forget()  # as by kill -9: nothing is given back
    async with world.holding():
        world.bump("1.1.0")
        await world.settle()
        assert world.phases() == ["succeeded", "succeeded"]
        assert lease_of(world)["epoch"] == 2


def test_a_copy_of_the_state_elsewhere_is_somebody_else(world: World) -> None:
    store = world.core.store

    def name(host: str, state: str) -> str:
        return holder_of(store, host=host, state=Path(state), lasts_s=90).holder

    assert name("web-1", "/var/lib/ugs") == name("web-1", "/var/lib/ugs")
    assert len({name("web-1", "/var/lib/ugs"), name("web-2", "/var/lib/ugs"), name("web-1", "/srv")}) == 3
    assert holder_of(store, host="höst\n", state=Path(), lasts_s=90).host == "h-st-"


async def test_what_another_daemon_found_to_fail_meanwhile_is_not_tried_again(
    world: World, rival: Rival
) -> None:
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        await bob_takes_it(world, rival)
        commit = world.bump("1.1.0")
        await world.settle()
        await tell(world, commit, Phase.STUCK)
        await bob_gives_it_back(world, rival)
        await world.settle()
        assert world.phases() == ["succeeded", "waiting"]
        assert [gate.gate for gate in world.view().gates if not gate.open] == ["quarantine"]
        assert "quarantine-recalled api" in world.events()
        assert world.answers() == "1.0.0"


async def test_what_was_rolled_back_elsewhere_and_may_be_tried_again_is_not_what_is_brought_back(
    world: World, rival: Rival
) -> None:
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        commit = world.bump("1.1.0")
        await world.settle()
        await world.deliver()
        first = world.newest()
        await bob_takes_it(world, rival)
        await tell(world, commit, Phase.REVERTED)
        world.merge("Try again\n\nUgs-Retry: 0123456789abcdef\n")
        world.stop()
        await bob_gives_it_back(world, rival)
        await world.settle()
        again = world.newest()
        assert again is not None
        assert again != first, "it is an upgrade, and no repair"
        assert again.before is not None
        assert (str(again.before.target.version), str(again.to and again.to.version)) == ("1.0.0", "1.1.0")


async def test_what_waited_here_and_failed_elsewhere_is_another_attempt_when_it_is_released(
    world: World, rival: Rival
) -> None:
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        commit = world.bump("1.1.0", "unhealthy")
        hold(world.fleet, "production", "api", actor="Ada", reason="look", lasting="1h")
        await world.settle()
        waits = world.newest("api")
        assert waits
        await bob_takes_it(world, rival)
        await tell(world, commit, Phase.STUCK, waits.operation)
        await bob_gives_it_back(world, rival)
        await world.settle()
        assert world.phases() == ["succeeded", "cancelled"]
        people.release(world.fleet, "production", "api", actor="Ada", why="it was the network")
        await world.settle()
        assert world.phases() == ["succeeded", "cancelled", "waiting"]
        again = world.newest("api")
        assert again
        assert (again.attempt, again.operation == waits.operation) == (2, False)


async def test_an_upgrade_that_was_left_and_is_over_elsewhere_ends_as_git_says(
    world: World, rival: Rival
) -> None:
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        commit = world.bump("1.1.0", soak="60s", deadline="120s")
        left = await bob_takes_it_at(world, rival, Phase.VERIFYING)
        await tell(world, commit, Phase.SUCCEEDED, left.operation)
        await bob_gives_it_back(world, rival)
        await world.settle()
        assert world.phases() == ["succeeded", "superseded"]
        [ended] = [one for one in world.upgrades() if one.phase is Phase.SUPERSEDED]
        assert ended.reason == "it was in another daemon's hands: Git says: succeeded"
        good = world.core.store.good("production", "api", limit=1)
        assert [str(work.target.version) for work, _ in good] == ["1.1.0"]
        assert world.answers() == "1.1.0"


async def test_nothing_is_started_again_before_what_another_daemon_did_is_read(
    world: World, rival: Rival
) -> None:
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        await bob_takes_it(world, rival)
        commit = patiently(world, "1.1.0")
        await world.settle()
        await tell(world, commit, Phase.SUCCEEDED)
        world.stop()  # with the machine that it ran on
        await bob_gives_it_back(world, rival)
        world.remote.rename(world.folder / "away.git")
        await world.a_pass()
        await world.rest()
        assert (world.answers(), world.phases()) == ("", ["succeeded"])
        (world.folder / "away.git").rename(world.remote)
        await world.settle()
        await world.eventually(lambda: world.answers() == "1.1.0")
        assert "repair api" in world.events()


async def test_what_another_daemon_may_have_applied_is_nobodys_hand(world: World, rival: Rival) -> None:
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        old = world.core.store.good("production", "api")[0][0]
        patiently(world, "1.1.0")
        await world.settle()
        assert world.answers() == "1.1.0"
        remote_is_silent_for_long(world)
        assert world.core.leases.standing("production") == "unsure"
        site, bobs = world.core.site_of("production"), Cause("b0b5")
        world.driver.restore(site, bobs, old, environment="production", service="api")
        await world.eventually(lambda: world.answers() == "1.0.0")
        await world.a_pass()
        assert world.answers() == "1.0.0"
        assert "drift api" not in world.events()
        remote_is_back(world)
        await world.eventually(lambda: world.core.leases.standing("production") == "held")
        await world.settle()
        await world.eventually(lambda: world.answers() == "1.1.0")
        assert "drift api" in world.events()


async def test_where_the_ref_is_gone_others_may_have_had_it_and_the_epochs_go_on(
    world: World, rival: Rival
) -> None:
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        assert lease_of(world)["epoch"] == 1
        git(world.remote, "update-ref", "-d", REF)
        await a_third_passes(world)
        assert world.core.leases.behind_s("production") is not None
        claim = rival.claim()
        assert claim
        assert claim.epoch > 1000
        await world.settle()
        assert world.core.leases.standing("production") == "held"
        assert "recalled" in world.events()


async def test_what_was_not_read_the_first_time_is_not_known_the_second_time_either(
    world: World, rival: Rival
) -> None:
    world.deploy_first("1.0.0")
    async with world.holding():
        await world.settle()
        leases = world.core.leases
        assert (leases.last("production"), leases.known_to("production")) == (1, 1)
        await bob_takes_it(world, rival)
        await bob_gives_it_back(world, rival)
        assert (leases.last("production"), leases.known_to("production")) == (3, 1)
        rival.takes(Claim("b0b", "web-2", 4, 0, 90.0))
        await a_third_passes(world)
        rival.gives_back(4)
        await a_third_passes(world)
        assert (leases.last("production"), leases.known_to("production")) == (5, 1)
        await world.settle()
        assert (leases.last("production"), leases.known_to("production")) == (5, 5)
