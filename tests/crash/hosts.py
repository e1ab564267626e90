"""One environment on two machines, whose daemons die in turn: what they publish of rollouts is whole and said once."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.crash.campaign import Campaign, End, check_database
from tests.scenarios.hosts import OWN_NETWORK, PROBE, Host, Hosts

LOOK_S = 0.05
REST_S = 240.0
"""A lease that nobody renews any more has to run out first."""
DEADLINE = "60s"
HOLDER_PROBABILITY = 0.7
INSTANT_S_MAX = 6.0
FAILPOINTS_MAX = 30


class TwoHosts(Campaign):
    """Good and bad releases for both; whichever daemon holds the lease of the environment is killed the most."""

    reaches = ("rollout:begun", "rollout:done")

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        self._hosts = Hosts(self.world, "h1", "h2")
        self._networks = {host.name: _network() for host in self._hosts.all}
        self._number = 0
        self._runs, self._asked, self._reverts = "1.0.0", "1.0.0", 0

    def close(self) -> None:
        for host in self._hosts.all:
            host.kill()
            self._networks[host.name].kill()
            self._networks[host.name].wait()

    def start(self) -> None:
        self.people.append(self.world.bump("1.0.0", deadline=DEADLINE))
        self.run()
        self.check_settled()

    def story(self) -> Iterator[None]:
        self._number += 1
        self._asked = f"1.{self._number}.0"
        bad = self.random.random() < 0.5
        for host in self._hosts.all:
            (host.state / "ill").unlink(missing_ok=True)
        if bad:
            self.random.choice(self._hosts.all).ill()
            self._reverts += 1
        else:
            self._runs = self._asked
        self.people.append(self.world.bump(self._asked, probe=PROBE if bad else "", deadline=DEADLINE))
        yield
        self.world.pin(self._runs)

    def run_and_kill(self) -> End:
        """Both are started, one to be killed; the other goes on."""
        by_instant = self.random.random() < 0.5
        number = self.random.randint(1, self.random.randint(1, FAILPOINTS_MAX))
        name = self.seldom()
        failpoint = "#0" if by_instant else self.random.choice((f"#{number}", name))
        end_s = time.monotonic() + (self.random.uniform(1.0, INSTANT_S_MAX) if by_instant else REST_S)
        victim = self._victim()
        self._stop(victim)
        self._start(victim, failpoint)
        self._start_all()
        process = victim.running.process
        while process.poll() is None and time.monotonic() < end_s and not self._rests():
            time.sleep(LOOK_S)
        if by_instant and not self._rests():
            process.kill()
            process.wait()
        if process.poll() is None:
            assert self._rests(), self._hosts.logs()
            self._stop(victim)
            return "ended"
        assert process.returncode == -signal.SIGKILL, victim.running.log()
        met = self.read(victim.running.log())
        victim.daemon = None
        self.tally.killed["any instant" if by_instant else met[-1]] += 1
        return "killed"

    def _victim(self) -> Host:
        with suppress(KeyError):  # nobody holds it yet
            if self.random.random() < HOLDER_PROBABILITY:
                return self._hosts.holder()
        return self.random.choice(self._hosts.all)

    def _start(self, host: Host, failpoint: str) -> None:
        host.start(failpoint, ("nsenter", f"--net=/proc/{self._networks[host.name].pid}/ns/net", "--"))

    def _start_all(self) -> None:
        for host in self._hosts.all:
            if not host.daemon:
                self._start(host, "#0")

    def _stop(self, host: Host) -> None:
        """It gives its leases back; in its very last moments it may yet die at its failpoint."""
        if host.daemon:
            host.daemon.stop()
            self.read(host.daemon.log())
            host.daemon = None

    def run(self) -> None:
        self._start_all()
        end_s = time.monotonic() + REST_S
        while not self._rests():
            assert time.monotonic() < end_s, self._hosts.logs()
            time.sleep(LOOK_S)
        for host in self._hosts.all:
            self._stop(host)

    def _rests(self) -> bool:
        good = self._runs == self._asked
        over = self._hosts.reached(self._asked) == ("succeeded" if good else "reverted")
        return over and all(host.runs() == self._runs for host in self._hosts.all)

    def check_always(self) -> None:
        self.check_remote()
        for host in self._hosts.all:
            check_database(host.state)

    def check_settled(self) -> None:
        super().check_settled()
        assert len(self.world.reverts()) == self._reverts, f"(4) {self._reverts} rollouts have failed"
        assert f'api: "{self._runs}"' in self.world.pinned()
        if self._runs != self._asked:
            shut = self._hosts.published("rollout/production")["shut"]
            assert self._asked in {one["target"]["version"] for one in shut}, (
                f"(3) it may be tried again: {shut}"
            )


def _network() -> subprocess.Popen[bytes]:
    """What keeps a network of its own for as long as it lives: services stay in it while daemons come and go."""
    holder = subprocess.Popen(
        [*OWN_NETWORK, "sh", "-c", "echo up && exec sleep infinity"], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"up\n"
    holder.stdout.close()
    return holder
