"""What came after what in one environment, where several daemons have had it: never by the clocks of two machines."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct


class Place(Struct, frozen=True):
    """When something happened to an environment.

    Who has its lease has an epoch that nobody had before, so that the epochs order what several daemons did; and the
    rows of the audit what one of them did under one epoch.
    """

    epoch: int
    """0: there was no lease, or a daemon wrote it that did not say."""
    row: int
    at: datetime
    """By the clock of who did it: counts where one of two has no epoch alone."""

    def after(self, other: Place) -> bool:
        """Whether this happened after that."""
        if self.epoch and other.epoch:
            return (self.epoch, self.row) > (other.epoch, other.row)
        return self.at > other.at


def is_news(said: Place, known: Place, *, known_to: int | None) -> bool:
    """Whether what Git says happened after what is remembered here.

    `known_to`: what is remembered without an epoch, as what was adopted, counts for as new as this one; None where
    there are no leases.
    """
    if said.epoch and not known.epoch and known_to is not None:
        return said.epoch > known_to
    return said.after(known)
