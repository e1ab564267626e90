"""References that move by compare-and-swap: one winner of every race, on a path and over http."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier

import pytest

from reconciler.git import GitRegister, PushRefused, PushRejected, Remote
from reconciler.model.errors import HostError, TransientError
from reconciler.model.register import ABSENT, Move
from tests.git.colleague import AT, ENVIRONMENT, git
from tests.git.conftest import UGS
from tests.git.http_backend import serve

OpenRegister = Callable[..., GitRegister]
CONTENDERS = 4


@pytest.fixture(params=["path", "http"])
def url(request: pytest.FixtureRequest, tmp_path: Path, origin: Path) -> Iterator[str]:
    with ExitStack() as serving:
        if request.param == "path":
            yield str(origin)
        else:
            git(origin, "config", "http.receivepack", "true")
            yield f"{serving.enter_context(serve(tmp_path))}/{origin.name}"


@pytest.fixture
def open_register(tmp_path: Path, origin: Path) -> OpenRegister:
    def open_one(name: str = "ours", url: str = str(origin), *, timeout_s: float = 30.0) -> GitRegister:
        remote = Remote(url, environment=ENVIRONMENT)
        return GitRegister(tmp_path / "state" / f"{name}.git", remote, UGS, network_timeout_s=timeout_s)

    return open_one


def put(register: GitRegister, expected: str, body: str, name: str = "production") -> str:
    """Move it, and say what came of it."""
    answer = register.swap({name: Move(expected, "Lease", body)}, at=AT)[name]
    assert isinstance(answer, str)
    return answer


def test_it_is_made_moved_and_read_by_others(url: str, open_register: OpenRegister) -> None:
    ours, theirs = open_register(url=url), open_register("theirs", url)
    assert theirs.read() == {}
    first = put(ours, ABSENT, "one")
    assert theirs.read() == {"production": (first, "one")}
    second = put(ours, first, "two")
    assert theirs.read() == {"production": (second, "two")}
    third = put(theirs, second, "three")
    assert ours.read() == {"production": (third, "three")}


def test_whoever_expects_something_else_comes_too_late(url: str, open_register: OpenRegister) -> None:
    ours, theirs = open_register(url=url), open_register("theirs", url)
    first = put(ours, ABSENT, "one")
    for expected in (ABSENT, "1" * 40):
        answer = theirs.swap({"production": Move(expected, "Lease", "mine")}, at=AT)["production"]
        assert isinstance(answer, PushRejected)
    assert ours.read() == {"production": (first, "one")}


def test_several_move_in_one_push_each_by_itself(url: str, open_register: OpenRegister) -> None:
    ours, theirs = open_register(url=url), open_register("theirs", url)
    taken = put(theirs, ABSENT, "theirs", "staging")
    answers = ours.swap(
        {name: Move(ABSENT, "Lease", f"our {name}") for name in ("production", "staging", "test")}, at=AT
    )
    assert isinstance(answers["staging"], PushRejected)
    found = ours.read()
    assert {name: body for name, (_, body) in found.items()} == {
        "production": "our production",
        "staging": "theirs",
        "test": "our test",
    }
    assert found["staging"][0] == taken


def test_one_that_is_gone_from_the_remote_is_gone_here(open_register: OpenRegister, origin: Path) -> None:
    ours = open_register()
    put(ours, ABSENT, "one")
    assert ours.read()
    git(origin, "update-ref", "-d", "refs/ugs/lease/production")
    assert ours.read() == {}


def test_a_hook_that_declines_is_a_refusal_and_the_others_move(
    open_register: OpenRegister, hook: Callable[[str, str], None]
) -> None:
    hook("update", 'test "$1" != refs/ugs/lease/production || { echo "no leases here" >&2; exit 1; }')
    answers = open_register().swap(
        {name: Move(ABSENT, "Lease", "x") for name in ("production", "staging")}, at=AT
    )
    assert isinstance(answers["production"], PushRefused)
    assert "no leases here" in str(answers["production"])
    assert isinstance(answers["staging"], str)


def test_whoever_comes_too_late_is_told_so_also_where_a_hook_declines(
    open_register: OpenRegister, hook: Callable[[str, str], None]
) -> None:
    """Else he whom the remote refuses would never know that another has it."""
    ours, theirs = open_register(), open_register("theirs")
    first = put(ours, ABSENT, "one")
    put(theirs, first, "two")
    hook("update", 'echo "no leases here" >&2; exit 1')
    late = ours.swap({"production": Move(first, "Lease", "three")}, at=AT)
    assert isinstance(late["production"], PushRejected)


def test_a_lost_answer_may_pass_and_the_next_look_tells(
    open_register: OpenRegister, hook: Callable[[str, str], None]
) -> None:
    ours = open_register()
    hook("reference-transaction", 'test "$1" = committed && kill -9 $PPID; exit 0')
    with pytest.raises(TransientError):
        ours.swap({"production": Move(ABSENT, "Lease", "one")}, at=AT)
    assert [body for _, body in ours.read().values()] == ["one"]


def test_a_remote_that_is_gone_is_said_to_be(open_register: OpenRegister, origin: Path) -> None:
    ours = open_register()
    origin.rename(origin.with_name("moved.git"))
    with pytest.raises(HostError, match=r"check repository\.url"):
        ours.read()
    with pytest.raises(PushRefused, match=r"check repository\.url"):
        ours.swap({"production": Move(ABSENT, "Lease", "one")}, at=AT)


def test_renewals_leave_nothing_behind_here(open_register: OpenRegister, tmp_path: Path) -> None:
    ours, value = open_register(), ABSENT
    for number in range(12):
        value = put(ours, value, f"beat {number}")
    kept = [path for path in (tmp_path / "state/ours.git/objects").glob("??/*") if path.is_file()]
    assert len(kept) <= 4


@pytest.mark.fault("GT-21")
@pytest.mark.parametrize("rounds", [5, pytest.param(1000, marks=pytest.mark.crash)])
def test_every_race_has_exactly_one_winner(open_register: OpenRegister, rounds: int) -> None:
    contenders = [open_register(f"contender-{index}") for index in range(CONTENDERS)]
    start, value = Barrier(CONTENDERS), ABSENT

    def contend(index: int, expected: str, number: int) -> object:
        start.wait(60)
        move = Move(expected, "Lease", f"contender {index}, round {number}")
        return contenders[index].swap({"production": move}, at=AT)["production"]

    with ThreadPoolExecutor(CONTENDERS) as pool:
        for number in range(rounds):
            answers = list(pool.map(contend, range(CONTENDERS), [value] * CONTENDERS, [number] * CONTENDERS))
            won = [answer for answer in answers if isinstance(answer, str)]
            assert [type(answer) for answer in answers].count(PushRejected) == CONTENDERS - 1, answers
            [value] = won
            assert contenders[0].read()["production"][0] == value
