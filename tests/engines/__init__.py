"""Every driver against its real engine: one suite of scenarios, a harness a driver in the module of its kind."""

from reconciler.model.engines import Kind

KINDS: tuple[Kind, ...] = ("process", "docker", "compose", "systemd", "swarm", "kubernetes", "command")
"""The drivers that the suite runs on: of each there is a `tests/engines/KIND.py`."""
