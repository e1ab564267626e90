"""People whose commits do not count, and what always holds of trust."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.config import Trust
from reconciler.model.upgrade import Phase, Upgrade
from tests.simulation import fleet
from tests.simulation.remote import BLOBS, Made
from tests.simulation.signing import ALLOWED, MOVER, OURS, SIGNER, STRANGER

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

RESTRICTED = "production"
OWN_KEY = f"SHA256:{OURS}"
NOTICED_S = (1.0, 8.0)
SHA = re.compile(r"\b[0-9a-f]{40}\b")


def settings(simulation: Simulation) -> Trust:
    return Trust(
        Path("/etc/ugs/allowed_signers"),
        since=simulation.first,
        commits="all" if simulation.rules.everything else "first-parent",
        movers={RESTRICTED: (MOVER,)},
    )


# what people do


def push_untrusted(simulation: Simulation, bump: Callable[[Simulation], None]) -> None:
    """Somebody pushes what is not signed, or by a key that is not allowed; mostly it is taken off again."""
    random = simulation.people
    _as(simulation, random.choice(("", STRANGER)), bump)
    if random.random() < 0.6:
        simulation.pass_time(random.uniform(*NOTICED_S))
        take_off(simulation)


def merge_untrusted(simulation: Simulation, merge: Callable[[Simulation], None]) -> None:
    """Somebody who is allowed to merges a branch of which not everything is signed; mostly it is taken off again."""
    random = simulation.people
    branch = [
        random.choice(("", STRANGER)),
        *random.choices((MOVER, SIGNER, STRANGER), k=random.choice((0, 1, 2))),
    ]
    random.shuffle(branch)
    simulation.merges = tuple(branch)
    try:
        merge(simulation)
    finally:
        simulation.merges = ()
    if random.random() < 0.6:
        simulation.pass_time(random.uniform(*NOTICED_S))
        take_off(simulation)


def take_off(simulation: Simulation) -> None:
    """Force the branch back to the last commit before the first that does not count."""
    first = next(iter(_untrusted(simulation)), None)
    if first is not None:
        parent = first.commit.parents[0]
        simulation.note(f"force back to {parent[:12]}")
        simulation.remote.move(parent, "force")


def push_as_another(simulation: Simulation, bump: Callable[[Simulation], None]) -> None:
    """An allowed signer moves pins, be it of an environment that is not theirs; mostly it is put back."""
    before = simulation.remote.made[simulation.remote.tip]
    _as(simulation, SIGNER, bump)
    if simulation.people.random() < 0.5:
        simulation.pass_time(simulation.people.uniform(*NOTICED_S))
        put_back(simulation, before)


def put_back(simulation: Simulation, before: Made) -> None:
    """Have the environment's files stand again as they did."""
    now, mine = simulation.remote.made[simulation.remote.tip].tree, f"environments/{RESTRICTED}"
    paths = {path for path in before.tree.keys() | now.keys() if path.startswith(mine)}
    changes = {
        path: BLOBS[oid] if (oid := before.tree.get(path)) else None
        for path in paths
        if before.tree.get(path) != now.get(path)
    }
    if changes:
        simulation.commit(changes, "Put back")


def retry_without_right(simulation: Simulation) -> None:
    """A commit releases what failed, by somebody who may not."""
    if shut := sorted(simulation.facts.shut.items(), key=str):
        (environment, service, target), operation = simulation.people.choice(shut)
        signer = simulation.people.choice((SIGNER, STRANGER, ""))

        def commit(simulation: Simulation) -> None:
            text = f"{simulation.people.random()}\n".encode()
            subject = f"Retry {environment} {service} {target.version}"
            simulation.commit({"README.md": text}, subject, trailer=f"Ugs-Retry: {operation}")

        _as(simulation, signer, commit)


def _as(simulation: Simulation, signer: str, act: Callable[[Simulation], None]) -> None:
    simulation.signer, before = signer, simulation.signer
    try:
        act(simulation)
    finally:
        simulation.signer = before


