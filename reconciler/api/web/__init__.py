"""The dashboard: pages for people, rendered here and kept fresh by a little script. One noun, one file.

Whatever is shown is what the engine and the store say already; whatever can be done goes through the same endpoints
as the API, with the same rights (actions.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import BaseRoute

from reconciler.api.door import Door
from reconciler.api.web import actions, audit, calendar, flags, matrix, plan, service, session, upgrade
from reconciler.api.web.assets import assets
from reconciler.api.web.page import Pages


def pages(door: Door) -> Sequence[BaseRoute]:
    """Every route of the dashboard."""
    made = Pages(door)
    return [
        assets(made.static),
        *session.routes(made),
        made.page("/", matrix.show),
        made.page("/ui/cells", matrix.cells),
        made.page("/ui/service/{environment}/{service}", service.show),
        made.page("/ui/upgrade/{operation}", upgrade.show),
        made.page("/ui/plan", plan.show),
        made.page("/ui/calendar", calendar.show),
        made.page("/ui/flags", flags.show),
        made.page("/ui/audit", audit.show),
        *actions.routes(made),
    ]
