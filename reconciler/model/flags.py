"""Declared feature flags: what a release declares, with the values of its environment laid over them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from reconciler.model.codec import encode
from reconciler.model.environment import FlagSetting
from reconciler.model.errors import Place, Problem
from reconciler.model.release import AnyFlagValue, Flag, FlagValue, Release

NAMED_MAX = 10

Settings = Mapping[str, FlagSetting]
"""What an environment sets, by the flag's name."""


class Switched(Struct, frozen=True):
    """A flag whose value changes; None where the release before, or the one after, does not declare it."""

    name: str
    from_: FlagValue | None = field(name="from")
    to: FlagValue | None


def flag_values(release: Release, settings: Settings) -> dict[str, FlagValue]:
    """The value of every flag that a process of the release gets; what else the environment sets is not its concern."""
    if not release.flags:
        return {}
    return {
        name: value
        for name, flag in release.flags.items()
        if not (flag.live or isinstance(value := set_value(flag, settings.get(name)), dict))
    }


def set_value(flag: Flag, setting: FlagSetting | None) -> AnyFlagValue:
    """What the environment sets, or else the release's default; rules aside."""
    return flag.default if setting is None or setting.value is None else setting.value


def mistyped(release: Release, settings: Settings) -> list[Problem]:
    """Settings that a process of the release cannot be given: rules, and values of another type than the default's."""
    if not release.flags:
        return []
    problems = []
    for name, flag in sorted(release.flags.items()):
        setting = settings.get(name)
        if flag.live or setting is None:
            continue
        if setting.rules:
            message = f"{_declares(release)} without `live`, so that it has no rules"
            remedy = "write a plain value, or pin a release that declares it `live: true`"
            problems.append(Problem(setting.place, f"flags.{name}", message, remedy))
        elif setting.value is not None and _kind(setting.value) != _kind(flag.default):
            problems.append(
                _of_another_kind(
                    release, name, flag, setting.place, _kind(flag.default), _kind(setting.value)
                )
            )
    return problems


def misset(releases: Iterable[Release], settings: Settings) -> dict[str, Problem]:
    """By live flag, the first value that is not of the type that a release declares: none of its setting counts."""
    problems: dict[str, Problem] = {}
    for release in releases:
        for name, flag in release.flags.items():
            setting = settings.get(name)
            if flag.live and setting is not None and name not in problems:
                wanted = exactly(flag.default)
                for value, place in _values(setting):
                    found = exactly(value)
                    if found != wanted and not (wanted == "a number" and found == "a whole number"):
                        problems[name] = _of_another_kind(release, name, flag, place, wanted, found)
                        break
    return problems


def _values(setting: FlagSetting) -> Iterator[tuple[AnyFlagValue, Place]]:
    if setting.value is not None:
        yield setting.value, setting.place
    for rule in setting.rules:
        for portion in rule.portions:
            yield portion.value, portion.place


def _of_another_kind(
    release: Release, name: str, flag: Flag, place: Place, wanted: str, found: str
) -> Problem:
    return Problem(
        place,
        f"flags.{name}",
        f"{_declares(release)} as {wanted}, and this is {found}",
        f"write {wanted}; its default is {encode(flag.default).decode()}",
    )


def _declares(release: Release) -> str:
    return f"{release.service} {release.version} declares this flag"


def undeclared(
    releases: Iterable[Release], settings: Settings, others: Iterable[Release] = ()
) -> list[Problem]:
    """Flags that an environment sets, and none of the releases that it pins declares.

    `others`: of the same services; what runs may be one of them until it is replaced.
    """
    declared = sorted({name for release in releases for name in release.flags})
    known = f"they declare {_listed(declared)}" if declared else "they declare none"
    newest = {name: one for one in sorted(others, key=lambda one: one.version) for name in one.flags}
    problems = []
    for name, setting in sorted(settings.items()):
        if name not in declared:
            near = difflib.get_close_matches(name, declared, n=1)
            message, remedy = "no release that is pinned here declares this flag", f"remove it; {known}"
            if name in newest:
                service, version = newest[name].service, newest[name].version
                message += f"; {service} {version} does"
                remedy = (
                    "remove it: what runs and needs it keeps it until it is replaced; or pin that release"
                )
            elif near:
                remedy = f"did you mean {near[0]}?"
            problems.append(Problem(setting.place, f"flags.{name}", message, remedy))
    return problems


def described_as(frozen: Mapping[str, Flag], edited: Mapping[str, Flag]) -> dict[str, Flag]:
    """The frozen flags with the descriptions as they stand now."""
    return {
        name: replace(flag, description=edited[name].description) if name in edited else flag
        for name, flag in frozen.items()
    }


def switched(before: Mapping[str, FlagValue], after: Mapping[str, FlagValue]) -> tuple[Switched, ...]:
    """The flags that have another value afterwards, by name. 1, true and "1" are three values."""
    return tuple(
        Switched(name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if encode(before.get(name)) != encode(after.get(name))
    )


def _kind(value: AnyFlagValue) -> str:
    """Of what is handed over as text anyway: all numbers are alike."""
    kind = exactly(value)
    return "a number" if kind == "a whole number" else kind


def exactly(value: object) -> str:
    """The type of a value, in words."""
    match value:
        case bool():
            return "true or false"
        case str():
            return "text"
        case int():
            return "a whole number"
        case float():
            return "a number"
        case _:
            return "a mapping"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return ", ".join(names[:NAMED_MAX]) + more