def _untrusted(simulation: Simulation) -> list[Made]:
    """The commits of the branch that do not count, the oldest first."""
    remote, found = simulation.remote, list[Made]()
    for made in remote.history(remote.tip, first_parent=True):
        if made.commit.sha == simulation.first:
            break
        if _strange(simulation, made):
            found.append(made)
    return found[::-1]


def _strange(simulation: Simulation, made: Made) -> str:
    """What a commit of the branch is, or has merged where that is asked, that nobody who is allowed to signed."""
    remote, before = simulation.remote, set[str]()
    came = [made.commit.sha]
    if simulation.rules.everything and len(made.commit.parents) > 1:
        before = {one.commit.sha for one in remote.history(made.commit.parents[0])}
        came = [one.commit.sha for one in remote.history(made.commit.sha)]
    return next((sha for sha in came if sha not in before and remote.signers.get(sha) not in ALLOWED), "")


# what always holds


def only_what_is_trusted_comes_into_force(simulation: Simulation, _before: str | None, after: str) -> str:
    """Every commit of the branch, and not its tip alone; with what was merged, where that is asked for."""
    if not simulation.rules.trusted:
        return ""
    for made in simulation.remote.history(after, first_parent=True):
        sha = made.commit.sha
        if sha in simulation.facts.trusted or sha == simulation.first:
            break
        if strange := _strange(simulation, made):
            return f"{after[:12]} is put in force, and {strange[:12]} is not trusted"
        simulation.facts.trusted.add(sha)
    return ""


def nothing_untrusted_ever_runs(
    simulation: Simulation, _before: Upgrade | None, upgrade: Upgrade, _rows: list[Mapping[str, Any]]
) -> str:
    """The commit that asked for it counts, and is by one who may move the environment."""
    if (
        not simulation.rules.trusted
        or upgrade.phase is not Phase.APPLYING
        or upgrade.revision == simulation.first
    ):
        return ""
    signer = simulation.remote.signers.get(upgrade.revision)
    movers = {MOVER, OURS} if upgrade.environment == RESTRICTED else ALLOWED
    if signer in movers:
        return ""
    return f"{upgrade.operation} starts what {upgrade.revision[:12]} asks for, signed by {signer or 'nobody'}"


def only_who_may_releases(simulation: Simulation, row: Mapping[str, Any]) -> str:
    """Asked at every release of a quarantine: whether a commit did it that may not."""
    found = SHA.search(row["detail"] or "")
    if not simulation.rules.trusted or found is None or found[0] not in simulation.remote.made:
        return ""
    signer = simulation.remote.signers.get(found[0])
    movers = {MOVER, OURS} if row["environment"] == RESTRICTED else ALLOWED
    return (
        "" if signer in movers else f"{found[0][:12]} releases a quarantine, signed by {signer or 'nobody'}"
    )


def in_force(simulation: Simulation, environment: str) -> str:
    """The commit that the environment follows to: the branch's tip, where nothing keeps it from that."""
    life = simulation.life
    desired = life.core.desired.get(simulation.called(environment)) if life else None
    followed = life.fleet.tip if life else None
    return desired.revision if desired else followed or simulation.remote.tip


def follows(simulation: Simulation) -> bool:
    """Whether the daemon has followed the branch as far as it may."""
    life, remote = simulation.life, simulation.remote
    if life is None:
        return False
    if life.fleet.state == "ok":
        return life.fleet.tip == remote.tip
    first = next(iter(_untrusted(simulation)), None) if simulation.rules.trusted else None
    return life.fleet.state == "untrusted" and first is not None and life.fleet.tip == first.commit.parents[0]


def pins_in_force(simulation: Simulation, environment: str) -> dict[str, str]:
    return fleet.pins_of(simulation.remote.made[in_force(simulation, environment)].tree, environment)
