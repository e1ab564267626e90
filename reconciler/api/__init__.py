"""What the daemon answers over its socket and over HTTP, and the few things that a person may ask for."""

from reconciler.api.app import application
from reconciler.api.desk import Desk
from reconciler.api.fleetlock import fleetlock
from reconciler.api.identity import by_socket, by_token, by_token_or_session
from reconciler.api.server import serve
from reconciler.api.slack import interactivity, listen

__all__ = [
    "Desk",
    "application",
    "by_socket",
    "by_token",
    "by_token_or_session",
    "fleetlock",
    "interactivity",
    "listen",
    "serve",
]
