"""How the daemon is, for whoever asks: from what is in memory alone, so that nothing which hangs delays the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from reconciler.api.answer import Detailed, answer, problem
from reconciler.api.door import Door
from reconciler.api.identity import signed_in
from reconciler.engine.daemon import Daemon
from reconciler.engine.reconcile import EnvironmentPass
from reconciler.model.codec import builtins
from reconciler.model.rights import EVERYTHING, Caller, Place, may, sees_part_of

PASS_S = 60.0
"""A pass that has not ended by then is stuck, most likely in the engine."""
WAITING_MAX = 1_000
"""So much that waits to be told means that nobody takes it."""


class Part(Struct, frozen=True):
    """`environment`: of which one, where it is of one."""

    part: str
    ok: bool
    sentence: str
    environment: str | None = None


class ServiceHealth(Struct, frozen=True):
    service: str
    health: str
    sync: str


class EnvironmentHealth(Struct, frozen=True):
    environment: str
    services: list[ServiceHealth]


class HealthShape(Struct, frozen=True):
    """`ready`: it can do its work, be it that a part of it is in trouble. Without a token or a session that is all."""

    ready: bool
    as_of: datetime
    parts: list[Part] | None = None
    environments: list[EnvironmentHealth] | None = None


class Alive(Struct, frozen=True):
    alive: bool


class Ready(Struct, frozen=True):
    ready: bool


def routes(door: Door) -> Sequence[BaseRoute]:
    daemon = door.daemon

    async def health(request: Request) -> Response:
        """Whether this daemon can do its work, and how every part and service is."""
        shown = _health(daemon, await door.known(request) if _shows_who(daemon, request) else None)
        if refused := daemon.core.store.refused:
            text = f"the database cannot be written: {refused}"
            return problem(503, Detailed(text, "see to the disk", kind="not-ready", **builtins(shown)))
        return answer(shown)

    async def livez(_request: Request) -> Response:
        """The loop turns: else nobody would have answered."""
        return answer(Alive(alive=True))

    async def readyz(_request: Request) -> Response:
        """What is wanted is known, was looked at once, and can be written down."""
        if why := "; ".join(_unready(daemon)):
            return problem(503, Detailed(why, "wait, or look at its log", kind="not-ready", ready=False))
        return answer(Ready(ready=True))

    return [
        Route("/health/check", door.guarded(health)),
        Route("/livez", livez),
        Route("/readyz", readyz),
    ]


def _shows_who(daemon: Daemon, request: Request) -> bool:
    """A browser whose session is over is anybody: it sends its cookie on."""
    if request.client is None or "authorization" in request.headers:
        return True
    return signed_in(daemon.core, request) is not None


def _health(daemon: Daemon, caller: Caller | None) -> HealthShape:
    now, ready = daemon.core.clock.now(), not daemon.core.store.refused
    if caller is None:
        return HealthShape(ready, now)
    seen = [here for _, here in sorted(daemon.fleet.passes.items()) if sees_part_of(caller, Place(here.name))]
    parts = [*(_parts(daemon) if may(caller, "see", EVERYTHING) else ()), *_engines(seen)]
    places = [EnvironmentHealth(here.name, _services(here, caller)) for here in seen]
    return HealthShape(ready, now, parts, places)


def _services(here: EnvironmentPass, caller: Caller) -> list[ServiceHealth]:
    everything = may(caller, "see", Place(here.name))
    return [
        ServiceHealth(view.service, view.health, view.sync)
        for view in here.views().values()
        if everything or sees_part_of(caller, Place(here.name, view.service))
    ]


def _parts(daemon: Daemon) -> Iterator[Part]:
    core, fleet = daemon.core, daemon.fleet
    fetched_at = core.desired.fetched_at
    age_s = (core.clock.now() - fetched_at).total_seconds() if fetched_at else None
    fresh = age_s is not None and age_s <= core.settings.repository.max_stale_s
    fetched = f"{fleet.sentence}; fetched {age_s:.0f} s ago" if age_s is not None else fleet.sentence
    yield Part("git", fleet.state == "ok" and fresh, fetched)
    yield Part("database", not core.store.refused, core.store.refused or "it can be written")
    waiting = sum(number for number, _ in core.store.queues().values())
    yield Part("outbox", waiting <= WAITING_MAX, f"{waiting} wait to be told")


def _engines(places: Sequence[EnvironmentPass]) -> Iterator[Part]:
    for here in places:
        lease = here.core.leases.opening(here.core.share(here.name))
        yield Part("lease", lease.open, lease.reason or "it is this daemon's", here.name)
        under_way_s = here.turns.under_way_s()
        if under_way_s > PASS_S:
            yield Part("engine", False, f"the last pass has not ended for {under_way_s:.0f} s", here.name)
        else:
            yield Part("engine", not here.trouble, here.trouble or "what runs can be observed", here.name)


def _unready(daemon: Daemon) -> Iterator[str]:
    if daemon.fleet.tip is None:
        yield daemon.fleet.sentence
    for name, here in sorted(daemon.fleet.passes.items()):
        if not here.turns.ended:
            yield f"{name} was not looked at yet"
    if refused := daemon.core.store.refused:
        yield f"the database cannot be written: {refused}"
