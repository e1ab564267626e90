"""The way to a pin that is further than one step: through what the releases permit, each step proven by itself."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from reconciler.engine import permits
from reconciler.engine.status import explain_of
from tests.git.keys import Keys
from tests.world import World

STEPWISE = 'upgrade: {from: ">=%s"}\n'


async def test_a_pin_that_is_too_far_is_reached_through_the_releases_between(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()

    world.release("2.0.0")
    world.bump("3.0.0", more=STEPWISE % "2.0.0")
    await world.settle()

    assert world.phases() == ["succeeded", "succeeded", "succeeded"]
    assert [str(u.to.version) for u in reversed(world.upgrades()) if u.to] == ["1.0.0", "2.0.0", "3.0.0"]
    assert world.answers() == "3.0.0"
    assert world.view().sync == "in-sync"
    assert any("1.0.0 → 2.0.0 on the way to 3.0.0 succeeded" in told for told in world.told())


async def test_explain_says_when_each_step_starts_as_far_as_that_is_known(world: World) -> None:
    world.more = "windows: {major: manual}\n"
    world.deploy_first("1.0.0")
    await world.settle()
    now = world.clock.now()
    permits.hold(world.fleet, "production", "api", actor="ada", reason="look first", lasting="1h")
    world.release("1.1.0")
    world.bump("2.0.0", more=STEPWISE % "1.1.0")
    await world.settle()

    why = explain_of(world.fleet, "production", "api")
    first, second = why["steps"]
    assert (first["version"], first["class"], second["version"], second["class"]) == (
        "1.1.0",
        "minor",
        "2.0.0",
        "major",
    )
    assert datetime.fromisoformat(first["starts_at"]) - now >= timedelta(hours=1)
    assert (why["starts_at"], first["unknown"]) == (first["starts_at"], None)
    assert (second["starts_at"], second["unknown"]) == (
        None,
        "major changes start only when a person starts them",
    )
    assert (first["duration_s"], first["opens_at"], first["closes_at"]) == (3.1, None, None)


async def test_a_second_step_that_fails_reverts_the_pin_to_the_version_that_was_reached(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()

    world.release("2.0.0")
    world.bump("3.0.0", "unhealthy", more=STEPWISE % "2.0.0")
    await world.settle()

    assert world.phases() == ["succeeded", "succeeded", "reverted"]
    assert world.answers() == "2.0.0"
    assert '  api: "2.0.0"   # api here' in world.pinned()
    assert world.view().sync == "in-sync"


async def test_a_first_step_that_fails_reverts_the_pin_that_asked_for_the_last(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    before = world.pinned()

    world.release("2.0.0", "unhealthy")
    world.bump("3.0.0", more=STEPWISE % "2.0.0")
    await world.settle()

    assert world.phases() == ["succeeded", "reverted"]
    assert world.answers() == "1.0.0"
    assert world.pinned() == before
    [row] = world.core.store.quarantined("production")
    assert row.target.version.text == "2.0.0"


async def test_everyone_stops_at_a_barrier(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()

    world.release("2.0.0", more="upgrade: {barrier: true}\n")
    world.bump("3.0.0")
    await world.settle()

    assert [str(u.to.version) for u in reversed(world.upgrades()) if u.to] == ["1.0.0", "2.0.0", "3.0.0"]


async def test_where_no_way_leads_the_gate_names_what_is_nearest(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()

    world.release("2.0.0", more=STEPWISE % "1.5.0")
    world.bump("3.0.0", more=STEPWISE % "2.0.0")
    await world.settle()

    assert world.phases() == ["succeeded", "waiting"]
    sentence = world.view().sentence
    assert "1.0.0 runs" in sentence
    assert "2.0.0" in sentence
    assert world.answers() == "1.0.0"


async def test_what_must_not_be_taken_back_stays_and_calls_a_person(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()

    bump = world.bump("2.0.0", "unhealthy", more="upgrade: {reversible: false}\n")
    await world.settle()

    assert world.phases() == ["succeeded", "stuck"]
    assert world.answers() == "2.0.0"
    assert world.tip() == bump
    assert "must not be taken back by itself" in world.told()[-1]


async def test_a_dependency_goes_first_and_its_dependent_waits_until_it_is_healthy(world: World) -> None:
    world.deploy_first("1.0.0", "app", "base")
    await world.settle()

    world.release("2.0.0", service="app", more='requires: {base: ">=2.0.0"}\n')
    world.release("2.0.0", service="base")
    world.pin("2.0.0", "app")
    world.pin("2.0.0", "base")
    world.merge("Both at once")
    await world.settle()

    app, base = world.newest("app"), world.newest("base")
    assert app is not None
    assert base is not None
    assert (app.phase.value, base.phase.value) == ("succeeded", "succeeded")
    assert app.started_at is not None
    assert base.ended_at is not None
    assert base.ended_at <= app.started_at


async def test_requirements_that_go_round_in_a_circle_are_refused_with_the_whole_chain(world: World) -> None:
    world.deploy_first("1.0.0", "app", "base")
    await world.settle()

    world.release("2.0.0", service="app", more='requires: {base: ">=2.0.0"}\n')
    world.release("2.0.0", service="base", more='requires: {app: ">=2.0.0"}\n')
    world.pin("2.0.0", "app")
    world.pin("2.0.0", "base")
    world.merge("Both at once")
    await world.settle()

    assert world.phases("app") == ["succeeded", "waiting"]
    sentence = world.view("app").sentence
    assert "app 2.0.0 needs base >=2.0.0" in sentence
    assert "base 2.0.0 needs app >=2.0.0" in sentence


async def test_a_withdrawn_release_is_reported_where_it_runs(world: World) -> None:
    from reconciler.engine.attention import needs_person

    world.deploy_first("1.0.0")
    await world.settle()
    assert needs_person(world.fleet) == []

    manifest = world.text("releases/api/1.0.0.yaml")
    withdrawn = 'withdrawn: {reason: "loses orders", since: 2026-11-02}\nhealth:\n'
    world.files["releases/api/1.0.0.yaml"] = manifest.replace("health:\n", withdrawn)
    world.merge("Withdraw api 1.0.0")
    await world.settle()

    assert needs_person(world.fleet) == [
        "production: api 1.0.0 runs as pinned, and is withdrawn: loses orders"
    ]
    assert world.phases() == ["succeeded"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_no_way_goes_through_a_release_of_somebody_who_may_not_move_the_environment(
    world: World, when: str
) -> None:
    keys = Keys(world.folder)
    keys.allow("ada", "mallory", "ugs")
    world.identity_more = f', signing_key: "{keys.private("ugs")}"'
    files = f'signers: "{keys.allowed}", revoked: "{keys.revoked}"'
    world.settings_more = f"trust: {{{files}, environments: {{production: [ada@example.org]}}}}\n"

    def mallory_adds_a_step() -> None:
        world.signing = keys.signing("mallory")
        world.release("2.0.0")
        world.merge("Add a release")
        world.signing = keys.signing("ada")

    world.signing = keys.signing("ada")
    world.deploy_first("1.0.0")
    await world.settle()
    if when == "before":
        mallory_adds_a_step()
    world.bump("3.0.0", more=STEPWISE % "2.0.0")
    if when == "after":
        mallory_adds_a_step()
    await world.settle()
    [gate] = [gate for gate in world.view().gates if gate.gate == "trust"]
    assert not gate.open
    assert gate.reason.startswith("the way goes through 2.0.0, whose file mallory@example.org wrote last")
    assert world.answers() == "1.0.0"

    world.pin("2.0.0")
    world.merge("Vouch for it")
    await world.settle()
    world.pin("3.0.0")
    world.merge("Go on")
    await world.settle()
    assert world.answers() == "3.0.0"
