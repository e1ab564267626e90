"""Upgrades as they move, their journal, what was deployed, and what is in quarantine."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import msgspec
import pytest

from reconciler.model.release import Archive, Artifact
from reconciler.model.target import frozen_digest
from reconciler.model.upgrade import Phase
from reconciler.store import NOTE, SLACK, Note, Step, Store
from tests.store.builders import START, HandClock, bump, notice, upgrade, work


def test_a_move_writes_the_upgrade_the_audit_and_the_outbox(store: Store) -> None:
    planned = bump()
    store.record(planned, event="planned", actor="ann", detail="merged")
    verifying = msgspec.structs.replace(planned, phase=Phase.VERIFYING, verifying_at=START)
    store.record(
        verifying,
        event="verifying",
        notices=[notice(operation=planned.operation)],
        note=Note(planned.revision, planned.operation, '{"phase":"verifying"}'),
    )
    assert store.upgrade(planned.operation) == verifying
    assert store.upgrades() == [verifying]
    newest, oldest = store.audit_rows(limit=10)
    assert (oldest.event, oldest.actor, oldest.detail) == ("planned", "ann", "merged")
    assert (newest.operation, newest.service) == (planned.operation, "api")
    assert store.pending(SLACK) == store.pending(NOTE) == 1


def test_an_upgrade_that_was_never_recorded_is_none(store: Store) -> None:
    assert store.upgrade("0" * 16) is None


def test_every_unfinished_upgrade_is_told_however_many_there_are(store: Store) -> None:
    for number in range(120):
        store.record(bump(revision=f"{number:040}", attempt=number), event="waiting")
    assert len(store.upgrades(unfinished=True)) == 120
    assert len(store.upgrades(unfinished=True, limit=10)) == 10
    assert len(store.upgrades()) == 100


def test_an_upgrade_is_under_way_from_its_beginning_to_its_end(store: Store) -> None:
    for phase in (Phase.WAITING, Phase.PREPARING, Phase.VERIFYING, Phase.SUCCEEDED):
        store.record(bump(phase=phase), event=phase.value)
        under_way = phase in (Phase.PREPARING, Phase.VERIFYING)
        assert store.under_way("production") == ({"api"} if under_way else set())
    assert store.under_way("staging") == set()


def test_upgrades_are_listed_newest_first_by_place_and_by_being_unfinished(store: Store) -> None:
    old = upgrade(after=work("1.0.0"), phase=Phase.SUCCEEDED)
    web = upgrade(after=work("2.0.0", service="web"), at=START + timedelta(seconds=1))
    staging = upgrade(after=work("1.0.0", environment="staging"), at=START + timedelta(seconds=2))
    for recorded in (staging, old, web):
        store.record(recorded, event="recorded")
    assert store.upgrades() == [staging, web, old]
    assert store.upgrades(limit=1) == [staging]
    assert store.upgrades(environment="production") == [web, old]
    assert store.upgrades(environment="production", service="api") == [old]
    assert store.upgrades(unfinished=True) == [staging, web]
    assert store.upgrades(unfinished=True, environment="production") == [web]
    assert store.upgrades(unfinished=True, service="api") == [staging]


def test_attempts_count_the_ended_upgrades_of_exactly_one_change(store: Store) -> None:
    before, after, revision = work("1.4.0").target, work("1.5.0").target, "a" * 40
    assert store.attempts("production", "api", before, after, revision) == 0
    store.record(bump(phase=Phase.VERIFYING), event="verifying")
    assert store.attempts("production", "api", before, after, revision) == 0
    store.record(bump(phase=Phase.REVERTED), event="reverted")
    store.record(bump(phase=Phase.REVERTED, attempt=2), event="reverted")
    store.record(bump(phase=Phase.REVERTED, revision="b" * 40), event="reverted")
    store.record(upgrade(before=work("1.4.0"), phase=Phase.SUCCEEDED), event="removed")
    assert store.attempts("production", "api", before, after, revision) == 2
    assert store.attempts("production", "api", before, None, revision) == 1
    assert store.attempts("production", "api", None, after, revision) == 0


def test_the_journal_tells_what_began_and_how_it_ended(store: Store, clock: HandClock) -> None:
    store.begin("op", "fetch")
    clock.move(2)
    store.end("op", "fetch", detail="12 MiB")
    store.begin("op", "apply")
    store.begin("other", "fetch")
    ended, cut_short = store.steps("op")
    assert ended == Step("op", "fetch", START, START + timedelta(seconds=2), "ok", "12 MiB")
    assert (cut_short.step, cut_short.ended_at, cut_short.outcome) == ("apply", None, "")


def test_a_step_may_begin_again_and_is_then_open(store: Store, clock: HandClock) -> None:
    store.begin("op", "fetch")
    store.end("op", "fetch", outcome="failed", detail="no route to host")
    clock.move(5)
    store.begin("op", "fetch")
    assert store.steps("op") == [Step("op", "fetch", START + timedelta(seconds=5), None, "", "")]


def test_last_good_is_what_proved_healthy_last(store: Store, clock: HandClock) -> None:
    for version in ("1.3.0", "1.4.0", "1.5.0"):
        store.deployed(work(version), revision="a" * 40)
    assert store.good("production", "api") == []
    store.healthy(work("1.4.0"))
    clock.move(60)
    store.healthy(work("1.3.0"))
    assert store.good("production", "api") == [
        (work("1.3.0"), START + timedelta(seconds=60)),
        (work("1.4.0"), START),
    ]
    store.healthy(work("1.4.0"))
    assert [good.target for good, _ in store.good("production", "api", limit=1)] == [work("1.4.0").target]
    store.forget_good("production", "api", work("1.4.0").target)
    assert [good.target for good, _ in store.good("production", "api")] == [work("1.3.0").target]
    assert store.good("staging", "api") == []
    store.deployed(work("2.0.0", service="web"), revision="a" * 40)
    store.healthy(work("2.0.0", service="web"))
    services = ("api", "web", "none")
    assert store.all_good("production", services) == {
        service: store.good("production", service) for service in services
    }
    assert store.proven("production") == {
        "api": str(work("1.3.0").target),
        "web": str(work("2.0.0").target),
    }


def test_what_was_never_deployed_cannot_be_healthy(store: Store) -> None:
    with pytest.raises(RuntimeError, match="never deployed"):
        store.healthy(work())


def test_two_configs_of_one_version_are_two_targets(store: Store) -> None:
    for workers in (1, 2):
        store.deployed(work(workers=workers), revision="a" * 40)
        store.healthy(work(workers=workers))
    assert [good.config["workers"] for good, _ in store.good("production", "api")] == [2, 1]
    assert store.has_deployed("production")
    assert not store.has_deployed("staging")


def test_the_last_that_was_tried_and_the_last_that_proved_healthy_are_told_apart(store: Store) -> None:
    assert (store.attempted("production"), store.proven("production")) == ({}, {})
    for version, healthy in (("1.4.0", True), ("1.5.0", False), ("1.6.0", True), ("1.4.0", False)):
        store.deployed(work(version), revision="a" * 40)
        if healthy:
            store.healthy(work(version))
    store.deployed(work("1.4.0", environment="staging"), revision="a" * 40)
    tried, good = store.attempted("production"), store.proven("production")
    assert (tried, good) == ({"api": work("1.6.0").target.version}, {"api": str(work("1.6.0").target)})
    store.healthy(work("1.4.0"))
    assert store.proven("production") == {"api": str(work("1.4.0").target)}
    store.healthy(work("1.4.0", environment="staging"))
    # Of very many environments each would have its own otherwise.
    assert store.proven("staging")["api"] is store.proven("production")["api"]


def test_bringing_back_uses_the_probes_and_the_pin_as_last_deployed(store: Store) -> None:
    store.deployed(work(soak_s=10), revision="a" * 40)
    store.deployed(work(soak_s=30), revision="b" * 40)
    store.healthy(work(soak_s=30))
    assert store.good("production", "api")[0][0].release.health.soak_s == 30


def test_a_release_is_frozen_as_it_was_first_deployed_anywhere(store: Store) -> None:
    store.deployed(work("1.4.0", environment="staging"), revision="a" * 40)
    other = Artifact(archive=Archive("https://example.org/api.tar.gz", "0" * 64))
    edited = msgspec.structs.replace(
        work("1.4.0"), release=msgspec.structs.replace(work("1.4.0").release, artifact=other)
    )
    store.deployed(edited, revision="b" * 40)
    assert frozen_digest(edited.release) != frozen_digest(work("1.4.0").release)
    assert store.frozen() == {("api", "1.4.0"): work("1.4.0").release}


def test_what_is_frozen_is_the_same_for_who_follows_the_rows_and_for_who_starts(
    store: Store, clock: HandClock
) -> None:
    followed = []
    for environment, soak_s in (("staging", 10), ("production", 20), ("live", 30)):
        for version in ("1.4.0", "1.5.0") if environment == "live" else ("1.4.0",):
            store.deployed(
                work(version, environment=environment, soak_s=soak_s, workers=int(soak_s)), revision="a" * 40
            )
            followed.append(dict(store.frozen()))
    with contextlib.closing(Store(store.path, now=clock.now)) as started:
        started.look_again_s = 0.0
        assert repr(dict(started.frozen())) == repr(dict(store.frozen())) == repr(followed[-1])
        assert started.frozen()["api", "1.4.0"].health.soak_s == 10
        assert started.frozen() is started.frozen()
        store.deployed(work("1.6.0"), revision="b" * 40)
        assert set(started.frozen()) == {("api", version) for version in ("1.4.0", "1.5.0", "1.6.0")}


def test_quarantine_freezes_a_release_that_never_ran(store: Store) -> None:
    store.quarantine(bump(), reason="sha256 differs")
    assert store.frozen() == {("api", "1.5.0"): work("1.5.0").release}
    assert not store.has_deployed("production")
    store.deployed(work("1.5.0"), revision="b" * 40)
    assert store.has_deployed("production")
    assert not store.has_deployed("staging")


def test_a_quarantine_stands_once_until_it_is_released(store: Store) -> None:
    store.quarantine(bump(), reason="http probe: 500")
    store.quarantine(bump(), reason="told again after a crash")
    (record,) = store.quarantined("production")
    assert (record.operation, record.target, record.restored) == (
        bump().operation,
        work("1.5.0").target,
        work("1.4.0").target,
    )
    assert (record.reason, record.quarantined_at, record.revert_commit) == ("http probe: 500", START, None)
    assert [row.event for row in store.audit_rows(limit=10)] == ["quarantined"]
    assert store.quarantined("staging") == []

    store.reverted(record.operation, "c" * 40)
    assert store.quarantined("production")[0].revert_commit == "c" * 40

    released = store.release_quarantine("production", "api", operation=None, by="ann", why="fixed upstream")
    assert [one.operation for one in released] == [record.operation]
    assert store.quarantined("production") == []
    newest = store.audit_rows(limit=1)[0]
    assert (newest.event, newest.actor, newest.operation) == ("quarantine-released", "ann", record.operation)
    assert newest.detail.endswith("fixed upstream")
    assert store.release_quarantine("production", "api", operation=None, by="ann", why="again") == []


def test_what_was_released_and_failed_again_under_the_same_operation_stands_again(
    store: Store, clock: HandClock
) -> None:
    store.quarantine(bump(), reason="http probe: 500")  # as Git told of another daemon's attempt
    store.release_quarantine("production", "api", operation=None, by="ann", why="fixed upstream")
    clock.move(60)
    store.quarantine(bump(), reason="http probe: 502")
    [record] = store.quarantined("production")
    assert (record.reason, record.quarantined_at) == ("http probe: 502", START + timedelta(seconds=60))
    assert [row.event for row in store.audit_rows(limit=10)] == [
        "quarantined",
        "quarantine-released",
        "quarantined",
    ]


def test_one_quarantine_of_several_can_be_released(store: Store) -> None:
    first, second = bump(), bump(attempt=2)
    web = upgrade(after=work("2.0.0", service="web"))
    for failed in (first, second, web):
        store.quarantine(failed, reason="failed")
    released = store.release_quarantine(
        "production", "api", operation=second.operation, by="ann", why="once more"
    )
    assert [one.operation for one in released] == [second.operation]
    assert [one.operation for one in store.quarantined("production")] == [first.operation, web.operation]
    assert store.quarantined("production")[1].restored is None


def test_moves_that_make_no_sense_are_bugs(store: Store) -> None:
    with pytest.raises(RuntimeError, match="no target"):
        store.quarantine(upgrade(before=work()), reason="a removal")
    with pytest.raises(RuntimeError, match="never quarantined"):
        store.reverted("0" * 16, "c" * 40)
    with pytest.raises(RuntimeError, match="without having begun"):
        store.end("op", "fetch")
