"""The mirror on disk: made when absent, mended after a kill, made anew when it is broken."""

from __future__ import annotations

import shutil

from reconciler.git.call import Git
from reconciler.model.errors import HostError, TransientError

# Written at every start, so that nothing that crept into it stays.
CONFIG = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"


def prepare(git: Git) -> None:
    """See that a sound bare repository stands at `git.path`. The caller is the only one who uses it.

    Raises HostError when this machine does not let it be made.
    """
    try:
        if git.path.exists():
            _mend(git)
            if _sound(git):
                return
            shutil.rmtree(git.path)
        _make(git)
    except OSError as error:
        raise HostError(f"{git.path}: {error.strerror}", "make the state folder writable") from error


def _mend(git: Git) -> None:
    for lock in git.path.rglob("*.lock"):
        lock.unlink()  # Nobody else is here: it was left by a git that was killed.
    _write_config(git)


def _sound(git: Git) -> bool:
    """Whether everything that the references reach is there and intact."""
    try:
        return git.ask("fsck", "--no-dangling", "--no-progress").code == 0
    except TransientError:
        return True  # Too big to be looked through in time, which is no fault.


def _make(git: Git) -> None:
    """In a folder beside it first: a mirror that stands under its name is whole."""
    unfinished = git.path.with_name(git.path.name + ".new")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    unfinished.mkdir(parents=True, mode=0o700)
    result = git.ask("init", "--quiet", "--bare", "--template=", "--initial-branch=main", git_dir=unfinished)
    if result.code != 0:
        raise git.broken(result)
    unfinished.rename(git.path)
    _write_config(git)


def _write_config(git: Git) -> None:
    written = git.path / "config.new"
    written.write_text(CONFIG, encoding="ascii")
    written.replace(git.path / "config")
