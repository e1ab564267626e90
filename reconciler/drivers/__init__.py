"""Engines that run services: a literal table of plain modules, each of which satisfies `Driver`."""

from reconciler.drivers import process
from reconciler.drivers.base import Driver

DRIVERS: dict[str, Driver] = {"process": process}
