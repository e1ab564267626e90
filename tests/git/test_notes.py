"""Notes: one line an operation, shown by plain git, and nobody's line is ever lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.git import Mirror, PushRejected
from reconciler.git.notes import united
from reconciler.model.errors import TransientError
from tests.git.colleague import AT, Colleague
from tests.git.conftest import OpenMirror

Hook = Callable[[str, str], None]


def line(operation: str, outcome: str = "succeeded") -> str:
    return json.dumps({"operation": operation, "outcome": outcome})


def fetched_notes(colleague: Colleague, sha: str) -> list[str]:
    colleague.git("fetch", "--quiet", "origin", "+refs/notes/ugs:refs/notes/ugs")
    return colleague.git("notes", "--ref=ugs", "show", sha).splitlines()


def annotate(colleague: Colleague, sha: str, *lines: str) -> None:
    colleague.git("notes", "--ref=ugs", "append", "--file=-", sha, stdin="\n".join(lines).encode())
    colleague.git("push", "--quiet", "origin", "refs/notes/ugs")


def test_notes_show_in_plain_git_log_in_a_clone(mirror: Mirror, ada: Colleague) -> None:
    first, second = mirror.fetch(), ada.merges({"README.md": "2\n"})
    mirror.fetch()
    mirror.add_notes({first: {"a": line("a"), "b": line("b")}, second: {"c": line("c")}}, at=AT)
    assert mirror.notes(first) == [line("a"), line("b")]
    assert fetched_notes(ada, first) == [line("a"), line("b")]
    assert line("c") in ada.git("log", "--notes=ugs", "-1")
    assert ada.git("rev-list", "--count", "refs/notes/ugs") == "1"
    assert ada.git("log", "-1", "--format=%an %cI", "refs/notes/ugs") == "UGS 2026-11-02T09:30:00+00:00"


def test_a_commit_without_a_note_has_no_lines(mirror: Mirror) -> None:
    assert mirror.notes(mirror.fetch()) == []


def test_a_new_line_replaces_the_older_one_of_its_operation(mirror: Mirror) -> None:
    tip = mirror.fetch()
    mirror.add_notes({tip: {"a": line("a", "verifying"), "b": line("b")}}, at=AT)
    mirror.add_notes({tip: {"a": line("a", "reverted")}}, at=AT)
    assert mirror.notes(tip) == [line("a", "reverted"), line("b")]


def said(epoch: int, outcome: str, environment: str = "production") -> bytes:
    """A line of one operation, as a daemon says it in an epoch; 0: in none."""
    line = {"operation": "a", "environment": environment, "service": "api", "outcome": outcome}
    return json.dumps(line | ({"epoch": epoch} if epoch else {})).encode()


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["reverting", "reverted"])), min_size=1))
def test_of_two_lines_of_one_operation_the_greater_epoch_counts(told: list[tuple[int, str]]) -> None:
    """Whichever arrives first; in one epoch, and where one says none, the later."""
    [kept] = united(*([said(epoch, outcome)] for epoch, outcome in told))
    last = told[0]
    for one in told[1:]:
        last = last if 0 < one[0] < last[0] else one
    assert kept == said(*last)
    if all(epoch for epoch, _ in told):
        newest = max(epoch for epoch, _ in told)
        assert kept == said(newest, [outcome for epoch, outcome in told if epoch == newest][-1])


def test_epochs_of_another_name_of_the_environment_say_nothing() -> None:
    """Its lease begins anew with the name."""
    old, new = said(7, "reverting"), said(1, "reverted", "live")
    assert united([old], [new]) == [new]


def test_what_was_kept_by_who_had_the_environment_before_does_not_come_back(
    open_mirror: OpenMirror, ada: Colleague
) -> None:
    one, other = open_mirror("one"), open_mirror("other")
    tip = one.fetch()
    other.fetch()
    other.add_notes({tip: {"a": said(8, "reverted").decode()}}, at=AT)
    one.add_notes({tip: {"a": said(7, "verifying").decode()}}, at=AT)
    assert fetched_notes(ada, tip) == [said(8, "reverted").decode()]
    assert one.notes(tip) == [said(8, "reverted").decode()]


def test_two_daemons_and_a_person_lose_no_line(open_mirror: OpenMirror, ada: Colleague) -> None:
    one, other = open_mirror("one"), open_mirror("other")
    tip = one.fetch()
    other.fetch()
    one.add_notes({tip: {"a": line("a", "old"), "b": line("b")}}, at=AT)
    fetched_notes(ada, tip)
    annotate(ada, tip, "looks good to me", '{"no operation": 1}', "[1]")
    other.add_notes({tip: {"a": line("a", "new"), "c": line("c")}}, at=AT)
    one.add_notes({tip: {"d": line("d")}}, at=AT)
    everything = [
        line("a", "new"), line("b"), "looks good to me", '{"no operation": 1}', "[1]", line("c"), line("d")
    ]  # fmt: skip
    assert one.notes(tip) == everything
    assert [text for text in fetched_notes(ada, tip) if text] == everything
    other.fetch()
    assert other.notes(tip) == everything


def test_bytes_of_others_that_are_no_text_survive(mirror: Mirror, ada: Colleague) -> None:
    tip = mirror.fetch()
    ada.git("notes", "--ref=ugs", "add", "--file=-", tip, stdin=b"caf\xe9\n")
    ada.git("push", "--quiet", "origin", "refs/notes/ugs")
    mirror.add_notes({tip: {"a": line("a")}}, at=AT)
    assert mirror.notes(tip) == ["caf\ufffd", line("a")]
    ada.git("fetch", "--quiet", "origin", "+refs/notes/ugs:refs/notes/ugs")
    ada.git(
        "cat-file", "-e", ada.git("hash-object", "--stdin", stdin=b"caf\xe9\n" + line("a").encode() + b"\n")
    )


def test_notes_that_git_spread_over_folders_are_found_and_kept(mirror: Mirror, ada: Colleague) -> None:
    tip = mirror.fetch()
    shas = [tip, *_many_commits(ada, tip, 300)]
    ada.push()
    ada.git("fast-import", "--quiet", stdin=b"".join(_note_on_each(shas)))
    ada.git("push", "--quiet", "origin", "refs/notes/ugs")
    assert "/" in ada.git("ls-tree", "-r", "--name-only", "refs/notes/ugs").split()[0]
    mirror.fetch()
    assert mirror.notes(shas[7]) == [line("o7")]
    mirror.add_notes({shas[7]: {"new": line("new")}}, at=AT)
    assert fetched_notes(ada, shas[7]) == [line("o7"), line("new")]
    assert len(ada.git("notes", "--ref=ugs", "list").splitlines()) == len(shas)
    assert fetched_notes(ada, shas[200]) == [line("o200")]


def test_what_could_not_be_pushed_is_kept_and_goes_along_later(
    mirror: Mirror, origin: Path, ada: Colleague
) -> None:
    tip = mirror.fetch()
    mirror.add_notes({tip: {"a": line("a")}}, at=AT)
    away = origin.rename(origin.with_name("away.git"))
    with pytest.raises(Exception, match="does not appear to be a git repository"):
        mirror.add_notes({tip: {"a": line("a", "later"), "b": line("b")}}, at=AT)
    assert mirror.notes(tip) == [line("a", "later"), line("b")]
    away.rename(origin)
    mirror.add_notes({tip: {"c": line("c")}}, at=AT)
    assert fetched_notes(ada, tip) == [line("a", "later"), line("b"), line("c")]


def test_notes_deleted_at_the_remote_come_back(mirror: Mirror, ada: Colleague) -> None:
    tip = mirror.fetch()
    mirror.add_notes({tip: {"a": line("a")}}, at=AT)
    ada.git("push", "--quiet", "origin", ":refs/notes/ugs")
    mirror.fetch()
    mirror.add_notes({tip: {"b": line("b")}}, at=AT)
    assert fetched_notes(ada, tip) == [line("a"), line("b")]


def test_a_remote_that_moves_without_end_is_given_up(
    mirror: Mirror, ada: Colleague, hook: Hook, tmp_path: Path
) -> None:
    tip = mirror.fetch()
    mirror.add_notes({tip: {"a": line("a")}}, at=AT)
    ada.git("notes", "--ref=theirs", "add", "--message=1")
    ada.git("push", "--quiet", "origin", "refs/notes/theirs")
    tries = tmp_path / "tries"
    move = f'git update-ref refs/notes/ugs "$(git commit-tree -m x$(wc -l < {tries}) refs/notes/theirs:)"'
    identity = "export GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x"
    # The quarantine of a push keeps a hook from moving references, unless it forgets that it is in one.
    hook("update", f"echo try >> {tries}\nunset GIT_QUARANTINE_PATH\n{identity}\n{move}")
    with pytest.raises(PushRejected):
        mirror.add_notes({tip: {"b": line("b")}}, at=AT)
    assert tries.read_text().count("try") == 10
    assert line("b") in mirror.notes(tip)


@pytest.mark.parametrize(
    "text", ["not JSON", '{"operation": "other"}', '{"operation":\n"a"}', '{"operation": 1}', "1"]
)
def test_what_is_not_one_line_of_its_operation_is_a_bug(mirror: Mirror, text: str) -> None:
    tip = mirror.fetch()
    with pytest.raises(ValueError, match="is not one JSON line of operation a"):
        mirror.add_notes({tip: {"a": text}}, at=AT)
    assert mirror.notes(tip) == []


def test_a_hanging_remote_delays_a_note_no_longer_than_its_limit(
    open_mirror: OpenMirror, mirror: Mirror, hook: Hook
) -> None:
    tip = mirror.fetch()
    mirror.close()
    hook("pre-receive", "exec sleep 600")
    hasty = open_mirror(timeout_s=0.5)
    with pytest.raises(TransientError, match="had no end"):
        hasty.add_notes({tip: {"a": line("a")}}, at=AT)
    assert hasty.notes(tip) == [line("a")]


def _many_commits(colleague: Colleague, tip: str, count: int) -> list[str]:
    stream = "".join(
        f"commit refs/heads/main\nmark :{number + 1}\ncommitter A <a@b> {number} +0000\ndata 1\nx\n"
        + (f"from {tip}\n" if number == 0 else "")
        for number in range(count)
    )
    colleague.git("fast-import", "--quiet", stdin=stream.encode())
    return colleague.git("rev-list", "--reverse", f"{tip}..main").split()


def _note_on_each(shas: list[str]) -> Iterator[bytes]:
    yield b"commit refs/notes/ugs\ncommitter A <a@b> 0 +0000\ndata 1\nx\n"
    for number, sha in enumerate(shas):
        text = line(f"o{number}") + "\n"
        yield f"N inline {sha}\ndata {len(text)}\n{text}\n".encode()
