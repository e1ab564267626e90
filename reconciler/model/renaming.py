"""What an environment may say of the name that it had before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from reconciler.model.environment import Environment
from reconciler.model.errors import Place, Problem, UgsError
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


def heir_of(heirs: Mapping[str, str], name: str) -> str:
    """Who goes on under a name, through all those that came after it; itself where nobody has taken it over.

    `heirs`: by former name, who took it over.
    """
    for _ in heirs:
        name = heirs.get(name, name)
    return name


def known_as(
    name: str, old: str, before: Iterable[str], known: Callable[[str], bool], heirs: Mapping[str, str]
) -> str | None:
    """Under which name that is known goes on what `name` says that it was, `old`; itself where that is so already,
    None where nothing is known of it.

    `before`: what `old` itself was called before, the newest first, where an environment got several names in a row
    before anybody looked. One that is in force already has been none of those.
    """
    if heir_of(heirs, old) == name:
        return name
    if known(old):
        return old
    itself = known(name)
    return next((one for one in before if (one == name if itself else known(one))), None)


def doubtful(
    name: str, old: str, heirs: Mapping[str, str], known: Callable[[str], bool], lost: Collection[str]
) -> UgsError | None:
    """Why an environment that says it was `old`, of which nothing is known, cannot be taken for a new one.

    `lost`: the environments that have lost their files, and run on. One that is `known` is in force already.
    """
    if known(name):
        return None
    if (now := heir_of(heirs, old)) != old:
        remedy = f"write renamed_from: {now} if that is what it was, else remove the line"
        return UgsError(f"{old} has been called {now} since", remedy)
    if lost:
        names = sorted(lost)
        run_on = (
            "has no file any more, and runs on" if len(names) == 1 else "have no file any more, and run on"
        )
        return UgsError(
            f"nothing is known here of {old}, and {' and '.join(names)} {run_on}",
            f"write renamed_from: {names[0]} if that is what it was, else remove the line",
        )
    return None


def renamed(of: Mapping[str, T], environments: Mapping[str, Environment]) -> dict[str, T]:
    """What was known by the environments' former names, by those that they have now."""
    now = {
        environment.renamed_from: name
        for name, environment in environments.items()
        if environment.renamed_from is not None and name not in of
    }
    return {now.get(name, name): value for name, value in of.items()}
