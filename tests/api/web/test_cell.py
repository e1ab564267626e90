"""What a cell says of each state that a service can be in: a shape for every colour, and a word for every shape."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from reconciler.api.web.cell import Shape, cell_of
from reconciler.api.web.upgrade import timeline
from reconciler.engine.view import ServiceView
from reconciler.model.circumstances import Gate
from reconciler.model.target import Target
from reconciler.model.version import Version
from reconciler.store import AuditRow, Step
from tests.store.builders import START

OLD, NEW = Target(Version("1.4.0"), "0" * 12), Target(Version("1.5.0"), "1" * 12)
VIEW = ServiceView("api", OLD, OLD, "in-sync", "healthy", None, "it runs as pinned", ())
WINDOW = Gate("window", open=False, reason="closed")


@pytest.mark.parametrize(
    ("view", "shape", "word"),
    [
        (VIEW, "ok", "healthy"),
        (replace(VIEW, health="progressing"), "moving", "starting"),
        (replace(VIEW, health="unknown"), "unknown", "unknown"),
        (replace(VIEW, health="degraded"), "bad", "degraded"),
        (replace(VIEW, sync="missing", running=None), "bad", "missing"),
        (replace(VIEW, sync="drifted"), "bad", "drifted"),
        (replace(VIEW, sync="foreign"), "bad", "foreign"),
        (replace(VIEW, sync="out-of-sync"), "bad", "out of sync"),
        (replace(VIEW, sync="unpinned", pinned=None), "unknown", "unpinned"),
        (replace(VIEW, phase="verifying"), "moving", "verifying"),
        (replace(VIEW, phase="restoring"), "bad", "restoring"),
        (replace(VIEW, phase="waiting", gates=(Gate("hold", open=True), WINDOW)), "waiting", "waits"),
        (replace(VIEW, phase="waiting", gates=(Gate("trust", open=False),)), "bad", "waits"),
        (replace(VIEW, phase="waiting", gates=(Gate("quarantine", open=False),)), "bad", "quarantined"),
        (replace(VIEW, phase="waiting"), "waiting", "starts"),
    ],
)
def test_each_state_has_its_shape_and_its_word(view: ServiceView, shape: Shape, word: str) -> None:
    cell = cell_of("production", view)
    assert (cell.shape, cell.word) == (shape, word)
    assert cell.restful == (shape == "ok")


def test_a_cell_says_what_runs_and_what_is_pinned_instead() -> None:
    cell = cell_of("production", replace(VIEW, pinned=NEW, phase="waiting", gates=(WINDOW,)))
    assert (cell.running, cell.pinned, cell.moves, cell.gate) == ("1.4.0", "1.5.0", True, "window")
    other = replace(OLD, digest="2" * 12)
    assert cell_of("production", replace(VIEW, pinned=other)).pinned == "1.4.0 (config)"
    nothing = cell_of("production", replace(VIEW, pinned=None, running=None))
    assert (nothing.running, nothing.pinned, nothing.moves) == ("", "", False)


def test_a_timeline_is_in_the_order_in_which_things_came() -> None:
    def row(event: str, after_s: float, actor: str = "ugs") -> AuditRow:
        at = START + timedelta(seconds=after_s)
        return AuditRow(1, at, event, "production", "api", "op", actor, "", "", "")

    steps = [
        Step("op", "artifact", START + timedelta(seconds=1), START + timedelta(seconds=3), "failed", "gone"),
        Step("op", "apply", START + timedelta(seconds=4), None, "", ""),
    ]
    found = timeline([row("preparing", 0), row("approved", 2, "ada")], steps)
    assert [(one.kind, one.name, one.outcome, one.actor, one.bad) for one in found] == [
        ("phase", "preparing", "", "", False),
        ("step", "artifact", "failed", "", True),
        ("word", "approved", "", "ada", False),
        ("step", "apply", "under way", "", False),
    ]
    assert found[1].lasted == timedelta(seconds=2)
    assert found[3].after == timedelta(seconds=4)
    assert timeline([], []) == []
