"""The routes about releases: which there are, where each is pinned, and what came with them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from reconciler.api import cursor
from reconciler.api.endpoint import BadRequest, Endpoint
from reconciler.api.entry import Missing
from reconciler.engine import notes
from reconciler.engine.daemon import Daemon
from reconciler.model.release import Release
from reconciler.model.rights import Caller, Place, sees_part_of
from reconciler.model.snapshot import Snapshot
from reconciler.model.version import Version

Json = dict[str, Any]
Name = Annotated[str, Meta(max_length=200)]
Sha = Annotated[str, Meta(pattern=r"^[0-9a-f]{40}$")]


class AskedReleases(Struct, frozen=True, forbid_unknown_fields=True):
    service: Name | None = None
    limit: cursor.Limit = cursor.LIMIT
    cursor: cursor.Cursor | None = None


class AskedNotes(Struct, frozen=True, forbid_unknown_fields=True):
    """Of a service between two versions, or of what an environment got since a commit."""

    service: Name | None = None
    from_: Name | None = field(default=None, name="from")
    to: Name | None = None
    environment: Name | None = None
    since: Sha | None = None


class ReleaseShape(Struct, frozen=True):
    service: str
    version: str
    urgency: str
    reversible: bool
    withdrawn: str | None
    notes: str
    pinned_in: list[str]
    """Environments, of those that the caller sees."""


class ReleasesShape(Struct, frozen=True):
    revision: str | None
    releases: list[ReleaseShape]
    next: str | None


class NoteShape(Struct, frozen=True):
    version: str
    notes: str
    withdrawn: str | None


class GainShape(Struct, frozen=True):
    service: str
    from_: str | None = field(name="from")
    to: str
    releases: list[NoteShape]


class NotesShape(Struct, frozen=True):
    environment: str | None
    from_revision: str | None
    to_revision: str | None
    services: list[GainShape]


class After(Struct, frozen=True):
    service: str
    version: str


async def _releases(daemon: Daemon, asked: AskedReleases, caller: Caller) -> object:
    tip = daemon.fleet.tip
    if tip is None:
        return {"revision": None, "releases": [], "next": None}
    snapshot = await asyncio.to_thread(daemon.core.repository.snapshot, tip)
    after = cursor.read(asked.cursor, After)
    found = [
        release
        for release in _ordered(snapshot)
        if asked.service in (None, release.service) and _sees(daemon, caller, release.service)
    ]
    if after is not None:
        keys = [(one.service, one.version.text) for one in found]
        at = (after.service, after.version)
        # A release that is gone: on with the next service.
        start = keys.index(at) + 1 if at in keys else sum(one.service <= after.service for one in found)
        found = found[start:]
    shown, rest = found[: asked.limit], found[asked.limit :]
    return {
        "revision": tip,
        "releases": [_release(one, snapshot, caller) for one in shown],
        "next": cursor.written(After(shown[-1].service, shown[-1].version.text)) if rest else None,
    }


async def _notes(daemon: Daemon, asked: AskedNotes, caller: Caller) -> object:
    by_place = asked.environment is not None and asked.since is not None
    by_range = asked.service is not None and asked.from_ is not None
    if by_place == by_range or (by_place and (asked.from_ or asked.to)):
        raise BadRequest(
            "ask of a service between versions, or of an environment since a commit",
            "send `service` and `from`, or `environment` and `since`",
        )
    if asked.service is not None and not _sees(daemon, caller, asked.service):
        raise Missing(f"there is no release of {asked.service[:100]}", "see /releases")
    tip = daemon.fleet.tip
    if tip is None:
        raise Missing("nothing has been fetched yet", "ask again in a moment")
    repository = daemon.core.repository
    if by_range:
        snapshot = await asyncio.to_thread(repository.snapshot, tip)
        low, high = _version(asked.from_ or ""), _version(asked.to) if asked.to else None
        gains = [notes.in_range(snapshot, asked.service or "", low, high)]
    else:
        gains = await asyncio.to_thread(
            notes.since, repository, asked.environment or "", asked.since or "", tip
        )
        gains = [
            one
            for one in gains
            if asked.service in (None, one.service)
            and sees_part_of(caller, Place(asked.environment, one.service))
        ]
    about = {"environment": asked.environment, "from_revision": asked.since, "to_revision": tip}
    return about | {"services": [notes.gain_json(one) for one in gains]}


def _sees(daemon: Daemon, caller: Caller, service: str) -> bool:
    return any(sees_part_of(caller, Place(name, service)) for name in daemon.fleet.passes)


def _ordered(snapshot: Snapshot) -> list[Release]:
    """By service, newest first."""
    newest = sorted(snapshot.releases.values(), key=lambda one: one.version, reverse=True)
    return sorted(newest, key=lambda one: one.service)


def _release(release: Release, snapshot: Snapshot, caller: Caller) -> Json:
    return {
        "service": release.service,
        "version": release.version.text,
        "urgency": release.upgrade.urgency,
        "reversible": release.reversible,
        "withdrawn": release.withdrawn.reason if release.withdrawn else None,
        "notes": release.notes,
        "pinned_in": [
            name
            for name, one in sorted(snapshot.environments.items())
            if (pin := one.pins.get(release.service))
            and pin.version == release.version
            and sees_part_of(caller, Place(name, release.service))
        ],
    }


def _version(text: str) -> Version:
    try:
        return Version(text)
    except ValueError as error:
        raise BadRequest(str(error), "write a version in full") from error


def _everywhere(_daemon: Daemon, asked: AskedNotes) -> Place:
    return Place(asked.environment, asked.service if asked.environment else None)


ENDPOINTS: tuple[Endpoint[Any], ...] = (
    Endpoint(
        "GET",
        "/releases",
        "The releases in force.",
        "see",
        AskedReleases,
        _releases,
        part=True,
        place=lambda _daemon, _asked: Place(),
        answers=ReleasesShape,
    ),
    Endpoint(
        "GET",
        "/releases/notes",
        "What came between two versions, or since a commit.",
        "see",
        AskedNotes,
        _notes,
        part=True,
        place=_everywhere,
        answers=NotesShape,
    ),
)
