"""What a pull request would change: which service, how, when, and what comes with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from reconciler.model.circumstances import Promoted
from reconciler.model.differences import differences
from reconciler.model.gates import closed
from reconciler.model.known import Known
from reconciler.model.permits import Approval, Hold, Permits, ask_of
from reconciler.model.plan_text import facts
from reconciler.model.planned import Planned, Preview
from reconciler.model.preview import preview
from reconciler.model.release import ConfigFile
from reconciler.model.snapshot import Cache, Snapshot, read
from reconciler.model.target import Target
from reconciler.model.version import Version
from tests.build import release as build_release
from tests.build import work

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)  # a Tuesday
LONGEST = timedelta(seconds=130)  # deadline and soak, as they are by default


class File(NamedTuple):
    mode: str
    oid: str
    path: str
    size: int


def snapshot(*files: tuple[str, str]) -> Snapshot:
    texts = dict(files)
    listed = [File("100644", text, path, len(text)) for path, text in texts.items()]
    return read("r", listed, lambda oid: oid.encode(), Cache(), lambda _path: ())


def release(service: str, version: str, *more: str, run: str = "command: [x]") -> tuple[str, str]:
    text = (
        f'service: {service}\nversion: "{version}"\nrun: {{{run}}}\n'
        f'artifact: {{archive: {{url: a.tgz, sha256: "{"0" * 64}"}}}}\n'
    )
    return f"releases/{service}/{version}.yaml", text + "".join(f"{line}\n" for line in more)


def production(more: str = "", name: str = "production", **pins: str) -> tuple[str, str]:
    lines = "".join(f"  {service}: {_value(value)}\n" for service, value in pins.items())
    text = f"environment: {name}\ndriver: {{kind: process}}\n{more}pins:\n{lines}"
    return f"environments/{name}.yaml", text if pins else text.replace("pins:\n", "pins: {}\n")


def _value(value: str) -> str:
    return value if value.startswith("{") else f'"{value}"'


def between(
    releases: list[tuple[str, str]],
    before: tuple[str, str],
    after: tuple[str, str],
    **how: Any,
) -> Preview:
    return preview(snapshot(*releases, before), snapshot(*releases, after), now=NOW, **how)


def only(made: Preview) -> Planned:
    assert made.problems == ()
    (planned,) = made.changes
    return planned


API = [release("api", version, f"notes: N{version}") for version in ("1.0.0", "1.1.0", "1.2.0", "2.0.0")]


def test_the_same_revision_changes_nothing() -> None:
    assert between(API, production(api="1.0.0"), production(api="1.0.0")) == Preview((), (), (), (), ())


def test_a_bump_says_from_where_to_where_and_how_long() -> None:
    planned = only(between(API, production(api="1.0.0"), production(api="1.1.0")))
    change = planned.change
    assert (change.environment, change.service, change.change_class) == ("production", "api", "minor")
    assert change.running is not None
    assert change.after is not None
    assert (change.running.version, change.after.target.version) == (Version("1.0.0"), Version("1.1.0"))
    assert [(step.release.version.text, step.starts_at) for step in planned.steps] == [("1.1.0", NOW)]
    assert (planned.starts_at, planned.ends_at) == (NOW, NOW + LONGEST)
    assert planned.downtime
    assert closed(planned.gates) == ()
    assert [gate.gate for gate in planned.gates] == [
        "path",
        "dependency",
        "approval",
        "freeze",
        "window",
        "fit",
    ]


def test_notes_are_those_of_every_release_on_the_way_newest_first() -> None:
    planned = only(between(API, production(api="1.0.0"), production(api="1.2.0")))
    assert [one.notes for one in planned.notes] == ["N1.2.0", "N1.1.0"]


def test_a_way_down_tells_what_is_lost() -> None:
    planned = only(
        between(API, production(api="1.2.0"), production(api='{version: "1.0.0", allow_downgrade: true}'))
    )
    assert planned.change.downgrade
    assert [one.notes for one in planned.notes] == ["N1.2.0", "N1.1.0"]
    assert planned.starts_at == NOW


def test_a_way_down_that_nobody_allowed_does_not_start_by_itself() -> None:
    planned = only(between(API, production(api="1.2.0"), production(api="1.0.0")))
    assert [gate.gate for gate in closed(planned.gates)] == ["path"]
    assert (planned.starts_at, planned.ends_at) == (None, None)


def test_a_new_pin_is_an_initial_deployment_without_downtime() -> None:
    made = between(API, production(), production(api="1.1.0"))
    planned = only(made)
    assert (planned.change.change_class, planned.downtime, planned.differences) == ("initial", False, ())
    assert [one.notes for one in planned.notes] == ["N1.1.0"]
    assert [(pin.environment, pin.service, pin.version.text) for pin in made.added] == [
        ("production", "api", "1.1.0")
    ]


def test_a_removed_pin_is_told_and_changes_nothing() -> None:
    made = between(API, production(api="1.0.0"), production())
    assert made.changes == ()
    assert [(pin.service, pin.version.text) for pin in made.removed] == [("api", "1.0.0")]


def test_a_removed_environment_takes_all_its_pins_along() -> None:
    made = between(API, production(api="1.0.0"), production(name="staging"))
    assert [(pin.environment, pin.service) for pin in made.removed] == [("production", "api")]


def test_a_pin_behind_a_bad_file_is_not_removed() -> None:
    made = between(
        API, production(api="1.0.0"), ("environments/production.yaml", "environment: production\nx: 1\n")
    )
    assert (made.changes, made.removed) == ((), ())
    assert [str(problem.place) for problem in made.problems] == [
        "environments/production.yaml:1:1",
        "environments/production.yaml:2:1",
    ]


# When

SATURDAYS = 'timezone: Europe/Berlin\nwindows: {minor: [{cron: "0 2 * * 6#1", duration: 3h}]}\n'


def test_it_would_start_when_its_window_opens() -> None:
    planned = only(between(API, production(SATURDAYS, api="1.0.0"), production(SATURDAYS, api="1.1.0")))
    assert planned.starts_at == datetime(2026, 11, 7, 1, tzinfo=UTC)
    assert planned.zone == "Europe/Berlin"
    assert [gate.reason for gate in closed(planned.gates)] == [
        "the minor window opens Sat 2026-11-07 02:00 CET"
    ]


def test_a_window_that_opens_within_a_freeze_is_passed_over() -> None:
    frozen = SATURDAYS + "freezes: [{from: 2026-11-01, until: 2026-11-30, reason: fair}]\n"
    planned = only(between(API, production(frozen, api="1.0.0"), production(frozen, api="1.1.0")))
    assert planned.starts_at == datetime(2026, 12, 5, 1, tzinfo=UTC)
    assert [gate.gate for gate in closed(planned.gates)] == ["freeze", "window"]


def test_windows_and_freezes_that_never_agree_give_no_time() -> None:
    never = SATURDAYS + 'freezes: [{cron: "0 0 * * 6", duration: 24h, reason: no}]\n'
    assert (
        only(between(API, production(never, api="1.0.0"), production(never, api="1.1.0"))).starts_at is None
    )


def test_a_push_that_opens_a_window_and_bumps_waits_for_the_window_as_it_stood() -> None:
    planned = only(between(API, production(SATURDAYS, api="1.0.0"), production(api="1.1.0")))
    (gate,) = closed(planned.gates)
    assert gate.reason.startswith("the minor window opens Sat 2026-11-07 02:00 CET (as it stood before")
    assert planned.starts_at == datetime(2026, 11, 7, 1, tzinfo=UTC)


def test_a_window_too_short_is_passed_over_for_one_that_is_long_enough() -> None:
    short = 'timezone: UTC\nwindows: {minor: [{cron: "0 13 * * 2", duration: 1m}, {cron: "0 4 * * 5", duration: 1h}]}\n'
    planned = only(between(API, production(short, api="1.0.0"), production(short, api="1.1.0")))
    assert planned.starts_at == datetime(2026, 11, 6, 4, tzinfo=UTC)
    assert {gate.gate for gate in closed(planned.gates)} == {"window", "fit"}


def test_what_needs_an_approval_does_not_start_by_itself() -> None:
    needed = "policy: {approvals: {minor: 1}}\n"
    planned = only(between(API, production(needed, api="1.0.0"), production(needed, api="1.1.0")))
    assert [gate.gate for gate in closed(planned.gates)] == ["approval"]
    assert planned.starts_at is None


def test_what_an_environment_sets_otherwise_is_told_by_name() -> None:
    made = between(
        API, production(SATURDAYS, api="1.0.0"), production("policy: {parallel: 2}\n", api="1.0.0")
    )
    assert made.settings == (("production", "timezone"), ("production", "windows"), ("production", "policy"))


# The way

LONG_WAY = [
    release("api", "1.0.0"),
    release("api", "1.5.0", "upgrade: {reversible: false}"),
    release("api", "2.0.0", 'upgrade: {from: ">=1.5.0"}'),
]


def test_a_long_way_goes_by_steps_each_in_its_own_window() -> None:
    planned = only(between(LONG_WAY, production(SATURDAYS, api="1.0.0"), production(SATURDAYS, api="2.0.0")))
    saturday = datetime(2026, 11, 7, 1, tzinfo=UTC)
    assert [(step.release.version.text, step.change_class, step.starts_at) for step in planned.steps] == [
        ("1.5.0", "minor", saturday),
        ("2.0.0", "major", saturday + LONGEST),
    ]
    assert (planned.starts_at, planned.ends_at) == (saturday, saturday + 2 * LONGEST)
    assert [gate.gate for gate in closed(planned.gates)] == ["window"]


def test_what_cannot_be_taken_back_is_named_also_where_it_lies_on_the_way() -> None:
    planned = only(between(LONG_WAY, production(api="1.0.0"), production(api="2.0.0")))
    assert [version.text for version in planned.irreversible] == ["1.5.0"]


def test_no_way_is_a_closed_gate_with_the_reason() -> None:
    releases = [LONG_WAY[0], LONG_WAY[2]]
    planned = only(between(releases, production(api="1.0.0"), production(api="2.0.0")))
    (gate,) = closed(planned.gates)
    assert (gate.gate, planned.steps, planned.starts_at) == ("path", (), None)
    assert "may be reached only from >=1.5.0" in gate.reason
    assert gate.opened_by


def test_an_emergency_on_the_way_is_one() -> None:
    releases = [*LONG_WAY[:2], release("api", "2.0.0", 'upgrade: {from: ">=1.5.0", urgency: emergency}')]
    planned = only(between(releases, production(api="1.0.0"), production(api="2.0.0")))
    assert [step.change_class for step in planned.steps] == ["minor", "emergency"]
    assert planned.change_class == "major"


# What hangs together

CHAIN = [
    release("db", "1.0.0"),
    release("db", "2.0.0"),
    release("web", "1.0.0", 'requires: {db: ">=1.0.0 <2.0.0"}'),
    release("web", "2.0.0", 'requires: {db: ">=2.0.0"}'),
    release("shop", "1.0.0", 'requires: {web: ">=1.0.0"}'),
]


def test_impact_is_everything_that_requires_it_also_by_way_of_others() -> None:
    releases = [*CHAIN, release("db", "1.1.0")]
    pins = {"web": "1.0.0", "shop": "1.0.0"}
    planned = only(between(releases, production(db="1.0.0", **pins), production(db="1.1.0", **pins)))
    assert planned.impact == ("shop", "web")


def test_requirements_are_compared_with_what_would_run() -> None:
    added = between(CHAIN, production(), production(shop="1.0.0", web="1.0.0", db="1.0.0"))
    needs = {planned.change.service: planned.needs for planned in added.changes}
    assert [(need.service, need.wanted, need.met) for need in needs["shop"]] == [("web", ">=1.0.0", True)]
    alone = only(between(CHAIN, production(), production(shop="1.0.0")))
    (need,) = alone.needs
    assert (need.found, need.met) == (None, False)
    assert [gate.gate for gate in closed(alone.gates)] == ["dependency"]
    assert alone.starts_at is None


def test_what_is_required_comes_first_and_the_other_starts_when_it_has_ended() -> None:
    made = between(CHAIN, production(), production(shop="1.0.0", web="1.0.0", db="1.0.0"))
    assert [(planned.change.service, planned.after) for planned in made.changes] == [
        ("db", ()),
        ("web", ("db",)),
        ("shop", ("web",)),
    ]
    assert [planned.starts_at for planned in made.changes] == [NOW, NOW + LONGEST, NOW + 2 * LONGEST]


def test_what_waits_for_a_change_without_a_time_has_none_either() -> None:
    releases = [*CHAIN, release("db", "3.0.0", 'upgrade: {from: ">=2.5.0"}')]
    made = between(
        [*releases, release("web", "3.0.0", 'requires: {db: ">=3.0.0"}')],
        production(db="1.0.0", web="1.0.0"),
        production(db="3.0.0", web="3.0.0"),
    )
    assert {planned.change.service: planned.starts_at for planned in made.changes} == {
        "db": None,
        "web": None,
    }


def test_a_change_that_another_service_does_not_take_is_refused_with_the_reason() -> None:
    planned = only(between(CHAIN, production(db="1.0.0", web="1.0.0"), production(db="2.0.0", web="1.0.0")))
    (gate,) = closed(planned.gates)
    assert gate.gate == "dependency"
    assert "web" in gate.reason
    assert gate.opened_by == "a commit that pins what fits together"


def test_differences_are_names_and_never_values() -> None:
    releases = [
        release(
            "api",
            "1.0.0",
            "config: [{path: a, values: {workers: 4, old: 1}}]",
            run="command: [x], port: 8000, environment: {LEVEL: info, KEY: {secret: one}, GONE: x}",
        ),
        release(
            "api",
            "1.0.1",
            "config: [{path: a, values: {workers: 4, new: 1}}]",
            "requires: {api-db: '>=1.0.0'}",
            run="command: [y], port: 8000, environment: {LEVEL: debug, KEY: {secret: two}}",
        ),
        release("api-db", "1.0.0"),
    ]
    before = '{version: "1.0.0", config: {workers: 5}}'
    after = '{version: "1.0.1", config: {workers: 6}, instances: 2}'
    base = {"api-db": "1.0.0"}
    planned = only(between(releases, production(api=before, **base), production(api=after, **base)))
    assert planned.differences == (
        "command changed",
        "config.new added",
        "config.old removed",
        "config.workers changed",
        "environment.GONE removed",
        "environment.KEY changed",
        "environment.LEVEL changed",
        "instances changed",
        "requires.api-db added",
    )


def test_a_change_of_config_alone_has_no_notes() -> None:
    releases = [release("api", "1.0.0", "config: [{path: a, values: {workers: 4}}]", "notes: old news")]
    planned = only(
        between(releases, production(api="1.0.0"), production(api='{version: "1.0.0", config: {workers: 5}}'))
    )
    assert (planned.change.change_class, planned.notes) == ("config", ())
    assert planned.differences == ("config.workers changed",)


def test_a_withdrawn_release_says_why() -> None:
    releases = [*API, release("api", "1.3.0", 'withdrawn: {reason: "loses orders", since: 2026-11-02}')]
    assert (
        only(between(releases, production(api="1.0.0"), production(api="1.3.0"))).withdrawn == "loses orders"
    )


# Problems


def test_a_problem_that_was_there_before_is_not_introduced_also_when_it_moved() -> None:
    bad = ("releases/web/1.0.0.yaml", "service: web\nx: 1\n")
    moved = ("releases/web/1.0.0.yaml", "# why\nservice: web\nx: 1\n")
    made = preview(snapshot(*API, bad), snapshot(*API, moved), now=NOW)
    assert made.problems == ()
    assert preview(snapshot(*API), snapshot(*API, bad), now=NOW).problems != ()


def test_an_edit_of_a_release_that_runs_is_a_problem_and_changes_nothing() -> None:
    edited = release("api", "1.0.0", run="command: [other]")
    made = preview(
        snapshot(*API, production(api="1.0.0")),
        snapshot(*API[1:], edited, production(api="1.0.0")),
        now=NOW,
    )
    assert made.changes == ()
    (problem,) = made.problems
    assert (problem.place.file, "is frozen" in problem.message) == ("releases/api/1.0.0.yaml", True)


# With a daemon at hand


def running(**versions: str) -> Mapping[str, Mapping[str, Target]]:
    return {"production": {name: Target(Version(text), "0" * 12) for name, text in versions.items()}}


def test_what_really_runs_is_what_is_changed() -> None:
    made = between(API, production(api="1.1.0"), production(api="1.2.0"), running=running(api="1.0.0"))
    planned = only(made)
    assert str(planned.change.running) == "1.0.0@000000000000"
    assert [one.notes for one in planned.notes] == ["N1.2.0", "N1.1.0"]


def test_what_does_not_run_yet_is_initial_whatever_was_pinned() -> None:
    made = between(API, production(api="1.1.0"), production(api="1.2.0"), running=running())
    assert only(made).change.change_class == "initial"


def test_an_environment_that_the_daemon_does_not_have_is_taken_as_pinned() -> None:
    made = between(API, production(api="1.1.0"), production(api="1.2.0"), running={})
    assert only(made).change.change_class == "minor"


@pytest.mark.parametrize("strategy", ["stop-start", "blue-green"])
def test_downtime_is_the_strategys(strategy: str) -> None:
    releases = [
        release("api", version, f"strategy: {strategy}", run="command: [x], socket: pass, port: 80")
        for version in ("1.0.0", "1.0.1")
    ]
    planned = only(between(releases, production(api="1.0.0"), production(api="1.0.1")))
    assert planned.downtime == (strategy == "stop-start")


def test_a_release_that_starts_to_run_something_is_told_of_its_command() -> None:
    bare = work("1.0.0", of=build_release("1.0.0", run=None))
    assert differences(bare, work("1.1.0")) == (
        "command added",
        "port added",
        "socket added",
        "stop_grace added",
    )


def test_a_value_of_another_type_is_another_value() -> None:
    declared = (ConfigFile("a", {"flag": 1}),)
    one, true = (work(of=build_release(config=declared), config={"flag": value}) for value in (1, True))
    assert differences(one, true) == ("config.flag changed",)


PRUNE = "policy: {prune: true}\n"


def test_a_removed_pin_is_a_change_where_the_policy_prunes() -> None:
    releases = [*API, release("web", "1.0.0"), release("cron", "1.0.0", "requires: {api: '>=1'}")]
    before = production(PRUNE, api="1.0.0", web="1.0.0", cron="1.0.0")
    planned = only(between(releases, before, production(PRUNE, api="1.0.0", cron="1.0.0")))
    assert (planned.change.service, planned.change_class, planned.change.to) == ("web", "removal", None)
    assert (planned.starts_at, planned.ends_at, planned.steps, planned.downtime) == (NOW, NOW, (), True)
    planned = only(between(releases, before, production(PRUNE, web="1.0.0", cron="1.0.0")))
    assert [gate.gate for gate in closed(planned.gates)] == ["dependency"]
    assert (planned.starts_at, planned.impact) == (None, ("cron",))


def test_an_environment_that_goes_is_a_plan_that_waits_for_a_person() -> None:
    made = preview(snapshot(*API, production(api="1.0.0")), snapshot(*API), now=NOW)
    planned = only(made)
    [gate] = closed(planned.gates)
    assert gate.gate == "approval"
    assert gate.reason.startswith("the repository has no environment production any more: needs 1 approval")
    assert planned.starts_at is None


def test_an_environment_that_only_has_another_name_changes_nothing() -> None:
    before = production("policy: {approvals: {major: 1}}\n", api="1.0.0")
    named = production("renamed_from: production\npolicy: {approvals: {major: 1}}\n", "live", api="1.0.0")
    assert between(API, before, named) == Preview((), (), (), (), ())
    runs = {"production": {"api": work("1.0.0").target}}
    loosened = production("renamed_from: production\n", "live", api="2.0.0")
    planned = only(between(API, before, loosened, running=runs))
    assert (planned.change.environment, planned.change_class) == ("live", "major")
    assert [gate.gate for gate in closed(planned.gates) if "before the push" in gate.reason] == ["approval"]


def knowing(**what: Any) -> dict[str, Known]:
    return {"production": Known(**what)}


def bump(known: dict[str, Known], more: str = "") -> Planned:
    return only(between(API, production(more, api="1.0.0"), production(more, api="1.1.0"), known=known))


def test_a_daemon_knows_of_more_gates() -> None:
    planned = bump(knowing())
    assert [gate.gate for gate in planned.gates] == [
        "quarantine",
        "hold",
        "path",
        "dependency",
        "approval",
        "promotion",
        "freeze",
        "window",
        "fit",
    ]
    assert planned.starts_at == NOW


def test_what_failed_here_before_does_not_start_by_itself() -> None:
    goal = bump({}).change.after
    assert goal is not None
    planned = bump(knowing(quarantined={("api", goal.target): "healthz answered 500; operation 1f2e"}))
    (gate,) = closed(planned.gates)
    assert gate.gate == "quarantine"
    assert "healthz answered 500" in gate.reason
    assert planned.starts_at is None


def test_a_hold_that_ends_lets_it_start_then_and_one_without_an_end_does_not() -> None:
    until = NOW + timedelta(hours=2)
    hold = Hold(1, "production", None, "look", "ada", NOW, until)
    assert bump(knowing(permits=Permits(holds=(hold,)))).starts_at == until
    forever = knowing(permits=Permits(holds=(replace(hold, until=None),)))
    assert [gate.gate for gate in closed(bump(forever).gates)] == ["hold"]
    assert bump(forever).starts_at is None


def test_what_has_to_prove_healthy_elsewhere_first_says_until_when() -> None:
    rule = "policy: {promote: {from: staging, soak: 24h}}\n"
    key, version = ("staging", "api"), Version("1.1.0")
    assert bump(knowing(), rule).starts_at is None
    proved = knowing(promoted={key: Promoted(version, NOW - timedelta(hours=23))})
    assert bump(proved, rule).starts_at == NOW + timedelta(hours=1)
    assert bump({}, rule).starts_at == NOW  # who does not know says nothing of it


def test_approvals_that_the_daemon_demands_are_told() -> None:
    planned = bump(knowing(floor={"minor": 1}))
    assert [gate.gate for gate in closed(planned.gates)] == ["approval"]


def test_what_is_under_way_and_what_is_usual_are_told() -> None:
    planned = bump(knowing(under_way={"api": "0.9.0 → 1.0.0"}, past_s={"api": [30.0] * 5}))
    assert (planned.under_way, planned.usual_s) == ("0.9.0 → 1.0.0", 30.0)
    told = dict(facts(planned))
    assert told["under way here"] == "0.9.0 → 1.0.0"
    assert told["expected to take"] == "30s, by what past upgrades took"
    assert bump(knowing(past_s={"api": [30.0] * 4})).usual_s is None
    prune = "policy: {prune: true}\n"
    many = knowing(past_s={"api": [30.0] * 5})
    gone = only(between(API, production(prune, api="1.0.0"), production(prune), known=many))
    assert gone.usual_s is None


def test_reviews_that_were_counted_are_told_with_what_they_come_to() -> None:
    policy = "policy: {approvals: {minor: 1}, reviews: count, four_eyes: true}\n"
    wanted = bump(knowing(), policy)
    assert wanted.reviewed == ""
    ask = ask_of(wanted.change, "r", wanted.change.path)
    until = NOW + timedelta(days=7)
    given = Approval(0, ask, "ada", NOW, until, via="https://forge.example/1")
    wrote = knowing(permits=Permits(approvals=(given,)), reviewed={"api": "bob says no"}, authors=("Ada",))
    told = dict(facts(bump(wrote, policy)))
    assert "ada (wrote the change); bob says no" in told["waits for approval"]
    assert told["reviews"].startswith("more people have to approve it")
    other = knowing(permits=Permits(approvals=(given,)), reviewed={"api": ""}, authors=("Cyd",))
    planned = bump(other, policy)
    assert planned.starts_at == NOW
    assert dict(facts(planned))["reviews"].startswith("enough people approve it")
    assert planned.reviewed.endswith("not those of whoever merges it, who counts as one who wrote it")
    removal = "policy: {approvals: {removal: 1}, prune: true, reviews: count}\n"
    gone = only(between(API, production(removal, api="1.0.0"), production(removal), known=other))
    assert (
        gone.reviewed == "more people have to approve it: reviews of this very head count once it is merged"
    )
