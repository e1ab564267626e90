"""What was changed by hand: told when it begins and when it ends, and made as it was where the policy says so."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Literal

import msgspec

from reconciler.engine.core import Core
from reconciler.engine.upkeep import mend_one, start_again
from reconciler.model import sentence
from reconciler.model.desired import Desired
from reconciler.model.drift import Drift, drifts
from reconciler.model.notice import Notice, Severity
from reconciler.model.observation import Observation
from reconciler.model.permits import may_repair
from reconciler.model.plan import Records
from reconciler.model.recovery import Recovery
from reconciler.store import DRIFT

FIRST_S = 5.0
MAX_S = 300.0
STEADY_S = 600.0
"""What stays as it was applied for so long has not drifted at once again."""
AGAIN_MAX = 3
"""After so many corrections a person is called: somebody else wants it otherwise."""


class Drifts:
    """Of one environment. What has begun is remembered in the database, so that it is told once."""

    def __init__(self, core: Core, environment: str) -> None:
        self._core = core
        self._environment = environment
        self._tried: dict[str, tuple[int, float]] = {}
        """By service: how often in a row it was corrected, and when last (monotonic seconds)."""
        self.found: Mapping[str, Drift] = {}
        """By service, as the last look found it."""

    def look(
        self,
        desired: Desired,
        observed: Mapping[str, Observation],
        records: Records,
        busy: frozenset[str],
    ) -> None:
        """Compare what runs with what was applied."""
        self.found = {drift.work.service: drift for drift in drifts(desired, observed, records, busy)}

    async def mend(self, desired: Desired, busy: frozenset[str], *, recovery: Recovery | None) -> bool:
        """Tell of it, and make it as it was where the policy says so. True when something was done.

        In safe mode nobody knows what was applied; of what is being upgraded, neither; and what another daemon has
        applied since the lease ended is nobody's hand.
        """
        held = self._core.leases.standing(self._core.share(self._environment)) == "held"
        if not held or recovery is not None or self._core.desired.get(self._environment) is not desired:
            return False
        found = [drift for service, drift in self.found.items() if service not in busy]
        self._follow(found, busy, desired.environment.policy.drift)
        return await self._correct_all(desired, found)

    def _follow(
        self, found: Collection[Drift], busy: Collection[str], policy: Literal["correct", "report"]
    ) -> None:
        """Tell of what has begun, and of what has ended, since the last look."""
        core, before = self._core, self.known()
        now = {drift.work.service: drift.what for drift in found}
        now |= {service: what for service, what in before.items() if service in busy}
        if now == before:
            return
        with core.store.transaction():
            for drift in found:
                if drift.work.service not in before:
                    self._record("drift", drift.work.service, drift.what)
                    text = sentence.of_drift(drift.work, drift.what, policy)
                    self._tell(drift.work.service, text, "person" if policy == "report" else "info")
            for service in before.keys() - now.keys():
                self._record("drift-ended", service, before[service])
                self._tell(service, f"{self._environment}: {service} has drifted no longer", "info")
            core.store.mark(f"{DRIFT}{self._environment}", msgspec.json.encode(now).decode() if now else None)

    def known(self) -> Mapping[str, str]:
        """By service: how it differs, as it was told."""
        key = f"{DRIFT}{self._environment}"
        text = self._core.store.marks(key).get(key)
        return msgspec.json.decode(text, type=dict[str, str]) if text else {}

    async def _correct_all(self, desired: Desired, found: Collection[Drift]) -> bool:
        """Make them as they were, unless they are held (no other gate counts) or the policy only reports."""
        core, now_s = self._core, self._core.clock.monotonic()
        for service, (_, last_s) in list(self._tried.items()):
            if now_s - last_s > STEADY_S:
                del self._tried[service]
        if not found or desired.environment.policy.drift == "report":
            return False
        permits, now = core.store.permits(self._environment), core.clock.now()
        due = [
            drift
            for drift in found
            if may_repair(permits, desired.environment, drift.work.service, now=now)
            and now_s >= self._not_before_s(drift.work.service)
        ]
        await asyncio.gather(*(self._correct(drift, now_s) for drift in due))
        return bool(due)

    async def _correct(self, drift: Drift, now_s: float) -> None:
        service = drift.work.service
        tries, _ = self._tried.get(service, (0, now_s))
        self._tried[service] = tries + 1, now_s
        if tries + 1 == AGAIN_MAX:
            text = f"{self._environment}: {service} drifts again and again ({drift.what})"
            self._tell(service, f"{text}; find out who changes it, or pin what they want", "person")
        await mend_one(self._core, drift.work, start_again, "made as it was applied")

    def _not_before_s(self, service: str) -> float:
        tries, last_s = self._tried.get(service, (0, 0.0))
        return last_s + min(FIRST_S * 2 ** (tries - 1), MAX_S) if tries else 0.0

    def _record(self, event: str, service: str, what: str) -> None:
        self._core.store.audit(event, environment=self._environment, service=service, detail=what)

    def _tell(self, service: str, text: str, severity: Severity) -> None:
        title = f"{self._environment}: {service}"
        at = self._core.clock.now()
        self._core.store.tell(Notice(self._environment, service, text, severity, at, title=title))
        self._core.wake.notices.set()
