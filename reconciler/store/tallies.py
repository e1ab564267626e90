"""What is counted for ever: rows of upgrades are dropped some day, and the counts go on."""

from __future__ import annotations

from msgspec import Struct

from reconciler.store.database import Database


class Tally(Struct, frozen=True):
    """`event`: the phase in which upgrades of a class ended, or `window-passed`; of pull requests of ours
    `pull-opened` and the like, and of promotions by commit `promoted` and `promotion-refused`: the class is then their
    kind, such as `bump`."""

    environment: str
    change_class: str
    event: str
    count: int


class Tallies(Database):
    def tally(self, environment: str, event: str, change_class: str) -> None:
        """One more."""
        self._write(
            "INSERT INTO tallies VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1",
            (environment, change_class, event),
        )

    def tallies(self) -> list[Tally]:
        return [
            Tally(row["environment"], row["class"], row["event"], row["count"])
            for row in self._all("SELECT * FROM tallies ORDER BY environment, class, event")
        ]
