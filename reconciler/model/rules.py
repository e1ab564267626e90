"""The gates that an environment's file rules: asked of it as it stands, and as it stood before the push too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec.structs import replace

from reconciler.model import permits as said
from reconciler.model import removal
from reconciler.model.approvals import approval_gate, approvals_needed
from reconciler.model.availability import fits
from reconciler.model.circumstances import Asked, Circumstances, Gate, Promoted
from reconciler.model.environment import ChangeClass, Environment, Promotion
from reconciler.model.plan import Change
from reconciler.model.window import FOREVER, STARTER, Opening, frozen, opening
from reconciler.model.zone import local_text


def approval(change: Change, around: Circumstances, now: datetime) -> Gate:
    asked = around.asked.get(change.service) or Asked("")
    guard = removal.guard(change, around)
    floor = {**around.floor, "removal": max(1, around.floor.get("removal", 0))} if guard else around.floor

    def look(environment: Environment) -> Opening:
        kind = said.approval_class(change, zero_minor=environment.policy.zero_minor)
        if not approvals_needed(environment, kind, floor=floor):
            return Opening(True, f"{kind} changes need no approval", None, "")
        answer = approval_gate(
            around.permits,
            environment,
            said.ask_of(change, asked.revision, change.path),
            kind,
            floor=floor,
            authors=asked.authors,
            now=now,
            reviews=around.reviewed.get(change.service, ""),
        )
        return answer if answer.open or not guard else replace(answer, reason=f"{guard}: {answer.reason}")

    return _strictest("approval", change, around, look)


def promotion(change: Change, around: Circumstances, now: datetime) -> Gate:
    return _strictest("promotion", change, around, lambda place: _promoted(change, around, place, now))


def _promoted(change: Change, around: Circumstances, place: Environment, now: datetime) -> Opening:
    rule = place.policy.promote
    if rule is None or change.goal is None or change.change_class == "rollback":
        return Opening(True, "no other environment comes first", None, "")
    version = change.goal.target.version
    found = around.promoted.get((rule.from_, change.service))
    if found is None or found.version != version:
        runs = f", where {found.version} runs" if found else ""
        reason = f"{version} has not proved healthy in {rule.from_}{runs}"
        return Opening(False, reason, None, f"a pin of {version} in {rule.from_}")
    return soaked(found, rule, said.zone_of(place), now=now)


def soaked(found: Promoted, rule: Promotion, zone: str, *, now: datetime) -> Opening:
    """Whether what is last-good in the environment before has been healthy there for as long as the rule wants."""
    where = f"{found.version} {{}} in {rule.from_}"
    if found.ill:
        return Opening(False, where.format(found.ill), None, f"its health in {rule.from_}")
    due = found.since + timedelta(seconds=rule.soak_s)
    if now >= due:
        return Opening(True, where.format("has run healthily"), None, "")
    when = local_text(due, zone)
    return Opening(False, f"{where.format('has to run healthily')} until {when}", due, "time")


def window(change: Change, around: Circumstances, now: datetime) -> Gate:
    asked = around.asked.get(change.service) or Asked("")
    starter = said.started_by(around.permits, said.ask_of(change, asked.revision, change.path), now=now)

    def look(place: Environment) -> Opening:
        state = opening(place, class_in(place, change), now=now)
        if state.opened_by != STARTER:
            return state
        if starter:
            return Opening(True, f"started by {starter}", None, "")
        return replace(state, opened_by=said.starter(change.environment, change.service))

    return _strictest("window", change, around, look)


def freeze(change: Change, around: Circumstances, now: datetime) -> Gate:
    return _strictest("freeze", change, around, lambda place: frozen(place, class_in(place, change), now=now))


def fit(change: Change, around: Circumstances, now: datetime) -> Gate:
    expected_s = around.expected_s.get(change.service)
    if expected_s is None:
        return Gate("fit", open=True)
    return _strictest(
        "fit", change, around, lambda place: fits(place, class_in(place, change), expected_s, now=now)
    )


def _strictest(
    name: str, change: Change, around: Circumstances, look: Callable[[Environment], Opening]
) -> Gate:
    """The gate as it stands now; and where the very push that asked for the change opened it, as it stood before.

    So nobody lowers a gate and walks through it at once. A gate that a later push opened is open.
    """
    state, asked = look(around.environment), around.asked.get(change.service)
    if state.open and asked and asked.earlier and asked.since and look(asked.since).open:
        then = ((look(one.environment), one.when) for one in asked.earlier)
        shut = [
            replace(one, reason=f"{one.reason} (as it stood {when})") for one, when in then if not one.open
        ]
        state = max(shut, key=lambda one: one.until or FOREVER, default=state)
    return from_opening(name, state)


def class_in(place: Environment, change: Change) -> ChangeClass:
    """The class that a change has by the policy of `place`: below 1.0.0 a minor step may count as more there."""
    below = change.after and change.change_class == "minor" and change.after.target.version.parts.major == 0
    return place.policy.zero_minor if below else change.change_class


def from_opening(name: str, state: Opening) -> Gate:
    if state.open:
        return Gate(name, open=True)
    return Gate(name, open=False, reason=state.reason, until=state.until, opened_by=state.opened_by)
