"""Put the pin back in Git: a semantic edit of the remote's tip, pushed without force, at most once ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, ParamSpec, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from reconciler.engine.control import Control
from reconciler.engine.core import Core
from reconciler.engine.pins import edit, left_by, message
from reconciler.engine.together import settle_companions
from reconciler.git import PushRefused, PushRejected
from reconciler.model.breaker import trips
from reconciler.model.errors import HostError, TransientError, UgsError
from reconciler.model.permits import BREAKER
from reconciler.model.proposal import Proposal, branch_of
from reconciler.model.upgrade import OPERATION_TRAILER, Phase, Upgrade

P = ParamSpec("P")
T = TypeVar("T")
PUSH_ATTEMPTS_MAX = 10
JITTER_S = 0.5
UNREACHABLE_FIRST_S = 1.0
UNREACHABLE_MAX_S = 300.0
HISTORY_MAX = 10_000
RECENT_MAX = 200


class Outcome(Struct, frozen=True):
    """What became of the pins. `left`: by service whose pin stays as it is, why; with no commit, all of them."""

    commit: str | None
    left: dict[str, str]
    needs_person: bool = False
    proposal: Proposal | None = None
    """What people are asked to merge instead, where that is so."""


async def settle_pin(core: Core, upgrade: Upgrade, control: Control) -> Upgrade:
    """The phase `reverting`: put the pin back, and those of its companions, or say why they are left alone.

    A dead remote is waited for.
    """
    outcome = await _revert(core, upgrade, control)
    if outcome is None:
        return upgrade
    own = outcome.left.get(upgrade.service, "")
    person = upgrade.needs_person or outcome.needs_person
    with core.store.transaction():
        if outcome.commit and not own:
            core.store.reverted(upgrade.operation, outcome.commit)
        if outcome.proposal:
            core.store.propose(outcome.proposal)
        settled = core.move(
            upgrade,
            Phase.STUCK if upgrade.needs_person else Phase.RESTORED if own else Phase.REVERTED,
            "; ".join(filter(None, (upgrade.reason, own))),
            severity="person" if person else "warning",
            revert_commit=outcome.commit,
            companions=tuple(
                replace(one, outcome=outcome.left.get(one.service, "")) for one in upgrade.companions
            ),
        )
        settle_companions(core, settled)
    if outcome.proposal:
        core.wake.proposals.set()
    return settled


def reported(core: Core, upgrade: Upgrade) -> Upgrade:
    """The phase `reverting` of one host of many: what failed here is in its row, from which the hosts' rollout learns
    of it. Whether the pin goes back, the daemon decides that holds the lease of the whole environment.

    Where the breaker trips, it is this machine that looks ill: everything here is held, and nothing is reported.
    """
    past = core.store.upgrades(environment=upgrade.environment, limit=RECENT_MAX)
    why = trips(past, now=core.clock.now())
    if why:
        hold_all(core, upgrade.environment, f"the breaker: {why}")
    left = f"{why}: {core.host} is held, and its word does not count" if why else "the other hosts are told"
    person = upgrade.needs_person or bool(why)
    with core.store.transaction():
        settled = core.move(
            upgrade,
            Phase.STUCK if upgrade.needs_person else Phase.RESTORED,
            "; ".join((upgrade.reason, left)),
            severity="person" if person else "warning",
            suspect=bool(why),
            companions=tuple(replace(one, outcome=left) for one in upgrade.companions),
        )
        settle_companions(core, settled)
    return settled


async def _revert(core: Core, upgrade: Upgrade, control: Control) -> Outcome | None:
    """None only when the daemon stops meanwhile."""
    now, past = core.clock.now(), core.store.upgrades(environment=upgrade.environment, limit=RECENT_MAX)
    wanted = core.desired.get(upgrade.environment)
    policy = wanted.environment.policy.revert if wanted else "push"
    why, tripped = "policy.revert is off" if policy == "off" else "", trips(past, now=now)
    if tripped:
        hold_all(core, upgrade.environment, f"the breaker: {tripped}")
        why = f"{tripped}: {upgrade.environment} is held, and nothing more is reverted"
    left_alone = _nothing(upgrade, why, person=bool(tripped))
    if why and all(step.step != "revert" for step in core.store.steps(upgrade.operation)):
        return left_alone
    tries = 0
    core.store.begin(upgrade.operation, "revert")
    while not control.stopping:
        control.wake.clear()  # before anything is awaited, so that no word is missed
        try:
            await core.fence.passed()
            if why or policy == "off":  # what was pushed before that was so is there
                outcome = await core.git(_done, core, upgrade) or left_alone
            else:
                outcome = await put_back(core, upgrade, policy)
        except (HostError, TransientError) as error:
            core.store.end(upgrade.operation, "revert", outcome="retry", detail=str(error))
            await core.clock.wait(control.wake, min(UNREACHABLE_FIRST_S * 2**tries, UNREACHABLE_MAX_S))
            tries += 1
        except UgsError as error:
            core.store.end(upgrade.operation, "revert", outcome="failed", detail=str(error))
            return _nothing(upgrade, f"the pin could not be reverted: {error}", person=True)
        else:
            core.store.end(upgrade.operation, "revert")
            return outcome
    return None


async def put_back(core: Core, upgrade: Upgrade, policy: Literal["push", "pull-request"]) -> Outcome:
    """Push the revert; or propose it, as the policy says, or where the branch takes no push of ours."""
    if policy == "push":
        try:
            return await pushed(core, attempt, core, upgrade)
        except PushRefused as refusal:
            why, refused = f"the pin could not be reverted: {refusal.message}", refusal
        try:
            outcome = await pushed(core, propose, core, upgrade, why)
        except PushRefused:
            raise refused from None  # no branch may be pushed: what is said of the tracked one matters
        return replace(outcome, needs_person=outcome.needs_person or core.forge is None)
    return await pushed(core, propose, core, upgrade, "policy.revert is pull-request")


def _nothing(upgrade: Upgrade, reason: str, *, person: bool = False) -> Outcome:
    """No pin is touched, for one reason."""
    services = upgrade.service, *(one.service for one in upgrade.companions)
    return Outcome(None, dict.fromkeys(services, reason), person)


def hold_all(core: Core, environment: str, reason: str) -> None:
    """Let nothing more start in an environment until a person releases it; one hold for one reason."""
    held = any(hold.owner == BREAKER for hold in core.store.permits(environment).holds)
    if not held:
        core.store.hold(environment, None, reason=reason, owner=BREAKER, until=None)


async def pushed(core: Core, push: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a commit on the remote's tip and push it, again on the new tip whenever someone was faster."""
    for rejected in range(1, PUSH_ATTEMPTS_MAX + 1):
        try:
            return await core.git(push, *args, **kwargs)
        except PushRejected:
            # Spread, so that two who push at once do not meet again.
            await core.clock.sleep(core.random.uniform(0, JITTER_S * rejected))
    raise UgsError(
        f"the branch moved {PUSH_ATTEMPTS_MAX} times while pushing", "try again when fewer people push"
    )


