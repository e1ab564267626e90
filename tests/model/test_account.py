"""What Git tells of the past: from notes and trailers, whoever wrote them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.account import accounts
from reconciler.model.data import Recorded
from reconciler.model.git_notes import adoption_id, adoption_line
from reconciler.model.recovery import Account, Commit, Left
from reconciler.model.release import Migration, MigrationPhase
from reconciler.model.succession import Place
from reconciler.model.target import Target
from tests.build import release, work
from tests.counting import calls

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
A, B = "1.0.0@aaaaaaaaaaaa", "1.1.0@bbbbbbbbbbbb"


def line(operation: str, minute: int, outcome: str = "succeeded", to: str | None = B, **more: object) -> str:
    said = {
        "operation": operation,
        "environment": "production",
        "service": "api",
        "from": A,
        "to": to,
        "outcome": outcome,
        "ended_at": (START + timedelta(minutes=minute)).isoformat(),
    }
    return json.dumps(said | more)


def failed(operation: str, minute: int, outcome: str = "reverted", to: str = B) -> str:
    return line(operation, minute, outcome, to, quarantined=to, reason="the probe\x1b[31m failed")


def commit(*trailers: tuple[str, str]) -> Commit:
    return Commit("c" * 40, START, trailers)


def production(*lines: str, commits: tuple[Commit, ...] = ()) -> Account:
    return accounts({"d" * 40: lines}, commits).get("production", Account())


def shut(account: Account) -> list[str]:
    return [str(one.target) for one in account.failed]


def test_what_failed_is_shut_and_the_last_that_succeeded_is_proven() -> None:
    account = production(failed("two", 2), line("one", 1, to=A))
    assert shut(account) == [B]
    assert account.failed[0].reason == "the probe [31m failed"
    assert str(account.proven["api"].target) == A
    assert account.proven["api"].revision == "d" * 40
    assert account.ended == {"one": "succeeded", "two": "reverted"}


def test_what_was_good_and_failed_later_is_good_no_more() -> None:
    account = production(line("one", 1, to=A), line("two", 2), failed("three", 3))
    assert shut(account) == [B]
    assert str(account.proven["api"].target) == A


def test_what_failed_and_proved_healthy_since_or_was_retried_is_not_shut() -> None:
    assert shut(production(failed("one", 1), line("two", 2))) == []
    assert shut(production(failed("one", 1), commits=(commit(("Ugs-Retry", "one")),))) == []
    assert shut(production(failed("one", 1), commits=(commit(("Ugs-Retry", "other")),))) == [B]


def test_a_revert_alone_tells_of_the_failure() -> None:
    revert = commit(
        ("Ugs-Operation", "one"),
        ("Ugs-Environment", "production"),
        ("Ugs-Service", "api"),
        ("Ugs-From", B),
        ("Ugs-To", "none"),
        ("Ugs-Reason", "it fell"),
    )
    [one] = production(commits=(revert,)).failed
    assert (str(one.target), one.restored, one.reason, one.revert_commit) == (B, None, "it fell", "c" * 40)
    assert shut(production(failed("one", 1), commits=(revert,))) == [B], "the same failure, told twice"
    assert production(failed("one", 1, "restoring")).failed[0].restoring


def test_what_is_not_ours_tells_nothing() -> None:
    strange = ("", "[1", "7", "{}", line("", 1), line("a\nb", 1), line("x" * 1000, 1), "[" * 100_000)
    naive = line("one", 1).replace("+00:00", "")
    assert production(*strange, naive, failed("one", 1, to="nonsense")) == Account(
        ended={"one": "reverted"}, ran=(("api", Target.parse(A)),)
    )
    assert accounts({}, [commit(("Ugs-Operation", "one"), ("Ugs-From", "x"))]) == {}


@settings(max_examples=40)
def test_what_was_adopted_proved_healthy_with_the_migrations_that_it_had_behind_it() -> None:
    """Half of its upgrade had come to pass when that failed: what comes after was not applied."""
    phases: dict[str, MigrationPhase] = {"early": "before", "late": "after"}
    migrations = tuple(Migration(id=name, phase=phase, up=("up",)) for name, phase in phases.items())
    runs = work(of=release("1.0.0", migrations=migrations))
    row = Recorded("production", "api", "early", "1.0.0", "", "done", START, proven=True)
    said = adoption_line(runs, [row], place=Place(3, 7, START))

    account = production(said, failed("two", 2))
    assert account.proven["api"].target == runs.target
    assert account.proven["api"].place == Place(3, 7, START)
    adopted = adoption_id("production", "api", runs.target)
    assert account.ended[adopted] == "adopted"
    assert account.data["api"] == {
        "early": Left(adopted, "1.0.0", "done", proven=True),
        "late": Left(adopted, "1.0.0", "undone"),
    }
    assert accounts({"d" * 40: [said]}, ())["production"].removed == {}


@given(st.lists(st.text() | st.binary().map(lambda data: data.decode("latin-1"))), st.text(), st.text())
def test_nothing_that_anyone_can_push_stops_the_reading(lines: list[str], key: str, value: str) -> None:
    accounts({"d" * 40: lines}, [commit((key, value), ("Ugs-From", value), ("Ugs-Retry", value))])


def test_what_was_removed_since_is_not_to_be_brought_back() -> None:
    gone = production(line("one", 1, to=A), line("two", 2, to=None))
    assert gone.proven == {}
    assert (
        str(production(line("one", 1), line("two", 2, to=None), line("three", 3)).proven["api"].target) == B
    )


def test_an_environment_that_was_renamed_has_one_past() -> None:
    notes = {
        "d" * 40: [
            line("one", 1, to=A),
            failed("two", 2),
            line("three", 3, environment="live", service="web"),
        ]
    }
    told = accounts(notes, (), {"production": "live"})
    assert list(told) == ["live"]
    assert shut(told["live"]) == [B]
    assert sorted(told["live"].proven) == ["api", "web"]


def test_how_it_has_done_since_is_heard_and_leaves_when_it_succeeded_as_it_was() -> None:
    later = (START + timedelta(hours=2)).isoformat()
    [one] = production(line("one", 1, health="degraded", health_since=later)).proven.values()
    assert (one.operation, one.degraded, one.since) == ("one", True, START + timedelta(hours=2))
    assert one.at == START + timedelta(minutes=1)
    [one] = production(line("one", 1, health="healthy", health_since=later)).proven.values()
    assert (one.degraded, one.since) == (False, START + timedelta(hours=2))
    [one] = production(line("one", 1)).proven.values()
    assert (one.degraded, one.since) == (False, None)
    early = (START - timedelta(hours=1)).isoformat()  # before it succeeded it was none of its doing
    [one] = production(line("one", 1, health="healthy", health_since=early)).proven.values()
    assert one.since == one.at
    assert production(line("one", 1, health="healthy", health_since="2026-11-22T12:00:00")) == Account()


def test_what_was_removed_since_it_last_succeeded_is_told() -> None:
    gone = production(line("one", 1, to=A), line("two", 2, to=None))
    assert gone.removed == {"api": Place(0, 0, START + timedelta(minutes=2))}
    assert production(line("two", 2, to=None), line("three", 3)).removed == {}


def test_what_is_being_taken_back_failed_when_that_was_said() -> None:
    began = START + timedelta(minutes=3)
    under_way: dict[str, Any] = {
        "ended_at": None,
        "started_at": began.isoformat(),
        "duration_s": 60.0,
        "quarantined": B,
    }
    account = production(line("one", 1, to=A), line("two", 2), line("three", 0, "restoring", **under_way))
    assert shut(account) == [B]
    assert account.failed[0].at == began + timedelta(minutes=1)
    assert str(account.proven["api"].target) == A
    assert shut(production(line("two", 5), line("three", 0, "restoring", **under_way))) == []


def test_times_that_no_calendar_has_are_nobodys() -> None:
    far: dict[str, Any] = {"ended_at": None, "started_at": "9999-12-31T23:00:00+00:00", "duration_s": 1e300}
    assert production(line("one", 0, **far)) == Account()


def test_what_two_daemons_said_is_ordered_by_the_epochs_of_the_lease() -> None:
    """The second one's clock is an hour behind; within one epoch the rows of the audit count, as a clock may be set."""
    ours, theirs = line("one", 100, to=A, epoch=1, row=40), line("two", 41, epoch=2, row=7)
    for said in ((ours, theirs), (theirs, ours)):
        account = production(*said)
        assert str(account.proven["api"].target) == B
        assert account.proven["api"].place == Place(2, 7, START + timedelta(minutes=41))
        assert account.ended == {"one": "succeeded", "two": "succeeded"}
    assert account.places["api", Target.parse(A)].epoch == 1
    set_back = production(line("one", 100, to=A, epoch=3, row=8), line("two", 41, epoch=3, row=11))
    assert str(set_back.proven["api"].target) == B


