"""Live flags: a commit switches them, and nothing is deployed; what was in force stays until something else may be."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.engine.attention import needs_person
from reconciler.engine.in_force import InForce
from reconciler.engine.status import plan_of
from reconciler.engine.trust import Untrusted
from reconciler.model.errors import InputError
from reconciler.model.evaluation import Evaluated, evaluate
from reconciler.model.upgrade import Phase
from reconciler.store import AuditRow
from tests.git.keys import Keys
from tests.scenarios.test_flags import ENDS_WITH_IT
from tests.scenarios.test_trust import trust
from tests.world import World

DECLARED = "flags: {new-checkout: {default: false, live: true}, words: {default: plain}}\n"
ON, OFF = "flags: {new-checkout: true}\n", "flags: {new-checkout: false}\n"
WINDOW = 'timezone: UTC\nwindows: {config: [{cron: "0 3 * * 6", duration: 2h}]}\npolicy: {flags: window}\n'
TUESDAY = datetime(2030, 1, 1, 12, tzinfo=UTC)
SATURDAY = datetime(2030, 1, 5, 3, 1, tzinfo=UTC)


def flag(world: World, name: str = "new-checkout") -> InForce:
    return world.core.flags["production"][name]


def value(world: World, name: str = "new-checkout", **context: Any) -> Any:
    found = evaluate(flag(world, name).standing, context)
    assert isinstance(found, Evaluated)
    return found.value


def switches(world: World) -> list[AuditRow]:
    rows = world.core.store.audit_rows(limit=1000)
    return [row for row in reversed(rows) if row.event.startswith("flag-")]


async def start(world: World, more: str = "") -> None:
    world.more = more
    world.release("1.0.0", more=DECLARED)
    world.pin("1.0.0")
    world.merge("Start")
    await world.settle()
    assert value(world) is (more == ON)


async def test_a_commit_switches_it_and_nothing_is_deployed(world: World) -> None:
    await start(world)
    pid, since = world.pid(), flag(world).since
    assert switches(world) == []
    world.more = ON
    switch = world.merge("Switch it on")
    await world.fleet.refresh()
    assert value(world) is True  # at once: no pass was needed

    await world.settle()
    assert (world.phases(), world.pid()) == (["succeeded"], pid)
    assert world.view().sync == "in-sync"
    now = flag(world)
    assert (now.revision, now.since > since) == (switch, True)
    assert now.author.startswith("Ada")
    [row] = switches(world)
    assert (row.event, row.environment, row.actor) == ("flag-switched", "production", now.author)
    assert row.detail == f"new-checkout: false → true; commit {switch}"
    assert world.told()[-1] == f"production: flag new-checkout: false → true (Ada, {switch[:12]})"
    assert world.calls() == []


async def test_a_process_is_given_no_live_flag_and_does_not_depend_on_them(world: World) -> None:
    await start(world)
    target = world.view().pinned
    world.more = "flags: {new-checkout: {rules: [{value: true, percent: 20}]}}\n"
    world.merge("A fifth")
    await world.settle()
    assert (world.view().pinned, world.phases()) == (target, ["succeeded"])
    work = world.core.desired["production"].workloads["api"]
    assert work.flags == {"words": "plain"}
    assert world.told()[-1].startswith("production: flag new-checkout: false → false, and true for 20 %")


async def test_of_several_daemons_that_switch_it_one_tells(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start(world)
    monkeypatch.setattr(world.core.leases, "standing", lambda _name: "elsewhere")
    world.more = ON
    world.merge("Switch it on")
    await world.fleet.refresh()
    assert (value(world), len(switches(world))) == (True, 1)
    assert [one for one in world.told() if "new-checkout" in one] == []


async def test_it_stays_in_force_over_a_restart_while_the_remote_is_away(world: World) -> None:
    await start(world)
    world.more = ON
    switch = world.merge("Switch it on")
    await world.settle()
    world.remote.rename(world.remote.with_name("away.git"))
    await world.restart()
    assert (value(world), flag(world).revision) == (True, switch)
    assert len(switches(world)) == 1


async def test_the_commit_that_switched_it_is_found_behind_later_ones(world: World) -> None:
    await start(world)
    world.more = ON
    switch = world.merge("Switch it on")
    world.more = f"# the same\n{ON}"
    world.merge("Say why")
    world.bump("1.1.0", more=DECLARED)
    await world.settle()
    assert flag(world).revision == switch
    assert world.answers() == "1.1.0"


async def test_a_commit_before_it_of_which_nothing_can_be_read_keeps_nothing_back(world: World) -> None:
    await start(world)
    world.core.store.mark("flags: production", "what another version wrote")
    kept = world.ada.folder / "releases"
    kept.rename(world.folder / "kept")
    world.more = "# nothing to see\n"
    world.files["releases"] = "a file in the folder's place\n"
    world.commit("Break it all")
    world.ada.push()
    with pytest.raises(InputError):
        await world.fleet.refresh()
    (world.ada.folder / "releases").unlink()
    (world.folder / "kept").rename(kept)
    world.more = ON
    switch = world.commit("Mend it, and switch")
    world.ada.push()
    await world.settle()
    assert (value(world), flag(world).revision) == (True, switch)


@pytest.mark.parametrize("wrong", ["flags: {new-checkout: maybe}\n", "flags: [\n"])
async def test_what_is_wrong_leaves_it_as_it_was(world: World, wrong: str) -> None:
    await start(world)
    world.more = ON
    world.merge("Switch it on")
    await world.settle()
    world.more = wrong
    world.merge("Slip")
    await world.settle()
    await world.restart()
    await world.settle()
    assert (value(world), world.phases(), len(switches(world))) == (True, ["succeeded"], 1)
    assert any("environments/production.yaml:" in str(problem) for problem in world.fleet.problems)
    assert world.view().sync == "in-sync"


@pytest.mark.slow
async def test_a_commit_that_is_not_trusted_switches_nothing(world: World) -> None:
    keys = Keys(world.folder)
    keys.allow("ada", "ugs")
    trust(world, keys)
    world.signing = keys.signing("ada")
    await start(world)
    world.signing = {}
    world.more = ON
    world.merge("Not signed")
    with contextlib.suppress(Untrusted):
        await world.settle()
    await world.a_pass()
    assert (value(world), switches(world)) == (False, [])


# a release that needs it no longer


async def test_a_flag_leaves_with_the_last_release_that_needs_it(world: World) -> None:
    world.clock.move_to(TUESDAY)
    await start(world, 'timezone: UTC\nwindows: {minor: [{cron: "0 3 * * 6", duration: 2h}]}\n')
    calm = world.more
    world.more += ON
    world.merge("Switch it on")
    await world.settle()
    world.more = calm
    world.bump("1.1.0")  # which declares no flags
    await world.settle()
    assert world.phases()[-1] == "waiting"
    assert value(world) is True  # though the file sets it no longer: 1.0.0 runs, and reads it
    assert flag(world).needed_by == ("api 1.0.0",)
    assert [one for one in needs_person(world.fleet) if "new-checkout" in one] == []  # it goes by itself

    world.clock.move_to(SATURDAY)
    await world.settle()
    assert world.answers() == "1.1.0"
    assert "new-checkout" not in world.core.flags["production"]
    gone = {row.detail for row in switches(world) if row.event == "flag-removed"}
    assert gone == {f"{one}: nothing declares it any more" for one in ("new-checkout", "words")}
    await world.restart()
    await world.settle()
    assert len(switches(world)) == 3


async def test_what_runs_on_unpinned_and_needs_it_is_told(world: World) -> None:
    await start(world, ON)
    world.pin(None)
    world.more = ""
    world.merge("Leave it running")
    await world.settle()
    assert value(world) is True
    assert [one for one in needs_person(world.fleet) if "new-checkout" in one] == [
        "production: flag new-checkout is still needed by api 1.0.0, and nothing that is pinned there declares it"
    ]


async def test_a_setting_that_a_pinned_release_needs_is_missed_when_it_goes(world: World) -> None:
    await start(world, ON)
    world.more = ""
    world.merge("Tidy up")
    await world.settle()
    assert value(world) is False
    assert world.told()[-1].endswith("; api declares it still, and nothing sets it")
    assert world.notices()[-1].severity == "warning"


# waiting for a window


async def on_a_tuesday(world: World) -> None:
    world.clock.move_to(TUESDAY)
    world.release("1.0.0", more=DECLARED)
    world.pin("1.0.0")
    world.more = WINDOW
    world.merge("Start")
    await world.settle()
    assert value(world) is False


async def test_where_the_policy_says_so_it_waits_for_a_window_also_over_restarts(world: World) -> None:
    await on_a_tuesday(world)
    world.more = WINDOW + ON
    switch = world.merge("Switch it on")
    await world.settle()
    assert value(world) is False
    waiting = flag(world)
    assert waiting.pending is not None
    assert (waiting.pending.plain, [gate.gate for gate in waiting.waits]) == (True, ["window"])
    assert waiting.waits[0].until == SATURDAY.replace(minute=0)
    [planned] = plan_of(world.fleet)["flags"]
    assert (planned["flag"], planned["to"]["value"], planned["gates"][0]["gate"]) == (
        "new-checkout",
        True,
        "window",
    )
    await world.restart()
    await world.settle()
    assert value(world) is False

    world.clock.move_to(SATURDAY)
    await world.a_pass()
    assert (value(world), flag(world).revision, flag(world).pending) == (True, switch, None)
    assert len(switches(world)) == 1


async def test_nobody_opens_the_gate_and_switches_in_one_push(world: World) -> None:
    await on_a_tuesday(world)
    world.more = WINDOW.replace("window}", "always}") + ON
    world.merge("Both at once")
    await world.settle()
    assert value(world) is False
    await world.restart()
    await world.settle()
    assert value(world) is False
    world.more += "# looked at again\n"
    world.merge("Anything later")
    await world.settle()
    assert value(world) is False
    world.clock.move_to(SATURDAY)
    await world.settle()
    assert value(world) is True


async def test_a_later_push_may_open_the_gate(world: World) -> None:
    await on_a_tuesday(world)
    world.more = WINDOW + ON
    world.merge("Switch it on")
    await world.settle()
    assert value(world) is False
    world.more = world.more.replace("window}", "always}")
    world.merge("Do not wait")
    await world.settle()
    assert value(world) is True


async def test_what_is_taken_back_before_the_window_was_never_in_force(world: World) -> None:
    await on_a_tuesday(world)
    world.more = WINDOW + ON
    world.merge("Switch it on")
    await world.settle()
    world.more = WINDOW
    world.merge("Rather not")
    await world.settle()
    assert (value(world), flag(world).pending) == (False, None)
    world.clock.move_to(SATURDAY)
    await world.settle()
    assert (value(world), switches(world)) == (False, [])


async def test_a_hold_and_a_freeze_keep_it_back_too_and_an_override_lets_it_through(world: World) -> None:
    await on_a_tuesday(world)
    store = world.core.store
    store.hold("production", None, reason="audit", owner="ada", until=None)
    world.more = WINDOW + "freezes: [{from: 2029-12-24, until: 2030-01-06, reason: the year ends}]\n" + ON
    world.merge("Switch it on")
    await world.settle()
    assert [gate.gate for gate in flag(world).waits] == ["hold", "freeze", "window"]
    store.release_hold(1, by="ada")
    for gate in ("window", "freeze"):
        until = world.clock.now() + timedelta(hours=1)
        store.override("production", None, gate=gate, reason="now", by="ada", until=until)
    await world.a_pass()
    assert value(world) is True


# flags that processes are given


async def test_of_a_flag_that_processes_are_given_clients_get_what_those_have(world: World) -> None:
    world.release("1.0.0", more="flags: {mode: {default: false}}\n")
    world.pin("1.0.0")
    world.merge("Start")
    await world.settle()
    world.more = "flags: {mode: true}\n"
    world.merge("Switch")
    await world.reach(Phase.VERIFYING)
    await world.a_pass()
    assert value(world, "mode") is False
    await world.settle()
    assert (value(world, "mode"), world.phases()) == (True, ["succeeded", "succeeded"])
    [row] = switches(world)
    assert (row.detail.partition(";")[0], row.actor[:3]) == ("mode: false → true", "Ada")


async def test_a_value_with_which_a_service_fails_never_comes_in_force(world: World) -> None:
    world.release("1.0.0", more="flags: {mode: {default: false}}\n", command=ENDS_WITH_IT)
    world.pin("1.0.0")
    world.merge("Start")
    await world.settle()
    world.more = "flags: {mode: true}\n"
    world.merge("Switch")
    await world.settle()
    assert world.phases() == ["succeeded", "restored"]
    assert (value(world, "mode"), switches(world)) == (False, [])


# environments that come, go and change their names


async def test_they_go_along_when_an_environment_is_renamed(world: World) -> None:
    await start(world, ON.replace("true", "{value: false}"))
    world.more = ON
    switch = world.merge("Switch it on")
    await world.settle()
    text = world.environment().replace(
        "environment: production", "environment: live\nrenamed_from: production"
    )
    world.files = {"environments/live.yaml": text, "environments/production.yaml": None}
    world.ada.pull_if_any()
    world.ada.commit(world.files, "Rename", environment={})
    world.ada.push()
    world.files = {}
    await world.settle()
    assert world.core.flags["live"]["new-checkout"].revision == switch
    assert "production" not in world.core.flags
    assert len(switches(world)) == 1
