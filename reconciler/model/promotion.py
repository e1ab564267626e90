"""Which pins of an environment are moved to what has soaked in the environment before it, and why others are not yet.

Pure. A train is a chain of environments, each of which takes by its own policy what ran healthily in the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model import permits as said
from reconciler.model.circumstances import Promoted
from reconciler.model.environment import Environment, Pin, Promotion
from reconciler.model.permits import Permits
from reconciler.model.range import Range
from reconciler.model.release import Release
from reconciler.model.rules import soaked
from reconciler.model.version import Version, step_between
from reconciler.model.window import frozen


class Stage(Struct, frozen=True):
    """One environment of a train, as far as it is known."""

    name: str
    proved: Mapping[str, Promoted] = {}
    """By service: what is last-good."""
    failed: Mapping[tuple[str, str], str] = {}
    """By service and version, in quarantine: why."""
    pins: Mapping[str, Version] = {}
    unknown: str = ""
    """Why it cannot be said what soaked or failed there; empty where it can."""


class Train(Struct, frozen=True):
    """What is looked at to decide about the pins of one environment."""

    place: Environment
    here: Stage
    stages: tuple[Stage, ...]
    """Those before it, the nearest first."""
    releases: Mapping[str, Mapping[Version, Release]]
    permits: Permits = Permits()
    busy: frozenset[str] = frozenset()
    """Services whose upgrade has begun here."""
    blind: frozenset[str] = frozenset()
    """Services whose pin cannot be read now."""
    refused: Mapping[tuple[str, str], str] = {}
    """By service and version: why it is never pinned here by itself."""


class Shut(Struct, frozen=True):
    """Why a pin is not moved, or not yet; `until` when, where that is known. `moot`: nobody should be asked for it."""

    why: str
    until: datetime | None = None
    moot: bool = False


class Verdict(Struct, frozen=True):
    """What becomes of one pin. `to`: what it might be moved to, None where there is nothing newer."""

    service: str
    pinned: Version
    to: Version | None = None
    why: str = ""
    """Why it is not moved, or not yet; empty: it is due."""
    until: datetime | None = None
    """When that ends by itself; None where it does not, or nobody knows."""
    since: datetime | None = None
    """Since when `to` has been healthy in the environment before."""
    moot: bool = False
    """Nobody should be asked for `to` either."""
    unknown: bool = False
    """It cannot be said what has proved healthy in the environment before."""

    @property
    def due(self) -> bool:
        return self.to is not None and not self.why

    @property
    def key(self) -> tuple[str, str]:
        return self.service, str(self.to)


def decide(train: Train, *, now: datetime) -> dict[str, Verdict]:
    """By service, sorted: what becomes of every pin of an environment whose policy takes promotions."""
    rule = train.place.policy.promote
    if rule is None or rule.by == "nobody":
        return {}
    alone = {service: _alone(train, rule, pin, now=now) for service, pin in sorted(train.place.pins.items())}
    return _together(train, alone)


def _alone(train: Train, rule: Promotion, pin: Pin, *, now: datetime) -> Verdict:
    """Whether one pin is due, whatever it needs and whoever needs it."""
    before, service = train.stages[0], pin.service
    found, unknown = before.proved.get(service), bool(before.unknown)
    if found is None:
        why = before.unknown or f"nothing of it has proved healthy in {rule.from_}"
        return Verdict(service, pin.version, why=why, unknown=unknown)
    if found.version <= pin.version:
        what = (
            "runs there too"
            if found.version == pin.version
            else f"is newer than {found.version}, which runs there"
        )
        return Verdict(service, pin.version, why=f"{pin.version} {what}", unknown=unknown)
    verdict = Verdict(service, pin.version, found.version, since=found.since, unknown=unknown)
    for look in _LOOKS:
        if shut := look(train, rule, pin, found, now):
            return replace(verdict, why=shut.why, until=shut.until, moot=shut.moot)
    return verdict


Look = Callable[[Train, Promotion, Pin, Promoted, datetime], Shut | None]


def _scope(train: Train, rule: Promotion, pin: Pin, found: Promoted, _now: datetime) -> Shut | None:
    release = train.releases.get(pin.service, {}).get(found.version)
    step = step_between(pin.version, found.version, zero_minor=train.place.policy.zero_minor)
    why = ""
    if rule.services and pin.service not in rule.services:
        why = "policy.promote.services leaves it to people"
    elif release is None:
        why = f"there is no release {found.version} in the repository"
    elif release.withdrawn:
        why = f"{found.version} is withdrawn: {release.withdrawn.reason}"
    elif found.version.parts.prerelease and not pin.version.parts.prerelease:
        why = f"{found.version} is a pre-release, which is left to people"
    elif step not in rule.classes:
        why = f"{found.version} is a {step} step, and policy.promote.classes leaves those to people"
    elif pin.service in train.blind:
        return Shut("its pin cannot be used (see the errors)")
    return Shut(why, moot=True) if why else None


def _failures(train: Train, _rule: Promotion, pin: Pin, found: Promoted, _now: datetime) -> Shut | None:
    for stage in (train.here, *train.stages):
        if why := stage.failed.get((pin.service, found.version.text)):
            again = f"`ugs retry {stage.name} {pin.service}` tries it once more"
            return Shut(f"{found.version} is in quarantine in {stage.name} ({why}); {again}", moot=True)
    for stage in (train.here, *train.stages):
        if stage.unknown:
            return Shut(stage.unknown)
    why = train.refused.get((pin.service, found.version.text))
    return Shut(why, moot=True) if why else None


def _before(train: Train, rule: Promotion, pin: Pin, found: Promoted, now: datetime) -> Shut | None:
    """How it stands in the environment before."""
    there = train.stages[0].pins.get(pin.service)
    if there is None or there < found.version:
        return Shut(f"{found.version} is pinned in {rule.from_} no longer", moot=True)
    state = soaked(found, rule, said.zone_of(train.place), now=now)
    return None if state.open else Shut(state.reason, state.until)


def _here(train: Train, _rule: Promotion, pin: Pin, found: Promoted, now: datetime) -> Shut | None:
    """What keeps anything from being asked for here at this moment."""
    held = said.hold_gate(train.permits, train.place, pin.service, now=now)
    if not held.open:
        return Shut(held.reason, held.until)
    release = train.releases[pin.service][found.version]
    urgent = release.upgrade.urgency == "emergency"
    step = step_between(pin.version, found.version, zero_minor=train.place.policy.zero_minor)
    still = frozen(train.place, "emergency" if urgent else step, now=now)
    if not still.open:
        return Shut(still.reason, still.until)
    return Shut("its upgrade is under way") if pin.service in train.busy else None


_LOOKS: tuple[Look, ...] = (_scope, _failures, _before, _here)


def _together(train: Train, verdicts: dict[str, Verdict]) -> dict[str, Verdict]:
    """What is due, less what would break a requirement: one move after another is left out until all hold."""
    verdicts = dict(verdicts)
    while conflict := next(_conflicts(train, verdicts), None):
        verdicts[conflict.service] = conflict
    return verdicts


def _conflicts(train: Train, verdicts: Mapping[str, Verdict]) -> Iterator[Verdict]:
    """First what lacks something that it needs, then what would be taken from others."""
    old = {service: pin.version for service, pin in train.place.pins.items()}
    moving = {service: one.to for service, one in verdicts.items() if one.to and one.due}
    new, takers = old | moving, list[Verdict]()
    for holder, version in sorted(new.items()):
        release = train.releases.get(holder, {}).get(version)
        for needed, wanted in sorted(release.requires.items()) if release else ():
            if _met(new.get(needed), wanted):
                continue
            if needed in moving and _met(old.get(needed), wanted):
                why = f"{holder} {version} needs {needed} {wanted}"
                takers.append(replace(verdicts[needed], why=why))
            elif holder in moving:
                yield _lacking(train, verdicts, holder, needed, wanted)
    yield from takers


def _lacking(train: Train, verdicts: Mapping[str, Verdict], holder: str, needed: str, wanted: str) -> Verdict:
    pinned, other = train.place.pins.get(needed), verdicts.get(needed)
    have = f"{pinned.version} is pinned here" if pinned else "it is not pinned here"
    more = f" ({needed} {other.to} is not moved yet: {other.why})" if other and other.to and other.why else ""
    until = other.until if other and other.to else None
    return replace(verdicts[holder], why=f"it needs {needed} {wanted}, and {have}{more}", until=until)


def _met(version: Version | None, wanted: str) -> bool:
    return version is not None and Range.parse(wanted).contains(version)


def due(verdicts: Mapping[str, Verdict]) -> tuple[Verdict, ...]:
    """Those whose pins are to be moved now, by service."""
    return tuple(one for one in verdicts.values() if one.due)


def groups(train: Train, moves: Collection[Verdict]) -> list[tuple[Verdict, ...]]:
    """The same moves, those together that need one another, each group by service."""
    by_service = {one.service: one for one in moves}
    parties = {service: {service} for service in by_service}
    for one in moves:
        known = train.releases.get(one.service, {})
        both = (known.get(version) for version in (one.pinned, one.to) if version)
        for needed in {name for release in both if release for name in release.requires}:
            if needed in parties and parties[needed] is not parties[one.service]:
                joined = parties[needed] | parties[one.service]
                parties |= dict.fromkeys(joined, joined)
    chosen = sorted({tuple(sorted(party)) for party in parties.values()})
    return [tuple(by_service[service] for service in party) for party in chosen]


def moot(ask: Verdict | None, version: str) -> str:
    """Why a pull request should ask for this version no more, by what was found of its pin; empty where it may."""
    if ask is None:
        return "it is pinned, or promoted, no longer"
    try:
        asked = Version(version)
    except ValueError:
        return f"{version} is no version"
    if asked <= ask.pinned:
        return f"{ask.service} is pinned to {ask.pinned} by now"
    overtaken = (ask.to is None or ask.to < asked) and not ask.unknown
    if overtaken or (ask.to == asked and ask.moot):
        return f"{ask.service} {version} comes no more: {ask.why}"
    return ""
