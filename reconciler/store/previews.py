"""Open pull requests, and what was said there of what they would change."""

from __future__ import annotations

from collections.abc import Collection

from reconciler.model import codec
from reconciler.model.previewed import Previewed
from reconciler.store.audit import Audit


class Previews(Audit):
    def show(self, row: Previewed) -> None:
        """What was said of it last."""
        with self.transaction():
            self._run(
                "INSERT OR REPLACE INTO previews VALUES (?, ?)", (row.number, codec.encode(row).decode())
            )

    def previews(self) -> dict[int, Previewed]:
        """By number, all that are known."""
        rows = self._all("SELECT value FROM previews ORDER BY number")
        found = [self._value(row["value"], Previewed) for row in rows]
        return {one.number: one for one in found}

    def forget_previews(self, numbers: Collection[int]) -> None:
        """Of those that are not open any more."""
        if not numbers:
            return
        with self.transaction():
            for number in numbers:
                self._run("DELETE FROM previews WHERE number = ?", (number,))