def test_failures_releases_and_removals_of_two_daemons_are_ordered_so_too() -> None:
    good, bad = line("one", 100, epoch=1, row=9), failed("two", 5)
    bad = json.dumps(json.loads(bad) | {"epoch": 2, "row": 3})
    assert shut(production(good, bad)) == [B]
    assert production(good, bad).proven == {}
    released = line("three", 1, epoch=3, row=1)
    assert shut(production(good, bad, released)) == []
    gone = line("four", 0, to=None, epoch=4, row=2)
    assert production(released, gone).proven == {}
    assert production(released, gone).removed == {"api": Place(4, 2, START)}


def test_lines_of_older_daemons_have_dates_alone_and_stand_among_the_others_by_them() -> None:
    def last(*lines: str) -> str:
        return str(production(*lines).proven["api"].target)

    first, then = line("one", 10, to=A, epoch=1, row=1), line("two", 20, to=A, epoch=2, row=1)
    assert last(line("old", 15), first, then) == A
    assert last(line("old", 25), first, then) == B
    assert last(line("old", 5), first) == A
    assert last(line("old", 5, to=A), line("older", 4)) == A
    behind = line(
        "two", 0, to=A, epoch=2, row=1
    )  # by a clock that is behind: what comes after it, comes after both
    assert last(line("old", 5), first, behind) == B
    assert last(line("old", 1), line("three", 30, to=A, epoch=3, row=1), first, behind) == A


