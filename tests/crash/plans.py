"""Every plan by its name."""

from __future__ import annotations

import math
import time
from pathlib import Path

from tests.crash.campaign import KILL_S_MAX, Campaign, Tally
from tests.crash.fleet import Atomic, Fleet
from tests.crash.hosts import TwoHosts
from tests.crash.people import People
from tests.crash.proposals import Proposals
from tests.crash.train import Train

PLANS: dict[str, type[Campaign]] = {
    "fleet": Fleet,
    "atomic": Atomic,
    "train": Train,
    "proposals": Proposals,
    "people": People,
    "hosts": TwoHosts,
}
SHARES = {"fleet": 8, "atomic": 3, "train": 3, "proposals": 2, "people": 2, "hosts": 1}
"""Of the kills: those plans whose rounds take long get fewer."""


def run(folder: Path, plan: str, seed: int, kills: int, *, tally: Tally, until_s: float = math.inf) -> None:
    """One campaign until so many kills were survived, or that time (monotonic) has come. `tally`: where they struck,
    also where it fails half-way. Leaves no process behind."""
    folder.mkdir(parents=True)
    campaign = PLANS[plan](folder, seed)
    campaign.tally = tally
    end_s = time.monotonic() + 240 + KILL_S_MAX * kills
    try:
        campaign.start()
        while campaign.tally.killed.total() < kills and time.monotonic() < until_s:
            assert time.monotonic() < end_s, f"only {campaign.tally.killed.total()} kills"
            campaign.round()
    finally:
        campaign.close()
