"""Who may act on an environment: a lease in the remote, judged by each daemon's own clock alone.

Instants are seconds on the monotonic clock of whoever judges; no two daemons ever compare theirs.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from reconciler.model.window import Opening

LASTS_MAX_S = 3600.0
RENEWALS = 3
"""How often a lease is renewed in the time that it lasts: two renewals may fail before it ends."""
PATIENCE = 1.25
"""How much longer than it lasts others leave a lease alone: for clocks that run unevenly, and for an effect that
was begun with the last breath."""

OPEN = Opening(True, "", None, "")

Standing = Literal["held", "elsewhere", "unsure"]
"""Ours for certain; known to be another daemon's; or neither, as when the remote does not answer."""


def share_of(environment: str, host: str) -> str:
    """Under which name one host's share of an environment is held: no environment is called so."""
    return f"{environment}@{host}"


def environment_of(name: str) -> str:
    """Whose lease it is, or a share of whose."""
    return name.partition("@")[0]


def ref_of(name: str) -> str:
    """The reference of a lease. Shares are under their host's name, so that it reads its own and no others'."""
    environment, _, host = name.partition("@")
    return f"share/{host}/{environment}" if host else f"lease/{environment}"


class Claim(Struct, frozen=True):
    """What the ref says. Whoever may push can write one, so every part has a narrow form.

    `epoch` grows by one whenever the lease changes hands, `beat` with every renewal. `lasts_s`: how long
    everybody else must have seen this very claim before they take over; 0 when it was given back.
    """

    holder: Annotated[str, Meta(pattern=r"\A[0-9a-f]{0,40}\Z")]
    host: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{0,253}\Z")]
    epoch: Annotated[int, Meta(ge=0, le=2**53)]
    beat: Annotated[int, Meta(ge=0, le=2**53)]
    lasts_s: Annotated[float, Meta(ge=0, le=LASTS_MAX_S)]


NOBODY = Claim("", "", 0, 0, 0.0)
"""What a ref that does not exist says."""


class Seen(Struct, frozen=True):
    """The ref as it was last found: its value, what it says, and since when it was seen not to move."""

    value: str
    claim: Claim
    since_s: float


class Grip(Struct, frozen=True):
    """A claim of ours that the remote has accepted, and until when it counts."""

    value: str
    claim: Claim
    until_s: float


class Holder(Struct, frozen=True):
    """A daemon as it appears in its claims. `holder` is the same after a restart on the same state."""

    holder: str
    host: str
    lasts_s: float


class Lease(Struct, frozen=True):
    """What one daemon knows of one environment's lease. A grip that has ended is kept: it may be renewed yet."""

    grip: Grip | None = None
    seen: Seen | None = None
    epoch: int = 0
    """The last one that this process has held; 0 for none."""


def standing(lease: Lease, me: Holder, *, now_s: float) -> Standing:
    """Whose the environment is at this moment, as far as this daemon can tell."""
    if lease.grip is not None:
        return "held" if now_s < lease.grip.until_s else "unsure"
    if lease.seen is None or not lease.seen.claim.lasts_s or _mine(lease, lease.seen.claim, me):
        return "unsure"
    return "elsewhere"


def doubted_s(lease: Lease) -> float:
    """Since when it is not certain whose the environment is: what was asked before that says nothing."""
    return lease.grip.until_s if lease.grip else 0.0


def move(lease: Lease, me: Holder, *, now_s: float) -> tuple[str, Claim] | None:
    """The value that the ref must still have, and the claim to put in its place; None while there is none to make."""
    if lease.grip is not None:
        if now_s < _renewal_s(lease.grip):
            return None
        return lease.grip.value, replace(lease.grip.claim, beat=lease.grip.claim.beat + 1)
    if lease.seen is None or now_s < _free_s(lease, lease.seen, me):
        return None
    claim = lease.seen.claim
    if _mine(lease, claim, me) and claim.epoch == lease.epoch:  # a renewal arrived whose answer was lost
        return lease.seen.value, replace(claim, beat=claim.beat + 1)
    return lease.seen.value, Claim(me.holder, me.host, claim.epoch + 1, 0, me.lasts_s)


def given_back(grip: Grip) -> Claim:
    """The claim that lets anybody take over at once. The epoch stays in it, and so can only grow."""
    return replace(grip.claim, beat=grip.claim.beat + 1, lasts_s=0.0)


def won(value: str, claim: Claim, *, asked_s: float) -> Lease:
    """After the remote has accepted a claim. It counts from when it was *sent*: others count from later."""
    return Lease(Grip(value, claim, asked_s + claim.lasts_s), epoch=claim.epoch)


def lost(lease: Lease) -> Lease:
    """After the remote has refused a claim because the ref has moved: whose it is now, the next look tells."""
    return Lease(epoch=lease.epoch)


def looked(lease: Lease, value: str, claim: Claim, *, now_s: float) -> Lease:
    """After a look at the ref that has *ended* at `now_s`: what was found is at least that old."""
    if lease.seen is not None and lease.seen.value == value:
        return lease
    return replace(lease, seen=Seen(value, claim, now_s))


def next_s(lease: Lease, me: Holder, *, now_s: float) -> float:
    """When this lease wants to be seen to again, if nothing is wrong."""
    if lease.grip is not None:
        return _renewal_s(lease.grip)
    again_s = now_s + me.lasts_s / RENEWALS
    if lease.seen is None:
        return again_s
    free_s = _free_s(lease, lease.seen, me)
    return min(again_s, free_s) if free_s > now_s else again_s


def opening(environment: str, state: Standing, claim: Claim | None, trouble: str) -> Opening:
    """The gate `lease`. `claim`: what the ref was last found to say; `trouble`: why the last try failed."""
    if state == "held":
        return OPEN
    if state == "elsewhere" and claim is not None:
        return Opening(False, whose(environment, claim), None, "that daemon's end")
    reason = f"the lease of {environment} is not held{f': {trouble}' if trouble else ' yet'}"
    return Opening(False, reason, None, "a remote that accepts it")


def behind(environment: str) -> Opening:
    """The gate `lease` of what is ours again, and was another daemon's meanwhile."""
    reason = f"{environment} was in other hands: what was done there is read from Git first"
    return Opening(False, reason, None, "a fetch that succeeds")


def whose(environment: str, claim: Claim) -> str:
    """The sentence that a daemon says when it leaves an environment to another."""
    return f"{environment} is in the hands of daemon {claim.holder} on {claim.host} (epoch {claim.epoch})"


def _renewal_s(grip: Grip) -> float:
    return grip.until_s - grip.claim.lasts_s * (1 - 1 / RENEWALS)


def _free_s(lease: Lease, seen: Seen, me: Holder) -> float:
    """From when on the claim that was seen may be replaced."""
    return seen.since_s + (0.0 if _mine(lease, seen.claim, me) else seen.claim.lasts_s * PATIENCE)


def _mine(lease: Lease, claim: Claim, me: Holder) -> bool:
    """This process's own, or that of a predecessor on this state, which the state's lock says has ended."""
    return claim.holder == me.holder and lease.epoch in (0, claim.epoch)
