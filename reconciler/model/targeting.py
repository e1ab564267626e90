"""Who gets which value of a live flag: rules over what a client says of whom it asks for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from reconciler.model.errors import Place
from reconciler.model.range import Range
from reconciler.model.release import AnyFlagValue, FlagValue
from reconciler.model.version import Version

ALL_PERCENT = 100.0
BUCKETS = 100_000
"""So that a thousandth of a percent can be told apart."""
TARGETING_KEY = "targetingKey"

Context = Mapping[str, Any]
"""What a client says of whom it asks for: JSON, from outside."""


class Condition(Struct, frozen=True, omit_defaults=True):
    """What one attribute of the context must be; everything that is said must hold.

    Of a list in the context one member has to fit. What is not given fits nothing.
    """

    one_of: tuple[FlagValue, ...] | None = None
    none_of: tuple[FlagValue, ...] | None = None
    starts_with: tuple[str, ...] | None = None
    ends_with: tuple[str, ...] | None = None
    contains: tuple[str, ...] | None = None
    version: str | None = None
    """A range."""
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None


class Portion(Struct, frozen=True):
    """A value, and how many percent of those whom its rule is about get it. `place`: the value's in its file."""

    value: AnyFlagValue
    place: Place
    percent: float = ALL_PERCENT


class FlagRule(Struct, frozen=True, omit_defaults=True):
    """Those to whom all of `when` applies get one of the portions; whoever gets none goes on to the next rule.

    `by`: the attribute whose equals stay together in one portion.
    """

    portions: tuple[Portion, ...]
    when: dict[str, Condition] = {}
    by: str = TARGETING_KEY

    @property
    def shares(self) -> bool:
        """Whether who gets what is a matter of percentages: none of 0 or 100 alone."""
        return any(0.0 < one.percent < ALL_PERCENT for one in self.portions)

    @property
    def percent(self) -> float:
        """How many of those whom it is about get one of its values."""
        return sum(one.percent for one in self.portions)


def applies(rule: FlagRule, context: Context) -> bool:
    """Whether the rule is about this context. Raises nothing, whatever the context holds."""
    return all(_fits(condition, attribute(context, name)) for name, condition in rule.when.items())


def attribute(context: Context, name: str) -> Any:
    """What the context says under this name, `user.plan` also as `plan` in `user`; None where nothing."""
    if name in context:
        return context[name]
    found: Any = context
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def portion_of(rule: FlagRule, flag: str, key: str) -> Portion | None:
    """Which portion this key falls to, always the same one; None where it falls to none.

    Raising a percentage only adds keys to the last portion, and moves nobody out of one.
    """
    at, end = bucket(flag, key), 0.0
    for portion in rule.portions:
        end += portion.percent
        if at < round(end * BUCKETS / ALL_PERCENT):
            return portion
    return None


def bucket(flag: str, key: str) -> int:
    """From 0 up to, not including, BUCKETS: the same for a flag and a key in every environment, for ever."""
    digest = hashlib.sha256(f"{flag}\0{key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) * BUCKETS >> 64


def same(one: Any, other: Any) -> bool:
    """Whether two values are one. 1, true and "1" are three; 1 and 1.0 are one."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _fits(condition: Condition, given: Any) -> bool:
    if given is None:
        return False
    members = given if isinstance(given, list) else [given]
    if condition.none_of is not None and any(_among(condition.none_of, one) for one in members):
        return False
    return any(_member_fits(condition, one) for one in members) or _only_excludes(condition)


def _only_excludes(condition: Condition) -> bool:
    """Whether nothing has to be there, so that an empty list fits too."""
    return condition == Condition(none_of=condition.none_of)


def _member_fits(condition: Condition, given: Any) -> bool:
    return (
        (condition.one_of is None or _among(condition.one_of, given))
        and _text_fits(condition.starts_with, given, str.startswith)
        and _text_fits(condition.ends_with, given, str.endswith)
        and _text_fits(condition.contains, given, str.__contains__)
        and (condition.version is None or _in_range(condition.version, given))
        and _number_fits(condition, given)
    )


def _among(values: Sequence[FlagValue], given: Any) -> bool:
    return any(same(value, given) for value in values)


def _text_fits(wanted: Sequence[str] | None, given: Any, how: Callable[[str, str], bool]) -> bool:
    return wanted is None or (isinstance(given, str) and any(how(given, one) for one in wanted))


def _in_range(wanted: str, given: Any) -> bool:
    try:
        return isinstance(given, str) and Range.parse(wanted).contains(Version(given))
    except ValueError:
        return False


def _number_fits(condition: Condition, given: Any) -> bool:
    bounds = (condition.at_least, condition.at_most, condition.above, condition.below)
    if all(bound is None for bound in bounds):
        return True
    if isinstance(given, bool) or not isinstance(given, int | float):
        return False
    at_least, at_most, above, below = bounds
    return (
        (at_least is None or given >= at_least)
        and (at_most is None or given <= at_most)
        and (above is None or given > above)
        and (below is None or given < below)
    )
