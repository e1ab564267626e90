"""Slots that this daemon's FleetLock server has given, and those that its own upgrades hold anywhere."""

from __future__ import annotations

from reconciler.model.slots import Hold, Refusal, Rule, refusal
from reconciler.store.audit import Audit


class Slots(Audit):
    def take_slot(self, group: str, client: str, limit: int | None) -> Refusal | None:
        """Give the client a slot of the group, durably; why not, where it gets none."""
        with self.transaction():
            rows = self._all(
                "SELECT client FROM slots WHERE slot_group = ? ORDER BY taken_at, client", (group,)
            )
            holders = tuple(str(row["client"]) for row in rows)
            refused = refusal(group, holders, client, limit)
            if refused is None and client not in holders:
                self._run("INSERT INTO slots VALUES (?, ?, ?)", (group, client, self._stamp()))
                self.audit("slot-taken", detail=f"{group}: {client}")
        return refused

    def give_slot_back(self, group: str, client: str) -> None:
        """Free the client's slot; nothing, where it has none."""
        with self.transaction():
            gone = self._run(
                "DELETE FROM slots WHERE slot_group = ? AND client = ?", (group, client)
            ).rowcount
            if gone:
                self.audit("slot-given-back", detail=f"{group}: {client}")

    def hold_slot(self, hold: Hold) -> None:
        """The slot of this operation is about to be asked for."""
        with self.transaction():
            self._run(
                "INSERT OR REPLACE INTO held_slots VALUES (?, ?, ?, ?, ?)",
                (hold.environment, hold.service, hold.operation, hold.rule.group, hold.rule.url),
            )

    def let_slot_go(self, hold: Hold) -> None:
        """It was given back, or never had."""
        with self.transaction():
            self._run(
                "DELETE FROM held_slots WHERE environment = ? AND service = ? AND operation = ?",
                (hold.environment, hold.service, hold.operation),
            )

    def held_slots(self, environment: str) -> list[Hold]:
        """What upgrades of an environment hold, or may hold."""
        rows = self._all("SELECT * FROM held_slots WHERE environment = ? ORDER BY service", (environment,))
        return [
            Hold(row["environment"], row["service"], row["operation"], Rule(row["slot_group"], row["url"]))
            for row in rows
        ]
