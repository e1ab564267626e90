"""What files of a repository were found to describe, on disk, so that who starts again does not read them all anew.

It is a memory and nothing else: whatever is wrong with it, it is as if it was not there, and is made anew. Only what
is good is kept, since what is wrong with a file may hang on more than the file. One row is one section of the tree, so
that writing costs what changed; a row counts only with its checksum, and all of them only for the code that made them.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock, Thread

import msgspec
from msgspec.structs import replace

from reconciler.collector import standing_still
from reconciler.model.codec import packed, unpacker
from reconciler.model.environment import Pin
from reconciler.model.errors import Place
from reconciler.model.layered import differing
from reconciler.model.parts import Part, version_node
from reconciler.model.release import Release
from reconciler.model.section import Cache, Section
from reconciler.model.version import version_of
from reconciler.model.window import check_zone

SIZE_BYTES_MAX = 256 << 20
"""Beyond that it is not kept: a repository holds at most 64 MiB of YAML."""
BUSY_S = 2.0
CHECKSUM_BYTES = 16
MAKERS = ("ruamel.yaml", "ruamel.yaml.clib", "msgspec", "jsonschema-rs", "semver", "croniter")
TABLES = """
CREATE TABLE IF NOT EXISTS maker (fingerprint TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sections (name TEXT PRIMARY KEY, checksum BLOB NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
"""
NOTHING = hash(frozenset())
Known = dict[tuple[str, str], Release | Part]
"""What files describe, by blob and path."""
log = logging.getLogger("ugs")


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """A part without those of its pins that are a version and nothing else, and these: there are more of them than of
    anything, and to read them so takes half the time."""

    part: Part
    versions: tuple[tuple[str, str, int, int], ...]
    """By service, and where they stand: line and column."""


class Row(msgspec.Struct, frozen=True, array_like=True):
    """What the good files of one section describe: by blob and path."""

    releases: tuple[tuple[str, str, Release], ...]
    parts: tuple[tuple[str, str, Kept], ...]


_unpack = unpacker(Row)


class Parsed:
    """The memory in one file, for several threads and processes. Never raises for what is wrong with it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._told = False
        self._known: Known | None = None
        """None before the file was read."""
        self._held: dict[str, int | None] = {}
        """By section, which blobs at which paths its row tells of; None where nobody can read it."""
        self._seen: Mapping[str, Section] = {}
        """What was last seen to be written: of a section that is the very same nothing is to be done."""

    def begin(self) -> None:
        """Read it in a thread of its own: who has something else to wait for meanwhile has it at hand then."""
        Thread(target=self._begun, name="parsed", daemon=True).start()

    def recall(self, oid: str, path: str) -> Release | Part | None:
        """What this blob was found to describe at this path, once."""
        known = self._known
        if known is None:
            with self._lock:
                known = self._load()
        return known.get((oid, path))

    def forget(self) -> None:
        """Let go of what is in memory here: whoever has read a repository has it in the cache."""
        with self._lock:
            self._known = {}

    def keep(self, sections: Mapping[str, Section], found: Cache) -> None:
        """Write what these sections describe where it is not what stands there, and drop what there is of others.

        `sections` is kept, and not to be changed any more.
        """
        with self._lock:
            self._load()
            others = differing(self._seen, sections)
            keys = {name: _keys(_good(sections[name], found)) for name in others & sections.keys()}
            moved = {name for name, held in keys.items() if held != self._held.get(name, NOTHING)}
            gone = (self._held.keys() & others if self._seen else {*self._held}) - sections.keys()
            gone |= {name for name in moved if keys[name] == NOTHING}
            rows = {name: _row(_good(sections[name], found)) for name in moved - gone}
            try:
                if gone or rows:
                    self._write(rows, gone)
            except (OSError, sqlite3.Error) as error:
                self._tell(f"it cannot be written: {error}")
                return
            self._held.update({name: keys[name] for name in rows})
            for name in gone:
                self._held.pop(name, None)
            self._seen = sections

    def _begun(self) -> None:
        with self._lock, standing_still():
            self._load()

    def _load(self) -> Known:
        """What there is in memory; read where it was not."""
        if self._known is None:
            known, rows = Known(), self._read()
            while rows:  # each is let go of when it is unpacked
                name, checksum, body = rows.pop()
                found = self._unpacked(name, checksum, body)
                self._held[name] = None if found is None else _keys(found)
                known.update(found or {})
            self._known = known
        return self._known

    def _read(self) -> list[tuple[str, bytes, bytes]]:
        if not self._path.exists():
            return []
        try:
            with self._open() as database:
                made_by = database.execute("SELECT fingerprint FROM maker").fetchall()
                if made_by != [(fingerprint(),)]:
                    log.info("%s: another version of UGS has made it: all is read anew", self._path)
                    return []
                return database.execute("SELECT name, checksum, body FROM sections").fetchall()
        except (OSError, sqlite3.Error, UnicodeError) as error:
            self._tell(str(error))
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            return []

    def _unpacked(self, name: str, checksum: bytes, body: bytes) -> Known | None:
        try:
            if _checksum(name, body) != checksum:
                raise ValueError("a checksum is wrong")
            row = _unpack(body)
            parts: Known = {(oid, path): _whole(kept) for oid, path, kept in row.parts}
        except (ValueError, TypeError, msgspec.MsgspecError) as error:
            self._tell(str(error))
            return None
        releases: Known = {(oid, path): release for oid, path, release in row.releases}
        return releases | parts

    def _write(self, rows: Mapping[str, Row], gone: set[str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._open() as database, database:
            if database.execute("SELECT fingerprint FROM maker").fetchall() != [(fingerprint(),)]:
                database.executescript("DELETE FROM maker; DELETE FROM sections;")
                database.execute("INSERT INTO maker VALUES (?)", (fingerprint(),))
            bodies = ((name, packed(row)) for name, row in rows.items())
            database.executemany(
                "REPLACE INTO sections VALUES (?, ?, ?)",
                ((name, _checksum(name, body), body) for name, body in bodies),
            )
            database.executemany("DELETE FROM sections WHERE name = ?", ((name,) for name in gone))

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        # Made by us, so that it is nobody else's from the first byte on; SQLite gives its journal the same mode.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        os.close(os.open(self._path, flags, 0o600))
        with contextlib.closing(
            sqlite3.connect(self._path, timeout=BUSY_S, check_same_thread=False)
        ) as database:
            # A memory: what a power cut spoils fails its checksum.
            database.execute("PRAGMA synchronous = OFF")
            pages = SIZE_BYTES_MAX // database.execute("PRAGMA page_size").fetchone()[0]
            database.execute(f"PRAGMA max_page_count = {pages}")
            database.executescript(TABLES)
            yield database

    def _tell(self, what: str) -> None:
        if not self._told:
            log.warning(
                "%s: what was remembered of the repository is not used, and read anew: %s", self._path, what
            )
        self._told = True


@cache
def fingerprint() -> str:
    """Of the code that makes values of files: other code may understand a file otherwise."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    schemas = next(folder for folder in (package / "schemas", package.parent / "schemas") if folder.is_dir())
    for file in (Path(__file__), *sorted((package / "model").glob("*.py")), *sorted(schemas.glob("*.json"))):
        data = file.read_bytes()
        digest.update(f"{file.name} {len(data)}\n".encode() + data)
    for name in MAKERS:
        with contextlib.suppress(ModuleNotFoundError):  # importlib's own for a distribution that is not there
            digest.update(f"{name} {version(name)}\n".encode())
    return digest.hexdigest()


@cache
def _zone_is_known(zone: str) -> None:
    check_zone(zone)


def _good(section: Section, found: Cache) -> Known:
    """What the good files of a section describe."""
    known = {(file.oid, file.path): found.known(file.oid, file.path) for file in section.files.values()}
    return {key: one for key, one in known.items() if isinstance(one, Release | Part)}


def _row(good: Known) -> Row:
    return Row(
        tuple((oid, path, one) for (oid, path), one in good.items() if isinstance(one, Release)),
        tuple((oid, path, _kept(one)) for (oid, path), one in good.items() if isinstance(one, Part)),
    )


def _kept(part: Part) -> Kept:
    # Whose value is a version is that and nothing else, and stands in the part's own file.
    alone = {
        service: pin
        for service, pin in part.pins.items()
        if part.nodes[service] == version_node(pin.version.text)
    }
    pins = {service: pin for service, pin in part.pins.items() if service not in alone}
    nodes = {service: part.nodes[service] for service in pins}
    return Kept(
        replace(part, pins=pins, nodes=nodes),
        tuple((pin.service, pin.version.text, pin.place.line, pin.place.column) for pin in alone.values()),
    )


def _whole(kept: Kept) -> Part:
    """The part with all of its pins. Raises ValueError where it cannot be one."""
    part = kept.part
    if part.settings and part.settings.timezone:
        _zone_is_known(part.settings.timezone)
    file, pins, nodes = part.file, part.pins, part.nodes  # nobody else has them yet
    for service, text, line, column in kept.versions:
        pins[service] = Pin(service, version_of(text), Place(file, line, column))
        nodes[service] = version_node(text)
    return part


def _keys(good: Known) -> int:
    return hash(frozenset(good))


def _checksum(name: str, body: bytes) -> bytes:
    # A name that is no text stands in no row of ours, and its checksum is wrong.
    digest = hashlib.blake2b(f"{name}\0".encode(), digest_size=CHECKSUM_BYTES)
    digest.update(body)
    return digest.digest()
