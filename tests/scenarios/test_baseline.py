"""A fleet that runs already, and a database that knows nothing of it: what runs is adopted, not restarted."""

from __future__ import annotations

import shutil
from datetime import timedelta

from reconciler.model.errors import HostError
from tests.world import World


def forget_everything(world: World) -> None:
    """As if nothing had ever been here but what runs: no database, and nothing that remembers one."""
    world.forget()
    for file in world.state.glob("ugs.*"):
        file.unlink()


async def test_what_runs_as_pinned_and_healthy_is_adopted_without_a_restart(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid = world.pid()
    forget_everything(world)

    await world.settle()
    assert world.phases() == []
    assert world.pid() == pid
    assert world.events().count("adopted api") == 1
    assert world.view().sync == "in-sync"

    world.bump("1.1.0")
    await world.settle()
    assert world.answers() == "1.1.0"
    world.bump("1.2.0", "unhealthy")
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    assert world.answers() == "1.1.0"


async def test_a_bad_bump_right_after_the_baseline_goes_back_to_what_was_adopted(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    forget_everything(world)
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    await world.settle()
    assert world.phases() == ["reverted"]
    assert world.answers() == "1.0.0"


async def test_a_running_version_that_is_not_pinned_is_found_in_history_and_adopted(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.forget()
    world.bump("1.1.0", "unhealthy")
    forget_everything(world)

    await world.settle()
    assert world.events().count("adopted api") == 1
    assert world.phases() == ["reverted"]
    assert world.answers() == "1.0.0"


async def test_a_running_version_that_nothing_describes_waits_for_a_person(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid = world.pid()
    forget_everything(world)
    world.ada.git("checkout", "--quiet", "--orphan", "fresh")
    world.ada.git("branch", "--delete", "--force", "--quiet", "main")
    world.ada.git("branch", "--move", "main")
    world.files["releases/api/1.0.0.yaml"] = None
    world.release("1.1.0")
    world.pin("1.1.0")
    world.commit("Begin the history anew")
    world.ada.push("--force")
    await world.fleet.refresh(accept_rewrite=True)
    await world.settle()

    assert world.phases() == ["waiting"]
    assert world.pid() == pid
    gate = next(gate for gate in world.view().gates if not gate.open)
    assert gate.gate == "adoption"
    assert "nothing that is known here describes it" in gate.reason


async def test_what_runs_ill_is_not_adopted_as_good(world: World) -> None:
    ill = world.folder / "ill"
    world.release("1.0.0", probe=f'{{command: ["test", "!", "-e", "{ill}"], interval: 50ms}}')
    world.pin("1.0.0")
    world.merge()
    await world.settle()
    ill.touch()
    forget_everything(world)
    await world.settle()
    assert world.core.store.good("production", "api") == []

    ill.unlink()
    await world.settle()
    assert len(world.core.store.good("production", "api")) == 1


async def test_more_than_five_first_deployments_at_once_wait_for_a_word(world: World) -> None:
    services = [f"svc{index}" for index in range(6)]
    world.deploy_first("1.0.0", *services)
    await world.settle()
    assert {phase for service in services for phase in world.phases(service)} == {"waiting"}
    gate = next(gate for gate in world.view("svc0").gates if not gate.open)
    assert (gate.gate, gate.opened_by) == ("adoption", "ugs run --accept-first")

    world.forget()
    world.accept_first = True
    await world.settle()
    await world.settle()
    assert {world.answers(service) for service in services} == {"1.0.0"}


async def test_a_service_that_is_gone_is_started_again_which_is_no_upgrade(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    tip = world.tip()
    world.stop()
    await world.settle()
    await world.eventually(lambda: world.answers() == "1.0.0")
    await world.settle()

    assert world.phases() == ["succeeded"]
    assert world.tip() == tip
    assert world.events().count("repair api") == 1
    assert world.view().sync == "in-sync"


async def test_starting_again_is_backed_off_and_its_failure_recorded(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    own, tries = world.driver.apply, []

    def apply(*arguments: object) -> None:
        tries.append(arguments)
        raise HostError("no more processes", "raise the limit")

    world.driver.apply = apply
    world.stop()
    for _ in range(4):
        await world.settle()
    assert len(tries) == 1
    assert "could not be started again: no more processes" in world.core.store.audit_rows(limit=1)[0].detail

    world.driver.apply = own
    world.clock.move(timedelta(seconds=10))
    await world.settle()
    await world.eventually(lambda: world.answers() == "1.0.0")


async def test_what_is_gone_while_its_successor_waits_is_started_again_as_it_was(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.more = 'timezone: UTC\nfreezes: [{from: "2020-01-01", until: "2100-01-01", reason: "no"}]\n'
    world.bump("1.1.0")
    await world.settle()
    world.stop()
    await world.settle()
    await world.eventually(lambda: world.answers() == "1.0.0")
    assert world.phases() == ["succeeded", "waiting"]


async def test_an_archive_that_is_gone_too_is_fetched_for_the_repair(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.stop()
    shutil.rmtree(world.state / "services" / "production" / "api" / "1.0.0")
    await world.settle()
    await world.eventually(lambda: world.answers() == "1.0.0")
