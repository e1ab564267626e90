"""What the daemon answers over its socket: status, plans, and the few things that a person may ask for."""

from reconciler.api.app import application
from reconciler.api.fleetlock import fleetlock
from reconciler.api.server import serve

__all__ = ["application", "fleetlock", "serve"]
