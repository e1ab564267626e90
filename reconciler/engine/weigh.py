"""Gathering what the gates look at: the commit that asked, the order of changes, records and people's words."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from reconciler.engine.core import Core
from reconciler.model.circumstances import Asked, Circumstances, Promoted
from reconciler.model.desired import Desired
from reconciler.model.expectation import expected_s
from reconciler.model.impact import running_of
from reconciler.model.observation import Observation
from reconciler.model.order import Arrangement, arrange
from reconciler.model.plan import Change, unwanted
from reconciler.model.target import Target
from reconciler.model.upgrade import Phase

ASKED_MAX = 10_000


class Weigher:
    """For one environment. Which commit asked for a change is worked out once per tip and target."""

    def __init__(self, core: Core, environment: str) -> None:
        self._core = core
        self._name = environment
        self._asked: dict[tuple[str, str, Target | None], Asked] = {}

    async def asked(self, desired: Desired, change: Change) -> Asked:
        """The commit that asked for this change, and what stood before it."""
        key = desired.revision, change.service, change.to
        if key not in self._asked:
            if len(self._asked) >= ASKED_MAX:
                self._asked.clear()
            self._asked[key] = await asyncio.to_thread(
                self._core.repository.asked,
                desired.revision,
                self._name,
                change.service,
                change.goal,
                self._core.frozen,
            )
        return self._asked[key]

    def circumstances(
        self,
        desired: Desired,
        observed: Mapping[str, Observation],
        changes: Sequence[Change],
        *,
        asked: Mapping[str, Asked],
        busy: frozenset[str],
        fetched_at: datetime | None,
        first_accepted: bool,
    ) -> Circumstances:
        """What the gates look at, as it stands at this moment."""
        store = self._core.store
        unfinished = store.upgrades(environment=self._name, unfinished=True)
        order = _arrangement(desired, observed, changes)
        return Circumstances(
            environment=desired.environment,
            observed=observed,
            quarantined={
                (row.service, row.target): f"{row.reason}; operation {row.operation}"
                for row in store.quarantined(self._name)
            },
            busy=busy,
            fetched_at=fetched_at,
            max_stale_s=self._core.settings.repository.max_stale_s,
            initials=sum(change.change_class == "initial" for change in changes),
            first_accepted=first_accepted or bool(store.services(self._name)),
            gone=desired.gone is not None,
            unwanted=unwanted(desired, observed, {one.service for one in unfinished if one.after is None}),
            parked={
                upgrade.service: (upgrade.reason, upgrade.parked_until)
                for upgrade in unfinished
                if upgrade.parked_until is not None and upgrade.phase is Phase.WAITING
            },
            refused=order.refused,
            after=order.after,
            permits=store.permits(self._name),
            floor=self._core.settings.floor_approvals,
            asked=asked,
            promoted=self._promoted(desired, changes),
            expected_s={
                change.service: expected_s(store.durations(self._name, change.service), change.after.release)
                for change in changes
                if change.after
            },
        )

    def _promoted(self, desired: Desired, changes: Sequence[Change]) -> dict[str, Promoted]:
        rule = desired.environment.policy.promote
        if rule is None:
            return {}
        found = {
            change.service: self._core.store.good(rule.from_, change.service, limit=1) for change in changes
        }
        return {
            service: Promoted(good[0][0].target.version, good[0][1])
            for service, good in found.items()
            if good
        }


def _arrangement(
    desired: Desired, observed: Mapping[str, Observation], changes: Sequence[Change]
) -> Arrangement:
    """The order of the changes as they will be in the end: what is on its way counts as arrived."""
    last = {change.service: change.before for change in changes}
    running = {
        service: running_of(target, desired.releases.get(service, {}).values(), last.get(service))
        for service, observation in observed.items()
        if (target := observation.running)
    }
    return arrange((replace(change, after=change.goal) for change in changes), running)
