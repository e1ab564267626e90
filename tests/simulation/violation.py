"""What ends a story: something that must always hold does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable


class Violation(SystemExit):
    """Something that must always hold does not. No `except Exception` of the engine's takes it for its own."""


def judge(checks: Iterable[Callable[..., str]], *happened: object) -> None:
    """Raise what the first of these checks, each of which gets all that happened, finds wrong."""
    for check in checks:
        if wrong := check(*happened):
            raise Violation(f"{check.__name__}: {wrong}")
