"""Who is told of what: what ugs.yaml says under `notify`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reconciler.config.secret import Secret
from reconciler.config.settings import SLACK_CHANNEL, Notify, Slack, SlackPerson, slack_channel
from reconciler.model.codec import convert
from reconciler.model.digest import Digest
from reconciler.model.document import Path as Keys
from reconciler.model.environment import Window
from reconciler.model.findings import Findings
from reconciler.model.rights import RoleGrant
from reconciler.model.routing import Match, Rule, unheard
from reconciler.model.window import check_window
from reconciler.model.zone import check_zone

RESERVED = (SLACK_CHANNEL, "note", "forge")
"""Channels of the outbox that are not Apprise's."""
AT = "notify"

Reference = Callable[[dict[str, Any]], Secret]


def notify_of(data: Mapping[str, Any], found: Findings, reference: Reference) -> Notify:
    """The channels and the rules. `data` fits the schema; what else is wrong is added to `found`."""
    slack = _slack(data["slack"], found, reference) if "slack" in data else None
    for name in RESERVED:
        if name in data.get("apprise", {}):
            found.add((AT, "apprise", name), f"the name {name} is taken", "give this channel another one")
    apprise = {name: reference(channel["url"]) for name, channel in data.get("apprise", {}).items()}
    rules = tuple(_rule(rule) for rule in data.get("rules", ()))
    notify = Notify(slack, apprise, rules, _digest(found) if "digest" in data else None)
    _check_channels(notify, found)
    if unheard(rules, ()) == ("", ""):
        message = "no rule sends anywhere that a person is needed"
        found.add((AT, "rules"), message, "let one rule have neither severities, or `person` among them")
    return notify


def _slack(written: Mapping[str, Any], found: Findings, reference: Reference) -> Slack:
    data = dict(written)
    if ("token" in data) == ("webhook" in data) or ("token" in data) != ("channel" in data):
        message = "Slack needs either `token` and `channel`, or `webhook`"
        found.add((AT, "slack"), message, "write one of the two")
    for key in ("token", "webhook", "app_token", "signing_secret"):
        if key in data:
            data[key] = reference(data[key])
    slack = Slack(**data | {"people": _people(data.get("people", {}), found)})
    if slack.pressable and not slack.token:
        found.add((AT, "slack"), "a webhook's messages have no buttons", "use a bot: `token` and `channel`")
    if slack.app_token and slack.signing_secret:
        message = "buttons are heard in one way: Socket Mode, or signed requests"
        found.add((AT, "slack", "signing_secret"), message, "remove app_token or signing_secret")
    return slack


def _people(data: Mapping[str, Any], found: Findings) -> dict[str, SlackPerson]:
    people, names = dict[str, SlackPerson](), dict[str, str]()
    for name, said in data.items():
        if (other := names.setdefault(said["id"], name)) != name:
            at = (AT, "slack", "people", name, "id")
            found.add(at, f"this is {other} too", "one person of Slack's is one person here")
        grants = tuple(convert(grant, RoleGrant) for grant in said.get("grants", ()))
        people[name] = SlackPerson(said["id"], grants)
    return people


def _digest(found: Findings) -> Digest:
    at: Keys = (AT, "digest")
    data = found.timed(at, ("within", "every"), positive=True)
    if not {"over", "hours"} & data.keys():
        found.add(at, "nothing says when", "add `over` or `hours`")
    zone = data.get("timezone", Digest().timezone)
    if "timezone" in data:
        found.valid((*at, "timezone"), check_zone)
    hours = list[Window]()
    for index in range(len(data.get("hours", ()))):
        hour = found.timed((*at, "hours", index), ("duration",), positive=True)
        window = Window(hour["cron"], hour.get("duration_s") or 60.0)  # a wrong one is a finding already
        if found.valid((*at, "hours", index), check_window, window, "UTC"):
            hours.append(window)
    numbers = {key: data[key] for key in ("within_s", "every_s") if key in data}
    over = int(data["over"]) if "over" in data else None
    return Digest(over=over, hours=tuple(hours), timezone=zone, **numbers)


def _rule(data: Mapping[str, Any]) -> Rule:
    to = [name if isinstance(name, str) else f"{SLACK_CHANNEL}:{name['slack']}" for name in data["to"]]
    only = {key: data[key] for key in Match.__struct_fields__ if key in data}
    barred = data.get("except")
    return Rule(tuple(to), convert(only, Match), convert(barred, Match) if barred else None)


def _check_channels(notify: Notify, found: Findings) -> None:
    known = [*([SLACK_CHANNEL] if notify.slack else []), *notify.apprise]
    for number, rule in enumerate(notify.rules):
        for index, name in enumerate(rule.to):
            at = (AT, "rules", number, "to", index)
            if slack_channel(name) and not (notify.slack and notify.slack.token):
                found.add(at, "only a bot can post to several channels", "add notify.slack.token")
            elif not slack_channel(name) and name not in known:
                found.add(at, f"there is no channel {name}", f"name one of {', '.join(known) or 'none yet'}")
