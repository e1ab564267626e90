"""A real systemd for tests: booted in a container over a copy-on-write view of this machine's own files.

Needs root and Debian's systemd-container and dbus. The network is the caller's, so what a unit listens on at 127.0.0.1
is reached from the tests. `isolated.sh` around the whole test run sees to it that nothing outlives one that was killed.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

WAIT_S = 120.0
POLL_S = 0.1
UP = ("running", "degraded")
HIERARCHIES = ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")
# Two systemds in one control group would end each other's services, for they call them alike.
IN_A_GROUP = """\
for hierarchy in {hierarchies}; do
  if [ -w "$hierarchy/cgroup.procs" ]; then
    mkdir -p "$hierarchy/$0" && echo $$ >"$hierarchy/$0/cgroup.procs" || exit 1
  fi
done
exec "$@"
"""
# The fewest units that give a usable manager: no getty, no timers of apt's, no udev, no network to set up.
KERNEL_ARGUMENTS = (
    "systemd.unit=basic.target",
    "systemd.mask=systemd-networkd.service",
    "systemd.mask=systemd-resolved.service",
    "systemd.mask=systemd-timesyncd.service",
    "systemd.show_status=no",
    "systemd.default_timeout_stop_sec=5s",
)


class Booted:
    """One systemd as the first process of a container. `binds`: folders that it may write to, by path inside."""

    def __init__(self, binds: Mapping[str, Path]) -> None:
        self._binds = binds
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0
        # Outside of what is bound: an overlay over a folder that holds itself would have no end.
        self.folder = Path(tempfile.mkdtemp(prefix="ugs-booted-", dir="/var/tmp"))

    @property
    def root(self) -> Path:
        """Its file system, as this machine sees it; as long as it is up."""
        return Path(f"/proc/{self._leader}/root")

    @property
    def bus(self) -> str:
        """The address of its system bus."""
        return f"unix:path={self.root}/run/dbus/system_bus_socket"

    @property
    def units(self) -> Path:
        return self.root / "etc/systemd/system"

    @property
    def journal(self) -> Path:
        return self.root / "var/log/journal"

    def start(self) -> None:
        """Boot it, and wait until it says that it is up."""
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir()
            (self.folder / name).chmod(0o755)  # the root of what is booted: others than root live there too
        options = f"lowerdir=/,upperdir={self.folder}/upper,workdir={self.folder}/work"
        tree = self.folder / "root"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(tree)], check=True)
        # What this machine runs itself is not started once more, and its journal is not the container's.
        shutil.rmtree(tree / "var/log/journal", ignore_errors=True)
        (tree / "var/log/journal").mkdir(parents=True)
        with (self.folder / "console.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._argv(tree), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._until_up()
        except BaseException:
            self.stop()
            raise

    def run(self, *argv: str, check: bool = True) -> str:
        """What a command prints inside. AssertionError when it fails, unless that is to be looked over."""
        done = subprocess.run(
            [*self._inside(), *argv],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )
        assert done.returncode == 0 or not check, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def show(self, pattern: str, *properties: str) -> list[dict[str, str]]:
        """These properties of every loaded unit that the pattern fits."""
        text = self.run("systemctl", "show", pattern, f"--property={','.join(properties)}")
        blocks = [block.splitlines() for block in text.split("\n\n") if block.strip()]
        return [dict(line.split("=", 1) for line in block) for block in blocks]

    def stop(self) -> None:
        """Power it off, and remove all that it made."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)  # nspawn asks for an orderly end
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
            self._process.kill()
            self._process.wait()
        for hierarchy in HIERARCHIES:  # the deepest first: each must be empty
            own = Path(hierarchy) / self.folder.name
            for group in sorted((own, *own.rglob("*/")), reverse=True):
                with suppress(OSError):
                    group.rmdir()
        subprocess.run(["umount", "--lazy", str(self.folder / "root")], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def console(self) -> str:
        return (self.folder / "console.log").read_text(errors="replace")[-3000:]

    def _argv(self, tree: Path) -> Sequence[str]:
        script = IN_A_GROUP.format(hierarchies=" ".join(HIERARCHIES))
        return [
            *("sh", "-c", script, self.folder.name),
            "systemd-nspawn",
            "--quiet",
            f"--directory={tree}",
            f"--machine={self.folder.name.replace('_', 'x')}",
            "--register=no",
            "--keep-unit",
            "--link-journal=no",
            "--resolv-conf=off",
            "--timezone=off",
            "--console=pipe",
            *(f"--bind={outside}:{inside}" for inside, outside in self._binds.items()),
            "--boot",
            "--",
            *KERNEL_ARGUMENTS,
        ]

    def _inside(self) -> Sequence[str]:
        return ["nsenter", f"--target={self._leader}", "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--"]

    def _until_up(self) -> None:
        end_s = time.monotonic() + WAIT_S
        while not self._is_up():
            assert self._process is not None
            assert self._process.poll() is None, f"systemd-nspawn ended:\n{self.console()}"
            assert time.monotonic() < end_s, f"systemd is not up in {WAIT_S:g} s:\n{self.console()}"
            time.sleep(POLL_S)

    def _is_up(self) -> bool:
        assert self._process is not None
        # The first child only sets the container up; the one that is there in the end is its systemd.
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if len(children) != 1:
            return False
        self._leader = int(children[0])
        with suppress(OSError, subprocess.TimeoutExpired):
            return self.run("systemctl", "is-system-running", check=False).strip() in UP
        return False
