"""Traces, where the environment says where they go and the extra `otel` is installed."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.engine.core import Core

log = logging.getLogger("ugs")


@contextlib.contextmanager
def traced(core: Core) -> Iterator[None]:
    """Tell of every upgrade that ends in here."""
    if not core.settings.traces:
        yield
        return
    try:
        from reconciler.telemetry import Telemetry
    except ImportError as error:
        log.warning("no traces: %s; install the extra: pip install 'ugs[otel]'", error)
        yield
        return
    from reconciler.engine.traces import trace

    telemetry = Telemetry()
    trace(core, telemetry.tell)
    try:
        yield
    finally:
        telemetry.end()
