"""The buttons below a message, the dialog that asks for a reason, and what Slack says when one is used. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from reconciler.model import codec
from reconciler.model.notice import Notice
from reconciler.model.upgrade import FINAL, Phase
from reconciler.notify.message import Json, readable

Deed = Literal["approve", "hold", "rollback"]

BLOCK = "ugs"
REASON, LASTING = "reason", "lasting"
REASON_CHARS_MAX = 500
TITLE_CHARS_MAX = 100
LABELS: dict[Deed, str] = {"approve": "Approve", "hold": "Hold", "rollback": "Roll back"}
DEEDS: dict[str, Deed] = {f"{BLOCK}-{deed}": deed for deed in LABELS}
LASTS = {"1h": "1 hour", "4h": "4 hours", "1d": "1 day", "7d": "7 days"}
ENDLESS = "-"
"""Of a hold: until it is released."""

_FINAL = frozenset(phase.value for phase in FINAL)
_UNDER_WAY = frozenset({Phase.VERIFYING.value, Phase.SUCCEEDED.value})


class Shown(Struct, frozen=True, omit_defaults=True):
    """What a message was about when its button was pressed. `ask`: the mark of what waits for an approval."""

    operation: str
    environment: str
    service: str
    ask: str = ""


class Origin(Struct, frozen=True):
    """What a dialog carries: what it was opened for, and in which of Slack's channels."""

    shown: Shown
    channel: str


class Pressed(Struct, frozen=True):
    """Somebody pressed a button, or has answered (`submitted`) the dialog that it opened.

    `key` is another one for each time; `trigger` lets a dialog be opened, for three seconds.
    """

    deed: Deed
    user: str
    origin: Origin
    key: str
    trigger: str = ""
    submitted: bool = False
    reason: str = ""
    lasting: str | None = None


def of(notice: Notice) -> Json | None:
    """The block of buttons for an upgrade as a notice tells of it; None where there is nothing to press."""
    if not notice.operation:
        return None
    deeds: list[Deed] = []
    if notice.ask:
        deeds.append("approve")
    if notice.phase and notice.phase not in _FINAL:
        deeds.append("hold")
    if notice.phase in _UNDER_WAY:
        deeds.append("rollback")
    shown = Shown(notice.operation, notice.environment, notice.service, notice.ask)
    buttons: list[Json] = [_button(deed, shown, notice.title) for deed in deeds]
    return {"type": "actions", "block_id": BLOCK, "elements": buttons} if buttons else None


def _button(deed: Deed, shown: Shown, title: str) -> Json:
    button: dict[str, Json] = {
        "type": "button",
        "action_id": f"{BLOCK}-{deed}",
        "text": _plain(LABELS[deed]),
        "value": codec.encode(shown).decode(),
    }
    if deed != "hold":
        button["style"] = "primary" if deed == "approve" else "danger"
        button["confirm"] = {
            "title": _plain(f"{LABELS[deed]}?"),
            "text": _plain(readable(title, TITLE_CHARS_MAX) or shown.service),
            "confirm": _plain(LABELS[deed]),
            "deny": _plain("Leave it"),
        }
    return button


def dialog(pressed: Pressed) -> Json:
    """The view that asks for a reason, and of a hold for how long."""
    shown = pressed.origin.shown
    blocks: list[Json] = [
        {
            "type": "input",
            "block_id": REASON,
            "label": _plain("Why? Everybody who waits is told."),
            "element": {
                "type": "plain_text_input",
                "action_id": REASON,
                "multiline": False,
                "max_length": REASON_CHARS_MAX,
            },
        }
    ]
    if pressed.deed == "hold":
        options: list[Json] = [
            {"text": _plain(text), "value": value}
            for value, text in (LASTS | {ENDLESS: "until it is released"}).items()
        ]
        blocks.append(
            {
                "type": "input",
                "block_id": LASTING,
                "label": _plain(f"For how long does nothing of {shown.service} start?"),
                "element": {
                    "type": "static_select",
                    "action_id": LASTING,
                    "options": options,
                    "initial_option": options[0],
                },
            }
        )
    return {
        "type": "modal",
        "callback_id": f"{BLOCK}-{pressed.deed}",
        "title": _plain(f"{LABELS[pressed.deed]} {shown.service}"[:24]),
        "submit": _plain(LABELS[pressed.deed]),
        "close": _plain("Leave it"),
        "private_metadata": codec.encode(pressed.origin).decode(),
        "blocks": blocks,
    }


def heard(payload: object) -> Pressed | None:
    """What an interaction of Slack's says; None for one that is not with what we posted."""
    try:
        said = codec.convert(payload, _Payload)
        if said.type == "view_submission" and said.view:
            return _submitted(said, said.view)
        if said.type == "block_actions" and said.actions and said.channel:
            return _clicked(said, said.actions[0], said.channel)
    except (msgspec.MsgspecError, KeyError):
        pass
    return None


def _clicked(said: _Payload, action: _Action, channel: _Id) -> Pressed:
    shown = codec.decode(action.value, Shown)
    return Pressed(
        DEEDS[action.action_id], said.user.id, Origin(shown, channel.id), said.trigger_id, said.trigger_id
    )


def _submitted(said: _Payload, view: _View) -> Pressed:
    values = view.state.get("values", {})
    chosen = values.get(LASTING, {}).get(LASTING, _Answer()).selected_option
    return Pressed(
        DEEDS[view.callback_id],
        said.user.id,
        codec.decode(view.private_metadata, Origin),
        view.id,
        submitted=True,
        reason=values[REASON][REASON].value or "",
        lasting=chosen.value if chosen and chosen.value in LASTS else None,
    )


def _plain(text: str) -> Json:
    return {"type": "plain_text", "text": text, "emoji": False}


class _Id(Struct):
    id: str


class _Action(Struct):
    action_id: str
    value: str = ""


class _Option(Struct):
    value: str


class _Answer(Struct):
    value: str | None = None
    selected_option: _Option | None = None


class _View(Struct):
    id: str
    callback_id: str
    private_metadata: str = ""
    state: dict[str, dict[str, dict[str, _Answer]]] = {}


class _Payload(Struct):
    type: str
    user: _Id
    trigger_id: str = ""
    channel: _Id | None = None
    actions: list[_Action] = []
    view: _View | None = None


codec.resolve_types(Shown, Origin, _Payload)
