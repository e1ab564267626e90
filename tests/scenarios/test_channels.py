"""Several channels, each told of what the rules say, each on its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from reconciler.model.errors import UgsError
from reconciler.store import SLACK
from tests.notify.mail_server import MailServer
from tests.notify.slack_server import SlackServer
from tests.world import World, patiently

WAIT_S = 30.0


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        server.more_channels["#prod"] = "C0PROD"
        yield server
        assert server.violations == []


def notify(world: World, slack: SlackServer, mail_url: str, rules: str) -> None:
    """To be said before the engine is used."""
    (world.folder / "slack-token").write_text(slack.token)
    (world.folder / "mail-url").write_text(mail_url)
    world.settings_more = f"""\
notify:
  slack:
    token: {{file: slack-token}}
    channel: "{slack.channel}"
    api: "{slack.api}"
    people: {{eve@example.org: {{id: U0EVE}}}}
  apprise: {{ops-mail: {{url: {{file: mail-url}}}}}}
  rules:
{rules}"""


async def test_each_channel_gets_what_the_rules_say_in_threads_of_its_own(
    world: World, slack: SlackServer
) -> None:
    with MailServer() as mail:
        notify(
            world,
            slack,
            mail.url,
            '    - {to: [slack, {slack: "#prod"}]}\n'
            '    - {to: [{slack: "#prod"}], except: {services: [web]}}\n'
            "    - {to: [ops-mail], severities: [warning, person]}\n",
        )
        for service in ("api", "web"):
            world.release("1.0.0", service=service, deadline="1m")
            world.pin("1.0.0", service=service)
        world.merge()
        await world.settle()
        world.bump("1.1.0", "unhealthy")
        await world.settle()
        await world.deliver()
    titles = {
        name: [text.partition("\n")[0] for text in slack.texts_in(name)] for name in ("#deploys", "#prod")
    }
    assert len(titles["#deploys"]) == 3
    assert [title for title in titles["#deploys"] if "web" not in title] == titles["#prod"]
    assert titles["#prod"][-1].endswith("api 1.0.0 → 1.1.0 — reverted")
    subjects = [one["Subject"] for one in mail.received]
    assert subjects
    assert all("api 1.0.0 → 1.1.0" in subject for subject in subjects)


@pytest.mark.fault("NT-01")
async def test_a_mail_server_that_hangs_keeps_no_message_from_slack(world: World, slack: SlackServer) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)  # and never answers
        url = f"mailto://127.0.0.1:{listening.getsockname()[1]}?from=a@b.example&to=c@d.example&mode=insecure"
        notify(world, slack, url, "    - {to: [slack, ops-mail]}\n")
        patiently(world, "1.0.0")
        async with world.telling():
            await world.settle()
            await world.eventually(lambda: slack.texts and "succeeded" in slack.texts[-1])
    assert world.core.store.pending("ops-mail") > 0


async def test_what_waits_for_slack_is_delivered_after_an_update_and_what_waits_for_nobody_is_given_up(
    world: World, slack: SlackServer
) -> None:
    world.notify(slack)
    patiently(world, "1.0.0")
    slack.go_down()
    await world.settle()
    store = world.core.store
    assert store.pending(SLACK) > 0
    store._connection.execute(
        "INSERT INTO outbox SELECT 1000, 'gone', '', payload, created_at, 0, next_at, NULL, '', 0 FROM outbox LIMIT 1"
    )
    await world.restart()
    slack.come_up()
    await world.deliver()
    assert slack.texts[-1].splitlines()[0].endswith("api 1.0.0 (first) — succeeded")
    assert world.core.store.pending("gone") == 0


async def test_a_channel_in_trouble_is_named_among_what_needs_a_person(
    world: World, slack: SlackServer
) -> None:
    from reconciler.engine.attention import needs_person

    notify(world, slack, "json://127.0.0.1:1", "    - {to: [slack, ops-mail]}\n")
    patiently(world, "1.0.0")
    await world.settle()
    await world.deliver()
    (said,) = needs_person(world.fleet)
    assert said.startswith("notices are not delivered to ops-mail: ops-mail: not taken")


def test_a_daemon_does_not_start_with_a_url_that_apprise_does_not_know(
    world: World, slack: SlackServer
) -> None:
    notify(world, slack, "nosuch://example.org", "    - {to: [slack, ops-mail]}\n")
    with pytest.raises(UgsError, match="Apprise does not know"):
        _ = world.core


async def test_the_author_of_what_fails_is_mentioned_and_of_what_goes_well_is_not(
    world: World, slack: SlackServer
) -> None:
    notify(world, slack, "json://127.0.0.1:1", "    - {to: [slack]}\n")
    patiently(world, "1.0.0")
    await world.settle()
    world.release("1.1.0", "unhealthy")
    world.pin("1.1.0")
    world.merge("Bump", GIT_AUTHOR_NAME="<!channel> <@U0ADA>", GIT_AUTHOR_EMAIL="Eve@Example.org")
    await world.settle()
    await world.deliver()
    assert world.phases() == ["succeeded", "reverted"]
    called = [
        element["user_id"]
        for blocks in slack.reply_blocks
        for block in blocks
        for section in block["elements"]
        for element in section["elements"]
        if element["type"] == "user"
    ]
    assert set(called) == {"U0EVE"}
    assert len(called) < len(slack.reply_blocks)
    assert "U0ADA" not in str(slack.reply_blocks)
