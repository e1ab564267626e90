"""Traces to whoever collects them, by OpenTelemetry: the extra `otel`. What cannot be delivered is dropped."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from reconciler import __version__
from reconciler.model.trace import Outcome, Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

STOP_S = 3.0
"""How long the end of the daemon waits for what is still to be delivered."""
STATUS: dict[Outcome, StatusCode] = {
    "unset": StatusCode.UNSET,
    "ok": StatusCode.OK,
    "error": StatusCode.ERROR,
}


class Telemetry:
    """Delivers in a thread of its own, from a bounded queue. Where to, and how, the usual variables of OpenTelemetry
    say: `OTEL_EXPORTER_OTLP_ENDPOINT` and its like."""

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        self._processor = BatchSpanProcessor(exporter or OTLPSpanExporter())
        own = Resource({"service.name": "ugs", "service.version": __version__})
        self._resource = own.merge(OTELResourceDetector().detect())
        self._scope = InstrumentationScope("ugs", __version__)

    def tell(self, trace_id: bytes, spans: Iterable[Span]) -> None:
        """Hand over one trace; never waits, never raises."""
        for span in spans:
            self._processor.on_end(self._readable(trace_id, span))

    def end(self) -> None:
        """Deliver what is left, for a short while."""
        ending = threading.Thread(target=self._processor.shutdown, name="telemetry", daemon=True)
        ending.start()
        ending.join(STOP_S)

    def _readable(self, trace_id: bytes, span: Span) -> ReadableSpan:
        return ReadableSpan(
            name=span.name,
            context=_context(trace_id, span.id),
            parent=_context(trace_id, span.parent) if span.parent else None,
            resource=self._resource,
            attributes=span.attributes,
            status=Status(STATUS[span.outcome], span.detail or None),
            start_time=_nanoseconds(span.started_at),
            end_time=_nanoseconds(span.ended_at),
            instrumentation_scope=self._scope,
        )


def _context(trace_id: bytes, span_id: bytes) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int.from_bytes(trace_id), int.from_bytes(span_id), is_remote=False, trace_flags=flags)


def _nanoseconds(at: datetime) -> int:
    return round(at.timestamp() * 1_000_000) * 1_000
