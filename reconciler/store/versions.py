"""What was deployed where, and which of it proved healthy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from sys import intern

import msgspec

from reconciler.model import codec
from reconciler.model.layered import Layered
from reconciler.model.release import Release
from reconciler.model.target import Target, Workload, frozen_digest
from reconciler.model.version import Version
from reconciler.store.database import Database
from reconciler.store.memory import Subject, question
from reconciler.store.values import text_of, time_of

GOOD_MAX = 5
GOOD = (
    "SELECT workload, healthy_at FROM versions WHERE environment = ? AND service = ?"
    " AND healthy_seq IS NOT NULL ORDER BY healthy_seq DESC LIMIT ?"
)
ALL_GOOD = (
    "SELECT service, workload, healthy_at FROM (SELECT service, workload, healthy_at, healthy_seq, row_number()"
    " OVER (PARTITION BY service ORDER BY healthy_seq DESC) AS place FROM versions"
    " WHERE environment = ? AND service BETWEEN ? AND ? AND healthy_seq IS NOT NULL) WHERE place <= ?"
    " ORDER BY service, place"
)
STOOD = (
    "SELECT json_group_array(json_array(rowid, service, target, healthy_seq)) FROM versions"
    " WHERE environment = ?"
)
"""In one text, which is read in two thirds of the time that so many rows take."""
STOOD_ROWS = msgspec.json.Decoder(list[tuple[int, str, str, int | None]])
VERSIONS_KEPT_MAX = 10_000
NONE = 0, ""
SINCE = "SELECT rowid AS newest, service, version, workload FROM versions WHERE rowid > ? ORDER BY rowid"
FIRST = (
    "SELECT (SELECT max(rowid) FROM versions) AS newest, service, version, workload FROM versions"
    " WHERE rowid IN (SELECT min(rowid) FROM versions WHERE rowid > ? GROUP BY service, version)"
)
"""Only what is the first of its release: of a thousand environments that run one, only an index is looked through."""


class Versions(Database):
    _frozen: Layered[tuple[str, str], Release] = Layered({})
    _frozen_to = 0
    """The newest row that it was read to."""

    def deployed(self, work: Workload, *, revision: str) -> None:
        """It is being started here, for the commit `revision`. Its release freezes."""
        with self._together():
            self._see(work, revision)
            self._run(
                "UPDATE versions SET workload = ?, revision = ?,"
                " first_deployed_at = coalesce(first_deployed_at, ?)"
                " WHERE environment = ? AND service = ? AND target = ?",
                (codec.encode(work).decode(), revision, self._stamp(), *_key(work)),
                of=_of(work),
            )

    def healthy(self, work: Workload, *, at: datetime | None = None) -> None:
        """It proved healthy, now or then, and is last-good from now on. It must have been deployed."""
        changed = self._write(
            "UPDATE versions SET healthy_at = ?1, healthy_seq = (SELECT 1 + coalesce(max(healthy_seq), 0)"
            "  FROM versions WHERE environment = ?2 AND service = ?3 AND healthy_seq IS NOT NULL)"
            " WHERE environment = ?2 AND service = ?3 AND target = ?4",
            (text_of(at) if at else self._stamp(), *_key(work)),
            of=_of(work),
        ).rowcount
        if changed == 0:
            raise RuntimeError(f"{work.environment}: {work.service} {work.target} was never deployed")

    def forget_good(self, environment: str, service: str, target: Target) -> None:
        """A later verdict: it is not to be brought back any more."""
        with self.transaction():
            self._run(
                "UPDATE versions SET healthy_seq = NULL WHERE environment = ? AND service = ? AND target = ?",
                (environment, service, str(target)),
            )

    def removed(self, environment: str, service: str) -> None:
        """It was stopped on purpose: nothing of it is to be brought back, though all of it is still known."""
        with self.transaction():
            self._run(
                "UPDATE versions SET healthy_seq = NULL WHERE environment = ? AND service = ?",
                (environment, service),
            )

    def good(
        self, environment: str, service: str, *, limit: int = GOOD_MAX
    ) -> list[tuple[Workload, datetime]]:
        """What proved healthy here and when, the last first: that one is last-good."""
        found = self._known(GOOD, (environment, service, limit), self._good, of=(environment, service))
        return list(found)

    def has_proved(self, environment: str, service: str) -> bool:
        """Whether any version ever proved healthy here, be it that it was removed since."""
        sql = (
            "SELECT 1 FROM versions WHERE environment = ? AND service = ? AND healthy_at IS NOT NULL LIMIT 1"
        )
        return self._one(sql, (environment, service)) is not None

    def all_good(
        self, environment: str, services: Iterable[str]
    ) -> dict[str, Sequence[tuple[Workload, datetime]]]:
        """The same of all these, by service: what is not remembered is read at once."""
        asked = {
            service: question(GOOD, (environment, service, GOOD_MAX), self._good, (environment, service))
            for service in services
        }
        between = (min(asked), max(asked)) if asked else ("", "")
        return self._known_each(asked, ALL_GOOD, (environment, *between, GOOD_MAX))

    def proven(self, environment: str) -> Mapping[str, str]:
        """By service the target that is last-good here, as text: of very many, nothing else of them is read."""
        return self._stood(environment)[1]

    def has_deployed(self, environment: str) -> bool:
        """Whether anything was ever deployed here."""
        sql = "SELECT 1 FROM versions WHERE environment = ? AND first_deployed_at IS NOT NULL LIMIT 1"
        return self._one(sql, (environment,), of=environment) is not None

    def attempted(self, environment: str) -> Mapping[str, Version]:
        """By service: the version that was last deployed or tried here, proven or not."""
        return self._stood(environment)[0]

    def _stood(self, environment: str) -> tuple[Mapping[str, Version], Mapping[str, str]]:
        """What was tried last of each service, and what is last-good of it: both by one look at the rows."""
        return self._known(STOOD, (environment,), _stood, of=environment)

    def frozen(self) -> Mapping[tuple[str, str], Release]:
        """By service and version: the release as it was when first deployed or quarantined, wherever.

        As long as no other release is deployed or quarantined, it is the very same mapping.
        """
        # Rows are never removed, so that only those are read that came since.
        sql = SINCE if self._frozen_to else FIRST
        new, newest = self._known(sql, (self._frozen_to,), self._froze)
        self._frozen, self._frozen_to = self._frozen.changed(new), newest
        return self._frozen

    def _forget_all(self) -> None:
        super()._forget_all()
        # A row that was seen may have been taken back.
        self._frozen, self._frozen_to = Layered({}), 0

    def _froze(self, rows: list[sqlite3.Row]) -> tuple[dict[tuple[str, str], Release], int]:
        """What is frozen by these rows and was not yet, and the newest row."""
        new = dict[tuple[str, str], Release]()
        for row in rows:
            key = row["service"], row["version"]
            if key not in self._frozen and key not in new:
                new[key] = self._value(row["workload"], Workload).release
        return new, rows[-1]["newest"] if rows else self._frozen_to

    def _good(self, rows: list[sqlite3.Row]) -> list[tuple[Workload, datetime]]:
        return [(self._value(row["workload"], Workload), time_of(row["healthy_at"])) for row in rows]

    def _see(self, work: Workload, revision: str) -> None:
        self._run(
            "INSERT INTO versions (environment, service, target, version, release_digest, workload, revision,"
            " frozen_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                *_key(work),
                str(work.target.version),
                frozen_digest(work.release),
                codec.encode(work).decode(),
                revision,
                self._stamp(),
            ),
            of=_of(work),
        )


def _stood(rows: list[sqlite3.Row]) -> tuple[dict[str, Version], dict[str, str]]:
    """What is the same in very many environments is the very same, so that all of them can stay known."""
    tried, good = dict[str, tuple[int, str]](), dict[str, tuple[int, str]]()
    for row, service, target, healthy in STOOD_ROWS.decode(rows[0][0]):
        if row > tried.get(service, NONE)[0]:
            tried[intern(service)] = row, target
        if healthy is not None and healthy > good.get(service, NONE)[0]:
            good[intern(service)] = healthy, target
    return (
        {service: _version_of(target.rpartition("@")[0]) for service, (_, target) in tried.items()},
        {service: intern(target) for service, (_, target) in good.items()},
    )


@lru_cache(VERSIONS_KEPT_MAX)
def _version_of(text: str) -> Version:
    return Version(text)


def _of(work: Workload) -> tuple[Subject, ...]:
    """What its row says something of: the service, and the environment as a whole."""
    return (work.environment, work.service), work.environment


def _key(work: Workload) -> tuple[str, str, str]:
    return work.environment, work.service, str(work.target)
