"""An environment: where services run, when they may change, and what is pinned."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

from reconciler.model.cron import Days
from reconciler.model.engines import Kind
from reconciler.model.errors import Place
from reconciler.model.release import AnyFlagValue, Rollout, Scalar, Strategy
from reconciler.model.reviews import Count
from reconciler.model.slots import Rule
from reconciler.model.targeting import FlagRule
from reconciler.model.version import Step, Version

PORT_MAX = 65_535
ChangeClass = Literal["major", "minor", "patch", "config", "emergency", "initial", "rollback", "removal"]


class Window(Struct, frozen=True):
    """Open from each instant that `cron` names (in the environment's zone) for `duration_s` elapsed seconds.

    `days`: how its day of the month and day of the week go together, where it has both.
    """

    cron: str
    duration_s: float
    days: Days | None = None


Schedule = tuple[Window, ...] | Literal["manual"] | None
"""When a class may start: in windows, only when a person starts it, or (None) always."""


class Freeze(Struct, frozen=True, omit_defaults=True):
    """Nothing starts: between two dates (whole days, the last included) or from each `cron` instant on."""

    reason: str
    from_: str | None = field(default=None, name="from")
    until: str | None = None
    cron: str | None = None
    duration_s: float | None = None
    days: Days | None = None
    except_: tuple[ChangeClass, ...] = field(default=(), name="except")


class Promotion(Struct, frozen=True):
    """Only versions that have run healthily for `soak_s` seconds in the environment `from_` may come here.

    `by`: who moves the pin then; `nobody`: people do. `classes`, `services`: only those; no services: all pinned ones.
    """

    from_: str = field(name="from")
    soak_s: float = 0.0
    by: Literal["nobody", "pull-request", "commit"] = "nobody"
    classes: tuple[Step, ...] = ("major", "minor", "patch")
    services: tuple[str, ...] = ()


class RestoreData(Struct, frozen=True):
    """A backup may be brought back by itself, as long as it is at most `within_s` seconds old."""

    within_s: float


class Keeping(Struct, frozen=True, omit_defaults=True):
    """How many of a service's backups are kept, and for how long (seconds). The newest good one always is."""

    keep: int = 5
    for_s: float = 30 * 86400.0


class Policy(Struct, frozen=True, omit_defaults=True):
    revert: Literal["push", "pull-request", "off"] = "push"
    parallel: int = 4
    rollback_within_s: float = 7 * 86400.0
    approvals: dict[ChangeClass, int] = {}
    """How many people must approve a change of each class: config follows patch, removal follows major."""
    four_eyes: bool = False
    """Whoever wrote the commit that moved the pin does not approve it."""
    reviews: Count = "ignored"
    """Whether approving reviews on the forge are approvals."""
    promote: Promotion | None = None
    atomic: bool = False
    """Pins that one commit moved share their fate: when one fails, all of them go back."""
    zero_minor: Literal["major", "minor"] = "major"
    """What a minor step below 1.0.0 counts as."""
    restore_data: RestoreData | None = None
    backups: Keeping = Keeping()
    drift: Literal["correct", "report"] = "correct"
    """What becomes of what somebody changed by hand: it is made as it was, or only told."""
    slots: Rule | None = None
    """What every upgrade needs a slot of."""
    flags: Literal["always", "window"] = "always"
    """When live flags are switched: as soon as a commit says so, or not before a window for `config` is open."""
    prune: bool = False
    """Stop a service whose pin was removed; otherwise it runs on."""


class DriverChoice(Struct, frozen=True, omit_defaults=True):
    """Which driver runs this environment. `options`: what else its file says of it; only the driver knows what."""

    kind: Kind
    options: dict[str, Any] = {}


class Progressive(Struct, frozen=True, omit_defaults=True):
    """How hosts move: spread over `progressive_s` seconds in which windows are open; none: all at once.

    `failures`: how many hosts have to fail before the pin goes back.
    """

    progressive_s: float = 0.0
    failures: int = 1


class Bump(Struct, frozen=True, omit_defaults=True):
    """Who is asked for newer versions of a pinned service, of which a pull request is made. `range`: which count.

    `group`: pins of one environment that share one pull request. `repository`: whose tags, for `git-tags`.
    """

    from_: Literal["releases", "registry", "git-tags"] = field(name="from")
    range: str
    group: str | None = None
    repository: str | None = None


class Pin(Struct, frozen=True, gc=False, omit_defaults=True):
    """What an environment asks of one service. `place` is that of the pin's value in its file."""

    service: str
    version: Version
    place: Place
    instances: int = 1
    port: int | None = None
    strategy: Strategy | None = None
    rollout: Rollout | None = None
    config: dict[str, Scalar] = {}
    allow_downgrade: bool = False
    bump: Bump | None = None
    """None: nobody looks for newer versions."""

    @property
    def plain(self) -> bool:
        """Whether it asks for nothing but a version: then its release alone says what runs."""
        return not self.config and self.instances == 1 and self.port is None and self.strategy is None


class FlagSetting(Struct, frozen=True, omit_defaults=True):
    """What one environment sets of a flag. `place` is that of the value in its file.

    `value`: for all to whom none of the rules gives one; None where that is the release's default.
    """

    value: AnyFlagValue | None
    place: Place
    rules: tuple[FlagRule, ...] = ()


class Environment(Struct, frozen=True, omit_defaults=True):
    """One environment, its files merged. A class that is absent from `windows`, or None there, is always open."""

    name: str
    driver: DriverChoice
    timezone: str | None = None
    windows: dict[ChangeClass, Schedule] = {}
    freezes: tuple[Freeze, ...] = ()
    policy: Policy = Policy()
    flags: dict[str, FlagSetting] = {}
    pins: dict[str, Pin] = {}
    hosts: tuple[str, ...] = ()
    """The machines that each run all of its services; none: whichever daemon holds its lease."""
    strategy: Progressive = Progressive()
    renamed_from: str | None = None
    """The name that it had before: what is remembered and runs under that one is its own."""
