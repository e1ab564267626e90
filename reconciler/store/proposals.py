"""Reverts that people are asked to merge, and how they stand."""

from __future__ import annotations

from reconciler.model import codec
from reconciler.model.proposal import Proposal
from reconciler.store.audit import Audit


class Proposals(Audit):
    def propose(self, proposal: Proposal) -> None:
        """How it stands from now on."""
        upgrade = proposal.upgrade
        with self.transaction():
            self._run(
                "INSERT INTO proposals VALUES (?, ?, ?, ?) ON CONFLICT (operation) DO UPDATE"
                " SET environment = excluded.environment, state = excluded.state, value = excluded.value",
                (
                    upgrade.operation,
                    upgrade.environment,
                    proposal.state,
                    codec.encode(proposal).decode(),
                ),
            )

    def proposals(self) -> list[Proposal]:
        """Those that are open, oldest first."""
        rows = self._all("SELECT value FROM proposals WHERE state = 'open' ORDER BY rowid")
        return [self._value(row["value"], Proposal) for row in rows]

    def proposal(self, operation: str) -> Proposal | None:
        """The one of an operation, however it stands."""
        row = self._one("SELECT value FROM proposals WHERE operation = ?", (operation,))
        return self._value(row["value"], Proposal) if row else None
