"""How many people have approved what exactly, and who of them counts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from reconciler.model.environment import ChangeClass, Environment
from reconciler.model.permits import Approval, Ask, Floor, Permits, covers, version_of
from reconciler.model.persons import person, same_person, wrote
from reconciler.model.window import FOLLOWS, Opening


def approval_gate(
    permits: Permits,
    environment: Environment,
    ask: Ask,
    change_class: ChangeClass,
    *,
    floor: Floor,
    authors: Collection[str] | None,
    now: datetime,
    reviews: str = "",
) -> Opening:
    """Whether enough people have approved. `change_class` as `approval_class` gives it.

    `authors`: names and addresses of those who wrote the revision, looked at under `four_eyes` alone; None
    when they are not known, and then nobody's approval counts. `reviews`: what else is to say of those.
    """
    needed = approvals_needed(environment, change_class, floor=floor)
    if not needed:
        return Opening(True, f"{change_class} changes need no approval", None, "")
    counted, ignored = list[Approval](), dict[str, str]()
    for approval in _of_this_version(permits, ask):
        if why := _uncounted(approval, ask, environment, authors, now):
            ignored[person(approval.by)] = f"{approval.by} ({why})"
        else:
            counted.append(approval)
    said = _persons(one for one in counted if one.known)
    # An account of which nobody says whose it is may be a person's who has said so to UGS too.
    reviewed = _persons(one for one in counted if one.via)
    best = max(said, reviewed, key=len)
    names = ", ".join(_by(one) for one in best)
    if len(best) >= needed and len(said) >= _said(floor, change_class):
        return Opening(True, f"approved by {names}", None, "")
    has = f"has {len(best)} ({names})" if best else "has none"
    if len(best) >= needed:
        has += f", and {_approvals(_said(floor, change_class))} must be of people whom ugs.yaml knows"
    others = [text for who, text in ignored.items() if not any(same_person(who, one.by) for one in best)]
    return Opening(
        open=False,
        reason=f"needs {_approvals(needed)}, {has}"
        + (f"; not counted: {', '.join(others)}" if others else "")
        + (f"; {reviews}" if reviews and environment.policy.reviews != "ignored" else ""),
        until=None,
        opened_by=f"ugs approve {ask.environment} {ask.service}",
    )


def approvals_needed(environment: Environment, change_class: ChangeClass, *, floor: Floor) -> int:
    """How many people must approve: what the environment says, and at least what the daemon does."""
    return max(_said(environment.policy.approvals, change_class), _said(floor, change_class))


def _said(numbers: Mapping[ChangeClass, int], change_class: ChangeClass) -> int:
    return numbers.get(change_class, numbers.get(FOLLOWS.get(change_class, change_class), 0))


def _of_this_version(permits: Permits, ask: Ask) -> list[Approval]:
    """Approvals that this one's people would look for: of the same service and version, bound to it or not."""
    return [
        approval
        for approval in permits.approvals
        if (approval.ask.environment, approval.ask.service) == (ask.environment, ask.service)
        and version_of(approval.ask.to_target) == version_of(ask.to_target)
    ]


def _uncounted(
    approval: Approval, ask: Ask, environment: Environment, authors: Collection[str] | None, now: datetime
) -> str:
    """Why an approval of this version does not count; empty when it does."""
    if not covers(approval.ask, ask):
        return "approved it from another start, by another path or commit, or with another config"
    if now >= approval.until:
        return "expired"
    if approval.via and environment.policy.reviews == "ignored":
        return "reviewed it, which does not count here"
    if approval.via and environment.policy.reviews == "owners" and not approval.owner:
        return "reviewed it, and is no owner by CODEOWNERS"
    if not environment.policy.four_eyes:
        return ""
    if not approval.known:
        return "reviewed it, and forge.people does not say who that is"
    if authors is None:
        return "who wrote the change is not known"
    return "wrote the change" if wrote(approval.by, authors) else ""


def _persons(approvals: Iterable[Approval]) -> list[Approval]:
    """One of each person."""
    found = list[Approval]()
    for one in approvals:
        if not any(same_person(one.by, other.by) for other in found):
            found.append(one)
    return found


def _by(approval: Approval) -> str:
    return f"{approval.by}, by a review of {approval.via}" if approval.via else approval.by


def _approvals(number: int) -> str:
    return "1 approval" if number == 1 else f"{number} approvals"
