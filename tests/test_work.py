"""How much work UGS does for a thing: counted, so that it is the same on every machine, and held against `work.json`.

Where a number has changed, it says so. Less work, or more that is worth it: `WORK=write pytest tests/test_work.py`, and
say why in the commit. More work that nobody meant: mend the code.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine import paced
from tests.world import World

KNOWN = Path(__file__).with_name("work.json")
DRIVER = ("observe", "prepare", "preflight", "restorable", "apply", "settle", "restore", "tidy")
WHEREVER_IT_WAITS = ("observe",)
"""Calls whose number hangs on how long a machine takes to start a service; they count only where nothing is started."""
REMEDY = "more work than this commit is worth? mend it; meant so? WORK=write pytest tests/test_work.py, and say why"


class Counted:
    """What is done from now on: statements, transactions, processes of Git, files parsed, calls of the driver."""

    def __init__(self, world: World, patch: pytest.MonkeyPatch) -> None:
        self.world, self.counts, self.parsed = world, Counter[str](), 0
        world.core.store._connection.set_trace_callback(self._statement)
        start = subprocess.Popen.__init__
        counts = self.counts

        def started(process: Any, args: Any, *more: Any, **how: Any) -> None:
            if Path(args[0]).name == "git":
                counts["git processes"] += 1
            start(process, args, *more, **how)

        patch.setattr(subprocess.Popen, "__init__", started)
        for name in DRIVER:
            setattr(world.driver, name, self._calling(name, getattr(world.driver, name)))

    def _calling(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **keywords: Any) -> Any:
            self.counts[f"driver {name}"] += 1
            return call(*args, **keywords)

        return called

    def _statement(self, sql: str) -> None:
        match sql.split(maxsplit=1)[0]:
            case "BEGIN" | "SAVEPOINT":
                self.counts["transactions"] += 1
            case "SELECT":
                self.counts["reads"] += 1
            case "INSERT" | "UPDATE" | "DELETE":
                self.counts["writes"] += 1

    def since(self, *, waits: bool = False) -> dict[str, int]:
        """What was done since it was asked last. `waits`: for something that takes its time."""
        parsed = self.world.core.repository._cache.parsed
        self.counts["files parsed"] = parsed - self.parsed
        found = {
            name: number
            for name, number in sorted(self.counts.items())
            if number and not (waits and name.removeprefix("driver ") in WHEREVER_IT_WAITS)
        }
        self.parsed = parsed
        self.counts.clear()
        return found


async def done(
    world: World, patch: pytest.MonkeyPatch, services: tuple[str, ...]
) -> dict[str, dict[str, int]]:
    """By what is done: the work for it."""
    world.accept_first = True
    for service in services:
        world.release("1.0.0", service=service, deadline="30s")
        world.pin("1.0.0", service)
    world.merge("Start")
    await world.settle()
    await world.deliver()
    await world.settle()
    assert world.phases() == ["succeeded"], [(one.phase, one.reason) for one in world.upgrades()]
    patch.setattr(paced, "HOLD_S", 60.0)  # what is read anew after a pause depends on how busy the machine is
    counted, found = Counted(world, patch), {}
    counted.since()

    await world.fleet.refresh(poll=True)
    counted.since()
    await world.fleet.refresh(poll=True)
    found["a poll without news"] = counted.since()
    await world.a_pass()
    found["a pass over what is as it should be"] = counted.since()

    world.ada.commit({"README.md": "more\n"}, "Write")
    world.ada.push()
    await world.fleet.refresh()
    found["a commit that moves no pin, taken into force"] = counted.since()

    world.core.store.hold("production", None, reason="look", owner="ada", until=None)
    world.bump("1.1.0")
    counted.since()
    await world.fleet.refresh()
    found["a commit that moves one pin, taken into force"] = counted.since()
    await world.a_pass()
    found["the pass that decides about it"] = counted.since()
    await world.a_pass()
    found["a pass while it waits"] = counted.since()

    world.core.store.release_hold(1, by="ada")
    counted.since()
    await world.settle(refresh=False)
    await world.deliver()
    found["the upgrade, with all that is told of it"] = counted.since(waits=True)

    world.bump("1.2.0", "unhealthy")
    await world.settle()
    await world.deliver()
    found["one that fails, is restored and reverted"] = counted.since(waits=True)
    assert world.phases() == ["succeeded", "succeeded", "reverted"]
    return found


async def test_no_more_is_done_than_was_agreed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await done(world, monkeypatch, ("api", "web"))
    if os.environ.get("WORK") == "write":
        KNOWN.write_text(json.dumps(found, indent=2) + "\n")
    known = json.loads(KNOWN.read_text())
    assert found == known, REMEDY


async def test_what_does_not_change_costs_nothing_however_much_there_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice as many services: the same work where nothing of them moves, and next to nothing at rest."""
    found, known = (
        await done(world, monkeypatch, ("api", "web", "more", "most")),
        json.loads(KNOWN.read_text()),
    )
    for what in (
        "a poll without news",
        "a pass over what is as it should be",
        "a commit that moves no pin, taken into force",
        "a commit that moves one pin, taken into force",
        "the pass that decides about it",
        "a pass while it waits",
    ):
        assert found[what] == known[what], f"{what}: it grows with what exists"
    assert set(found["a pass over what is as it should be"]) == {"driver observe"}
