"""A remote over http with basic authentication, and everything that a network does."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.git import Mirror, PushRefused, PushRejected, Remote
from reconciler.model.errors import HostError, TransientError
from tests.git.colleague import AT, ENVIRONMENT, Colleague
from tests.git.conftest import OpenMirror
from tests.git.http_backend import serve

PASSWORD = "hunter2/é"


@pytest.fixture
def url(tmp_path: Path, origin: Path) -> Iterator[str]:
    with serve(tmp_path, user="bot", password=PASSWORD) as base:
        yield f"{base}/{origin.name}"


def remote(url: str, password: str | None = PASSWORD, *, environment: dict[str, str] = ENVIRONMENT) -> Remote:
    return Remote(
        url,
        username="bot",
        password=(lambda: password) if password is not None else None,
        environment=environment,
    )


def test_a_bump_is_fetched_reverted_pushed_and_noted(
    url: str, open_mirror: OpenMirror, ada: Colleague
) -> None:
    mirror = open_mirror(remote=remote(url))
    bump = ada.merges({"environments/production.yaml": 'pins:\n  api: "1.5.0"\n'})
    assert mirror.poll() == mirror.fetch() == bump
    revert = mirror.commit(
        bump, {"environments/production.yaml": b'pins:\n  api: "1.4.0"\n'}, "Revert", at=AT
    )
    mirror.push(revert)
    assert mirror.contains(revert)
    mirror.add_notes({bump: {"a": '{"operation": "a"}'}}, at=AT)
    ada.git("fetch", "--quiet", "origin", "main", "refs/notes/ugs:refs/notes/ugs")
    assert ada.git("rev-parse", "FETCH_HEAD") == revert
    assert ada.git("notes", "--ref=ugs", "show", bump) == '{"operation": "a"}'


def test_a_push_too_big_for_one_request_arrives(url: str, open_mirror: OpenMirror) -> None:
    mirror = open_mirror(remote=remote(url))
    data = os.urandom(3 << 20)
    sha = mirror.commit(mirror.fetch(), {"artifact.tar": data}, "Big", at=AT)
    mirror.push(sha)
    assert mirror.contains(sha)


def test_a_late_push_and_a_refused_one_are_told_apart(
    url: str, open_mirror: OpenMirror, ada: Colleague, hook: Callable[[str, str], None]
) -> None:
    mirror = open_mirror(remote=remote(url))
    late = mirror.commit(mirror.fetch(), {}, "Late", at=AT)
    ada.merges({"README.md": "2\n"})
    with pytest.raises(PushRejected):
        mirror.push(late)
    hook("pre-receive", "echo protected >&2; exit 1")
    with pytest.raises(PushRefused, match="remote: protected"):
        mirror.push(mirror.commit(mirror.fetch(), {}, "On time", at=AT))


@pytest.mark.fault("GT-07")
@pytest.mark.parametrize("password", ["wrong-secret", None])
def test_refused_credentials_are_a_persons_to_mend(
    url: str, open_mirror: OpenMirror, password: str | None
) -> None:
    mirror = open_mirror(remote=remote(url, password))
    for call in (mirror.fetch, mirror.poll):
        with pytest.raises(
            HostError, match="check the credentials in repository, and what they may do"
        ) as refused:
            call()
        assert "wrong-secret" not in str(refused.value)
    with pytest.raises(PushRefused, match="check the credentials"):
        mirror.push("1" * 40)


def test_a_password_that_was_changed_is_used_at_once(url: str, open_mirror: OpenMirror) -> None:
    passwords = iter(["old", PASSWORD])
    mirror = open_mirror(
        remote=Remote(url, username="bot", password=lambda: next(passwords), environment=ENVIRONMENT)
    )
    with pytest.raises(HostError):
        mirror.fetch()
    assert mirror.fetch()


def test_the_password_is_in_no_argument_and_no_file(
    url: str, open_mirror: OpenMirror, stand_in: Callable[[str, str], dict[str, str]], tmp_path: Path
) -> None:
    arguments = tmp_path / "arguments"
    environment = stand_in("git", f'echo "$@" >> {arguments}; exec {shutil.which("git")} "$@"')
    mirror = open_mirror(remote=remote(url, environment=environment))
    mirror.push(mirror.commit(mirror.fetch(), {}, "Empty", at=AT))
    written = [arguments, *(path for path in (tmp_path / "state").rglob("*") if path.is_file())]
    assert "push" in arguments.read_text()
    for secret in (PASSWORD.encode(), b"Authorization", b"Ym90"):
        assert not [path for path in written if secret in path.read_bytes()]


@pytest.mark.fault("AP-12")
def test_a_server_that_repeats_the_password_is_not_quoted(
    url: str, open_mirror: OpenMirror, hook: Callable[[str, str], None]
) -> None:
    hook("pre-receive", f"echo 'bad token {PASSWORD}' >&2; exit 1")
    mirror = open_mirror(remote=remote(url))
    with pytest.raises(PushRefused, match=r"bad token \*\*\*"):
        mirror.push(mirror.commit(mirror.fetch(), {}, "Empty", at=AT))


def test_a_repository_that_the_server_does_not_have_is_named(url: str, open_mirror: OpenMirror) -> None:
    mirror = open_mirror(remote=remote(url.replace("origin", "other")))
    with pytest.raises(HostError, match=r"not found; check repository\.url"):
        mirror.fetch()


def test_a_server_that_comes_back_is_used_again(
    tmp_path: Path, origin: Path, open_mirror: OpenMirror
) -> None:
    with serve(tmp_path) as base:
        mirror = open_mirror(remote=Remote(f"{base}/{origin.name}", environment=ENVIRONMENT))
        tip = mirror.fetch()
    for call in (mirror.fetch, mirror.poll, lambda: mirror.push(tip), lambda: mirror.contains(tip)):
        with pytest.raises(TransientError, match=r"Failed to connect|Couldn't connect"):
            call()
    with serve(tmp_path, port=int(base.rpartition(":")[2])):
        assert mirror.contains(tip)


@pytest.mark.fault("GT-02")
def test_a_server_that_accepts_and_says_nothing_meets_the_time_limit(open_mirror: OpenMirror) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/fleet.git"
        mirror: Mirror = open_mirror(remote=remote(url), timeout_s=0.5)
        for call in (mirror.fetch, mirror.poll):
            with pytest.raises(TransientError, match=r"had no end after 0\.5 s; it is tried again"):
                call()
