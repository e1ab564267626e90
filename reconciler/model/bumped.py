"""What a bump says of itself: in its commit, and in its pull request. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reconciler.model import pulls
from reconciler.model.bumps import Choice
from reconciler.model.markdown import code, quote
from reconciler.model.notes import Catalogue, between
from reconciler.model.pulls import LABEL, Wanted
from reconciler.model.release import Release
from reconciler.model.version import Step, Version, step_between

LINES_MAX = 60
TITLE_CHARACTERS_MAX = 150
LINE_CHARACTERS_MAX = 500
WEIGHT: Mapping[str, int] = {"patch": 0, "minor": 1, "major": 2, "emergency": 3}


def message(known: Catalogue, environment: str, before: Version, release: Release) -> str:
    """The commit message: what the bump of one pin from `before` to `release` brings."""
    lines = [title(environment, release.service, before, release.version), ""]
    lines += [f"Class: {class_of(before, release)}.", ""]
    if release.withdrawn is not None:
        lines += [
            f"Withdrawn since {release.withdrawn.since}: {' '.join(release.withdrawn.reason.split())}",
            "",
        ]
    if release.requires:
        lines += [*(f"Needs {name} {wanted}." for name, wanted in sorted(release.requires.items())), ""]
    for brought in between(known, release.service, before, release.version):
        if brought.notes.strip():
            lost = " (taken back)" if release.version < before else ""
            # Indented: at the left margin a line of notes could be a trailer, which the daemon obeys.
            noted = [
                f"  {line[:LINE_CHARACTERS_MAX]}".rstrip() for line in brought.notes.strip().splitlines()
            ]
            lines += [f"{brought.version}{lost}:", *noted, ""]
    if len(lines) > LINES_MAX:
        lines = [*lines[:LINES_MAX], "", "More: see `ugs notes`."]
    return "\n".join(lines).strip() + "\n"


def title(environment: str, service: str, before: Version, after: Version) -> str:
    return f"Bump {environment}/{service} from {before} to {after}"


def class_of(before: Version, release: Release) -> str:
    """As far as two versions say; `rollback` depends on what proved healthy."""
    down = ", and down: needs allow_downgrade, unless it goes back to what ran before"
    return step_of(before, release) + (down if release.version < before else "")


def step_of(before: Version, release: Release, zero_minor: Step = "major") -> str:
    """The class in one word, for a label."""
    urgent = release.upgrade.urgency == "emergency"
    low, high = sorted((before, release.version))
    return "emergency" if urgent else step_between(low, high, zero_minor=zero_minor)


def wanted(
    choices: Sequence[Choice], known: Catalogue, *, group: str | None = None, zero_minor: Step = "major"
) -> Wanted:
    """The pull request that moves these pins of one environment: of one pin, or of a group.

    `known`: the releases of the branch, newest first.
    """
    environment = choices[0].environment
    subject = f"group.{group}" if group else choices[0].service
    messages = [message(known, environment, one.before, one.release) for one in choices]
    steps = {step_of(one.before, one.release, zero_minor) for one in choices}
    name, text = messages[0].partition("\n")[::2]
    if group:
        moved = ", ".join(f"{one.service} {one.release.version}" for one in choices)
        name = f"Bump {environment}/{group}: {moved}"
        name = name if len(name) <= TITLE_CHARACTERS_MAX else f"Bump {len(choices)} of {environment}/{group}"
        text = "\n".join(messages)
    return Wanted(
        "bump",
        pulls.branch_for("bump", environment, subject),
        environment,
        tuple(one.ask for one in choices),
        name,
        _body(name, text, choices),
        f"{name}\n\n{text.strip()}\n",
        (LABEL, f"ugs: {max(steps, key=WEIGHT.__getitem__)}"),
    )


def _body(name: str, text: str, choices: Sequence[Choice]) -> str:
    lines = quote(text) if text.strip() else [code(name)]
    made = [one for one in choices if one.origin]
    if made:
        lines += ["", "These manifests are new, each made from an older one: look at what else has changed,"]
        lines += ["such as migrations, probes and settings."]
        lines += [
            f"- {code(one.release.place.file)}, from {code(str(one.origin))}: {code(one.release.artifact.image or '')}"
            for one in made
        ]
    asked = ", ".join(code(f"{one.service} {one.release.version}") for one in choices)
    lines += [
        "",
        f"Merged, it is deployed when the gates of {code(choices[0].environment)} are open. Closed unmerged, {asked}",
        "is not asked for again; what is newer will be. UGS keeps this up with the branch until others commit to it.",
    ]
    return "\n".join(lines) + "\n"
