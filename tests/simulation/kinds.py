"""Which kind of world a seed draws; known without playing it, so that seeds of one kind alone can be played."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, islice
from random import Random
from typing import NamedTuple

from tests.simulation.faults import BY_NAME, LASTS_S, OF_DATA, OF_FORGE, OF_PUSHES, OF_TRUST, Fault, Weather
from tests.simulation.fleet import Rules, following, on_hosts, rules
from tests.simulation.loop import Time
from tests.simulation.proposing import Way

PAIRED, LOST = 0.1, 0.08
"""How many of the seeds have a second daemon, and how many lose their database."""
DEPARTS = 0.08
"""In how many of the others an environment is taken out of the repository."""
CLOCKS = 0.08
"""And in how many of them somebody sets the wall clock."""
SKEWED, SKEWS_S = 0.7, (-86_400.0, -3600.0, -90.0, -7.0, -0.5, 0.5, 7.0, 90.0, 3600.0, 86_400.0)
"""In how many of those with a second daemon its machine's wall clock shows something else than the first one's."""


RENAMES = 0.2
"""And in how many of those of neither, that have one daemon and no signatures, an environment gets other names."""
HOSTS = 0.08
"""And in how many of those of none of these the environments list two hosts, each with a whole daemon."""
PROPOSES = 0.15
WAYS: tuple[Way, ...] = ("policy", "policy", "protected")
"""And in how many of those of none of these people are asked to merge what is to go back, and why."""
EVERYTHING = 0.5
"""In how many of those with signatures what was merged is asked for its own, too."""
FOLLOWS = 0.12
"""And in how many of those of none of these production's pins follow staging's, by commits of the daemon's."""
ASKS = 0.1
MANNERS: tuple[Way, ...] = ("policy", "policy", "protected")
"""And in how many of those of none of these people are asked to merge that, and why."""
RELAYED = 0.25
"""In how many of those with a second daemon they do so too, by commits of either."""


class World(NamedTuple):
    """What is drawn first: the rest of the story plays in it."""

    rules: Rules
    paired: bool
    """There is a second whole daemon, in place of the rival."""
    loses: bool
    """The database is lost."""
    departs: bool
    """An environment is taken out of the repository."""
    clocks: bool
    """Somebody sets the machine's wall clock."""
    skew_s: float
    """By how much the second daemon's wall clock is ahead of the first one's."""
    renames: bool
    """An environment gets another name."""
    proposes: Way
    """Why people are asked to merge what is to go back; empty where they are not."""
    asks: bool
    """People are asked to merge what is to be promoted: by the policy, or as the branch takes no push of ours."""

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Those that can be drawn here beside those of every world."""
        rules = self.rules
        drawn = (
            (rules.data, OF_DATA),
            (rules.trusted, OF_TRUST),
            (self.proposes or self.asks, OF_FORGE),
            (rules.follows, OF_PUSHES),
        )
        return tuple(fault for is_so, faults in drawn if is_so for fault in faults)


def dice(seed: int, name: str) -> Random:
    """What a seed draws one sort of thing with."""
    return Random(f"{seed} {name}")


def world_of(seed: int, story: Random) -> World:
    """The world of a seed, by its dice; `story` is read on where this ends."""
    return _shared(draw(story, dice(seed, "scene")), dice(seed, "pairs"))


def _shared(world: World, random: Random) -> World:
    """The same with what two whole daemons do to one remote. Their clocks agree where one goes by what the other
    dates."""
    if not (world.paired and random.random() < RELAYED):
        return world
    rules = world.rules._replace(data=False, trusted=False, everything=False)
    return world._replace(rules=following(rules, random), skew_s=0.0)


def draw(story: Random, scene: Random) -> World:
    """The world of a seed, but for what is drawn of two daemons last."""
    drawn, where = rules(story), scene.random()
    paired, loses = where < PAIRED, PAIRED <= where < PAIRED + LOST
    if paired or loses:
        drawn = drawn._replace(leased=paired or drawn.leased)
    alone = not (paired or loses)
    departs, clocks = scene.random() < DEPARTS, scene.random() < CLOCKS
    skewed, skew_s = scene.random() < SKEWED, scene.choice(SKEWS_S)
    renames = scene.random() < RENAMES and not (departs or clocks or drawn.leased or drawn.trusted)
    hosts = scene.random() < HOSTS and alone and not (departs or clocks or renames)
    if hosts:
        drawn = on_hosts(drawn, scene)
    asks, way = scene.random() < PROPOSES, scene.choice(WAYS)
    proposes: Way = ""
    if alone and asks and not (departs or renames or hosts or drawn.trusted) and drawn.revert:
        proposes, drawn = way, drawn._replace(proposes=way == "policy")
    follows = scene.random() < FOLLOWS and alone and not (departs or clocks or renames or hosts or proposes)
    if follows and not drawn.trusted:
        drawn = following(drawn, scene)
    asks, way = scene.random() < ASKS, scene.choice(MANNERS)
    others = departs or clocks or renames or hosts or proposes or drawn.follows or drawn.trusted
    if asks := asks and alone and not others and drawn.revert:
        proposes, drawn = "protected" if way == "protected" else "", following(drawn, scene)
        drawn = drawn._replace(by="pull-request" if way == "policy" else "commit")
    drawn = drawn._replace(everything=scene.random() < EVERYTHING and drawn.trusted)
    return World(
        drawn,
        paired,
        loses,
        departs=alone and departs,
        clocks=alone and clocks,
        skew_s=skew_s if paired and skewed else 0.0,
        renames=alone and renames,
        proposes=proposes,
        asks=asks,
    )


SCENES: dict[str, Callable[[World], bool]] = {
    "any": lambda _world: True,
    "asked": lambda world: world.asks,
    "approvals": lambda world: world.rules.approvals > 0,
    "batches": lambda world: world.rules.instances > 1,
    "clocks": lambda world: world.clocks,
    "data": lambda world: world.rules.data,
    "departs": lambda world: world.departs,
    "everything": lambda world: world.rules.everything,
    "hosts": lambda world: world.rules.hosts,
    "leased": lambda world: world.rules.leased,
    "lost": lambda world: world.loses,
    "paired": lambda world: world.paired,
    "promote": lambda world: world.rules.promote,
    "promoted": lambda world: world.rules.follows and not world.asks,
    "proposed": lambda world: world.proposes != "" and not world.asks,
    "prune": lambda world: world.rules.prune,
    "skewed": lambda world: world.skew_s != 0.0,
    "renames": lambda world: world.renames,
    "kept": lambda world: not world.rules.revert,
    "trusted": lambda world: world.rules.trusted,
    "windows": lambda world: world.rules.windows,
}
"""By name: whether a world is of that kind. One may be of several."""
KINDS = (*SCENES, *BY_NAME)
"""Scenes, and faults that are drawn."""


def seeds(kind: str, first: int, number: int) -> Iterator[int]:
    """So many seeds of one kind. A scene and a fault may be asked for at once: `prune+bad-file`."""
    parts = kind.split("+")
    return islice((seed for seed in count(first) if all(_is(seed, part) for part in parts)), number)


def _is(seed: int, kind: str) -> bool:
    world = world_of(seed, dice(seed, "story"))
    if kind in SCENES:
        return SCENES[kind](world)
    weather = Weather(dice(seed, "weather"), Time(), clear_s=LASTS_S[1], more=world.faults)
    return kind in [fault.name for fault in weather.drawn]
