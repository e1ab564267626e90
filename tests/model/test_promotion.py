"""What moves from one environment to the next: only upwards, only what soaked, and never what failed on the way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.model.circumstances import Promoted
from reconciler.model.environment import Environment, Freeze, Pin, Policy, Promotion
from reconciler.model.permits import Hold, Permits
from reconciler.model.promoted import asked, message, wanted
from reconciler.model.promotion import Stage, Train, Verdict, decide, due, groups, moot
from reconciler.model.range import Range
from reconciler.model.release import Release, Upgrading, Withdrawn
from reconciler.model.version import Version
from tests.build import NOW, environment, pin, release

DAY = timedelta(days=1)
RULE = Promotion("staging", soak_s=86400.0, by="commit")


def placed(*pins: Pin, rule: Promotion = RULE, **fields: Any) -> Environment:
    return environment(*pins, policy=Policy(promote=rule), **fields)


def stage(name: str = "staging", **versions: str) -> Stage:
    """An environment in which these have been healthy for two days."""
    there = {service: Version(text) for service, text in versions.items()}
    return Stage(name, {one: Promoted(version, NOW - 2 * DAY) for one, version in there.items()}, pins=there)


def train(place: Environment, *stages: Stage, releases: tuple[Release, ...] = (), **fields: Any) -> Train:
    known: dict[str, dict[Version, Release]] = {}
    pinned = [release(one.version.text, one.service) for one in place.pins.values()]
    soaked = [release(str(version), name) for one in stages for name, version in one.pins.items()]
    for one in (*pinned, *soaked, *releases):
        known.setdefault(one.service, {})[one.version] = one
    here = fields.pop("here", Stage(place.name))
    return Train(place, here, stages, known, **fields)


def of(looked: Train, service: str = "api") -> Verdict:
    return decide(looked, now=NOW)[service]


def moved(looked: Train) -> dict[str, str]:
    return {one.service: str(one.to) for one in due(decide(looked, now=NOW))}


def test_what_has_soaked_is_due() -> None:
    assert moved(train(placed(pin("1.0.0")), stage(api="1.1.0"))) == {"api": "1.1.0"}


def test_nobody_moves_anything_unless_the_policy_says_who() -> None:
    quiet = train(placed(pin("1.0.0"), rule=Promotion("staging")), stage(api="1.1.0"))
    assert decide(quiet, now=NOW) == {}
    assert decide(replace(quiet, place=environment(pin("1.0.0"))), now=NOW) == {}


def test_what_has_not_soaked_yet_says_until_when() -> None:
    young = replace(stage(api="1.1.0"), proved={"api": Promoted(Version("1.1.0"), NOW - DAY / 2)})
    verdict = of(train(placed(pin("1.0.0")), young))
    assert "has to run healthily in staging until" in verdict.why
    assert verdict.until == NOW + DAY / 2


def test_what_is_ill_there_is_not_due_however_long_it_ran() -> None:
    ill = Promoted(Version("1.1.0"), NOW - 9 * DAY, "is degraded")
    verdict = of(train(placed(pin("1.0.0")), replace(stage(api="1.1.0"), proved={"api": ill})))
    assert (verdict.why, verdict.until) == ("1.1.0 is degraded in staging", None)


@pytest.mark.parametrize(
    ("pinned", "there", "why"),
    [
        ("1.1.0", "1.1.0", "1.1.0 runs there too"),
        ("1.2.0", "1.1.0", "1.2.0 is newer than 1.1.0, which runs there"),
    ],
)
def test_nothing_moves_downwards(pinned: str, there: str, why: str) -> None:
    verdict = of(train(placed(pin(pinned)), stage(api=there)))
    assert (verdict.to, verdict.why) == (None, why)


def test_what_never_ran_there_is_not_waited_for() -> None:
    verdict = of(train(placed(pin("1.0.0")), stage()))
    assert (verdict.to, verdict.why) == (None, "nothing of it has proved healthy in staging")


def test_what_failed_anywhere_before_it_or_here_is_held() -> None:
    place, near = placed(pin("1.0.0")), stage(api="1.1.0")
    far = Stage("dev", failed={("api", "1.1.0"): "HTTP 500"})
    verdict = of(train(place, near, far))
    assert verdict.why == ("1.1.0 is in quarantine in dev (HTTP 500); `ugs retry dev api` tries it once more")
    here = Stage("production", failed={("api", "1.1.0"): "HTTP 500"})
    assert "in quarantine in production" in of(train(place, near, here=here)).why
    other = Stage("dev", failed={("api", "1.0.9"): "HTTP 500", ("web", "1.1.0"): "HTTP 500"})
    assert moved(train(place, near, other)) == {"api": "1.1.0"}


def test_what_is_not_known_of_the_train_holds_it() -> None:
    verdict = of(train(placed(pin("1.0.0")), stage(api="1.1.0"), Stage("dev", unknown="dev is in safe mode")))
    assert verdict.why == "dev is in safe mode"


def test_what_is_refused_for_good_says_why() -> None:
    why = "1.1.0 was pinned here before"
    assert of(train(placed(pin("1.0.0")), stage(api="1.1.0"), refused={("api", "1.1.0"): why})).why == why


def test_what_is_pinned_there_no_longer_is_not_due() -> None:
    looked = train(placed(pin("1.0.0")), stage(api="1.1.0"))
    for pins in ({"api": Version("1.0.0")}, dict[str, Version]()):
        back = replace(looked, stages=(replace(stage(api="1.1.0"), pins=pins),))
        assert of(back).why == "1.1.0 is pinned in staging no longer"
    onward = replace(stage(api="1.1.0"), pins={"api": Version("1.2.0")})
    assert moved(replace(looked, stages=(onward,))) == {"api": "1.1.0"}


def test_steps_and_services_may_be_left_to_people() -> None:
    small = replace(RULE, classes=("minor", "patch"))
    looked = train(placed(pin("1.0.0"), rule=small), stage(api="2.0.0"))
    assert "2.0.0 is a major step" in of(looked).why
    assert moved(train(placed(pin("1.0.0"), rule=small), stage(api="1.9.0"))) == {"api": "1.9.0"}
    few = placed(pin("1.0.0"), pin("1.0.0", "web"), rule=replace(RULE, services=("web",)))
    assert moved(train(few, stage(api="1.1.0", web="1.1.0"))) == {"web": "1.1.0"}


def test_pre_releases_come_only_where_one_is_pinned() -> None:
    assert "pre-release" in of(train(placed(pin("1.0.0")), stage(api="1.1.0-rc.2"))).why
    assert moved(train(placed(pin("1.1.0-rc.1")), stage(api="1.1.0-rc.2"))) == {"api": "1.1.0-rc.2"}


def test_what_was_withdrawn_or_has_no_release_is_never_chosen() -> None:
    bad = release("1.1.0", withdrawn=Withdrawn("loses orders", "2026-11-02"))
    assert of(train(placed(pin("1.0.0")), stage(api="1.1.0"), releases=(bad,))).why == (
        "1.1.0 is withdrawn: loses orders"
    )
    unknown = replace(train(placed(pin("1.0.0")), stage(api="1.1.0")), releases={})
    assert of(unknown).why == "there is no release 1.1.0 in the repository"


def test_holds_freezes_and_upgrades_under_way_are_waited_out() -> None:
    looked = train(placed(pin("1.0.0")), stage(api="1.1.0"))
    hold = Hold(7, "production", None, "audit", "ada", NOW - DAY, NOW + DAY)
    held = of(replace(looked, permits=Permits(holds=(hold,))))
    assert "audit" in held.why
    assert held.until == NOW + DAY
    still = Freeze("year end", from_="2026-11-01", until="2026-11-30", except_=("emergency",))
    cold = placed(pin("1.0.0"), freezes=(still,), timezone="UTC")
    frozen = of(train(cold, stage(api="1.1.0")))
    assert "year end" in frozen.why
    assert frozen.until
    urgent = release("1.1.0", upgrade=Upgrading(urgency="emergency"))
    assert moved(train(cold, stage(api="1.1.0"), releases=(urgent,))) == {"api": "1.1.0"}
    assert of(replace(looked, busy=frozenset({"api"}))).why == "its upgrade is under way"
    assert "cannot be used" in of(replace(looked, blind=frozenset({"api"}))).why


def test_services_that_need_one_another_move_together() -> None:
    web = release("2.0.0", "web", requires={"api": ">=2.0.0"})
    old = release("1.0.0", "web", requires={"api": "<2.0.0"})
    place = placed(pin("1.0.0"), pin("1.0.0", "web"))
    both = train(place, stage(api="2.0.0", web="2.0.0"), releases=(web, old))
    assert moved(both) == {"api": "2.0.0", "web": "2.0.0"}

    young = replace(
        both.stages[0],
        proved={**both.stages[0].proved, "api": Promoted(Version("2.0.0"), NOW)},
    )
    waits = decide(replace(both, stages=(young,)), now=NOW)
    assert due(waits) == ()
    assert waits["web"].why.startswith(
        "it needs api >=2.0.0, and 1.0.0 is pinned here (api 2.0.0 is not moved"
    )
    assert waits["web"].until == waits["api"].until == NOW + DAY

    alone = replace(both, place=replace(place, policy=Policy(promote=replace(RULE, services=("api",)))))
    assert decide(alone, now=NOW)["api"].why == "web 1.0.0 needs api <2.0.0"


def test_what_is_needed_and_not_pinned_here_keeps_it() -> None:
    web = release("2.0.0", "web", requires={"cache": "*"})
    looked = train(placed(pin("1.0.0", "web")), stage(web="2.0.0"), releases=(web,))
    assert of(looked, "web").why == "it needs cache *, and it is not pinned here"


def test_a_requirement_that_was_never_met_keeps_nobody_else() -> None:
    odd = release("1.0.0", "web", requires={"api": ">=9.0.0"})
    looked = train(
        placed(pin("1.0.0"), pin("1.0.0", "web")), stage(api="1.1.0", web="1.0.0"), releases=(odd,)
    )
    assert moved(looked) == {"api": "1.1.0"}


def test_the_commit_says_what_moves_and_why() -> None:
    looked = train(placed(pin("1.0.0"), pin("1.0.0", "web")), stage(api="1.1.0", web="1.2.0"))
    text = message("production", RULE, due(decide(looked, now=NOW)))
    assert text.splitlines()[0] == "Promote api 1.1.0 and web 1.2.0 to production"
    assert "- api 1.0.0 to 1.1.0: healthy in staging since 2026-11-01 12:00 UTC" in text
    assert [line for line in text.splitlines() if line.startswith(("Ugs-Service", "Ugs-To"))] == [
        "Ugs-Service: api",
        "Ugs-To: 1.1.0",
        "Ugs-Service: web",
        "Ugs-To: 1.2.0",
    ]


def test_a_pull_request_asks_for_what_goes_together_and_is_known_by_it() -> None:
    web = release("2.0.0", "web", requires={"api": ">=2.0.0"})
    place = placed(pin("1.0.0"), pin("1.0.0", "db"), pin("1.0.0", "web"))
    looked = train(place, stage(api="2.0.0", db="1.1.0", web="2.0.0"), releases=(web,))
    both, alone = groups(looked, due(decide(looked, now=NOW)))
    assert ([one.service for one in both], [one.service for one in alone]) == (["api", "web"], ["db"])
    made = wanted("production", RULE, both)
    assert made.branch == "ugs-promote-production.api"
    assert made.title == "Promote api 2.0.0 and web 2.0.0 to production"
    assert [asked(ask) for ask in made.asks] == [
        ("production", "api", "2.0.0"),
        ("production", "web", "2.0.0"),
    ]
    assert "healthy in staging since" in made.body
    assert "Ugs-Promotion: " in made.commit_message


def test_what_is_asked_for_is_moot_only_when_it_can_come_no_more() -> None:
    looked = train(placed(pin("1.0.0")), stage(api="1.1.0"))
    assert moot(of(looked), "1.1.0") == ""
    assert moot(of(replace(looked, busy=frozenset({"api"}))), "1.1.0") == ""
    assert moot(of(train(placed(pin("1.0.0")), stage(api="1.2.0"))), "1.1.0") == ""
    shut = replace(looked, here=Stage("production", failed={("api", "1.1.0"): "HTTP 500"}))
    assert "comes no more: 1.1.0 is in quarantine in production" in moot(of(shut), "1.1.0")
    assert (
        moot(of(train(placed(pin("1.1.0")), stage(api="1.1.0"))), "1.1.0") == "api is pinned to 1.1.0 by now"
    )
    assert "comes no more" in moot(of(train(placed(pin("1.0.0")), stage(api="1.0.0"))), "1.1.0")
    for known in ({}, {"api": "1.0.0"}, {"api": "1.0.1"}):
        unsaid = of(train(placed(pin("1.0.0")), replace(stage(**known), unknown="it is in safe mode")))
        assert moot(unsaid, "1.1.0") == ""
        assert moot(unsaid, "1.0.0") == "api is pinned to 1.0.0 by now"
    nothing = train(placed(pin("1.0.0")), Stage("staging", unknown="it is in safe mode"))
    assert of(nothing).why == "it is in safe mode"
    assert moot(None, "1.1.0") == "it is pinned, or promoted, no longer"
    assert moot(of(looked), "one") == "one is no version"


VERSIONS = ("1.0.0", "1.1.0", "1.2.0", "2.0.0")
SERVICES = ("api", "db", "web")
RANGES = ("*", "<1.2.0", ">=1.1.0", ">=2.0.0", "1.x")
one_of_each = st.fixed_dictionaries({name: st.sampled_from(VERSIONS) for name in SERVICES})
pairs = st.frozensets(st.tuples(st.sampled_from(SERVICES), st.sampled_from(VERSIONS)), max_size=4)


@st.composite
def releases(draw: st.DrawFn) -> tuple[Release, ...]:
    needs = st.dictionaries(st.sampled_from(SERVICES), st.sampled_from(RANGES), max_size=2)
    return tuple(
        release(version, name, requires={k: v for k, v in draw(needs).items() if k != name})
        for name in SERVICES
        for version in VERSIONS
    )


@given(pinned=one_of_each, there=one_of_each, known=releases(), bad=pairs, worse=pairs, left=pairs)
def test_never_downwards_never_what_failed_and_every_requirement_that_held_still_holds(
    pinned: dict[str, str],
    there: dict[str, str],
    known: tuple[Release, ...],
    bad: frozenset[tuple[str, str]],
    worse: frozenset[tuple[str, str]],
    left: frozenset[tuple[str, str]],
) -> None:
    place = placed(*(pin(version, service) for service, version in pinned.items()))
    looked = train(
        place,
        stage(**there),
        Stage("dev", failed=dict.fromkeys(worse, "failed")),
        releases=known,
        here=Stage("production", failed=dict.fromkeys(bad, "failed")),
        refused=dict.fromkeys(left, "was there"),
    )
    verdicts = decide(looked, now=NOW)
    moves = {one.service: one.to for one in due(verdicts) if one.to}
    old = {service: Version(version) for service, version in pinned.items()}
    new = old | moves
    for service, version in moves.items():
        assert version > old[service]
        assert (service, version.text) not in bad | worse | left
    for holder, version in new.items():
        before = looked.releases[holder][old[holder]].requires
        for needed, span in looked.releases[holder][version].requires.items():
            held = Range.parse(span).contains(new[needed])
            was = holder not in moves and not Range.parse(before[needed]).contains(old[needed])
            assert held or was
    assert all(one.why for one in verdicts.values() if one.service not in moves)
    # Once they are moved nothing more is: deciding again finds what it found, less what was done.
    after = replace(place, pins={name: pin(version.text, name) for name, version in new.items()})
    assert due(decide(replace(looked, place=after), now=NOW)) == ()
