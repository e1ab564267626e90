"""What a promotion says of itself: in its commit, and in its pull request. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from reconciler.model.environment import Promotion
from reconciler.model.markdown import code
from reconciler.model.promotion import Verdict
from reconciler.model.pulls import LABEL, Wanted, branch_for
from reconciler.model.version import Version

PROMOTION_TRAILER = "Ugs-Promotion"
"""Of a commit that promotes: one for each pin that it moves, as `promotion_id` gives it."""


def promotion_id(environment: str, service: str, version: Version) -> str:
    """Sixteen hex digits, the same for whoever promotes this version there: it is done once, ever."""
    return hashlib.sha256(f"{environment}\0{service}\0{version}".encode()).hexdigest()[:16]


def title(environment: str, moves: Collection[Verdict]) -> str:
    named = [f"{one.service} {one.to}" for one in moves]
    what = " and ".join(named) if len(named) <= 2 else f"{named[0]} and {len(named) - 1} more"
    return f"Promote {what} to {environment}"


def reason(source: str, move: Verdict) -> str:
    """`healthy in staging since 2026-11-03 12:00 UTC`."""
    return f"healthy in {source} since {move.since:%Y-%m-%d %H:%M} UTC"


def message(environment: str, rule: Promotion, moves: Collection[Verdict]) -> str:
    """The commit message: what is moved and why, in words, and in trailers for machines, one block a pin."""
    lines = [title(environment, moves), "", f"By policy.promote of {environment}:", ""]
    lines += [f"- {one.service} {one.pinned} to {one.to}: {reason(rule.from_, one)}" for one in moves]
    lines += ["", f"Ugs-Environment: {environment}"]
    for one in moves:
        lines += [
            f"{PROMOTION_TRAILER}: {promotion_id(environment, one.service, one.to or one.pinned)}",
            f"Ugs-Service: {one.service}",
            f"Ugs-From: {one.pinned}",
            f"Ugs-To: {one.to}",
            f"Ugs-Reason: {reason(rule.from_, one)}",
        ]
    return "\n".join((*lines, ""))


def ask_of(environment: str, service: str, version: Version) -> str:
    """What a pull request asks for, and what a person refuses by closing it."""
    return f"{environment}/{service} {version}"


def asked(ask: str) -> tuple[str, str, str]:
    """The environment, the service and the version of an ask."""
    where, _, version = ask.partition(" ")
    environment, _, service = where.partition("/")
    return environment, service, version


def wanted(environment: str, rule: Promotion, moves: Sequence[Verdict]) -> Wanted:
    """The pull request that moves these pins, which is named after the first of them."""
    return Wanted(
        "promote",
        branch_for("promote", environment, moves[0].service),
        environment,
        tuple(ask_of(environment, one.service, one.to) for one in moves if one.to),
        title(environment, moves),
        _body(environment, rule, moves),
        message(environment, rule, moves),
        (LABEL, "ugs: promotion"),
    )


def _body(environment: str, rule: Promotion, moves: Sequence[Verdict]) -> str:
    lines = [
        f"- {code(f'{one.service} {one.pinned} → {one.to}')}: {code(reason(rule.from_, one))}"
        for one in moves
    ]
    lines += [
        "",
        f"Merged, it is deployed when the gates of {code(environment)} are open. Closed unmerged, it is not asked for",
        "again; a newer version that soaks is. UGS keeps this up with the branch until others commit to it.",
    ]
    return "\n".join(lines) + "\n"
