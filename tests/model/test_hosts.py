"""One change on many hosts: places, turns, and what the holder of the lease publishes next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.model.environment import DriverChoice, Environment, Freeze, Progressive, Window
from reconciler.model.hosts import (
    TEXT_CHARS_MAX,
    Outcome,
    Report,
    Reports,
    Rollout,
    Rollouts,
    Wanted,
    bounded,
    progressed,
    rollout_id,
    settled,
)
from reconciler.model.progressive import due, place, turn
from reconciler.model.target import Target
from reconciler.model.version import Version

START = datetime(2026, 11, 2, 0, 0, tzinfo=UTC)  # a Monday
NIGHTS = (Window("0 2 * * *", 3600.0),)
HOSTS = ("h1", "h2", "h3")
OLD, NEW = (Target(Version(version), "0123456789ab") for version in ("1.0.0", "1.1.0"))
OPERATION = rollout_id("production", "api", NEW, "c0ffee")


def fleet(progressive: str = "24h", failures: int = 1, **more: Any) -> Environment:
    length_s = float(progressive.removesuffix("h")) * 3600
    return Environment(
        name="production",
        driver=DriverChoice("process"),
        hosts=HOSTS,
        strategy=Progressive(length_s, failures),
        **more,
    )


def running(**more: Any) -> Rollout:
    return replace(
        Rollout(
            OPERATION,
            "api",
            "c0ffee",
            "minor",
            NEW,
            '"1.1.0"',
            START,
            from_=OLD,
            from_node='"1.0.0"',
            by="h1",
        ),
        **more,
    )


def wanted(**more: Any) -> Wanted:
    new = Wanted(OPERATION, "api", "c0ffee", "minor", NEW, '"1.1.0"', True, False, (OLD, '"1.0.0"'))
    return replace(new, **more)


def back() -> Wanted:
    """The pin has gone back."""
    return wanted(operation=rollout_id("production", "api", OLD, "bad"), to=OLD, node='"1.0.0"')


def say(**outcomes: Outcome) -> dict[str, Reports]:
    return {
        host: Reports({"api": Report(OPERATION, outcome, "probe: 500" if outcome == "failed" else "")})
        for host, outcome in outcomes.items()
    }


def after(
    known: Rollout | None,
    reports: dict[str, Reports],
    want: Wanted | None = None,
    *,
    failures: int = 1,
    host: str = "h1",
) -> Rollouts:
    before = Rollouts({"api": known} if known else {})
    pins = {"api": want or wanted()}
    return progressed(before, fleet(failures=failures), pins, reports, host=host, now=START)


def test_places_are_spread_and_differ_from_rollout_to_rollout() -> None:
    hosts = [f"web-{number}" for number in range(10_000)]
    places = sorted(place(host, OPERATION) for host in hosts)
    assert places[0] >= 0
    assert places[-1] < 1
    assert max(abs(at - number / 10_000) for number, at in enumerate(places)) < 0.03
    first = min(hosts, key=lambda host: place(host, OPERATION))
    assert first != min(hosts, key=lambda host: place(host, "another"))


def test_only_time_in_which_windows_are_open_counts() -> None:
    nightly = fleet(windows={"minor": NIGHTS}, timezone="UTC")
    assert due(nightly, "minor", START, 0) == START + timedelta(hours=2)
    assert due(nightly, "minor", START, 1800) == START + timedelta(hours=2.5)
    assert due(nightly, "minor", START, 5400) == START + timedelta(hours=26.5)
    assert due(nightly, "patch", START, 5400) == START + timedelta(hours=1.5)


def test_a_freeze_stops_the_clock_of_a_rollout() -> None:
    frozen = fleet(
        windows={"minor": NIGHTS},
        timezone="UTC",
        freezes=(Freeze("fair", from_="2026-11-03", until="2026-11-04"),),
    )
    assert due(frozen, "minor", START, 5400) == START + timedelta(days=3, hours=2.5)
    endless = fleet(freezes=(Freeze("for good", from_="2026-11-01"),), timezone="UTC")
    assert due(endless, "minor", START, 0) is None


def test_a_turn_that_no_window_reaches_is_said_to_be_none() -> None:
    never = fleet(windows={"minor": "manual"})
    gate = turn(never, running(), OPERATION, host="h1", to=NEW, now=START)
    assert (gate.open, gate.until) == (False, None)
    assert "the calendar does not get there" in gate.reason


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_has_its_turn_when_its_place_has_passed(host: str) -> None:
    mine = START + timedelta(hours=24) * place(host, OPERATION)
    before = turn(fleet(), running(), OPERATION, host=host, to=NEW, now=mine - timedelta(seconds=1))
    assert (before.open, before.until) == (False, mine)
    assert f"{host} is at 0." in before.reason
    assert turn(fleet(), running(), OPERATION, host=host, to=NEW, now=mine).open


def test_nobody_moves_before_it_has_begun_and_all_may_once_it_has_succeeded() -> None:
    for known in (None, running(operation="another"), running(operation="another", state="succeeded")):
        gate = turn(fleet(), known, OPERATION, host="h1", to=NEW, now=START)
        assert "has not begun its rollout" in gate.reason
    done = running(state="succeeded")
    assert turn(fleet(), done, OPERATION, host="h9", to=NEW, now=START).open


def test_a_host_that_lags_behind_may_go_to_what_ran_everywhere() -> None:
    lagging = rollout_id("production", "api", OLD, "bad")
    assert turn(fleet(), running(), lagging, host="h1", to=OLD, now=START).open


def test_what_failed_is_shut_with_its_reason() -> None:
    gate = turn(
        fleet(), running(state="reverted", reason="on h2: 500"), OPERATION, host="h1", to=NEW, now=START
    )
    assert gate.reason == "the rollout of 1.1.0 is taken back: its pin is reverted: on h2: 500"
    assert "ugs retry production api" in gate.opened_by


def test_who_sees_to_the_data_goes_first_and_the_others_wait_for_it() -> None:
    [begun] = after(None, {}, wanted(data=True)).rollouts.values()
    assert begun.first == "h1"
    now = START + timedelta(days=2)
    assert turn(fleet(), begun, OPERATION, host="h1", to=NEW, now=START).open
    assert "h1 goes first" in turn(fleet(), begun, OPERATION, host="h2", to=NEW, now=now).reason
    [proven] = after(begun, say(h1="succeeded")).rollouts.values()
    assert turn(fleet(), proven, OPERATION, host="h2", to=NEW, now=now).open


def test_it_begins_once_it_is_ready_from_what_ran_everywhere() -> None:
    assert after(None, {}, wanted(ready=False)) == Rollouts()
    [begun] = after(None, {}).rollouts.values()
    assert (begun.from_, begun.to, begun.started_at, begun.state) == (OLD, NEW, START, "running")
    other = running(operation="other", to=Target(Version("1.0.5"), "0" * 12), state="running")
    [superseding] = after(other, {}).rollouts.values()
    assert superseding.from_ == OLD  # 1.0.5 has not reached everybody
    [following] = after(replace(other, state="succeeded"), {}).rollouts.values()
    assert following.from_ == other.to


def test_a_first_deployment_that_reached_some_is_gone_back_to_rather_than_to_nothing() -> None:
    first = running(operation="first", to=OLD, to_node='"1.0.0"', from_=None, from_node=None)
    [second] = after(first, {}).rollouts.values()
    assert (second.from_, second.from_node) == (OLD, '"1.0.0"')
    [third] = after(replace(first, state="reverted"), {}).rollouts.values()
    assert third.from_ is None  # it failed: nothing is better


def test_it_succeeds_when_every_host_says_so_and_no_sooner() -> None:
    two = after(running(), say(h1="succeeded", h2="succeeded", h9="succeeded"))
    assert two.rollouts["api"].state == "running"
    three = after(running(), say(h1="succeeded", h2="succeeded", h3="succeeded"))
    assert three.rollouts["api"].state == "succeeded"


def test_so_many_failures_take_it_back_and_shut_it_out() -> None:
    one = after(running(), say(h1="succeeded", h2="failed"), failures=2)
    assert one.rollouts["api"].state == "running"
    two = after(running(), say(h3="failed", h2="failed"), failures=2)
    assert (two.rollouts["api"].state, two.rollouts["api"].reason) == (
        "failing",
        "on h2: probe: 500; on h3: probe: 500",
    )
    [shut] = two.shut
    assert (shut.operation, shut.target, shut.restored) == (OPERATION, NEW, OLD)


@pytest.mark.parametrize("outcome", ["parked", "stuck"])
def test_a_hosts_own_trouble_takes_nothing_back(outcome: Outcome) -> None:
    known = running()
    assert after(known, say(h1=outcome, h2=outcome, h3=outcome)).rollouts["api"] == known


def test_words_about_another_rollout_or_of_strangers_count_for_nothing() -> None:
    old = {"h2": Reports({"api": Report("another", "failed")})}
    assert after(running(), old | say(h9="failed")).rollouts["api"].state == "running"


def test_a_person_takes_back_even_what_has_succeeded() -> None:
    said = {"h2": Reports({"api": Report(OPERATION, "failed", "rolled back by ada", decisive=True)})}
    assert after(running(state="succeeded"), said, failures=3).rollouts["api"].state == "failing"
    late = after(running(state="succeeded"), say(h2="failed"))
    assert late.rollouts["api"].state == "succeeded"


def test_it_is_settled_once_and_stays_so() -> None:
    failing = after(running(), say(h2="failed"))
    ended = settled(failing, "api", commit="beef", left="", host="h3", now=START)
    assert (ended.rollouts["api"].state, ended.rollouts["api"].commit) == ("reverted", "beef")
    assert after(ended.rollouts["api"], say(h2="failed", h3="failed")).rollouts == ended.rollouts
    assert after(ended.rollouts["api"], {}, back()).rollouts == ended.rollouts
    left = settled(failing, "api", commit=None, left="the pin was moved", host="h3", now=START)
    assert left.rollouts["api"].state == "left"


def test_a_pin_that_somebody_moved_back_calls_it_off() -> None:
    assert after(running(), {}, back()).rollouts["api"].state == "withdrawn"


def test_what_fails_is_settled_before_anything_else_begins() -> None:
    failing = running(state="failing")
    other = wanted(operation="0" * 16, to=Target(Version("1.2.0"), "0" * 12))
    assert after(failing, {}, other).rollouts["api"] == failing


def test_a_retry_opens_what_was_shut() -> None:
    failing = after(running(), say(h2="failed"))
    ended = settled(failing, "api", commit="beef", left="", host="h1", now=START)
    retried = wanted(operation=rollout_id("production", "api", NEW, "again"))
    begun = progressed(ended, fleet(), {"api": retried}, {}, host="h1", now=START)
    assert (begun.rollouts["api"].state, begun.shut) == ("running", ())


def test_what_is_pinned_no_longer_is_forgotten_unless_it_failed() -> None:
    for state, kept in (("running", False), ("succeeded", False), ("failing", True), ("reverted", True)):
        rollout = running(state=state)
        known = Rollouts({"api": rollout})
        found = progressed(known, fleet(), {}, {}, unpinned={"api"}, host="h1", now=START)
        assert ("api" in found.rollouts) is kept


def test_what_a_service_said_is_one_short_line() -> None:
    assert bounded("ill\n\x1b[31mUgs-Retry: x") == "ill [31mUgs-Retry: x"
    assert len(bounded("x" * 10_000)) == TEXT_CHARS_MAX
