"""What the gates look at beside the change itself, and what each of them answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from reconciler.model.environment import ChangeClass, Environment
from reconciler.model.observation import Observation
from reconciler.model.permits import Permits
from reconciler.model.target import Target
from reconciler.model.version import Version


class Gate(Struct, frozen=True):
    """One gate. `until`: when a closed one opens by itself, None when only `opened_by` can."""

    gate: str
    open: bool
    reason: str = ""
    until: datetime | None = None
    opened_by: str = ""


class Asked(Struct, frozen=True):
    """The commit that asked for a change, and what stood before it."""

    revision: str
    authors: tuple[str, ...] | None = None
    """Names and addresses of those who wrote it; None when they are not known."""
    before: Environment | None = None
    """The environment as it stood before that commit."""
    since: Environment | None = None
    """The environment as that commit left it."""
    urgency: str | None = None
    """The release's, as it stood in that commit; a later edit counts for nothing."""


class Promoted(Struct, frozen=True):
    """What is last-good of one service in the environment that comes before, and since when."""

    version: Version
    since: datetime


class Circumstances(Struct, frozen=True):
    """What the gates of one environment look at, beside the change itself."""

    environment: Environment
    observed: Mapping[str, Observation]
    quarantined: Mapping[tuple[str, Target], str]
    """(service, target) -> why and by which operation."""
    busy: frozenset[str]
    """Services whose upgrade is under way."""
    fetched_at: datetime | None
    max_stale_s: float
    initials: int
    """How many first deployments this plan holds."""
    first_accepted: bool
    gone: bool = False
    """The repository has the environment no longer."""
    unwanted: frozenset[str] = frozenset()
    """Services that run, or waited to be removed, and are to be stopped."""
    parked: Mapping[str, tuple[str, datetime]] = {}
    """By service: the host's own trouble, and when it is tried again."""
    refused: Mapping[str, str] = {}
    """By service: why no order of the changes keeps every requirement."""
    after: Mapping[str, frozenset[str]] = {}
    """By service: those whose changes come first."""
    permits: Permits = Permits()
    floor: Mapping[ChangeClass, int] = {}
    """Approvals that the daemon's configuration demands, whatever the repository says."""
    asked: Mapping[str, Asked] = {}
    promoted: Mapping[str, Promoted] = {}
    expected_s: Mapping[str, float] = {}
    """By service: how long the upgrade is expected to take."""
