"""What is remembered here of one environment against what Git says of it: which of them is newer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from reconciler.engine.core import Core
from reconciler.model.recovery import Account, Failed, Proven
from reconciler.model.succession import Place, is_news
from reconciler.model.target import Workload
from reconciler.model.upgrade import NOT_BEGUN, Phase, Upgrade


class Remembered:
    """By epochs of the lease; by dates only where nobody wrote any.

    `lost`: the database is not the newest, so that what it says without an epoch counts for less than what Git says.
    """

    def __init__(self, core: Core, environment: str, account: Account, *, lost: bool = False) -> None:
        self.account = account
        self._store, self._environment = core.store, environment
        known_to = core.leases.known_to(environment)
        self._known_to = 0 if lost and known_to is not None else known_to
        self._shut = {(one.service, one.target) for one in account.failed}

    def news(self) -> Iterator[tuple[str, Proven]]:
        """By service, the last that Git says succeeded, where nothing newer is remembered."""
        shut = {(row.service, row.target) for row in self._store.quarantined(self._environment)}
        for service, one in self.account.proven.items():
            if (service, one.target) in shut:  # here, and Git was not told yet
                continue
            if not self.is_news(service, one):
                continue
            # Here, and Git was not told yet either.
            if self._removed_since(service, one.place) or self.has_failed_since(service, one):
                continue
            yield service, one

    def fallen(self) -> Iterator[Failed]:
        """What is last-good no more, as it failed or was rolled back: all that Git says so of, but what might be tried
        again and has succeeded here, and Git was not told yet."""
        shut = {one.operation for one in self.account.failed}
        for one in self.account.fallen:
            past = self._store.upgrades(environment=self._environment, service=one.service)
            again = any(
                upgrade.phase is Phase.SUCCEEDED
                and upgrade.to == one.target
                and upgrade.operation not in self.account.ended
                for upgrade in past
            )
            if one.operation in shut or not again:
                yield one

    def is_news(self, service: str, one: Proven) -> bool:
        """Whether it succeeded after what is last-good here; so it did where nothing is."""
        good = self._good(service)
        return good is None or is_news(one.place, self._place(service, *good), known_to=self._known_to)

    def is_gone(self, service: str, place: Place) -> bool:
        """Whether it was stopped on purpose after it last proved healthy, as far as that is remembered: be it by who
        had begun that before others got the environment, and was so late that it waits here still."""
        good = self._good(service)
        if good is None:
            return False
        waiting = self._store.upgrades(environment=self._environment, service=service, unfinished=True)
        late = any(
            one.to is None
            and one.phase in NOT_BEGUN
            and self.account.ended.get(one.operation) == Phase.SUCCEEDED
            for one in waiting
        )
        return late or is_news(place, self._place(service, *good), known_to=self._known_to)

    def is_proven_since(self, upgrade: Upgrade) -> bool:
        """Whether the target of an upgrade of ours succeeded after it stood as it does."""
        one = self.account.proven.get(upgrade.service)
        return (
            one is not None
            and one.target == upgrade.to
            and is_news(one.place, upgrade.place, known_to=self._known_to)
        )

    def has_failed_since(self, service: str, one: Proven) -> bool:
        """Whether what Git says succeeded failed here after that, was rolled back, or went back with another, be it
        that it may be tried again."""
        past = self._store.upgrades(environment=self._environment, service=service)
        return any(
            (upgrade.failed or upgrade.taken_with)
            and upgrade.to == one.target
            and not is_news(one.place, upgrade.place, known_to=self._known_to)
            for upgrade in past
        )

    def _good(self, service: str) -> tuple[Workload, datetime] | None:
        """Last-good, as long as Git does not say that it failed."""
        found = self._store.good(self._environment, service)
        return next((one for one in found if (service, one[0].target) not in self._shut), None)

    def _place(self, service: str, work: Workload, at: datetime) -> Place:
        """When it proved healthy: by an upgrade of ours, or by one that Git told of when it was last asked. Of what
        was adopted nobody wrote the epoch."""
        found = [
            one.place
            for one in self._store.upgrades(environment=self._environment, service=service)
            if one.phase is Phase.SUCCEEDED and one.to == work.target and one.epoch
        ]
        said = self.account.places.get((service, work.target))
        if said and said.epoch and not (self._known_to is not None and said.epoch > self._known_to):
            found.append(said)
        return max(found, key=lambda one: (one.epoch, one.row), default=Place(0, 0, at))

    def _removed_since(self, service: str, place: Place) -> bool:
        past = self._store.upgrades(environment=self._environment, service=service)
        return any(
            not is_news(place, one.place, known_to=self._known_to)
            for one in past
            if one.to is None and one.phase is Phase.SUCCEEDED
        )
