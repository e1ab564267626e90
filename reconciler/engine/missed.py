"""Openings of a window that pass unused while something waits for one: recorded, and told once each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import msgspec
from msgspec import Struct

from reconciler.engine.core import Core
from reconciler.engine.paced import written
from reconciler.model import sentence
from reconciler.model.availability import following_opening
from reconciler.model.circumstances import Gate
from reconciler.model.codec import decode, encode
from reconciler.model.environment import ChangeClass, Environment
from reconciler.model.gates import closed
from reconciler.model.notice import mark_of, notice_of
from reconciler.model.permits import ask_of
from reconciler.model.plan import Change
from reconciler.model.rules import class_in
from reconciler.model.upgrade import Upgrade
from reconciler.model.window import Interval
from reconciler.model.zone import local_text

Waiting = Mapping[str, tuple[Upgrade, Change, tuple[Gate, ...]]]
MARK = "window: "
AT_ONCE_MAX = 20
UNSEEN = "UGS did not look at it while it was open: it was stopped, or the environment was in other hands"


class Awaited(Struct, frozen=True):
    """The opening that an upgrade waits for or waits in. `why`: what kept it, when that was last looked at inside."""

    opening: Interval
    why: str = ""


class Missed:
    """For one environment. What is awaited outlives the daemon, so that a window that it slept through is told."""

    def __init__(self, core: Core, environment: str) -> None:
        self._core = core
        self._prefix = f"{MARK}{environment}: "

    async def look(self, place: Environment, waiting: Waiting) -> None:
        """`waiting`: all that waits, by service, with its gates. What waits no longer is forgotten."""
        await written(self._core.store, self._core.clock, self._due(place, waiting))

    def look_at_once(self, place: Environment, waiting: Waiting) -> bool:
        """The same within the transaction of who calls; False, and nothing done, where it is too much for that."""
        due = self._due(place, waiting)
        if len(due) > AT_ONCE_MAX:
            return False
        for write in due:
            write()
        return True

    def _due(self, place: Environment, waiting: Waiting) -> list[Callable[[], None]]:
        """What is to be told and written."""
        store, now = self._core.store, self._core.clock.now()
        marks = store.marks(self._prefix)
        openings: dict[ChangeClass, Interval | None] = {}
        kept, due = dict[str, str](), list[Callable[[], None]]()
        for upgrade, change, gates in waiting.values():
            key, kind = f"{self._prefix}{upgrade.operation}", class_in(place, change)
            if kind not in openings:
                openings[kind] = following_opening(place, kind, now=now)
            opening, known = openings[kind], _read(marks.get(key))
            if known and known.opening.end <= now:
                wanted = any(gate.gate == "approval" for gate in closed(gates))
                ask = mark_of(ask_of(change, upgrade.revision, change.path)) if wanted else ""
                due.append(partial(self._tell, place, upgrade, known, opening, ask))
                known = None
            if opening is None:
                continue
            why = known.why if known and known.opening == opening else ""
            if opening.start <= now:
                why = "; ".join(gate.reason for gate in closed(gates))
            kept[key] = encode(Awaited(opening, why)).decode()
        moved = dict.fromkeys(marks.keys() - kept.keys()) | {
            key: value for key, value in kept.items() if marks.get(key) != value
        }
        return [*due, *(partial(store.mark, *one) for one in moved.items())]

    def _tell(
        self, place: Environment, upgrade: Upgrade, passed: Awaited, following: Interval | None, ask: str
    ) -> None:
        zone, opening = place.timezone or "UTC", passed.opening
        begun, ended = (local_text(at, zone) for at in (opening.start, opening.end))
        text = f"its window from {begun} to {ended} passed unused: {passed.why or UNSEEN}"
        if following:
            text += f"; the next opens {local_text(following.start, zone)}"
        title = sentence.title(upgrade)
        names = {
            "environment": upgrade.environment,
            "service": upgrade.service,
            "operation": upgrade.operation,
        }
        store = self._core.store
        with store.transaction():
            store.mark(f"{self._prefix}{upgrade.operation}", None)
            store.audit("window-passed", detail=text, **names)
            store.tally(upgrade.environment, "window-passed", upgrade.change_class)
            now = self._core.clock.now()
            store.tell(notice_of(upgrade, "warning", now, text=f"{title}: {text}", ask=ask))
        self._core.wake.notices.set()


def _read(text: str | None) -> Awaited | None:
    try:
        return decode(text, Awaited) if text else None
    except msgspec.MsgspecError:
        return None
