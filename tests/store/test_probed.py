"""What probes came to, by the hour: added up over writes, starts and names, and dropped when it is old."""

from __future__ import annotations

from datetime import timedelta

from reconciler.model.probed import NONE, ProbedHour, Rollup
from reconciler.store import ProbeHour, Store
from tests.store.builders import START, HandClock

HOUR = START.replace(minute=0, second=0, microsecond=0)
ONE = Rollup(3, 1, 1, 0.25, 0.25, (0, 0, 0, 0, 0, 1, *NONE[6:]))
OTHER = Rollup(2, 0, 0, 0.75, 0.5, (0, 0, 0, 0, 0, 1, 1, *NONE[7:]))


def key(
    service: str = "api", probe: str = "tcp", hours: int = 0, environment: str = "production"
) -> ProbeHour:
    return ProbeHour(environment, service, probe, HOUR + timedelta(hours=hours))


def test_an_hour_adds_up_however_often_it_is_written(store: Store) -> None:
    store.add_probed({key(): ONE, key(hours=1): OTHER, key("web"): ONE})
    assert store.probed("production", "api", since=START)[0].rollup == ONE
    store.add_probed({key(): OTHER})
    assert store.probed("production", "api", since=START) == [
        ProbedHour("tcp", HOUR, ONE.plus(OTHER)),
        ProbedHour("tcp", HOUR + timedelta(hours=1), OTHER),
    ]
    assert store.probed("production", "api", since=START + timedelta(hours=1))[0].rollup == OTHER
    assert store.probed("staging", "api", since=START) == []


def test_a_batch_is_one_transaction(store: Store) -> None:
    commits: list[int] = []
    store.hearers.append(lambda: commits.append(store.changes))
    store.add_probed({key(f"service-{number}"): ONE for number in range(300)})
    assert len(commits) == 1


def test_what_is_old_is_dropped_and_what_has_a_new_name_goes_along(store: Store, clock: HandClock) -> None:
    store.add_probed({key(): ONE, key(hours=2): OTHER})
    store.rename("production", "live")
    assert store.probed("production", "api", since=START) == []
    clock.move(3 * 3600)
    store.prune(probe_hours_max=2)
    assert [one.rollup for one in store.probed("live", "api", since=START)] == [OTHER]
