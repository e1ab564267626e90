"""What the store remembers is what stands in the database, whatever is written, by whom, and however it ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import zip_longest
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.model.data import Recorded, Saved
from reconciler.model.permits import Ask
from reconciler.model.probed import Rollup
from reconciler.model.slots import Hold as SlotHold
from reconciler.model.slots import Rule
from reconciler.model.target import Workload
from reconciler.model.upgrade import Phase, Upgrade
from reconciler.store import NOTE, SLACK, Note, ProbeHour, Store
from reconciler.store import memory as remembering
from reconciler.store.connection import connect
from reconciler.store.memory import TABLES, Memory, is_question
from tests.store.builders import START, HandClock, bump, notice, upgrade, work

ENVIRONMENTS, SERVICES = ("production", "staging"), ("api", "web")
PLACES = [(environment, service) for environment in ENVIRONMENTS for service in SERVICES]
REVISIONS = ("a" * 40, "b" * 40)
SEEDS, STEPS = range(40), 25
SEEDS_TO_FIND = range(60)


class Undone(Exception):
    """What a caller raises in the midst of a transaction."""


def plain(store: Store) -> Store:
    """The same connection, and nothing remembered: it sees what stands there, uncommitted changes too."""
    oracle = object.__new__(Store)
    oracle.__dict__.update(store.__dict__, _memory=None, _depth=0)
    return oracle


def answers(store: Store) -> Iterator[tuple[str, object]]:
    """All that the store can be asked, about every place that there is."""
    upgrades = [upgrade.operation for upgrade in store.upgrades(limit=100)]
    yield "frozen", dict(store.frozen())
    yield "all", [store.upgrades(unfinished=True), store.upgrades(limit=2), upgrades]
    yield "marks", [*map(store.marks, ("", "a", "a: ", "a: x", "b: x")), *map(store.marked, ("", "a: "))]
    yield "safe mode", [store.recoveries(), store.advances()]
    yield (
        "outbox",
        [
            (
                store.next_due(one),
                store.due(one, store._now(), limit=9),
                store.pending(one),
                store.trouble(one),
            )
            for one in (SLACK, NOTE)
        ],
    )
    yield "data", [store.migrations(), store.backups()]
    yield "audit", [store.head(), store.audit_rows(limit=5), store.tokens()]
    for name in ENVIRONMENTS:
        yield f"permits of {name}", [store.permits(name), store.adoptions(name), store.held_slots(name)]
        yield f"quarantined in {name}", store.quarantined(name)
        yield f"known of {name}", [store.has_deployed(name), store.attempted(name), store.proven(name)]
        yield f"knows {name}", store.knows(name)
        yield f"of {name}", [store.upgrades_of(name, revision) for revision in REVISIONS]
        yield f"now in {name}", [store.under_way(name), store.all_good(name, SERVICES)]
    for place in PLACES:
        ways = [
            store.attempts(*place, before, after, revision)
            for before, after in [(None, None), (work().target, work("1.5.0").target)]
            for revision in REVISIONS
        ]
        yield f"good in {place}", [store.good(*place), store.good(*place, limit=1), store.durations(*place)]
        yield f"probed in {place}", store.probed(*place, since=START)
        yield f"past of {place}", [store.upgrades(environment=place[0], service=place[1], limit=3), ways]
    for operation in upgrades:
        yield f"operation {operation}", [store.upgrade(operation), store.steps(operation)]
        yield f"thread {operation}", [store.thread(operation, SLACK), store.quarantine_of(operation)]


def some_work(random: Random) -> Workload:
    environment, service = random.choice(PLACES)
    version = random.choice(("1.4.0", "1.5.0"))
    return work(version, service=service, environment=environment, soak_s=random.choice((10.0, 20.0)))


def some_upgrade(random: Random) -> Upgrade:
    after = some_work(random)
    before = work("1.4.0", service=after.service, environment=after.environment)
    phase = random.choice(list(Phase))
    made = upgrade(before=before, after=after, revision=random.choice(REVISIONS), phase=phase)
    return replace(made, started_at=START, ended_at=START) if made.final else made


def moves(random: Random) -> list[Callable[[Store], object]]:
    """Everything that a store can be told, each with something drawn."""
    one, some, (environment, service) = some_upgrade(random), some_work(random), random.choice(PLACES)
    number, soon = random.randint(1, 3), START.replace(minute=random.randint(0, 59))
    ask = Ask(environment, service, None, str(some.target), ("1.5.0",), "a" * 40)
    recorded = Recorded(environment, service, "m1", "1.5.0", one.operation, "done", START, "", False)
    saved = Saved("b1", environment, service, one.operation, "upgrade", "1.5.0", "/b1", "saved", START)
    slot = SlotHold(environment, service, one.operation, Rule("workers", "http://lock"))
    telling = notice(operation=one.operation)
    return [
        lambda s: s.record(one, event="moved", notices=[telling], note=Note("a" * 40, one.operation, "{}")),
        lambda s: s.begin(one.operation, "apply"),
        lambda s: s.end(one.operation, "apply"),  # often of a step that never began
        lambda s: s.quarantine(one, reason="it fell"),
        lambda s: s.reverted(one.operation, "c" * 40),
        lambda s: s.release_quarantine(environment, service, operation=None, by="ada", why="mended"),
        lambda s: s.deployed(some, revision="a" * 40),
        lambda s: s.healthy(some),  # often of what was never deployed
        lambda s: s.forget_good(environment, service, some.target),
        lambda s: s.removed(environment, service),
        lambda s: s.mark(
            random.choice(("a", "b", "a: x", "a: xy", "a: y: z", "b: x")), random.choice(("1", "2", None))
        ),
        lambda s: s.advance(random.choice((None, "a" * 40)), "b" * 40),
        lambda s: s.enter_recovery(environment, "lost"),
        lambda s: s.keep_recovery(environment, None),
        lambda s: s.hold(environment, random.choice((None, service)), reason="look", owner="ada", until=soon),
        lambda s: s.release_hold(number, by="ada"),
        lambda s: s.approve(ask, by="ada", until=soon),
        lambda s: s.withdraw_approval(number, by="ada"),
        lambda s: s.override(environment, None, gate="window", reason="now", by="ada", until=soon),
        lambda s: s.confirm_override(number, by="ada"),
        lambda s: s.adopt(environment, service, what="it", reason="ours", by="ada", until=soon),
        lambda s: s.withdraw_adoption(number, by="ada"),
        lambda s: s.use_adoption(environment, service),
        lambda s: s.tell(telling),
        lambda s: s.delivered([number, number + 1]),
        lambda s: s.postpone([number], at=soon, error="it does not answer"),
        lambda s: s.remember_thread(one.operation, SLACK, "C1", str(number)),
        lambda s: s.health(environment, service, random.choice(("healthy", "degraded")), ""),
        lambda s: s.migrated(recorded),
        lambda s: s.prove_migrations(environment, service),
        lambda s: s.saved(saved),
        lambda s: s.drop_backup(saved, "old"),
        lambda s: s.hold_slot(slot),
        lambda s: s.let_slot_go(slot),
        lambda s: s.take_slot("workers", service, 1),
        lambda s: s.keep_token("ada", f"secret {random.random()}", (), by="root", expires_at=None),
        lambda s: s.revoke_token(number, by="root"),
        lambda s: s.audit("seen", environment=environment),
        lambda s: s.add_probed({ProbeHour(environment, service, "tcp", START): Rollup(1, number)}),
        lambda s: s.rename(environment, random.choice(("test", *ENVIRONMENTS))),
        lambda s: s.prune(upgrades_max=1, transitions_max=1, done_max=1, pending_max=2, permits_max=1),
        lambda s: s._connection.execute("UPDATE upgrades SET final = 1 - final"),  # past everything
    ]


class Story:
    """Two daemons, as it were, on one file; each remembers, and what it says is held against the plain truth."""

    def __init__(self, random: Random, stores: list[Store], clock: HandClock) -> None:
        self.random, self.stores, self.clock = random, stores, clock
        self.wrong = ""

    def tell(self) -> str:
        """The first answer that is not what stands there; empty when each is."""
        for _ in range(STEPS):
            self.clock.move(self.random.choice((0.0, 1.0, 600.0)))
            store = self.random.choice(self.stores)
            with suppress(Undone):
                self._act(store, depth=0)
            for one in self.stores:
                self._compare(one)
        return self.wrong

    def _act(self, store: Store, depth: int) -> None:
        chance = self.random.random()
        if depth > 2 or chance < 0.6:
            self._move(store)
            return
        ends = self.random.choice(("well", "well", "undone", "caught", "without space"))
        with suppress(*([Undone] if ends == "caught" else [])), store.transaction():
            for _ in range(self.random.randint(1, 3)):
                self._act(store, depth + 1)
                self._compare(store)
            if ends in ("undone", "caught"):
                raise Undone
            if ends == "without space" and not depth:
                store._connection.execute("ROLLBACK")  # as SQLite does by itself when the disk is full
                raise Undone

    def _move(self, store: Store) -> None:
        move = self.random.choice(moves(self.random))
        with suppress(RuntimeError, sqlite3.IntegrityError):  # it never began, or stands there already
            move(store)

    def _compare(self, store: Store) -> None:
        """As many answers as there are: one upgrade more or less is a difference too."""
        for said, stands in zip_longest(answers(store), answers(plain(store))):
            if said != stands:
                self.wrong = self.wrong or f"{said}, and there stands {stands}"


def story(seed: int, path: Path) -> str:
    clock = HandClock()
    with closing(Store(path, now=clock.now)) as first, closing(Store(path, now=clock.now)) as second:
        for store in (first, second):
            store._connection.execute("PRAGMA synchronous = OFF")
            store.look_again_s = 0.0  # each sees at once what the other has written
        return Story(Random(seed), [first, second], clock).tell()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_remembered_is_what_stands_there(seed: int, path: Path) -> None:
    assert story(seed, path) == ""


def blind_to_rollbacks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Store, "_forget_all", lambda _self: None)


def blind_to_other_processes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Store, "_version", lambda _self: 0)


def blind_to_its_own_connection(patch: pytest.MonkeyPatch) -> None:
    whole = Memory.catch_up
    patch.setattr(Memory, "catch_up", lambda self, _changes, version=None: whole(self, 0, version))


def blind_to_what_is_of_nothing_in_particular(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Memory, "_gone", staticmethod(lambda asked, of: list(of or asked)))


def blind_to_whom_it_is_of(patch: pytest.MonkeyPatch) -> None:
    whole = Memory.forget

    def forget(self: Memory, sql: str, of: Any = ()) -> None:
        whole(self, sql, ["someone else"] if of else of)

    patch.setattr(Memory, "forget", forget)


@pytest.mark.parametrize(
    "blind",
    [
        blind_to_rollbacks,
        blind_to_other_processes,
        blind_to_its_own_connection,
        blind_to_what_is_of_nothing_in_particular,
        blind_to_whom_it_is_of,
    ],
)
def test_a_memory_that_overlooks_something_is_found_out(
    blind: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind(monkeypatch)
    assert any(story(seed, tmp_path / f"{seed}.db") for seed in SEEDS_TO_FIND)


def test_what_is_known_is_not_asked_again_until_it_changes(store: Store) -> None:
    asked: list[str] = []
    store.record(bump(), event="planned")
    store._connection.set_trace_callback(asked.append)
    for _ in range(3):
        assert store.upgrades(unfinished=True) == [bump()]
    assert [sql for sql in asked if "upgrades" in sql] == [sql for sql in asked if "SELECT value" in sql][:1]
    store.mark("a", "b")
    assert store.upgrades(unfinished=True) == [bump()]
    store.record(replace(bump(), phase=Phase.WAITING), event="waiting")
    assert store.upgrades(unfinished=True) == [replace(bump(), phase=Phase.WAITING)]
    assert len([sql for sql in asked if "SELECT value" in sql]) == 2


def test_what_was_written_of_another_operation_leaves_the_rest_known(store: Store) -> None:
    asked: list[str] = []
    store.begin("one", "apply")
    store.steps("one")
    store._connection.set_trace_callback(asked.append)
    store.begin("two", "apply")
    assert [step.step for step in store.steps("one")] == ["apply"]
    assert not [sql for sql in asked if "FROM steps" in sql]


def test_a_fact_of_another_sort_leaves_the_rest_known(store: Store) -> None:
    asked: list[str] = []
    store.mark("drift: production", "told")
    store.marks("drift: ")
    store.marked("drift: ")
    store._connection.set_trace_callback(asked.append)
    store.mark("known: production", "seen")
    assert store.marks("drift: ") == {"drift: production": "told"}
    assert store.marked("drift: ") == {"production"}
    assert not [sql for sql in asked if "FROM marks" in sql]
    store.mark("drift: staging", "told")
    assert store.marks("drift: ") == dict.fromkeys(("drift: production", "drift: staging"), "told")


def test_what_was_tried_in_another_environment_leaves_the_rest_known(store: Store) -> None:
    asked: list[str] = []
    store.deployed(work(), revision="a" * 40)
    store.healthy(work())
    assert store.attempted("production") == {"api": work().target.version}
    store._connection.set_trace_callback(asked.append)
    store.deployed(work("1.5.0", environment="staging"), revision="b" * 40)
    assert store.proven("production") == {"api": str(work().target)}
    assert not [sql for sql in asked if "healthy_seq FROM versions" in sql]
    store.deployed(work("1.5.0"), revision="b" * 40)
    assert store.attempted("production") == {"api": work("1.5.0").target.version}
    assert store.proven("production") == {"api": str(work().target)}


def test_who_writes_beside_us_all_the_same_is_noticed_by_the_next_transaction_or_a_moment_later(
    store: Store, path: Path, clock: HandClock
) -> None:
    with closing(Store(path, now=clock.now)) as other:
        for beside in range(2):
            store.look_again_s = 30.0
            assert store.marks("a") == ({"a": "0"} if beside else {})
            other.mark("a", str(beside))
            assert store.marks("a") == ({"a": "0"} if beside else {})
            if beside:
                store.look_again_s = 0.0
                assert store.marks("a") == {"a": "1"}
            else:
                with store.transaction():
                    assert store.marks("a") == {"a": "0"}


def test_whoever_only_reads_remembers_nothing(store: Store, path: Path, clock: HandClock) -> None:
    with closing(Store(path, now=clock.now, read_only=True)) as reader:
        assert reader.marks("") == {}
        store.mark("a", "b")
        assert reader.marks("") == {"a": "b"}
        assert reader._memory is None


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    monkeypatch.setattr(remembering, "QUESTIONS_MAX", 5)
    monkeypatch.setattr(remembering, "ROWS_MAX", 20)
    for number in range(30):
        store.mark(f"{number:02}", "x")
    for number in range(40):
        store.upgrade(str(number))
        assert len(store.marks("")) == 30
    assert store._memory is not None
    assert len(store._memory._answers) <= 5


def test_only_questions_that_hang_on_tables_alone_are_remembered(path: Path) -> None:
    assert is_question("SELECT * FROM marks")
    assert not is_question("SELECT seq FROM sqlite_sequence WHERE name = 'maintenance_logs'")
    assert not is_question("SELECT 1")
    assert not is_question("UPDATE marks SET value = 1 RETURNING *")
    with closing(Store(path, now=HandClock().now)), closing(connect(path, read_only=True)) as reader:
        named = {row["name"] for row in reader.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert named - {"sqlite_sequence"} == TABLES
