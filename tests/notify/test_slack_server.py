"""The stand-in is as strict as Slack: what these refuse, no scenario can pass with."""

from __future__ import annotations

import json
import urllib.request
from urllib.error import HTTPError

import pytest

from tests.notify.slack_server import Answer, SlackServer

TEXT_BLOCKS = [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": []}]}]


def ask(
    slack: SlackServer,
    path: str,
    fields: dict[str, object] | bytes | None,
    *,
    token: str | None = SlackServer.token,
    kind: str = "application/json",
) -> str:
    """The body of the answer."""
    headers = {"Content-Type": kind} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = fields if isinstance(fields, bytes) else json.dumps(fields).encode() if fields else None
    request = urllib.request.Request(f"http://127.0.0.1:{slack.port}{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.read().decode())
    except HTTPError as error:
        with error:
            return error.read().decode()


POST, UPDATE = "/api/chat.postMessage", "/api/chat.update"
GOOD: dict[str, object] = {"channel": "#deploys", "text": "hello", "blocks": TEXT_BLOCKS}


@pytest.mark.parametrize(
    ("path", "fields", "error"),
    [
        (POST, None, "method_not_allowed"),
        ("/api/chat.delete", GOOD, "unknown_method"),
        (POST, b"[]", "invalid_arguments"),
        (POST, b"{", "invalid_arguments"),
        (POST, GOOD | {"text": ""}, "no_text"),
        (POST, GOOD | {"text": "x" * 40_001}, "msg_too_long"),
        (POST, GOOD | {"text": "<!channel>"}, "raw_markup_in_text"),
        (POST, GOOD | {"text": "a & b"}, "raw_markup_in_text"),
        (POST, GOOD | {"blocks": "none"}, "invalid_blocks"),
        (POST, GOOD | {"blocks": [{"type": "section"}]}, "invalid_blocks"),
        (POST, GOOD | {"thread_ts": "1.2"}, "thread_not_found"),
        (UPDATE, GOOD | {"ts": "1.2"}, "channel_not_found"),
    ],
)
def test_what_breaks_slacks_rules_is_refused_and_noted(
    slack: SlackServer, path: str, fields: dict[str, object] | bytes | None, error: str
) -> None:
    assert json.loads(ask(slack, path, fields)) == {"ok": False, "error": error}
    assert (slack.violations, slack.messages) == ([error], [])


def test_a_wrong_token_channel_or_message_is_refused(slack: SlackServer) -> None:
    assert "not_authed" in ask(slack, POST, GOOD, token=None)
    assert "invalid_auth" in ask(slack, POST, GOOD, token="wrong")
    assert "channel_not_found" in ask(slack, POST, GOOD | {"channel": "#other"})
    assert "message_not_found" in ask(slack, UPDATE, GOOD | {"channel": slack.channel_id, "ts": "1.2"})
    assert slack.messages == []


def test_a_form_is_as_good_as_json(slack: SlackServer) -> None:
    form = b"channel=%23deploys&text=hello&blocks=%5B%5D"
    assert json.loads(ask(slack, POST, form, kind="application/x-www-form-urlencoded"))["ok"]
    assert slack.texts == ["hello"]


def test_the_webhook_answers_in_words(slack: SlackServer) -> None:
    assert ask(slack, slack.webhook_path, {"text": "hello", "blocks": []}) == "ok"
    assert ask(slack, slack.webhook_path, {"text": "", "blocks": []}) == "no_text"
    assert slack.texts == ["hello"]


def test_waiting_for_a_message_ends_when_it_comes_and_fails_when_it_does_not(slack: SlackServer) -> None:
    ask(slack, POST, GOOD)
    slack.wait_for(lambda: slack.texts == ["hello"])
    with pytest.raises(AssertionError, match="not within"):
        slack.wait_for(lambda: False, timeout_s=0.01)


def test_down_and_up_again_at_the_same_port(slack: SlackServer) -> None:
    slack.go_down()
    with pytest.raises(OSError, match="refused"):
        ask(slack, POST, GOOD)
    slack.come_up()
    slack.answer_always(Answer(503, "busy"))
    assert [ask(slack, POST, GOOD) for _ in range(2)] == ["busy", "busy"]
    slack.come_up()
    assert json.loads(ask(slack, POST, GOOD))["ok"]
