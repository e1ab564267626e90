"""Who this daemon is to others that follow the same repository."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from secrets import token_hex

from reconciler.model.lease import Holder
from reconciler.store import Store

HOLDER_MARK = "lease-holder"
_NO_HOST = re.compile(r"[^A-Za-z0-9._-]+")


def holder_of(store: Store, *, host: str, state: Path, lasts_s: float) -> Holder:
    """Who this daemon is. A copy of its state elsewhere is somebody else."""
    seed = store.marks(HOLDER_MARK).get(HOLDER_MARK)
    if seed is None:
        seed = token_hex(16)
        store.mark(HOLDER_MARK, seed)
    name = _NO_HOST.sub("-", host)[:253]
    return Holder(sha256(f"{seed} {name} {state}".encode()).hexdigest()[:12], name, lasts_s)
