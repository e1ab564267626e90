"""Which commit asked for what: found as a walk over every commit finds it, and for many services at the cost of one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from reconciler.engine.repository import Repository
from reconciler.model.desired import resolve
from reconciler.model.target import Workload
from reconciler.store import Advance
from tests.fleet_repository import FleetRepository

SERVICES = "api", "web", "queue"


@pytest.fixture
def fleet(tmp_path: Path) -> FleetRepository:
    fleet = FleetRepository(tmp_path)
    fleet.deploy_first("1.0.0", *SERVICES)
    return fleet


def asked_for(repository: Repository, tip: str) -> dict[str, Workload]:
    return resolve(repository.snapshot(tip), {})["production"].workloads


def walked(repository: Repository, tips: list[str], service: str) -> str:
    """The oldest of the commits, from the last one back, that asks for what that one asks for."""
    work = asked_for(repository, tips[-1])[service]
    since = tips[-1]
    for tip in reversed(tips):
        here = asked_for(repository, tip).get(service)
        if here is None or here.target != work.target:
            break
        since = tip
    return since


def test_it_is_the_commit_that_a_walk_over_all_of_them_finds(
    fleet: FleetRepository, repository: Repository
) -> None:
    tips = [fleet.tip(), fleet.bump("1.1.0"), fleet.bump("1.2.0", service="web")]
    fleet.pin(None)
    fleet.merge("Take it out")
    fleet.pin("1.1.0")
    tips += [fleet.tip(), fleet.merge("Put it back"), fleet.bump("1.1.0", service="queue")]
    fleet.pin('{version: "1.1.0", instances: 2}')
    tips += [fleet.merge("Have two"), fleet.bump("1.0.1", service="web")]
    fleet.pin('{version: "1.1.0", instances: 1}')
    fleet.pin("1.0.0", "queue")
    tips.append(fleet.merge("Back to one, and to the first queue"))
    repository.fetch()
    for end, tip in enumerate(tips, 1):
        for service, work in asked_for(repository, tip).items():
            asked = repository.past.asked(tip, "production", service, work, {})
            assert asked.revision == walked(repository, tips[:end], service), (end, service)


def test_where_the_newest_commit_has_asked_the_answer_is_known_without_git(
    fleet: FleetRepository, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = repository.fetch().tip
    repository.accept(before)
    asked_for(repository, before)
    acts: list[tuple[Callable[[], str], set[str]]] = [
        (partial(fleet.bump, "1.1.0"), {"api"}),
        (partial(fleet.bump, "1.2.0", service="web"), {"web"}),
        (partial(fleet.merge, "Change nothing that is asked for"), set()),
        (partial(fleet.bump, "1.0.0"), {"api"}),
    ]
    for act, moved in acts:
        tip = act()
        assert repository.fetch().tip == tip
        repository.accept(tip)
        wanted, advance = asked_for(repository, tip), Advance(before, tip)
        for service in SERVICES:
            at_once = partial(repository.past.asked_at_once, tip, "production", service, wanted[service], {})
            with monkeypatch.context() as patch:
                patch.setattr(
                    repository.mirror._git, "ask", lambda *_argv, **_how: pytest.fail("Git is asked")
                )
                found = at_once(advance)
            whole = repository.past.asked(tip, "production", service, wanted[service], {}, [advance])
            assert found == (whole if service in moved else None), (tip, service)
            assert (
                at_once(None) is at_once(Advance("0" * 40, tip)) is at_once(Advance(before, before)) is None
            )
        before = tip


def test_git_is_asked_once_for_all_the_services_that_one_push_moved(
    fleet: FleetRepository, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, calls = fleet.tip(), list[str]()
    for service in SERVICES:
        fleet.release("1.1.0", service=service)
        fleet.pin("1.1.0", service)
    fleet.merge("Move them all")
    for service in SERVICES:
        fleet.release("1.2.0", service=service)
        fleet.pin("1.2.0", service)
    tip = fleet.merge("And once more")
    repository.fetch()
    wanted, past, ask = asked_for(repository, tip), repository.past, repository.mirror._git.ask

    def counted(*argv: str, **how: object) -> object:
        calls.append(argv[0])
        return ask(*argv, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(repository.mirror._git, "ask", counted)
    advances, found, asked = [Advance(before, tip)], [], []
    for service in SERVICES:
        found.append(past.asked(tip, "production", service, wanted[service], {}, advances))
        asked.append(len(calls))
    first, *others = found
    assert asked[0], "nothing was counted"
    assert asked == [asked[0]] * len(SERVICES)
    assert (first.base, first.pinned) == (before, frozenset(SERVICES))
    assert [one.revision for one in others] == [tip, tip]
    # One set of names for all: of five thousand services each would have its own with all five thousand in it.
    assert all(one.pinned is first.pinned and one.earlier is first.earlier for one in others)
