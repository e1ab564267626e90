"""What Slack accepts in messages and dialogs, as its documentation says it: the stand-in refuses the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

RAW_MARKUP = re.compile(r"<|>|&(?!amp;|lt;|gt;)")
USER = re.compile(r"[UW][A-Z0-9]+")


def content_problem(fields: Mapping[str, Any]) -> str:
    """What Slack, or a colleague, would not accept in a message; empty when it is fine."""
    text, blocks = fields.get("text"), fields.get("blocks")
    if not isinstance(text, str) or not text:
        return "no_text"
    if len(text) > 40_000:
        return "msg_too_long"
    if RAW_MARKUP.search(text):
        return "raw_markup_in_text"
    if not isinstance(blocks, list) or len(blocks) > 50:
        return "invalid_blocks"
    return "" if all(map(_fine, blocks)) else "invalid_blocks"


def view_problem(view: Any) -> str:
    """What Slack would not accept in a dialog; empty when it is fine."""
    if not isinstance(view, dict) or view.get("type") != "modal" or len(view.get("blocks", [])) > 100:
        return "invalid_arguments"
    texts = [(view.get("title"), 24), (view.get("submit"), 24), (view.get("close"), 24)]
    if len(view.get("private_metadata", "")) > 3000 or not 0 < len(view.get("callback_id", "")) <= 255:
        return "invalid_arguments"
    for block in view["blocks"]:
        element = block.get("element", {})
        if block.get("type") != "input" or not block.get("block_id") or not element.get("action_id"):
            return "invalid_arguments"
        texts.append((block.get("label"), 2000))
        if element["type"] == "static_select":
            options = element.get("options", [])
            if not 0 < len(options) <= 100 or element.get("initial_option", options[0]) not in options:
                return "invalid_arguments"
            texts += [(option["text"], 75) for option in options]
        elif element["type"] != "plain_text_input" or element.get("max_length", 1) > 3000:
            return "invalid_arguments"
    return "" if all(_is_plain(text, most) for text, most in texts) else "invalid_arguments"


def _fine(block: Mapping[str, Any]) -> bool:
    if block.get("type") == "actions":
        elements = block.get("elements", [])
        names = [element.get("action_id", "") for element in elements]
        return (
            0 < len(elements) <= 25
            and len(set(names)) == len(names)
            and len(block.get("block_id", "")) <= 255
            and all(map(_is_button, elements))
        )
    sections = block.get("elements", [{}])
    return block.get("type") == "rich_text" and all(
        _is_rich(element) for section in sections for element in section.get("elements", [{}])
    )


def _is_rich(element: Mapping[str, Any]) -> bool:
    if element.get("type") == "user":
        return bool(USER.fullmatch(element.get("user_id", "")))
    value = element.get({"text": "text", "emoji": "name"}.get(element.get("type", ""), ""))
    return isinstance(value, str) and bool(value)


def _is_button(button: Mapping[str, Any]) -> bool:
    confirm = button.get("confirm")
    return (
        button.get("type") == "button"
        and _is_plain(button.get("text"), 75)
        and 0 < len(button.get("action_id", "")) <= 255
        and 0 < len(button.get("value", "")) <= 2000
        and button.get("style", "primary") in ("primary", "danger")
        and (
            confirm is None
            or all(
                _is_plain(confirm.get(key), most)
                for key, most in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30))
            )
        )
    )


def _is_plain(text: Any, most: int) -> bool:
    return (
        isinstance(text, dict) and text.get("type") == "plain_text" and 0 < len(text.get("text", "")) <= most
    )
