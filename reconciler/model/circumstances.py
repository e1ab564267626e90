"""What the gates look at beside the change itself, and what each of them answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from reconciler.model.environment import ChangeClass, Environment
from reconciler.model.hosts import Rollout
from reconciler.model.lease import OPEN
from reconciler.model.observation import Observation
from reconciler.model.permits import Permits
from reconciler.model.recovery import Recovery
from reconciler.model.target import Target
from reconciler.model.version import Version
from reconciler.model.window import Opening


class Gate(Struct, frozen=True, gc=False):
    """One gate. `until`: when a closed one opens by itself, None when only `opened_by` can."""

    gate: str
    open: bool
    reason: str = ""
    until: datetime | None = None
    opened_by: str = ""


class Earlier(Struct, frozen=True):
    """An environment's rules (its pins aside) at an earlier moment; `when` says which, in words."""

    when: str
    environment: Environment


BEFORE_PUSH = "before the push that moved the pin"
BEFORE_COMMIT = "before the commit that moved the pin"
AT_COMMIT = "in the commit that moved the pin"


class Asked(Struct, frozen=True, gc=False):
    """The commit that asked for a change, and the rules by which the change is judged beside those of now."""

    revision: str
    authors: tuple[str, ...] | None = None
    """Names and addresses of those who wrote it; None when they are not known."""
    earlier: tuple[Earlier, ...] = ()
    """The rules up to the push that brought the commit, where they were others than it left."""
    pinned: frozenset[str] = frozenset()
    """What was pinned before that push."""
    left_out: frozenset[str] = frozenset()
    """Of that, what was pinned no longer after it."""
    since: Environment | None = None
    """The environment as that push left it; as the commit left it, where it is not known what was pushed with it."""
    urgency: str | None = None
    """The release's, as it stood in that commit; a later edit counts for nothing."""
    base: str = ""
    """What stood before the push that brought it, else its first parent; empty where it has none."""
    strange: str = ""
    """Which release on the way is by someone who may not move the environment; empty for none."""


class Promoted(Struct, frozen=True):
    """What is last-good of one service in the environment that comes before, and since when it has been healthy."""

    version: Version
    since: datetime
    ill: str = ""
    """Why it does not count as healthy now; empty while it does."""


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
    distrusted: Mapping[tuple[str, Target], Gate] = {}
    """(service, goal) -> the closed gate of what only commits ask for that are not trusted."""
    refused: Mapping[str, str] = {}
    """By service: why no order of the changes keeps every requirement."""
    after: Mapping[str, frozenset[str]] = {}
    """By service: those whose changes come first."""
    taken_back: Mapping[str, str] = {}
    """By service: with what it is being taken back at this moment."""
    fate: Mapping[str, str] = {}
    """By service: what failed of the commit whose pins share their fate."""
    permits: Permits = Permits()
    floor: Mapping[ChangeClass, int] = {}
    """Approvals that the daemon's configuration demands, whatever the repository says."""
    asked: Mapping[str, Asked] = {}
    reviewed: Mapping[str, str] = {}
    """By service: what is to say of the reviews of the pull request by which its change came."""
    promoted: Mapping[tuple[str, str], Promoted] = {}
    """By environment and service."""
    recovery: Recovery | None = None
    """Safe mode: nothing starts, save what a later commit asked for."""
    later: frozenset[str] = frozenset()
    """Services whose pin was moved after safe mode began."""
    expected_s: Mapping[str, float] = {}
    """By service: how long the upgrade is expected to take."""
    lease: Opening = OPEN
    """Whether the environment, or this host's share of it, is this daemon's to act upon."""
    host: str = ""
    """The name of this machine, where the environment lists its hosts."""
    rollouts: Mapping[str, Rollout] = {}
    """By service, what was last published of its way to all hosts."""
