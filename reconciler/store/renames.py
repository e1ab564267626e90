"""An environment under another name: all that is remembered of it, moved in one transaction."""

from __future__ import annotations

from reconciler.store.audit import Audit
from reconciler.store.marks import DRIFT, FLAGS, KNOWN, PROMOTION, PROMOTION_REFUSED, RECOVERY

MOVED = (
    "UPDATE versions SET environment = :new, workload = json_set(workload, '$.environment', :new)"
    " WHERE environment = :old",
    *(
        f"UPDATE upgrades SET value = json_set(value, '$.{work}.environment', :new)"  # noqa: S608 - three literals
        f" WHERE environment = :old AND json_type(value, '$.{work}') = 'object'"
        for work in ("before", "after", "goal")
    ),
    "UPDATE upgrades SET environment = :new, value = json_set(value, '$.environment', :new)"
    " WHERE environment = :old",
    "UPDATE health_status SET environment = :new WHERE environment = :old",
    "UPDATE rollback_records SET environment = :new WHERE environment = :old",
    "UPDATE holds SET environment = :new WHERE environment = :old",
    "UPDATE approvals SET environment = :new, ask = json_set(ask, '$.environment', :new)"
    " WHERE environment = :old",
    "UPDATE starts SET environment = :new, ask = json_set(ask, '$.environment', :new) WHERE environment = :old",
    *(
        f"UPDATE proposals SET value = json_set(value, '$.upgrade.{work}.environment', :new)"  # noqa: S608 - three literals
        f" WHERE environment = :old AND json_type(value, '$.upgrade.{work}') = 'object'"
        for work in ("before", "after", "goal")
    ),
    "UPDATE proposals SET environment = :new, value = json_set(value, '$.upgrade.environment', :new)"
    " WHERE environment = :old",
    "UPDATE adoptions SET environment = :new WHERE environment = :old",
    "UPDATE overrides SET environment = :new WHERE environment = :old",
    "UPDATE migrations SET environment = :new WHERE environment = :old",
    "UPDATE backups SET environment = :new WHERE environment = :old",
    # Counts outlive the rows that they are of: there may be some of one that had the new name long ago.
    "INSERT INTO tallies SELECT :new, class, event, count FROM tallies WHERE environment = :old"
    " ON CONFLICT DO UPDATE SET count = count + excluded.count",
    "DELETE FROM tallies WHERE environment = :old",
    "UPDATE OR REPLACE probe_hours SET environment = :new WHERE environment = :old",
    "UPDATE pulls SET environment = :new, value = json_set(value, '$.environment', :new)"
    " WHERE environment = :old",
    "UPDATE feature_flags SET environment = :new WHERE environment = :old",
    *(
        f"UPDATE OR REPLACE marks SET key = '{kind}' || :new WHERE key = '{kind}' || :old"  # noqa: S608 - six literals
        for kind in (RECOVERY, KNOWN, DRIFT, FLAGS, PROMOTION, PROMOTION_REFUSED)
    ),
    f"UPDATE OR REPLACE marks SET key = replace(key, '{PROMOTION}' || :old, '{PROMOTION}' || :new)"  # noqa: S608 - one literal
    f" WHERE key GLOB '{PROMOTION}' || :old || ' *'",
)
"""The audit stays as it was written, and so does what people were told. Slots are held under the old name alone, and
waited for."""


class Renames(Audit):
    def knows(self, environment: str) -> bool:
        """Whether anything was ever deployed there, or was to be."""
        sql = "SELECT 1 FROM versions WHERE environment = :e UNION ALL SELECT 1 FROM upgrades WHERE environment = :e"
        return self._one(f"{sql} LIMIT 1", {"e": environment}) is not None

    def rename(self, old: str, new: str) -> None:
        """Everything that is remembered of `old` is `new`'s, which must not have anything of its own."""
        with self.transaction():
            for sql in MOVED:
                self._run(sql, {"old": old, "new": new})
            self.audit("renamed", environment=new, detail=old)
