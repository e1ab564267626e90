"""The mark that every process of ours carries in its environment: what runs says itself what it is."""

from __future__ import annotations

import hashlib
from pathlib import Path

from msgspec import Struct

from reconciler.model.target import Target

VARIABLE = "UGS_INSTANCE"
ROLE_VARIABLE = "UGS_ROLE"
SHIM_ROLE = "shim"


class Mark(Struct, frozen=True):
    """Which instance a process belongs to. Written `site:environment:service:index:target:operation`."""

    site: str
    environment: str
    service: str
    index: int
    target: Target
    operation: str

    @property
    def instance(self) -> str:
        """The mark without its operation: what makes two processes belong to one instance."""
        return f"{self.site}:{self.environment}:{self.service}:{self.index}:{self.target}:"

    def __str__(self) -> str:
        return self.instance + self.operation

    @classmethod
    def parse(cls, text: str) -> Mark | None:
        """None when `text` is not what `str()` writes: a process that only borrowed the variable's name."""
        try:
            site, environment, service, index, target, operation = text.split(":")
            return cls(site, environment, service, int(index), Target.parse(target), operation)
        except ValueError:
            return None


def site_id(state: Path) -> str:
    """Eight hex digits for a state folder, so that two daemons on one machine never mix."""
    return hashlib.sha256(bytes(state.resolve())).hexdigest()[:8]
