"""The channels that ugs.yaml names, each with its messenger and its outbox."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from reconciler.clock import Clock
from reconciler.config import Notify, Settings, Slack
from reconciler.config.settings import SLACK_CHANNEL, slack_channel
from reconciler.model.people import Person, grants_of
from reconciler.model.rights import Caller
from reconciler.model.routing import FRESH, routed, unheard

if TYPE_CHECKING:
    from reconciler.api.door import Routes
    from reconciler.engine.daemon import Daemon
    from reconciler.git import Mirror
    from reconciler.notify import Authors, Outbox, Sender, SlackWeb
    from reconciler.store import Store

log = logging.getLogger("ugs")
UNHEARD = "what is pressed in Slack is not heard"


def outboxes_of(
    notify: Notify, store: Store, clock: Clock, mirror: Mirror, *, others: Sequence[str] = ()
) -> tuple[Outbox, ...]:
    """One for each channel; from now on the store writes to these alone. Without any, notices are simply done.
    `mirror`: where it is asked who wrote a commit.

    `others`: what else the store keeps for somebody who is no messenger. Raises HostError where a secret is not there,
    or a program's part that a channel needs.
    """
    from reconciler.notify import Outbox

    senders: dict[str, Sender | None] = {name: sender_of(notify, name, mirror) for name in notify.channels}
    senders = senders or {SLACK_CHANNEL: None}
    store.route_by(partial(routed, rules=notify.rules, channels=tuple(senders)))
    store.give_up_others((*senders, *others))
    return tuple(
        Outbox(store, sender, now=clock.now, channel=name, digest=notify.digest)
        for name, sender in senders.items()
    )


def sender_of(notify: Notify, name: str, mirror: Mirror | None = None) -> Sender:
    """The messenger of one channel; without the mirror, it mentions nobody. Raises HostError where its secret is not
    there."""
    from reconciler.notify import AppriseChannel, SlackBot, SlackWeb, SlackWebhook

    if name in notify.apprise:
        return AppriseChannel(name, notify.apprise[name].read())
    slack = notify.slack
    if slack and slack.token and (name == SLACK_CHANNEL or slack_channel(name)):
        options = {"api": slack.api} if slack.api else {}
        web = SlackWeb(slack.token.read(), **options)
        return SlackBot(
            web,
            slack_channel(name) or slack.channel,
            pressable=slack.pressable,
            authors=authors_of(slack, web, mirror) if mirror else None,
        )
    if slack and slack.webhook and name == SLACK_CHANNEL:
        return SlackWebhook(slack.webhook.read())
    raise RuntimeError(f"{name} is no channel")


def authors_of(slack: Slack, web: SlackWeb, mirror: Mirror) -> Authors:
    """Who wrote which commit, and who that is in Slack."""
    from reconciler.notify import Authors

    def email_of(revision: str) -> str:
        return mirror.described(revision).email

    known = {name: person.id for name, person in slack.people.items()}
    return Authors(web, known, email_of, lookup=slack.lookup)


def callers_of(settings: Settings) -> dict[str, Caller]:
    """By their ids in Slack, the people who may press buttons: with what `people` of Slack gives them, and what they
    have when they sign in under the same address."""
    slack, oidc = settings.notify.slack, settings.oidc
    known = slack.people.items() if slack else ()
    return {
        one.id: Caller(
            name,
            (
                *one.grants,
                *(grants_of(settings.people, Person(oidc.at.issuer, name.lower())) if oidc else ()),
            ),
        )
        for name, one in known
    }


def hearing(daemon: Daemon, settings: Settings) -> tuple[list[Callable[[], Awaitable[None]]], list[Routes]]:
    """How it is heard what people press in Slack: by a companion of the daemon, or by a route of its API."""
    from reconciler.api import Desk, interactivity, listen
    from reconciler.notify import SlackWeb, SocketMode

    slack, clock = settings.notify.slack, daemon.core.clock
    if slack is None or slack.token is None or not slack.pressable:
        return [], []
    options = {"api": slack.api} if slack.api else {}
    desk = Desk(daemon, SlackWeb(slack.token.read(), **options), callers_of(settings))
    if slack.app_token:
        troubles = daemon.core.troubles
        web = SlackWeb(slack.app_token.read(), **options)
        socket = SocketMode(web, clock, tell=partial(troubles.__setitem__, UNHEARD))
        return [partial(listen, socket, desk)], []
    secret = slack.signing_secret
    return [], [interactivity(desk, secret.read(), clock)] if secret else []


def gap(notify: Notify, environments: Sequence[str]) -> str:
    """Where nobody would hear that a person is needed, as a sentence; empty where somebody always does."""
    found = unheard(notify.rules, environments)
    if found is None:
        return ""
    environment, service = found
    where = "an environment that no rule names" if environment == FRESH else environment or "all environments"
    of = {FRESH: " by a service that no rule names", "": ""}.get(service, f" by {service}")
    return f"notify.rules: when a person is needed in {where}{of}, nobody is told"