def attempt(core: Core, upgrade: Upgrade) -> Outcome:
    """One try, blocking: ask the remote first, edit its tip, push, and ask the remote again."""
    mirror = core.repository.mirror
    tip = core.repository.fetch().tip
    if done := mirror.find_trailer(OPERATION_TRAILER, upgrade.operation, until=tip, limit=HISTORY_MAX):
        return Outcome(done, left_by(mirror, done, upgrade))
    edits = edit(mirror, tip, upgrade)
    if not edits.files:
        return Outcome(None, edits.left, edits.needs_person)
    commit = mirror.commit(tip, edits.files, message(upgrade, edits.left), at=core.clock.now())
    core.fence.check()  # fetching may have taken long
    deliver(core, commit, "push")
    return Outcome(commit, edits.left, edits.needs_person)


def _done(core: Core, upgrade: Upgrade) -> Outcome | None:
    """What this upgrade has put back already, blocking; None where it has not."""
    mirror, tip = core.repository.mirror, core.repository.fetch().tip
    done = mirror.find_trailer(OPERATION_TRAILER, upgrade.operation, until=tip, limit=HISTORY_MAX)
    return Outcome(done, left_by(mirror, done, upgrade)) if done else None


def deliver(core: Core, commit: str, step: str) -> None:
    """Push a commit, blocking, and ask the remote whether it has it. `step`: how its failpoints begin.

    Raises PushRejected where somebody was faster, PushRefused, TransientError and HostError.
    """
    core.failpoint(f"{step}:begun")
    core.repository.mirror.push(commit)
    core.failpoint(f"{step}:done")
    if not core.repository.mirror.contains(commit):
        raise PushRejected("the push was accepted, and the branch does not contain it")


def propose(core: Core, upgrade: Upgrade, why: str) -> Outcome:
    """One try, blocking, at a branch that puts the pins back, for people to merge. `why` it is no push.

    The remote is asked first: what stands there already, ours or a person's, is not made again.
    """
    mirror = core.repository.mirror
    tip = core.repository.fetch().tip
    if done := mirror.find_trailer(OPERATION_TRAILER, upgrade.operation, until=tip, limit=HISTORY_MAX):
        return Outcome(done, left_by(mirror, done, upgrade))
    edits = edit(mirror, tip, upgrade)
    if not edits.files:
        return Outcome(None, edits.left, edits.needs_person)
    there = mirror.branch(branch_of(upgrade))
    proposal = as_it_stands(core, Proposal(upgrade, tip, ""), there)
    if there is None:
        commit = mirror.commit(tip, edits.files, message(upgrade, edits.left), at=core.clock.now())
        core.fence.check()  # fetching may have taken long
        core.failpoint("propose:begun")
        mirror.push_branch(commit, branch_of(upgrade), expected=None)
        core.failpoint("propose:done")
        proposal = Proposal(upgrade, tip, commit)
    left = f"{why}; the branch {branch_of(upgrade)} puts it back once it is merged"
    services = upgrade.service, *(one.service for one in upgrade.companions)
    told = {service: edits.left.get(service) or left for service in services}
    return Outcome(None, told, edits.needs_person, proposal)


def as_it_stands(core: Core, known: Proposal, there: str | None) -> Proposal:
    """The proposal with what stands on its branch (`there`, which was fetched), where a daemon of ours made that and
    nobody has touched it; blocking. Who was killed over a push has not written down what it made."""
    if there in (None, known.commit):
        return known
    made = core.repository.mirror.described(there)
    ours = made.is_made_by(core.settings.identity.email, (OPERATION_TRAILER, known.operation))
    return replace(known, base=made.parents[0], commit=made.sha) if ours else known
