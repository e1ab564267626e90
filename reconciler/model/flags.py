"""Declared feature flags: what a release declares, with the values of its environment laid over them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from reconciler.model.codec import encode
from reconciler.model.environment import FlagSetting
from reconciler.model.errors import Problem
from reconciler.model.release import Flag, FlagValue, Release

NAMED_MAX = 10

Settings = Mapping[str, FlagSetting]
"""What an environment sets, by the flag's name."""


class Switched(Struct, frozen=True):
    """A flag whose value changes; None where the release before, or the one after, does not declare it."""

    name: str
    from_: FlagValue | None = field(name="from")
    to: FlagValue | None


def flag_values(release: Release, settings: Settings) -> dict[str, FlagValue]:
    """The value of every flag that the release declares; what else the environment sets is not its concern."""
    return {
        name: settings[name].value if name in settings else flag.default
        for name, flag in release.flags.items()
    }


def mistyped(release: Release, settings: Settings) -> list[Problem]:
    """Values of another type than the default's that the release declares."""
    return [
        Problem(
            setting.place,
            f"flags.{name}",
            f"{release.service} {release.version} declares this flag as {_kind(flag.default)}, "
            f"and this is {_kind(setting.value)}",
            f"write {_kind(flag.default)}; its default is {encode(flag.default).decode()}",
        )
        for name, flag in sorted(release.flags.items())
        if (setting := settings.get(name)) and _kind(setting.value) != _kind(flag.default)
    ]


def undeclared(releases: Iterable[Release], settings: Settings) -> list[Problem]:
    """Flags that an environment sets, and none of the releases that it pins declares."""
    declared = sorted({name for release in releases for name in release.flags})
    known = f"they declare {_listed(declared)}" if declared else "they declare none"
    problems = []
    for name, setting in sorted(settings.items()):
        if name not in declared:
            near = difflib.get_close_matches(name, declared, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"remove it; {known}"
            message = "no release that is pinned here declares this flag"
            problems.append(Problem(setting.place, f"flags.{name}", message, remedy))
    return problems


def described_as(frozen: Mapping[str, Flag], edited: Mapping[str, Flag]) -> dict[str, Flag]:
    """The frozen flags with the descriptions as they stand now."""
    return {
        name: Flag(flag.default, edited[name].description if name in edited else flag.description)
        for name, flag in frozen.items()
    }


def switched(before: Mapping[str, FlagValue], after: Mapping[str, FlagValue]) -> tuple[Switched, ...]:
    """The flags that have another value afterwards, by name. 1, true and "1" are three values."""
    return tuple(
        Switched(name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if encode(before.get(name)) != encode(after.get(name))
    )


def _kind(value: FlagValue) -> str:
    if isinstance(value, bool):
        return "true or false"
    return "text" if isinstance(value, str) else "a number"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return ", ".join(names[:NAMED_MAX]) + more
