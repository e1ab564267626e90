"""Noticing a push to a local remote at once. A hint only: the poll is what finds every change."""

from __future__ import annotations

import os
from collections.abc import Callable, Set
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.git.remote import Remote
from reconciler.model.errors import HostError

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers.api import BaseObserver

STOP_TIMEOUT_S = 5.0
REMEDY = "nothing to do: the repository is polled"


class Watcher:
    """Calls `changed`, from a thread of its own, maybe several times, when the branch may have moved."""

    def __init__(self, remote: Remote, changed: Callable[[], None]) -> None:
        self._remote = remote
        self._changed = changed
        self._observer: BaseObserver | None = None

    def start(self) -> None:
        """Raises HostError when this remote cannot be watched: not local, or out of inotify watches."""
        from watchdog.events import FileCreatedEvent, FileModifiedEvent, FileMovedEvent
        from watchdog.observers import Observer

        git_dir = _git_dir(self._remote)
        handler = _handler({git_dir / "packed-refs", git_dir / self._remote.ref}, self._changed)
        # Reading is an event too: without this choice our own fetch would be news.
        kinds = [FileCreatedEvent, FileModifiedEvent, FileMovedEvent]
        with ExitStack() as undo:
            try:
                observer = Observer()
                undo.callback(observer.stop)
                observer.schedule(handler, str(git_dir), event_filter=kinds)
                observer.schedule(
                    handler, str(git_dir / "refs" / "heads"), recursive=True, event_filter=kinds
                )
                observer.start()
            except OSError as error:
                raise HostError(f"{git_dir} cannot be watched: {error.strerror}", REMEDY) from error
            undo.pop_all()
        self._observer = observer

    def stop(self) -> None:
        """No call to `changed` begins after this. Does nothing when not started."""
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join(STOP_TIMEOUT_S)


def _git_dir(remote: Remote) -> Path:
    """The folder of a bare repository, or the `.git` of one with a work tree."""
    path = remote.local_path
    if path is None:
        raise HostError(f"{remote.url} is not on this machine: it cannot be watched", REMEDY)
    git_dir = next((found for found in (path / ".git", path) if (found / "refs" / "heads").is_dir()), None)
    if git_dir is None:
        raise HostError(f"{path} is not a repository that can be watched", REMEDY)
    return git_dir.resolve()


def _handler(paths: Set[Path], changed: Callable[[], None]) -> FileSystemEventHandler:
    from watchdog.events import FileSystemEventHandler

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            if not paths.isdisjoint({Path(os.fsdecode(event.src_path)), Path(os.fsdecode(event.dest_path))}):
                changed()

    return Handler()
