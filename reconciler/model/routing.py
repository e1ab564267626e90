"""Who is told of what: rules by environment, severity and service. Pure.

What a notice says nothing of concerns all: one without an environment (the repository, the database) concerns every
environment, and one without a service every service of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import islice, product

from msgspec import Struct

from reconciler.model.notice import Notice, Severity

FRESH = "any-other"
"""Stands for a name that no rule has in mind."""
PROBED_MAX = 10_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Match(Struct, frozen=True, forbid_unknown_fields=True):
    """Which notices are meant: those that fit each of these; an empty one fits all. Names are shell patterns."""

    environments: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = ()
    services: tuple[str, ...] = ()


class Rule(Struct, frozen=True):
    """To these channels goes what `only` means. What `exclude` means goes to none of them, whatever others say."""

    to: tuple[str, ...]
    only: Match = Match()
    exclude: Match | None = None


def routed(notice: Notice, rules: Sequence[Rule], channels: Iterable[str]) -> tuple[str, ...]:
    """The channels that a notice goes to, in the order of `channels`. Without rules: all of them."""
    if not rules:
        return tuple(channels)
    named = {name for rule in rules if _touches(rule.only, notice) for name in rule.to}
    barred = {name for rule in rules if rule.exclude and _contains(rule.exclude, notice) for name in rule.to}
    return tuple(name for name in channels if name in named - barred)


def unheard(rules: Sequence[Rule], environments: Sequence[str]) -> tuple[str, str] | None:
    """An environment and a service for which nobody would be told that a person is needed; None when there is
    none. `environments`: all that there are, as far as that is known; none: any. Empty names stand for all."""
    if not rules:
        return None
    matches = [match for rule in rules for match in (rule.only, rule.exclude) if match]
    places = environments or [_sample(text) for match in matches for text in match.environments] + [FRESH]
    services = ["", FRESH, *(_sample(text) for match in matches for text in match.services)]
    asked = product(dict.fromkeys(["", *places]), dict.fromkeys(services))
    channels = [name for rule in rules for name in rule.to]
    for environment, service in islice(asked, PROBED_MAX):
        if (environment or not service) and not routed(_call(environment, service), rules, channels):
            return environment, service
    return None


def _touches(match: Match, notice: Notice) -> bool:
    """Whether some of what the notice concerns is meant."""
    return (
        (not notice.environment or _fits(match.environments, notice.environment))
        and (not notice.service or _fits(match.services, notice.service))
        and (not match.severities or notice.severity in match.severities)
    )


def _contains(match: Match, notice: Notice) -> bool:
    """Whether all of what the notice concerns is meant."""
    return (
        _fits(match.environments, notice.environment)
        and _fits(match.services, notice.service)
        and (not match.severities or notice.severity in match.severities)
    )


def _fits(patterns: Sequence[str], name: str) -> bool:
    return not patterns or bool(name and any(fnmatchcase(name, pattern) for pattern in patterns))


def _sample(pattern: str) -> str:
    """A name that the pattern fits."""
    return pattern.replace("*", "").replace("?", "x") or FRESH


def _call(environment: str, service: str) -> Notice:
    return Notice(environment, service, "", "person", EPOCH)
