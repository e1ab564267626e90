"""What a person may say: roll back, try again, release. Each is a commit, an opened gate, or a verdict."""

from __future__ import annotations

from msgspec.structs import replace

from reconciler.engine.core import Core
from reconciler.engine.fleet import Fleet
from reconciler.engine.granted import grant
from reconciler.engine.pins import environment_files, find_pin
from reconciler.engine.revert import pushed
from reconciler.engine.standing import Conflict, condemn_running
from reconciler.model import splice
from reconciler.model.data import OPEN, Recorded
from reconciler.model.target import Workload
from reconciler.model.upgrade import Phase, Upgrade
from reconciler.store import Quarantine

__all__ = ["Conflict", "release", "retry", "rollback", "settle_migration"]


async def rollback(
    fleet: Fleet, environment: str, service: str, *, actor: str, reason: str, to: str | None = None
) -> str:
    """A person's verdict of failure: restored first, reverted then. Returns the operation's id.

    `to`: the version that he takes to be restored; raises Conflict where it would be another.
    """
    core, here = fleet.core, fleet.passes.get(environment)
    if here is None:
        raise Conflict(f"there is no environment {environment}", f"name one of {', '.join(fleet.passes)}")
    if core.leases.standing(share := core.share(environment)) == "elsewhere":
        raise Conflict(core.leases.opening(share).reason, "say it to that daemon")
    verdict = f"rolled back by {actor}: {reason}"
    if running := here.running.get(service):
        upgrade = core.store.upgrade(running.operation)
        if upgrade and upgrade.after is None:
            raise Conflict(f"{environment}: {service} is being removed", "to have it back, pin it again")
        if upgrade is None or upgrade.phase not in (Phase.APPLYING, Phase.VERIFYING):
            raise Conflict(
                f"{environment}: {service} is {upgrade.phase.value if upgrade else 'busy'}",
                "an upgrade that has touched nothing is stopped by moving its pin back",
            )
        if upgrade.before and upgrade.before.target == upgrade.to:
            raise Conflict(
                f"{environment}: {service} is on its way back to {upgrade.before.target.version} already",
                "wait until it has arrived; nothing older is kept to go back to in its place",
            )
        _check_restored(environment, service, upgrade.before, to)
        grant(core, upgrade, verdict, actor)
        running.control.say(verdict=verdict, actor=actor)
        return upgrade.operation
    condemned = await condemn_running(
        here,
        service,
        verdict=verdict,
        actor=actor,
        check=lambda upgrade: _check_restored(environment, service, upgrade.before, to),
    )
    return condemned.operation


async def retry(fleet: Fleet, environment: str, service: str, *, actor: str) -> str:
    """Commit the quarantined pin again, with the trailer that releases it. Returns the commit."""
    core = fleet.core
    row = _quarantined(core, environment, service)[-1]
    past = core.store.upgrades(environment=environment, service=service)
    upgrade = next((one for one in past if one.named == row.operation), core.store.upgrade(row.operation))
    if upgrade is None:
        raise Conflict(
            f"operation {row.operation} is no longer on record",
            f"commit the pin again yourself with the trailer `Ugs-Retry: {row.operation}`",
        )
    commit = await pushed(core, _retry_commit, core, upgrade, actor)
    core.store.audit(
        "retry", environment=environment, service=service, operation=row.operation, actor=actor, detail=commit
    )
    await fleet.refresh()
    return commit


def release(fleet: Fleet, environment: str, service: str, *, actor: str, why: str) -> list[Quarantine]:
    """Let what failed here be tried once more, by whatever commit pins it."""
    _quarantined(fleet.core, environment, service)
    released = fleet.core.store.release_quarantine(environment, service, operation=None, by=actor, why=why)
    if here := fleet.passes.get(environment):
        here.wake.set()
    return released


def settle_migration(
    fleet: Fleet, environment: str, service: str, name: str, *, applied: bool, actor: str, why: str
) -> Recorded:
    """A person looked at the data: this migration, of which nobody knew, is applied, or is not."""
    core, here = fleet.core, fleet.passes.get(environment)
    rows = {row.id: row for row in core.store.migrations(environment, service)}
    known = rows.get(name)
    if known is None or known.state not in OPEN:
        state = known.state if known else "not on record"
        raise Conflict(f"{environment}: {service}: migration {name} is {state}", "see `ugs migrations list`")
    if here and service in here.busy:
        raise Conflict(f"{environment}: {service} is being upgraded", "wait until that has ended")
    settled = replace(
        known,
        state="done" if applied else "undone",
        changed_at=core.clock.now(),
        evidence=f"{actor} says so: {why}",
    )
    core.store.migrated(settled, actor=actor)
    if here:
        here.wake.set()
    return settled


def _quarantined(core: Core, environment: str, service: str) -> list[Quarantine]:
    rows = [row for row in core.store.quarantined(environment) if row.service == service]
    if not rows:
        raise Conflict(f"{environment}: nothing of {service} is quarantined", "see `ugs quarantine list`")
    return rows


def _retry_commit(core: Core, upgrade: Upgrade, actor: str) -> str:
    mirror, failed = core.repository.mirror, _reached(upgrade)
    tip = core.repository.fetch().tip
    changes = _pinned_again(core, tip, upgrade, upgrade.pinned or failed)
    text = "\n".join(
        (
            f"Try {upgrade.environment}/{upgrade.service} {failed.target.version} again",
            "",
            f"Asked for by {actor}.",
            "",
            f"Ugs-Retry: {upgrade.named}",
            f"Ugs-Environment: {upgrade.environment}",
            f"Ugs-Service: {upgrade.service}",
            "",
        )
    )
    commit = mirror.commit(tip, changes, text, at=core.clock.now())
    mirror.push(commit)
    return commit


def _pinned_again(core: Core, tip: str, upgrade: Upgrade, failed: Workload) -> dict[str, bytes | None]:
    """The file with the failed pin in it once more; nothing where it says so already."""
    files = environment_files(core.repository.mirror, tip, upgrade.environment)
    if found := find_pin(files, upgrade.service):
        path, data, node = found
        if node == failed.node:
            return {}
        if upgrade.before is None or node != upgrade.before.node:
            raise Conflict(
                f"{path}: the pin of {upgrade.service} has moved on since operation {upgrade.operation}",
                f"pin {failed.target.version} yourself, with the trailer `Ugs-Retry: {upgrade.operation}`",
            )
        return {path: splice.set_pin(data, path, upgrade.service, failed.node)}
    for path, data in files:
        if path == failed.place.file:  # the revert of a first deployment removed it from here
            return {path: splice.set_pin(data, path, upgrade.service, failed.node)}
    raise Conflict(
        f"{upgrade.environment} has no pin of {upgrade.service} any more",
        f"pin {failed.target.version} yourself, with the trailer `Ugs-Retry: {upgrade.operation}`",
    )


def _check_restored(environment: str, service: str, back: Workload | None, to: str | None) -> None:
    """Raise Conflict where somebody expects another version than that which would be restored."""
    version = back.target.version.text if back else "nothing"
    if to is not None and to != version:
        raise Conflict(
            f"{environment}: {version} of {service} would be restored, and not {to[:100]}",
            f"leave `to` out to have {version} restored, or pin another version, an older one with `allow_downgrade`",
        )


def _reached(upgrade: Upgrade) -> Workload:
    if upgrade.after is None:
        raise RuntimeError(f"{upgrade.operation}: a removal reaches nothing")
    return upgrade.after
