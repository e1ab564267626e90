"""Instants as people read them: how long ago or ahead, and when by the environment's clocks."""

from __future__ import annotations

from datetime import datetime, timedelta

from markupsafe import Markup

from reconciler.model.zone import local_text

STEPS = ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h"), (float("inf"), 86_400, "d"))
"""Up to so many seconds, in units of so many, which are called so. static/live.js counts alike."""


def relative(at: datetime, now: datetime) -> str:
    """`3 min ago`, `in 2 h`, `now`."""
    seconds = (now - at).total_seconds()
    length = abs(seconds)
    if length < 1:
        return "now"
    _, unit, name = next(step for step in STEPS if length < step[0])
    text = f"{int(length // unit)} {name}"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def moment(at: datetime | None, zone: str, *, now: datetime) -> Markup:
    """A `time` element with both. None is an instant that nobody knows."""
    if at is None:
        return Markup("-")
    return Markup(
        '<time datetime="{}" title="{}"><span class="ago">{}</span> <span class="at">{}</span></time>'
    ).format(at.isoformat(), local_text(at, zone), relative(at, now), short(at, zone, now))


def short(at: datetime, zone: str, now: datetime) -> str:
    """The same without what is plain: the year where it is this one."""
    text = local_text(at, zone)
    return text.replace(f"{now.year}-", "", 1) if at.year == now.year else text


def lasting(length: timedelta | float | None) -> str:
    """`1.2 s`, `4 min 10 s`, `2 h 5 min`."""
    if length is None:
        return "-"
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def seconds(length_s: float | None) -> str:
    """A latency: `850 µs`, `12 ms`, `1.25 s`; nothing is shown as `-`."""
    if length_s is None:
        return "-"
    if length_s < 0.001:
        return f"{length_s * 1e6:.0f} µs"
    return f"{length_s * 1e3:.3g} ms" if length_s < 0.9995 else f"{length_s:.2f} s"
