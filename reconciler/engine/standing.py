"""A verdict of failure on what runs already: quarantined, and taken back like an upgrade that fails, with its group."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from reconciler.engine.core import Core
from reconciler.engine.group import gather
from reconciler.engine.together import decide, standing
from reconciler.model.errors import UgsError
from reconciler.model.target import Target
from reconciler.model.upgrade import NOT_BEGUN, Phase, Upgrade

if TYPE_CHECKING:
    from reconciler.engine.reconcile import EnvironmentPass


class Conflict(UgsError):
    """What is asked for does not fit what is so at this moment."""


async def condemn_running(
    here: EnvironmentPass,
    service: str,
    *,
    verdict: str,
    actor: str,
    check: Callable[[Upgrade], None] = lambda _upgrade: None,
) -> Upgrade:
    """Restore what ran before the version that runs, and revert its pin. Returns the upgrade that does it, begun.

    `check` sees that upgrade before anything is decided. Raises what it raises, and Conflict where nothing can
    go back.
    """
    core, environment = here.core, here.name
    _check_known(core, environment, service)
    running_now = here.observed_target(service)
    upgrade = _verdict(core, environment, service, running_now, actor)
    check(upgrade)
    group = await gather(core, upgrade)
    _check_known(core, environment, service)
    if service in here.running:
        raise Conflict(f"{environment}: {service} has just begun to change", "say it again")
    if broken := group.found.stays.get(service):
        raise Conflict(
            f"{environment}: {service} cannot go back under what needs it: {'; '.join(sorted(broken.values()))}",
            f"roll {', '.join(sorted(broken))} back first",
        )
    with core.store.transaction():
        for waiting in core.store.upgrades(environment=environment, service=service, unfinished=True):
            # What waits to try the very same once more would share its operation with the verdict.
            if waiting.phase in NOT_BEGUN and waiting.to == running_now:
                core.move(waiting, Phase.CANCELLED, verdict, actor=actor)
        upgrade = _verdict(core, environment, service, running_now, actor)
        if upgrade.to is not None:
            core.store.forget_good(environment, service, upgrade.to)
        condemned = decide(core, upgrade, group, verdict, to=Phase.RESTORING, actor=actor)
    here.carrying.launch(condemned)
    here.carrying.take_back(condemned)
    return condemned


def _check_known(core: Core, environment: str, service: str) -> None:
    """Raise Conflict in safe mode: nobody knows surely what ran before, nor what became of the data since."""
    if recovery := core.store.recovery(environment):
        raise Conflict(
            f"{environment} is in safe mode, and what ran before {service} is not surely known: {recovery.reason}",
            f"move the pin back by a commit; or see `ugs recover`, say `ugs recover --accept {environment}`, "
            "and roll back then",
        )


def _verdict(core: Core, environment: str, service: str, running: Target | None, actor: str) -> Upgrade:
    """An upgrade that stands for what runs now, about to be taken back to what ran before it."""
    good = [work for work, _ in core.store.good(environment, service)]
    bad = next((work for work in good if work.target == running), None)
    desired = core.desired.get(environment)
    if bad is None and desired and (pinned := desired.workloads.get(service)) and pinned.target == running:
        bad = pinned
    shut = {row.target for row in core.store.quarantined(environment) if row.service == service}
    back = next((work for work in good if work.target != running and work.target not in shut), None)
    if bad is None or back is None:
        raise Conflict(
            f"{environment}: there is nothing that {service} could be rolled back to",
            "pin a version that was healthy here, or an older one with `allow_downgrade: true`",
        )
    past = core.store.upgrades(environment=environment, service=service)
    tip = desired.revision if desired else ""
    revision = next((upgrade.revision for upgrade in past if upgrade.to == running), tip)
    return standing(core, bad, back, revision, running=running, actor=actor)
