"""Each gate closed by what it is about, and open otherwise; explained with who or what opens it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from reconciler.model.circumstances import Asked, Circumstances, Earlier, Gate, Promoted
from reconciler.model.environment import Environment, Freeze, Policy, Promotion, Window
from reconciler.model.gates import GATES, closed, evaluate, starts_at
from reconciler.model.release import Upgrading
from tests.build import NOW, change, environment, pin, release, seen, work

OLD, NEW = work("1.0.0"), work("1.1.0")
CALM = Circumstances(
    environment=environment(pin("1.1.0")),
    observed=seen(OLD),
    quarantined={},
    busy=frozenset(),
    fetched_at=NOW,
    max_stale_s=600.0,
    initials=0,
    first_accepted=False,
)


def shut(around: Circumstances, after: Any = NEW, before: Any = OLD, **fields: Any) -> dict[str, Gate]:
    gates = evaluate(change(before, after, **fields), around, now=NOW)
    assert len(gates) == len(GATES)
    return {gate.gate: gate for gate in closed(gates)}


def test_on_a_calm_day_every_gate_is_open() -> None:
    assert shut(CALM) == {}


def test_a_target_that_failed_here_waits_for_a_person() -> None:
    around = replace(CALM, quarantined={("api", NEW.target): "HTTP 500; operation 0123"})
    [gate] = shut(around).values()
    assert gate.gate == "quarantine"
    assert "HTTP 500" in gate.reason
    assert gate.opened_by == "ugs retry production api"


def test_another_target_of_the_same_version_is_not_quarantined_along() -> None:
    around = replace(CALM, quarantined={("api", work("1.1.0", instances=2).target): "failed"})
    assert shut(around) == {}


def test_a_downgrade_waits_unless_its_pin_allows_it() -> None:
    [gate] = shut(CALM, after=OLD, before=NEW, downgrade=True).values()
    assert gate.gate == "path"
    assert "environments/production.yaml:5:8" in gate.reason
    assert "allow_downgrade: true" in gate.opened_by
    allowed = replace(CALM, environment=environment(pin("1.0.0", allow_downgrade=True)))
    assert shut(allowed, after=OLD, before=NEW, downgrade=True) == {}


def test_a_release_may_be_reached_only_from_the_versions_that_it_names() -> None:
    why = "3.0.0 may be reached only from >=2.0.0, and 1.0.0 runs"
    [gate] = shut(CALM, after=work("3.0.0"), blocked=why, unblocked_by="pin 2.0.0 first", path=()).values()
    assert (gate.gate, gate.until) == ("path", None)
    assert (gate.reason, gate.opened_by) == (why, "pin 2.0.0 first")


def test_a_first_deployment_has_no_path_to_obey() -> None:
    far = work("3.0.0", of=release("3.0.0", upgrade=Upgrading(from_=">=2.0.0")))
    assert shut(CALM, after=far, before=None, change_class="initial") == {}


def test_a_requirement_waits_for_what_it_requires() -> None:
    needy = work("1.1.0", of=release("1.1.0", requires={"database": ">=14.2.0"}))
    assert "which does not run" in shut(CALM, after=needy)["dependency"].reason
    old = replace(CALM, observed=seen(OLD, work("13.1.0", "database")))
    assert "13.1.0 runs" in shut(old, after=needy)["dependency"].reason
    fits = replace(CALM, observed=seen(OLD, work("14.3.0", "database")))
    assert shut(fits, after=needy) == {}
    moving = replace(fits, busy=frozenset({"database"}))
    assert "is being upgraded" in shut(moving, after=needy)["dependency"].reason


def test_what_runs_and_cannot_be_described_is_not_replaced() -> None:
    [gate] = shut(CALM, before=None, running=OLD.target).values()
    assert gate.gate == "adoption"


def test_more_than_five_first_deployments_at_once_wait_for_a_word() -> None:
    around = replace(CALM, initials=6, observed={})
    assert "ugs run --accept-first" in shut(around, before=None, change_class="initial")["adoption"].opened_by
    assert shut(replace(around, initials=5), before=None, change_class="initial") == {}
    assert shut(replace(around, first_accepted=True), before=None, change_class="initial") == {}


def test_what_was_fetched_too_long_ago_starts_nothing() -> None:
    assert "since the daemon started" in shut(replace(CALM, fetched_at=None))["stale"].reason
    late = replace(CALM, fetched_at=NOW - timedelta(minutes=11))
    assert "could not be fetched since 2026-11-03 11:49:00 UTC" in shut(late)["stale"].reason


def test_trouble_of_this_machine_waits_for_its_next_try() -> None:
    later = NOW + timedelta(seconds=20)
    [gate] = shut(replace(CALM, parked={"api": ("port 8080 is taken", later)})).values()
    assert (gate.gate, gate.until) == ("host", later)
    assert shut(replace(CALM, parked={"api": ("port 8080 is taken", NOW)})) == {}
    before_the_clock_was_set_back = NOW + timedelta(hours=1)
    assert shut(replace(CALM, parked={"api": ("port 8080 is taken", before_the_clock_was_set_back)})) == {}


def test_windows_and_freezes_close_by_the_clock_and_say_until_when() -> None:
    windowed = environment(
        pin("1.1.0"), timezone="Europe/Berlin", windows={"minor": (Window("0 2 * * 6#1", 3 * 3600.0),)}
    )
    [gate] = shut(replace(CALM, environment=windowed), change_class="minor").values()
    assert gate.gate == "window"
    assert gate.until is not None
    frozen = environment(
        pin("1.1.0"), freezes=(Freeze(reason="year end", from_="2026-11-01", until="2026-11-05"),)
    )
    [gate] = shut(replace(CALM, environment=frozen)).values()
    assert gate.gate == "freeze"
    assert "year end" in gate.reason


def test_no_more_upgrades_at_once_than_the_policy_says() -> None:
    full = replace(
        CALM, environment=environment(pin("1.1.0"), policy=Policy(parallel=1)), busy=frozenset({"web"})
    )
    assert list(shut(full)) == ["concurrency"]


def test_it_starts_when_the_last_clock_gate_opens_or_nobody_knows() -> None:
    soon, later = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    by_clock = (
        Gate("window", open=False, until=soon),
        Gate("freeze", open=False, until=later),
        Gate("path", open=True),
    )
    assert starts_at(by_clock, now=NOW) == later
    assert starts_at((*by_clock, Gate("quarantine", open=False)), now=NOW) is None
    assert starts_at((Gate("path", open=True),), now=NOW) == NOW


# A push that loosens a gate and moves a pin

CLOSED = environment(pin("1.1.0"), windows={"patch": "manual"})
SATURDAYS = environment(pin("1.1.0"), timezone="UTC", windows={"patch": (Window("0 2 * * 6", 3600.0),)})


def asked_for(around: Circumstances, since: Environment, **earlier: Environment) -> Circumstances:
    then = tuple(Earlier(when.replace("_", " "), place) for when, place in earlier.items())
    return replace(around, asked={"api": Asked("a" * 40, earlier=then, since=since)})


def test_a_gate_that_the_push_opened_is_closed_as_it_stood_before() -> None:
    [gate] = shut(asked_for(CALM, CALM.environment, before_the_push=CLOSED)).values()
    assert gate.reason == "patch changes start only when a person starts them (as it stood before the push)"
    assert (gate.until, gate.opened_by) == (None, "ugs start production api")


def test_a_gate_that_a_later_push_opened_is_open() -> None:
    assert shut(asked_for(CALM, CLOSED, before_the_push=CLOSED, in_the_commit=CLOSED)) == {}


def test_a_gate_that_is_closed_now_says_so_as_it_stands_now() -> None:
    around = replace(CALM, environment=CLOSED)
    [gate] = shut(asked_for(around, CALM.environment, before_the_push=SATURDAYS)).values()
    assert "as it stood" not in gate.reason


def test_of_several_moments_the_strictest_counts() -> None:
    open_now = CALM.environment
    for earlier in ({"before": SATURDAYS, "later": CLOSED}, {"before": CLOSED, "later": SATURDAYS}):
        [gate] = shut(asked_for(CALM, open_now, **earlier)).values()
        assert "only when a person starts them" in gate.reason
    [gate] = shut(asked_for(CALM, open_now, before=open_now, later=SATURDAYS)).values()
    assert gate.reason.endswith("(as it stood later)")
    assert gate.until is not None


def test_a_step_below_one_counts_as_it_did_before_the_push() -> None:
    lax = environment(pin("0.2.0"), windows={"major": "manual"}, policy=Policy(zero_minor="minor"))
    strict = environment(pin("0.2.0"), windows={"major": "manual"})
    around = asked_for(replace(CALM, environment=lax, observed=seen(work("0.1.0"))), lax, before=strict)
    step = {"after": work("0.2.0"), "before": work("0.1.0"), "change_class": "minor"}
    assert shut(around, **step)["window"].reason.startswith("major changes start only when a person")
    assert shut(replace(around, asked={}), **step) == {}


def test_a_promotion_that_the_push_dropped_is_still_asked_for() -> None:
    promoting = environment(pin("1.1.0"), policy=Policy(promote=Promotion(from_="staging")))
    around = asked_for(CALM, CALM.environment, before_the_push=promoting)
    assert shut(around)["promotion"].reason == (
        "1.1.0 has not proved healthy in staging (as it stood before the push)"
    )
    there = {("staging", "api"): Promoted(NEW.target.version, NOW)}
    assert shut(replace(around, promoted=there)) == {}


def test_what_is_not_healthy_in_the_environment_before_waits_however_long_it_ran_there() -> None:
    promoting = environment(pin("1.1.0"), policy=Policy(promote=Promotion(from_="staging")))
    ill = {("staging", "api"): Promoted(NEW.target.version, NOW - timedelta(days=9), "is degraded")}
    gate = shut(replace(CALM, environment=promoting, promoted=ill))["promotion"]
    assert (gate.reason, gate.opened_by) == ("1.1.0 is degraded in staging", "its health in staging")


def test_what_is_being_taken_back_waits_for_that_alone() -> None:
    taken = "it needs api >=2.0.0, and 2.0.0 of it failed (operation 1)"
    around = replace(CALM, taken_back={"api": taken}, refused={"api": "no order"})
    [gate] = shut(around).values()
    assert (gate.gate, gate.reason, gate.opened_by) == ("dependency", taken, "the end of that operation")


def test_what_shares_the_fate_of_what_failed_is_shut_out_with_it() -> None:
    around = replace(CALM, fate={"api": "it came in one commit with db 2.0.0, which failed"})
    [gate] = shut(around).values()
    assert (gate.gate, gate.reason) == (
        "quarantine",
        "it came in one commit with db 2.0.0, which failed",
    )
