"""The judge of one verification: from a series of probe results to healthy, failed or unknown.

A series is fed one outcome at a time, in the order in which they end, and may be judged at any
instant. Time passes between outcomes too: `Judgement.next_at` says when to ask again at the latest.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from reconciler.model.observation import Sample, Verdict
from reconciler.model.release import Health, Probe

EVIDENCE_MAX = 5

Key = tuple[int, str]
"""(instance index, probe name)."""


class Outcome(Struct, frozen=True):
    """One probe's result on one instance. `silent`: it failed because nothing answered yet."""

    instance: int
    sample: Sample
    silent: bool = False


class Judgement(Struct, frozen=True):
    """`verdict` None: go on. `evidence`: the last failed samples that speak for the verdict."""

    verdict: Verdict | None
    sentence: str
    evidence: tuple[Sample, ...] = ()
    next_at: datetime | None = None
    """When to judge again at the latest, whether or not a sample came; None once there is a verdict."""


class Track(Struct, frozen=True):
    """What one probe of one instance has said so far."""

    latest: Sample
    healthy_since: datetime | None = None
    """When its present, unbroken healthy run began."""
    was_healthy: bool = False
    failures: int = 0
    """Consecutive failures that count: silence does not before the first healthy sample; unknown skips."""
    spell: tuple[Sample, ...] = ()
    """The last failed samples of the present or, while healthy, the previous bad spell."""


class Series(Struct, frozen=True):
    """One verification. `expected` are the probes that must prove healthy, `process` among them."""

    health: Health
    began: datetime
    expected: frozenset[Key]
    tracks: dict[Key, Track] = {}
    seen_at: datetime | None = None
    extended: bool = False
    """The deadline passed with nothing but unknown, so it was put off, once, by its own length."""
    settled: Judgement | None = None
    """The verdict, once there is one: it stands, and later outcomes change nothing."""


def begin(health: Health, began: datetime, expected: frozenset[Key]) -> Series:
    """A series without samples. Raises ValueError when nothing is expected: that would prove nothing."""
    if not expected:
        raise ValueError("a verification needs at least one probe")
    return Series(health=health, began=began, expected=expected)


def step(series: Series, outcome: Outcome) -> Series:
    """The series with one more outcome; outcomes of one instant may come in any order."""
    at, key = outcome.sample.at, (outcome.instance, outcome.sample.probe)
    if series.seen_at is None or at > series.seen_at:
        series = _settle(series, at)
    if series.settled or key not in series.expected:
        return series
    track = _follow(series.tracks.get(key), outcome)
    return msgspec.structs.replace(series, tracks=series.tracks | {key: track})


def judge(series: Series, now: datetime) -> Judgement:
    """What the series proves at `now`, which is not before its last sample."""
    if series.settled:
        return series.settled
    return (
        _failed_outright(series)
        or _failed_by_deadline(series, now)
        or _soaked(series, now)
        or _given_up(series, now)
        or _waiting(series, now)
    )


def _settle(series: Series, now: datetime) -> Series:
    """Fix what the time up to `now` has decided, before anything new is recorded."""
    judgement = judge(series, now)
    return msgspec.structs.replace(
        series,
        seen_at=now,
        extended=_put_off(series, now),
        settled=judgement if judgement.verdict else None,
    )


def _follow(track: Track | None, outcome: Outcome) -> Track:
    sample = outcome.sample
    if track is None:
        track = Track(latest=sample)
    if sample.verdict == "healthy":
        since = track.healthy_since or sample.at
        return Track(latest=sample, healthy_since=since, was_healthy=True, spell=track.spell)
    spell = () if track.healthy_since else track.spell
    if sample.verdict == "unknown":
        return Track(sample, None, track.was_healthy, track.failures, spell)
    counts = track.was_healthy or not outcome.silent
    return Track(sample, None, track.was_healthy, track.failures + counts, (*spell, sample)[-EVIDENCE_MAX:])


