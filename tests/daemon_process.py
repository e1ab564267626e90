"""The real thing: `ugs` as a process of its own, over the repository that a world writes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reconciler.cli.client import SOCKET_NAME, NoDaemon, call
from tests.drivers.services import kill_all
from tests.world import World

PROJECT = Path(__file__).parent.parent
WAIT_S = 60.0
# Root may write everywhere, unless it gives that up.
ORDINARY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
NOT_INHERITED = ("UGS_FAILPOINT", "NOTIFY_SOCKET", "WATCHDOG_USEC")


def argv(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "reconciler.cli", *map(str, arguments)]


def environ(more: Mapping[str, str] = {}) -> dict[str, str]:
    """This process's own environment, without what would change the daemon, and with `more`."""
    own = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    return {**own, "PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "error", "TZ": "UTC", **more}


def ugs(
    *arguments: str | Path,
    environment: Mapping[str, str] = {},
    cwd: Path | None = None,
    prefix: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """One command, to its end, with its output in pipes; run by another program where `prefix` names one."""
    return subprocess.run(
        [*prefix, *argv(*arguments)],
        env=environ(environment),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def command_lines() -> str:
    """What every process on this machine was started as."""
    lines = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it has just ended
                lines.append(
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                )
    return "\n".join(lines)


def configured(world: World, *, poll: str = "1h") -> Path:
    """The world's ugs.yaml. By default nothing is found by polling, so that what is noticed was noticed."""
    path = world.configure()
    text = path.read_text()
    assert "poll: 5s" in text
    path.write_text(text.replace("poll: 5s", f"poll: {poll}"))
    return path


class DaemonProcess:
    """`ugs run` under way; its output goes to a file that every failed wait shows."""

    def __init__(
        self,
        config: Path,
        state: Path,
        *arguments: str,
        environment: Mapping[str, str],
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.state = state
        self.patience_s = WAIT_S
        self._log = config.with_name(f"daemon-{time.monotonic_ns()}.log")
        with self._log.open("wb") as sink:
            self.process = subprocess.Popen(
                [*prefix, *argv("run", "--config", config, *arguments)],
                env=environ(environment),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def socket(self) -> Path:
        return self.state / SOCKET_NAME

    def log(self) -> str:
        return self._log.read_text()

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition while the daemon runs."""
        end_s = time.monotonic() + self.patience_s
        while not condition():
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.log()}"
            assert time.monotonic() < end_s, f"what was waited for did not happen:\n{self.log()}"
            time.sleep(0.01)

    def until_says(self, text: str) -> None:
        self.until(lambda: text in self.log())

    def until_serving(self) -> None:
        self.until(lambda: self.socket.exists() and self._answers())

    def status(self) -> Any:
        """What `GET /upgrade/status` answers."""
        return call(self.state, "GET", "/upgrade/status")

    def service(self, name: str = "api") -> Any:
        """One service of production as the daemon sees it; nothing while it does not know it."""
        services = [one for here in self.status()["environments"] for one in here["services"]]
        return next((one for one in services if one["service"] == name), None)

    def until_runs(self, version: str, name: str = "api") -> None:
        """Wait until that version of the service is seen to run, healthy, with nothing left to do."""

        def runs() -> bool:
            seen = self.service(name)
            at_rest = seen is not None and seen["phase"] is None and seen["health"] == "healthy"
            return at_rest and (seen["running"] or "").startswith(f"{version}@")

        self.until_serving()
        self.until(runs)

    def _answers(self) -> bool:
        with contextlib.suppress(NoDaemon):
            return bool(self.status())
        return False

    def ended(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        try:
            return self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end:\n{self.log()}") from None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.ended()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def daemon(
    world: World, *arguments: str, environment: Mapping[str, str] = {}, config: Path | None = None
) -> Iterator[DaemonProcess]:
    """A daemon over the world's repository. It ends with the block; a failed block's services end with it."""
    running = DaemonProcess(config or configured(world), world.state, *arguments, environment=environment)
    try:
        yield running
        if running.process.poll() is None:
            running.stop()
    except BaseException:
        running.kill()
        kill_all(world.state)
        raise


def run_once(world: World, *arguments: str, failpoint: str = "") -> tuple[int, str]:
    """`ugs run --once` over the world's repository: its exit code and its log."""
    environment = {"UGS_FAILPOINT": failpoint} if failpoint else {}
    config = world.configure()
    done = ugs("run", "--once", "--config", config, *arguments, environment=environment)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr
