"""The one sentence about a service or an upgrade that the log, the status and Slack all show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from reconciler.model.circumstances import Gate
from reconciler.model.gates import closed
from reconciler.model.observation import HealthState
from reconciler.model.plan import Change
from reconciler.model.target import Target, Workload
from reconciler.model.upgrade import Phase, Upgrade

DOING = {
    Phase.PLANNED: "is planned",
    Phase.WAITING: "waits",
    Phase.PREPARING: "is being prepared",
    Phase.APPLYING: "is being applied",
    Phase.VERIFYING: "is being verified",
    Phase.RESTORING: "is being taken back",
    Phase.REVERTING: "is taken back, and its pin is being reverted",
    Phase.SUCCEEDED: "succeeded",
    Phase.REVERTED: "failed, was taken back, and its pin is reverted",
    Phase.RESTORED: "failed and was taken back; Git is left alone",
    Phase.SUPERSEDED: "is superseded",
    Phase.CANCELLED: "is cancelled",
    Phase.STUCK: "is stuck and needs a person",
}
TAKEN_WITH = {
    Phase.REVERTED: "was taken back, and its pin is reverted",
    Phase.RESTORED: "was taken back; Git is left alone",
}
NAMED_MAX = 10


def count(number: int, noun: str) -> str:
    """`1 change`, `2 changes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def step(before: Target | None, after: Target | None) -> str:
    """`1.4.0 → 1.5.0`; with the digests where the version stays."""
    if before is None:
        return f"{after.version if after else 'nothing'} (first)"
    if after is None:
        return f"{before.version} → nothing"
    if before.version == after.version:
        return f"{before} → {after}"
    return f"{before.version} → {after.version}"


def title(upgrade: Upgrade) -> str:
    """`production: api 1.4.0 → 1.5.0`, the same through the whole upgrade."""
    before = upgrade.before.target if upgrade.before else None
    onward = f" on the way to {upgrade.goal.target.version}" if upgrade.goal else ""
    return f"{upgrade.environment}: {upgrade.service} {step(before, upgrade.to)}{onward}"


def of_move(upgrade: Upgrade) -> str:
    """What an upgrade is at, and why."""
    why = f": {upgrade.reason}" if upgrade.reason else ""
    blameless = upgrade.taken_with and not upgrade.failed
    doing = TAKEN_WITH.get(upgrade.phase) if blameless else None
    return f"{title(upgrade)} {doing or DOING[upgrade.phase]}{why}{_with(upgrade)}"


def _with(upgrade: Upgrade) -> str:
    """Who goes back with a failed upgrade; empty where nobody does."""
    names = [f"{one.service} {one.failed.version}" for one in upgrade.companions]
    if not names:
        return ""
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return f"; with it {'goes' if len(names) == 1 else 'go'} back {', '.join(names[:NAMED_MAX])}{more}"


def of_change(change: Change, gates: tuple[Gate, ...]) -> str:
    """Why a change has not started, or that it starts now."""
    after = change.after.target if change.after else None
    unproven = change.running == after
    before = change.before.target if change.before else None
    running = before if unproven else change.running or before
    onward = f" on the way to {change.to.version}" if change.to and change.to != after else ""
    head = f"{change.environment}: {change.service} {step(running, after)}{onward}"
    reasons = [gate.reason for gate in closed(gates)]
    return f"{head} waits: {'; '.join(reasons)}" if reasons else f"{head} starts now"


def of_drift(work: Workload, what: str, policy: Literal["correct", "report"]) -> str:
    """A service that somebody changed by hand. `policy`: the environment's `policy.drift`."""
    head = f"{work.environment}: {work.service} {work.target.version} was changed by hand: {what}"
    if policy == "report":
        return f"{head}; policy.drift is report, so it stays until someone pins that, or changes it back"
    return f"{head}; it is made as it was applied"


def of_rest(
    environment: str,
    service: str,
    running: Target | None,
    pinned: Target | None,
    health: HealthState,
    *,
    prune: bool,
) -> str:
    """A service of which nothing is to be changed. `prune`: whether the environment's policy says so."""
    head = f"{environment}: {service}"
    if running is None:
        return f"{head} does not run" + (f" and is being started again ({pinned.version})" if pinned else "")
    if pinned is None:
        off = "" if prune else "; policy.prune is off, so it runs on"
        return f"{head} {running.version} is no longer pinned{off}"
    if running != pinned:
        return f"{head} {running.version} runs, and {pinned.version} is pinned"
    return f"{head} {running.version} runs as pinned" + (f" and is {health}" if health != "unknown" else "")


def migrating(saved: bool, migrations: Sequence[dict[str, Any]]) -> str:
    """What would be done with a service's data, as one phrase; empty when nothing would."""
    told = [
        f"{one['id']} ({one['phase']}{'' if one['reversible'] else ', cannot be undone'}, {one['version']})"
        for one in migrations
    ]
    parts = [*(["saved first"] if saved else []), *([f"changed by {', '.join(told)}"] if told else [])]
    return "; ".join(parts)


def switching(flags: Sequence[dict[str, Any]]) -> str:
    """Which flags change their values, as one phrase; empty when none does."""
    return ", ".join(f"{one['name']} {_flag(one['from'])} → {_flag(one['to'])}" for one in flags)


def _flag(value: Any) -> str:
    return "undeclared" if value is None else json.dumps(value, ensure_ascii=False)
