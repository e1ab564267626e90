"""Processes sorted into instances, and how instances end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct

from reconciler.clock import SystemClock
from reconciler.drivers.base import Site
from reconciler.drivers.layout import Record, names_of, read_record, service_folder
from reconciler.drivers.machine.procfs import Process, processes, started_at
from reconciler.drivers.mark import site_id
from reconciler.model.errors import HostError
from reconciler.model.observation import Instance
from reconciler.model.target import Target

POLL_S = 0.02
STOP_MARGIN_S = 2.0
"""What a shim gets beyond its service's own grace before both are killed."""
KILL_TIMEOUT_S = 10.0


class Group(Struct, frozen=True):
    """All processes of one instance: its shim, the service's main process, and what that started."""

    index: int
    target: Target
    shim: Process | None
    main: Process | None
    members: tuple[Process, ...]
    record: Record

    @property
    def is_kept(self) -> bool:
        """It runs, or its shim will start it again. A shim that has started nothing yet may soon end."""
        return self.main is not None or self._exits > 0

    def instance(self) -> Instance | None:
        """What there is to report; None for leftovers, and for a shim that is only beginning or ending."""
        if not self.is_kept:
            return None
        if self.main is None:
            return Instance(self.index, self.target, "crashed", detail=self._history())
        detail = self._history() if self.shim else "runs without its shim: nothing would start it again"
        started = started_at(self.main.started_ticks)
        return Instance(
            self.index, self.target, "running", self.main.pid, started, detail, handle=str(self.main.pid)
        )

    @property
    def _exits(self) -> int:
        """How often the shim that runs now saw the service end."""
        return self.record.exits if self.shim is not None and self.record.pid == self.shim.pid else 0

    def _history(self) -> str:
        return f"{self.record.last_exit} (restarts: {self._exits})" if self._exits else ""


def groups(site: Site, environment: str, service: str | None = None) -> dict[str, list[Group]]:
    """Every instance of which anything runs, by service, in order of index: one look at the machine."""
    found: dict[str, dict[tuple[int, Target], list[Process]]] = {}
    for process in processes(site_id(site.state), names_of(site, environment), service):
        instances = found.setdefault(process.mark.service, {})
        instances.setdefault((process.mark.index, process.mark.target), []).append(process)
    return {
        name: [
            _group(index, target, members, service_folder(site, environment, name))
            for (index, target), members in sorted(
                instances.items(), key=lambda item: (item[0][0], str(item[0][1]))
            )
        ]
        for name, instances in found.items()
    }


def _group(index: int, target: Target, members: list[Process], folder: Path) -> Group:
    shim = next((member for member in members if member.is_shim), None)
    leaders = (member for member in members if member.leads_session and not member.is_shim)
    if shim is not None:  # what the service put into sessions of their own is not the service
        leaders = (leader for leader in leaders if leader.parent == shim.pid)
    record = read_record(folder, index, target)
    return Group(index, target, shim, next(leaders, None), tuple(members), record)


def stop(find: Callable[[], Iterable[Group]]) -> None:
    """End every process of the groups that `find` keeps finding: politely, after their grace firmly.

    Raises HostError when something does not even die of SIGKILL.
    """
    clock = SystemClock()
    begun_s, asked = clock.monotonic(), set[tuple[int, int]]()
    grace_s = STOP_MARGIN_S
    while found := tuple(find()):
        grace_s = max(grace_s, *(group.record.stop_grace_s + STOP_MARGIN_S for group in found))
        waited_s = clock.monotonic() - begun_s
        if waited_s > grace_s + KILL_TIMEOUT_S:
            pids = ", ".join(str(member.pid) for group in found for member in group.members)
            raise HostError(
                f"processes do not end, not even when killed: {pids}", "look at what they wait for"
            )
        for group in found:
            _signal(group, asked, firmly=waited_s > grace_s)
        time.sleep(POLL_S)


def _signal(group: Group, asked: set[tuple[int, int]], *, firmly: bool) -> None:
    if firmly:  # the shim first (it is the oldest), lest it start the service again
        for member in group.members:
            _send(member.pid, signal.SIGKILL)
        return
    polite = [group.shim] if group.shim else group.members
    for member in polite:
        if (member.pid, member.started_ticks) not in asked:
            asked.add((member.pid, member.started_ticks))
            _send(member.pid, signal.SIGTERM)


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise HostError(
            f"pid {pid} may not be stopped: {error.strerror}", "run the daemon as its user"
        ) from error
