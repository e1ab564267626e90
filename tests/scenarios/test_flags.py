"""A flag that is switched: a change of config for those that declare it, taken back where they fail with it."""

from __future__ import annotations

import json

from tests.drivers.services import get
from tests.world import World

DECLARED = "flags: {new-checkout: {default: false, description: One page.}, words: {default: plain}}\n"
ENDS_WITH_IT = '["/bin/sh", "-c", "case $UGS_FLAGS in *true*) exit 1;; esac; exec bin/api {port}"]'


def environment_of(world: World, service: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(get(world.port(service), "/env"))["env"]
    return found


def flags_of(world: World, service: str = "api") -> object:
    return json.loads(environment_of(world, service)["UGS_FLAGS"])


def start(world: World, command: str | None = None) -> None:
    """api declares flags, web none."""
    world.release("1.0.0", more=DECLARED, command=command)
    world.release("1.0.0", service="web")
    world.pin("1.0.0")
    world.pin("1.0.0", "web")
    world.merge("Start")


async def test_a_switched_flag_reaches_the_services_that_declare_it_and_no_other(world: World) -> None:
    start(world)
    await world.settle()
    assert environment_of(world, "api")["UGS_FLAGS"] == '{"new-checkout": false, "words": "plain"}'
    assert "UGS_FLAGS" not in environment_of(world, "web")
    pid = world.pid("web")

    world.more = "flags: {words: 'schön', new-checkout: true}\n"
    switch = world.merge("Switch")
    await world.settle()
    assert flags_of(world) == {"new-checkout": True, "words": "schön"}
    newest = world.newest()
    assert newest is not None
    assert (newest.change_class, newest.phase, newest.revision) == ("config", "succeeded", switch)
    assert (world.phases("web"), world.pid("web")) == (["succeeded"], pid)


async def test_a_flag_with_which_a_service_fails_is_taken_back_and_a_person_puts_it_back_in_git(
    world: World,
) -> None:
    start(world, ENDS_WITH_IT)
    await world.settle()
    world.more = "flags: {new-checkout: true}\n"
    switch = world.merge("Switch")
    await world.settle()

    assert world.phases() == ["succeeded", "restored"]
    assert flags_of(world) == {"new-checkout": False, "words": "plain"}
    assert (world.tip(), world.reverts()) == (switch, [])
    newest = world.newest()
    assert newest is not None
    assert newest.reason.endswith(
        "the pin already says what it said when the old version was healthy; "
        "look at the flags in its environment: new-checkout"
    )
    assert any("new-checkout" in sentence for sentence in world.calls())
    assert [row.target for row in world.core.store.quarantined("production")] == [newest.to]

    await world.settle()  # it is not tried again
    assert world.phases() == ["succeeded", "restored"]
    assert "quarantined" in world.view().sentence

    pid = world.pid()
    world.more = ""
    world.merge("Put it back")
    await world.settle()
    assert world.phases() == ["succeeded", "restored"]
    assert (world.view().sync, world.pid()) == ("in-sync", pid)


async def test_a_version_that_fails_is_reverted_though_its_commit_also_switched_a_flag(world: World) -> None:
    start(world)
    await world.settle()
    world.more = "flags: {new-checkout: true}\n"
    world.bump("1.1.0", "unhealthy", more=DECLARED)
    await world.settle()

    assert world.phases() == ["succeeded", "reverted", "succeeded"]
    assert 'api: "1.0.0"' in world.pinned()
    assert flags_of(world) == {"new-checkout": True, "words": "plain"}  # 1.0.0 does well with it


async def test_a_value_of_another_type_moves_nothing(world: World) -> None:
    start(world)
    world.more = "flags: {new-checkout: true}\n"
    world.merge("Switch")
    await world.settle()
    pid = world.pid()
    world.more = 'flags: {new-checkout: "yes"}\n'
    world.merge("Mistype")
    await world.settle()
    assert (world.pid(), flags_of(world)) == (pid, {"new-checkout": True, "words": "plain"})
    assert "flags.new-checkout" in str(world.fleet.problems)


async def test_where_pins_share_their_fate_all_that_follow_the_flag_go_back(world: World) -> None:
    world.release("1.0.0", more=DECLARED, command=ENDS_WITH_IT)
    world.release("1.0.0", more=DECLARED, service="web")
    world.pin("1.0.0")
    world.pin("1.0.0", "web")
    world.more = "policy: {atomic: true}\n"
    world.merge("Start")
    await world.settle()
    world.more += "flags: {new-checkout: true}\n"
    switch = world.merge("Switch")
    await world.settle()
    off = {"new-checkout": False, "words": "plain"}
    assert (flags_of(world), flags_of(world, "web")) == (off, off)
    assert (world.tip(), world.phases()) == (switch, ["succeeded", "restored"])
    assert {row.service for row in world.core.store.quarantined("production")} == {"api"}
    gates = world.view("web").explain()["gates"]
    assert [gate["gate"] for gate in gates if not gate["open"]] == ["quarantine"]  # it shares that fate
