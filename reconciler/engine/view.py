"""What people are shown of one environment, as the last pass saw it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from reconciler.model import sentence
from reconciler.model.circumstances import Gate
from reconciler.model.codec import builtins
from reconciler.model.desired import Desired
from reconciler.model.drift import Drift
from reconciler.model.gates import starts_at
from reconciler.model.observation import HealthState, Instance, Observation, Sync
from reconciler.model.plan import Change, sync_of
from reconciler.model.target import Target
from reconciler.model.upgrade import Upgrade

Told = Mapping[str, tuple[Change, tuple[Gate, ...]]]


class ServiceView(Struct, frozen=True):
    """One service: what is pinned, what runs, and the sentence that says why they differ, if they do."""

    service: str
    pinned: Target | None
    running: Target | None
    sync: Sync
    health: HealthState
    phase: str | None
    sentence: str
    instances: tuple[Instance, ...]
    gates: tuple[Gate, ...] = ()
    path: tuple[str, ...] = ()
    starts_at: datetime | None = None

    def status(self) -> dict[str, Any]:
        """As `ugs status --json` prints it."""
        return {
            "service": self.service,
            "pinned": str(self.pinned) if self.pinned else None,
            "running": str(self.running) if self.running else None,
            "sync": self.sync,
            "health": self.health,
            "phase": self.phase,
            "sentence": self.sentence,
            "instances": [
                # The handle is between us and the engine.
                {name: value for name, value in builtins(instance).items() if name != "handle"}
                | {"target": str(instance.target)}
                for instance in self.instances
            ],
        }

    def explain(self) -> dict[str, Any]:
        """As `ugs explain --json` prints it."""
        return {
            "sentence": self.sentence,
            "gates": builtins(self.gates),
            "path": list(self.path),
            "starts_at": builtins(self.starts_at),
        }


class Seen(Struct, frozen=True):
    """All that a view is drawn from, beside what is desired."""

    observed: Mapping[str, Observation]
    told: Told
    under_way: Mapping[str, Upgrade]
    health: Mapping[str, HealthState]
    drifting: Mapping[str, Drift]


class Looks:
    """The views of one environment, drawn once for as long as nothing that they show has changed: many ask."""

    def __init__(self) -> None:
        self._desired: Desired | None = None
        self._seen: Seen | None = None
        self._views: Mapping[str, ServiceView] = {}
        self._statuses: list[dict[str, Any]] | None = None

    def views(self, desired: Desired | None, seen: Seen, *, now: datetime) -> Mapping[str, ServiceView]:
        if desired is None:
            return {}
        # What is the same object is not compared any further.
        if desired is not self._desired or seen != self._seen:
            self._desired, self._seen, self._statuses = desired, seen, None
            self._views = view_of(
                desired, seen.observed, seen.told, seen.under_way, seen.health, seen.drifting, now=now
            )
        return self._views

    def statuses(self, desired: Desired | None, seen: Seen, *, now: datetime) -> list[dict[str, Any]]:
        views = self.views(desired, seen, now=now)
        if desired is None:
            return []
        if self._statuses is None:
            self._statuses = [view.status() for view in views.values()]
        return self._statuses


def view_of(
    desired: Desired,
    observed: Mapping[str, Observation],
    told: Told,
    under_way: Mapping[str, Upgrade],
    health: Mapping[str, HealthState],
    drifting: Mapping[str, Drift],
    *,
    now: datetime,
) -> dict[str, ServiceView]:
    """Every service that is pinned, runs, or once ran healthy here and still does."""
    services = sorted(desired.workloads.keys() | observed.keys() | told.keys() | desired.blind)
    return {
        service: _service(
            desired.environment.name,
            service,
            desired,
            observed.get(service),
            told.get(service),
            under_way.get(service),
            health.get(service, "unknown"),
            drifting.get(service),
            now,
        )
        for service in services
    }


def _service(
    environment: str,
    service: str,
    desired: Desired,
    observation: Observation | None,
    told: tuple[Change, tuple[Gate, ...]] | None,
    upgrade: Upgrade | None,
    health: HealthState,
    drift: Drift | None,
    now: datetime,
) -> ServiceView:
    work = desired.workloads.get(service)
    pinned = work.target if work else None
    running = observation.running if observation else None
    change, gates = told if told else (None, ())
    if upgrade is not None:
        text, health = sentence.of_move(upgrade), "progressing"
    elif change is not None:
        text = sentence.of_change(change, gates)
    elif service in desired.blind:
        text = f"{environment}: {service} is left as it is: its pin cannot be used (see the errors)"
    elif drift is not None:
        text = sentence.of_drift(drift.work, drift.what, desired.environment.policy.drift)
    else:
        prune = desired.environment.policy.prune
        text = sentence.of_rest(environment, service, running, pinned, health, prune=prune)
    return ServiceView(
        service=service,
        pinned=pinned,
        running=running,
        sync="out-of-sync"
        if service in desired.blind
        else sync_of(work, observation, drifted=drift is not None),
        health=health,
        phase=upgrade.phase.value if upgrade else "waiting" if change else None,
        sentence=text,
        instances=observation.instances if observation else (),
        gates=gates,
        path=change.path if change else (),
        starts_at=starts_at(gates, now=now) if change and upgrade is None else None,
    )
