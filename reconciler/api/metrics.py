"""`/metrics`, for Prometheus and all that reads its formats."""

from __future__ import annotations

from msgspec import Struct
from starlette.responses import Response

from reconciler.api.endpoint import Endpoint
from reconciler.engine.daemon import Daemon
from reconciler.model.rights import Caller


class Scrape(Struct, frozen=True, forbid_unknown_fields=True):
    """`accept`: the formats that the client takes."""

    accept: str = ""


async def _metrics(daemon: Daemon, asked: Scrape, _caller: Caller) -> Response:
    body, media_type = await daemon.metrics.exposed(asked.accept)
    return Response(body, headers={"Content-Type": media_type})


ENDPOINTS = (
    Endpoint(
        "GET",
        "/metrics",
        "[Metrics](monitoring.md) of all that it knows, as text or OpenMetrics.",
        "see",
        Scrape,
        _metrics,
        headers={"accept": "accept"},
        answers=str,
        media="text/plain",
    ),
)
