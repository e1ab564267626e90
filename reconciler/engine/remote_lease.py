"""Holding the environments: a loop that renews their leases in the remote."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

import msgspec
from msgspec.structs import replace

from reconciler.clock import Clock
from reconciler.engine.lease import ANSWER_S, Leases
from reconciler.model import lease as rules
from reconciler.model.codec import decode, encode
from reconciler.model.errors import HostError, TransientError, UgsError
from reconciler.model.lease import NOBODY, Claim, Holder, Lease, Standing
from reconciler.model.notice import Notice, Severity
from reconciler.model.register import ABSENT, Late, Move, Refused, Register
from reconciler.model.window import Opening
from reconciler.store import Store

log = logging.getLogger("ugs")
LOOKS_MAX = 2
"""In one round: who came too late looks again at once, to see whose it is now."""
LAST = "lease last: "
"""By environment or share: the last epoch under which it was held."""
BEHIND, EPOCH = "lease behind: ", "epoch "
"""By environment: that others have had it since this epoch, and what they did was not read yet."""
SHARED = "lease of others: "
"""By environment: another daemon that was seen to have it."""
UNSEEN = 1000
"""Where the ref is gone, so many epochs are left to others that knew more of them: what comes has to be later."""


class RemoteLeases(Leases):
    """Leases as references on the remote. Used from the event loop's thread; what is read is read from any."""

    def __init__(self, register: Register, me: Holder, store: Store, clock: Clock) -> None:
        self._register = register
        self._me = me
        self._refs = "lease/", f"share/{me.host}/"
        self._store = store
        self._clock = clock
        self._leases: dict[str, Lease] = {}
        self._trouble: dict[str, UgsError] = {}
        self._asked_s: dict[str, float] = {}
        """When the last round began that has ended, in monotonic seconds."""
        self._told: dict[str, tuple[Standing, str]] = {}
        self._rounding: asyncio.Future[None] | None = None
        self._wanted = asyncio.Event()
        self._ended = asyncio.Event()
        """Set, and replaced, at the end of every round."""
        self._last = {key.removeprefix(LAST): int(epoch) for key, epoch in store.marks(LAST).items()}
        now_s = clock.monotonic()
        behind = {key.removeprefix(BEHIND): said for key, said in store.marks(BEHIND).items()}
        self._behind_s = dict.fromkeys(behind, now_s)
        self._behind_to = {name: int(said.removeprefix(EPOCH)) for name, said in behind.items()}
        """The last epoch of which is known what was done."""

    def standing(self, environment: str) -> Standing:
        found = self._by_the_remote(environment)
        return "unsure" if found == "held" and environment in self._behind_s else found

    def _by_the_remote(self, environment: str) -> Standing:
        return rules.standing(self._lease(environment), self._me, now_s=self._clock.monotonic())

    def behind_s(self, environment: str) -> float | None:
        return self._behind_s.get(environment) if self._by_the_remote(environment) == "held" else None

    def lent(self) -> Collection[str]:
        return self._behind_s.keys()

    def others_had(self, environment: str) -> bool:
        if environment in self._behind_s:
            return True
        seen, last = self._lease(environment).seen, self._last.get(environment, 0)
        if seen is None or environment != rules.environment_of(environment):
            return False
        # A claim of ours of which nobody told us that it arrived comes after theirs, too.
        return seen.claim.epoch > last + (seen.claim.holder == self._me.holder)

    def is_shared(self, environment: str) -> bool:
        return environment in self._store.marked(SHARED)

    def caught_up(self, environment: str) -> None:
        self._store.mark(f"{BEHIND}{environment}", None)
        self._behind_s.pop(environment, None)
        self._behind_to.pop(environment, None)
        self._wanted.set()  # a round is what tells it

    def epoch(self, environment: str) -> int:
        return self._lease(environment).epoch

    def last(self, environment: str) -> int:
        return self._last.get(environment, 0)

    def known_to(self, environment: str) -> int | None:
        return self._behind_to.get(environment, self.last(environment))

    def opening(self, environment: str) -> Opening:
        if self.behind_s(environment) is not None:
            return rules.behind(environment)
        seen, trouble = self._lease(environment).seen, self._trouble.get(environment)
        claim = seen.claim if seen else None
        return rules.opening(
            environment, self.standing(environment), claim, trouble.message if trouble else ""
        )

    def refusals(self) -> list[str]:
        return [
            f"{name}: nothing starts: {error}"
            for name, error in sorted(self._trouble.items())
            if isinstance(error, Refused)
        ]

    async def settled(self, environment: str) -> None:
        end_s = self._clock.monotonic() + ANSWER_S
        while self._by_the_remote(environment) == "unsure" and self._asked_s.get(
            environment, -1.0
        ) < rules.doubted_s(self._lease(environment)):
            if (left_s := end_s - self._clock.monotonic()) <= 0:
                return
            self._wanted.set()
            await self._clock.wait(self._ended, left_s)

    async def keep(self, environments: Callable[[], Collection[str]], changed: Callable[[str], None]) -> None:
        while True:
            self._wanted.clear()
            names = sorted(environments())
            # Shielded, so that a push under way is heard out before anything is given back.
            self._rounding = asyncio.ensure_future(self._round(names))
            await asyncio.shield(self._rounding)
            for name in names:
                if self._tell(name):
                    changed(name)
            ended, self._ended = self._ended, asyncio.Event()
            ended.set()
            await self._clock.wait(self._wanted, self._pause_s(names))

    def _pause_s(self, names: Collection[str]) -> float:
        """How long until the next round: a third of the lease at most, and what may pass is tried again sooner."""
        now_s, usual_s = self._clock.monotonic(), self._me.lasts_s / rules.RENEWALS
        if any(isinstance(error, TransientError) for error in self._trouble.values()):
            return usual_s / rules.RENEWALS
        due_s = (
            rules.next_s(self._lease(name), self._me, now_s=now_s) - now_s
            for name in names
            if name not in self._trouble
        )
        return max(0.0, min((usual_s, *due_s)))

    async def give_back(self) -> None:
        if self._rounding:
            await self._rounding
        moves = {
            rules.ref_of(name): _move(name, lease.grip.value, rules.given_back(lease.grip))
            for name, lease in self._leases.items()
            if lease.grip
        }
        self._leases.clear()
        if moves:
            try:
                await asyncio.to_thread(self._register.swap, moves, at=self._clock.now())
            except UgsError as error:
                log.warning("the leases could not be given back, and end by themselves: %s", error)

    async def _round(self, names: Collection[str]) -> None:
        """Look where nothing is held, and push every claim that is due, together. Trouble is kept, not raised."""
        began_s, trouble = self._clock.monotonic(), dict[str, UgsError]()
        try:
            for _ in range(LOOKS_MAX):
                if blind := [name for name in names if self._lease(name).grip is None]:
                    trouble = await self._look(blind)  # what is held is renewed even if this fails
                late, refused = await self._claim([name for name in names if name not in trouble])
                trouble |= refused
                if not late:
                    break
        except UgsError as error:
            trouble = dict.fromkeys(names, error)
        self._trouble = trouble
        self._asked_s.update(dict.fromkeys(names, began_s))

    async def _look(self, names: Collection[str]) -> dict[str, UgsError]:
        trouble = dict[str, UgsError]()
        try:
            found = await asyncio.to_thread(self._register.read, *self._refs)
        except UgsError as error:
            return dict.fromkeys(names, error)
        now_s = self._clock.monotonic()  # after the answer: what was found was so by then
        for name in names:
            value, text = found.get(rules.ref_of(name), (ABSENT, ""))
            try:
                claim = decode(text, Claim) if value else self._gone(name)
            except msgspec.MsgspecError:
                what = f"what {self._register.where(rules.ref_of(name))} says is no lease"
                trouble[name] = HostError(what, "see who put it there, and delete it")
            else:
                if claim.holder not in ("", self._me.holder) and not self.is_shared(name):
                    self._store.mark(f"{SHARED}{name}", claim.holder)
                self._leases[name] = rules.looked(self._lease(name), value, claim, now_s=now_s)
        return trouble

    def _gone(self, name: str) -> Claim:
        """What is said by a ref that does not exist: where there was one, as before the remote was moved elsewhere,
        that others may have had it since, under epochs that nobody counts any more."""
        last = self._last.get(name, 0)
        return replace(NOBODY, epoch=last + UNSEEN) if last else NOBODY

    async def _claim(self, names: Collection[str]) -> tuple[list[str], dict[str, UgsError]]:
        """Push what is due; who came too late, and who was refused."""
        asked_s, claims = self._clock.monotonic(), dict[str, tuple[str, Claim]]()
        for name in names:
            if due := rules.move(self._lease(name), self._me, now_s=asked_s):
                claims[name] = due
        if not claims:
            return [], {}
        named = {rules.ref_of(name): name for name in claims}
        moves = {ref: _move(name, *claims[name]) for ref, name in named.items()}
        try:
            answers = await asyncio.to_thread(self._register.swap, moves, at=self._clock.now())
        except Refused as error:
            await asyncio.to_thread(
                self._register.read, *self._refs
            )  # raises where it is the remote that is gone
            return [], {name: self._refusal(name, error) for name in claims}
        late, refused = list[str](), dict[str, UgsError]()
        for ref, answer in answers.items():
            name = named[ref]
            match answer:
                case str():
                    self._follow(name, claims[name][1].epoch)
                    self._leases[name] = rules.won(answer, claims[name][1], asked_s=asked_s)
                case Late():
                    self._leases[name] = rules.lost(self._lease(name))
                    late.append(name)
                case Refused():
                    refused[name] = self._refusal(name, answer)
        return late, refused

    def _follow(self, name: str, epoch: int) -> None:
        """It is about to be ours under this epoch. Where others have had it since it last was, that stands first."""
        last = self._last.get(name, 0)
        if epoch == last:
            return
        missed = epoch > last + 1 and name == rules.environment_of(name)
        known_to = self._behind_to.get(name, last)  # of what was held since, the past was not read either
        with self._store.transaction():
            self._store.mark(f"{LAST}{name}", str(epoch))
            if missed:
                self._store.mark(f"{BEHIND}{name}", f"{EPOCH}{known_to}")
        self._last[name] = epoch
        if missed:
            self._behind_s[name] = self._clock.monotonic()
            self._behind_to[name] = known_to

    def _refusal(self, environment: str, error: Refused) -> Refused:
        allow = self._register.allow(rules.ref_of(environment))
        return Refused(error.message, f"{allow}, or set `lease: off` if no other daemon has {environment}")

    def _lease(self, environment: str) -> Lease:
        return self._leases.get(environment, Lease())

    def _tell(self, name: str) -> bool:
        """Log, audit and, where people would want to know, tell it when whose an environment is has changed."""
        if self.behind_s(name) is not None:
            return True  # to be read by a pass; told once that is done
        standing, epoch, before = self.standing(name), self.epoch(name), self._told.get(name)
        sentence = (
            f"{name} is in our hands (epoch {epoch})" if standing == "held" else self.opening(name).reason
        )
        if before == (standing, sentence):
            return False
        self._told[name] = standing, sentence
        log.log(logging.INFO if standing == "held" else logging.WARNING, "%s", sentence)
        if standing == "held":
            self._store.audit("lease-taken", environment=rules.environment_of(name), detail=f"epoch {epoch}")
        elif standing == "elsewhere" and epoch and before and before[0] != "elsewhere":
            self._store.audit("lease-lost", environment=rules.environment_of(name), detail=sentence)
            self._alert(name, f"{sentence}; nothing more is done here", "warning")
        elif isinstance(error := self._trouble.get(name), Refused):
            self._alert(name, str(error), "person")
        return True

    def _alert(self, name: str, text: str, severity: Severity) -> None:
        self._store.tell(
            Notice(
                environment=rules.environment_of(name),
                service="",
                sentence=text,
                severity=severity,
                at=self._clock.now(),
                title=f"lease of {name}",
            )
        )


def _move(environment: str, expected: str, claim: Claim) -> Move:
    subject = f"{environment} is free" if not claim.lasts_s else rules.whose(environment, claim)
    return Move(expected, subject, encode(claim).decode())
