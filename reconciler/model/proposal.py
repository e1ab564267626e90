"""A revert that people are asked to merge: its branch, what is said in it, and how it stands. Pure."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from reconciler.model import sentence
from reconciler.model.markdown import code
from reconciler.model.upgrade import Upgrade

LABELS = ("ugs", "ugs: revert")

State = Literal["open", "merged", "refused", "moot"]
"""`refused`: it was closed, or its branch deleted, unmerged. `moot`: nothing is left to be put back."""


class Proposal(Struct, frozen=True, omit_defaults=True):
    """`commit`: what we last made of the branch, on `base`, a commit of the tracked branch."""

    upgrade: Upgrade
    """The failed one, whose pins are to go back."""
    base: str
    commit: str
    state: State = "open"
    number: int = 0
    """Of the pull request; 0 until one is open."""
    url: str = ""
    asked: bool = False
    """Whether the forge was asked to merge it by itself."""

    @property
    def operation(self) -> str:
        return self.upgrade.operation

    @property
    def branch(self) -> str:
        return branch_of(self.upgrade)

    @property
    def name(self) -> str:
        """What people call it."""
        return f"pull request #{self.number}" if self.number else f"the branch {self.branch}"


def branch_of(upgrade: Upgrade) -> str:
    """One for an operation, whoever makes it and how often: no slash, as `ugs` may be a branch itself."""
    return f"ugs-revert-{upgrade.operation}"


def title(upgrade: Upgrade) -> str:
    back = f"to {upgrade.before.target.version}" if upgrade.before else "(its first deployment)"
    return f"Revert {upgrade.environment}/{upgrade.service} {back}"


def body(upgrade: Upgrade) -> str:
    """For the pull request: what failed, by which evidence, and what merging or closing it means."""
    step = sentence.step(upgrade.before.target if upgrade.before else None, upgrade.to)
    runs = f"{upgrade.before.target.version} runs again" if upgrade.before else "it is stopped"
    lines = [
        f"{code(f'{upgrade.environment}: {upgrade.service} {step}')} failed, and {code(runs)}:",
        "",
        f"> {code(upgrade.reason)}",
        "",
        f"It was asked for by {upgrade.revision}. This puts its pin back",
        *([f"- and with it that of {code(one.service)}: {code(one.why)}" for one in upgrade.companions]),
        "",
        "Until this is merged, the failed version stays in quarantine and is not tried again by itself;",
        f"`ugs retry {upgrade.environment} {upgrade.service}` tries it once more. Closed unmerged, it calls a person.",
    ]
    return "\n".join(lines) + "\n"
