"""The real daemon, killed again and again over one history; after every kill everything is looked at.

A plan is a `Campaign` that says what is pushed in each round, what must come of it, and which failpoints it meets.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from reconciler.model.upgrade import Upgrade
from tests.crash.failpoints import shown
from tests.daemon_process import argv, environ
from tests.drivers.services import Mode, kill_all
from tests.git.colleague import git
from tests.world import World

FAILPOINTS_MAX = 45
"""Two services at once pass about so many."""
INSTANT_S_MAX = 2.5
KILLS_OF_A_ROUND_MAX = 6
KILL_S_MAX = 180
"""How long one kill may take, with all that goes with it, on a machine that does much else."""
UPGRADES_MAX = 100_000
"""Of one campaign, for all of which the invariants are looked at; a store by itself lists the last hundred."""
FAILING: tuple[Mode, ...] = ("unhealthy", "crash", "wrong-version")
OPERATIONS = "--format=%(trailers:key=Ugs-Operation,valueonly)"
TOLD = "failpoint "
RESTORED = """\
SELECT coalesce(
    nullif(json_extract(value, '$.taken_with'), ''), nullif(json_extract(value, '$.rollout'), ''), operation
)
FROM upgrades JOIN steps USING (operation) WHERE step = 'restore'
AND (coalesce(json_extract(value, '$.rollout'), '') = '' OR coalesce(json_extract(value, '$.failed'), 0))
"""
"""What was restored: by the operation that is quarantined, which is its own, that with which it goes back, or the
rollout's. What goes back since it failed on another host is shut out by what that one has published."""

End = Literal["killed", "ended"]


@dataclass
class Tally:
    """By failpoint, with `*` for what differs from one release to the next."""

    met: Counter[str] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        self.met.update(other.met)
        self.killed.update(other.killed)


class Campaign:
    """One world, one seed. Every round does something and kills the daemon over it."""

    reaches: ClassVar[tuple[str, ...]] = ()
    """The failpoints that it is there for, beside those that every upgrade passes; it meets them without any kill."""
    arguments: ClassVar[tuple[str, ...]] = ("--once",)
    patience_s: ClassVar[float] = 240.0
    """How long one daemon may take until it has nothing left to do."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.world = World(folder)
        self.tally = Tally()
        self.random = random.Random(f"{type(self).__name__} {seed}")
        self.people: list[str] = []
        """Every commit that a person pushed."""
        self._log = folder / "daemon.log"

    # what a plan says

    def start(self) -> None:
        """Deploy what is there from the first."""
        raise NotImplementedError

    def story(self) -> Iterator[None]:
        """What people do in one round; wherever it yields, the daemon has its turn."""
        raise NotImplementedError

    def check_settled(self) -> None:
        """What holds when nothing moves any more."""
        self.check_always()

    def struck(self, last: str) -> None:
        """What happens to the machine together with a kill."""

    def close(self) -> None:
        for environment in ("production", "staging", "dev"):
            kill_all(self.world.state, environment)

    # one round

    def round(self, kills: int | None = None) -> None:
        """Do something, kill the daemon over it a few times, let it end, and look at everything."""
        for _ in self.story():
            for _ in range(self.random.randint(1, KILLS_OF_A_ROUND_MAX) if kills is None else kills):
                if self.run_and_kill() == "ended":
                    break
                self.check_always()
            self.run()
            self.check_settled()

    def run_and_kill(self) -> End:
        """One daemon, killed at a failpoint or at any instant, unless it has done all its work before."""
        how = self.random.choices(("instant", "count", "name"), (4, 3, 3))[0]
        number = self.random.randint(1, self.random.randint(1, FAILPOINTS_MAX))
        delay_s, name = self.random.uniform(0.2, INSTANT_S_MAX), self.seldom()
        with self._daemon({"instant": "#0", "count": f"#{number}", "name": name}[how]) as running:
            end_s = time.monotonic() + (delay_s if how == "instant" else self.patience_s)
            over = self.over(running, end_s)
            if how == "instant" and not over:
                running.kill()
            elif not over:
                raise AssertionError(f"it does not end:\n{self._said()}")
            running.wait(self.patience_s)
        met = self.read(self._said())
        if running.returncode != -signal.SIGKILL:
            return "ended"
        self.tally.killed["any instant" if how == "instant" else met[-1]] += 1
        self.struck(met[-1] if met else "")
        return "killed"

    def seldom(self) -> str:
        """Of all that was ever met, one of those at which it was killed the least; at first, the first of all."""
        known = sorted(name for name in self.tally.met if "*" not in name)
        return min(known, key=lambda name: (self.tally.killed[name], self.random.random()), default="#1")

    def run(self) -> None:
        """One daemon that nobody kills, until there is nothing left to do."""
        with self._daemon("#0") as running:
            assert self.over(running, time.monotonic() + self.patience_s), self._said()
            running.wait(self.patience_s)
        self.read(self._said())
        assert running.returncode in (0, 1), self._said()

    def over(self, running: subprocess.Popen[bytes], end_s: float) -> bool:
        """Wait until it has ended; whether it has."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(max(0.0, end_s - time.monotonic()))
        return running.poll() is not None

    def _said(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def read(self, said: str) -> list[str]:
        """The failpoints that a daemon has met by its log, in order. It must not have stumbled."""
        assert "Traceback" not in said, said
        assert "bug:" not in said, said
        met = [shown(line.removeprefix(TOLD)) for line in said.splitlines() if line.startswith(TOLD)]
        self.tally.met.update(met)
        return met

    @contextlib.contextmanager
    def _daemon(self, failpoint: str) -> Iterator[subprocess.Popen[bytes]]:
        with self._log.open("wb") as log:
            running = subprocess.Popen(
                argv("run", *self.arguments, "--config", self.world.configure()),
                env=environ({"UGS_FAILPOINT": failpoint}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        with running:
            try:
                yield running
            finally:
                running.kill()

    # what must hold, numbered as in docs/design.md, section 3

    def check_always(self) -> None:
        """What holds at any instant, also right after a kill."""
        self.check_remote()
        check_database(self.world.state)

    def check_remote(self) -> None:
        """What holds of the branch at any instant."""
        remote = self.world.remote
        operations = git(remote, "log", OPERATIONS, "main").split()
        assert len(operations) == len(set(operations)), f"(4) two reverts of one upgrade: {operations}"
        for commit in self.people:
            git(remote, "merge-base", "--is-ancestor", commit, "main")  # (5)


def check_database(state: Path) -> None:
    """What holds of the daemon's database at any instant."""
    with closing(sqlite3.connect(f"file:{state}/ugs.db?mode=ro", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        restored = {row[0] for row in database.execute(RESTORED)}
        taken = {row[0] for row in database.execute("SELECT operation FROM rollback_records")}
        assert restored <= taken, f"(3) restored before it was quarantined: {restored - taken}"


def end_of(upgrade: Upgrade) -> str:
    return f"{upgrade.operation} of {upgrade.service} ended {upgrade.phase}: {upgrade.reason}"
