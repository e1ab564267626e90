"""Release notes out of the mirror: between two versions of a service, and since a commit in an environment."""

from __future__ import annotations

from typing import Any

from reconciler.engine.people import Conflict
from reconciler.engine.repository import Repository
from reconciler.model.notes import Gain, between, catalogue, gains
from reconciler.model.snapshot import Snapshot
from reconciler.model.version import Version


def in_range(snapshot: Snapshot, service: str, low: Version, high: Version | None) -> Gain:
    """What lies between two versions, the second by default the newest. Raises Conflict."""
    known = catalogue(snapshot.releases.values())
    if service not in known:
        raise Conflict(
            f"there is no release of {service}", f"there are {', '.join(sorted(known)[:50]) or 'none'}"
        )
    high = high or known[service][0].version
    return Gain(service, low, high, between(known, service, low, high))


def since(repository: Repository, environment: str, revision: str, tip: str) -> list[Gain]:
    """Blocking. What an environment got after a commit of the branch. Raises Conflict."""
    if not repository.mirror.has(revision) or not repository.mirror.is_ancestor(revision, tip):
        raise Conflict(f"{revision[:12]} is not on the branch", "name a commit of it in full")
    snapshot = repository.snapshot(tip)
    place = snapshot.environments.get(environment)
    if place is None:
        raise Conflict(
            f"there is no environment {environment} that can be used", "see `errors` of the status"
        )
    was = repository.snapshot(revision).environments.get(environment)
    return gains(catalogue(snapshot.releases.values()), was, place)


def gain_json(gain: Gain) -> dict[str, Any]:
    """As `ugs notes --json` prints it."""
    releases = [
        {
            "version": release.version.text,
            "notes": release.notes,
            "withdrawn": release.withdrawn.reason if release.withdrawn else None,
        }
        for release in gain.releases
    ]
    return {
        "service": gain.service,
        "from": gain.before.text if gain.before else None,
        "to": gain.after.text,
        "releases": releases,
    }
