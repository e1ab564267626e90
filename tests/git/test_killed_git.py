"""git itself, killed at each system call of fetch, commit and push: the mirror is usable again by itself."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from reconciler.git import Identity, Mirror, Remote
from reconciler.model.errors import UgsError
from tests.git.colleague import AT, Colleague

LEAVES_TRACES = ("openat", "write", "rename", "unlink", "fsync", "link", "mkdir")
"""Each is killed at its first call, its second, and so on to the last. What there is beside these, at every one of its
calls in a night, and at each seventh in `make crash`."""
STRIDE = 1 if "EVERY_SYSTEM_CALL" in os.environ else 7
NO_CALLS = frozenset({"exit", "exit_group", "rt_sigreturn"})
"""These have no end at which anybody could strike."""
CALL = re.compile(r"^(?:\d+ +)?(\w+)\(", re.MULTILINE)
STRACE = """\
#!/bin/sh
case " $* " in *" {verb} "*) ;; *) exec {git} "$@" ;; esac
rm "{armed}" 2>/dev/null || exec {git} "$@"
exec strace {children} -qq -o "{log}" {inject} {git} "$@"
"""
INJECT = '-e "trace={call}" -e "inject={call}:signal=SIGKILL:when={number}"'
LIMIT = 1000


class Killed:
    """A mirror whose next `git VERB` is killed at one system call, and whose others work."""

    def __init__(self, folder: Path, origin: Path) -> None:
        self.folder = folder / "killing"
        self.folder.mkdir()
        self._armed = self.folder / "armed"
        self._log = self.folder / "strace.log"
        self._remote = Remote(str(origin), environment={"PATH": f"{self.folder}:{os.defpath}"})
        self._state = folder / "state" / "mirror.git"

    def open(self) -> Mirror:
        return Mirror(self._state, self._remote, Identity("UGS", "ugs@example.org"))

    def open_new(self) -> Mirror:
        """A mirror without the packs of those before it, which would be opened too."""
        shutil.rmtree(self._state, ignore_errors=True)
        return self.open()

    def arm(self, verb: str, call: str = "", number: int = 0) -> None:
        """Kill it at that call; without one, only look which calls it makes."""
        real = shutil.which("git")
        # The other end of a push to a path is a child of it, and somebody else's to mend.
        children = "" if verb == "push" else "-f"
        script = STRACE.format(
            verb=verb,
            git=real,
            armed=self._armed,
            log=self._log,
            children=children,
            inject=INJECT.format(call=call, number=number) if call else "",
        )
        (self.folder / "git").write_text(script)
        (self.folder / "git").chmod(0o755)
        self._armed.touch()
        self._log.unlink(missing_ok=True)

    def others(self) -> list[str]:
        """The kinds of calls that it made beside those that leave traces."""
        assert not self._armed.exists(), "no such git was called"
        return sorted({*CALL.findall(self._log.read_text())} - {*LEAVES_TRACES} - NO_CALLS)

    def struck(self) -> bool:
        """Whether the call of that number was made, so that it killed."""
        assert not self._armed.exists(), "no such git was called"
        return "killed by SIGKILL" in self._log.read_text()


@pytest.fixture
def killed(tmp_path: Path, origin: Path) -> Killed:
    assert shutil.which("strace"), "strace is needed: apt-get install strace"
    return Killed(tmp_path, origin)


def numbers(killed: Killed, step: int = 1) -> Iterator[int]:
    """1, 2, … as long as a call of that number is made."""
    for number in range(1, LIMIT, step):
        yield number
        if not killed.struck():
            return
    raise AssertionError("it has no end")


def fetched(killed: Killed, mirror: Mirror, ada: Colleague, call: str, number: int) -> None:
    """A fetch that is killed, and one that is not."""
    before = mirror.accepted()
    pushed = ada.merges({"environments/production.yaml": f'pins:\n  api: "1.{number}.0"\n'}, f"Bump {call}")
    killed.arm("fetch", call, number)
    with suppress(UgsError):
        assert mirror.fetch() == pushed
    assert mirror.accepted() == before
    assert mirror.fetch() == pushed
    mirror.accept(pushed)
    assert mirror.blob_at(pushed, "environments/production.yaml") is not None


def committed(killed: Killed, call: str, number: int) -> None:
    """A commit that is killed, and made again."""
    changes = {"environments/production.yaml": b"# %s %d\n" % (call.encode(), number)}
    with closing(killed.open_new()) as mirror:
        tip = mirror.fetch()
        killed.arm("fast-import", call, number)
        with suppress(UgsError):
            mirror.commit(tip, changes, "Revert", at=AT)
        made = mirror.commit(tip, changes, "Revert", at=AT)
        assert mirror.blob_at(made, "environments/production.yaml") == changes["environments/production.yaml"]
        mirror.push(made)
        assert mirror.log(tip, mirror.fetch())[0].parents == (tip,)


def pushed_once(killed: Killed, call: str, number: int) -> None:
    """A push that is killed, and made again unless it has arrived."""
    with closing(killed.open_new()) as mirror:
        tip = mirror.fetch()
        text = b"# %s %d\n" % (call.encode(), number)
        made = mirror.commit(tip, {"environments/production.yaml": text}, "Revert", at=AT)
        killed.arm("push", call, number)
        with suppress(UgsError):
            mirror.push(made)
        if not mirror.contains(made):
            mirror.push(made)
        assert mirror.log(tip, mirror.fetch())[0].parents == (tip,)


@pytest.mark.crash
@pytest.mark.fault("CR-11")
@pytest.mark.parametrize("call", [*LEAVES_TRACES, ""])
def test_a_fetch_that_was_killed_is_made_again_by_the_same_mirror(
    killed: Killed, ada: Colleague, call: str
) -> None:
    with closing(killed.open()) as mirror:
        mirror.accept(mirror.fetch())
        for one, step in calls(killed, call, lambda: fetched(killed, mirror, ada, "", 0)):
            for number in numbers(killed, step):
                fetched(killed, mirror, ada, one, number)


@pytest.mark.crash
@pytest.mark.fault("CR-11")
@pytest.mark.parametrize("call", [*LEAVES_TRACES, ""])
def test_a_commit_that_was_killed_is_made_again_and_is_the_same(killed: Killed, call: str) -> None:
    for one, step in calls(killed, call, lambda: committed(killed, "", 0)):
        for number in numbers(killed, step):
            committed(killed, one, number)


@pytest.mark.crash
@pytest.mark.fault("CR-11")
@pytest.mark.parametrize("call", [*LEAVES_TRACES, ""])
def test_a_push_that_was_killed_arrives_once(killed: Killed, call: str) -> None:
    for one, step in calls(killed, call, lambda: pushed_once(killed, "", 0)):
        for number in numbers(killed, step):
            pushed_once(killed, one, number)


def calls(killed: Killed, call: str, look: Callable[[], None]) -> list[tuple[str, int]]:
    """The kinds of calls to strike at, and at each which; without one: all that leave no traces, as they are found."""
    if call:
        return [(call, 1)]
    look()
    found = killed.others()
    assert len(found) > 10, found
    return [(one, STRIDE) for one in found]
