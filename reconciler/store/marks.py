"""Small facts by key, what came into force and when, and the environments that are in safe mode."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from msgspec.structs import replace

from reconciler.model import codec
from reconciler.model.notice import Notice
from reconciler.model.recovery import Recovery
from reconciler.store.audit import Audit
from reconciler.store.outbox import Outbox
from reconciler.store.rows import Advance

T = TypeVar("T")
ADVANCES_MAX = 5_000
RECOVERY = "recovery: "
KNOWN = "known: "
"""By environment: that it was asked whether Git tells more of its past than stands here."""
DRIFT = "drift: "
"""By environment: what of it was changed by hand, and has been told."""
FLAGS = "flags: "
"""By environment: by which rules its flags are switched, and were before the last push."""
PROMOTION = "promotion: "
"""By environment and commit: what promotes, and is being pushed, or was when a daemon ended: it may have arrived, or
arrive yet."""
PROMOTION_REFUSED = "promotion refused: "
"""By environment: the moves whose push was refused, so that a person is called once."""
MARKED = "SELECT key, value FROM marks WHERE key >= :prefix AND key < :beyond ORDER BY key"
LAST_CHARACTER = "\U0010ffff"
EVERYWHERE = ""
"""In place of an environment's name, as long as it is not known which there are."""


def _sort_of(key: str) -> str | None:
    """What stands before the colon: keys that begin alike up to there are of one sort. None: of whichever."""
    sort, colon, _ = key.partition(":")
    return sort if colon else None


def _by_key(rows: list[sqlite3.Row]) -> dict[str, str]:
    return {row["key"]: row["value"] for row in rows}


@lru_cache(maxsize=100)
def _names_after(begin: int) -> Callable[[list[sqlite3.Row]], frozenset[str]]:
    """Always the same for the same, so that what it made is remembered."""
    return lambda rows: frozenset(row["key"][begin:] for row in rows)


class Marks(Audit, Outbox):
    def mark(self, key: str, value: str | None) -> None:
        """Set a small fact; None forgets it."""
        if value is None:
            self._write("DELETE FROM marks WHERE key = ?", (key,), of=(_sort_of(key),))
        else:
            self._write("INSERT OR REPLACE INTO marks VALUES (?, ?)", (key, value), of=(_sort_of(key),))

    def marks(self, prefix: str) -> dict[str, str]:
        """The facts whose keys begin with `prefix`."""
        return dict(self._marked(prefix, _by_key))

    def marked(self, prefix: str) -> frozenset[str]:
        """What follows `prefix` in the keys that begin with it."""
        return self._marked(prefix, _names_after(len(prefix)))

    def _marked(self, prefix: str, read: Callable[[list[sqlite3.Row]], T]) -> T:
        between = {"prefix": prefix, "beyond": prefix + LAST_CHARACTER}
        return self._known(MARKED, between, read, of=_sort_of(prefix))

    def advance(self, before: str | None, tip: str) -> None:
        """`tip` is about to be in force after `before`; None: with nothing before it that counts any more.

        One that was announced and never came into force, as after a crash, gives way to the next from there.
        """
        if before is None:
            self._write("DELETE FROM advances")
        else:
            self._write("INSERT OR REPLACE INTO advances (before, tip) VALUES (?, ?)", (before, tip))

    def advances(self, *, advances_max: int = ADVANCES_MAX) -> list[Advance]:
        """The newest of them, the oldest first: each begins at a commit that the one before it reached."""
        rows = self._all(
            "SELECT before, tip FROM (SELECT * FROM advances ORDER BY id DESC LIMIT ?) ORDER BY id",
            (advances_max,),
        )
        return [Advance(row["before"], row["tip"]) for row in rows]

    def recoveries(self) -> dict[str, Recovery]:
        """By environment, or for EVERYWHERE: what is in safe mode."""
        return dict(self._marked(RECOVERY, self._recoveries))

    def _recoveries(self, rows: list[sqlite3.Row]) -> dict[str, Recovery]:
        return {row["key"].removeprefix(RECOVERY): self._value(row["value"], Recovery) for row in rows}

    def recovery(self, environment: str) -> Recovery | None:
        """Whether an environment is in safe mode, and why."""
        found = self.recoveries()
        return found.get(environment) or found.get(EVERYWHERE)

    def enter_recovery(self, environment: str, reason: str) -> None:
        """Safe mode, in an environment or EVERYWHERE: recorded, and a person is called. Once, while it lasts."""
        if self.recovery(environment):
            return
        now, where = self._now(), f"{environment}: " if environment else ""
        text = f"{where}safe mode: {reason}. Nothing is started; see `ugs recover`"
        with self.transaction():
            self.keep_recovery(environment, Recovery(reason, now))
            self.audit("safe-mode", environment=environment, detail=reason)
            self.tell(
                Notice(environment, "", sentence=text, severity="person", at=now, title=f"{where}safe mode")
            )

    def keep_recovery(self, environment: str, recovery: Recovery | None) -> None:
        """How the safe mode of an environment stands; None when it has ended."""
        self.mark(f"{RECOVERY}{environment}", codec.encode(recovery).decode() if recovery else None)

    def rebase_recoveries(self, tip: str) -> None:
        """The branch was rewritten: what stands in it now is no later commit."""
        with self.transaction():
            for environment, recovery in self.recoveries().items():
                if recovery.base:
                    self.keep_recovery(environment, replace(recovery, base=tip))
