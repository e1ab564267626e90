"""Since when something has been healthy: what begins the time anew, and what does not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import cast

import pytest
from msgspec.structs import replace

from reconciler.engine import soak
from reconciler.engine.soak import pinning, proved, unbroken
from reconciler.model.circumstances import Promoted
from reconciler.model.observation import HealthState
from reconciler.model.recovery import Account, Proven
from reconciler.model.succession import Place
from reconciler.model.target import Target
from reconciler.model.upgrade import Phase
from reconciler.store import Transition
from tests.build import NOW
from tests.world import World

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("states", "hours", "ill"),
    [
        ("", 0, ""),
        ("healthy", 0, ""),
        ("degraded healthy", 1, ""),
        ("healthy degraded healthy", 2, ""),
        ("healthy degraded unknown healthy", 3, ""),
        ("healthy degraded healthy degraded", 2, "is degraded"),
        ("healthy degraded unknown", 0, "is degraded"),
        ("healthy unknown healthy", 0, ""),
        ("healthy unknown", 0, "has a health that is not known"),
    ],
)
def test_a_degradation_begins_the_time_anew_and_a_gap_in_what_is_known_does_not(
    states: str, hours: int, ill: str
) -> None:
    """One state an hour, the first of them at the beginning."""
    transitions = [
        Transition(cast(HealthState, state), NOW + number * HOUR, "")
        for number, state in enumerate(states.split())
    ]
    assert unbroken(transitions, NOW) == (NOW + hours * HOUR, ill)


def test_what_was_so_before_it_proved_healthy_does_not_make_it_older() -> None:
    before = [Transition("degraded", NOW - HOUR, ""), Transition("healthy", NOW - HOUR / 2, "")]
    assert unbroken(before, NOW) == (NOW, "")


async def test_nothing_is_promoted_by_older_notes_than_what_was_seen_to_run_there_since(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    [(work, at)] = world.core.store.good("production", "api")
    monkeypatch.setattr(soak, "here", lambda _core, _environment: False)

    def told(target: Target, said_at: datetime) -> Promoted | None:
        account = Account(proven={"api": Proven(target, "c0ffee", Place(0, 0, said_at))})
        world.core.elsewhere["production"] = account
        return proved(world.core, "production", "api")

    other = Target.parse("0.9.0@43a4ead25f6c")
    unknown = "has a health that is not known"
    assert told(other, at - HOUR) == Promoted(work.target.version, at, unknown)
    assert told(other, at + HOUR) == Promoted(other.version, at + HOUR, "")
    assert told(work.target, at - HOUR) == Promoted(work.target.version, at - HOUR, "")


async def test_what_is_still_being_taken_back_by_us_counts_as_failed_whatever_others_prove(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    [upgrade] = world.core.store.upgrades(environment="production")
    world.core.store.quarantine(upgrade, reason="rolled back by grace")
    monkeypatch.setattr(soak, "here", lambda _core, _environment: False)

    def failed(**said: str) -> Mapping[tuple[str, str], str]:
        world.core.elsewhere["production"] = Account(ended=said)
        return pinning(world.core, "production", {}).failed

    shut = {("api", "1.0.0"): "rolled back by grace"}
    assert failed() == shut, "Git was not told of it"
    told = {upgrade.operation: "restoring"}
    assert failed(**told) == {}, "and has proved healthy since: others may have let it be tried again"
    world.core.store.record(replace(upgrade, phase=Phase.REVERTING), event="reverting", detail="")
    assert failed(**told) == shut
