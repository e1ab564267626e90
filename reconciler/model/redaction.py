"""Secrets out of what programs say: before it is cut short, logged, kept, told or committed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote

MASK = "[secret]"
LENGTH_MIN = 4
"""A shorter value stands in too many words by chance, and masking it would only say where."""


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The text with every secret masked, also as JSON, a URL or Python's repr would write it."""
    for form in spellings(secrets):
        text = text.replace(form, MASK)
    return text


def spellings(secrets: Iterable[str]) -> list[str]:
    """Every way in which the secrets may be written; the longest first, as one that holds another goes whole."""
    forms = {
        form
        for secret in secrets
        for form in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""), repr(secret)[1:-1])
        if len(form) >= LENGTH_MIN
    }
    return sorted(forms, key=len, reverse=True)
