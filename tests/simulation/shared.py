"""The remote and its leases as each of two whole daemons reaches them."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model.codec import decode
from reconciler.model.lease import Claim, Holder, ref_of
from reconciler.model.register import Late, Move, Refused
from tests.simulation.faults import Weather
from tests.simulation.rival import ANSWER_MAX_S, Register


class Link(Weather):
    """The weather as one daemon has it: its way to the remote may be cut."""

    def __init__(self, weather: Weather) -> None:
        self._weather, self.cut_until_s = weather, 0.0

    @property
    def now_s(self) -> float:
        return self._weather.now_s

    def strikes(self, name: str) -> bool:
        cut = name == "remote-down" and self.now_s < self.cut_until_s
        return cut or self._weather.strikes(name)

    def lasts(self, name: str) -> bool:
        return self._weather.lasts(name)


class SharedRegister(Register):
    """The leases as one of two daemons reaches them. `hands`: by reference, the last claim, and since when its holder
    has had it without a break."""

    def __init__(
        self,
        link: Link,
        me: Holder,
        refs: dict[str, tuple[str, str]],
        hands: dict[str, tuple[Claim, float]],
    ) -> None:
        super().__init__(link, me)
        self.refs, self.hands = refs, hands
        self.refused_s: dict[str, float] = {}
        """By reference: until when the remote takes no claim of this daemon's."""

    def allow(self, name: str) -> str:
        return f"let the daemon push {name}"

    def _swap(self, name: str, move: Move) -> str | Late | Refused:
        stands = self.refs.get(name, ("", ""))[0] == move.expected  # else git itself sends nothing
        if stands and self._weather.now_s < self.refused_s.get(name, 0.0):
            return Refused("a hook refuses it", "let the daemon push")
        done = super()._swap(name, move)
        if isinstance(done, str):
            claim, (before, since_s) = decode(move.body, Claim), self.hands.get(name, (None, 0.0))
            same = before and (before.holder, before.epoch) == (claim.holder, claim.epoch)
            self.hands[name] = claim, since_s if same else self._weather.now_s
        return done


class Others:
    """What a rival is to the invariants: whether the other of two whole daemons has an environment."""

    def __init__(
        self, me: Holder, register: SharedRegister, hands: Mapping[str, tuple[Claim, float]]
    ) -> None:
        self._me, self._register, self._hands = me, register, hands

    def look(self, _environments: tuple[str, ...], *, waits: bool) -> list[str]:
        return []

    def has(self, environment: str, since_s: float) -> bool:
        claim, taken_s = self._hands.get(ref_of(environment), (None, 0.0))
        return (
            claim is not None
            and bool(claim.lasts_s)
            and claim.holder != self._me.holder
            and taken_s < since_s
        )

    def known(self, environment: str, by_s: float) -> bool:
        """Whether this daemon had heard by then whose it is."""
        value, _ = self._register.refs[ref_of(environment)]
        return self._register.told_s.get(value, by_s) < by_s - ANSWER_MAX_S
