"""Merge to deploy, as it is seen on the forge: a commit's status, GitHub's deployments, and one comment."""

from __future__ import annotations

from datetime import timedelta

from reconciler.model.report import Report
from reconciler.model.upgrade import Phase
from tests.forge.server import ForgeServer
from tests.world import World

CONTEXT = "ugs/production/api"


async def started(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()


async def test_a_merged_bump_is_seen_on_its_commit_its_deployments_and_its_pull_request(
    world: World, forge: ForgeServer
) -> None:
    await started(world)
    number = world.propose(forge, "1.1.0")
    merged = forge.merge(number)
    free = world.hold("apply")
    await world.reach(Phase.APPLYING)
    await world.deliver()
    assert forge.status(merged, CONTEXT) == ("pending", "1.0.0 → 1.1.0 is under way")
    assert forge.said(number) == []
    free.set()
    await world.settle()
    await world.deliver()

    state, said = forge.status(merged, CONTEXT)
    assert state == "success"
    assert said.startswith("1.0.0 → 1.1.0 succeeded")
    assert len(forge.statuses[merged, CONTEXT]) == 2
    deployed = [one for one in forge.deployments.values() if one["ref"] == merged]
    assert [(one["environment"], one["states"]) for one in deployed] == [
        ("production/api", ["in_progress", "success"])
    ]
    [comment] = forge.said(number)
    assert "| `api` | `1.0.0 → 1.1.0` | succeeded |" in comment


async def test_a_bad_release_is_told_with_its_evidence_where_it_was_asked_for(
    world: World, forge: ForgeServer
) -> None:
    await started(world)
    number = world.propose(forge, "1.1.0", "unhealthy")
    merged = forge.merge(number)
    await world.settle()
    await world.deliver()
    state, said = forge.status(merged, CONTEXT)
    assert state == "failure"
    assert "failed, was taken back, and its pin is reverted: " in said
    [comment] = forge.said(number)
    assert "healthz" in comment


async def test_what_waits_is_pending_at_once_and_told_on_its_pull_request_after_a_while_once(
    world: World, forge: ForgeServer
) -> None:
    await started(world)
    world.more = "freezes: [{from: 2020-01-01, until: 2099-01-01, reason: stocktaking}]\ntimezone: UTC\n"
    world.merge("Freeze")
    await world.settle()
    number = world.propose(forge, "1.1.0")
    merged = forge.merge(number)
    await world.settle()
    await world.deliver()
    state, said = forge.status(merged, CONTEXT)
    assert state == "pending"
    assert "stocktaking" in said
    assert forge.said(number) == []
    for _ in range(2):
        world.clock.move(timedelta(minutes=6))
        await world.settle()
        await world.deliver()
    [comment] = forge.said(number)
    assert "| waits |" in comment
    assert "stocktaking" in comment


async def test_a_forge_that_is_down_for_an_hour_loses_nothing_and_holds_nothing_up(
    world: World, forge: ForgeServer
) -> None:
    await started(world)
    await world.deliver()
    number = world.propose(forge, "1.1.0")
    merged = forge.merge(number)
    forge.go_down()
    await world.settle()
    assert world.answers() == "1.1.0"
    for _ in range(6):
        await world.deliver()
        world.clock.move(timedelta(minutes=10))
    await world.restart()
    forge.come_up()
    await world.deliver()
    # What was overtaken meanwhile was never told.
    assert [state for state, _ in forge.statuses[merged, CONTEXT]] == ["success"]
    assert len(forge.said(number)) == 1
    await world.deliver()
    assert len(forge.said(number)) == 1


async def test_a_comment_that_a_person_edited_is_kept_and_the_news_stands_below(
    world: World, forge: ForgeServer
) -> None:
    await started(world)
    number = world.propose(forge, "1.1.0")
    forge.merge(number)
    await world.settle()
    await world.deliver()
    [(key, comment)] = forge.pulls[number].comments.items()
    forge.pulls[number].comments[key] = comment.replace("succeeded", "went well, thanks to Ada")
    newest = world.newest()
    assert newest
    news = Report("comment", newest.revision, "production")
    world.core.store.report(news)
    await world.deliver()
    edited, new = forge.said(number)
    assert "thanks to Ada" in edited
    assert new == comment
    world.core.store.report(news)
    await world.deliver()
    assert len(forge.said(number)) == 2
