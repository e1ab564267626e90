"""What is said of a plan between two revisions: the facts of each change, and all of it as a comment in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.availability import lasting
from reconciler.model.codec import builtins
from reconciler.model.gates import closed
from reconciler.model.markdown import code, details, quote, table
from reconciler.model.planned import FlagMove, Planned, Preview
from reconciler.model.sentence import count, migrating, step, switching
from reconciler.model.switching import described
from reconciler.model.zone import local_text

MARKER = "<!-- ugs plan -->"
"""The first line of a comment, by which the next one can find and replace it."""
COMMENT_CHARACTERS_MAX = 60_000
"""GitHub takes 65,536."""
ROWS_MAX = 100
COLUMNS = ("environment", "service", "from", "to", "class", "would start", "takes at most", "downtime")


class Shown(Struct, frozen=True):
    """A preview and what it was made of. `running`: a sentence that says what is taken to run."""

    preview: Preview
    before: str
    after: str
    basis: Literal["repository", "daemon"]
    running: str
    remarks: tuple[str, ...] = ()
    """What else is to be said of the whole, in sentences."""

    @property
    def headline(self) -> str:
        changes, removed = len(self.preview.changes), len(self.preview.removed)
        places = sorted({planned.change.environment for planned in self.preview.changes})
        text = count(changes, "change") + (f" in {', '.join(places[:5])}" if changes else "")
        text += f" and {len(places) - 5} more" if len(places) > 5 else ""
        text += f", {count(removed, 'pin')} removed" if removed else ""
        switches = sum(1 for one in self.preview.flags if one.before and one.after)
        text += f", {count(switches, 'live flag')} switched" if switches else ""
        problems = len(self.preview.problems)
        return text + (f", {count(problems, 'new problem')}" if problems else "")


def markdown(shown: Shown) -> str:
    """A comment on a pull request, bounded in size, with the mark of one that `ugs plan` wrote."""
    return f"{MARKER}\n{body(shown)}"


def lasting_of(shown: Shown) -> Shown:
    """The same without what changes by itself as time goes by: what is left is worth telling anew where it differs."""
    changes = tuple(
        replace(
            one,
            starts_at=one.starts_at if closed(one.gates) and not one.after else None,
            usual_s=None,
            steps=tuple(replace(step, starts_at=None) for step in one.steps),
        )
        for one in shown.preview.changes
    )
    return replace(shown, before="", after="", preview=replace(shown.preview, changes=changes))


def body(shown: Shown) -> str:
    """What such a comment says."""
    preview = shown.preview
    lines = [f"### UGS: {shown.headline}", ""]
    lines += [f"`{shown.before[:12]}..{shown.after[:12]}`; {code(shown.running)}", ""]
    if preview.changes:
        columns = [column.capitalize() for column in COLUMNS]
        rows = [
            [*map(code, cells[:4]), *cells[4:]] for cells in map(row, preview.changes[:ROWS_MAX])
        ]  # what people named, then what we say of it
        lines += [*table(columns, rows), ""]
    lines += _bullets("", list(shown.remarks))
    lines += [*_bullets("Problem", map(str, preview.problems)), *_bullets("", aside(preview))]
    text = _clipped("\n".join(lines).rstrip("\n") + "\n")
    for index, planned in enumerate(preview.changes):
        section = "\n".join(details(title(planned), _section(planned)))
        if len(text) + len(section) > COMMENT_CHARACTERS_MAX:
            return f"{text}\n{count(len(preview.changes) - index, 'change')} more: see `ugs plan`.\n"
        text += f"\n{section}"
    return text.rstrip("\n") + "\n"


def facts(planned: Planned) -> Iterator[tuple[str, str]]:
    """What there is to say of one change, each with its label."""
    yield from _times(planned)
    for need in planned.needs:
        found = f"{need.found} would run" if need.found else "nothing of it would run"
        yield "needs", f"{need.service} {need.wanted}: {found}{'' if need.met else ', which is not enough'}"
    if planned.impact:
        yield "at risk", f"{', '.join(planned.impact)} (they require it)"
    if planned.irreversible:
        yield "cannot be taken back", f"across {', '.join(map(str, planned.irreversible))}"
    if data := migrating(planned.saved, builtins(planned.migrations)):
        yield "data", data
    if planned.withdrawn:
        yield "withdrawn", planned.withdrawn
    if flags := switching(builtins(planned.flags)):
        yield "flags", flags
    if planned.differences:
        yield "settings", ", ".join(planned.differences)


def _times(planned: Planned) -> Iterator[tuple[str, str]]:
    """What it waits for, and how it goes."""
    for gate in closed(planned.gates):
        yield (
            f"waits for {gate.gate}",
            gate.reason + (f" (opened by {gate.opened_by})" if gate.opened_by else ""),
        )
    if planned.reviewed:
        yield "reviews", planned.reviewed
    if planned.under_way:
        yield "under way here", planned.under_way
    if planned.after:
        yield "comes after", ", ".join(planned.after)
    if len(planned.steps) > 1:
        steps = [
            f"{one.release.version} ({one.change_class}, {_when(one.starts_at, planned.zone)})"
            for one in planned.steps
        ]
        yield "goes by way of", ", then ".join(steps)
    if planned.usual_s is not None:
        yield "expected to take", f"{lasting(planned.usual_s)}, by what past upgrades took"


def row(planned: Planned) -> tuple[str, ...]:
    change = planned.change
    duration_s = planned.longest_s
    return (
        change.environment,
        change.service,
        change.running.version.text if change.running else "-",
        change.to.version.text if change.to else "nothing",
        planned.change_class,
        _when(planned.starts_at, planned.zone) if closed(planned.gates) or planned.after else "at once",
        lasting(duration_s) if duration_s is not None else "-",
        "yes" if planned.downtime else "none",
    )


def _section(planned: Planned) -> list[str]:
    lines = [f"- {label}: {code(text)}" for label, text in facts(planned)]
    for release in planned.notes:
        said = quote(release.notes) if release.notes.strip() else ["> no notes"]
        lines += [*([""] if lines else []), f"Notes of {code(release.version.text)}:", "", *said]
    return lines


def title(planned: Planned) -> str:
    change = planned.change
    return f"{change.environment}/{change.service} {step(change.running, change.to)}"


def aside(preview: Preview) -> list[str]:
    """What changes without anything being deployed."""
    stopped = {(planned.change.environment, planned.change.service) for planned in preview.changes}
    gone = [
        f"{pin.environment}/{pin.service} is pinned no longer: policy.prune is off, so {pin.version} runs on"
        for pin in preview.removed
        if (pin.environment, pin.service) not in stopped
    ]
    switched = [f"{one.environment}: flag {one.flag}: {_switch(one)}" for one in preview.flags]
    return gone + switched + [f"{name} sets `{key}` otherwise" for name, key in preview.settings]


def _switch(move: FlagMove) -> str:
    """What people would get of a live flag, and since when."""
    if move.after is None:
        services = ", ".join(move.before.services) if move.before else ""
        return f"goes with what runs of {services}, which needs it as it is until then"
    if move.before is None:
        return f"new, {described(move.after)}"
    when = "when a change of class config might start" if move.waits else "as soon as this is in force"
    return f"{described(move.before)} → {described(move.after)}, {when}; nothing is deployed"


def _bullets(label: str, texts: Iterator[str] | list[str]) -> list[str]:
    return [f"- {f'{label}: ' if label else ''}{code(text)}" for text in texts]


def _when(at: datetime | None, zone: str) -> str:
    return local_text(at, zone) if at else "not by itself"


def _clipped(text: str) -> str:
    if len(text) <= COMMENT_CHARACTERS_MAX:
        return text
    return text[:COMMENT_CHARACTERS_MAX].rpartition("\n")[0] + "\n\nMore: see `ugs plan`.\n"
