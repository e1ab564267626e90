"""What there should be against what is there: every act, and what never follows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from msgspec.structs import replace

from reconciler.model import pulls
from reconciler.model.pulls import Deed, Kept, Limits, There, Wanted, deed

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
BRANCH = pulls.branch_for("bump", "production", "api")
WANTED = Wanted(
    "bump", BRANCH, "production", ("production/api 1.5.0",), "Bump it", "Do.", "Bump it\n", ("ugs",)
)
KEPT = Kept(
    "bump", BRANCH, "production", WANTED.asks, NOW, number=7, digest=WANTED.digest, labels=("ugs",), id=1
)
FINE = There("ours", "open", changes=True, alike=True)


def decided(
    there: There,
    kept: Kept | None = KEPT,
    wanted: Wanted | None = WANTED,
    *,
    refused: bool = False,
    room: str = "",
    unknown: bool = False,
) -> tuple[str, str]:
    done = deed(wanted, kept, there, refused=refused, room=room, unknown=unknown)
    return done.act, done.state


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (FINE, ("leave", "open")),
        (replace(FINE, alike=False), ("remake", "open")),
        (replace(FINE, branch="theirs", alike=False), ("leave", "open")),
        (replace(FINE, changes=False), ("close", "moot")),
        (replace(FINE, branch="theirs", changes=False), ("close", "moot")),
        (replace(FINE, branch="none"), ("close", "refused")),
        (replace(FINE, pull="merged", changes=False), ("end", "merged")),
        (replace(FINE, pull="closed"), ("end", "refused")),
        (replace(FINE, pull="closed", changes=False), ("end", "refused")),
        (replace(FINE, pull="none"), ("open", "open")),
        (replace(FINE, pull="none", branch="none"), ("open", "open")),
        (replace(FINE, pull="none", branch="theirs"), ("end", "moot")),
    ],
)
def test_what_is_open_is_kept_up_or_ended(there: There, expected: tuple[str, str]) -> None:
    assert decided(there) == expected


def test_of_what_was_opened_before_labels_were_remembered_they_are_put_right() -> None:
    assert decided(FINE, replace(KEPT, labels=())) == ("edit", "open")


def test_what_is_not_open_is_opened_where_it_may_be() -> None:
    nothing = There(changes=True)
    assert decided(nothing, None)[0] == "open"
    assert decided(nothing, None, room="three are open")[0] == "wait"
    assert decided(nothing, None, refused=True)[0] == "leave"
    assert decided(There(), None)[0] == "leave"
    assert decided(nothing, None, None)[0] == "leave"
    assert decided(replace(nothing, branch="theirs"), None)[0] == "leave"
    assert decided(replace(nothing, branch="ours"), None)[0] == "open"


def test_what_nobody_wants_any_more_is_closed() -> None:
    assert decided(FINE, wanted=None) == ("close", "moot")


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (FINE, ("leave", "open")),
        (replace(FINE, branch="theirs", changes=False), ("leave", "open")),
        (replace(FINE, pull="none", branch="none"), ("leave", "open")),
        (replace(FINE, branch="none"), ("close", "refused")),
        (replace(FINE, pull="closed"), ("end", "refused")),
        (replace(FINE, pull="merged"), ("end", "merged")),
    ],
)
def test_what_nobody_can_decide_about_now_is_as_people_have_it(
    there: There, expected: tuple[str, str]
) -> None:
    assert decided(there, wanted=None, unknown=True) == expected
    assert decided(FINE, replace(KEPT, closing="moot"), None, unknown=True) == ("close", "moot")


def test_what_says_something_else_is_edited_in_place() -> None:
    newer = replace(WANTED, title="Bump it further", asks=("production/api 1.6.0",))
    assert decided(FINE, wanted=newer)[0] == "edit"
    assert decided(FINE, wanted=newer, refused=True)[0] == "leave"


def test_what_we_were_closing_ourselves_was_closed_by_no_person() -> None:
    closing = replace(KEPT, closing="moot")
    assert decided(replace(FINE, pull="closed"), closing) == ("end", "moot")
    assert decided(FINE, closing) == ("close", "moot")


def test_a_person_s_commits_and_refusal_are_never_acted_against() -> None:
    no_yes = (False, True)
    states = product(("none", "ours", "theirs"), ("none", "open", "closed", "merged"), no_yes, no_yes)
    for (branch, pull, changes, alike), (kept, refused, room) in product(
        states, product(no_yes, no_yes, no_yes)
    ):
        there = There(branch, pull, changes=changes, alike=alike)  # type: ignore[arg-type]  # the literals above
        done = deed(WANTED, KEPT if kept else None, there, refused=refused, room="full" if room else "")
        if branch == "theirs":
            assert done.act not in {"open", "remake", "edit"}
        if refused and not kept:
            assert done == Deed("leave")
        if room and not kept:
            assert done.act in {"wait", "leave"}
        if kept and pull == "closed":
            assert done == Deed("end", "refused")


def test_no_more_than_so_many_are_open_or_opened_in_an_hour() -> None:
    limits = Limits(open_max=3, hour_max=2)
    old = [replace(KEPT, opened_at=NOW - timedelta(hours=2))] * 2
    assert pulls.room(old, limits, now=NOW) == ""
    assert "open_max is 3" in pulls.room([*old, *old[:1]], limits, now=NOW)
    ended = [replace(KEPT, state="moot", opened_at=NOW - timedelta(minutes=m)) for m in (1, 59)]
    assert "hour_max is 2" in pulls.room(ended, limits, now=NOW)
    assert pulls.room(ended, limits, now=NOW + timedelta(minutes=1)) == ""


def test_a_pull_request_is_known_again_by_its_branch_and_its_mark() -> None:
    both = replace(WANTED, asks=("production/api 1.5.0", "production/web 2.0.0-rc.1"))
    assert pulls.asked_in(both.text) == both.asks
    assert pulls.asked_in("Do.\n") == ()
    assert pulls.environment_of(BRANCH, "bump") == "production"
    assert pulls.environment_of(BRANCH, "promote") == ""
    assert pulls.environment_of("ugs-bump-production", "bump") == ""
    assert pulls.branch_for("bump", "a-b", "c") != pulls.branch_for("bump", "a", "b-c")


def test_the_commit_carries_its_branch_as_a_trailer() -> None:
    assert WANTED.commit_message == f"Bump it\n\nUgs-Pull: {BRANCH}\n"
    trailed = replace(WANTED, message="Bump it\n\nWhy.\n\nUgs-From: 1.4.0\nUgs-To: 1.5.0\n")
    assert trailed.commit_message.endswith(f"\n\nUgs-From: 1.4.0\nUgs-To: 1.5.0\nUgs-Pull: {BRANCH}\n")
    worded = replace(WANTED, message="Bump it\n\nNote: so it is\nand goes on\n")
    assert worded.commit_message.endswith(f"goes on\n\nUgs-Pull: {BRANCH}\n")


def test_only_labels_of_a_class_that_we_put_there_are_taken_off() -> None:
    kept = replace(KEPT, labels=("ugs", "ugs: minor", "shop"))
    major = replace(WANTED, labels=("ugs", "ugs: major"))
    assert pulls.labels_outlived(major, kept) == ("ugs: minor",)
    assert pulls.labels_outlived(major, replace(kept, labels=())) == ()
    assert pulls.labels_put(major, kept, kept.labels) == ("ugs", "ugs: minor", "shop", "ugs: major")
    assert pulls.labels_put(major, kept, (*kept.labels, "ugs: major")) == kept.labels


def test_where_no_label_was_remembered_those_that_we_might_have_put_there_are_ours() -> None:
    major, there = replace(WANTED, labels=("ugs", "ugs: major")), ("wip", "ugs", "ugs: minor", "ugs: later")
    old = replace(KEPT, number=7, labels=(), digest=major.digest)
    assert not pulls.is_said(major, old)
    assert pulls.labels_put(major, old, there) == ("ugs", "ugs: minor", "ugs: major")
    assert pulls.labels_put(major, replace(old, number=0), there) == ("ugs: major",)  # not opened by us yet
    assert pulls.is_said(major, replace(old, labels=("ugs", "ugs: major")))


def test_what_is_said_is_known_by_its_title_text_and_labels() -> None:
    others = [
        replace(WANTED, title="x"),
        replace(WANTED, body="x"),
        replace(WANTED, labels=("x",)),
        replace(WANTED, asks=("x",)),
    ]
    assert len({WANTED.digest, *(one.digest for one in others)}) == 5
    assert replace(WANTED, message="x").digest == WANTED.digest
