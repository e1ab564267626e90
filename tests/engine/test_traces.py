"""An upgrade as a trace: what an exporter gets, and what a collector gets over HTTP from a real daemon."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from threading import Event, Thread

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from reconciler.cli.tracing import traced
from reconciler.engine.traces import trace
from reconciler.model.trace import trace_id
from reconciler.model.upgrade import Phase
from reconciler.telemetry import STOP_S, Telemetry
from tests.daemon_process import daemon
from tests.world import World

Spans = list[ReadableSpan]


def of(spans: Sequence[ReadableSpan], operation: str) -> dict[str, ReadableSpan]:
    """The spans of one upgrade, by name."""
    wanted = int.from_bytes(trace_id(operation))
    return {one.name: one for one in spans if one.context and one.context.trace_id == wanted}


async def test_a_failed_upgrade_is_one_trace_with_its_commit_phases_and_steps(world: World) -> None:
    exporter = InMemorySpanExporter()
    telemetry = Telemetry(exporter)
    trace(world.core, telemetry.tell)
    world.deploy_first("1.0.0")
    await world.settle()
    bump = world.bump("1.1.0", "unhealthy")
    await world.settle()
    telemetry.end()
    newest = world.newest()
    assert newest
    spans = of(exporter.get_finished_spans(), newest.operation)
    root = spans["upgrade api"]
    assert root.parent is None
    assert root.attributes
    about = {name.removeprefix("ugs."): value for name, value in root.attributes.items()}
    assert about == {
        "operation": newest.operation,
        "commit": bump,
        "environment": "production",
        "service": "api",
        "from": "1.0.0",
        "to": "1.1.0",
        "class": "minor",
        "result": "reverted",
        "actor": "ugs",
        "revert_commit": world.tip(),
    }
    assert root.status.status_code is StatusCode.ERROR
    assert root.status.description == newest.reason
    phases = ["preparing", "applying", "verifying", "restoring", "reverting"]
    assert set(spans) >= {*phases, "artifact", "apply", "restore", "revert"}
    assert root.context
    for before, after in pairwise(phases):
        assert spans[before].end_time == spans[after].start_time
        parent = spans[before].parent
        assert parent
        assert parent.span_id == root.context.span_id
    for step, phase in {"artifact": "preparing", "apply": "applying", "revert": "reverting"}.items():
        within, own = spans[phase], spans[step]
        assert own.parent
        assert within.context
        assert own.parent.span_id == within.context.span_id
        assert within.start_time
        assert own.start_time
        assert within.start_time <= own.start_time
    assert root.resource.attributes["service.name"] == "ugs"
    first = world.upgrades()[-1]
    assert of(exporter.get_finished_spans(), first.operation)["upgrade api"].status.is_ok


async def test_a_restart_in_the_middle_cuts_no_trace_in_two(world: World) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", soak="1s")
    verifying = await world.reach(Phase.VERIFYING)
    await world.restart()
    exporter = InMemorySpanExporter()
    telemetry = Telemetry(exporter)
    trace(world.core, telemetry.tell)
    await world.settle(refresh=False)
    telemetry.end()
    spans = of(exporter.get_finished_spans(), verifying.operation)
    assert {"upgrade api", "preparing", "applying", "verifying", "apply"} <= set(spans)


class _Hangs(SpanExporter):
    def __init__(self) -> None:
        self.free = Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002  # its interface
        self.free.wait(60)
        return SpanExportResult.FAILURE


async def test_a_collector_that_hangs_delays_neither_upgrades_nor_the_end(world: World) -> None:
    exporter = _Hangs()
    telemetry = Telemetry(exporter)
    trace(world.core, telemetry.tell)
    world.deploy_first("1.0.0")
    await world.settle()
    assert world.phases() == ["succeeded"]
    began_s = time.monotonic()
    telemetry.end()
    assert time.monotonic() - began_s < STOP_S + 10
    exporter.free.set()


@contextlib.contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An OTLP server over HTTP."""
    got: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert (self.path, self.headers["X-Tenant"]) == ("/v1/traces", "ops")
            got.append(
                ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_daemon_sends_its_traces_where_the_environment_says(world: World) -> None:
    world.deploy_first("1.0.0")
    with collector() as (url, got):
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=ops"}
        with daemon(world, environment=environment) as running:
            running.until_runs("1.0.0")
            assert running.stop() == 0
        assert "Traceback" not in running.log()
    resources = [resource for request in got for resource in request.resource_spans]
    spans = [span for resource in resources for scope in resource.scope_spans for span in scope.spans]
    [root] = [span for span in spans if not span.parent_span_id]
    assert root.name == "upgrade api"
    about = {one.key: one.value.string_value for one in root.attributes}
    assert (about["ugs.commit"], about["ugs.result"]) == (world.tip(), "succeeded")
    assert {span.trace_id for span in spans} == {trace_id(about["ugs.operation"])}


@pytest.mark.parametrize(
    "environment", [{}, {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}]
)
def test_without_a_word_of_the_environment_there_are_none(world: World, environment: dict[str, str]) -> None:
    from reconciler.config import load

    assert not load(world.configure(), environment).traces
    assert load(world.configure(), {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x/v1/traces"}).traces


async def test_without_the_extra_the_daemon_runs_and_says_what_is_missing(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "reconciler.telemetry", None)
    core = dataclasses.replace(world.core, settings=dataclasses.replace(world.core.settings, traces=True))
    with traced(core):
        assert core.heard == world.core.heard
    assert "pip install 'ugs[otel]'" in caplog.text
