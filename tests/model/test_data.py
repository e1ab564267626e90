"""What is to be done with a service's data: what is applied, what is taken back and how, which backups go."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.model import data
from reconciler.model.data import Pending, Recall, Recorded, Saved, State
from reconciler.model.document import read
from reconciler.model.environment import Keeping, Policy, RestoreData
from reconciler.model.errors import InputError
from reconciler.model.expectation import expected_s
from reconciler.model.manifest import parse_release
from reconciler.model.release import Backup, Migration, MigrationPhase, Release, SecretName, Upgrading
from reconciler.model.upgrade import Phase
from reconciler.model.version import Version
from tests.build import NOW, release, upgrade, work

MANIFEST = """\
service: api
version: "1.5.0"
artifact: {archive: {url: a.tgz, sha256: "%s"}}
run: {command: [bin/api]}
""" % ("0" * 64)
BACKUP = 'backup: {save: [s, "{backup}"], verify: [v, "{backup}"], restore: [r, "{backup}"]}\n'


def parsed(more: str) -> Release:
    return parse_release(read((MANIFEST + more).encode(), "releases/api/1.5.0.yaml"))


def problems(more: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        parsed(more)
    return [str(problem).partition("yaml:")[2] for problem in caught.value.problems]


def migration(name: str, phase: MigrationPhase = "before", *, down: bool = True, **more: Any) -> Migration:
    return Migration(id=name, phase=phase, up=("up", name), down=("down", name) if down else None, **more)


def row(name: str, state: State = "done", *, operation: str = "op", proven: bool = False) -> Recorded:
    return Recorded("production", "api", name, "1.0.0", operation, state, NOW, proven=proven)


def rows(*of: Recorded) -> dict[str, Recorded]:
    return {one.id: one for one in of}


def backup(name: str = "op-1", at: datetime = NOW, **fields: Any) -> Saved:
    said: dict[str, Any] = {"operation": "op", "kind": "upgrade", "state": "verified", **fields}
    return Saved(name, "production", "api", version="1.0.0", path=f"/b/{name}/data", saved_at=at, **said)


# The manifest


def test_backup_and_migrations_are_read_with_all_they_say() -> None:
    release = parsed(
        BACKUP.replace("}\n", ", timeout: 1h, user: postgres, directory: sql, environment: {A: b}}\n")
        + "migrations:\n"
        "  - {id: one, phase: before, up: [u], down: [d], check: [c], timeout: 2m}\n"
        "  - {id: two, phase: after, up: [u], directory: /srv, environment: {P: {secret: pw}}}\n"
    )
    assert release.backup == Backup(
        save=("s", "{backup}"),
        verify=("v", "{backup}"),
        restore=("r", "{backup}"),
        timeout_s=3600.0,
        user="postgres",
        directory="sql",
        environment={"A": "b"},
    )
    assert release.migrations == (
        Migration(id="one", phase="before", up=("u",), down=("d",), check=("c",), timeout_s=120.0),
        Migration(id="two", phase="after", up=("u",), directory="/srv", environment={"P": SecretName("pw")}),
    )
    assert not release.reversible
    assert expected_s((), release) == 130.0 + 7200.0 + 420.0


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (
            "migrations: [{id: a, phase: before, up: [u]}]\n",
            "5:13: migrations: there are migrations and no backup",
        ),
        (BACKUP.replace('[v, "{backup}"]', "[v]"), "5:41: backup.verify: it does not say {backup}"),
        (
            BACKUP + "migrations: [{id: a, phase: now, up: [u]}]\n",
            "6:29: migrations[0].phase: this value is unknown",
        ),
        (
            BACKUP + "migrations: [{id: a, phase: after, up: []}]\n",
            "6:40: migrations[0].up: this must not be empty",
        ),
        (
            BACKUP + "migrations: [{id: a, phase: after, up: [u]}, {id: a, phase: after, up: [u]}]\n",
            "6:51: migrations[1].id: an earlier migration has this id",
        ),
        (
            BACKUP + "migrations: [{id: a, phase: after, up: [u], timeout: 25h}]\n",
            "6:54: migrations[0].timeout: this is longer than a day",
        ),
        (
            BACKUP + "migrations: [{id: a, phase: after, up: [u], timeout: 0s}]\n",
            "6:54: migrations[0].timeout: this must be longer than nothing",
        ),
        (
            BACKUP + "migrations: [{id: a, phase: after, up: [u], directory: a/../..}]\n",
            "6:56: migrations[0].directory: this leads out of the release",
        ),
        (
            BACKUP + "migrations: [{id: a, phase: after, up: [u], user: 'A b'}]\n",
            "6:51: migrations[0].user: this is",
        ),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(more: str, problem: str) -> None:
    assert any(said.startswith(problem) for said in problems(more)), problems(more)


def test_an_id_that_means_something_else_is_an_error_of_the_higher_version() -> None:
    one = release("1.0.0", migrations=(migration("a"), migration("b")))
    same = release("1.1.0", migrations=(migration("a", check=("c",), timeout_s=9.0),))
    other = release("1.2.0", migrations=(migration("c"), migration("b", "after")))
    elsewhere = release("1.0.0", "web", migrations=(migration("b", "after"),))
    found = data.contradictions([other, same, elsewhere, one])
    assert {key: str(problem) for key, problem in found.items()} == {
        ("api", "1.2.0"): "releases/api/1.2.0.yaml:1:1: migrations[1]: b is another migration in "
        "releases/api/1.0.0.yaml; give it an id of its own, or write it as there"
    }


# What is to be applied


def test_what_is_not_applied_yet_is_applied_in_its_phase_and_order() -> None:
    of = release(migrations=(*map(migration, "abcd"), migration("e", "after")))
    recorded = rows(row("a"), row("b", "failed"), row("c", "undone"))
    assert [one.id for one in data.to_apply(of, "before", recorded)] == ["b", "c", "d"]
    assert [one.id for one in data.to_apply(of, "after", recorded)] == ["e"]
    assert data.pending([of], {"a", "b"}) == (
        Pending(Version("1.0.0"), "c", "before", reversible=True),
        Pending(Version("1.0.0"), "d", "before", reversible=True),
        Pending(Version("1.0.0"), "e", "after", reversible=True),
    )


def test_what_an_earlier_operation_left_open_is_doubtful() -> None:
    of = release(migrations=tuple(map(migration, "abcd")))
    recorded = rows(row("a", "begun"), row("b", "unknown"), row("c", "undoing", operation="other"), row("d"))
    assert [one.id for one in data.doubtful(of, recorded, operation="op")] == ["b", "c"]


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize(
    ("code", "timed_out", "applied"),
    [(0, False, True), (3, False, False), (-9, False, None), (1, True, None), (None, False, None)],
)
def test_without_a_check_only_a_command_that_ended_by_itself_is_believed(
    up: bool, code: int | None, timed_out: bool, applied: bool | None
) -> None:
    states = {True: "done" if up else "undone", False: "failed" if up else "done", None: "unknown"}
    said = data.settled(up=up, code=code, timed_out=timed_out, asked=False, answer=None)
    assert said == states[applied]


@given(st.booleans(), st.sampled_from([None, -9, 0, 1]), st.booleans(), st.sampled_from([True, False, None]))
def test_a_check_is_believed_whatever_the_command_says(
    up: bool, code: int | None, timed_out: bool, answer: bool | None
) -> None:
    said = data.settled(up=up, code=code, timed_out=timed_out, asked=True, answer=answer)
    assert said == {True: "done", False: "failed" if up else "undone", None: "unknown"}[answer]


# What is taken back


def recalled(of: Release, recorded: dict[str, Recorded], *, minutes: int = 1, **how: Any) -> Recall:
    policy = Policy(restore_data=RestoreData(600.0)) if how.pop("policy", False) else Policy()
    how = {"operation": "op", "first": False, "saved": backup(), **how}
    return data.recall(of, recorded, policy, now=NOW + timedelta(minutes=minutes), **how)


BOTH = (migration("late", "after"), migration("a"), migration("b"))
LASTING = (migration("a"), migration("b", down=False))


def test_what_was_applied_is_undone_in_reverse_and_nothing_else() -> None:
    of = release(migrations=BOTH)
    assert recalled(of, {}) == Recall("nothing")
    assert recalled(of, rows(row("a", proven=True), row("b", "failed"), row("late", "undone"))) == Recall(
        "nothing"
    )
    found = recalled(
        of, rows(row("a"), row("b", "undoing"), row("late", operation="stuck before")), policy=True
    )
    assert [one.id for one in found.downs] == ["late", "b", "a"]


def test_what_has_no_down_is_left_to_a_person_unless_somebody_said_otherwise() -> None:
    of, recorded = release(migrations=LASTING), rows(row("a"), row("b"))
    plain = recalled(of, recorded)
    assert (plain.how, plain.reason) == (
        "stuck",
        "migration b is applied, 1.0.0 has no `down` for it, and no backup is brought back by itself without "
        "policy.restore_data",
    )
    vouched = release(migrations=LASTING, upgrade=Upgrading(reversible=True))
    assert recalled(vouched, recorded) == Recall("leave")
    assert recalled(of, recorded, first=True) == Recall("leave")
    assert recalled(of, rows(row("a"))).how == "downs"


def test_a_backup_comes_back_only_where_it_is_permitted_young_and_holds_all_of_it() -> None:
    of, recorded = release(migrations=LASTING), rows(row("b"))
    assert recalled(of, recorded, policy=True, minutes=10) == Recall("backup")
    late = recalled(of, recorded, policy=True, minutes=11)
    assert (late.how, "its backup is 11m old, and policy.restore_data allows 10m" in late.reason) == (
        "stuck",
        True,
    )
    none = recalled(of, recorded, policy=True, saved=None)
    assert "no good backup was taken before it" in none.reason
    older = recalled(of, rows(row("b", operation="stuck before")), policy=True)
    assert "it was applied before its backup was taken" in older.reason
    foreign = recalled(release(), rows(row("gone")))
    assert foreign.reason.startswith("migration gone is applied, 1.0.0 has no `down` for it")


@pytest.mark.parametrize("state", ["unknown", "begun"])
@pytest.mark.parametrize("reversible", [True, None])
def test_what_nobody_knows_is_never_taken_back(reversible: bool | None, state: State) -> None:
    of = release(migrations=BOTH, upgrade=Upgrading(reversible=reversible))
    found = recalled(of, rows(row("a"), row("b", state)), policy=True)
    assert found == Recall("stuck", reason="nobody knows whether migration b is applied")


def test_a_release_is_reversible_as_it_says_or_as_its_migrations_are() -> None:
    assert release(migrations=BOTH).reversible
    assert not release(migrations=LASTING).reversible
    assert release(migrations=LASTING, upgrade=Upgrading(reversible=True)).reversible
    assert not release(upgrade=Upgrading(reversible=False)).reversible


# Which backups are kept

AGES = st.lists(st.tuples(st.integers(0, 90), st.sampled_from(["verified", "saved"])), max_size=12)


@given(AGES, st.integers(1, 6), st.integers(1, 60))
def test_at_most_so_many_and_none_too_old_and_always_the_newest_good_one(
    ages: list[tuple[int, str]], keep: int, days: int
) -> None:
    backups = [
        backup(f"b{number:02}", NOW - timedelta(days=age), state=state)
        for number, (age, state) in enumerate(ages)
    ]
    gone = data.surplus(backups, Keeping(keep, days * 86_400.0), newest="", now=NOW)
    kept = [one for one in backups if one not in gone]
    good = [one for one in backups if one.state == "verified"]
    assert not good or max(good, key=lambda one: (one.saved_at, one.id)) in kept
    assert len(kept) <= keep + 1
    old = [one for one in kept if NOW - one.saved_at > timedelta(days=days)]
    assert len(old) <= 1
    if len(ages) <= keep and all(age <= days for age, _ in ages):
        assert kept == backups


def test_what_was_taken_last_is_the_newest_whatever_the_clock_showed() -> None:
    backups = [backup(f"b{day}", NOW + timedelta(days=day), state="verified") for day in (1, 2)]
    last = backup("last", NOW, state="verified")
    gone = data.surplus([*backups, last], Keeping(1, 86_400.0), newest="last", now=NOW)
    assert gone == (backups[1], backups[0])


def test_a_backup_of_the_future_is_of_nobody_knows_what_age() -> None:
    policy = Policy(restore_data=RestoreData(within_s=60.0))
    saved = backup("b", NOW + timedelta(seconds=1), state="verified")
    assert "nobody knows how old it is" in data.refused(policy, saved, now=NOW)
    assert data.refused(policy, saved, now=NOW + timedelta(seconds=1)) == ""


def test_others_are_told_what_may_be_touched_and_then_what_was() -> None:
    of = release("1.1.0", migrations=(migration("b", "after"), migration("a"), migration("c")))
    known = [
        row("c", proven=True),
        row("left", operation="earlier"),
        row("gone", "undone", operation="earlier"),
    ]
    under_way = upgrade(work("1.0.0"), work("1.1.0", of=of), phase=Phase.PREPARING)
    assert data.said(known, under_way) == {"a": "begun", "b": "begun", "left": "begun"}

    mine = under_way.operation
    touched = [*known, row("a", operation=mine, proven=True), row("b", "failed", operation=mine)]
    for phase in (Phase.REVERTING, Phase.STUCK):
        over = replace(under_way, phase=phase)
        assert data.said(touched, over) == {"left": "done", "gone": "undone", "a": "done", "b": "failed"}
