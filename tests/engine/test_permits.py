"""What a person may say about gates: what is recorded and told of it, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from reconciler.engine import permits
from reconciler.engine.people import Conflict
from reconciler.model.errors import UgsError
from reconciler.model.permits import NOT_OVERRIDABLE, OVERRIDABLE, Approval, Hold, Override, Permits
from reconciler.model.upgrade import Phase
from tests.world import World

WAITS = """\
timezone: UTC
freezes: [{from: 2020-01-01, until: 2199-12-31, reason: later, except: [initial, patch]}]
policy: {approvals: {major: 2}, four_eyes: %s}
"""


async def waiting(world: World, *, four_eyes: bool = False, soak: str = "100ms") -> str:
    """1.0.0 runs, and 2.0.0 waits for people; the commit that pinned it."""
    world.more = WAITS % str(four_eyes).lower()
    world.deploy_first("1.0.0")
    await world.settle()
    revision = world.bump("2.0.0", soak=soak, deadline="1m")
    await world.settle()
    woken(world)
    return revision


def woken(world: World) -> bool:
    """Whether production's pass was asked for since this was asked last."""
    wake = world.fleet.passes["production"].wake
    was = wake.is_set()
    wake.clear()
    return was


def held(world: World, service: str | None = None, lasting: str | None = None) -> Hold:
    return permits.hold(
        world.fleet, "production", service, actor="ada", reason="database move", lasting=lasting
    )


def overridden(world: World, gate: str = "window", **said: str) -> Override:
    return permits.override(
        world.fleet,
        "production",
        "api",
        gate=gate,
        actor="ada",
        reason="orders are lost",
        **{"lasting": "1h"} | said,
    )


async def approved(world: World, actor: str = "eve", **said: str) -> Approval:
    return await permits.approve(world.fleet, "production", "api", actor=actor, **said)


def in_force(world: World) -> Permits:
    return permits.in_force(world.fleet, None)


def refused(call: Callable[[], object], *words: str, kind: type[UgsError] = Conflict) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert caught.value.remedy
    for word in words:
        assert word in str(caught.value)


async def refused_approval(world: World, *words: str, actor: str = "eve") -> None:
    with pytest.raises(Conflict) as caught:
        await approved(world, actor)
    assert caught.value.remedy
    for word in words:
        assert word in str(caught.value)


# Holds


async def test_a_hold_is_recorded_told_and_wakes_the_pass(world: World) -> None:
    await waiting(world)
    made = held(world, "api", lasting="4h")
    assert woken(world)
    assert in_force(world).holds == (made,)
    assert made.until is not None
    [notice] = world.notices()[-1:]
    assert notice.sentence.startswith("production: api is held by ada until ")
    assert notice.sentence.endswith(" UTC: database move")
    assert (notice.severity, notice.title, notice.operation) == ("info", "production: api", None)
    assert world.events()[-1] == "held api"


async def test_a_hold_of_all_of_an_environment_is_released_by_anyone(world: World) -> None:
    await waiting(world)
    made = held(world)
    assert world.told()[-1] == "production is held by ada: database move"
    woken(world)
    assert permits.release_hold(world.fleet, made.id, actor="bob") == made
    assert woken(world)
    assert in_force(world) == Permits()
    assert world.told()[-1] == "production is no longer held by ada (database move): released by bob"
    refused(lambda: permits.release_hold(world.fleet, made.id, actor="bob"), "no hold 1", "ugs hold list")


async def test_the_reason_is_one_plain_line(world: World) -> None:
    await waiting(world)
    made = permits.hold(world.fleet, "production", None, actor="ada", reason=" a\n\x1b[31m  b\t")
    assert made.reason == "a [31m b"


async def test_a_hold_that_cannot_be_is_refused_with_what_to_do(world: World) -> None:
    await waiting(world)
    fleet = world.fleet

    def hold(
        environment: str = "production",
        service: str | None = None,
        reason: str = "why",
        until: str | None = None,
        lasting: str | None = None,
    ) -> Callable[[], object]:
        return lambda: permits.hold(
            fleet, environment, service, actor="ada", reason=reason, until=until, lasting=lasting
        )

    refused(hold("nowhere"), "no environment nowhere", "production")
    refused(hold(service="nobody"), "no service nobody", "it has api")
    refused(hold(reason=" \n"), "a reason is needed", kind=UgsError)
    refused(hold(reason="\x00\x1b"), "a reason is needed", kind=UgsError)
    refused(hold(reason="x" * 1001), "at most 1000", kind=UgsError)
    refused(hold(until="2026-11-03T18:00"), "offset", kind=UgsError)
    refused(hold(lasting="a while"), "not a duration", "write for example 4h", kind=UgsError)
    refused(hold(until="2030-01-01T00:00Z", lasting="1h"), "give one of them", kind=UgsError)
    assert in_force(world) == Permits()
    assert not woken(world)


