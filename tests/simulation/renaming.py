"""An environment that gets other names, and what always holds of that: what runs there runs on untouched, and all that
is known of it goes along."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any

from reconciler.model.errors import HostError
from reconciler.model.target import Workload
from reconciler.model.upgrade import Phase, Upgrade
from tests.simulation import fleet, removal
from tests.simulation.database import template
from tests.simulation.remote import BLOBS

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

TIMES = (1, 1, 2, 3)
BESIDE_ODDS, BESIDE_S = 0.25, (0.5, 8.0)
"""How often the new files stand beside the old ones at first, and for how long."""
IN_A_ROW_ODDS, EARLY_ODDS = 0.35, 0.5
"""How often it gets the next name at once, and how often before the last was followed."""
BUMPS_ODDS, FORGETS_ODDS = 0.35, 0.4
"""How often the same commit moves a pin too, and how often the former name goes unsaid once it is followed."""
KILLS_ODDS, HINDERS_ODDS = 0.15, 0.15
SELF = re.compile(r"^environment: .*\n(renamed_from: .*\n)?", re.MULTILINE)
OF_THE_PAST = frozenset({"maintenance_logs"})
"""What stays as it was written."""
STARTED = frozenset({Phase.PREPARING, Phase.APPLYING, Phase.VERIFYING, Phase.RESTORING, Phase.REVERTING})


class Renaming:
    """What happens to the names of one environment in one seed."""

    def __init__(self, simulation: Simulation, random: Random) -> None:
        self._simulation, self._random = simulation, random
        self._fate = Random(random.random())
        """Of what happens in the midst of a rename."""
        self.environment = random.choice(simulation.rules.environments)
        simulation.host.hinder = simulation.world.hinder = self._hinder
        simulation.weather.spare(
            "rewritten"
        )  # a name that was given up is not to be had again without a word

    def moments(self, end_s: float) -> list[tuple[float, Callable[[], None]]]:
        random = self._random
        found: list[tuple[float, Callable[[], None]]] = []
        for _ in range(random.choice(TIMES)):
            at_s = random.uniform(2.0, end_s - BESIDE_S[1] - 1.0)
            if random.random() < BESIDE_ODDS:
                found.append((at_s, lambda: self._rename(beside=True)))
                found.append((at_s + random.uniform(*BESIDE_S), self._remove_the_old))
            else:
                found.append((at_s, self._rename_in_a_row))
            if random.random() < FORGETS_ODDS:
                found.append((random.uniform(at_s, end_s), self._forget_the_line))
        return found

    def kills(self, where: str) -> bool:
        """Whether the daemon is killed here, in the midst of a rename."""
        return (
            where.startswith("at rename:")
            and not self._simulation.world.mended
            and self._fate.random() < KILLS_ODDS
        )

    def _hinder(self, what: str) -> None:
        if not self._simulation.world.mended and self._fate.random() < HINDERS_ODDS:
            self._simulation.note(f"{what} cannot give another name")
            raise HostError(f"{what}: something of that name is there", "move it away")

    # what people do

    def _rename_in_a_row(self) -> None:
        self._rename()
        while self._random.random() < IN_A_ROW_ODDS:
            self._rename(early=True)

    def _rename(self, *, beside: bool = False, early: bool = False) -> None:
        """Give the environment another name; mostly once the last was followed, or `early`."""
        simulation, random = self._simulation, self._random
        tree = simulation.remote.made[simulation.remote.tip].tree
        old = fleet.name_in(tree, self.environment)
        files = {path: BLOBS[tree[path]] for path in fleet.files_named(tree, old)}
        others = [name for name in fleet.NAMES[self.environment] if name != old]
        new = random.choice(others)
        if (
            any(fleet.main_of(tree, name) for name in others)
            or not (early or simulation.called(self.environment) == old or random.random() < EARLY_ODDS)
            or any(fleet.BROKEN in data for data in files.values())
        ):
            return
        beside &= fleet.former_in(tree, old) != new  # else nothing but the past tells which of them it is
        changes: dict[str, bytes | None] = {} if beside else dict.fromkeys(files)
        for path, data in files.items():
            changes[path.replace(f"environments/{old}", f"environments/{new}", 1)] = data
        said = f"environment: {new}\nrenamed_from: {old}\n"
        main = next(path for path in changes if path == fleet.main_of(dict.fromkeys(changes, ""), new))
        changes[main] = SELF.sub(said, (changes[main] or b"").decode(), count=1).encode()
        if not beside:
            changes |= self._after_it(old, new)
            if random.random() < BUMPS_ODDS:
                service = random.choice(fleet.SERVICES)
                path = fleet.path_of(simulation.rules, new, service)
                version = random.choice(fleet.VERSIONS)
                changes[path] = fleet.with_pin(simulation.rules, changes.get(path), service, version)
        simulation.commit(changes, f"Name {old} {new}" + (", beside it" if beside else ""))

    def _after_it(self, old: str, new: str) -> dict[str, bytes | None]:
        """Another environment that takes its versions from this one says its new name."""
        tree = self._simulation.remote.made[self._simulation.remote.tip].tree
        found: dict[str, bytes | None] = {}
        for other in self._simulation.rules.environments:
            path = fleet.main_of(tree, fleet.name_in(tree, other))
            if other != self.environment and path:
                data = BLOBS[tree[path]]
                found[path] = data.replace(f"from: {old},".encode(), f"from: {new},".encode())
        return found

    def _remove_the_old(self) -> None:
        """The old files go, which stood beside the new ones."""
        tree = self._simulation.remote.made[self._simulation.remote.tip].tree
        for new in fleet.NAMES[self.environment]:
            old = fleet.former_in(tree, new)
            if old and fleet.main_of(tree, old):
                gone: dict[str, bytes | None] = dict.fromkeys(fleet.files_named(tree, old))
                self._simulation.commit(gone | self._after_it(old, new), f"Remove {old}, which is {new} now")

    def _forget_the_line(self) -> None:
        simulation = self._simulation
        tree = simulation.remote.made[simulation.remote.tip].tree
        name = fleet.name_in(tree, self.environment)
        path, former = fleet.main_of(tree, name), fleet.former_in(tree, name)
        if path and former and simulation.called(self.environment) == name:
            data = BLOBS[tree[path]].replace(f"renamed_from: {former}\n".encode(), b"")
            simulation.commit({path: data}, f"Forget that {name} was {former}")


# what always holds


def of_the_record(simulation: Simulation, new: str, old: str) -> str:
    """Asked when all that is known of an environment has got another name."""
    facts, first = simulation.facts, fleet.FIRST_NAMES[new]
    commit = facts.in_force[0]
    # Which name it has is said, be it that another of its files never could be read.
    tree = removal.standing(simulation, commit, first) or simulation.remote.made[commit].tree
    said = fleet.former_in(tree, new) == old or _was_called(simulation, commit, new, old)
    if not said or fleet.files_named(tree, old):
        return f"{old} is called {new}, and Git does not say so"
    if (was := facts.called.get(first, first)) != old:
        return f"{old} is called {new}, and was {was}"
    # What a daemon left that was killed is carried on under the new name.
    busy = [
        one.operation
        for one in facts.upgrades.values()
        if one.environment == first
        and one.phase in STARTED
        and facts.moved_in[one.operation] == simulation.lives
    ]
    if busy:
        return f"{old} is called {new}, and under way is {', '.join(busy)}"
    if simulation.host.names.get(new, new) != first or simulation.world.names.get(new, new) != first:
        return f"{old} is called {new}, and the host was not told"
    left = [table for table in _tables() if simulation.disk.all(LEFT.format(table), old)]
    return f"{old} is called {new}, and left behind is: {', '.join(left)}" if left else ""


def _was_called(simulation: Simulation, commit: str, new: str, old: str) -> bool:
    """Whether each commit that gave it another name, from `old` to `new`, said so."""
    name = said = new
    for made in simulation.remote.history(commit, first_parent=True):
        here = fleet.name_in(made.tree, fleet.FIRST_NAMES[new])
        if here not in (name, said):
            return False
        if here == old:
            return True
        name, said = here, fleet.former_in(made.tree, here)
    return False


LEFT = "SELECT 1 FROM {} WHERE environment = ?"


@lru_cache(maxsize=1)
def _tables() -> tuple[str, ...]:
    """Those that remember something of an environment."""
    sql = (
        "SELECT m.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c"
        " WHERE m.type = 'table' AND c.name = 'environment'"
    )
    return tuple(sorted({name for (name,) in template().execute(sql)} - OF_THE_PAST))


# after every move of an upgrade: (simulation, as it was, as it is, the audit rows of the same transaction)


def a_name_alone_moves_nothing_4(
    simulation: Simulation, _before: Upgrade | None, upgrade: Upgrade, _rows: list[Mapping[str, Any]]
) -> str:
    """Who asked for a change is whoever moved the pin, under whichever name the environment had then."""
    if simulation.renaming is None or upgrade.phase is not Phase.APPLYING or upgrade.after is None:
        return ""
    made, where = simulation.remote.made, upgrade.environment
    parents = made[upgrade.revision].commit.parents
    if not parents:
        return ""
    before, after = made[parents[0]].tree, made[upgrade.revision].tree
    renamed = fleet.name_in(before, where) != fleet.name_in(after, where)
    was, now = (fleet.pins_of(tree, where).get(upgrade.service) for tree in (before, after))
    return f"{upgrade.operation} starts what a new name alone asks for" if renamed and was == now else ""


# before every effect on what runs: (simulation, what, operation, what is to run, environment and service)


def what_runs_is_known_by_its_name_4(
    _simulation: Simulation, kind: str, operation: str, _work: Workload | None, key: tuple[str, str]
) -> str:
    """Nothing is done under a name of which the host has not heard."""
    return (
        "" if key[0] in fleet.NAMES else f"{kind} by {operation} in {key[0]}, of which the host knows nothing"
    )


# in the end


def unfollowed(simulation: Simulation, environment: str) -> list[str]:
    """Whether the name that Git says is not the one that it goes by."""
    name = fleet.name_in(simulation.remote.made[simulation.remote.tip].tree, environment)
    called = simulation.called(environment)
    return [] if name == called else [f"{environment} is {name} by now, and goes on as {called}"]
