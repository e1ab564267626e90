"""Signatures as the remote has them: what a mirror is asked of commits where they count by who signed them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reconciler.git import Arrival
from reconciler.model.errors import HostError
from reconciler.model.trust import Signature, Touched

if TYPE_CHECKING:
    from tests.simulation.faults import Weather
    from tests.simulation.remote import Made, Remote

MOVER, SIGNER, STRANGER, OURS = "ada", "eve", "mallory", "ugs"
"""Who may move everything; all but production; whose key nobody allows; and the daemon."""
ALLOWED = frozenset({MOVER, SIGNER, OURS})


def arrivals(remote: Remote, since: str | None, tip: str, *, everything: bool) -> list[Arrival]:
    known = {made.commit.sha for made in remote.history(since)} if since else set()
    chain: list[Made] = []
    for made in remote.history(tip, first_parent=True):
        if made.commit.sha in known:
            break
        chain.append(made)
    found: list[Arrival] = []
    for made in reversed(chain):
        sha, brought = made.commit.sha, [made.commit.sha]
        if everything:
            brought = [one.commit.sha for one in remote.history(sha) if one.commit.sha not in known][::-1]
            known.update(brought)
        found.append(Arrival(sha, next(iter(made.commit.parents), None), tuple(brought)))
    return found


def signatures(remote: Remote, weather: Weather, commits: Sequence[str]) -> list[Signature]:
    if weather.strikes("signers-lost"):
        raise HostError("allowed_signers: anybody may write it", "chmod it")
    return [_signature(sha, remote.signers.get(sha, "")) for sha in commits]


def _signature(sha: str, signer: str) -> Signature:
    if signer in ALLOWED:
        return Signature(sha, signer, f"SHA256:{signer}")
    return Signature(
        sha, "", signer and f"SHA256:{signer}", "its key is not allowed" if signer else "it is not signed"
    )


def touched(remote: Remote, arrived: Sequence[Arrival], folders: Sequence[str]) -> dict[str, list[Touched]]:
    mine = tuple(f"{folder}/" for folder in folders)
    found: dict[str, list[Touched]] = {}
    for one in arrived:
        made = remote.made[one.commit]
        before = remote.made[one.parent].tree if one.parent else {}
        files = [
            Touched(path, f"100644:{before.get(path)}", f"100644:{made.tree.get(path)}")
            for path in sorted(before.keys() | made.tree.keys())
            if path.startswith(mine) and before.get(path) != made.tree.get(path)
        ]
        if files:
            found[one.commit] = files
    return found
