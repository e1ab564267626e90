"""The faults that a seed draws, alone or in pairs, each after those of the catalogue that it stands for."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from tests.simulation.loop import Time


class Fault(NamedTuple):
    """`odds`: how likely each call or event that it can strike is struck while it lasts."""

    name: str
    ids: tuple[str, ...]
    odds: float
    what: str


FAULTS = (
    Fault("remote-down", ("GT-01",), 1.0, "nothing of the remote answers"),
    Fault("remote-flaky", ("GT-01", "GT-02"), 0.4, "a call to the remote ends in a network error"),
    Fault("remote-refuses", ("GT-07",), 1.0, "a hook refuses every push"),
    Fault("push-raced", ("GT-05",), 0.7, "a colleague pushes just before us"),
    Fault("push-unanswered", ("GT-06",), 0.7, "the push arrives, and its answer does not"),
    Fault("rewritten", ("GT-03",), 1.0, "a person forces the branch back by a commit"),
    Fault("bad-file", ("HR-07", "YM-01"), 1.0, "a commit breaks the file of a pin"),
    Fault("disk-full", ("DB-01", "DB-02", "DB-13"), 0.1, "a write to the database finds no space"),
    Fault("database-locked", ("DB-04",), 0.1, "a write to the database finds it locked"),
    Fault("disk-broken", ("DB-03",), 0.01, "a write to the database fails for good: the daemon ends"),
    Fault("killed", ("CR-01", "CR-03", "CR-05", "CR-09", "CR-10", "CR-15"), 1.0, "kill -9 at any event"),
    Fault(
        "killed-at-failpoint", ("CR-02", "CR-04", "CR-06", "CR-07", "CR-08"), 0.08, "kill -9 between steps"
    ),
    Fault("killed-in-effect", ("CR-03", "CR-04"), 0.2, "kill -9 while the driver works"),
    Fault("killed-at-commit", ("CR-01", "CR-02", "DB-08"), 0.02, "kill -9 before or after a commit"),
    Fault("terminated", ("CR-13",), 1.0, "SIGTERM, and a new start"),
    Fault("stopped", ("CR-14", "GT-21"), 1.0, "SIGSTOP, for longer than a lease, and SIGCONT"),
    Fault("rebooted", ("CR-16",), 1.0, "the whole host goes down: daemon, services and all"),
    Fault("service-dies", ("RT-03",), 1.0, "an instance is killed"),
    Fault("engine-broken", ("OP-04",), 0.3, "a call of the driver fails by trouble of the host"),
    Fault("engine-flaky", ("OP-04",), 0.3, "a call of the driver fails by trouble that passes"),
    Fault("engine-lies-done", ("RT-10",), 0.5, "apply says that it worked, and nothing changed"),
    Fault("engine-lies-failed", ("RT-10",), 0.5, "apply did its work, and says that it failed"),
    Fault("engine-slow", ("CR-03", "RT-01"), 0.3, "a call of the driver takes half a minute"),
    Fault("engine-blind", ("RT-01",), 0.5, "what runs cannot be observed"),
    Fault("artifacts-lost", ("RT-07",), 1.0, "what was kept to bring old versions back is gone"),
    Fault("probes-blind", ("RT-06",), 1.0, "no check can be made: nobody knows"),
    Fault("probes-flap", ("RT-02",), 0.5, "every second answer is a failure"),
    Fault("checker-broken", ("RT-06",), 1.0, "every check of every service fails"),
    Fault("slack-down", ("NT-01",), 0.5, "the messenger takes half of what it is told"),
)
OF_DATA = (
    Fault("command-hangs", (), 0.5, "a command on a service's data does not end within its time"),
    Fault("command-killed", (), 0.5, "a command on a service's data is killed, its work done or not"),
    Fault("command-refused", ("OP-04",), 0.5, "a command on a service's data cannot be started"),
    Fault("killed-in-command", ("CR-03",), 0.5, "kill -9 while a command works on a service's data"),
    Fault("check-blind", (), 0.7, "the check of a migration cannot say whether it is applied"),
    Fault("backup-rots", ("DB-11",), 1.0, "a backup changes after it was verified"),
)
"""Drawn where there are data."""
OF_TRUST = (Fault("signers-lost", ("HR-08",), 1.0, "nobody can say whose signatures count"),)
"""Drawn where commits are signed."""
OF_FORGE = (
    Fault("forge-down", ("NT-01",), 1.0, "nothing of the forge answers"),
    Fault("forge-flaky", ("NT-01",), 0.4, "a call to the forge ends in a network error"),
    Fault(
        "forge-unanswered", ("GT-06",), 0.6, "the forge does as it is told, and its answer does not arrive"
    ),
    Fault("forge-limited", (), 0.5, "the forge asks to wait"),
    Fault("forge-denies", (), 0.7, "the forge refuses the token"),
    Fault("forge-slow", (), 0.5, "a call to the forge takes a quarter of a minute"),
)
"""Drawn where reverts or promotions are proposed."""
PUSHES = "remote-down", "remote-flaky", "remote-refuses", "push-raced", "push-unanswered"
OF_PUSHES = tuple(fault for fault in FAULTS if fault.name in PUSHES)
"""Drawn the more often where the daemon itself moves pins."""
BY_NAME = {fault.name: fault for fault in (*FAULTS, *OF_DATA, *OF_TRUST, *OF_FORGE)}
LASTS_S = (3.0, 25.0)


class Weather:
    """Which faults a seed has drawn, and when each of them strikes. After `clear_s`, none does."""

    def __init__(self, random: Random, time: Time, *, clear_s: float, more: tuple[Fault, ...] = ()) -> None:
        self._random, self._time = random, time
        count = random.choices((0, 1, 2), (1, 4, 5))[0]
        rest = tuple(random.sample((*FAULTS, *more), count))
        if rest and more and random.random() < 0.5:
            rest = (random.choice(more), *rest[1:])
        self.drawn = tuple(dict.fromkeys(rest))
        self._spells: dict[str, tuple[float, float]] = {}
        for fault in self.drawn:
            start = random.uniform(1.0, clear_s - LASTS_S[0])
            self._spells[fault.name] = start, min(clear_s, start + random.uniform(*LASTS_S))
        self.struck: set[str] = set()

    @property
    def now_s(self) -> float:
        return self._time.now_s

    def strikes(self, name: str) -> bool:
        """Whether this fault strikes here and now."""
        spell = self._spells.get(name)
        if spell is None or not spell[0] <= self._time.now_s < spell[1]:
            return False
        if self._random.random() >= BY_NAME[name].odds:
            return False
        self.struck.add(name)
        return True

    def lasts(self, name: str) -> bool:
        """Whether this fault's time is now, whatever it strikes."""
        spell = self._spells.get(name)
        return spell is not None and spell[0] <= self._time.now_s < spell[1]

    def spare(self, *names: str) -> None:
        """These do not strike at all."""
        for name in names:
            self._spells.pop(name, None)

    def moments(self, name: str) -> list[float]:
        """For what happens at instants of its own: some within its time."""
        if name not in self._spells:
            return []
        start, end = self._spells[name]
        return sorted(self._random.uniform(start, end) for _ in range(self._random.randint(1, 3)))
