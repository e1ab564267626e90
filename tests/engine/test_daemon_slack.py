"""The daemon itself, with Slack's two ends beside it: what is pressed there is done, and it ends as ever."""

from __future__ import annotations

import asyncio

from tests.daemon_process import daemon
from tests.notify.slack_people import labels
from tests.notify.slack_server import SlackServer
from tests.notify.socket_server import socket_server
from tests.world import World

SLACK = """\
notify:
  slack:
    token: {{file: slack-token}}
    app_token: {{file: app-token}}
    channel: "{channel}"
    api: "{api}"
    people: {{ada@example.org: {{id: U0ADA, grants: [{{role: approver}}]}}}}
"""


async def test_an_approval_in_slack_lets_the_daemon_deploy(world: World) -> None:
    async with socket_server() as socket:
        with SlackServer() as slack:
            slack.socket_url = socket.url
            (world.folder / "slack-token").write_text(slack.token)
            (world.folder / "app-token").write_text(slack.app_token)
            world.settings_more = SLACK.format(channel=slack.channel, api=slack.api)
            world.more = "policy: {approvals: {initial: 1}}\n"
            world.deploy_first("1.0.0")
            with daemon(world) as running:
                await asyncio.to_thread(
                    running.until,
                    lambda: slack.messages and labels(slack.messages[0].blocks) == ["Approve", "Hold"],
                )
                await socket.until_connected()
                await socket.interact(slack.press(slack.messages[0], "Approve", "U0ADA"))
                await asyncio.to_thread(running.until_runs, "1.0.0")
                await asyncio.to_thread(
                    running.until, lambda: labels(slack.messages[0].blocks) == ["Roll back"]
                )
                assert await asyncio.to_thread(running.stop) == 0
                assert "Traceback" not in running.log()
                assert "secret" not in running.log()
    assert slack.whispers == [("U0ADA", "production: api is approved by you")]
    assert slack.violations == []
    assert socket.acknowledged == ["e1"]
