"""The flags of one environment: what its releases declare and its file sets, as one thing for each name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from reconciler.model.codec import builtins, encode
from reconciler.model.environment import Environment
from reconciler.model.errors import Place, Problem
from reconciler.model.flags import Settings, exactly, misset, set_value
from reconciler.model.release import AnyFlagValue, FlagValue, Release
from reconciler.model.targeting import FlagRule

Handed = Mapping[str, Mapping[str, FlagValue]]
"""By service: the values of its flags that a process of it is, or is to be, given."""


class Standing(Struct, frozen=True, omit_defaults=True):
    """A flag as it stands in one environment. `services`: whose releases declare it; `default`: theirs.

    `value`: what the environment sets for all to whom no rule gives one, None where that is the default. Of a flag
    that is not live, what the processes have.
    """

    name: str
    services: tuple[str, ...]
    default: AnyFlagValue
    live: bool = True
    value: AnyFlagValue | None = None
    rules: tuple[FlagRule, ...] = ()

    @property
    def plain(self) -> AnyFlagValue:
        """For all to whom no rule gives another value."""
        return self.default if self.value is None else self.value

    def answers_as(self, other: Standing) -> bool:
        """Whether everyone gets the same of both, by the same rules, wherever those stand."""
        return self.live == other.live and encode(self.said()) == encode(other.said())

    def said(self) -> dict[str, Any]:
        """Its value and rules, as plain values for `--json` and the API."""
        return {"value": self.plain, "rules": [_rule(one) for one in self.rules]}


def standings(
    releases: Sequence[Release], settings: Settings, handed: Handed, running: Handed
) -> dict[str, Standing]:
    """Every flag that one of the releases declares; settings of a wrong type do not count.

    `handed`: what processes are to be given, `running`: what those that run were given. A flag that is not live has
    its new value as soon as all of them have it.
    """
    wrong, wanted, have = misset(releases, settings), _values(handed), _values(running)
    found = {}
    for name, declaring in _by_flag(releases).items():
        live = [one for one in declaring if one.flags[name].live]
        services = tuple(one.service for one in declaring)
        setting = None if name in wrong else settings.get(name)
        if live:
            found[name] = Standing(
                name,
                services,
                live[0].flags[name].default,
                value=setting.value if setting else None,
                rules=setting.rules if setting else (),
            )
        else:
            flag = declaring[0].flags[name]
            left = [one for one in have[name] if not _among(one, wanted[name])]
            value = left[0] if left else wanted[name][0] if wanted[name] else set_value(flag, setting)
            found[name] = Standing(name, services, flag.default, live=False, value=value)
    return found


def clashes(environment: Environment, releases: Iterable[Release]) -> list[Problem]:
    """Flags that are live in one release that is pinned, and that another one declares so that nobody could say what
    they are for all: as another type, or with another default where the environment sets no value."""
    problems = []
    for name, declaring in _by_flag(releases).items():
        first = next((one for one in declaring if one.flags[name].live), None)
        setting = environment.flags.get(name)
        for one in declaring if first else ():
            mine, theirs = one.flags[name].default, first.flags[name].default if first else None
            if first is None or one is first:
                continue
            if exactly(mine) != exactly(theirs):
                what = f"as {exactly(mine)}, and {first.service} {first.version} as {exactly(theirs)}"
                remedy = "give one of the two another name: a client asks for a flag by its name alone"
            elif (setting is None or setting.value is None) and encode(mine) != encode(theirs):
                what = f"with the default {_text(mine)}, and {first.service} {first.version} with {_text(theirs)}"
                remedy = f"set a value for all in {_file(environment)}, or declare one default"
            else:
                continue
            place = setting.place if setting else environment.pins[one.service].place
            message = f"{one.service} {one.version} declares this flag {what}"
            problems.append(Problem(place, f"flags.{name}", message, remedy))
    return problems


def doubtful(environment: Environment, releases: Collection[Release]) -> frozenset[str]:
    """Flags of which something is wrong: they stay as they were."""
    names = frozenset(problem.path.removeprefix("flags.") for problem in clashes(environment, releases))
    return names.union(misset(releases, environment.flags))


def _by_flag(releases: Iterable[Release]) -> dict[str, list[Release]]:
    """By name, sorted, the releases that declare a flag, sorted by service."""
    found: defaultdict[str, list[Release]] = defaultdict(list)
    for release in sorted(releases, key=lambda one: one.service):
        for name in release.flags:
            found[name].append(release)
    return dict(sorted(found.items()))


def _rule(rule: FlagRule) -> dict[str, Any]:
    split = [{"value": one.value, "percent": one.percent} for one in rule.portions]
    return {"when": builtins(rule.when), "split": split, "by": rule.by}


def _values(handed: Handed) -> defaultdict[str, list[FlagValue]]:
    """By flag, its values, in the order of the services."""
    found: defaultdict[str, list[FlagValue]] = defaultdict(list)
    for values in handed.values():
        for name, value in values.items():
            found[name].append(value)
    return found


def _among(value: FlagValue, values: Iterable[FlagValue]) -> bool:
    return encode(value) in map(encode, values)


def _text(value: AnyFlagValue | None) -> str:
    return encode(value).decode()


def _file(environment: Environment) -> str:
    first = next(iter(environment.pins.values()), None)
    return first.place.file if first else Place(f"environments/{environment.name}.yaml").file
