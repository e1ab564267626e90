"""Whose commits are followed: what was found of each signature, folded into what stands as trusted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Literal

from msgspec import Struct

Scope = Literal["first-parent", "all"]
FILES_MAX = 1000
SHORT = 12


class Signature(Struct, frozen=True):
    """What verification says of one commit."""

    commit: str
    signer: str = ""
    """The principal of an SSH key, the primary fingerprint of a GPG key; empty unless the signature counts."""
    key: str = ""
    """The key's fingerprint, also of one that does not count; empty where there is none."""
    why: str = ""
    """Why it does not count; empty when it does."""


class Touched(Struct, frozen=True):
    """One file that a commit changed, against its first parent. What stands at it is `mode:blob`."""

    path: str
    before: str
    after: str


class Intrusion(Struct, frozen=True):
    """A file of an environment as somebody left it who may not move that environment."""

    trusted: str
    """What stood there before, as `mode:blob`: put back, it is forgotten."""
    commit: str
    signer: str


class Held(Struct, frozen=True):
    """An environment that does not follow the branch until these files stand as they did."""

    revision: str | None
    """Its last trusted revision; None when it never had one."""
    files: dict[str, Intrusion]


class Refusal(Struct, frozen=True):
    """The first commit that is not trusted: neither it nor any after it is followed."""

    commit: str
    why: str


class Standing(Struct, frozen=True):
    """What is remembered of the walk. `anchor`: from where, and over which commits, it was made."""

    anchor: str
    tip: str | None = None
    """The newest first-parent commit up to which everything is trusted."""
    held: dict[str, Held] = {}


class Rule(Struct, frozen=True):
    """Who may move which environment: patterns of signers. An environment that is not named: every signer."""

    movers: Mapping[str, tuple[str, ...]] = {}
    own_key: str = ""
    """The fingerprint of the daemon's own key, whose reverts go everywhere."""

    def permits(self, environment: str, signer: str, key: str = "") -> bool:
        patterns = self.movers.get(environment)
        own = bool(self.own_key) and key == self.own_key
        return patterns is None or own or any(fnmatchcase(signer, pattern) for pattern in patterns)


def onward(
    standing: Standing,
    rule: Rule,
    parent: str | None,
    signature: Signature,
    touched: Mapping[str, Collection[Touched]],
) -> Standing | Refusal:
    """The next first-parent commit, whose signature counts; `touched`: what it moved, by environment.

    Nothing that is put on top makes an intrusion good: the file must stand again as it did.
    """
    held = dict(standing.held)
    for environment, files in touched.items():
        before = held.pop(environment, None)
        intrusions = dict(before.files) if before else {}
        permitted = rule.permits(environment, signature.signer, signature.key)
        for file in files:
            known = intrusions.get(file.path)
            if known and file.after == known.trusted:
                del intrusions[file.path]
            elif not known and not permitted:
                intrusions[file.path] = Intrusion(file.before, signature.commit, signature.signer)
        if len(intrusions) > FILES_MAX:
            why = f"it moves more than {FILES_MAX} files of {environment}, which {signature.signer} may not move"
            return Refusal(signature.commit, why)
        if intrusions:
            held[environment] = Held(before.revision if before else parent, intrusions)
    return Standing(standing.anchor, signature.commit, held)


def pardoned(standing: Standing, rule: Rule) -> Standing:
    """The same after the rule has changed: what its signer may do now holds nothing up."""
    held = {}
    for environment, one in standing.held.items():
        left = {
            path: found for path, found in one.files.items() if not rule.permits(environment, found.signer)
        }
        if left:
            held[environment] = Held(one.revision, left)
    return Standing(standing.anchor, standing.tip, held)


def environment_of(path: str, environments: Iterable[str]) -> str | None:
    """The environment among these that a file belongs to."""
    return next(
        (
            name
            for name in environments
            if path.startswith((f"environments/{name}.y", f"environments/{name}/"))
        ),
        None,
    )


def refusal_text(refusal: Refusal) -> str:
    """`commit 1f2e3d4c5b6a is not trusted: it is not signed`."""
    return f"commit {refusal.commit[:SHORT]} is not trusted: {refusal.why}"


def refusal_remedy(refusal: Refusal) -> str:
    """What un-sticks the branch."""
    return (
        "take it off the branch (a force-push that drops only what was never in force is followed), or, having "
        f"looked at it, set trust.since in ugs.yaml to {refusal.commit} and start the daemon again"
    )


def held_text(environment: str, held: Held, rule: Rule) -> str:
    """Which commit by whom is not followed, and who could have made it."""
    path, found = min(held.files.items())
    more = f" and {len(held.files) - 1} more files" if len(held.files) > 1 else ""
    may = ", ".join(rule.movers.get(environment, ())) or "nobody but the daemon itself"
    return (
        f"commit {found.commit[:SHORT]} changes {path}{more}, and its signer {found.signer} may not move "
        f"{environment}; those who may: {may}"
    )


def held_remedy(held: Held) -> str:
    """What lets an environment follow the branch again."""
    path, found = min(held.files.items())
    # Not as at the revision in force: one who may could have changed it since, unseen behind another intrusion.
    back = f"put {path} back as it was before {found.commit[:SHORT]}"
    return f"{back}, and let one of those who may make the change again"
