"""A mapping that differs from an earlier one in few keys and shares the rest with it: work as what differs."""

from __future__ import annotations

from collections.abc import Collection, ItemsView, Iterator, KeysView, Mapping, ValuesView
from itertools import chain
from typing import TypeVar, overload

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
SHARE = 64
"""One that differs from what it shares in more than this part of it, or in so many keys, is written out."""


class Layered(Mapping[K, V]):
    """Never changed once it is made. In the order of what it shares; what is new comes last."""

    __slots__ = ("_base", "_gone", "_new", "_over")

    def __init__(self, base: dict[K, V]) -> None:
        """`base` is kept, and not to be changed any more."""
        self._base, self._over, self._gone = base, dict[K, V](), frozenset[K]()
        self._new = 0

    def changed(self, now: Mapping[K, V], gone: Collection[K] = ()) -> Layered[K, V]:
        """The same with these values, and without the keys that are `gone`."""
        if not now and not gone:
            return self
        base, over = self._base, {**self._over, **now}
        for key in gone:
            over.pop(key, None)
        away = (self._gone - now.keys()) | (base.keys() & gone)
        made = Layered(base)
        made._over, made._gone = over, away
        # The difference of two views would go through all that is shared.
        made._new = len(set(over).difference(base))
        return Layered(made.whole()) if len(over) + len(away) > max(SHARE, len(base) // SHARE) else made

    def __getitem__(self, key: K) -> V:
        if key in self._over:
            return self._over[key]
        if key in self._gone:
            raise KeyError(key)
        return self._base[key]

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, /, default: V | T) -> V | T: ...
    def get(self, key: K, /, default: V | T | None = None) -> V | T | None:
        """Written out, as is `in`: what a mapping has of itself raises an error for each key that is not there."""
        if key in self._over:
            return self._over[key]
        return self._base[key] if key in self._base and key not in self._gone else default

    @property
    def plain(self) -> Mapping[K, V]:
        """What it shares, where it differs from that in nothing: a mapping of Python's own; else itself."""
        return self if self._over or self._gone else self._base

    def __contains__(self, key: object) -> bool:
        return key in self._over or (key in self._base and key not in self._gone)

    def __iter__(self) -> Iterator[K]:
        if not (self._gone or self._new):
            return iter(self._base)
        kept = (key for key in self._base if key not in self._gone)
        return chain(kept, (key for key in self._over if key not in self._base))

    def keys(self) -> KeysView[K]:
        return self.whole().keys()

    def items(self) -> ItemsView[K, V]:
        """As they are now, as are `keys` and `values`: written out at once, since one by one each key is looked up
        by itself."""
        return self.whole().items()

    def values(self) -> ValuesView[V]:
        return self.whole().values()

    def whole(self) -> dict[K, V]:
        """Not to be changed."""
        if not (self._over or self._gone):
            return self._base
        found = {**self._base, **self._over}
        for key in self._gone:
            found.pop(key, None)
        return found

    def __len__(self) -> int:
        return len(self._base) - len(self._gone) + self._new

    def touched_since(self, before: Layered[K, V]) -> set[K] | None:
        """Keys of which alone something can be otherwise than in `before`; None where they share nothing."""
        if before._base is not self._base:
            return None
        return {*before._over, *self._over, *(before._gone ^ self._gone)}


def layered(mapping: Mapping[K, V]) -> Layered[K, V]:
    """The same mapping, to be shared by what comes after it."""
    return mapping if isinstance(mapping, Layered) else Layered(dict(mapping))


def plain(mapping: Mapping[K, V]) -> Mapping[K, V]:
    """The same mapping, for who looks up very many keys at once: in one of Python's own that is faster."""
    return mapping.plain if isinstance(mapping, Layered) else mapping


def sorted_with(before: Mapping[str, T], anew: Collection[str], now: Mapping[str, T]) -> Layered[str, T]:
    """By name, sorted, what was `before` of all but those `anew`, and of these what is `now`."""
    if any(name not in before for name in now):
        kept = {name: one for name, one in before.items() if name not in anew}
        return Layered(dict(sorted({**kept, **now}.items())))
    return layered(before).changed(now, [name for name in anew if name not in now and name in before])


def differing(before: Mapping[K, V], after: Mapping[K, V]) -> set[K]:
    """The keys whose value is another object, or is in one of both alone."""
    if before is after:
        return set()
    if not before:
        return set(after)
    shared = (
        after.touched_since(before) if isinstance(after, Layered) and isinstance(before, Layered) else None
    )
    keys = before.keys() | after.keys() if shared is None else shared
    return {key for key in keys if (key in before) != (key in after) or before.get(key) is not after.get(key)}
