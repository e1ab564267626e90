"""Whose an environment is: taken when free, kept by renewing, taken over after silence, never two at once."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, ValidationError
from msgspec.structs import replace

from reconciler.model import lease as rules
from reconciler.model.codec import decode, encode
from reconciler.model.lease import NOBODY, PATIENCE, Claim, Holder, Lease

LASTS_S = 90.0
ADA, BOB = Holder("ada", "web-1", LASTS_S), Holder("b0b", "web-2", LASTS_S)


def taken(by: Holder = ADA, *, epoch: int = 1, asked_s: float = 0.0, value: str = "v1") -> Lease:
    return rules.won(value, Claim(by.holder, by.host, epoch, 0, by.lasts_s), asked_s=asked_s)


def seen(claim: Claim, *, at_s: float = 0.0, value: str = "v1") -> Lease:
    return rules.looked(Lease(), value, claim, now_s=at_s)


BOBS = Claim(BOB.holder, BOB.host, 7, 3, LASTS_S)


def test_nothing_is_claimed_before_anyone_has_looked() -> None:
    assert rules.move(Lease(), ADA, now_s=1e9) is None
    assert rules.standing(Lease(), ADA, now_s=0) == "unsure"


def test_what_nobody_has_is_taken_at_once_in_the_first_epoch() -> None:
    assert rules.move(seen(NOBODY, value=""), ADA, now_s=0) == (
        "",
        Claim(ADA.holder, ADA.host, 1, 0, LASTS_S),
    )


def test_it_is_renewed_after_a_third_and_counts_from_when_that_was_asked_for() -> None:
    lease = taken(asked_s=100)
    assert rules.move(lease, ADA, now_s=129.9) is None
    assert rules.next_s(lease, ADA, now_s=100) == pytest.approx(130)
    moved = rules.move(lease, ADA, now_s=130)
    assert moved == ("v1", Claim(ADA.holder, ADA.host, 1, 1, LASTS_S))
    assert rules.standing(lease, ADA, now_s=189.9) == "held"
    assert rules.standing(lease, ADA, now_s=190) == "unsure"
    assert rules.doubted_s(lease) == 190


def test_one_that_has_ended_goes_on_in_the_same_epoch_when_nobody_took_it() -> None:
    moved = rules.move(taken(), ADA, now_s=5000)
    assert moved
    assert (moved[0], moved[1].epoch) == ("v1", 1)


def test_anothers_is_left_alone_until_it_was_seen_unmoved_for_longer_than_it_lasts() -> None:
    lease = seen(BOBS, at_s=10)
    assert rules.standing(lease, ADA, now_s=1e6) == "elsewhere"
    free_s = 10 + LASTS_S * PATIENCE
    assert rules.move(lease, ADA, now_s=free_s - 0.1) is None
    assert rules.next_s(lease, ADA, now_s=free_s - 1) == free_s
    assert rules.move(lease, ADA, now_s=free_s) == ("v1", Claim(ADA.holder, ADA.host, 8, 0, LASTS_S))


def test_every_renewal_that_is_seen_starts_the_wait_anew() -> None:
    lease = rules.looked(seen(BOBS, at_s=10), "v2", replace(BOBS, beat=4), now_s=100)
    assert rules.move(lease, ADA, now_s=10 + LASTS_S * PATIENCE) is None
    assert rules.looked(lease, "v2", replace(BOBS, beat=4), now_s=200) == lease


def test_it_is_the_holders_own_duration_that_others_wait_for() -> None:
    lease = seen(replace(BOBS, lasts_s=600.0))
    assert rules.move(lease, ADA, now_s=600) is None
    assert rules.move(lease, ADA, now_s=600 * PATIENCE) is not None


def test_what_was_given_back_is_taken_at_once_in_the_next_epoch() -> None:
    grip = taken(BOB, epoch=7).grip
    assert grip
    back = rules.given_back(grip)
    assert (back.epoch, back.lasts_s) == (7, 0)
    assert rules.standing(seen(back), ADA, now_s=0) == "unsure"
    moved = rules.move(seen(back), ADA, now_s=0)
    assert moved
    assert moved[1].epoch == 8


def test_a_predecessor_on_the_same_state_is_followed_at_once_in_a_new_epoch() -> None:
    lease = seen(Claim(ADA.holder, ADA.host, 4, 9, LASTS_S))
    assert rules.standing(lease, ADA, now_s=0) == "unsure"
    assert rules.move(lease, ADA, now_s=0) == ("v1", Claim(ADA.holder, ADA.host, 5, 0, LASTS_S))


def test_a_renewal_whose_answer_was_lost_is_found_and_nothing_has_changed_hands() -> None:
    arrived = Claim(ADA.holder, ADA.host, 1, 1, LASTS_S)
    lease = rules.looked(rules.lost(taken()), "v2", arrived, now_s=50)
    assert rules.move(lease, ADA, now_s=50) == ("v2", replace(arrived, beat=2))


def test_whoever_else_goes_by_our_name_is_somebody_else() -> None:
    twin = Claim(ADA.holder, ADA.host, 2, 0, LASTS_S)
    lease = rules.looked(rules.lost(taken()), "v2", twin, now_s=50)
    assert rules.standing(lease, ADA, now_s=50) == "elsewhere"
    assert rules.move(lease, ADA, now_s=50 + LASTS_S) is None


def test_the_gate_says_whose_it_is_or_what_is_in_the_way() -> None:
    assert rules.opening("production", "held", None, "").open
    elsewhere = rules.opening("production", "elsewhere", BOBS, "")
    assert elsewhere.reason == "production is in the hands of daemon b0b on web-2 (epoch 7)"
    assert rules.opening("production", "unsure", None, "").reason == "the lease of production is not held yet"
    told = rules.opening("production", "unsure", None, "no route").reason
    assert told == "the lease of production is not held: no route"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"holder":"b0b","host":"web\\n2","epoch":1,"beat":0,"lasts_s":90}',
        '{"holder":"b0b","host":"web-2\\n","epoch":1,"beat":0,"lasts_s":90}',
        '{"holder":"B0B","host":"web-2","epoch":1,"beat":0,"lasts_s":90}',
        '{"holder":"b0b","host":"web-2","epoch":-1,"beat":0,"lasts_s":90}',
        '{"holder":"b0b","host":"web-2","epoch":1,"beat":0,"lasts_s":1e9}',
    ],
)
def test_what_a_stranger_writes_into_the_ref_is_no_claim(text: str) -> None:
    with pytest.raises((ValidationError, ValueError)):
        decode(text, Claim)


def test_a_claim_is_read_as_it_was_written_and_later_keys_are_let_pass() -> None:
    text = encode(BOBS).decode()
    assert decode(text, Claim) == BOBS
    assert decode(text.replace("{", '{"share":1,', 1), Claim) == BOBS


# Several daemons, one register, arbitrary delays


class Ref:
    """The remote's reference: it moves by compare-and-swap alone."""

    def __init__(self) -> None:
        self.value, self.claim, self.history = "", NOBODY, [NOBODY]

    def swap(self, expected: str, claim: Claim) -> bool:
        if expected != self.value:
            return False
        self.value, self.claim = f"v{len(self.history)}", claim
        self.history.append(claim)
        return True


