"""The real daemon, killed again and again over one history; after every kill everything is looked at."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Literal

from reconciler.cli.graph import settings_from, site_of, store_of
from reconciler.drivers import DRIVERS
from reconciler.model.upgrade import Upgrade
from tests.daemon_process import WAIT_S, argv, environ
from tests.drivers.services import Mode, kill_all, wait_until
from tests.git.colleague import git
from tests.world import World

SERVICES = ("api", "db", "web")
FAILPOINTS_MAX = 45
"""Two services at once pass about so many."""
INSTANT_S_MAX = 2.5
KILLS_OF_A_ROUND_MAX = 6
UPGRADES_MAX = 100_000
"""Of one campaign, for all of which the invariants are looked at; a store by itself lists the last hundred."""
FAILING: tuple[Mode, ...] = ("unhealthy", "crash", "wrong-version")
OPERATIONS = "--format=%(trailers:key=Ugs-Operation,valueonly)"

End = Literal["killed", "ended"]


@dataclasses.dataclass
class Expected:
    """What one service must come to: by what its people asked and by what its releases really do."""

    runs: str
    failed: set[str] = dataclasses.field(default_factory=set)


class Campaign:
    """One world, one seed. Every round bumps something and kills the daemon over it; `at` counts where."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.at: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._number = 0
        self._deployed = len(SERVICES)
        self._expected: dict[str, Expected] = {}
        self._people: list[str] = []
        """Every commit that a person pushed."""

    @property
    def kills(self) -> int:
        return self.at.total()

    def start(self) -> None:
        self.world.deploy_first("1.0.0", *SERVICES)
        self._expected = {service: Expected("1.0.0") for service in SERVICES}
        self._people.append(self.world.tip())
        self._run()
        self.check_settled()

    def round(self) -> None:
        """Push something, kill the daemon over it a few times, let it end, and look at everything."""
        pids = {service: self.world.pid(service) for service in SERVICES}
        touched = self._push()
        for _ in range(self._random.randint(1, KILLS_OF_A_ROUND_MAX)):
            if self._run_and_kill() == "ended":
                break
            self.check_always()
        self._run()
        self.check_settled()
        for service in set(SERVICES) - touched:
            assert self.world.pid(service) == pids[service], f"{service} was not to be touched"

    def _push(self) -> set[str]:
        self._number += 1
        touched = set(self._random.sample(SERVICES, self._random.choice((1, 1, 2))))
        for service in sorted(touched):
            version = f"1.{self._number}.0"
            self._deployed += 1
            # The breaker trips where half of all fail, and then UGS rightly reverts no more.
            may_fail = sum(len(one.failed) for one in self._expected.values()) < self._deployed / 3
            mode: Mode = self._random.choice(FAILING) if may_fail and self._random.random() < 0.6 else "ok"
            self.world.release(version, mode, service=service)
            self.world.pin(version, service)
            if mode == "ok":
                self._expected[service].runs = version
            else:
                self._expected[service].failed.add(version)
        self._people.append(self.world.merge(f"Round {self._number}"))
        for service in touched:  # what Ada writes next starts from what will stand there then
            self.world.pin(self._expected[service].runs, service)
        return touched

    def _run_and_kill(self) -> End:
        """One daemon, killed at a failpoint or at any instant, unless it has done all its work before."""
        by_instant = self._random.random() < 0.4
        number, delay_s = self._random.randint(1, FAILPOINTS_MAX), self._random.uniform(0.2, INSTANT_S_MAX)
        with self._daemon("" if by_instant else f"#{number}") as running:
            if by_instant:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    running.wait(delay_s)
                running.kill()
            _, said = running.communicate(timeout=WAIT_S)
        if running.returncode != -signal.SIGKILL:
            _sane(said)
            return "ended"
        lines = [
            line.removeprefix("failpoint ") for line in said.splitlines() if line.startswith("failpoint ")
        ]
        self.at["any instant" if by_instant else lines[-1]] += 1
        return "killed"

    def _run(self) -> None:
        with self._daemon("") as running:
            _, said = running.communicate(timeout=WAIT_S)
        assert running.returncode in (0, 1), said
        _sane(said)

    @contextlib.contextmanager
    def _daemon(self, failpoint: str) -> Iterator[subprocess.Popen[str]]:
        running = subprocess.Popen(
            argv("run", "--once", "--config", self.world.configure()),
            env=environ({"UGS_FAILPOINT": failpoint} if failpoint else {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        with running:
            try:
                yield running
            finally:
                running.kill()

    # what must hold, numbered as in docs/design.md, section 3

    def check_always(self) -> None:
        """What holds at any instant, also right after a kill."""
        operations = git(self.world.remote, "log", OPERATIONS, "main").split()
        assert len(operations) == len(set(operations)), f"(4) two reverts of one upgrade: {operations}"
        for commit in self._people:
            git(self.world.remote, "merge-base", "--is-ancestor", commit, "main")  # (5)
        with closing(sqlite3.connect(f"file:{self.world.state}/ugs.db?mode=ro", uri=True)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert database.execute("PRAGMA foreign_key_check").fetchall() == []
            restored = {
                row[0] for row in database.execute("SELECT operation FROM steps WHERE step = 'restore'")
            }
            quarantined = {row[0] for row in database.execute("SELECT operation FROM rollback_records")}
            assert restored <= quarantined, (
                f"(3) restored before it was quarantined: {restored - quarantined}"
            )

    def check_settled(self) -> None:
        """What holds when nothing moves any more."""
        self.check_always()
        settings = settings_from(self.world.configure())
        observed = DRIVERS["process"].observe(site_of(settings), "production")
        tip = self.world.pinned()
        reverted = set(git(self.world.remote, "log", OPERATIONS, "main").split())
        with closing(store_of(settings)) as store:
            assert store.verify_audit() is None, "(10) the audit log is broken"
            upgrades = store.upgrades(environment="production", limit=UPGRADES_MAX)
        for service, expected in self._expected.items():
            wait_until(partial(self.world.answers, service))
            assert [str(i.target.version) for i in observed[service].instances] == [expected.runs], service
            assert f'{service}: "{expected.runs}"' in tip, f"{service}: the pin does not say what runs\n{tip}"
            mine = [upgrade for upgrade in upgrades if upgrade.service == service]
            assert all(upgrade.final for upgrade in mine), "(9) it is not over"
            self._check_failed([upgrade for upgrade in mine if upgrade.failed], expected, reverted)

    def _check_failed(self, failed: list[Upgrade], expected: Expected, reverted: set[str]) -> None:
        versions = [str(upgrade.to.version) for upgrade in failed if upgrade.to]
        assert sorted(versions) == sorted(expected.failed), (
            f"(3) each bad version is tried exactly once: tried {sorted(versions)}, bad {sorted(expected.failed)}"
        )
        for upgrade in failed:
            assert upgrade.phase == "reverted", (
                f"(4) {upgrade.operation} ended {upgrade.phase}: {upgrade.reason}"
            )
            assert upgrade.operation in reverted, f"(4) {upgrade.operation} has no commit"


def _sane(said: str) -> None:
    assert "Traceback" not in said, said
    assert "bug:" not in said, said


def run(folder: Path, seed: int, kills: int) -> Counter[str]:
    """One campaign until so many kills were survived: where they struck. Leaves no process behind."""
    folder.mkdir(parents=True)
    world = World(folder)
    campaign = Campaign(world, seed)
    end_s = time.monotonic() + 60 + 20 * kills
    try:
        campaign.start()
        while campaign.kills < kills:
            assert time.monotonic() < end_s, f"only {campaign.kills} kills"
            campaign.round()
    finally:
        kill_all(world.state)
    return campaign.at
