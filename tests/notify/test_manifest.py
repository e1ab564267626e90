"""The manifest of the Slack app that docs/notifications.md shows: what the code calls, and no scope more."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_manifest_asks_for_the_least_scopes() -> None:
    page = (ROOT / "docs/notifications.md").read_text()
    [text] = re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    manifest = json.loads(text)
    assert manifest["oauth_config"] == {"scopes": {"bot": ["chat:write"]}}
    assert manifest["settings"]["socket_mode_enabled"] is True
    assert manifest["settings"]["interactivity"] == {"is_enabled": True}
    called = set(re.findall(r'"([a-z]+\.[a-zA-Z.]+)"', "".join(p.read_text() for p in _sources())))
    methods = {name for name in called if name.split(".")[0] in {"chat", "views", "apps", "users"}}
    assert methods == {
        "chat.postMessage",
        "chat.update",
        "chat.postEphemeral",
        "views.open",  # takes no scope
        "apps.connections.open",  # by the app-level token
        "users.lookupByEmail",  # where `lookup` is set
    }


def _sources() -> list[Path]:
    return [*(ROOT / "reconciler/notify").glob("*.py"), ROOT / "reconciler/api/desk.py"]