async def test_there_is_a_most_that_may_be_in_force(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await waiting(world)
    monkeypatch.setattr(permits, "IN_FORCE_MAX", 1)
    held(world)
    overridden(world)
    await approved(world)
    refused(lambda: held(world), "production has 1 holds", "ugs hold release ID")
    refused(lambda: overridden(world), "production has 1 overrides")
    await refused_approval(world, "production has 1 approvals", actor="bob")


# Approvals


async def test_an_approval_is_bound_to_what_is_planned_now(world: World) -> None:
    revision = await waiting(world)
    made = await approved(world)
    assert woken(world)
    newest = world.newest()
    assert newest is not None
    assert newest.running is not None
    ask = made.ask
    assert (ask.environment, ask.service, ask.revision) == ("production", "api", revision)
    assert (ask.from_target, ask.to_target) == (str(newest.running), str(newest.to))
    assert ask.path == ("2.0.0",)
    assert timedelta(days=6) < made.until - world.clock.now() < timedelta(days=7)
    assert in_force(world).approvals == (made,)
    assert world.events()[-1] == "approved api"


async def test_an_unrelated_commit_leaves_what_is_asked_alone_and_another_config_does_not(
    world: World,
) -> None:
    await waiting(world)
    first = await approved(world)
    world.release("1.0.0", service="web")
    world.pin("1.0.0", "web")
    world.merge("Add web")
    await world.settle()
    assert (await approved(world, "bob")).ask == first.ask

    world.pin('{version: "2.0.0", instances: 2}')
    moved = world.merge("Two of them")
    await world.settle()
    other = await approved(world, "bob")
    assert other.ask.revision == moved
    assert other.ask.to_target != first.ask.to_target


@pytest.mark.fault("RT-14", "RT-12")
async def test_nobody_approves_twice_but_may_withdraw_and_approve_anew(world: World) -> None:
    await waiting(world)
    made = await approved(world, lasting="1h")
    await refused_approval(world, "has approved this already", f"ugs approve withdraw {made.id}", actor="Eve")
    woken(world)
    assert permits.withdraw(world.fleet, made.id, actor="bob") == made
    assert woken(world)
    assert in_force(world) == Permits()
    again = await approved(world, lasting="2h")
    world.clock.move(timedelta(hours=2))
    assert in_force(world) == Permits()
    assert (await approved(world)).id == again.id + 1
    refused(lambda: permits.withdraw(world.fleet, again.id, actor="eve"), "no approval 2 in force")


async def test_where_nothing_is_planned_there_is_nothing_to_approve(world: World) -> None:
    world.more = WAITS % "false"
    world.deploy_first("1.0.0")
    await world.settle()
    await refused_approval(world, "nothing is planned for api", "ugs plan")


async def test_where_no_approval_is_needed_none_is_taken(world: World) -> None:
    await waiting(world)
    world.bump("1.1.0")
    await world.settle()
    await refused_approval(world, "minor changes need no approval")


async def test_the_floor_needs_approvals_that_the_environment_does_not(world: World) -> None:
    world.settings_more += "floor: {approvals: {minor: 1}}\n"
    await waiting(world)
    world.bump("1.1.0")
    await world.settle()
    assert (await approved(world)).ask.path == ("1.1.0",)


@pytest.mark.fault("RT-13")
async def test_a_pin_that_moved_since_the_last_pass_is_not_approved_unseen(world: World) -> None:
    await waiting(world)
    world.bump("3.0.0")
    await world.fleet.refresh()
    await refused_approval(world, "3.0.0 of api was pinned this very moment", "say it again")
    world.pin(None)
    world.merge("Pin it no longer")
    await world.fleet.refresh()
    await refused_approval(world, "api is no longer pinned this very moment")


async def test_where_no_way_leads_there_is_nothing_to_approve(world: World) -> None:
    await waiting(world)
    world.bump("3.0.0", more='upgrade: {from: ">=2.5.0"}\n')
    await world.settle()
    await refused_approval(world, "production: ", ">=2.5.0")


async def test_what_is_under_way_can_neither_be_approved_nor_taken_back_by_withdrawing(world: World) -> None:
    await waiting(world, soak="30s")
    made = await approved(world)
    world.more = world.more.replace("[initial, patch]", "[initial, patch, major]").replace("2}", "1}")
    world.merge("Let it start")
    await world.reach(Phase.VERIFYING)
    await refused_approval(world, "the change of api is under way", actor="bob")
    refused(
        lambda: permits.withdraw(world.fleet, made.id, actor="eve"),
        "has started",
        "ugs rollback production api",
    )
    assert made in in_force(world).approvals
    await world.restart()


@pytest.mark.fault("RT-14")
async def test_under_four_eyes_nobody_approves_what_they_wrote(world: World) -> None:
    await waiting(world, four_eyes=True)
    await refused_approval(world, "Ada wrote", "somebody else approves it", actor="Ada")
    await refused_approval(world, "wrote", actor="ada")
    assert (await approved(world, "eve")).by == "eve"


@pytest.mark.fault("RT-14")
async def test_who_wrote_what_a_merge_brought_cannot_approve_it_either(world: World) -> None:
    await waiting(world, four_eyes=True)
    world.ada.git("checkout", "--quiet", "-b", "branch")
    by_eve = {"GIT_AUTHOR_NAME": "Eve", "GIT_AUTHOR_EMAIL": "eve@example.org"}
    world.release("3.0.0")
    world.pin("3.0.0")
    world.commit("Bump api to 3.0.0", **by_eve)
    world.ada.git("checkout", "--quiet", "main")
    world.ada.git("merge", "--quiet", "--no-ff", "--message", "Merge", "branch")
    world.ada.push()
    await world.settle()
    await refused_approval(world, "eve wrote", actor="eve")
    await refused_approval(world, "ada wrote", actor="ada")
    assert (await approved(world, "bob")).ask.revision == world.tip()


async def test_a_push_that_needs_no_approval_any_more_is_approved_as_the_rules_stood_before(
    world: World,
) -> None:
    await waiting(world)
    world.more = world.more.replace("major: 2", "major: 0")
    revision = world.bump("3.0.0")
    await world.settle()
    assert (await approved(world)).ask.revision == revision


# Overrides


async def test_an_override_calls_a_person_and_asks_for_a_second_one(world: World) -> None:
    await waiting(world)
    made = overridden(world, "freeze")
    assert woken(world)
    assert in_force(world).overrides == (made,)
    assert timedelta(minutes=59) < made.until - made.at <= timedelta(hours=1)
    [call] = world.calls()
    assert call.startswith("production: api has the gate freeze overridden by ada until ")
    assert call.endswith(": orders are lost; a second person confirms it with `ugs override confirm 1`")
    assert world.events()[-1] == "overridden api"
    question = (
        "production: api: ada overrode the gate freeze (orders are lost); "
        "a second person confirms it with `ugs override confirm 1`"
    )
    assert permits.questions(in_force(world)) == [question]
    world.clock.move(timedelta(days=3))
    assert permits.questions(in_force(world)) == [question]


async def test_an_override_is_confirmed_by_a_second_person_alone(world: World) -> None:
    await waiting(world)
    made = overridden(world)
    told = world.told()
    refused(lambda: permits.confirm(world.fleet, made.id, actor=" ADA"), "was made by", "somebody else")
    assert permits.questions(in_force(world))
    assert world.told() == told

    confirmed = permits.confirm(world.fleet, made.id, actor="bob")
    assert confirmed.confirmed_by == "bob"
    assert permits.questions(in_force(world)) == []
    assert in_force(world).overrides == (confirmed,)
    assert world.told()[-1] == (
        "production: api had the gate window overridden by ada (orders are lost): confirmed by bob"
    )
    refused(lambda: permits.confirm(world.fleet, made.id, actor="eve"), "no override 1 to be confirmed")


async def test_which_gates_may_be_passed_by(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.fleet.refresh()
    for gate in OVERRIDABLE:
        assert overridden(world, gate).gate == gate
    assert len(in_force(world).overrides) == len(OVERRIDABLE)


async def test_what_no_override_helps_names_what_does(world: World) -> None:
    await waiting(world)
    for gate, remedy in NOT_OVERRIDABLE.items():
        refused(lambda gate=gate: overridden(world, gate), gate, remedy)  # type: ignore[misc]  # the gate of this turn
    refused(lambda: overridden(world, "widnow"), "no gate 'widnow'", "window", kind=UgsError)
    refused(lambda: overridden(world, lasting="25h"), "at most 24 hours", kind=UgsError)
    refused(
        lambda: permits.override(
            world.fleet, "production", None, gate="window", actor="ada", reason="why", until=None
        ),
        "at most 24 hours",
        kind=UgsError,
    )
    assert in_force(world) == Permits()
    assert overridden(world, lasting="24h").id == 1


async def test_what_was_said_is_asked_for_here_or_everywhere(world: World) -> None:
    await waiting(world)
    made = held(world)
    assert permits.in_force(world.fleet, "production").holds == (made,)
    refused(lambda: permits.in_force(world.fleet, "nowhere"), "nowhere")


async def test_what_was_said_outlives_the_daemon(world: World) -> None:
    await waiting(world)
    was = Permits((held(world),), (await approved(world),), (overridden(world),))
    await world.restart()
    assert in_force(world) == was


async def test_a_hold_of_an_environment_that_is_gone_can_still_be_released(world: World) -> None:
    await waiting(world)
    made = held(world)
    world.core.desired.clear()
    refused(lambda: held(world), "no environment production", "none")
    del world.fleet.passes["production"]
    assert permits.release_hold(world.fleet, made.id, actor="ada") == made
