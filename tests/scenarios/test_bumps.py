"""Pins that ask for it get a pull request for what is newer: one each, kept up, and never against anybody."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from msgspec.structs import replace

from reconciler.engine.pull_requests.bumps import Bumper
from reconciler.forge import Unavailable
from reconciler.model.pulls import CLOSED_MARK, Kept
from tests.forge.server import ForgeServer
from tests.git.colleague import git
from tests.world import World

pytestmark = pytest.mark.slow

BRANCH = "ugs-bump-production.api"
BUMP = 'bump: {from: releases, range: "^1"}'


def ask(world: World, version: str = "1.0.0", service: str = "api", bump: str = BUMP) -> None:
    """Pin it, and ask for what is newer."""
    world.pin(f'{{version: "{version}", {bump}}}', service)


async def look(world: World) -> None:
    """Fetch, and one look of the bot; nothing is deployed."""
    await world.fleet.refresh()
    await Bumper(world.core).round()


async def released(world: World, *versions: str, service: str = "api") -> None:
    """Manifests of these versions are merged."""
    for version in versions:
        world.release(version, service=service, deadline="2m")
    world.merge(f"Release {versions[-1]} of {service}")


async def proposed(world: World, forge: ForgeServer, version: str = "1.1.0") -> int:
    """1.0.0 is pinned, and a newer one proposed; its number."""
    ask(world)
    await released(world, "1.0.0")
    await released(world, version)
    await look(world)
    [number] = forge.pulls
    return number


def tip_of(world: World, branch: str = BRANCH) -> str:
    return git(world.remote, "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")


def counted(world: World, kind: str = "bump") -> dict[str, int]:
    """What was counted of pull requests of a kind."""
    return {one.event: one.count for one in world.core.store.tallies() if one.change_class == kind}


def rows(world: World) -> list[Kept]:
    return world.core.store.pulls("bump")


async def test_a_release_is_proposed_merged_deployed_and_told(world: World, forge: ForgeServer) -> None:
    number = await proposed(world, forge)
    pull = forge.pulls[number]
    assert (pull.branch, pull.base, pull.title) == (BRANCH, "main", "Bump production/api from 1.0.0 to 1.1.0")
    assert sorted(pull.labels) == ["ugs", "ugs: minor"]
    changed = git(world.remote, "diff", "--numstat", "main", tip_of(world))
    assert changed.split() == ["1", "1", "environments/production.yaml"]
    await look(world)
    assert len(forge.pulls) == 1

    await world.settle()
    assert world.answers() == "1.0.0"
    merged = forge.merge(number)
    await world.settle()
    assert world.answers() == "1.1.0"
    await Bumper(world.core).round()
    assert [one.state for one in rows(world)] == ["merged"]
    assert counted(world) == {"pull-opened": 1, "pull-merged": 1}
    await world.deliver()
    from reconciler.engine.pull_requests.report import Reporter

    await Reporter(world.core).round()
    assert forge.status(merged, "ugs/production/api")[0] == "success"
    await look(world)
    assert len(forge.pulls) == 1


async def test_a_newer_release_supersedes_in_place(world: World, forge: ForgeServer) -> None:
    number = await proposed(world, forge)
    await released(world, "1.2.0")
    await look(world)
    assert list(forge.pulls) == [number]
    assert forge.pulls[number].title == "Bump production/api from 1.0.0 to 1.2.0"
    assert "1.2.0" in forge.pulls[number].body
    assert 'version: "1.2.0"' in git(world.remote, "show", f"{BRANCH}:environments/production.yaml")
    assert git(world.remote, "rev-parse", f"{BRANCH}^") == world.tip()
    assert [one.asks for one in rows(world)] == [("production/api 1.2.0",)]


@pytest.mark.parametrize("killed", [False, True])
async def test_the_label_of_a_class_that_is_outlived_goes_and_people_s_stay(
    world: World, forge: ForgeServer, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    def dies(*_: object) -> None:
        raise RuntimeError("killed")

    ask(world, bump='bump: {from: releases, range: ">=1"}')
    await released(world, "1.0.0")
    await released(world, "1.0.1")
    await look(world)
    [pull] = forge.pulls.values()
    assert sorted(pull.labels) == ["ugs", "ugs: patch"]
    pull.labels += ["ugs: major", "wip"]
    await released(world, "1.1.0")
    if killed:  # both are there then, and both are remembered
        with monkeypatch.context() as patched:
            patched.setattr(type(world.core.forge), "unlabel_pull", dies)
            with pytest.raises(RuntimeError):
                await look(world)
        assert sorted(pull.labels) == ["ugs", "ugs: major", "ugs: minor", "ugs: patch", "wip"]
        await world.restart()
    else:
        await look(world)
        assert sorted(pull.labels) == ["ugs", "ugs: major", "ugs: minor", "wip"]
    await released(world, "2.0.0")
    await look(world)
    assert pull.title.endswith("to 2.0.0")
    assert sorted(pull.labels) == ["ugs", "ugs: major", "wip"]
    assert [one.labels for one in rows(world)] == [("ugs",)]  # the other one is a person's


@pytest.mark.parametrize("superseded", [False, True])
async def test_one_from_before_labels_were_remembered_is_put_right_at_the_next_look(
    world: World, forge: ForgeServer, superseded: bool
) -> None:
    ask(world, bump='bump: {from: releases, range: ">=1"}')
    await released(world, "1.0.0")
    await released(world, "1.0.1")
    await look(world)
    [pull] = forge.pulls.values()
    pull.labels.append("wip")
    if superseded:
        await released(world, "1.1.0")
        await look(world)
        pull.labels.append("ugs: patch")  # it was never taken off then
    [kept] = rows(world)
    world.core.store.keep_pull(replace(kept, labels=()))
    if not superseded:
        await released(world, "1.1.0")
    await look(world)
    assert sorted(pull.labels) == ["ugs", "ugs: minor", "wip"]
    before = len(forge.calls)
    await look(world)
    assert [call for call in forge.calls[before:] if not call.startswith("GET")] == []


async def test_a_storm_of_fifty_releases_makes_one_pull_request_a_pin(
    world: World, forge: ForgeServer
) -> None:
    number = await proposed(world, forge, "1.1.0")
    for minor in range(2, 51):
        world.release(f"1.{minor}.0")
        if minor % 10 == 0:
            world.merge(f"Release 1.{minor}.0")
            await look(world)
    assert list(forge.pulls) == [number]
    assert forge.pulls[number].title.endswith("to 1.50.0")


async def test_a_storm_over_many_pins_makes_at_most_the_allowed_number(
    world: World, forge: ForgeServer
) -> None:
    world.settings_more = world.settings_more.replace(
        "repository:", "pulls: {hour_max: 3, open_max: 5}, repository:"
    )
    for number in range(50):
        ask(world, service=f"s{number:02}")
        for version in ("1.0.0", "1.1.0"):
            world.release(version, service=f"s{number:02}")
    world.merge("Release them all")
    await look(world)
    await look(world)
    assert len(forge.pulls) == 3
    world.clock.move(timedelta(hours=1, seconds=1))
    await look(world)
    assert len(forge.pulls) == 5
    world.clock.move(timedelta(hours=2))
    await look(world)
    assert len(forge.pulls) == 5
    forge.merge(1)
    await look(world)
    assert len(forge.pulls) == 6


async def test_what_a_person_has_closed_is_not_proposed_again_and_what_is_newer_is(
    world: World, forge: ForgeServer
) -> None:
    number = await proposed(world, forge)
    forge.pulls[number].state = "closed"
    for _ in range(2):
        await look(world)
    await world.restart()
    await look(world)
    assert list(forge.pulls) == [number]
    assert [one.state for one in rows(world)] == ["refused"]

    await released(world, "1.2.0")
    await look(world)
    [_, newer] = forge.pulls.values()
    assert newer.title == "Bump production/api from 1.0.0 to 1.2.0"
    assert counted(world) == {"pull-opened": 2, "pull-refused": 1}


async def test_after_a_lost_database_what_was_closed_is_not_opened_again(
    world: World, forge: ForgeServer
) -> None:
    number = await proposed(world, forge)
    forge.pulls[number].state = "closed"
    lose_database(world)
    await look(world)
    await look(world)
    assert list(forge.pulls) == [number]
    assert [one.state for one in rows(world)] == ["refused"]


async def test_after_a_lost_database_what_is_open_is_kept_up(world: World, forge: ForgeServer) -> None:
    number = await proposed(world, forge)
    lose_database(world)
    await released(world, "1.2.0")
    await look(world)
    assert list(forge.pulls) == [number]
    assert forge.pulls[number].title.endswith("to 1.2.0")
    assert 'version: "1.2.0"' in git(world.remote, "show", f"{BRANCH}:environments/production.yaml")


def lose_database(world: World) -> None:
    world.forget()
    for file in world.state.glob("ugs.db*"):
        file.unlink()


async def test_when_a_person_has_pinned_it_it_is_closed_with_a_sentence(
    world: World, forge: ForgeServer
) -> None:
    number = await proposed(world, forge)
    ask(world, "1.1.0")
    world.merge("Bump by hand")
    await look(world)
    pull = forge.pulls[number]
    assert pull.state == "closed"
    assert [said for said in forge.said(number) if CLOSED_MARK in said] == [
        f"{CLOSED_MARK}\nClosed by UGS: `api is pinned to 1.1.0 already`.\n"
    ]
    assert tip_of(world) == ""
    assert [one.state for one in rows(world)] == ["moot"]


async def test_what_failed_meanwhile_is_closed_and_not_proposed_again(
    world: World, forge: ForgeServer
) -> None:
    ask(world)
    await released(world, "1.0.0")
    await world.settle()
    world.release("1.1.0", "unhealthy")
    world.merge("Release 1.1.0")
    await look(world)
    [number] = forge.pulls
    ask(world, "1.1.0")
    world.merge("Bump by hand")
    await world.settle()
    assert world.phases() == ["succeeded", "reverted"]
    await look(world)
    assert forge.pulls[number].state == "closed"
    assert "failed in production, and is in quarantine" in forge.said(number)[0]
    await look(world)
    assert len(forge.pulls) == 1


async def test_pins_of_a_group_share_one_pull_request(world: World, forge: ForgeServer) -> None:
    grouped = 'bump: {from: releases, range: "^1", group: shop}'
    for service in ("api", "web"):
        ask(world, service=service, bump=grouped)
        await released(world, "1.0.0", service=service)
    await released(world, "1.0.1")
    await released(world, "1.1.0", service="web")
    await look(world)
    [pull] = forge.pulls.values()
    assert pull.title == "Bump production/shop: api 1.0.1, web 1.1.0"
    assert sorted(pull.labels) == ["ugs", "ugs: minor"]
    shown = git(world.remote, "show", "ugs-bump-production.group.shop:environments/production.yaml")
    assert 'api: {version: "1.0.1"' in shown
    assert 'web: {version: "1.1.0"' in shown

    pull.state = "closed"
    await released(world, "1.0.2")
    await look(world)
    [_, again] = forge.pulls.values()
    assert again.title == "Bump production/shop: api 1.0.2"


async def test_it_is_made_anew_where_what_it_changes_has_changed_and_only_then(
    world: World, forge: ForgeServer
) -> None:
    await proposed(world, forge)
    first = tip_of(world)
    world.files["README.md"] = "Hello\n"
    world.merge("Say hello")
    await look(world)
    assert tip_of(world) == first
    world.more += "policy: {parallel: 2}\n"
    moved = world.merge("Two at once")
    await look(world)
    assert git(world.remote, "rev-parse", f"{BRANCH}^") == moved


async def test_a_person_s_commits_on_the_branch_are_left_alone(world: World, forge: ForgeServer) -> None:
    number = await proposed(world, forge)
    world.ada.git("fetch", "--quiet", "origin", BRANCH)
    world.ada.git("checkout", "--quiet", "-B", "hers", "FETCH_HEAD")
    hers = world.ada.commit({"NOTES.md": "why\n"}, "Say why")
    world.ada.git("push", "--quiet", "origin", f"hers:{BRANCH}")
    world.ada.git("checkout", "--quiet", "main")
    await released(world, "1.2.0")
    await look(world)
    assert tip_of(world) == hers
    assert forge.pulls[number].title.endswith("to 1.1.0")


async def test_a_person_s_own_pull_request_for_the_pin_is_enough(world: World, forge: ForgeServer) -> None:
    number = await proposed(world, forge)
    git(world.remote, "branch", "bump-production-api-1.1.0", tip_of(world))
    theirs = forge.open("bump-production-api-1.1.0", title="Bump it")
    await look(world)
    assert forge.pulls[number].state == "closed"
    assert f"#{theirs} asks for a newer version of api too" in forge.said(number)[0]
    await look(world)
    assert len(forge.pulls) == 2


@pytest.mark.parametrize("where", ["pull:branch", "pull:pushed", "pull:begun", "pull:done"])
async def test_killed_while_opening_it_is_opened_once(world: World, forge: ForgeServer, where: str) -> None:
    def killed() -> None:
        raise RuntimeError("killed")

    world.at[where] = killed
    ask(world)
    await released(world, "1.0.0", "1.1.0")
    with pytest.raises(RuntimeError):
        await look(world)
    del world.at[where]
    await world.restart()
    await look(world)
    await look(world)
    [pull] = forge.pulls.values()
    assert pull.state == "open"
    assert [(one.number, one.state) for one in rows(world)] == [(pull.number, "open")]
    assert counted(world) == {"pull-opened": 1}


async def test_killed_while_superseding_it_goes_on(world: World, forge: ForgeServer) -> None:
    await proposed(world, forge)
    await released(world, "1.2.0")

    def killed() -> None:
        raise RuntimeError("killed")

    for where in ("pull:branch", "pull:pushed"):
        world.at[where] = killed
        with pytest.raises(RuntimeError):
            await look(world)
        del world.at[where]
        await world.restart()
    await look(world)
    [pull] = forge.pulls.values()
    assert pull.title.endswith("to 1.2.0")
    assert 'version: "1.2.0"' in git(world.remote, "show", f"{BRANCH}:environments/production.yaml")


async def test_killed_while_closing_it_was_no_person_who_closed_it(world: World, forge: ForgeServer) -> None:
    number = await proposed(world, forge)
    ask(world, bump='bump: {from: releases, range: "^2"}')
    world.merge("Wait for the next")

    def killed() -> None:
        raise RuntimeError("killed")

    world.at["pull:closing"] = killed
    with pytest.raises(RuntimeError):
        await look(world)
    del world.at["pull:closing"]
    forge.pulls[number].state = "closed"  # what the forge had heard before we died
    await world.restart()
    await look(world)
    assert [one.state for one in rows(world)] == ["moot"]
    assert len(forge.said(number)) == 1
    ask(world)
    world.merge("Do not wait")
    await look(world)
    assert [pull.state for pull in forge.pulls.values()] == ["closed", "open"]


async def test_killed_after_its_sentence_it_is_closed_with_that_one(world: World, forge: ForgeServer) -> None:
    number = await proposed(world, forge)
    ask(world, "1.1.0")
    world.merge("Bump by hand")

    def killed() -> None:
        raise RuntimeError("killed")

    world.at["pull:closing"] = killed
    with pytest.raises(RuntimeError):
        await look(world)
    del world.at["pull:closing"]
    await world.restart()
    await look(world)
    assert forge.pulls[number].state == "closed"
    assert len(forge.said(number)) == 1


async def test_a_forge_that_is_down_gets_it_later_and_once(world: World, forge: ForgeServer) -> None:
    forge.go_down()
    ask(world)
    await released(world, "1.0.0", "1.1.0")
    for _ in range(2):
        with pytest.raises(Unavailable):
            await look(world)
        world.clock.move(timedelta(minutes=30))
    assert await Bumper(world.core).tried() > 0
    await world.settle()
    assert world.answers() == "1.0.0"
    forge.come_up()
    await look(world)
    await look(world)
    assert len(forge.pulls) == 1


async def test_whoever_deletes_the_branch_does_not_want_it(world: World, forge: ForgeServer) -> None:
    number = await proposed(world, forge)
    git(world.remote, "update-ref", "-d", f"refs/heads/{BRANCH}")
    await look(world)
    assert forge.pulls[number].state == "closed"
    assert "its branch was deleted" in forge.said(number)[0]
    await look(world)
    assert [one.state for one in rows(world)] == ["refused"]
    assert len(forge.pulls) == 1


async def test_without_a_forge_it_is_said_once_and_nothing_is_done(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    ask(world)
    await released(world, "1.0.0", "1.1.0")
    await world.fleet.refresh()
    bumper = Bumper(world.core)
    with caplog.at_level(logging.WARNING, "ugs"):
        await bumper.round()
        await bumper.round()
    said = "production: pins ask for pull requests, and ugs.yaml names no forge"
    assert [record.message for record in caplog.records].count(said) == 1
    assert tip_of(world) == ""


async def test_whose_environment_it_is_not_does_nothing(world: World, forge: ForgeServer) -> None:
    world.leased = True  # and nobody holds it
    ask(world)
    await released(world, "1.0.0", "1.1.0")
    await look(world)
    assert forge.pulls == {}


async def test_what_is_open_in_an_environment_that_was_lost_is_left_to_its_holder(
    world: World, forge: ForgeServer
) -> None:
    number = await proposed(world, forge)
    world.forget()
    world.leased = True  # and nobody holds it
    ask(world, "1.1.0")
    world.merge("Bump by hand")
    await look(world)
    assert forge.pulls[number].state == "open"


async def test_a_file_that_cannot_be_read_closes_nothing(world: World, forge: ForgeServer) -> None:
    number = await proposed(world, forge)
    world.ada.pull_if_any()
    world.ada.commit({"environments/production.yaml": "pins: [\n"}, "Break it")
    world.ada.push()
    await look(world)
    assert forge.pulls[number].state == "open"
