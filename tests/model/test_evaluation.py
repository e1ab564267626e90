"""Who gets which value of a live flag: rules, percentages, and every way to ask wrongly."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.environment import FlagSetting
from reconciler.model.evaluation import Evaluated, Failed, evaluate
from reconciler.model.snapshot import Snapshot
from reconciler.model.standing import Standing, clashes, doubtful, standings
from reconciler.model.targeting import bucket
from tests.model.test_preview import production, release, snapshot

PEOPLE = [f"person-{number}" for number in range(20_000)]
TOLERANCE = 0.01
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
EVERY_KIND = """
    rules:
      - {when: {targetingKey: ada}, value: one}
      - {when: {plan: {is: [pro, 7, true], not: basic}, country: {not: AT}}, value: two}
      - {when: {email: {starts_with: "a", ends_with: ["@example.org", ".net"], contains: b}}, value: three}
      - {when: {app: {version: ">=2.1 <3"}, age: {at_least: 18, below: 65}}, value: four, percent: 50}
      - {when: {size: {above: 1, at_most: 2}}, by: user.company,
         split: [{value: five, percent: 10}, {value: six, percent: 90}]}
"""


def flags_of(made: Snapshot, name: str = "production") -> dict[str, Standing]:
    place = made.environments[name]
    releases = [made.releases[pin.service, pin.version.text] for pin in place.pins.values()]
    return standings(releases, place.flags, {}, {})


def flag(setting: str, default: str = "plain") -> Standing:
    """The flag `style` as an environment sets it."""
    made = snapshot(
        release("api", "1.0.0", f"flags: {{style: {{default: {default}, live: true}}}}"),
        production(f"flags:\n  style: {setting}\n" if setting else "", api="1.0.0"),
    )
    assert made.problems == ()
    return flags_of(made)["style"]


def value(standing: Standing, **context: Any) -> Any:
    found = evaluate(standing, context)
    assert isinstance(found, Evaluated), found
    return found.value


def told(standing: Standing, **context: Any) -> tuple[Any, str, str]:
    found = evaluate(standing, context)
    assert isinstance(found, Evaluated), found
    return found.value, found.variant, found.reason


def test_a_flag_without_rules_has_one_value_for_all() -> None:
    assert told(flag("")) == ("plain", "plain", "DEFAULT")
    assert told(flag("fancy")) == ("fancy", "fancy", "STATIC")
    assert told(flag("{value: fancy}"), targetingKey="ada") == ("fancy", "fancy", "STATIC")


@pytest.mark.parametrize(
    ("default", "setting", "found"),
    [
        ("false", "true", (True, "on", "STATIC")),
        ("true", "false", (False, "off", "STATIC")),
        ("3", "4", (4, "4", "STATIC")),
        ("0.5", "2", (2.0, "2.0", "STATIC")),
        ("{a: 1}", "{value: {a: 2}}", ({"a": 2}, "7e8059f4", "STATIC")),
    ],
)
def test_every_type_of_value_is_told_as_what_it_is(default: str, setting: str, found: Any) -> None:
    answer = told(flag(setting, default))
    assert (answer, type(answer[0])) == (found, type(found[0]))


def test_the_first_rule_that_applies_counts() -> None:
    standing = flag(EVERY_KIND)
    assert told(standing, targetingKey="ada", plan="pro", country="DE") == ("one", "one", "TARGETING_MATCH")
    assert told(standing, plan="pro", country="DE") == ("two", "two", "TARGETING_MATCH")
    assert told(standing, targetingKey="bob") == ("plain", "plain", "DEFAULT")


@pytest.mark.parametrize(
    ("condition", "fitting", "others"),
    [
        ("pro", ["pro", ["basic", "pro"]], ["Pro", "", None, {}, ["basic"], [], 1]),
        ("[pro, 7, true]", ["pro", 7, 7.0, True], [1, "7", "true", False, None]),
        ("1", [1, 1.0], [True, "1"]),
        ("{not: AT}", ["DE", 1, ["DE"], []], ["AT", ["DE", "AT"], None]),
        ("{is: [a, b], not: b}", ["a"], ["b", "c", ["a", "b"]]),
        ("{starts_with: ab}", ["ab", "abc", ["x", "abc"]], ["a", "cab", 1, None]),
        ("{ends_with: ['@example.org', '.net']}", ["a@example.org", "x.net"], ["example.org", "net."]),
        ("{contains: b}", ["abc"], ["ac", ["a", "c"], {"b": 1}]),
        ("{version: '>=2.1 <3'}", ["2.1.0", "2.99.0+a"], ["2.0.9", "3.0.0", "2.5.0-rc.1", "2.1", 2.1, ""]),
        ("{at_least: 18, below: 65}", [18, 64.9, [7, 30]], [17, 65, True, "30", None]),
        ("{above: 1, at_most: 2}", [1.5, 2], [1, 2.1, 10**400]),
    ],
)
def test_a_condition_looks_at_one_attribute(condition: str, fitting: list[Any], others: list[Any]) -> None:
    standing = flag(f"{{rules: [{{when: {{x: {condition}}}, value: fancy}}]}}")
    assert {repr(one): value(standing, x=one) for one in fitting} == {repr(one): "fancy" for one in fitting}
    assert {repr(one): value(standing, x=one) for one in others} == {repr(one): "plain" for one in others}


def test_an_attribute_may_stand_inside_another() -> None:
    standing = flag("{rules: [{when: {user.plan: pro}, value: fancy}]}")
    assert value(standing, user={"plan": "pro"}) == value(standing, **{"user.plan": "pro"}) == "fancy"
    assert value(standing, user="pro") == value(standing, user={"plan": {}}) == "plain"


@pytest.mark.parametrize("percent", [0.1, 1, 20, 50, 99])
def test_a_percentage_is_about_that_many_of_the_people(percent: float) -> None:
    standing = flag(f"{{rules: [{{value: fancy, percent: {percent}}}]}}")
    chosen = sum(value(standing, targetingKey=one) == "fancy" for one in PEOPLE)
    assert abs(chosen / len(PEOPLE) - percent / 100) < TOLERANCE


def test_raising_a_percentage_only_adds_people() -> None:
    def chosen(percent: float) -> set[str]:
        standing = flag(f"{{rules: [{{value: fancy, percent: {percent}}}]}}")
        return {one for one in PEOPLE[:3000] if value(standing, targetingKey=one) == "fancy"}

    before: set[str] = set()
    for percent in (0, 0.5, 10, 33.333, 34, 80, 100):
        now = chosen(percent)
        assert before <= now
        before = now
    assert len(before) == 3000


@given(st.text(min_size=1, max_size=50), st.integers(0, 100_000), st.integers(0, 100_000))
def test_whoever_is_in_stays_in_as_the_percentage_grows(key: str, one: int, other: int) -> None:
    low, high = sorted((one, other))
    fancy = [evaluate(flag_at(thousandths / 1000), {"targetingKey": key}) for thousandths in (low, high)]
    values = [found.value for found in fancy if isinstance(found, Evaluated)]
    assert values in (["plain", "plain"], ["plain", "fancy"], ["fancy", "fancy"])


def flag_at(percent: float) -> Standing:
    standing = flag("{rules: [{value: fancy, percent: 50}]}")
    rule = standing.rules[0]
    portion = type(rule.portions[0])(rule.portions[0].value, rule.portions[0].place, percent)
    return Standing("style", ("api",), "plain", rules=(type(rule)((portion,)),))


def test_who_is_chosen_does_not_change_from_release_to_release_of_ugs() -> None:
    assert [bucket("style", one) for one in ("ada", "bob", "")] == [81037, 59097, 94927]


def test_people_are_chosen_anew_for_each_flag() -> None:
    both = sum(bucket("one", key) < 50_000 and bucket("two", key) < 50_000 for key in PEOPLE)
    assert abs(both / len(PEOPLE) - 0.25) < TOLERANCE


def test_a_split_shares_out_several_values_and_the_rest_goes_on() -> None:
    standing = flag(
        "{value: plain, rules: [{split: [{value: a, percent: 20}, {value: b, percent: 30}]}, {when: {x: 1}, value: c}]}"
    )
    found = [value(standing, targetingKey=one, x=1) for one in PEOPLE]
    shares = {one: found.count(one) / len(found) for one in ("a", "b", "c")}
    assert shares == {
        "a": pytest.approx(0.2, abs=0.01),
        "b": pytest.approx(0.3, abs=0.01),
        "c": pytest.approx(0.5, abs=0.01),
    }
    assert told(standing, targetingKey=PEOPLE[found.index("a")]) == ("a", "a", "SPLIT")


def test_a_percentage_of_nothing_or_all_needs_no_key() -> None:
    assert told(flag("{rules: [{value: fancy, percent: 0}]}")) == ("plain", "plain", "DEFAULT")
    assert told(flag("{rules: [{value: fancy, percent: 100}]}")) == ("fancy", "fancy", "STATIC")
    split = flag("{rules: [{split: [{value: a, percent: 0}, {value: b, percent: 100}]}]}")
    assert told(split) == ("b", "b", "STATIC")


def test_those_of_one_company_stay_together() -> None:
    standing = flag("{rules: [{value: fancy, percent: 50, by: company}]}")
    for company in (1, 2.5, True, "acme"):
        assert len({value(standing, targetingKey=one, company=company) for one in PEOPLE[:20]}) == 1
    assert {value(standing, company=company) for company in range(20)} == {"plain", "fancy"}


@pytest.mark.parametrize(
    ("by", "context", "code"),
    [
        ("", {}, "TARGETING_KEY_MISSING"),
        ("", {"targetingKey": ""}, "INVALID_CONTEXT"),
        ("", {"targetingKey": []}, "INVALID_CONTEXT"),
        ("", {"targetingKey": "x" * 1001}, "INVALID_CONTEXT"),
        (", by: company", {"targetingKey": "ada"}, "INVALID_CONTEXT"),
        (", by: company", {"company": {}}, "INVALID_CONTEXT"),
    ],
)
def test_who_cannot_be_placed_gets_an_error(by: str, context: dict[str, Any], code: str) -> None:
    found = evaluate(flag(f"{{rules: [{{value: fancy, percent: 50{by}}}]}}"), context)
    assert isinstance(found, Failed)
    assert (found.key, found.code) == ("style", code)


NAMES = (
    st.sampled_from(["targetingKey", "plan", "country", "email", "app", "age", "size", "user"]) | st.text()
)


@settings(max_examples=300)
@given(st.dictionaries(NAMES, JSON, max_size=8))
def test_nothing_in_a_context_makes_it_fall_over(context: dict[str, Any]) -> None:
    found = evaluate(flag(EVERY_KIND), context)
    assert found == evaluate(flag(EVERY_KIND), context)
    assert isinstance(found, Evaluated | Failed)


# what a file may say


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("{}", "flags.style"),
        ("{vlaue: a}", "flags.style.vlaue"),
        ("{rules: []}", "flags.style.rules"),
        (
            "{rules: [{when: {x: 1}}]}",
            "flags.style.rules[0]: this rule gives no value; add `value`, or `split`",
        ),
        ("{rules: [{value: a, percent: 101}]}", "flags.style.rules[0].percent"),
        (
            "{rules: [{value: a, percent: 0.1234}]}",
            "a percentage has at most three decimals; write for example 0.123",
        ),
        (
            "{rules: [{split: [{value: a, percent: 60}, {value: b, percent: 50}]}]}",
            "the portions are 110 % together",
        ),
        ("{rules: [{value: a, split: [{value: a, percent: 6}]}]}", "either one `value` or a `split`"),
        ("{rules: [{value: a, by: company}]}", "rules[0].by: everyone gets the same here"),
        ("{rules: [{value: a}, {when: {x: 1}, value: b}]}", "rules[1]: nobody gets as far as this rule"),
        ("{rules: [{when: {x: {version: '>>1'}}, value: a}]}", "when.x.version: '>>1', column 2"),
        ("{rules: [{when: {x: {above: 3, at_most: 3}}, value: a}]}", "when.x: no number is between these"),
        ("{rules: [{when: {x: {at_least: 3, below: 2}}, value: a}]}", "when.x: no number is between these"),
        ("{rules: [{when: {x: [a, a]}, value: a}]}", "'a' is listed twice"),
        ("{rules: [{when: {x: {starts_with: [a, a]}}, value: a}]}", "'a' is listed twice"),
        ("{rules: [{when: {x: {like: a}}, value: a}]}", "when.x.like"),
        ("{rules: [{when: {x: {}}, value: a}]}", "when.x"),
        ("{rules: [{when: {}, value: a}]}", "when"),
        (
            "{rules: [{when: {x: 1}, value: 3}]}",
            "declares this flag as text, and this is a whole number; write text",
        ),
        ("{value: true}", "declares this flag as text, and this is true or false"),
        ("7", "declares this flag as text, and this is a whole number"),
    ],
)
def test_a_setting_that_is_wrong_is_an_error_of_its_place_and_of_the_flag_alone(
    setting: str, said: str
) -> None:
    made = snapshot(
        release("api", "1.0.0", "flags: {style: {default: plain, live: true}}"),
        production(f"flags:\n  style: {setting}\n", api="1.0.0"),
    )
    assert said in "\n".join(map(str, made.problems))
    assert {(problem.place.file, problem.place.line) for problem in made.problems} == {
        ("environments/production.yaml", 4)
    }
    assert made.blind_pins == frozenset()


def test_a_number_that_may_have_decimals_may_have_none() -> None:
    assert value(flag("{rules: [{value: 2}]}", "0.5")) == 2.0
    made = snapshot(
        release("api", "1.0.0", "flags: {style: {default: 1, live: true}}"),
        production("flags: {style: 1.5}\n", api="1.0.0"),
    )
    assert "as a whole number, and this is a number" in str(made.problems)


def test_a_flag_that_processes_are_given_has_no_rules() -> None:
    made = snapshot(
        release("api", "1.0.0", "flags: {style: {default: plain}}"),
        production("flags: {style: {rules: [{value: fancy}]}}\n", api="1.0.0"),
    )
    [problem] = made.problems
    assert "api 1.0.0 declares this flag without `live`, so that it has no rules" in str(problem)
    assert made.blind_pins == {("production", "api")}


def test_a_mapping_is_for_live_flags_alone() -> None:
    made = snapshot(release("api", "1.0.0", "flags: {style: {default: {a: 1}}}"), production(api="1.0.0"))
    assert "flags.style.default: a process cannot be given a mapping; add `live: true`" in "\n".join(
        map(str, made.problems)
    )


WEB = "flags: {style: {default: %s, live: true}}"


@pytest.mark.parametrize(
    ("other", "setting", "said"),
    [
        (
            "1",
            "",
            "web 1.0.0 declares this flag as a whole number, and api 1.0.0 as text; give one of the two",
        ),
        (
            "other",
            "",
            'with the default "other", and api 1.0.0 with "plain"; set a value for all in environments/',
        ),
        ("other", "flags: {style: {rules: [{value: a}]}}\n", 'with the default "other"'),
    ],
)
def test_what_two_releases_declare_otherwise_is_an_error(other: str, setting: str, said: str) -> None:
    made = snapshot(
        release("api", "1.0.0", WEB % "plain"),
        release("web", "1.0.0", WEB % other),
        production(setting, api="1.0.0", web="1.0.0"),
    )
    [problem] = made.problems
    assert said in str(problem)
    assert made.blind_pins == frozenset()
    place = made.environments["production"]
    assert doubtful(place, made.releases.values()) == {"style"}


def test_two_releases_may_declare_one_flag_with_other_defaults_where_a_value_is_set() -> None:
    made = snapshot(
        release("api", "1.0.0", WEB % "plain"),
        release("web", "1.0.0", WEB % "other"),
        production("flags: {style: fancy}\n", api="1.0.0", web="1.0.0"),
    )
    assert made.problems == ()
    assert flags_of(made)["style"].services == ("api", "web")
    assert clashes(made.environments["production"], made.releases.values()) == []


def test_settings_of_a_wrong_type_do_not_count() -> None:
    made = snapshot(release("api", "1.0.0", WEB % "plain"), production("flags: {style: 3}\n", api="1.0.0"))
    assert flags_of(made)["style"].plain == "plain"


def test_a_flag_of_processes_has_its_new_value_once_all_that_run_have_it() -> None:
    made = snapshot(
        release("api", "1.0.0", "flags: {style: {default: plain}}"),
        release("web", "1.0.0", "flags: {style: {default: plain}}"),
        production("flags: {style: fancy}\n", api="1.0.0", web="1.0.0"),
    )
    place = made.environments["production"]
    handed = {"api": {"style": "fancy"}, "web": {"style": "fancy"}}

    def plain(**running: str) -> Any:
        given = {service: {"style": one} for service, one in running.items()}
        return standings(list(made.releases.values()), place.flags, handed, given)["style"].plain

    assert plain(api="plain", web="plain") == plain(api="fancy", web="plain") == "plain"
    assert plain(api="fancy", web="fancy") == plain() == "fancy"
    assert standings(list(made.releases.values()), place.flags, {}, {})["style"].plain == "fancy"


def test_the_same_rules_elsewhere_in_the_file_are_the_same() -> None:
    one, other = flag("{rules: [{value: a}]}"), flag("\n    rules:\n      - value: a")
    assert one != other
    assert one.answers_as(other)
    assert not one.answers_as(flag("{rules: [{value: b}]}"))
    assert FlagSetting("a", one.rules[0].portions[0].place) is not None
