"""What people are told: one thread per upgrade, and alerts that stand alone."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Literal

from msgspec import Struct

from reconciler.model import codec, sentence
from reconciler.model.permits import Ask
from reconciler.model.upgrade import Upgrade

Severity = Literal["info", "warning", "person"]
"""`person`: someone has to act."""


class Notice(Struct, frozen=True, omit_defaults=True):
    """One thing to tell. All texts are plain; whoever sends them escapes them."""

    environment: str
    service: str
    sentence: str
    severity: Severity
    at: datetime
    operation: str | None = None
    """The upgrade whose thread this belongs to; None stands alone."""
    phase: str = ""
    title: str = ""
    """The thread's headline, such as `production: api 1.4.0 → 1.5.0`; the same for every notice of an upgrade."""
    ask: str = ""
    """The mark of what waits for an approval; empty where nothing does."""
    revision: str = ""
    """The commit that asked for the upgrade."""

    @property
    def urgent(self) -> bool:
        """Whether somebody should see it now: it is more than information, or asks for an approval."""
        return self.severity != "info" or bool(self.ask)


def mark_of(ask: Ask) -> str:
    """Sixteen hex digits that are another for whatever else could be approved."""
    return hashlib.sha256(codec.encode(ask)).hexdigest()[:16]


def notice_of(upgrade: Upgrade, severity: Severity, at: datetime, *, text: str = "", ask: str = "") -> Notice:
    """What is told of an upgrade in its thread: `text`, by default what it is at. `ask`: the mark of what waits for
    an approval."""
    return Notice(
        environment=upgrade.environment,
        service=upgrade.service,
        sentence=text or sentence.of_move(upgrade),
        severity=severity,
        at=at,
        operation=upgrade.operation,
        phase=upgrade.phase.value,
        title=sentence.title(upgrade),
        ask=ask,
        revision=upgrade.revision,
    )
