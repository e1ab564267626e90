"""Where a page begins, as text that says nothing to whoever carries it back."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from reconciler.api.endpoint import BadRequest

T = TypeVar("T")
Limit = Annotated[int, Meta(ge=1, le=100)]
LIMIT = 50
CURSOR_CHARS_MAX = 1_000
Cursor = Annotated[str, Meta(max_length=CURSOR_CHARS_MAX)]


def written(mark: object | None) -> str | None:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(mark)).decode().rstrip("=") if mark else None


def read(text: str | None, kind: type[T]) -> T | None:
    """Raises BadRequest for what was not written here."""
    if text is None:
        return None
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.msgpack.decode(data, type=kind)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise BadRequest("this cursor is none of ours", "send `next` of a page, or begin anew") from error
