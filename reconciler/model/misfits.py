"""What a pin, or its environment, asks for that its release or the engine there cannot give."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.model.container import is_published
from reconciler.model.engines import ENGINES, Engine, Kind
from reconciler.model.environment import PORT_MAX, Pin
from reconciler.model.errors import Problem
from reconciler.model.flags import Settings, mistyped
from reconciler.model.release import Release

PUBLISHING: frozenset[Kind] = frozenset({"docker", "swarm"})
"""The kinds that heed `run.container.publish`: Compose has its ports from its own file."""


def misfits(
    pin: Pin, release: Release, flags: Settings, kind: Kind, hosts: Sequence[str] = ()
) -> list[Problem]:
    """What a pin asks for, or a flag or the hosts of its environment, that its release, or the engine, cannot give."""
    path = f"pins.{pin.service}"
    problems = _beyond(pin, release, ENGINES[kind], kind)
    declared = {key for file in release.config for key in file.values}
    for key in sorted(pin.config.keys() - declared):
        known = f"it declares {', '.join(sorted(declared))}" if declared else "it declares none"
        message = f"release {release.version} does not declare this key"
        problems.append(Problem(pin.place, f"{path}.config.{key}", message, f"remove it; {known}"))
    port = release.run.port if release.run and pin.port is None else None
    if port is not None and port + pin.instances - 1 > PORT_MAX:
        message = f"the last instance's port would be above {PORT_MAX}"
        problems.append(Problem(pin.place, path, message, "set a lower `port`"))
    if hosts and any(migration.phase == "after" for migration in release.migrations):
        message = (
            f"release {release.version} has a migration of phase `after`, which no host knows when to begin"
        )
        remedy = "make it a migration of phase `before` of the release that follows"
        problems.append(Problem(pin.place, path, message, remedy))
    return [*problems, *mistyped(release, flags)]


def _beyond(pin: Pin, release: Release, engine: Engine, kind: Kind) -> list[Problem]:
    """What the engine that runs the environment cannot do."""
    path, said = f"pins.{pin.service}", f"release {release.version}"
    problems = []
    if engine.artifact != "either" and getattr(release.artifact, engine.artifact) is None:
        message = f"{said} has no `artifact.{engine.artifact}`, which the driver {kind} needs"
        problems.append(Problem(pin.place, path, message, "pin a release that has one"))
    if engine.artifact == "archive" and not (release.run and release.run.command):
        message = f"{said} has no `run.command`, which the driver {kind} needs"
        problems.append(Problem(pin.place, path, message, "pin a release that has one"))
    if (
        engine.artifact != "image"
        and not engine.passes_sockets
        and release.run
        and release.run.socket == "pass"
    ):
        message = f"{said} wants to be handed its sockets, which the driver {kind} does not do"
        problems.append(Problem(pin.place, path, message, "pin a release without `run.socket: pass`"))
    strategy = pin.strategy or release.strategy or "stop-start"
    if strategy not in engine.strategies:
        message = f"the driver {kind} cannot do {strategy}"
        remedy = f"set the pin's `strategy` to {' or '.join(sorted(engine.strategies))}"
        problems.append(Problem(pin.place, f"{path}.strategy", message, remedy))
    elif (
        strategy == "blue-green"
        and engine.passes_sockets
        and not (release.run and release.run.socket == "pass")
    ):
        message = f"{said} cannot do blue-green: it has no `run.socket: pass`"
        problems.append(Problem(pin.place, f"{path}.strategy", message, "write stop-start, or pin another"))
    elif strategy == "blue-green" and kind in PUBLISHING and is_published(release):
        message = f"{said} cannot do blue-green: both sides would be published at one port of the host"
        remedy = "write stop-start, or pin a release without `run.container.publish`"
        problems.append(Problem(pin.place, f"{path}.strategy", message, remedy))
    has_commands = release.backup or release.migrations or any(one.command for one in release.health.probes)
    if has_commands and not engine.commands:
        message = f"{said} has commands (probes, backup or migrations), which the driver {kind} cannot run"
        problems.append(Problem(pin.place, path, message, "pin a release without them"))
    uses = [probe.performance for probe in release.health.measured if probe.performance in ("memory", "cpu")]
    if uses and not engine.measures:
        message = (
            f"{said} has the probe `performance: {uses[0]}`, and what services use is not known of {kind}"
        )
        problems.append(
            Problem(pin.place, path, message, "ask Prometheus for it, or pin a release without it")
        )
    return problems
