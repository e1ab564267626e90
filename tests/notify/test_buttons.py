"""Which buttons a message has, what dialog they open, and what Slack says when they are used."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.model.notice import Notice
from reconciler.model.upgrade import Phase
from reconciler.notify import buttons, message
from reconciler.notify.buttons import Origin, Pressed, Shown
from tests.notify.notices import alert, notice
from tests.notify.slack_people import labels, pressed, submitted
from tests.notify.slack_rules import content_problem, view_problem

SHOWN = Shown("op1", "production", "api", "0123456789abcdef")
ORIGIN = Origin(SHOWN, "C0DEPLOYS")


def blocks(told: Notice) -> Any:
    body = message.headline([told], buttons.of(told))
    assert content_problem(body) == ""
    return body["blocks"]


def labels_of(told: Notice) -> list[str]:
    return labels(blocks(told))


def test_buttons_follow_what_the_upgrade_is_at() -> None:
    by_phase = {phase.value: labels_of(notice("so", phase=phase.value)) for phase in Phase}
    assert by_phase["waiting"] == by_phase["preparing"] == by_phase["restoring"] == ["Hold"]
    assert by_phase["verifying"] == ["Hold", "Roll back"]
    assert by_phase["succeeded"] == ["Roll back"]
    for ended in ("reverted", "restored", "superseded", "cancelled", "stuck"):
        assert by_phase[ended] == []
    asked = replace(notice("needs 2 approvals", phase="waiting"), ask=SHOWN.ask)
    assert labels_of(asked) == ["Approve", "Hold"]
    assert labels_of(alert("the disk is full")) == []


def test_a_button_carries_what_the_message_showed() -> None:
    told = replace(notice("needs 2 approvals", phase="waiting"), ask=SHOWN.ask)
    said = pressed(blocks(told), "Approve", "U0ADA", channel="C0DEPLOYS", trigger="7")
    assert buttons.heard(said) == Pressed("approve", "U0ADA", ORIGIN, "7", "7")


@pytest.mark.parametrize("deed", ["hold", "rollback"])
def test_a_dialog_is_what_slack_takes_and_says_again_what_it_is_for(deed: buttons.Deed) -> None:
    longest = replace(SHOWN, environment="e" * 63, service="s" * 63)
    for shown in (SHOWN, longest):
        view = buttons.dialog(Pressed(deed, "U0ADA", Origin(shown, "C1"), "1"))
        assert view_problem(view) == ""
        said = submitted(view, "U0BOB", "too slow", "4h" if deed == "hold" else "")
        assert buttons.heard(said) == Pressed(
            deed,
            "U0BOB",
            Origin(shown, "C1"),
            "V1",
            submitted=True,
            reason="too slow",
            lasting="4h" if deed == "hold" else None,
        )


def test_a_hold_may_be_without_an_end() -> None:
    view = buttons.dialog(Pressed("hold", "U0ADA", ORIGIN, "1"))
    said = buttons.heard(submitted(view, "U0BOB", "moving", buttons.ENDLESS))
    assert said is not None
    assert said.lasting is None


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        {},
        {"type": "block_actions"},
        {"type": "block_actions", "user": {"id": "U1"}, "channel": {"id": "C1"}, "actions": []},
        {
            "type": "block_actions",
            "user": {"id": "U1"},
            "channel": {"id": "C1"},
            "actions": [{"action_id": "ugs-explode", "value": "{}"}],
        },
        {
            "type": "block_actions",
            "user": {"id": "U1"},
            "channel": {"id": "C1"},
            "actions": [{"action_id": "ugs-hold", "value": "[" * 5000}],
        },
        {"type": "view_submission", "user": {"id": "U1"}, "view": {"id": "V", "callback_id": "other"}},
        {
            "type": "view_submission",
            "user": {"id": "U1"},
            "view": {"id": "V", "callback_id": "ugs-hold", "private_metadata": "{}", "state": {"values": {}}},
        },
        {"type": "view_closed", "user": {"id": "U1"}},
    ],
)
def test_what_is_not_ours_is_nothing(payload: object) -> None:
    assert buttons.heard(payload) is None
