"""One service in one environment, as a page shows it at a glance: a shape, a word, and what runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from reconciler.engine.fleet import Fleet
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.engine.view import ServiceView
from reconciler.model.gates import closed
from reconciler.model.rights import Caller, Place, may, sees_part_of
from reconciler.model.upgrade import Phase

Shape = Literal["ok", "moving", "waiting", "bad", "unknown"]
GOING_BACK = frozenset({Phase.RESTORING.value, Phase.REVERTING.value})
SHUT_FOR_GOOD = frozenset({"quarantine", "trust", "path", "recovery"})
"""Gates that no clock opens."""


class Cell(Struct, frozen=True):
    """`running` and `pinned` are versions, empty where there is none; `word` says what the shape means."""

    environment: str
    service: str
    running: str
    pinned: str
    shape: Shape
    word: str
    gate: str
    sentence: str

    @property
    def id(self) -> str:
        return f"c-{self.environment}-{self.service}"

    @property
    def moves(self) -> bool:
        """Whether what is pinned is something else than what runs."""
        return self.running != self.pinned

    @property
    def restful(self) -> bool:
        """Whether nobody has to look twice."""
        return self.shape == "ok"


def cell_of(environment: str, view: ServiceView) -> Cell:
    shape, word, gate = _judged(view)
    running, pinned = view.running, view.pinned
    same_version = running and pinned and running != pinned and running.version == pinned.version
    return Cell(
        environment=environment,
        service=view.service,
        running=str(running.version) if running else "",
        pinned=f"{pinned.version} (config)"
        if pinned and same_version
        else str(pinned.version)
        if pinned
        else "",
        shape=shape,
        word=word,
        gate=gate,
        sentence=view.sentence,
    )


def _judged(view: ServiceView) -> tuple[Shape, str, str]:
    if view.phase is not None and view.phase != "waiting":
        return ("bad" if view.phase in GOING_BACK else "moving"), view.phase, ""
    if view.phase == "waiting":
        shut = closed(view.gates)
        gate = next((one.gate for one in shut), "")
        if gate == "quarantine":
            return "bad", "quarantined", ""
        return ("bad" if gate in SHUT_FOR_GOOD else "waiting"), "waits" if gate else "starts", gate
    if view.health == "degraded":
        return "bad", "degraded", ""
    match view.sync:
        case "missing" | "drifted" | "foreign":
            return "bad", view.sync, ""
        case "out-of-sync":
            return "bad", "out of sync", ""
        case "unpinned":
            return "unknown", "unpinned", ""
        case "in-sync":
            pass
    match view.health:
        case "healthy":
            return "ok", "healthy", ""
        case "progressing":
            return "moving", "starting", ""
        case _:
            return "unknown", "unknown", ""


class Column(Struct, frozen=True):
    """One environment, with what the caller may see of it."""

    name: str
    revision: str
    zone: str
    cells: dict[str, Cell]
    notices: tuple[str, ...]
    """What is so of all of it: a hold, safe mode, an engine that does not answer."""


def columns(fleet: Fleet, caller: Caller) -> list[Column]:
    """Every environment of which the caller sees something."""
    passes = sorted(fleet.passes.items())
    return [
        _column(fleet, here, caller)
        for name, here in passes
        if (name in fleet.core.desired or here.busy) and sees_part_of(caller, Place(name))
    ]


def _column(fleet: Fleet, here: EnvironmentPass, caller: Caller) -> Column:
    desired = fleet.core.desired.get(here.name)
    return Column(
        name=here.name,
        revision=(desired.revision if desired else fleet.tip or "")[:10],
        zone=(desired.environment.timezone if desired else None) or "UTC",
        cells=cells(here, caller),
        notices=tuple(_notices(fleet, here)) if may(caller, "see", Place(here.name)) else (),
    )


def cells(here: EnvironmentPass, caller: Caller) -> dict[str, Cell]:
    """By service, those that the caller may see."""
    whole = may(caller, "see", Place(here.name))
    return {
        service: cell_of(here.name, view)
        for service, view in here.views().items()
        if whole or sees_part_of(caller, Place(here.name, service))
    }


def _notices(fleet: Fleet, here: EnvironmentPass) -> Iterable[str]:
    store, now = fleet.core.store, fleet.core.clock.now()
    if recovery := store.recovery(here.name):
        yield f"safe mode: {recovery.reason}"
    if here.trouble:
        yield here.trouble
    for hold in store.permits(here.name).holds:
        if hold.service is None and (hold.until is None or now < hold.until):
            yield f"held by {hold.owner}: {hold.reason}"
