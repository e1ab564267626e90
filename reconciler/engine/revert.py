"""Put the pin back in Git: a semantic edit of the remote's tip, pushed without force, at most once ever."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from msgspec import Struct

from reconciler.engine.control import Control
from reconciler.engine.core import Core
from reconciler.git import Mirror, PushRejected
from reconciler.model import splice
from reconciler.model.breaker import trips
from reconciler.model.errors import HostError, InputError, TransientError, UgsError
from reconciler.model.target import Workload
from reconciler.model.upgrade import Phase, Upgrade

P = ParamSpec("P")
T = TypeVar("T")
PUSH_ATTEMPTS_MAX = 10
JITTER_S = 0.5
UNREACHABLE_FIRST_S = 1.0
UNREACHABLE_MAX_S = 300.0
HISTORY_MAX = 10_000
RECENT_MAX = 200
BREAKER = "ugs"
OPERATION_TRAILER = "Ugs-Operation"
LINE_MAX = 300


class Reverted(Struct, frozen=True):
    commit: str


class Left(Struct, frozen=True):
    """Git is left alone, with the reason."""

    reason: str
    needs_person: bool = False


async def settle_pin(core: Core, upgrade: Upgrade, control: Control) -> Upgrade:
    """The phase `reverting`: revert the pin, or say why it is left alone. A dead remote is waited for."""
    outcome = await _revert(core, upgrade, control)
    if outcome is None:
        return upgrade
    if isinstance(outcome, Left):
        person = upgrade.needs_person or outcome.needs_person
        final = Phase.STUCK if upgrade.needs_person else Phase.RESTORED
        reason = f"{upgrade.reason}; {outcome.reason}"
        return core.move(upgrade, final, reason, severity="person" if person else "warning")
    with core.store.transaction():
        core.store.reverted(upgrade.operation, outcome.commit)
        return core.move(
            upgrade,
            Phase.STUCK if upgrade.needs_person else Phase.REVERTED,
            upgrade.reason,
            severity="person" if upgrade.needs_person else "warning",
            revert_commit=outcome.commit,
        )


async def _revert(core: Core, upgrade: Upgrade, control: Control) -> Reverted | Left | None:
    """None only when the daemon stops meanwhile."""
    now, past = core.clock.now(), core.store.upgrades(environment=upgrade.environment, limit=RECENT_MAX)
    if why := trips(past, now=now):
        hold_all(core, upgrade.environment, f"the breaker: {why}")
        return Left(f"{why}: {upgrade.environment} is held, and nothing more is reverted", needs_person=True)
    wanted = core.desired.get(upgrade.environment)
    if wanted and wanted.environment.policy.revert == "off":
        return Left("policy.revert is off")
    tries = 0
    core.store.begin(upgrade.operation, "revert")
    while not control.stopping:
        control.wake.clear()  # before anything is awaited, so that no word is missed
        try:
            outcome = await pushed(core, _attempt, core, upgrade)
        except (HostError, TransientError) as error:
            core.store.end(upgrade.operation, "revert", outcome="retry", detail=str(error))
            await core.clock.wait(control.wake, min(UNREACHABLE_FIRST_S * 2**tries, UNREACHABLE_MAX_S))
            tries += 1
        except UgsError as error:
            core.store.end(upgrade.operation, "revert", outcome="failed", detail=str(error))
            return Left(f"the pin could not be reverted: {error}", needs_person=True)
        else:
            core.store.end(upgrade.operation, "revert")
            return outcome
    return None


def hold_all(core: Core, environment: str, reason: str) -> None:
    """Let nothing more start in an environment until a person releases it; one hold for one reason."""
    held = any(hold.owner == BREAKER for hold in core.store.permits(environment).holds)
    if not held:
        core.store.hold(environment, None, reason=reason, owner=BREAKER, until=None)


async def pushed(core: Core, attempt: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a commit on the remote's tip and push it, again on the new tip whenever someone was faster."""
    for rejected in range(1, PUSH_ATTEMPTS_MAX + 1):
        try:
            return await core.git(attempt, *args, **kwargs)
        except PushRejected:
            # Spread, so that two who push at once do not meet again.
            await core.clock.sleep(core.random.uniform(0, JITTER_S * rejected))
    raise UgsError(
        f"the branch moved {PUSH_ATTEMPTS_MAX} times while pushing", "try again when fewer people push"
    )


