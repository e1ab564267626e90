"""When so much fails at once that the fault is hardly each release's own: stop, and call a person."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from reconciler.model.upgrade import Phase, Upgrade

SPAN = timedelta(minutes=10)
SERVICES_MIN = 3
CONTROLS_MIN = 3
ENDED_WELL = frozenset({Phase.SUCCEEDED})


def trips(upgrades: Iterable[Upgrade], *, now: datetime) -> str:
    """Why the environment must be held; empty when it need not be.

    `upgrades` are those of one environment. It trips when three or more distinct services failed within ten
    minutes, and with them half or more of the upgrades that came to a verdict in that time.
    """
    judged = [
        upgrade
        for upgrade in upgrades
        if (upgrade.failed or upgrade.phase in ENDED_WELL) and now - upgrade.changed_at <= SPAN
    ]
    failed = [upgrade for upgrade in judged if upgrade.failed]
    services = sorted({upgrade.service for upgrade in failed})
    if len(services) < SERVICES_MIN or 2 * len(failed) < len(judged):
        return ""
    return (
        f"{len(failed)} of {len(judged)} upgrades failed within {SPAN.total_seconds() / 60:.0f} minutes "
        f"({', '.join(services)})"
    )


def suspects_the_checker(controls: Iterable[bool]) -> bool:
    """Whether probing looks broken: of three or more healthy services that nobody touched, half fail too.

    `controls`: for each such service, whether it answered healthily just now.
    """
    answers = list(controls)
    return len(answers) >= CONTROLS_MIN and 2 * answers.count(False) >= len(answers)
