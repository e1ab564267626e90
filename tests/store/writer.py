"""Run by a test: records upgrades, without end or so many, and says on stdout which of them are durable."""

from __future__ import annotations

import itertools
import sys
from datetime import UTC, datetime
from pathlib import Path

from reconciler.store import Note, Store
from tests.store.builders import bump, notice


def main() -> None:
    store = Store(Path(sys.argv[1]), now=lambda: datetime.now(UTC))
    numbers = range(1, 1 + int(sys.argv[2])) if len(sys.argv) > 2 else itertools.count(1)
    for number in numbers:
        upgrade = bump(revision=f"{number:040x}")
        store.record(
            upgrade,
            event="planned",
            notices=[notice(operation=upgrade.operation)],
            note=Note(upgrade.revision, upgrade.operation, "{}"),
        )
        store.begin(upgrade.operation, "fetch")
        sys.stdout.write(f"{upgrade.operation}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
