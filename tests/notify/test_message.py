"""What a message looks like, and that nobody can write markup into it from Git."""

from __future__ import annotations

import pytest

from reconciler.model.upgrade import Phase
from reconciler.notify import message
from tests.notify.notices import alert, notice


def test_the_headline_names_the_upgrade_its_phase_and_the_newest_sentence() -> None:
    body = message.headline([notice("starting", phase="applying"), notice("2 of 3 probes pass")])
    assert body["text"] == ":mag: production: api 1.4.0 → 1.5.0 — verifying\n2 of 3 probes pass"
    assert body["blocks"] == [
        {
            "type": "rich_text",
            "elements": [
                {
                    "type": "rich_text_section",
                    "elements": [
                        {"type": "emoji", "name": "mag"},
                        {
                            "type": "text",
                            "text": " production: api 1.4.0 → 1.5.0 — verifying",
                            "style": {"bold": True},
                        },
                        {"type": "text", "text": "\n2 of 3 probes pass"},
                    ],
                }
            ],
        }
    ]


def test_a_reply_says_when_it_was_so() -> None:
    assert message.reply(notice("it answers"))["text"] == ":mag: 10:00:00 UTC  it answers"


def test_a_transition_tells_all_that_happened_since() -> None:
    body = message.transition([notice("it fails"), notice("1.4.0 is back", phase="reverted")])
    assert body["text"] == ":rewind: production: api 1.4.0 → 1.5.0 — reverted\nit fails\n1.4.0 is back"


def test_an_alert_stands_under_what_it_is_about() -> None:
    assert message.alone(alert("the disk is full"))["text"] == (
        ":rotating_light: production: api\nthe disk is full"
    )
    assert message.mark(alert("careful", severity="warning")) == "warning"
    assert message.mark(alert("by the way", severity="info")) == "information_source"


def test_every_phase_has_a_mark_and_a_person_is_always_called_alike() -> None:
    assert set(message.MARKS) == {phase.value for phase in Phase}
    assert message.mark(notice("push refused", phase="reverting", severity="person")) == "rotating_light"


@pytest.mark.fault("NT-02")
@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("a < b && c > d", "a &lt; b &amp;&amp; c &gt; d"),
        ("<!channel> <https://evil.example|click>", "&lt;!channel&gt; &lt;https://evil.example|click&gt;"),
        ("@here @Channel @everyone", "@\u2060here @\u2060Channel @\u2060everyone"),
        ("ann@example.org @channels", "ann@example.org @channels"),
    ],
)
def test_nothing_from_git_becomes_a_link_or_a_mention(written: str, shown: str) -> None:
    assert message.escaped(written) == shown


def test_text_from_git_is_literal_in_the_blocks() -> None:
    written = "*bold* _it_ ~no~ `code` <!channel> :bomb:"
    body = message.headline([notice(written)])
    assert f'"text": "\\n{written}"'.replace('"', "'") in str(body["blocks"])


def test_control_and_direction_characters_are_taken_out() -> None:
    assert message.readable("a\x1b[31m\u202eb\ufeff\tc\nd\udcff", 100) == "a [31m b  c\nd"


def test_what_is_too_long_is_cut() -> None:
    assert message.readable("x" * 11, 10) == "x" * 9 + "…"
    assert message.readable("x" * 10, 10) == "x" * 10
    most = message.transition([notice("s" * 5_000, title="t" * 5_000)] * 50)
    assert len(str(most["text"])) < 11_000


def test_a_notice_without_words_is_still_a_message() -> None:
    assert message.headline([notice("", title="t")])["text"] == ":mag: t — verifying"
