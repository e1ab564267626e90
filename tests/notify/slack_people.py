"""What people do in Slack, as Slack tells it: they see buttons, press one, and answer a dialog."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def labels(blocks: Sequence[Any]) -> list[str]:
    """What may be pressed below a message, as it is labelled."""
    return [button["text"]["text"] for button in _buttons(blocks)]


def pressed(blocks: Sequence[Any], label: str, user: str, *, channel: str, trigger: str) -> dict[str, Any]:
    """What Slack sends when this user presses that button, once he has confirmed it."""
    button = next(each for each in _buttons(blocks) if each["text"]["text"] == label)
    return {
        "type": "block_actions",
        "user": {"id": user, "username": "somebody", "team_id": "T0"},
        "trigger_id": trigger,
        "channel": {"id": channel, "name": "deploys"},
        "actions": [{"type": "button", "action_id": button["action_id"], "value": button["value"]}],
    }


def submitted(view: Any, user: str, reason: str, lasting: str = "") -> dict[str, Any]:
    """What Slack sends when this user has answered a dialog."""
    values: dict[str, Any] = {"reason": {"reason": {"type": "plain_text_input", "value": reason}}}
    if lasting:
        chosen = {"type": "static_select", "selected_option": {"value": lasting}}
        values["lasting"] = {"lasting": chosen}
    return {
        "type": "view_submission",
        "user": {"id": user, "username": "somebody", "team_id": "T0"},
        "view": {"id": "V1"} | view | {"state": {"values": values}},
    }


def _buttons(blocks: Sequence[Any]) -> list[dict[str, Any]]:
    return [one for block in blocks if block["type"] == "actions" for one in block["elements"]]
