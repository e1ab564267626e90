"""Whose webhooks are heeded: what ugs.yaml says under `webhooks`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reconciler.config.secret import Secret
from reconciler.model.delivery import Provider
from reconciler.model.findings import Findings

Reference = Callable[[dict[str, Any]], Secret]


def webhooks_of(
    data: Mapping[str, Any], found: Findings, reference: Reference
) -> dict[Provider, tuple[Secret, ...]]:
    """By provider, its secrets. `data`, the whole file, fits the schema; what else is wrong is added to `found`."""
    hooks = data.get("webhooks", {})
    if hooks and "listen" not in data:
        message = "nobody could deliver them: the daemon listens nowhere"
        found.add(("webhooks",), message, "add `listen`, for example 127.0.0.1:8475")
    return {
        provider: tuple(reference(one) for one in _listed(hook["secret"])) for provider, hook in hooks.items()
    }


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
