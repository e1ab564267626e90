"""How far this daemon's database has come, remembered by the remote, so that an older one is noticed."""

from __future__ import annotations

import hashlib
import logging
import platform
from pathlib import Path

from reconciler.engine.core import Core
from reconciler.model.errors import UgsError

log = logging.getLogger("ugs")
MACHINE_ID = Path("/etc/machine-id")
DAEMON_MARK = "daemon"


async def keep_head(core: Core) -> None:
    """Let the remote remember how far this database has come. Never in anyone's way."""
    head = core.store.head()
    if head is None:
        return
    try:
        await core.git(core.repository.mirror.keep_head, daemon_id(core), str(head), at=core.clock.now())
    except UgsError as error:
        log.info("the remote does not remember how far the database has come: %s", error)


def daemon_id(core: Core) -> str:
    """Sixteen hex digits: made from the machine and the state folder, so that it is found again when both are
    what is left; kept from then on, whatever they become."""
    kept = core.store.marks(DAEMON_MARK)
    if DAEMON_MARK in kept:
        return kept[DAEMON_MARK]
    machine = MACHINE_ID.read_text() if MACHINE_ID.is_file() else platform.node()
    made = hashlib.sha256(f"{machine.strip()}\0{core.settings.state}".encode()).hexdigest()[:16]
    core.store.mark(DAEMON_MARK, made)
    return made
