"""Slack is told of every upgrade in one message, in order, once, and never delays anything."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.notify.slack_server import SlackServer
from tests.world import World


@pytest.fixture
def slack(world: World) -> Iterator[SlackServer]:
    with SlackServer() as server:
        world.notify(server)
        yield server
        assert server.violations == []


async def test_an_upgrade_is_one_message_edited_in_place_with_its_details_in_the_thread(
    world: World, slack: SlackServer
) -> None:
    world.deploy_first("1.0.0")
    await world.fleet.refresh()
    await world.a_pass()
    await world.deliver()
    await world.settle()
    await world.deliver()

    [message] = slack.messages
    assert "production: api 1.0.0 (first) — succeeded" in message.text
    assert len(message.edits) >= 1
    stages = ("is being prepared", "is being applied", "is being verified", "succeeded")
    assert len(message.replies) == len(stages)
    assert all(stage in reply for stage, reply in zip(stages, message.replies, strict=True))


async def test_a_failed_upgrade_ends_its_thread_with_the_revert(world: World, slack: SlackServer) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    await world.settle()
    await world.deliver()

    message = slack.messages[-1]
    assert "production: api 1.0.0 → 1.1.0 — reverted" in message.text
    assert "healthz" in message.text
    assert "is being taken back" in message.replies[3]
    assert "its pin is reverted" in message.replies[-1]


@pytest.mark.fault("NT-01")
async def test_slack_down_for_the_whole_upgrade_delays_nothing_and_hears_of_it_afterwards_once(
    world: World, slack: SlackServer
) -> None:
    slack.go_down()
    world.deploy_first("1.0.0")
    await world.settle()
    await world.deliver()
    world.bump("1.1.0")
    await world.settle()
    await world.deliver()
    assert world.phases() == ["succeeded", "succeeded"]
    assert world.answers() == "1.1.0"
    assert world.core.store.trouble("slack").startswith("Slack cannot be reached")

    await world.restart()
    slack.come_up()
    world.clock.move(timedelta(minutes=10))
    await world.deliver()
    world.clock.move(timedelta(minutes=10))
    await world.deliver()
    titles = [message.text.partition("\n")[0] for message in slack.messages]
    assert [title.partition("production: ")[2] for title in titles] == [
        "api 1.0.0 (first) — succeeded",
        "api 1.0.0 → 1.1.0 — succeeded",
    ]
    assert [len(message.replies) for message in slack.messages] == [4, 4]


@pytest.mark.fault("NT-01")
async def test_slacks_rate_limit_is_respected(world: World, slack: SlackServer) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    slack.rate_limit(30)
    await world.deliver()
    await world.deliver()
    assert len(slack.calls) == 1
    world.clock.move(timedelta(seconds=29))
    await world.deliver()
    assert len(slack.calls) == 1
    world.clock.move(timedelta(seconds=2))
    await world.deliver()
    assert len(slack.messages) == 1
    assert len(slack.messages[0].replies) == 4


@pytest.mark.fault("NT-02")
async def test_what_a_service_or_a_person_wrote_is_only_text(world: World, slack: SlackServer) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.release(
        "1.1.0",
        probe='{command: ["sh", "-c", "echo \'<!channel> & <https://evil.example|click> @here\'; exit 1"],'
        " interval: 50ms, failures: 1}",
    )
    world.pin("1.1.0")
    world.merge("<!everyone>", GIT_AUTHOR_NAME="<!channel> *Mallory*")
    await world.settle()
    await world.deliver()
    assert world.phases() == ["succeeded", "reverted"]
    message = slack.messages[-1]
    assert "&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;" in message.text
    assert "@here" not in message.text


async def test_a_webhook_posts_transitions(world: World) -> None:
    with SlackServer() as slack:
        hook = world.folder / "hook"
        hook.write_text(slack.webhook)
        world.settings_more = f'notify: {{slack: {{webhook: {{file: "{hook}"}}}}}}\n'
        world.deploy_first("1.0.0")
        await world.settle()
        await world.deliver()
        assert slack.violations == []
        assert "api 1.0.0 (first) — succeeded" in slack.messages[-1].text


async def test_nobody_to_tell_is_no_trouble(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    await world.deliver()
    assert world.core.store.pending("slack") == 0


async def test_notes_that_cannot_be_pushed_now_are_pushed_later(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    away = world.folder / "away.git"
    world.remote.rename(away)
    await world.deliver()
    assert world.core.store.pending("note") > 0
    away.rename(world.remote)
    await world.deliver()
    assert world.core.store.pending("note") > 0  # not before its time
    world.clock.move(timedelta(minutes=10))
    await world.deliver()
    assert world.core.store.pending("note") == 0
    assert "succeeded" in world.notes(world.tip())
