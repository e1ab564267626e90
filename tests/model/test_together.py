"""Who goes back with what failed, who stays, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.order import Running
from reconciler.model.range import Range
from reconciler.model.release import Upgrading
from reconciler.model.target import Workload
from reconciler.model.together import Part, Together, together
from reconciler.model.version import Version
from tests.build import release, work


def work_of(
    name: str, version: str | None, needs: Mapping[str, str], *, reversible: bool = True
) -> Workload | None:
    if version is None:
        return None
    described = release(version, name, requires=dict(needs), upgrade=Upgrading(reversible=reversible))
    return work(version, name, of=described)


def part(
    name: str,
    old: str | None = "1.0.0",
    new: str = "2.0.0",
    *,
    runs: bool = True,
    had: Mapping[str, str] = {},
    reversible: bool = True,
    **needs: str,
) -> Part:
    """A service that the commit moved from `old` to `new`, which runs already or waits."""
    pinned = work_of(name, new, needs, reversible=reversible)
    return Part(name, pinned, work_of(name, old, had), pinned if runs else None)


def running(*parts: Part, **others: Mapping[str, str]) -> dict[str, Running]:
    """All that runs: the parts, and others that the commit did not move, at 1.0.0, with what they need."""
    works = [work for one in parts if (work := one.now or one.before)]
    found = {work.service: Running(work.target.version, work.release.requires) for work in works}
    return found | {name: Running(Version("1.0.0"), needs) for name, needs in others.items()}


def taken(failed: Part, *parts: Part, atomic: bool = False, **others: Mapping[str, str]) -> Together:
    all_that_runs = running(failed, *parts, **others)
    return together(failed, {one.service: one for one in parts}, running=all_that_runs, atomic=atomic)


def test_whoever_needs_what_failed_goes_back_before_it_and_the_others_stay() -> None:
    found = taken(
        part("api"),
        part("web", api=">=2.0.0"),
        part("edge", web="2.x", api="2.x"),
        part("app", None, "1.0.0", edge=">=2.0.0"),
        part("mail", api=">=1.0.0", mail="2.x"),
    )
    assert list(found.goes) == ["app", "edge", "web"]
    assert found.goes["web"] == "it needs api >=2.0.0, and 2.0.0 of it failed"
    assert found.goes["app"] == "it needs edge >=2.0.0, and edge goes back with api 2.0.0"
    assert found.after["api"] == {"web", "edge"}
    assert found.after["web"] == {"edge"}
    assert found.stays == {}


def test_what_touched_nothing_yet_goes_back_without_a_turn() -> None:
    found = taken(part("api"), part("web", api=">=2.0.0", runs=False))
    assert list(found.goes) == ["web"]
    assert found.after == {"api": frozenset()}


def test_whoever_needs_a_service_that_was_new_cannot_keep_running_without_it() -> None:
    assert list(taken(part("api", None, "1.0.0"), part("web", api="*")).goes) == ["web"]


def test_where_the_old_version_needs_the_old_dependency_that_comes_back_first() -> None:
    found = taken(part("api"), part("web", had={"db": "<2.0.0"}, api="2.x"), part("db", web=">=1", api="2.x"))
    assert found.after == {"web": {"db"}, "db": set(), "api": {"db", "web"}}


def test_where_neither_can_be_first_dependents_are() -> None:
    found = taken(part("api"), part("web", had={"api": "<2.0.0"}, api="2.x"))
    assert found.after == {"api": {"web"}, "web": set()}


def test_a_circle_of_needs_ends_when_it_is_taken_back() -> None:
    found = taken(part("api", web="2.x"), part("web", api="2.x"))
    assert list(found.goes) == ["web"]
    assert sorted(map(len, found.after.values())) == [0, 1]


def test_what_must_not_be_taken_back_stays_and_keeps_what_it_needs() -> None:
    found = taken(part("api"), part("web", api="2.x", reversible=False), part("app", api="2.x"))
    assert list(found.goes) == ["app"]
    assert found.stays == {
        "web": {"web": "web 2.0.0 must not be taken back by itself"},
        "api": {"web": "web 2.0.0 needs api 2.x"},
    }


def test_what_others_brought_and_need_stays() -> None:
    found = taken(part("api"), part("web", api="2.x"), portal={"web": "2.x"})
    assert found.goes == {}
    assert found.stays["web"] == {"portal": "portal 1.0.0 needs web 2.x"}
    assert found.stays["api"] == {"web": "web 2.0.0 needs api 2.x"}


def test_where_pins_share_their_fate_all_of_them_go() -> None:
    found = taken(part("api"), part("db"), part("web", db="2.x"), part("mail", runs=False), atomic=True)
    assert list(found.goes) == ["web", "db", "mail"]
    assert found.after["db"] == {"web"}
    assert found.after["api"] == set()
    assert found.goes["db"].startswith("it came in one commit with api 2.0.0, which failed")


def test_what_goes_back_by_itself_has_its_turn_and_is_not_taken_along() -> None:
    web = part("web", api="2.x")
    found = together(part("api"), {}, running=running(web), leaving={"web": web})
    assert (found.goes, found.stays) == ({}, {})
    assert found.after["api"] == {"web"}


# Against every order there is

NAMES = ("a", "b", "c", "d")
RANGES = st.sampled_from(["*", "1.x", "2.x", ">=2.0.0", "<1.5.0 || 2.x"])
NEEDS = st.dictionaries(st.sampled_from(NAMES), RANGES, max_size=2)
OLD = st.none() | st.just("1.0.0")


def parts_of(names: Sequence[str]) -> st.SearchStrategy[tuple[Part, ...]]:
    def one(name: str) -> st.SearchStrategy[Part]:
        return st.builds(
            lambda old, runs, had, needs, reversible: part(
                name, old, runs=runs, had=had, reversible=reversible, **needs
            ),
            OLD,
            st.booleans(),
            NEEDS,
            NEEDS,
            st.sampled_from([True, True, True, False]),
        )

    return st.tuples(*map(one, names))


OUTSIDER = st.dictionaries(st.sampled_from(NAMES), RANGES, max_size=2)


def holds(wanted: str, version: Version | None) -> bool:
    return version is not None and Range.parse(wanted).contains(version)


def state(parts: Iterable[Part], back: Iterable[str]) -> dict[str, Workload]:
    """What runs once these are back."""
    gone = set(back)
    works = {one.service: one.before if one.service in gone or not one.now else one.now for one in parts}
    return {name: work for name, work in works.items() if work}


def lacking(runs: Mapping[str, Workload]) -> set[tuple[str, str, str]]:
    versions = {name: work.target.version for name, work in runs.items()}
    return {
        (str(work.target), needed, wanted)
        for work in runs.values()
        for needed, wanted in work.release.requires.items()
        if not holds(wanted, versions.get(needed))
    }


def sound(parts: Sequence[Part], order: Sequence[str]) -> bool:
    """Whether nothing lacks on the way what it lacks neither at the start nor at the end."""
    allowed = lacking(state(parts, ())) | lacking(state(parts, order))
    return all(lacking(state(parts, order[:n])) <= allowed for n in range(len(order) + 1))


@given(parts_of(NAMES), st.booleans())
def test_every_prefix_keeps_every_requirement_where_any_order_does(
    parts: tuple[Part, ...], atomic: bool
) -> None:
    failed = Part("a", parts[0].pinned, parts[0].before, parts[0].pinned)
    all_parts = (failed, *parts[1:])
    found = taken(failed, *parts[1:], atomic=atomic)
    touched = [one.service for one in all_parts if one.now and one.service in {"a", *found.goes}]
    order: list[str] = []
    while len(order) < len(touched):
        order.append(next(s for s in touched if s not in order and found.after[s] <= set(order)))
    if any(sound(all_parts, other) for other in permutations(touched)):
        assert sound(all_parts, order)


@given(parts_of(NAMES), OUTSIDER, st.booleans())
def test_nothing_that_stays_loses_what_it_needs_unless_that_is_said(
    parts: tuple[Part, ...], outsider: dict[str, str], atomic: bool
) -> None:
    failed = Part("a", parts[0].pinned, parts[0].before, parts[0].pinned)
    all_parts = (failed, *parts[1:])
    found = taken(failed, *parts[1:], atomic=atomic, other=outsider)
    going = {"a", *found.goes}
    before, after = state(all_parts, ()), state(all_parts, going)
    versions = {name: work.target.version for name, work in after.items()}
    was = {name: work.target.version for name, work in before.items()}
    keeps = {name: work.release.requires for name, work in before.items() if name not in going} | {
        "other": outsider
    }
    for name, requires in keeps.items():
        for needed, wanted in requires.items():
            if holds(wanted, was.get(needed)) and not holds(wanted, versions.get(needed)):
                assert (needed, name in found.stays["a"]) == ("a", True)
    if atomic:
        assert going | found.stays.keys() >= {one.service for one in parts}
