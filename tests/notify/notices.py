"""Notices of one upgrade, and alerts."""

from __future__ import annotations

from reconciler.model.notice import Notice, Severity
from tests.store.builders import START


def notice(
    sentence: str,
    *,
    operation: str | None = "op1",
    phase: str = "verifying",
    severity: Severity = "info",
    title: str = "production: api 1.4.0 → 1.5.0",
) -> Notice:
    return Notice(
        environment="production",
        service="api",
        sentence=sentence,
        severity=severity,
        at=START,
        operation=operation,
        phase=phase,
        title=title,
    )


def alert(sentence: str, *, severity: Severity = "person") -> Notice:
    return Notice("production", "api", sentence, severity, START)
