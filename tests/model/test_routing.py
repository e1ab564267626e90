"""Who is told of what: rules, and that exclusion beats inclusion."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.notice import Notice, Severity
from reconciler.model.routing import Match, Rule, routed, unheard

AT = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
CHANNELS = ("slack", "mail", "pager")


def told(environment: str = "production", service: str = "api", severity: Severity = "info") -> Notice:
    return Notice(environment, service, "", severity, AT)


def test_without_rules_everything_goes_everywhere() -> None:
    assert routed(told(), (), CHANNELS) == CHANNELS


def test_a_notice_goes_where_a_rule_means_it_by_everything_that_the_rule_says() -> None:
    rules = (
        Rule(("slack",), Match(environments=("prod*",))),
        Rule(("pager",), Match(("production",), ("person",), ("api", "web-?"))),
    )
    assert routed(told(), rules, CHANNELS) == ("slack",)
    assert routed(told(severity="person"), rules, CHANNELS) == ("slack", "pager")
    assert routed(told(service="web-1", severity="person"), rules, CHANNELS) == ("slack", "pager")
    assert routed(told(service="web-10", severity="person"), rules, CHANNELS) == ("slack",)
    assert routed(told("staging", severity="person"), rules, CHANNELS) == ()


def test_what_is_excluded_for_a_channel_goes_there_by_no_other_rule() -> None:
    rules = (
        Rule(("slack", "mail"), exclude=Match(services=("noisy",))),
        Rule(("slack",), Match(services=("noisy",))),
        Rule(("pager",)),
    )
    for order in (rules, rules[::-1]):
        assert routed(told(service="noisy"), order, CHANNELS) == ("pager",)
        assert routed(told(), order, CHANNELS) == CHANNELS


def test_what_concerns_all_is_meant_by_a_rule_for_some_and_not_by_an_exclusion_of_some() -> None:
    rules = (
        Rule(
            ("slack",),
            Match(environments=("production",), services=("api",)),
            Match(("production",), (), ("web",)),
        ),
    )
    assert routed(told("", ""), rules, CHANNELS) == ("slack",)
    assert routed(told("production", ""), rules, CHANNELS) == ("slack",)
    assert routed(told("staging", ""), rules, CHANNELS) == ()


NAMES = st.sampled_from(["production", "staging", ""])
SERVICES = st.sampled_from(["api", "web-1", ""])
PATTERNS = st.lists(st.sampled_from(["production", "stag*", "*", "api", "web-?"]), max_size=2).map(tuple)
SEVERITIES: st.SearchStrategy[Severity] = st.sampled_from(["info", "warning", "person"])
MATCHES = st.builds(Match, PATTERNS, st.lists(SEVERITIES, max_size=2).map(tuple), PATTERNS)
RULES = st.lists(
    st.builds(
        Rule,
        st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=2).map(tuple),
        MATCHES,
        st.none() | MATCHES,
    ),
    min_size=1,
    max_size=4,
)
NOTICES = st.builds(lambda e, s, v: Notice(e, s if e else "", "", v, AT), NAMES, SERVICES, SEVERITIES)


@given(NOTICES, RULES, st.sampled_from(CHANNELS))
def test_exclusion_beats_inclusion_in_whatever_order(notice: Notice, rules: list[Rule], channel: str) -> None:
    exclusion = Rule((channel,), Match(("nowhere",)), Match((notice.environment or "production",)))
    before = routed(notice, rules, CHANNELS)
    for more in ([exclusion, *rules], [*rules, exclusion]):
        after = routed(notice, more, CHANNELS)
        if notice.environment:
            assert after == tuple(name for name in before if name != channel)
        else:
            assert {*before} <= {*after}, "what concerns all is not excluded with one environment"
    assert routed(notice, rules[::-1], CHANNELS) == before


@given(RULES)
def test_where_nobody_would_hear_of_it_is_found(rules: list[Rule]) -> None:
    found = unheard(rules, ())
    if found:
        assert routed(told(*found, "person"), rules, CHANNELS) == ()
    else:
        for environment in ("production", "staging", "any"):
            for service in ("api", "web-1", "any", ""):
                assert routed(told(environment, service, "person"), rules, CHANNELS)


@pytest.mark.parametrize(
    ("rules", "environments", "gap"),
    [
        ((), (), None),
        ((Rule(("slack",)),), (), None),
        ((Rule(("slack",), Match(severities=("info", "warning"))),), (), ("", "")),
        ((Rule(("slack",), Match(("production",))),), (), ("any-other", "")),
        ((Rule(("slack",), Match(("production",))),), ("production",), None),
        ((Rule(("slack",), Match((), (), ("web-*",))),), (), ("any-other", "any-other")),
        ((Rule(("slack",), Match(), Match(services=("web-*",))),), ("production",), ("production", "web-")),
    ],
)
def test_gaps(rules: tuple[Rule, ...], environments: tuple[str, ...], gap: tuple[str, str] | None) -> None:
    assert unheard(rules, environments) == gap
