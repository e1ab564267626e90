"""What an environment may say of the name that it had before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import TypeVar

from reconciler.model.environment import Environment
from reconciler.model.errors import Place, Problem
from reconciler.model.layout import main_file

T = TypeVar("T")


def misnamed(
    environments: Mapping[str, Environment], names: Collection[str], paths: Collection[str]
) -> dict[str, Problem]:
    """By name, the environments that cannot have been what they say; `names` are all that have a file at all."""
    claims = Counter(one.renamed_from for one in environments.values())
    found: dict[str, Problem] = {}
    for name, environment in environments.items():
        old = environment.renamed_from
        if old is None:
            continue
        place = Place(main_file(name, paths))
        if old == name:
            found[name] = Problem(place, "renamed_from", f"{name} is its own name", "remove the line")
        elif old in names:
            message = f"both {old} and {name} exist"
            found[name] = Problem(place, "renamed_from", message, f"remove the files of {old}, or this line")
        elif claims[old] > 1:
            rivals = sorted(one for one, each in environments.items() if each.renamed_from == old)
            message = f"{' and '.join(rivals)} both say that they were {old}"
            found[name] = Problem(place, "renamed_from", message, "keep the line in one of them")
    return found


def renamed(of: Mapping[str, T], environments: Mapping[str, Environment]) -> dict[str, T]:
    """What was known by the environments' former names, by those that they have now."""
    now = {
        environment.renamed_from: name
        for name, environment in environments.items()
        if environment.renamed_from is not None and name not in of
    }
    return {now.get(name, name): value for name, value in of.items()}
