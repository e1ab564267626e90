"""Comments of ours on pull requests: one under each name, edited in place; what a person has edited is kept."""

from __future__ import annotations

import asyncio
import logging

from reconciler.forge import Denied, Forge, Invalid
from reconciler.model.report import untouched

log = logging.getLogger("ugs")


async def upsert(forge: Forge, number: int, name: str, text: str, *, instead: str = "") -> bool:
    """Let `text`, which bears the mark of `name`, be what is said there. Raises as the forge does.

    Where people have edited the last one, a new one is written below. False where nothing was said, since somebody
    else's comment that begins with `instead` is there already.
    """
    found = await asyncio.to_thread(forge.comments, number)
    standing = [(one, ours) for one in found if (ours := untouched(name, one.body)) is not None]
    if not standing and instead and any(one.body.startswith(instead) for one in found):
        return False
    newest, ours = standing[-1] if standing else (None, False)
    if newest and ours:
        if " ".join(newest.body.split()) == " ".join(text.split()):
            return True
        try:
            await asyncio.to_thread(forge.edit_comment, number, newest.id, text)
        except (Invalid, Denied) as error:  # it is gone, or somebody else has written it after our manner
            log.info("%s; a new comment is written", error)
        else:
            return True
    await asyncio.to_thread(forge.comment, number, text)
    return True
