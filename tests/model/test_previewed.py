"""When a pull request is looked at anew, what is news, and what is said of what is wrong in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from reconciler.model.errors import Place, Problem
from reconciler.model.known import Known
from reconciler.model.permits import Hold, Permits
from reconciler.model.plan_text import Shown, body
from reconciler.model.preview import preview
from reconciler.model.previewed import (
    AGAIN_AFTER,
    NAMES_MAX,
    PROBLEMS_TOLD_MAX,
    Looked,
    Previewed,
    digest,
    due,
    message,
    name_of,
    verdict,
)
from tests.model.test_preview import production, release, snapshot

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
HEAD, OTHER = "a" * 40, "b" * 40
TOLD = Previewed(7, HEAD, comment="c")
SILENT = Previewed(7, HEAD)


def problem(n: int = 1, message: str = "this is no version") -> Problem:
    return Problem(Place("environments/production.yaml", n, 3), "pins.api", message, "write one")


def test_what_was_pushed_to_is_looked_at_at_once() -> None:
    assert due(None, None, HEAD, now=NOW)
    assert due(TOLD, Looked(HEAD, NOW), OTHER, now=NOW)
    assert due(SILENT, Looked(HEAD, NOW), OTHER, now=NOW)


def test_what_has_a_comment_is_looked_at_again_after_a_while() -> None:
    last = Looked(HEAD, NOW)
    assert not due(TOLD, last, HEAD, now=NOW + AGAIN_AFTER - timedelta(seconds=1))
    assert due(TOLD, last, HEAD, now=NOW + AGAIN_AFTER)
    assert due(TOLD, None, HEAD, now=NOW)  # after a restart


def test_what_touches_nothing_is_left_until_it_is_pushed_to() -> None:
    assert not due(SILENT, None, HEAD, now=NOW)
    assert not due(SILENT, Looked(HEAD, NOW), HEAD, now=NOW + timedelta(days=1))


def shown(now: datetime, **known: object) -> Shown:
    """A bump of web and of api, which needs the new web, at `now`."""
    releases = [
        release("web", "1.0.0"),
        release("web", "1.1.0"),
        release("api", "1.0.0"),
        release("api", "1.1.0", 'requires: {web: ">=1.1.0"}'),
    ]
    made = preview(
        snapshot(*releases, production(web="1.0.0", api="1.0.0")),
        snapshot(*releases, production(web="1.1.0", api="1.1.0")),
        now=now,
        known={"production": Known(**known)},  # type: ignore[arg-type]
    )
    return Shown(made, "c" * 40, HEAD, "daemon", "what runs is as the daemon sees it")


def test_time_that_goes_by_is_no_news() -> None:
    later = NOW + timedelta(minutes=7)
    assert body(shown(NOW)) != body(shown(later))
    assert digest(shown(NOW)) == digest(shown(later))
    assert digest(shown(NOW)) == digest(replace(shown(NOW), before="d" * 40))
    assert digest(shown(NOW)) == digest(shown(NOW, past_s={"api": [30.0] * 5}))


def test_another_head_or_another_reason_to_wait_is_news() -> None:
    hold = Hold(1, "production", None, "look", "ada", NOW, NOW + timedelta(days=1))
    held = [shown(NOW, permits=Permits(holds=(one,))) for one in (hold, replace(hold, until=None))]
    different = [shown(NOW), replace(shown(NOW), after=OTHER), replace(shown(NOW), remarks=("no",)), *held]
    assert len({digest(one) for one in different}) == len(different)


def test_the_verdict_blames_nobody_for_what_was_wrong_before() -> None:
    assert verdict((), 0) == ("nothing that it brings is wrong", "")
    title, summary = verdict((), 2)
    assert title == "nothing that it brings is wrong"
    assert summary == "2 older problems that it did not bring: see `ugs check` on the branch."
    title, summary = verdict([problem()], 1)
    assert title == "1 new problem"
    assert summary.splitlines() == [
        "- `environments/production.yaml:1:3: pins.api: this is no version; write one`",
        "",
        "1 older problem that it did not bring: see `ugs check` on the branch.",
    ]


def test_what_people_wrote_stands_in_code_and_is_bounded() -> None:
    title, summary = verdict([problem(n, "`@ada` <b>") for n in range(1, PROBLEMS_TOLD_MAX + 4)], 0)
    assert title == f"{PROBLEMS_TOLD_MAX + 3} new problems"
    *told, blank, left = summary.splitlines()
    assert (len(told), blank, left) == (PROBLEMS_TOLD_MAX, "", "3 more: see `ugs check`.")
    assert told[0].startswith("- ``environments/production.yaml:1:3: pins.api: `@ada` <b>")
    assert message(problem(1, "##[error]a\nb")) == "pins.api: # #[error]a b; write one"
    assert len(message(problem(1, "x" * 5000))) == 1000


def test_a_daemon_of_some_environments_has_a_comment_of_its_own() -> None:
    assert name_of(()) == "preview"
    assert name_of(["staging", "production"]) == "preview:production,staging"
    many = name_of([f"e{n}" for n in range(NAMES_MAX + 1)])
    assert many != name_of([f"e{n}" for n in range(NAMES_MAX + 2)])
    assert len(many) < 40
