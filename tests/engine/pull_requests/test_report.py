"""The task that tells the forge: what it is denied, what will never be taken, and whose news it is."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from typing import cast

import pytest

from reconciler.engine.pull_requests.report import RETRY_FIRST_S, Reporter
from reconciler.forge import Comment, Denied, Forge, Invalid, Pull, Status, Unavailable
from reconciler.model.report import Report, marked, untouched
from reconciler.model.upgrade import Phase
from reconciler.store import FORGE
from tests.world import World

COMMIT = "a" * 40


class Told:
    """A forge that keeps what it is told, and fails where it is made to."""

    name = "Forge"

    def __init__(self) -> None:
        self.statuses: list[Status] = []
        self.deployments: list[str] = []
        self.kept: list[Comment] = []
        self.fails: dict[str, Exception] = {}

    def _may(self, what: str) -> None:
        if what in self.fails:
            raise self.fails[what]

    def close(self) -> None:
        pass

    def check(self) -> None:
        self._may("check")

    def set_status(self, _commit: str, status: Status) -> None:
        self._may("status")
        self.statuses.append(status)

    def set_deployment(self, _commit: str, environment: str, _status: Status) -> None:
        self._may("deployment")
        self.deployments.append(environment)

    def pulls_with(self, _commit: str) -> tuple[Pull, ...]:
        return (
            Pull(1, "u/1", "merged", "bump", "h", "main"),
            Pull(2, "u/2", "merged", "bump", "h", "another"),
            Pull(3, "u/3", "open", "bump", "h", "main"),
        )

    def comments(self, number: int) -> tuple[Comment, ...]:
        assert number == 1
        return tuple(self.kept)

    def comment(self, _number: int, body: str) -> None:
        self._may("comment")
        self.kept.append(Comment(len(self.kept), body))

    def edit_comment(self, _number: int, comment: int, body: str) -> None:
        self._may("edit")
        self.kept[comment] = Comment(comment, body)


@pytest.fixture
def forge() -> Told:
    return Told()


@pytest.fixture
def reporter(world: World, forge: Told) -> Reporter:
    """With news of one upgrade that has succeeded."""
    world.release("1.0.0", deadline="60s")
    world.pin("1.0.0")
    world.merge("Start")
    core = dataclasses.replace(world.core, forge=cast(Forge, forge))
    return Reporter(core)


async def news(world: World, kind: str = "status") -> Report:
    await world.settle()
    newest = world.newest()
    assert newest
    assert newest.phase is Phase.SUCCEEDED
    report = Report(kind, newest.revision, "production", "api" if kind == "status" else "")  # type: ignore[arg-type]
    world.core.store.report(report)
    return report


def waiting(world: World) -> int:
    return world.core.store.pending(FORGE)


async def test_what_will_never_be_taken_is_given_up(world: World, forge: Told, reporter: Reporter) -> None:
    await news(world)
    forge.fails["status"] = Invalid("No commit found for SHA")
    await reporter.round()
    assert waiting(world) == 0
    assert world.calls() == []


async def test_a_denial_calls_a_person_once_and_all_waits(
    world: World, forge: Told, reporter: Reporter
) -> None:
    await news(world)
    forge.fails["status"] = Denied("the token lacks statuses=write", "give it that")
    for _ in range(2):
        await reporter.round()
        world.clock.move(timedelta(seconds=700))
    assert world.calls() == ["the token lacks statuses=write; give it that"]
    assert waiting(world) == 1
    del forge.fails["status"]
    await reporter.round()
    assert [one.state for one in forge.statuses] == ["success"]
    assert waiting(world) == 0


async def test_without_the_right_to_deployments_statuses_go_on(
    world: World, forge: Told, reporter: Reporter
) -> None:
    await news(world)
    forge.fails["deployment"] = Denied("the token lacks deployments=write", "give it that")
    await reporter.round()
    assert len(forge.statuses) == 1
    assert world.calls() == ["the token lacks deployments=write; give it that"]
    assert waiting(world) == 0


async def test_the_time_that_a_forge_asks_for_is_waited(
    world: World, forge: Told, reporter: Reporter
) -> None:
    await news(world)
    forge.fails["status"] = Unavailable("asks to wait", retry_s=500)
    await reporter.round()
    next_at = world.core.store.next_due(FORGE)
    assert next_at
    assert 490 < (next_at - world.core.clock.now()).total_seconds() <= 500


async def test_what_was_told_is_not_told_again(world: World, forge: Told, reporter: Reporter) -> None:
    await news(world)
    await reporter.round()
    await news(world)
    await reporter.round()
    assert len(forge.statuses) == 1


async def test_news_of_an_environment_that_is_another_daemons_waits(
    world: World, forge: Told, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await news(world)
    shut = dataclasses.make_dataclass("Shut", ["open", "reason"])(False, "host-b holds it")
    monkeypatch.setattr(world.core.leases, "opening", lambda _name: shut)
    await reporter.round()
    assert forge.statuses == []
    assert waiting(world) == 1
    due = world.core.store.next_due(FORGE)
    assert due
    # It may be ours in a moment, as after a start.
    assert due <= world.clock.now() + timedelta(seconds=RETRY_FIRST_S)


async def test_only_the_merged_pull_request_into_our_branch_gets_the_comment(
    world: World, forge: Told, reporter: Reporter
) -> None:
    await news(world, "comment")
    await reporter.round()
    [comment] = forge.kept
    assert untouched("production", comment.body)
    await news(world, "comment")
    await reporter.round()
    assert len(forge.kept) == 1


async def test_a_comment_of_somebody_elses_with_our_mark_is_left_and_a_new_one_written(
    world: World, forge: Told, reporter: Reporter
) -> None:
    forge.kept.append(Comment(0, marked("production", "All is well!")))
    forge.fails["edit"] = Denied("may not edit it", "")
    await news(world, "comment")
    await reporter.round()
    assert "All is well!" in forge.kept[0].body
    assert "| succeeded |" in forge.kept[1].body


async def test_news_of_what_nobody_knows_any_more_is_dropped(
    world: World, forge: Told, reporter: Reporter
) -> None:
    world.core.store.report(Report("status", COMMIT, "production", "api"))
    await reporter.round()
    assert (forge.statuses, waiting(world)) == ([], 0)


async def test_the_token_is_looked_at_when_the_daemon_starts(
    world: World, forge: Told, reporter: Reporter
) -> None:
    forge.fails["check"] = Denied("the token lacks the scope repo", "give it that scope")
    keeping = asyncio.create_task(reporter.keep())
    await world.eventually(world.calls)
    keeping.cancel()
    assert world.calls() == ["the token lacks the scope repo; give it that scope"]
