"""`ugs notify test`: a message through each channel, without a daemon. Slack is the stand-in server of tests/notify."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.cli.channels import callers_of
from reconciler.config import load
from reconciler.model.rights import Caller, RoleGrant
from tests.daemon_process import ugs
from tests.notify.mail_server import MailServer
from tests.notify.slack_server import SlackServer

RULES = """\
    - {to: [slack]}
    - {to: [ops-mail], environments: [production], severities: [warning, person]}
"""


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server
        assert server.violations == []


def configured(folder: Path, slack: SlackServer, mail_url: str, rules: str = RULES) -> Path:
    (folder / "slack-token").write_text(slack.token)
    (folder / "mail-url").write_text(mail_url)
    path = folder / "ugs.yaml"
    path.write_text(
        f"""\
repository: {{url: fleet.git}}
notify:
  slack: {{token: {{file: slack-token}}, channel: "{slack.channel}", api: "{slack.api}"}}
  apprise: {{ops-mail: {{url: {{file: mail-url}}}}}}
  rules:
{rules}"""
    )
    return path


def test_every_channel_that_the_rules_choose_gets_a_message(tmp_path: Path, slack: SlackServer) -> None:
    with MailServer() as mail:
        config = configured(tmp_path, slack, mail.url)
        asked = ("notify", "test", "--config", config)
        shown = ugs(*asked, "--environment", "production", "--severity", "person", "--service", "api")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert shown.stdout == "channel   result\nslack     sent\nops-mail  sent\n"
        assert [one["Subject"] for one in mail.received] == ["A person is needed: UGS: test"]
        assert slack.texts[0].startswith(":rotating_light: UGS: test\na test, sent by ")
        assert ugs(*asked, "--environment", "staging").returncode == 0
        assert ugs(*asked, "--channel", "ops-mail", "--environment", "staging").returncode == 0
        assert (len(mail.received), len(slack.texts)) == (2, 2)


def test_a_dry_run_shows_what_the_rules_choose_and_sends_nothing(tmp_path: Path, slack: SlackServer) -> None:
    config = configured(tmp_path, slack, "json://127.0.0.1:1")
    shown = ugs("notify", "test", "--dry-run", "--severity", "warning", "--json", "--config", config)
    assert shown.returncode == 0
    assert json.loads(shown.stdout) == {
        "channels": [
            {"channel": "slack", "sent": None, "error": ""},
            {"channel": "ops-mail", "sent": None, "error": ""},
        ]
    }
    assert slack.calls == []


def test_a_channel_that_does_not_take_it_is_named_with_why(tmp_path: Path, slack: SlackServer) -> None:
    config = configured(tmp_path, slack, "json://127.0.0.1:1")
    (tmp_path / "slack-token").write_text("xoxb-wrong")
    shown = ugs("notify", "test", "--severity", "person", "--config", config)
    assert shown.returncode == 1
    _, to_slack, to_mail = shown.stdout.splitlines()
    assert to_slack == "slack     Slack refuses: invalid_auth; put a valid bot token in place"
    assert to_mail.startswith("ops-mail  ops-mail: not taken: ")


def test_where_nobody_would_be_told_is_said(tmp_path: Path, slack: SlackServer) -> None:
    config = configured(
        tmp_path, slack, "json://127.0.0.1:1", "    - {to: [slack], environments: [production]}\n"
    )
    shown = ugs("notify", "test", "--environment", "staging", "--config", config)
    assert (shown.returncode, shown.stdout) == (1, "no channel is chosen: nobody would be told\n")
    assert shown.stderr == (
        "notify.rules: when a person is needed in an environment that no rule names, nobody is told\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--channel", "pager"), "ugs.yaml has no channel pager; name one of slack, ops-mail"),
        (("--service", "api"), "a service is one of an environment; add --environment"),
    ],
)
def test_what_cannot_be_asked(
    tmp_path: Path, slack: SlackServer, arguments: tuple[str, ...], said: str
) -> None:
    config = configured(tmp_path, slack, "json://127.0.0.1:1")
    shown = ugs("notify", "test", *arguments, "--config", config)
    assert (shown.returncode, shown.stderr) == (1, f"ugs: {said}\n")


def test_who_presses_may_what_the_same_address_may_when_signed_in(tmp_path: Path) -> None:
    path = tmp_path / "ugs.yaml"
    path.write_text(
        """\
repository: {url: fleet.git}
listen: "127.0.0.1:8475"
oidc: {issuer: "https://login.example", client_id: ugs}
people: [{user: "*@example.org", role: viewer}, {group: sre, role: admin}]
notify:
  slack:
    token: {env: TOKEN}
    channel: d
    app_token: {env: APP}
    people:
      Ada@example.org: {id: U0ADA, grants: [{role: approver, environments: [production]}]}
      bob: {id: U0BOB}
"""
    )
    assert callers_of(load(path, {})) == {
        "U0ADA": Caller("Ada@example.org", (RoleGrant("approver", ("production",)), RoleGrant("viewer"))),
        "U0BOB": Caller("bob", ()),
    }