def _failed_outright(series: Series) -> Judgement | None:
    limits = {probe.name: probe.failures for probe in series.health.probes}
    for key in sorted(series.tracks):
        track = series.tracks[key]
        if track.failures >= limits.get(key[1], Probe().failures):
            detail = track.spell[-1].detail
            sentence = f"{_named(series, key)} failed {track.failures} times in a row: {detail}"
            return Judgement("failed", sentence, track.spell)
    return None


def _failed_by_deadline(series: Series, now: datetime) -> Judgement | None:
    deadline = _deadline(series, now)
    if now < deadline:
        return None
    for key in sorted(_unproven(series, deadline)):
        track = series.tracks.get(key)
        if track and track.spell:
            within = f"within {(deadline - series.began).total_seconds():g} s"
            sentence = f"{_named(series, key)} did not prove healthy {within}: {track.spell[-1].detail}"
            return Judgement("failed", sentence, track.spell)
    return None


def _soaked(series: Series, now: datetime) -> Judgement | None:
    """Healthy, or on the way: every probe is healthy now, and became so in time."""
    if _unproven(series, _deadline(series, now)):
        return None
    began = max(track.healthy_since for track in series.tracks.values() if track.healthy_since)
    ends = began + timedelta(seconds=series.health.soak_s)
    soak = f"{series.health.soak_s:g} s"
    if all(track.latest.at >= ends for track in series.tracks.values()):
        return Judgement("healthy", f"healthy for {soak}: {_counted(series)}")
    stale_at = ends + timedelta(seconds=series.health.deadline_s)
    if now >= stale_at:
        return Judgement(
            "unknown", f"healthy when last probed, but not probed since the soak of {soak} ended"
        )
    passed = f"{(min(now, ends) - began).total_seconds():.0f} s"
    return Judgement(None, f"healthy, soaking: {passed} of {soak}", next_at=ends if now < ends else stale_at)


def _given_up(series: Series, now: datetime) -> Judgement | None:
    deadline = _deadline(series, now)
    if now < deadline:
        return None
    within = f"{(deadline - series.began).total_seconds():g} s"
    return Judgement("unknown", f"nothing could be proved within {within}: {_doubt(series, deadline)}")


def _waiting(series: Series, now: datetime) -> Judgement:
    deadline = _deadline(series, now)
    return Judgement(None, f"not healthy yet: {_doubt(series, deadline)}", next_at=deadline)


def _deadline(series: Series, now: datetime) -> datetime:
    """By when all must have become healthy."""
    return series.began + timedelta(seconds=series.health.deadline_s) * (2 if _put_off(series, now) else 1)


def _put_off(series: Series, now: datetime) -> bool:
    """Whether the deadline is extended: it passed, and nothing but unknown stood against a verdict."""
    deadline = series.began + timedelta(seconds=series.health.deadline_s)
    if series.extended or now < deadline:
        return series.extended
    unproven = _unproven(series, deadline)
    return bool(unproven) and not any(key in series.tracks and series.tracks[key].spell for key in unproven)


def _unproven(series: Series, deadline: datetime) -> list[Key]:
    """The probes whose present healthy run, if any, began too late."""
    return [key for key in series.expected if not _healthy_by(series.tracks.get(key), deadline)]


def _healthy_by(track: Track | None, deadline: datetime) -> bool:
    return track is not None and track.healthy_since is not None and track.healthy_since <= deadline


def _doubt(series: Series, deadline: datetime) -> str:
    """The first probe that is not proven, and its last words."""
    key = min(_unproven(series, deadline))
    track = series.tracks.get(key)
    return f"{_named(series, key)}: {track.latest.detail if track else 'not probed yet'}"


def _named(series: Series, key: Key) -> str:
    several = len({index for index, _ in series.expected}) > 1
    return f"instance {key[0]}: {key[1]}" if several else key[1]


def _counted(series: Series) -> str:
    probes, instances = (
        len({name for _, name in series.expected}),
        len({index for index, _ in series.expected}),
    )
    return f"{probes} probe{'s' * (probes > 1)}, {instances} instance{'s' * (instances > 1)}"
