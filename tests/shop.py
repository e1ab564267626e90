"""A world in which a service has data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.drivers.services import Mode
from tests.ledger import PROGRAM, Ledger
from tests.world import World


class Shop:
    """A world in which `api` has data. It runs at 1.0.0, which knows nothing of migrations."""

    def __init__(self, world: World) -> None:
        self.world, self.ledger = world, Ledger(world.folder / "data")

    def bump(
        self, version: str, *migrations: dict[str, Any], mode: Mode = "ok", pin: bool = True, **how: Any
    ) -> str:
        """A release with these migrations, pinned and pushed; the commit's id."""
        more = self.ledger.manifest(*migrations, more=how.pop("more", ""))
        self.world.release(version, mode, files={"lib/ledger.py": PROGRAM}, more=more, **how)
        if pin:
            self.world.pin(version)
        return self.world.merge(f"Bump api to {version}")

    def states(self) -> dict[str, str]:
        return {row.id: row.state for row in self.world.core.store.migrations("production", "api")}

    def kept(self) -> list[Path]:
        """Every backup that is really there."""
        return sorted((self.world.state / "backups").glob("production/api/*/data"))

    def steps(self) -> list[str]:
        newest = self.world.newest()
        assert newest is not None
        return [step.step for step in self.world.core.store.steps(newest.operation)]
