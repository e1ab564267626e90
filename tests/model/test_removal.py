"""What is pinned no longer: planned where it is to be stopped, guarded where it is much, in an order that holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.model.circumstances import Asked, Circumstances
from reconciler.model.desired import departed
from reconciler.model.environment import Environment, Policy
from reconciler.model.gates import closed, evaluate
from reconciler.model.order import Running, arrange
from reconciler.model.permits import Approval, Permits, ask_of
from reconciler.model.plan import plan, repairs, unwanted
from reconciler.model.removal import guard, much
from reconciler.model.sentence import of_change
from reconciler.model.target import Workload
from tests.build import NOW, REVISION, change, desired, environment, good, pin, release, seen, work

PRUNE = Policy(prune=True)
API, WEB = work("1.0.0"), work("1.0.0", "web")


def test_a_pin_that_is_gone_is_planned_to_be_removed_where_the_policy_says_so() -> None:
    here, records = desired(WEB, policy=PRUNE), good(API, WEB)
    [removal] = plan(here, seen(API, WEB), records, now=NOW)
    assert removal == change(API, None)
    assert of_change(removal, ()) == "production: api 1.0.0 → nothing starts now"
    assert plan(desired(WEB), seen(API, WEB), records, now=NOW) == []
    gone = departed(environment(pin("1.0.0")), REVISION)
    assert [one.service for one in plan(gone, seen(API, WEB), records, now=NOW)] == ["api", "web"]


def test_what_may_only_be_out_of_sight_is_not_removed() -> None:
    for hidden, blind in ((True, frozenset[str]()), (False, frozenset({"api"}))):
        assert unwanted(desired(WEB, policy=PRUNE, hidden=hidden, blind=blind), seen(API, WEB), ()) == set()


def test_what_waits_to_be_removed_is_started_again_until_any_of_it_was_stopped() -> None:
    here, records = desired(WEB, policy=PRUNE), good(API, WEB)

    def again(**removing: bool) -> list[Workload]:
        return repairs(here, seen(WEB), replace(records, removing=removing), frozenset())

    assert (again(), again(api=False), again(api=True)) == ([], [API], [])
    assert repairs(desired(WEB), seen(WEB), replace(records, removing={"api": False}), frozenset()) == []


@given(st.integers(0, 60), st.integers(0, 60))
def test_much_is_all_or_two_and_more_than_a_fifth(removed: int, left: int) -> None:
    of = removed + left
    assert much(removed, of) is (removed > 0 and (left == 0 or (removed >= 2 and 5 * removed > of)))
    if much(removed, of):
        assert much(removed + 1, of + 1)


def around(place: Environment, *removed: Workload, asked: Asked | None = None) -> Circumstances:
    return Circumstances(
        environment=place,
        observed=seen(*removed),
        quarantined={},
        busy=frozenset(),
        fetched_at=NOW,
        max_stale_s=600.0,
        initials=0,
        first_accepted=True,
        unwanted=frozenset(one.service for one in removed),
        asked={"api": asked} if asked else {},
    )


def pins(number: int) -> Environment:
    return environment(*(pin("1.0.0", f"s{index}") for index in range(number)), policy=PRUNE)


@pytest.mark.parametrize(
    ("left", "removed", "said"),
    [
        (1, 1, ""),
        (0, 1, "1 of the 1 services of production would be removed at once"),
        (8, 2, ""),
        (7, 2, "2 of the 9 services of production would be removed at once"),
    ],
)
def test_so_many_of_so_many_wait_for_a_person(left: int, removed: int, said: str) -> None:
    works = [API, WEB][:removed]
    assert guard(change(API, None), around(pins(left), *works)) == said
    assert guard(change(API, work("1.1.0")), around(pins(left), *works)) == ""


def test_what_one_push_removes_is_no_less_when_a_part_of_it_is_gone_already() -> None:
    before, since = frozenset(pins(5).pins), environment(pin("1.0.0", "s0"), policy=PRUNE)
    asked = Asked(REVISION, pinned=before, left_out=before - since.pins.keys())
    said = "one push removes 4 of the 5 pins of production"
    assert guard(change(API, None), around(since, API, asked=asked)) == said
    asked = replace(asked, left_out=frozenset())  # the push that set prune: it removed no pin
    assert guard(change(API, None), around(since, API, asked=asked)) == ""


def test_what_was_put_back_since_is_not_counted_as_removed_by_its_push() -> None:
    before = frozenset(pins(5).pins)
    asked = Asked(REVISION, pinned=before, left_out=before)
    assert guard(change(API, None), around(pins(4), API, asked=asked)) == ""
    said = "one push removes 3 of the 5 pins of production"
    assert guard(change(API, None), around(pins(2), API, asked=asked)) == said


def test_one_approval_of_exactly_this_removal_opens_the_guard() -> None:
    asked = Asked(REVISION, authors=("ada",))
    there = around(pins(0), API, asked=asked)
    [gate] = closed(evaluate(change(API, None), there, now=NOW))
    assert (gate.gate, gate.opened_by) == ("approval", "ugs approve production api")
    assert gate.reason.endswith("would be removed at once: needs 1 approval, has none")
    ask = ask_of(change(API, None), REVISION, ())
    assert ask.to_target == "nothing"
    approved = Approval(1, ask, "bob", NOW, NOW.replace(year=2030))
    assert (
        closed(evaluate(change(API, None), replace(there, permits=Permits(approvals=(approved,))), now=NOW))
        == ()
    )


def test_what_nothing_describes_is_not_stopped_either() -> None:
    unknown = replace(change(API, None), before=None)
    [gate] = closed(evaluate(unknown, around(pins(1), API), now=NOW))
    assert gate.gate == "adoption"


def needy(version: str, service: str, **requires: str) -> Workload:
    return work(version, service, of=release(version, service, requires=requires))


def test_dependents_are_removed_first() -> None:
    web, cron = needy("1.0.0", "web", api=">=1"), needy("1.0.0", "cron", web=">=1")
    every = (API, web, cron)
    running = {one.service: Running(one.target.version, one.release.requires) for one in every}
    arranged = arrange([change(one, None) for one in every], running)
    assert [one.service for one in arranged.order] == ["cron", "web", "api"]
    assert arranged.after == {"api": {"web"}, "web": {"cron"}, "cron": set()}


def test_what_stays_and_needs_it_refuses_a_removal_with_the_chain() -> None:
    web, newer = needy("1.0.0", "web", api=">=1"), needy("2.0.0", "web", api=">=1")
    running = {
        "api": Running(API.target.version),
        "web": Running(web.target.version, web.release.requires),
    }
    runs = "web 1.0.0 runs and needs api >=1; api is pinned no longer"
    assert arrange([change(API, None)], running).refused == {"api": runs}
    needs = "web 2.0.0 needs api >=1, which is pinned no longer"
    refused = arrange([change(API, None), change(web, newer)], running).refused
    assert refused == {"api": f"{runs}; {needs}", "web": needs}
    free = needy("2.0.0", "web")
    assert arrange([change(API, None), change(web, free)], running).after == {"api": {"web"}, "web": set()}
