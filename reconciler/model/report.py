"""What a forge is told of a commit: how each service that it moved stands, and one comment of all of them. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from reconciler.model import sentence
from reconciler.model.hosts import STATES_TOLD, Rollout
from reconciler.model.hosts import State as RolloutState
from reconciler.model.markdown import code, table
from reconciler.model.upgrade import FINAL, NOT_BEGUN, Phase, Upgrade

State = Literal["pending", "success", "failure", "error"]
UNDER_WAY = frozenset({Phase.PREPARING, Phase.APPLYING, Phase.VERIFYING})
OVERTAKEN = frozenset({Phase.SUPERSEDED, Phase.CANCELLED})
OF_ROLLOUTS: dict[RolloutState, State] = {
    "running": "pending",
    "succeeded": "success",
    "failing": "failure",
    "reverted": "failure",
    "left": "failure",
    "withdrawn": "error",
}
WAITS_UNTOLD = timedelta(minutes=5)
"""What waits no longer than this is no news on its pull request."""
_MARKED = re.compile(
    r"<!-- ugs report (?P<name>[^\s>]+) (?P<digest>[0-9a-f]{16}) -->\s*(?P<text>.*)", re.DOTALL
)


class Report(Struct, frozen=True):
    """A commit about which there is news. What it is, is looked up when it is told: nothing overtaken is ever told."""

    kind: Literal["status", "comment"]
    revision: str
    environment: str
    service: str = ""
    """Of a status; a comment is of all that the commit moved in the environment."""


class Standing(Struct, frozen=True):
    """How one service stands that a commit moved. `final`: nothing more comes of it by itself."""

    service: str
    step: str
    state: State
    words: str
    """What became of it, in our own words."""
    evidence: str = ""
    """Why, in words that a service or a person may have written."""
    final: bool = False
    waits: bool = False

    @property
    def sentence(self) -> str:
        return f"{self.step} {self.words}" + (f": {self.evidence}" if self.evidence else "")


def of_upgrade(upgrade: Upgrade) -> Standing:
    """What stays the same while an upgrade is under way is one standing: each batch is no news to a forge."""
    step = sentence.step(upgrade.before.target if upgrade.before else None, upgrade.to)
    onward = f" on the way to {upgrade.goal.target.version}" if upgrade.goal else ""
    phase, step = upgrade.phase, f"{step}{onward}"
    if phase in UNDER_WAY:
        return Standing(upgrade.service, step, "pending", "is under way")
    if phase is Phase.SUCCEEDED and upgrade.goal:
        return Standing(upgrade.service, step, "pending", "succeeded, and the next step follows")
    state: State = (
        "pending"
        if phase in NOT_BEGUN
        else "success"
        if phase is Phase.SUCCEEDED
        else "error"
        if phase in OVERTAKEN
        else "failure"
    )
    blameless = upgrade.taken_with and not upgrade.failed
    words = (sentence.TAKEN_WITH.get(phase) if blameless else None) or sentence.DOING[phase]
    return Standing(
        upgrade.service,
        step,
        state,
        words,
        upgrade.reason,
        final=phase in FINAL,
        waits=phase is Phase.WAITING,
    )


def of_rollout(rollout: Rollout) -> Standing:
    """The same of a change on all hosts of an environment."""
    return Standing(
        rollout.service,
        sentence.step(rollout.from_, rollout.to),
        OF_ROLLOUTS[rollout.state],
        STATES_TOLD[rollout.state],
        rollout.reason,
        final=rollout.state not in {"running", "failing"},
    )


def reports_of(before: Upgrade, upgrade: Upgrade) -> list[tuple[Report, datetime | None]]:
    """What is to be told of a move, and not before when. What one host of many does is told of the rollout."""
    if upgrade.rollout:
        return []
    news: list[tuple[Report, datetime | None]] = [
        (Report("status", upgrade.revision, upgrade.environment, upgrade.service), None)
    ]
    if upgrade.final:
        news.append((Report("comment", upgrade.revision, upgrade.environment), None))
    elif upgrade.phase is Phase.WAITING and before.phase is not Phase.WAITING:
        later = upgrade.changed_at + WAITS_UNTOLD
        news.append((Report("comment", upgrade.revision, upgrade.environment), later))
    return news


def context(environment: str, service: str) -> str:
    """The name under which a commit's status stands."""
    return f"ugs/{environment}/{service}"


def comment(environment: str, standings: Sequence[Standing]) -> str:
    """What is said on the pull request by which a commit came; with the mark by which it is found again."""
    rows = [
        [code(one.service), code(one.step), one.words, code(one.evidence)]
        for one in sorted(standings, key=lambda one: one.service)
    ]
    lines = [f"**{environment}**: what became of this", "", *table(["service", "change", "", "why"], rows)]
    return marked(environment, "\n".join(lines))


def marked(name: str, text: str) -> str:
    """The text under a mark that says whose it is, and what it said: what a person has edited since is known by it."""
    return f"<!-- ugs report {name} {_digest(text)} -->\n{text}\n"


def untouched(name: str, body: str) -> bool | None:
    """Whether a comment stands as we wrote it under this name; None where it is none of ours."""
    found = _MARKED.match(body)
    if found is None or found["name"] != name:
        return None
    return found["digest"] == _digest(found["text"])


def _digest(text: str) -> str:
    """Of its words: forges differ in which white space they keep."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:16]