def _attempt(core: Core, upgrade: Upgrade) -> Reverted | Left:
    """One try, blocking: ask the remote first, edit its tip, push, and ask the remote again."""
    mirror = core.repository.mirror
    tip = core.repository.fetch().tip
    if done := mirror.find_trailer(OPERATION_TRAILER, upgrade.operation, until=tip, limit=HISTORY_MAX):
        return Reverted(done)
    changes = edit(mirror, tip, upgrade)
    if isinstance(changes, Left):
        return changes
    commit = mirror.commit(tip, changes, message(upgrade), at=core.clock.now())
    core.failpoint("push:begun")
    mirror.push(commit)
    core.failpoint("push:done")
    if not mirror.contains(commit):
        raise PushRejected("the push was accepted, and the branch does not contain it")
    return Reverted(commit)


def edit(mirror: Mirror, tip: str, upgrade: Upgrade) -> dict[str, bytes | None] | Left:
    """The one file that changes: last-good's node where the failed one stands, if it still stands there."""
    pinned = _required(upgrade.pinned, upgrade)
    found = find_pin(environment_files(mirror, tip, upgrade.environment), upgrade.service)
    if found is None:
        return Left("the pin was removed meanwhile")
    path, data, node = found
    if node != pinned.node:
        return Left("the pin was moved meanwhile")
    if upgrade.before is None:
        return {path: splice.remove_pin(data, path, upgrade.service)}
    if upgrade.before.node == pinned.node:
        return Left("the pin already says what it said when the old version was healthy", needs_person=True)
    return {path: splice.set_pin(data, path, upgrade.service, upgrade.before.node)}


def find_pin(files: Iterable[tuple[str, bytes]], service: str) -> tuple[str, bytes, str] | None:
    """The file that pins a service, its bytes, and the pin's value as JSON; None when no file does.

    Raises InputError when none that can be read does, and another might.
    """
    unreadable: InputError | None = None
    for path, data in files:
        try:
            node = splice.pin_node(data, path, service)
        except InputError as error:
            unreadable = error
            continue
        if node is not None:
            return path, data, node
    if unreadable is not None:
        raise unreadable
    return None


def environment_files(mirror: Mirror, tip: str, environment: str) -> list[tuple[str, bytes]]:
    """(path, bytes) of the regular files that make up an environment at a commit."""
    paths = (f"environments/{environment}.yaml", f"environments/{environment}/")
    return [
        (entry.path, mirror.blob(entry.oid))
        for entry in mirror.entries(tip, ["environments"])
        if entry.mode.startswith("100") and entry.path.endswith(".yaml") and entry.path.startswith(paths)
    ]


def message(upgrade: Upgrade) -> str:
    """The commit message: what happened, in words, and in trailers for machines."""
    failed, good = _required(upgrade.after, upgrade), upgrade.before
    back = f"to {good.target.version}" if good else "(its first deployment)"
    now = f"{good.target.version} runs again" if good else "it is stopped, and its pin is removed"
    return "\n".join(
        (
            f"Revert {upgrade.environment}/{upgrade.service} {back}",
            "",
            f"{failed.target.version} failed: {_line(upgrade.reason)}",
            f"{now[0].upper()}{now[1:]}. `ugs retry {upgrade.environment} {upgrade.service}` tries it once more.",
            "",
            f"Reverts: {upgrade.revision}",
            f"{OPERATION_TRAILER}: {upgrade.operation}",
            f"Ugs-Environment: {upgrade.environment}",
            f"Ugs-Service: {upgrade.service}",
            f"Ugs-From: {failed.target}",
            f"Ugs-To: {good.target if good else 'none'}",
            f"Ugs-Reason: {_line(upgrade.reason)}",
            "",
        )
    )


def _line(text: str) -> str:
    """One printable line of bounded length: what a service answered must not write trailers of its own."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:LINE_MAX]


def _required(work: Workload | None, upgrade: Upgrade) -> Workload:
    if work is None:
        raise RuntimeError(f"{upgrade.operation}: a removal is never reverted")
    return work
