"""What each kind of engine can do: a file that asks for more is refused when it is read."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from reconciler.model.release import Strategy

Kind = Literal["process", "docker", "compose", "systemd", "swarm", "kubernetes", "command"]
"""The kinds that `driver.kind` may name."""


class Engine(Struct, frozen=True):
    """`strategies`: how it can let an old version give way. `native`: those of them that it carries out by itself,
    batches included. `artifact`: what of a release it needs."""

    strategies: frozenset[Strategy]
    artifact: Literal["archive", "image", "either"]
    native: frozenset[Strategy] = frozenset()
    passes_sockets: bool = False
    """Blue-green means that an instance is handed its sockets: `run.socket: pass`."""
    commands: bool = True
    """Commands of a release (probes, migrations, backups) can be run where its service runs."""
    measures: bool = False
    """It tells what an instance uses: its memory, and its processor time."""


ENGINES: dict[Kind, Engine] = {
    "process": Engine(
        frozenset({"stop-start", "blue-green", "rolling", "canary"}),
        "archive",
        passes_sockets=True,
        measures=True,
    ),
    "docker": Engine(frozenset({"stop-start", "blue-green", "rolling", "canary"}), "image", measures=True),
    "compose": Engine(frozenset({"stop-start", "blue-green", "rolling", "canary"}), "image", measures=True),
    "systemd": Engine(
        frozenset({"stop-start", "blue-green", "rolling", "canary"}),
        "archive",
        passes_sockets=True,
        measures=True,
    ),
    "swarm": Engine(
        frozenset({"stop-start", "blue-green", "rolling", "canary"}),
        "image",
        frozenset({"rolling"}),
        commands=False,
    ),
    "kubernetes": Engine(
        frozenset({"stop-start", "blue-green", "rolling", "canary"}),
        "image",
        native=frozenset({"rolling"}),
        commands=False,
    ),
    "command": Engine(frozenset({"stop-start", "blue-green", "rolling", "canary"}), "either", commands=False),
}
