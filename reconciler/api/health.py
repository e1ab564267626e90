"""How the daemon is, for machines that ask."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from reconciler.api.answer import answer, problem
from reconciler.api.door import Door
from reconciler.model.errors import TransientError


def routes(door: Door) -> Sequence[BaseRoute]:
    daemon = door.daemon

    async def health(_request: Request) -> Response:
        """Whether this daemon can do its work."""
        if refused := daemon.core.store.refused:
            return problem(503, TransientError(f"the database cannot be written: {refused}"))
        return answer({"ready": True})

    return [Route("/health/check", health)]