class Push(Struct):
    asked_s: float
    expected: str
    claim: Claim
    value: str | None = None
    landed: bool = False


class Look(Struct):
    found: tuple[str, Claim] | None = None


class Daemon:
    """One that begins a call, has it arrive, and hears the answer, each of them whenever it pleases."""

    def __init__(self, name: str, rate: float) -> None:
        self.me = Holder(name, "host", LASTS_S)
        self.rate = rate
        self.lease = Lease()
        self.call: Push | Look | None = None

    def held(self, now_s: float) -> bool:
        return rules.standing(self.lease, self.me, now_s=now_s * self.rate) == "held"

    def begin(self, now_s: float) -> None:
        due = rules.move(self.lease, self.me, now_s=now_s * self.rate)
        if due:
            self.call = Push(now_s * self.rate, *due)
        elif self.lease.grip is None:
            self.call = Look()

    def arrive(self, ref: Ref) -> None:
        match self.call:
            case Push(landed=False) as push:
                push.landed = True
                push.value = ref.value if ref.swap(push.expected, push.claim) else None
            case Look(found=None) as look:
                look.found = ref.value, ref.claim

    def hear(self, now_s: float) -> None:
        match self.call:
            case Push(landed=True) as push:
                won = rules.won(push.value, push.claim, asked_s=push.asked_s) if push.value else None
                self.lease = won or rules.lost(self.lease)
            case Look(found=(value, claim)):
                self.lease = rules.looked(self.lease, value, claim, now_s=now_s * self.rate)
            case _:
                return
        self.call = None

    def round(self, ref: Ref, now_s: float) -> None:
        self.begin(now_s)
        self.arrive(ref)
        self.hear(now_s)

    def restart(self) -> None:
        self.lease, self.call = Lease(), None


PAUSES_S = (0.0, 0.1, 5.0, 20.0, 35.0, 80.0, 120.0)
EVENTS = 300


@given(st.integers(0, 2**32))
def test_there_are_never_two_holders_and_epochs_only_grow(seed: int) -> None:
    chance = Random(seed)
    ref, now_s = Ref(), 1.0
    daemons = [Daemon(f"{index:x}", chance.uniform(0.9, 1.1)) for index in range(3)]
    for _ in range(EVENTS):
        now_s += chance.choice(PAUSES_S)
        daemon = chance.choice(daemons)
        match chance.choice(["begin", "arrive", "hear", "unanswered", "restart", "round", "round", "round"]):
            case "begin" if daemon.call is None:
                daemon.begin(now_s)
            case "arrive":
                daemon.arrive(ref)
            case "hear":
                daemon.hear(now_s)
            case "unanswered":
                daemon.call = None
            case "restart":
                daemon.restart()
            case "round" if daemon.call is None:
                daemon.round(ref, now_s)
        assert sum(each.held(now_s) for each in daemons) <= 1
    for before, after in pairwise(ref.history):
        assert after.epoch == before.epoch + (after.holder != before.holder or after.beat == 0)


@given(st.integers(0, 2**32))
def test_whoever_goes_on_alone_holds_it_in_the_end(seed: int) -> None:
    chance = Random(seed)
    ref, now_s = Ref(), 1.0
    daemons = [Daemon(f"{index:x}", 1.0) for index in range(3)]
    for _ in range(chance.randrange(40)):
        now_s += chance.choice(PAUSES_S)
        chance.choice(daemons).round(ref, now_s)
    last = chance.choice(daemons)
    for _ in range(8):
        now_s += LASTS_S / 3
        last.round(ref, now_s)
    assert last.held(now_s)
