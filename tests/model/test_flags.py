"""Declared flags: who sees which value, what is wrong with one, and which targets it makes."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.model.desired import in_force, resolve
from reconciler.model.environment import FlagSetting
from reconciler.model.errors import InputError, Place
from reconciler.model.flags import Switched, described_as, switched
from reconciler.model.manifest import parse_release
from reconciler.model.planned import Planned
from reconciler.model.release import Flag
from reconciler.model.snapshot import Snapshot
from reconciler.model.target import Workload, frozen_digest, workload
from reconciler.model.thawed import thawed
from tests.build import environment as build_environment
from tests.build import pin as build_pin
from tests.build import release as build_release
from tests.model.test_manifest import document
from tests.model.test_preview import between, only, production, release, snapshot

ENVIRONMENT = "environments/production.yaml"
DECLARED = release("api", "1.0.0", "flags: {new-checkout: {default: false, description: One page.}}")
CONFIG = (
    DECLARED,
    release("web", "1.0.0", "flags: {new-checkout: {default: false}, rate: {default: 0.5}}"),
    release("base", "1.0.0"),
)


def works(*files: tuple[str, str]) -> dict[str, Workload]:
    return resolve(snapshot(*files), {})["production"].workloads


def pinned(more: str = "") -> tuple[str, str]:
    return production(more, api="1.0.0", web="1.0.0", base="1.0.0")


def test_a_service_has_the_flags_that_its_release_declares_and_no_others() -> None:
    found = works(*CONFIG, pinned("flags: {new-checkout: true}\n"))
    assert {name: work.flags for name, work in found.items()} == {
        "api": {"new-checkout": True},
        "web": {"new-checkout": True, "rate": 0.5},
        "base": {},
    }


def test_switching_a_flag_makes_other_targets_of_those_alone_that_declare_it() -> None:
    before, after = works(*CONFIG, pinned()), works(*CONFIG, pinned("flags: {rate: 1}\n"))
    assert {name for name in before if before[name].target != after[name].target} == {"web"}


def test_a_flag_that_is_set_to_its_default_changes_nothing() -> None:
    before, after = works(*CONFIG, pinned()), works(*CONFIG, pinned("flags: {new-checkout: false}\n"))
    assert {name: work.target for name, work in before.items()} == {
        name: work.target for name, work in after.items()
    }


def test_a_release_without_flags_is_the_target_that_it_was_before_there_were_any() -> None:
    plain = build_release("1.0.0")
    setting = {"new-checkout": FlagSetting(True, Place(ENVIRONMENT, 3))}
    made = workload("production", build_pin(), plain, node='"1.0.0"', flags=setting)
    # Computed by the version of UGS before this one: an upgrade of UGS redeploys nothing.
    assert str(made.target) == "1.0.0@bf9fb2b31f0d"
    assert frozen_digest(plain) == "cafcc6b1fbe31c966de06b0fc3ae71491be11f84389a9c1fcf9a92c1cf17bad0"


def test_another_default_is_another_target_even_where_the_value_is_set() -> None:
    def target(default: Any) -> object:
        declared = build_release("1.0.0", flags={"new-checkout": Flag(default)})
        setting = {"new-checkout": FlagSetting(True, Place(ENVIRONMENT, 3))}
        return workload("production", build_pin(), declared, node="", flags=setting).target

    assert target(False) != target(True)


def test_a_flag_that_nothing_pinned_declares_is_an_error_of_its_line_and_of_nothing_else() -> None:
    made = snapshot(*CONFIG, pinned("flags:\n  new-chekout: true\n"))
    assert [str(problem) for problem in made.problems] == [
        f"{ENVIRONMENT}:4:16: flags.new-chekout: no release that is pinned here declares this flag; "
        "did you mean new-checkout?"
    ]
    assert set(resolve(made, {})["production"].workloads) == {"api", "web", "base"}
    assert not made.blind
    assert not made.blind_pins


def test_a_flag_that_another_release_of_the_same_service_declares_is_told_with_that_release() -> None:
    files = [
        release("api", version, f"flags: {{{flag}: {{default: false}}}}")
        for version, flag in (("1.0.0", "old"), ("1.1.0", "old"), ("1.2.0", "new"))
    ]
    other = release("web", "1.0.0", "flags: {gone: {default: 1}}")
    made = snapshot(*files, other, production("flags: {old: true, gone: 2}\n", api="1.2.0"))
    assert [str(problem).partition("flags.")[2] for problem in made.problems] == [
        "old: no release that is pinned here declares this flag; api 1.1.0 does; remove it: what runs and needs it "
        "keeps it until it is replaced; or pin that release",
        "gone: no release that is pinned here declares this flag; remove it; they declare new",
    ]


@pytest.mark.parametrize(
    ("releases", "known"),
    [(CONFIG, "they declare new-checkout, rate"), (CONFIG[2:], "they declare none")],
)
def test_where_no_flag_is_near_all_that_there_are_are_named(
    releases: tuple[tuple[str, str], ...], known: str
) -> None:
    pins = {path.split("/")[1]: "1.0.0" for path, _ in releases}
    made = snapshot(*releases, production("flags: {zzz: 1}\n", **pins))
    [problem] = made.problems
    assert problem.remedy == f"remove it; {known}"


def test_of_many_declared_flags_only_some_are_named() -> None:
    many = release("api", "1.0.0", f"flags: {{{', '.join(f'f{n}: {{default: 1}}' for n in range(12))}}}")
    [problem] = snapshot(many, production("flags: {zzz: 1}\n", api="1.0.0")).problems
    assert problem.remedy.endswith("f6, f7 and 2 more")


@pytest.mark.parametrize(
    "files",
    [
        (*CONFIG[1:], pinned("flags: {zzz: true}\n")),  # no release of api
        ((DECLARED[0], "what?\n"), *CONFIG[1:], pinned("flags: {zzz: true}\n")),
        (
            ("environments/production/environment.yaml", production("flags: {zzz: true}\n")[1]),
            ("environments/production/web.yaml", "pins: [\n"),
        ),
    ],
)
def test_nobody_says_that_a_flag_is_undeclared_while_a_release_is_out_of_sight(
    files: tuple[tuple[str, str], ...],
) -> None:
    made = snapshot(*files)
    assert made.problems
    assert [problem for problem in made.problems if problem.path == "flags.zzz"] == []


@pytest.mark.parametrize(("value", "found"), [('"true"', "text"), ("1", "a number"), ("1.5", "a number")])
def test_a_value_of_another_type_leaves_those_that_declare_the_flag_as_they_are(
    value: str, found: str
) -> None:
    made = snapshot(*CONFIG, pinned(f"flags: {{new-checkout: {value}}}\n"))
    assert [str(problem) for problem in made.problems] == [
        f"{ENVIRONMENT}:3:23: flags.new-checkout: {service} 1.0.0 declares this flag as true or false, "
        f"and this is {found}; write true or false; its default is false"
        for service in ("api", "web")
    ]
    wanted = resolve(made, {})["production"]
    assert wanted.blind == {"api", "web"}
    assert set(wanted.workloads) == {"base"}


def test_true_is_no_number() -> None:
    made = snapshot(CONFIG[1], production("flags: {rate: true}\n", web="1.0.0"))
    assert "declares this flag as a number, and this is true or false" in str(made.problems)


@pytest.mark.parametrize(
    "line",
    [
        "flags: {New: {default: 1}}",
        "flags: {a: {}}",
        "flags: {a: true}",
        "flags: {a: {default: null}}",
        "flags: {a: {default: [1]}}",
        "flags: {a: {default: 1, owner: ada}}",
    ],
)
def test_what_is_no_declaration_is_refused_where_it_stands(line: str) -> None:
    path, text = release("api", "1.0.0", line)
    with pytest.raises(InputError) as caught:
        parse_release(document(text, path))
    assert {problem.place.line for problem in caught.value.problems} == {5}


@pytest.mark.parametrize("line", ["flags: {Up: true}", "flags: {a: null}", "flags: {a: [1]}", "flags: [a]"])
def test_what_is_no_setting_is_refused_where_it_stands(line: str) -> None:
    made = snapshot(DECLARED, production(f"{line}\n", api="1.0.0"))
    assert {(problem.place.file, problem.place.line) for problem in made.problems} == {(ENVIRONMENT, 3)}


def test_the_description_of_a_deployed_flag_may_be_edited_and_its_default_may_not() -> None:
    kept = build_release("1.0.0", flags={"a": Flag(False, "Old words."), "b": Flag(1)})
    worded = replace(kept, flags={"a": Flag(False, "New words."), "b": Flag(1)})
    frozen = {("api", "1.0.0"): kept}

    def at(edited: Any) -> Snapshot:
        return Snapshot("r", {("api", "1.0.0"): edited}, {}, {}, (), frozenset(), frozenset())

    assert thawed(at(worded), frozen) == []
    assert in_force(worded, frozen) == worded
    for flags in ({"a": Flag(True), "b": Flag(1)}, {"a": Flag(False)}, {}):
        edited = replace(kept, flags=flags)
        [problem] = thawed(at(edited), frozen)
        assert (problem.place.file, "flags" in problem.remedy) == ("releases/api/1.0.0.yaml", True)
        assert {name: flag.default for name, flag in in_force(edited, frozen).flags.items()} == {
            "a": False,
            "b": 1,
        }


def test_a_flag_that_left_the_file_keeps_its_description() -> None:
    assert described_as({"a": Flag(1, "Words.")}, {}) == {"a": Flag(1, "Words.")}


def test_a_value_that_fits_the_edited_file_and_not_what_froze_leaves_the_service_as_it_is() -> None:
    kept = build_release("1.0.0", flags={"a": Flag(False)})
    edited = replace(kept, flags={"a": Flag("off")})
    where = build_environment(build_pin(), flags={"a": FlagSetting("on", Place(ENVIRONMENT, 3))})
    nodes = {"production": {"api": '"1.0.0"'}}
    there = Snapshot(
        "r", {("api", "1.0.0"): edited}, {"production": where}, nodes, (), frozenset(), frozenset()
    )
    wanted = resolve(there, {("api", "1.0.0"): kept})["production"]
    assert wanted.blind == {"api"}
    assert not wanted.workloads


def test_a_plan_says_which_flags_change_their_values() -> None:
    def flags(before: str, after: str, *releases: tuple[str, str], to: str = "1.0.0") -> Planned:
        known = [DECLARED, *releases]
        return only(
            between(known, production(before, api="1.0.0"), production(after, api=to)),
        )

    planned = flags("", "flags: {new-checkout: true}\n")
    assert planned.flags == (Switched("new-checkout", False, True),)
    assert planned.change_class == "config"
    newer = release("api", "1.1.0", "flags: {beta: {default: 2}}")
    assert flags("", "", newer, to="1.1.0").flags == (
        Switched("beta", None, 2),
        Switched("new-checkout", False, None),
    )
    assert (
        flags("", "", release("api", "1.2.0", "flags: {new-checkout: {default: false}}"), to="1.2.0").flags
        == ()
    )


def test_a_first_deployment_switches_nothing() -> None:
    assert only(between([DECLARED], production(), production(api="1.0.0"))).flags == ()


def test_values_of_different_types_are_different() -> None:
    assert switched({"a": 1}, {"a": True}) == (Switched("a", 1, True),)
    assert switched({"a": 1, "b": "1"}, {"a": 1, "b": "1"}) == ()


def test_a_step_on_the_way_that_cannot_take_the_value_blocks_the_way() -> None:
    first = release("api", "1.0.0")
    between_them = release("api", "1.1.0", "flags: {mode: {default: 1}}")
    last = release("api", "1.2.0", "flags: {mode: {default: slow}}", "upgrade: {from: '>=1.1.0'}")
    planned = between(
        [first, between_them, last],
        production(api="1.0.0"),
        production("flags: {mode: fast}\n", api="1.2.0"),
    ).changes[0]
    assert (
        "on the way to 1.2.0: flags.mode: api 1.1.0 declares this flag as a number" in planned.change.blocked
    )
