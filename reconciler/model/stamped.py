"""What is asked for at one revision, put together for those alone that somebody looks at."""

from __future__ import annotations

from collections.abc import Collection, ItemsView, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from reconciler.model.layered import Layered, differing

if TYPE_CHECKING:
    from reconciler.model.desired import Desired
    from reconciler.model.release import Release
    from reconciler.model.version import Version


class Stamped(Mapping[str, "Desired"]):
    """By environment, in the order of their names. Never changed; may be read by any thread.

    `kept`: of no revision, and without releases; what nobody has moved is shared from one revision to the next.
    """

    __slots__ = ("_made", "_releases", "_revision", "kept", "promoting", "renaming")

    def __init__(
        self,
        kept: Layered[str, Desired],
        revision: str,
        releases: Mapping[str, Mapping[Version, Release]],
        renaming: frozenset[str],
        promoting: frozenset[str],
    ) -> None:
        self.kept, self._revision, self._releases = kept, revision, releases
        self.renaming, self.promoting = renaming, promoting
        self._made: dict[str, Desired] = {}

    def __getitem__(self, name: str) -> Desired:
        made = self._made.get(name)
        if made is None:
            made = replace(self.kept[name], revision=self._revision, releases=self._releases)
            made = self._made.setdefault(name, made)  # the very same for all who ask
        return made

    def __contains__(self, name: object) -> bool:
        return name in self.kept

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)

    def keys(self) -> KeysView[str]:
        """As they are now, as are `items` and `values`."""
        return self.kept.keys()

    def items(self) -> ItemsView[str, Desired]:
        return {name: self[name] for name in self.kept}.items()

    def values(self) -> ValuesView[Desired]:
        return {name: self[name] for name in self.kept}.values()


NOBODY = Stamped(Layered({}), "", {}, frozenset(), frozenset())


def renaming(asked: Mapping[str, Desired]) -> frozenset[str]:
    """The environments that say what they were called before."""
    if isinstance(asked, Stamped):
        return asked.renaming
    return frozenset(name for name, one in asked.items() if one.environment.renamed_from)


def promoting(asked: Mapping[str, Desired]) -> frozenset[str]:
    """The environments in which pins follow those of others."""
    if isinstance(asked, Stamped):
        return asked.promoting
    return frozenset(name for name, one in asked.items() if one.environment.policy.promote)


def without(asked: Mapping[str, Desired], names: Collection[str]) -> Mapping[str, Desired]:
    """The same but for these."""
    return {name: one for name, one in asked.items() if name not in names} if names else asked


def otherwise(before: Mapping[str, Desired], now: Mapping[str, Desired]) -> list[str] | None:
    """The names in `now` of which alone something can be otherwise than it was `before`, sorted; None: of any."""
    if isinstance(before, Stamped) and isinstance(now, Stamped):
        return sorted(name for name in differing(before.kept, now.kept) if name in now.kept)
    return None


def named_alike(one: Mapping[str, Desired], other: Mapping[str, Desired]) -> bool:
    """Whether both are of the very same environments: of very many, those alone are looked at that may differ."""
    if isinstance(one, Stamped) and isinstance(other, Stamped):
        touched = other.kept.touched_since(one.kept)
        if touched is not None:
            return all((name in one) == (name in other) for name in touched)
    return one.keys() == other.keys()


class Desires(MutableMapping[str, "Desired"]):
    """What is in force, by environment. What was read of it as a whole (`now`) stays as it was, whatever comes."""

    def __init__(self) -> None:
        self.now: Mapping[str, Desired] = {}
        self.fetched_at: datetime | None = None
        """When the last fetch began after which this was what the repository says, as far as it is followed."""

    def follow(self, now: Mapping[str, Desired]) -> None:
        """All of this is in force from now on, and nothing else. It is not to be changed any more."""
        self.now = now

    def __getitem__(self, name: str) -> Desired:
        return self.now[name]

    def __contains__(self, name: object) -> bool:
        return name in self.now

    def __iter__(self) -> Iterator[str]:
        return iter(self.now)

    def __len__(self) -> int:
        return len(self.now)

    def __setitem__(self, name: str, desired: Desired) -> None:
        self.now = {**self.now, name: desired}

    def __delitem__(self, name: str) -> None:
        now = dict(self.now)
        del now[name]
        self.now = now

    def clear(self) -> None:
        self.now = {}

    def keys(self) -> KeysView[str]:
        return self.now.keys()

    def items(self) -> ItemsView[str, Desired]:
        return self.now.items()

    def values(self) -> ValuesView[Desired]:
        return self.now.values()
