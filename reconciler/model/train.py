"""The chain of environments through which versions come, each from the one that its `policy.promote` names."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from reconciler.model.environment import Environment
from reconciler.model.errors import InputError, Place, Problem
from reconciler.model.layout import main_file

STAGES_MAX = 20
PATH = "policy.promote.from"


def upstream(name: str, places: Mapping[str, Environment]) -> tuple[str, ...]:
    """The environments that come before this one, the nearest first; the last may be one that is not there.

    Raises InputError for a train that runs in a circle, or is longer than anybody can survey.
    """
    found = [name]
    while (place := places.get(found[-1])) and (rule := place.policy.promote):
        found.append(rule.from_)
        if rule.from_ in found[:-1] or len(found) > STAGES_MAX:
            message = f"this goes on for ever: {' from '.join(found)}"
            remedy = f"name another environment; at most {STAGES_MAX} in a row"
            raise InputError(Problem(Place(f"environments/{name}.yaml"), PATH, message, remedy))
    return tuple(found[1:])


def astray(
    places: Mapping[str, Environment], names: Collection[str], paths: Collection[str]
) -> Iterator[Problem]:
    """What is wrong with where environments say that versions come from. `names`: all that have a file at all."""
    for name, place in places.items():
        rule, where = place.policy.promote, Place(main_file(name, paths))
        if rule and rule.from_ not in names:
            known = ", ".join(sorted(set(names) - {name})[:20]) or "none"
            message = f"there is no environment {rule.from_}, so nothing can come here"
            yield Problem(where, PATH, message, f"name another one: there are {known}")
            continue
        try:
            upstream(name, places)
        except InputError as error:
            yield from (Problem(where, one.path, one.message, one.remedy) for one in error.problems)
