"""Beside a forge: newer versions are proposed and closed again, and what failed is proposed back."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from reconciler.cli.client import call
from reconciler.model.codec import decode
from reconciler.model.errors import UgsError
from reconciler.model.upgrade import Upgrade
from tests.crash.campaign import Campaign, end_of
from tests.drivers.services import wait_until
from tests.forge.server import ForgeServer, Pull
from tests.git.colleague import git

LOOK_S = 0.05
REST_S = 180.0
"""The daemon looks at its pull requests every minute, should it have missed what happened to them."""
PIN = '{{version: "{}", bump: {{from: releases, range: "^1"}}}}'
FREEZE = 'freezes: [{{from: 2020-01-01, until: 2020-01-02, reason: "note {}"}}]\n'
POLICY = "timezone: UTC\npolicy: {revert: pull-request}\n"
KEPT = {"ugs-bump-": "pulls", "ugs-revert-": "proposals"}
"""By what the names of their branches begin with, the table in which they are kept."""


class Proposals(Campaign):
    """One pull request for each version, whoever dies: merged by people, or moot as they pin it by hand; and one that
    takes back what failed, made anew when its file has changed."""

    reaches = (
        *("pull:branch", "pull:pushed", "pull:begun", "pull:done", "pull:closing"),
        *("propose:begun", "propose:done", "phase:restored"),
    )
    arguments = ()
    patience_s = REST_S

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        self._standing = contextlib.ExitStack()
        self._forge = self._standing.enter_context(ForgeServer("gitea", self.world.remote))
        self.world.report_to(self._forge)
        # More rounds than pull requests may be opened within an hour.
        here = self.world.settings_more
        self.world.settings_more = here.replace("forge: {", "forge: {pulls: {hour_max: 1000}, ", 1)
        self._number = 0
        self._runs = "1.0.0"
        self._failed: list[str] = []
        self._rest: Callable[[], object] = lambda: self._ended("1.0.0")

    def close(self) -> None:
        super().close()
        self._standing.close()

    def start(self) -> None:
        self.world.more = POLICY
        self.world.release("1.0.0", deadline="60s")
        self.world.pin(PIN.format("1.0.0"))
        self.people.append(self.world.merge("Start"))
        self.run()
        self.check_settled()

    def story(self) -> Iterator[None]:
        self._number += 1
        world, version, number = self.world, f"1.{self._number}.0", self._number
        # Each kind of round once in the first four, by which all failpoints are met.
        bad = number % 2 == 1 if number < 5 else self.random.random() < 0.5
        by_hand = number % 4 > 1 if number < 5 else self.random.random() < 0.5
        world.release(version, "unhealthy" if bad else "ok", deadline="3s" if bad else "60s")
        self.people.append(world.merge(f"Release {version}"))
        self._rest = lambda: self._open("ugs-bump-")
        yield
        [pull] = self._open("ugs-bump-")
        assert pull.title == f"Bump production/api from {self._runs} to {version}"
        world.pin(PIN.format(version))
        self.people.append(world.merge("By hand") if by_hand else self._forge.merge(pull.number))
        if bad:
            self._failed.append(version)
        else:
            self._runs = version
        self._rest = lambda: (
            self._ended(version)
            and not self._rows("SELECT 1 FROM pulls WHERE state = 'open'")
            and (not bad or self._open("ugs-revert-"))
        )
        yield
        if bad:
            yield from self._taken_back()
        world.pin(PIN.format(self._runs))

    def _taken_back(self) -> Iterator[None]:
        """The revert that is proposed is there still, once, after its file was changed; and then it is merged."""
        [revert] = self._open("ugs-revert-")
        if self._number < 5 or self.random.random() < 0.5:
            self.world.more = POLICY + FREEZE.format(self._number)
            tip = self.world.merge("A note")
            self.people.append(tip)
            self._rest = lambda: git(self.world.remote, "rev-parse", f"{revert.branch}^") == tip
            yield
        self.people.append(self._forge.merge(revert.number))
        self._rest = lambda: not self._rows("SELECT 1 FROM proposals WHERE state = 'open'")
        yield

    def _open(self, branch: str) -> list[Pull]:
        """The open pull requests of ours, of a kind, that are whole, and that the daemon knows by their numbers."""
        rows = self._rows(f"SELECT json_extract(value, '$.number') FROM {KEPT[branch]} WHERE state = 'open'")
        pulls = (one for one in self._forge.pulls.values() if one.branch.startswith(branch))
        return [one for one in pulls if one.state == "open" and one.labels and str(one.number) in rows]

    def _ended(self, version: str) -> bool:
        ended = self._rows("SELECT to_target FROM upgrades WHERE final")
        return any(target.startswith(f"{version}@") for target in ended)

    def _rows(self, query: str) -> list[str]:
        with suppress(sqlite3.OperationalError):  # there is no database yet
            file = f"file:{self.world.state}/ugs.db?mode=ro"
            with closing(sqlite3.connect(file, uri=True)) as database:
                return [str(row[0]) for row in database.execute(query)]
        return []

    def over(self, running: subprocess.Popen[bytes], end_s: float) -> bool:
        """Wait until it has ended, or has nothing left to do: then it is told to end."""
        while running.poll() is None and time.monotonic() < end_s:
            if self._serves() and self._rest():
                running.send_signal(signal.SIGTERM)
                running.wait(REST_S)
            time.sleep(LOOK_S)
        return running.poll() is not None

    def _serves(self) -> bool:
        """Whether it heeds signals by now."""
        with suppress(UgsError):  # not yet, or it was killed over it
            return bool(call(self.world.state, "GET", "/upgrade/status"))
        return False

    def check_always(self) -> None:
        super().check_always()
        assert self._forge.violations == []
        bumps = [one.title for one in self._forge.pulls.values() if one.branch.startswith("ugs-bump-")]
        assert len(bumps) == len(set(bumps)) <= self._number, f"proposed twice: {bumps}"
        reverts = [one.branch for one in self._forge.pulls.values() if one.branch.startswith("ugs-revert-")]
        assert len(reverts) == len(set(reverts)) <= len(self._failed), f"(4) proposed twice: {reverts}"

    def check_settled(self) -> None:
        super().check_settled()
        wait_until(lambda: self.world.answers() == self._runs)
        upgrades = [decode(text, Upgrade) for text in self._rows("SELECT value FROM upgrades")]
        failed = [one for one in upgrades if one.failed]
        assert sorted(str(one.to.version) for one in failed if one.to) == sorted(self._failed), "(3)"
        assert all(one.phase == "restored" for one in failed), [end_of(one) for one in failed]