def test_whether_something_proved_well_before_or_after_a_revert_is_told_by_the_graph() -> None:
    trailers = (
        ("Ugs-Operation", "one"),
        ("Ugs-Environment", "production"),
        ("Ugs-Service", "api"),
        ("Ugs-From", B),
        ("Ugs-To", A),
    )
    early, late = START - timedelta(days=1), START + timedelta(days=1)
    for at in (early, late):
        history = (
            Commit("3" * 40, at, (), ("2" * 40,)),
            Commit("2" * 40, at, trailers, ("1" * 40,)),
            Commit("1" * 40, at, (), ()),
        )
        before = accounts({"1" * 40: [line("zero", 1)]}, history)["production"]
        assert (shut(before), before.proven) == ([B], {})
        after = accounts({"3" * 40: [line("two", 1)]}, history)["production"]
        assert (shut(after), str(after.proven["api"].target)) == ([], B)


def test_epochs_of_an_environment_under_its_former_name_say_nothing_of_the_new_ones() -> None:
    notes = {
        "d" * 40: [
            line("one", 1, to=A, epoch=9, row=9),
            line("two", 2, environment="live", epoch=1, row=1),
        ]
    }
    assert str(accounts(notes, (), {"production": "live"})["live"].proven["api"].target) == B


def test_twice_as_long_a_past_is_twice_the_work() -> None:
    def work(size: int) -> int:
        said = (failed if number % 3 == 0 else line for number in range(size))
        notes = {f"{number:040x}": [say(f"op{number}", number)] for number, say in enumerate(said)}
        return calls(lambda: accounts(notes, [], {}))

    assert work(600) < 2.2 * work(300)


def left(account: Account) -> dict[str, tuple[str, bool]]:
    return {name: (one.state, one.proven) for name, one in account.data.get("api", {}).items()}


def test_data_are_as_the_last_operation_left_them_that_names_a_migration() -> None:
    begun = line(
        "two", 2, "preparing", ended_at=None, started_at=START.isoformat(), migrations={"d1": "begun"}
    )
    one = line("one", 1, to=A, migrations={"d0": "done"})
    assert left(production(one)) == {"d0": ("done", True)}
    assert left(production(one, begun)) == {"d0": ("done", True), "d1": ("unknown", False)}
    undone = line("two", 3, "reverted", migrations={"d1": "undone"})
    assert left(production(one, undone)) == {"d0": ("done", True), "d1": ("undone", False)}
    kept = line("two", 3, "stuck", migrations={"d1": "done"})
    assert left(production(one, kept)) == {"d0": ("done", True), "d1": ("done", False)}
    assert left(production(one, kept, line("three", 4))) == {"d0": ("done", True), "d1": ("done", True)}
    strange = line("two", 3, "stuck", migrations={"d1": "half"})
    assert left(production(strange)) == {"d1": ("unknown", False)}


def test_what_is_announced_is_not_how_an_operation_ended() -> None:
    announced = line("two", 2, "preparing", migrations={"d1": "begun"})
    assert production(line("one", 1), announced).ended == {"one": "succeeded"}


def test_a_line_with_too_many_migrations_tells_nothing() -> None:
    many = {f"d{number}": "done" for number in range(1001)}
    assert production(line("one", 1, migrations=many)) == Account()
    assert production(line("one", 1, migrations={"d\n1": "done"})) == Account()


def test_what_ran_before_counts_as_what_ran() -> None:
    account = production(line("one", 1), line("two", 2, to=None, **{"from": B}))
    assert [str(target) for _, target in account.ran] == [A, B]


def test_only_who_may_lets_anything_be_tried_again() -> None:
    again, notes = commit(("Ugs-Retry", "two")), {"d" * 40: [failed("two", 2)]}
    asked: list[tuple[str, str]] = []

    def permits(sha: str, name: str) -> bool:
        asked.append((sha, name))
        return False

    assert shut(accounts(notes, [again])["production"]) == []
    assert shut(accounts(notes, [again], permits=permits)["production"]) == [B]
    assert asked == [("c" * 40, "production")]


def test_data_are_held_as_the_last_line_says() -> None:
    held = line("two", 2, "reverted", held="it is\nbroken")
    assert production(held).held == {"api": ("two", "it is broken")}
    assert production(held, line("three", 3)).held == {}


def test_what_may_be_tried_again_has_not_proved_healthy_for_that() -> None:
    account = production(line("one", 1), failed("two", 2), commits=(commit(("Ugs-Retry", "two")),))
    assert (shut(account), account.proven) == ([], {})
    assert [one.operation for one in account.fallen] == ["two"]
    assert production(failed("two", 2), line("three", 3)).fallen == ()
