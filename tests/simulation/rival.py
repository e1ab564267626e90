"""The leases on the remote, and another daemon that takes them over when ours says nothing for too long."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from random import Random

import msgspec

from reconciler.model.codec import decode, encode
from reconciler.model.errors import TransientError
from reconciler.model.lease import Claim, Holder, ref_of
from reconciler.model.register import Late, Move, Refused
from tests.simulation.faults import Weather

LASTS_S = 4.0
PATIENCE = 1.25
OURS = Holder("0123456789ab", "ours", LASTS_S)
ANSWER_MAX_S = 0.1
"""So long an answer may be on its way."""
THEIRS = "ba9876543210"


class References:
    """References on the remote, moved by compare-and-swap."""

    def __init__(self, weather: Weather) -> None:
        self._weather = weather
        self.refs: dict[str, tuple[str, str]] = {}
        """By name: the value, and what it says."""

    def _swap(self, name: str, move: Move) -> str | Late | Refused:
        if self.refs.get(name, ("", ""))[0] != move.expected:
            return Late("the reference has moved")
        value = hashlib.sha1(f"{name} {move.expected} {move.body}".encode()).hexdigest()
        self.refs[name] = value, move.body
        return value

    def _found(self, beginnings: tuple[str, ...]) -> dict[str, tuple[str, str]]:
        return {name: ref for name, ref in self.refs.items() if name.startswith(beginnings)}

    def _reach(self, what: str) -> None:
        if self._weather.strikes("remote-down") or self._weather.strikes("remote-flaky"):
            raise TransientError(f"{what}: the remote does not answer", "it is tried again")

    def _answer(self, what: str) -> None:
        if self._weather.strikes("push-unanswered"):
            raise TransientError(f"push of {what}: the connection was closed", "it is tried again")


class Register(References):
    """What reconciler.git.Register is to the leases. It outlives daemons."""

    def __init__(self, weather: Weather, me: Holder = OURS) -> None:
        super().__init__(weather)
        self._me = me
        self._lent: set[str] = set()
        """What others have had since our daemon last had it, and it has not heard yet that it has it again."""
        self.unread_s: dict[str, float] = {}
        """By name of what others have had: since when our daemon knows that it has it again, until it has read what
        they did."""
        self.told_s: dict[str, float] = {}
        """By value: when our daemon first asked, and was answered that."""

    def read(self, *beginnings: str) -> dict[str, tuple[str, str]]:
        self._reach("fetch of the leases")
        found = self._found(beginnings)
        for value, _ in found.values():
            self.told_s.setdefault(value, self._weather.now_s)
        return found

    def swap(self, moves: Mapping[str, Move], *, at: datetime) -> dict[str, str | Late | Refused]:
        self._reach("push of the leases")
        before = {name: self.refs.get(name, ("", ""))[1] for name in moves}
        answers = {name: self._swap(name, move) for name, move in moves.items()}
        won = {name for name, answer in answers.items() if isinstance(answer, str)}
        self._lent |= {name for name in won if before[name] and self._is_anothers(before[name])}
        self._answer("the leases")
        for name in won & self._lent:
            self.unread_s.setdefault(name, self._weather.now_s)
            self._lent.remove(name)
        return answers

    def _is_anothers(self, said: str) -> bool:
        return decode(said, Claim).holder != self._me.holder

    def is_unread(self, environment: str, at_s: float) -> bool:
        """Whether our daemon had it by then, and knew neither what others had done to it."""
        return self.unread_s.get(ref_of(environment), at_s) < at_s - ANSWER_MAX_S

    def read_past(self, environment: str) -> None:
        """Our daemon has read what others did."""
        self.unread_s.pop(ref_of(environment), None)


class Rival:
    """By the rule that everyone keeps: it leaves a lease alone until it has not seen it move for long enough."""

    def __init__(self, random: Random, register: Register, weather: Weather) -> None:
        self._random, self._register, self._weather = random, register, weather
        self._seen: dict[str, tuple[str, float]] = {}
        """By name: the value, and since when it has stood there."""
        self.held_s: dict[str, float] = {}
        """By environment: since when it is the rival's."""
        self._until_s: dict[str, float] = {}

    def look(self, environments: tuple[str, ...], *, waits: bool) -> list[str]:
        """What it takes and gives back at this instant. `waits`: whether it wants any."""
        now_s, moved = self._weather.now_s, []
        for environment in environments:
            name = ref_of(environment)
            value, said = self._register.refs.get(name, ("", ""))
            claim = decode(said, Claim) if said else Claim("", "", 0, 0, 0.0)
            if environment in self.held_s:
                if now_s >= self._until_s[environment]:
                    given = msgspec.structs.replace(claim, beat=claim.beat + 1, lasts_s=0.0)
                    self._put(name, value, given)
                    del self.held_s[environment]
                    moved.append(f"gives {environment} back")
                continue
            if self._seen.get(name, ("", 0.0))[0] != value or name not in self._seen:
                self._seen[name] = value, now_s
            if waits and now_s - self._seen[name][1] >= claim.lasts_s * PATIENCE and value:
                self._put(name, value, Claim(THEIRS, "theirs", claim.epoch + 1, 0, 60.0))
                self.held_s[environment] = now_s
                self._until_s[environment] = now_s + self._random.uniform(1.0, 8.0)
                moved.append(f"takes {environment} over")
        return moved

    def has(self, environment: str, since_s: float) -> bool:
        """Whether it was the rival's already at that instant, and is so still."""
        return environment in self.held_s and self.held_s[environment] < since_s

    def known(self, environment: str, by_s: float) -> bool:
        """Whether our daemon had heard by then whose it is now."""
        value, _ = self._register.refs[ref_of(environment)]
        return self._register.told_s.get(value, by_s) < by_s - ANSWER_MAX_S

    def _put(self, name: str, expected: str, claim: Claim) -> None:
        self._register._swap(name, Move(expected, "", encode(claim).decode()))
