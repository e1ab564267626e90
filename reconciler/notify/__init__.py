"""Telling people: what leaves here was written to the database first, and never delays an upgrade."""

from __future__ import annotations

from reconciler.notify.apprise import AppriseChannel
from reconciler.notify.mention import Authors
from reconciler.notify.outbox import Outbox
from reconciler.notify.sender import Sender, Thread, Undelivered
from reconciler.notify.slack import SlackBot, SlackWebhook
from reconciler.notify.slack_web import SlackWeb
from reconciler.notify.socket_mode import SocketMode

__all__ = [
    "AppriseChannel",
    "Authors",
    "Outbox",
    "Sender",
    "SlackBot",
    "SlackWeb",
    "SlackWebhook",
    "SocketMode",
    "Thread",
    "Undelivered",
]
