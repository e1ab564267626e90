"""Engines that run services: a literal table of plain modules, each of which satisfies `Driver`."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import cast

from reconciler.drivers.base import Driver

MODULES = {
    "process": "reconciler.drivers.process",
    "kubernetes": "reconciler.drivers.kubernetes",
    "docker": "reconciler.drivers.docker",
    "systemd": "reconciler.drivers.systemd",
    "swarm": "reconciler.drivers.swarm",
    "command": "reconciler.drivers.command",
    "compose": "reconciler.drivers.compose",
}


class _Drivers(Mapping[str, Driver]):
    """The modules by kind, each imported on first use: nobody pays for an engine that is not there."""

    def __getitem__(self, kind: str) -> Driver:
        return cast(Driver, importlib.import_module(MODULES[kind]))

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


DRIVERS: Mapping[str, Driver] = _Drivers()
