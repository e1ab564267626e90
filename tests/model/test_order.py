"""The order of an environment's changes: every requirement holds at every prefix, or the chain is told."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from reconciler.model.order import Arrangement, Running, arrange
from reconciler.model.plan import Change
from reconciler.model.range import Range
from reconciler.model.target import Workload
from reconciler.model.version import Version
from tests.build import change, release, work


class Service(Struct, frozen=True):
    """What runs of a service (with what it needs), and what is pinned; None where there is neither."""

    name: str
    old: str | None
    new: str | None
    had: Mapping[str, str] = {}
    needs: Mapping[str, str] = {}
    step: str | None = None
    """A version on the way, with what it needs."""
    step_needs: Mapping[str, str] = {}

    @property
    def change(self) -> Change:
        assert self.new is not None
        goal = self._work(self.new, self.needs)
        after = self._work(self.step, self.step_needs) if self.step else goal
        return change(work(self.old, self.name) if self.old else None, after, goal=goal)

    def _work(self, version: str, needs: Mapping[str, str]) -> Workload:
        return work(version, self.name, of=release(version, self.name, requires=dict(needs)))


def moves(name: str, old: str | None, new: str, *, had: Mapping[str, str] = {}, **needs: str) -> Service:
    return Service(name, old, new, had, needs)


def runs(name: str, version: str, **needs: str) -> Service:
    return Service(name, version, None, needs)


def arranged(services: Iterable[Service]) -> Arrangement:
    services = list(services)
    running = {one.name: Running(Version(one.old), one.had) for one in services if one.old is not None}
    return arrange([one.change for one in services if one.new is not None], running)


def order(*services: Service) -> str:
    found = arranged(services)
    assert found.refused == {}
    return " ".join(change.service for change in found.order)


def refused(*services: Service) -> Mapping[str, str]:
    found = arranged(services)
    assert {change.service for change in found.order}.isdisjoint(found.refused)
    return found.refused


# What goes first


def test_changes_that_need_nothing_of_each_other_go_by_name() -> None:
    assert (
        order(moves("web", "1.0.0", "2.0.0"), moves("api", None, "1.0.0"), runs("db", "1.0.0")) == "api web"
    )


def test_a_dependency_goes_before_whoever_needs_its_new_version() -> None:
    web, zoo = moves("web", "1.0.0", "2.0.0", zoo=">=2.0.0"), moves("zoo", "1.0.0", "2.0.0")
    assert order(web, zoo) == "zoo web"
    assert arranged([web, zoo]).after == {"web": {"zoo"}, "zoo": frozenset()}


def test_a_dependency_that_is_new_here_goes_before_whoever_needs_it() -> None:
    assert order(moves("web", "1.0.0", "2.0.0", zoo="*"), moves("zoo", None, "1.0.0")) == "zoo web"


def test_a_dependency_waits_until_whoever_it_would_break_has_moved() -> None:
    web = moves("web", "1.0.0", "2.0.0", had={"api": "<2.0.0"}, api=">=1.0.0")
    api = moves("api", "1.0.0", "2.0.0")
    assert order(web, api) == "web api"
    assert arranged([web, api]).after == {"web": frozenset(), "api": {"web"}}


def test_where_both_versions_of_a_dependency_would_do_it_goes_first() -> None:
    assert order(moves("web", "1.0.0", "2.0.0", zoo=">=1.0.0"), moves("zoo", "1.0.0", "2.0.0")) == "zoo web"
    assert order(moves("web", "1.0.0", "1.0.0", zoo="*"), moves("zoo", "1.0.0", "1.0.0")) == "zoo web"


def test_a_wish_to_wait_is_given_up_where_it_closes_a_circle() -> None:
    either = moves("web", "1.0.0", "2.0.0", api=">=1.0.0"), moves("api", "1.0.0", "2.0.0", web=">=1.0.0")
    assert order(*either) == "api web"
    strict = moves("web", "1.0.0", "2.0.0", api=">=1.0.0"), moves("api", "1.0.0", "2.0.0", web=">=2.0.0")
    assert order(*strict) == "web api"


def test_who_waits_for_a_circle_but_is_not_in_it_keeps_waiting() -> None:
    web, zoo = moves("web", "1.0.0", "2.0.0", zoo="*"), moves("zoo", "1.0.0", "2.0.0", web="*")
    assert order(moves("api", "1.0.0", "2.0.0", zoo="*"), web, zoo) == "web zoo api"


def test_a_service_may_name_itself() -> None:
    assert order(moves("api", "1.0.0", "2.0.0", api=">=2.0.0", had={"api": "1.x"})) == "api"


def test_what_was_broken_before_keeps_nothing_waiting() -> None:
    assert order(moves("api", "1.0.0", "2.0.0"), runs("web", "1.0.0", api=">=3.0.0", db="*")) == "api"


# Changes that take more than one step

STEPPING = Service("api", "1.0.0", "2.0.0", step="1.5.0")


def test_whoever_a_step_in_between_would_break_goes_first_or_keeps_it_from_starting() -> None:
    web = moves("web", "1.0.0", "2.0.0", had={"api": "<1.5.0 || 2.x"}, api="*")
    assert order(web, STEPPING) == "web api"
    assert refused(STEPPING, runs("web", "1.0.0", api="<1.5.0 || 2.x")) == {
        "api": "web 1.0.0 runs and needs api <1.5.0 || 2.x; the pin moves api to 2.0.0"
    }


def test_whoever_goes_with_the_ends_and_not_with_the_step_waits_for_the_end() -> None:
    assert order(moves("a", "1.0.0", "2.0.0", api="<1.5.0 || 2.x"), STEPPING) == "api a"


def test_a_step_needs_what_it_needs_only_until_it_is_left() -> None:
    web = Service("web", "1.0.0", "2.0.0", step="1.5.0", step_needs={"api": "<2.0.0", "web": "1.x"})
    assert order(web, moves("api", "1.0.0", "2.0.0")) == "web api"
    assert refused(web, moves("api", "3.0.0", "2.0.0")) == {
        "web": "web 1.5.0 needs api <2.0.0; api is pinned to 2.0.0"
    }


# What is refused, and how it is told

PARTIAL = st.sampled_from(["1.x", "<1.5.0", ">1.4.9", "^1.5.0-b", "<1.5.0-c", "2 - 3", ">3.1", "=4.0.0"])
SUITABLE = (
    "1.0.0",
    "1.4.9",
    "1.4.10",
    "1.5.0-b",
    "1.5.0-c",
    "1.5.0",
    "1.6.0",
    "2.0.0",
    "3.2.0",
    "4.0.0",
    "5.0.0",
)


def test_a_requirement_on_what_is_nowhere_is_refused() -> None:
    assert refused(moves("web", "1.0.0", "2.0.0", db=">=14", cache="*"), moves("api", "1.0.0", "2.0.0")) == {
        "web": "web 2.0.0 needs cache *, which neither runs nor is pinned; "
        "web 2.0.0 needs db >=14, which neither runs nor is pinned"
    }


def test_a_requirement_that_does_not_fit_in_the_end_is_refused() -> None:
    assert refused(moves("web", "1.0.0", "2.0.0", db=">=15"), runs("db", "14.2.0")) == {
        "web": "web 2.0.0 needs db >=15; db 14.2.0 runs"
    }
    assert refused(moves("web", "1.0.0", "2.0.0", db="<15"), moves("db", "14.2.0", "15.0.0")) == {
        "web": "web 2.0.0 needs db <15; db is pinned to 15.0.0"
    }


@pytest.mark.parametrize("pinned", [moves("api", "1.0.0", "2.0.0"), runs("api", "2.0.0")])
def test_requirements_that_contradict_each_other_are_named_together(pinned: Service) -> None:
    web, shop = moves("web", None, "2.0.0", api="<2.0.0"), moves("shop", None, "3.0.0", api="^2.0.0")
    state = "api is pinned to 2.0.0" if pinned.new else "api 2.0.0 runs"
    assert refused(web, shop, pinned, runs("a", "1.0.0", api=">=1.0.0")) == {
        "web": f"web 2.0.0 needs api <2.0.0 and shop 3.0.0 needs api ^2.0.0, which no version fits; {state}"
    }


def test_a_requirement_that_nothing_can_fit_contradicts_nobody_else() -> None:
    assert refused(moves("web", None, "2.0.0", api="<1 >2"), runs("api", "2.0.0")) == {
        "web": "web 2.0.0 needs api <1 >2; api 2.0.0 runs"
    }


def test_requirements_that_another_version_would_fit_do_not_contradict_each_other() -> None:
    web, shop = moves("web", None, "2.0.0", api="2.1.0 - 3"), moves("shop", None, "3.0.0", api=">1.9.9")
    assert refused(web, shop, runs("api", "2.0.0")) == {
        "web": "web 2.0.0 needs api 2.1.0 - 3; api 2.0.0 runs"
    }


def test_a_change_that_would_break_what_stays_is_refused() -> None:
    assert refused(moves("api", "1.0.0", "2.0.0"), runs("billing", "1.4.0", api="<2.0.0")) == {
        "api": "billing 1.4.0 runs and needs api <2.0.0; the pin moves api to 2.0.0"
    }


def test_changes_that_must_each_go_first_are_refused_with_the_circle() -> None:
    web = moves("web", "1.0.0", "2.0.0", api=">=2.0.0")
    assert refused(web, moves("api", "1.0.0", "2.0.0", web=">=2.0.0"), moves("db", "1.0.0", "2.0.0")) == {
        "api": "api 2.0.0 needs web >=2.0.0; web 2.0.0 needs api >=2.0.0; none of them can go first",
        "web": "web 2.0.0 needs api >=2.0.0; api 2.0.0 needs web >=2.0.0; none of them can go first",
    }
    swap = moves("web", "1.0.0", "2.0.0", had={"api": "<2.0.0"}, api=">=2.0.0")
    assert refused(swap, moves("api", "1.0.0", "2.0.0"))["web"] == (
        "web 2.0.0 needs api >=2.0.0; web 1.0.0 runs and needs api <2.0.0; the pin moves api to 2.0.0; "
        "none of them can go first"
    )


def test_a_refused_change_refuses_whoever_must_wait_for_it_with_the_whole_chain() -> None:
    api = moves("api", "1.0.0", "2.0.0", web="<2.0.0")
    shop = moves("shop", "1.0.0", "2.0.0", web=">=2.0.0")
    assert refused(api, shop, moves("web", "1.0.0", "2.0.0", api=">=2.0.0")) == {
        "api": "api 2.0.0 needs web <2.0.0 and shop 2.0.0 needs web >=2.0.0, which no version fits; "
        "web is pinned to 2.0.0",
        "shop": "shop 2.0.0 needs web >=2.0.0; web 2.0.0 needs api >=2.0.0; api 2.0.0 needs web <2.0.0 and "
        "shop 2.0.0 needs web >=2.0.0, which no version fits; web is pinned to 2.0.0",
        "web": "web 2.0.0 needs api >=2.0.0; api 2.0.0 needs web <2.0.0 and shop 2.0.0 needs web >=2.0.0, "
        "which no version fits; web is pinned to 2.0.0",
    }


def test_who_stays_because_it_is_refused_is_not_broken_either() -> None:
    web = moves("web", "1.0.0", "2.0.0", had={"api": "<2.0.0"}, db="*")
    assert refused(web, moves("api", "1.0.0", "2.0.0")) == {
        "api": "web 1.0.0 runs and needs api <2.0.0; the pin moves api to 2.0.0; "
        "web 2.0.0 needs db *, which neither runs nor is pinned",
        "web": "web 2.0.0 needs db *, which neither runs nor is pinned",
    }


def test_who_would_be_fine_with_what_stays_is_not_refused_along() -> None:
    found = arranged([moves("web", "1.0.0", "2.0.0", api=">=1.0.0"), moves("api", "1.0.0", "2.0.0", db="*")])
    assert [change.service for change in found.order] == ["web"]
    assert found.after == {"web": frozenset()}


def test_a_long_chain_is_told_from_both_ends() -> None:
    chain = [Service(f"s{n:02}", None, "1.0.0", needs={f"s{n + 1:02}": "*"}) for n in range(30)]
    message = refused(*chain)["s00"]
    assert message.startswith("s00 1.0.0 needs s01 *; s01 1.0.0 needs s02 *; ")
    assert message.endswith("; …; s29 1.0.0 needs s30 *, which neither runs nor is pinned")
    assert message.count("; ") == 11
    circle = [*chain, Service("s30", None, "1.0.0", needs={"s00": "*"})]
    message = refused(*circle)["s29"]
    assert message.startswith("s29 1.0.0 needs s30 *; s30 1.0.0 needs s00 *; s00 1.0.0 needs s01 *; ")
    assert message.endswith("; …; none of them can go first")
    assert message.count("; ") == 11


@given(PARTIAL, PARTIAL)
def test_which_no_version_fits_is_said_only_where_none_does(one: str, other: str) -> None:
    web, shop = moves("web", None, "1.0.0", api=one), moves("shop", None, "1.0.0", api=other)
    message = refused(web, shop, runs("api", "0.1.0")).get("web")
    suited = any(holds(one, version) and holds(other, version) for version in SUITABLE)
    assert message is None or ("which no version fits" in message) == (not suited)


# Against every order there is

NAMES = ("a", "b", "c", "d")
VERSIONS = st.none() | st.sampled_from(["1.0.0", "2.0.0"])
RANGES = st.sampled_from(["*", "1.x", "2.x", ">=2.0.0", "<1.5.0 || 2.x", "3.x"])
NEEDS = st.dictionaries(st.sampled_from(NAMES), RANGES, max_size=2)


def worlds(step: st.SearchStrategy[str | None]) -> st.SearchStrategy[tuple[Service, ...]]:
    """Four services, any of them running or not, pinned or not, with or without a step in between."""
    return st.tuples(
        *(st.builds(Service, st.just(name), VERSIONS, VERSIONS, NEEDS, NEEDS, step, NEEDS) for name in NAMES)
    )


WORLDS = worlds(st.none())
STEPS = worlds(st.sampled_from([None, "1.5.0"]))


def holds(wanted: str, version: str | None) -> bool:
    return version is not None and Range.parse(wanted).contains(Version(version))


def sound(services: Iterable[Service], stages: Mapping[str, int]) -> bool:
    """Whether all that runs has what it needs, save what it lacked from the start.

    Stage 0 is what ran at first (also of those that are not listed), 1 the step, 2 what is pinned.
    """
    services = list(services)
    first = {one.name: one.old for one in services}
    now = {one.name: (one.old, one.step, one.new)[stages.get(one.name, 0)] for one in services}
    return all(
        holds(wanted, now.get(needed))
        for one in services
        for stage in [stages.get(one.name, 0)]
        for needed, wanted in (one.had, one.step_needs, one.needs)[stage].items()
        if now[one.name] is not None and (stage or holds(wanted, first.get(needed)))
    )


def possible(services: Iterable[Service]) -> frozenset[str]:
    """Who can move at all in some order, were the requirements of the pins judged by the pins."""
    services = list(services)
    last = {one.name: one.new or one.old for one in services}
    able = [
        one.name
        for one in services
        if one.new is not None
        and all(holds(wanted, last.get(needed)) for needed, wanted in one.needs.items())
    ]
    found: set[str] = set()
    for count in range(len(able) + 1):
        for sequence in permutations(able, count):
            if all(sound(services, dict.fromkeys(sequence[:n], 2)) for n in range(count + 1)):
                found.update(sequence)
    return frozenset(found)


@settings(max_examples=200)
@given(STEPS)
def test_every_requirement_holds_whenever_the_changes_go_as_they_may(services: tuple[Service, ...]) -> None:
    found = arranged(services)
    names = [change.service for change in found.order]
    assert sorted([*names, *found.refused]) == sorted(one.name for one in services if one.new is not None)
    for place, name in enumerate(names):
        assert found.after[name] <= set(names[:place])
    ways = [(0, 1, 2) if one.step else (0, 2) for one in services if one.name in names]
    for chosen in product(*ways):
        stages = dict(zip(sorted(names), chosen, strict=True))
        done = {name for name, stage in stages.items() if stage == 2}
        if all(found.after[name] <= done for name, stage in stages.items() if stage):
            assert sound(services, stages), stages


@settings(max_examples=200)
@given(WORLDS)
def test_what_is_refused_cannot_be_in_any_order(services: tuple[Service, ...]) -> None:
    found = arranged(services)
    assert {change.service for change in found.order} == possible(services)


@given(STEPS, st.randoms())
def test_the_answer_does_not_depend_on_how_the_changes_are_listed(
    services: tuple[Service, ...], chance: random.Random
) -> None:
    shuffled = list(services)
    chance.shuffle(shuffled)
    assert arranged(shuffled) == arranged(services)


@given(STEPS, NEEDS)
def test_one_more_service_that_runs_never_lets_more_through(
    services: tuple[Service, ...], needs: dict[str, str]
) -> None:
    more = arranged([*services, Service("witness", "1.0.0", None, needs)])
    assert more.refused.keys() >= arranged(services).refused.keys()


@given(STEPS)
def test_what_is_let_through_does_not_lean_on_what_is_refused(services: tuple[Service, ...]) -> None:
    found = arranged(services)
    kept = [
        Service(one.name, one.old, None, one.had) if one.name in found.refused else one for one in services
    ]
    again = arranged(kept)
    assert again.refused == {}
    assert {change.service for change in again.order} == {change.service for change in found.order}
