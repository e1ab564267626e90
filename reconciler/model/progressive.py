"""When each host has its turn: a pure function of its name, the rollout's start, the windows and the time."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from reconciler.model.environment import ChangeClass, Environment
from reconciler.model.hosts import STATES_TOLD, Rollout
from reconciler.model.target import Target
from reconciler.model.window import FOREVER, Opening, frozen, opening

STEPS_MAX = 2_000
"""Openings and closings that are looked at to find one turn: a window a day for more than two years."""


def place(host: str, operation: str) -> float:
    """In [0, 1): where the host stands in this rollout, and in no other."""
    digest = hashlib.sha256(f"{operation}\0{host}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def due(
    environment: Environment, change_class: ChangeClass, start: datetime, open_s: float
) -> datetime | None:
    """The instant at which changes of this class could have started for `open_s` seconds since `start`.

    None when the calendar never gets there, or not within the openings that are looked at.
    """
    at, left = start, timedelta(seconds=open_s)
    for _ in range(STEPS_MAX):
        window, freeze = (look(environment, change_class, now=at) for look in (opening, frozen))
        if window.open and freeze.open:
            end = min(window.until or FOREVER, freeze.until or FOREVER)
            if end == FOREVER or at + left <= end:
                return at + left
            at, left = end, left - (end - at)
        else:
            shut = [state.until for state in (window, freeze) if not state.open]
            if any(until is None for until in shut):
                return None
            at = max(until for until in shut if until is not None)
    return None


def turn(
    environment: Environment, rollout: Rollout | None, operation: str, *, host: str, to: Target, now: datetime
) -> Opening:
    """The gate `rollout` of one host for a change to `to`. `operation`: of the rollout that must have begun."""
    if rollout is None or rollout.operation != operation:
        if rollout and rollout.state != "succeeded" and rollout.from_ == to:
            return Opening(True, f"{to.version} is what ran on every host", None, "")
        holder = f"the daemon that holds the lease of {environment.name}"
        return Opening(
            False, f"{holder} has not begun its rollout", None, f"{holder}, once its gates are open"
        )
    named = f"the rollout of {to.version}"
    if rollout.state == "succeeded":
        return Opening(True, f"{named} has reached every host", None, "")
    if rollout.state != "running":
        again = f"ugs retry {environment.name} {rollout.service}, or another pin"
        return Opening(False, f"{named} {STATES_TOLD[rollout.state]}: {rollout.reason}", None, again)
    if rollout.first == host:
        return Opening(True, f"{host} goes first: it sees to the data", None, "")
    if rollout.first and not rollout.proven:
        reason = f"{rollout.first} goes first, for it sees to the data, and is not done yet"
        return Opening(False, reason, None, f"{rollout.first}, or another pin")
    at = place(host, operation)
    length_s = environment.strategy.progressive_s
    mine = due(environment, rollout.change_class, rollout.started_at, at * length_s)
    where = f"{host} is at {at:.3f} of {named}"
    if mine is not None and now >= mine:
        return Opening(True, where, None, "")
    if mine is None:
        return Opening(
            False,
            f"{where}, and the calendar does not get there",
            None,
            "a commit that changes the environment",
        )
    return Opening(False, f"{where}, which began on {rollout.by}", mine, "the calendar")
