"""The mirror on disk: killed, broken, tampered with, or impossible to make."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.git import Mirror, Remote
from reconciler.model.errors import HostError
from tests.git.colleague import AT, Colleague
from tests.git.conftest import OpenMirror

PACKS_MAX = 50
"""What git gc --auto leaves alone."""
StandIn = Callable[[str, str], dict[str, str]]


def truncate(folder: Path) -> None:
    (folder / "refs" / "ugs" / "accepted").write_text("")


def point_nowhere(folder: Path) -> None:
    (folder / "refs" / "ugs" / "accepted").write_text("1" * 40 + "\n")


def lose_packs(folder: Path) -> None:
    for file in (folder / "objects" / "pack").iterdir():
        file.unlink()


def become_a_file(folder: Path) -> None:
    shutil.rmtree(folder / "objects")
    (folder / "objects").write_text("not a folder\n")


@pytest.mark.fault("GT-15")
@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "HEAD").unlink(),
        lambda folder: shutil.rmtree(folder / "objects"),
        lambda folder: shutil.rmtree(folder / "refs"),
        truncate,
        point_nowhere,
        lose_packs,
        become_a_file,
    ],
)
def test_a_broken_mirror_is_made_anew(
    mirror: Mirror, open_mirror: OpenMirror, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    tip = mirror.fetch()
    mirror.accept(tip)
    mirror.close()
    damage(tmp_path / "state" / "mirror.git")
    again = open_mirror()
    assert again.accepted() is None
    assert again.fetch() == tip
    assert again.blob_at(tip, "README.md") == b"fleet\n"


@pytest.mark.fault("HR-12")
def test_a_sound_mirror_is_kept_and_its_configuration_put_right(
    mirror: Mirror, open_mirror: OpenMirror, tmp_path: Path
) -> None:
    mirror.accept(mirror.fetch())
    mirror.close()
    config = tmp_path / "state" / "mirror.git" / "config"
    before = config.read_text()
    config.write_text("[core\nhooksPath = /elsewhere\n")
    assert open_mirror().accepted() is not None
    assert config.read_text() == before


@pytest.mark.fault("GT-14")
def test_locks_of_a_git_that_was_killed_hold_nothing_up(
    mirror: Mirror, open_mirror: OpenMirror, ada: Colleague, tmp_path: Path
) -> None:
    first = mirror.fetch()
    mirror.accept(first)
    mirror.close()
    for name in ("refs/ugs/accepted.lock", "refs/ugs/fetched.lock", "packed-refs.lock", "config.lock"):
        (tmp_path / "state" / "mirror.git" / name).touch()
    news = ada.merges({"README.md": "2\n"})
    again = open_mirror()
    assert again.accepted() == first
    assert again.fetch() == news
    again.accept(news)
    assert again.accepted() == news


@pytest.mark.fault("GT-14")
def test_locks_of_a_git_that_was_killed_beside_us_hold_nothing_up_either(
    mirror: Mirror, ada: Colleague, tmp_path: Path
) -> None:
    mirror.accept(mirror.fetch())
    news = ada.merges({"README.md": "2\n"})
    for name in ("refs/ugs/accepted.lock", "refs/ugs/fetched.lock", "packed-refs.lock"):
        (tmp_path / "state" / "mirror.git" / name).touch()
    assert mirror.fetch() == news
    mirror.accept(news)
    assert mirror.accepted() == news


def test_a_mirror_half_made_when_killed_is_made_again(open_mirror: OpenMirror, tmp_path: Path) -> None:
    (tmp_path / "state" / "mirror.git.new" / "objects").mkdir(parents=True)
    assert open_mirror().accepted() is None
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["mirror.git"]


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path, open_mirror: OpenMirror) -> None:
    (tmp_path / "state").write_text("a file\n")
    with pytest.raises(
        HostError, match=r"state/mirror\.git: Not a directory; make the state folder writable"
    ):
        open_mirror()


def test_a_git_that_cannot_make_it_is_named(
    open_mirror: OpenMirror, origin: Path, stand_in: StandIn, tmp_path: Path
) -> None:
    real = shutil.which("git")
    full = "fatal: cannot copy: No space left on device"
    environment = stand_in(
        "git", f'case "$*" in *init*) echo "{full}" >&2; exit 128;; esac; exec {real} "$@"'
    )
    with pytest.raises(HostError, match=r"git init failed: .*No space left on device; free some disk space"):
        open_mirror(remote=Remote(str(origin), environment=environment))
    assert not (tmp_path / "state" / "mirror.git").exists()


def test_a_mirror_too_big_to_be_looked_through_is_trusted(
    mirror: Mirror,
    open_mirror: OpenMirror,
    origin: Path,
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tip = mirror.fetch()
    mirror.accept(tip)
    mirror.close()
    environment = stand_in(
        "git", f'case "$*" in *fsck*) exec sleep 600;; esac; exec {shutil.which("git")} "$@"'
    )
    with monkeypatch.context() as patched:
        patched.setattr("reconciler.git.call.LOCAL_TIMEOUT_S", 1.0)
        again = open_mirror(remote=Remote(str(origin), environment=environment))
    assert again.accepted() == tip


@pytest.mark.fault("GT-19")
def test_what_many_commits_leave_behind_is_packed_by_itself(
    mirror: Mirror, ada: Colleague, tmp_path: Path
) -> None:
    tip = mirror.fetch()
    for number in range(PACKS_MAX + 5):
        mirror.commit(tip, {"README.md": b"%d\n" % number}, "x", at=AT)
    ada.merges({"README.md": "2\n"})
    mirror.fetch()
    packs = list((tmp_path / "state" / "mirror.git" / "objects" / "pack").glob("*.pack"))
    assert len(packs) < PACKS_MAX


def test_tidying_up_may_take_too_long_without_harm(
    open_mirror: OpenMirror,
    origin: Path,
    ada: Colleague,
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = stand_in(
        "git", f'case "$*" in *\\ gc\\ *) exec sleep 600;; esac; exec {shutil.which("git")} "$@"'
    )
    mirror = open_mirror(remote=Remote(str(origin), environment=environment))
    monkeypatch.setattr("reconciler.git.call.LOCAL_TIMEOUT_S", 1.0)
    assert mirror.fetch() == ada.git("rev-parse", "HEAD")


def test_a_listing_beyond_measure_is_refused(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    tip = mirror.fetch()
    monkeypatch.setattr("reconciler.git.call.OUTPUT_BYTES_MAX", 10)
    with pytest.raises(HostError, match="git ls-tree says more than 10 bytes; make the repository smaller"):
        mirror.entries(tip, [])
