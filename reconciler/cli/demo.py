"""`ugs demo`: the whole story on a real repository with a real service, in under two minutes."""

from __future__ import annotations

import contextlib
import shutil
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from reconciler.cli.example import copy_example
from reconciler.model import splice
from reconciler.model.errors import HostError, UgsError

ENVIRONMENT, SERVICE = "demo", "greeter"
STAGE_S = 60.0
LOOK_S = 0.05
ASK_S = 0.5
CONFIGURATION = """\
repository: {{url: "{remote}", branch: main, poll: 10s}}
state: {state}
environments: [demo]
drivers: [process]
identity: {{name: UGS, email: ugs@example.org}}
"""


@click.command()
@click.option("--keep", is_flag=True, help="Leave the daemon and the service running to play with.")
def demo(*, keep: bool) -> None:
    """Deploy a small real service, merge a good bump and a bad one, and show what becomes of each."""
    folder = Path(tempfile.mkdtemp(prefix="ugs-demo-"))
    stage = Stage(folder)
    try:
        with stage.daemon():
            play(stage)
            if keep:
                say("It all goes on running. Ctrl-C ends it.")
                say(f"  cd {stage.work} && ugs bump {ENVIRONMENT} {SERVICE} 1.1.0 && git push")
                say(f"  ugs status --watch --config {stage.config}")
                with contextlib.suppress(KeyboardInterrupt):
                    stage.process().wait()
    finally:
        stage.stop_services()
        shutil.rmtree(folder, ignore_errors=True)


def play(stage: Stage) -> None:
    """The story, told as it happens."""
    title("A repository says: greeter 1.0.0 in demo. The daemon deploys it.")
    stage.watch_until("1.0.0", lambda phase: phase == "succeeded")
    title("Someone merges a bump to 1.1.0. The merge is the deployment.")
    stage.bump("1.1.0")
    stage.watch_until("1.1.0", lambda phase: phase == "succeeded")
    title("Someone merges a bump to 1.2.0, which is unhealthy.")
    bad = stage.bump("1.2.0")
    stage.watch_until("1.1.0", lambda phase: phase == "reverted")
    title("What is left of it: the old version answers, and Git says why.")
    say(f"GET / → {stage.ask('/')}")
    stage.git.remotes.origin.pull(rebase=False)
    stage.wait("the notes to reach the remote", lambda: stage.noted(bad))
    shown = stage.git.git.log("--notes=ugs", "--format=%C(auto)%h %s%n%w(0,4,4)%b%N")
    for line in shown.splitlines():
        if line.strip():
            say(line)
    title("The daemon's own account: ugs history")
    for row in reversed(stage.history()):
        outcome = f"{row['phase']}{': ' + row['reason'] if row['phase'] == 'reverted' else ''}"
        say(f"{short(row['from'])} → {short(row['to'])}  {outcome}")
    say()
    say("Merged, deployed, proven; broken, restored, reverted.")


@dataclass
class Stage:
    """A bare remote, a clone to work in, a daemon, and its service."""

    folder: Path
    running: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        import git

        self.remote, self.work = self.folder / "fleet.git", self.folder / "fleet"
        self.state, self.config = self.folder / "state", self.folder / "ugs.yaml"
        self.config.write_text(CONFIGURATION.format(remote=self.remote, state=self.state))
        git.Repo.init(self.remote, bare=True, initial_branch="main").close()
        self.git = git.Repo.init(self.work, initial_branch="main")
        with self.git.config_writer() as writer:
            writer.set_value("user", "name", "Dana Developer").set_value("user", "email", "dana@example.org")
        copy_example(self.work)
        self.port = self._choose_port()
        self.git.git.add("--all")
        self.git.git.commit("--quiet", "--message", "Start with greeter 1.0.0")
        self.git.create_remote("origin", str(self.remote))
        self.git.git.push("--quiet", "--set-upstream", "origin", "main")

    def _choose_port(self) -> int:
        """The example's own port, or a free one where something else listens there."""
        from reconciler.cli.tree import read_tree

        example = read_tree(self.work)
        pin = example.environments[ENVIRONMENT].pins[SERVICE]
        run = example.releases[SERVICE, pin.version.text].run
        wanted = pin.port or (run.port if run else None) or 0
        with socket.socket() as channel:
            with contextlib.suppress(OSError):
                channel.bind(("", wanted))
                return wanted
            channel.bind(("", 0))
            free = int(channel.getsockname()[1])
        path = self.work / pin.place.file
        node = f'{{"version": "{pin.version}", "port": {free}}}'
        path.write_bytes(splice.set_pin(path.read_bytes(), pin.place.file, SERVICE, node))
        return free

    @contextlib.contextmanager
    def daemon(self) -> Iterator[None]:
        import subprocess  # the daemon itself, as a person would start it

        log = self.folder / "daemon.log"
        with log.open("wb") as sink:
            argv = (sys.executable, "-m", "reconciler.cli", "run", "--config", str(self.config))
            process = subprocess.Popen(argv, stdout=sink, stderr=sink, start_new_session=True)
        self.running.append(process)
        try:
            yield
        except UgsError:
            click.echo(log.read_text(), err=True)
            raise
        finally:
            process.terminate()
            process.wait(STAGE_S)
            self.git.close()

    def process(self) -> Any:
        return self.running[-1]

    def bump(self, version: str) -> str:
        """What a merged pull request does: one pin moved, one commit on main."""
        from reconciler.cli.bump import bump

        self.git.remotes.origin.pull(rebase=False)
        bump.main(
            [ENVIRONMENT, SERVICE, version, "--repository", str(self.work)],
            prog_name="ugs bump",
            standalone_mode=False,
        )
        self.git.git.push("--quiet", "origin", "main")
        return str(self.git.head.commit.hexsha)

    def watch_until(self, version: str, ended: Callable[[str], bool]) -> None:
        """Print every change of phase and of what answers, until the newest upgrade ended as wished."""
        began, told = time.monotonic(), ""

        def look() -> bool:
            nonlocal told
            newest = next(iter(self.history()), None)
            phase = newest["phase"] if newest else "planned"
            answers = self.ask("/version")
            now = f"{phase:<11} {answers}"
            if now != told:
                say(f"{time.monotonic() - began:6.2f} s  {now}")
                told = now
            return ended(phase) and version in answers

        self.wait(f"{SERVICE} {version}", look)

    def history(self) -> list[Any]:
        from reconciler.cli.graph import settings_from, store_of
        from reconciler.engine.journal import entry

        try:
            store = store_of(settings_from(self.config))
        except UgsError:
            return []  # the daemon has not set it up yet
        with contextlib.closing(store):
            return [entry(store, upgrade) for upgrade in store.upgrades(environment=ENVIRONMENT)]

    def ask(self, path: str) -> str:
        """What the service answers now, in a line."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=ASK_S) as answer:
                text: str = answer.read().decode().strip()
                return text
        except urllib.error.HTTPError as error:
            return f"HTTP {error.code}"
        except OSError:
            return "(nothing answers)"

    def noted(self, commit: str) -> bool:
        self.git.git.fetch("--quiet", "origin", "+refs/notes/ugs:refs/notes/ugs", with_exceptions=False)
        return "reverted" in self.git.git.notes("--ref=ugs", "show", commit, with_exceptions=False)

    def wait(self, what: str, met: Callable[[], bool]) -> None:
        until = time.monotonic() + STAGE_S
        while not met():
            if time.monotonic() > until:
                raise HostError(f"waited {STAGE_S:g} s for {what} in vain", "the daemon's log is above")
            time.sleep(LOOK_S)

    def stop_services(self) -> None:
        """The daemon leaves services running; the demo does not."""
        from reconciler.cli.graph import settings_from, site_of
        from reconciler.drivers import DRIVERS
        from reconciler.drivers.base import Cause

        site = site_of(settings_from(self.config))
        DRIVERS["process"].restore(site, Cause("demo-ends"), None, environment=ENVIRONMENT, service=SERVICE)


def title(text: str) -> None:
    click.echo()
    click.secho(text, bold=True)


def say(text: str = "") -> None:
    click.echo(f"  {text}" if text else "")


def short(target: str | None) -> str:
    return target.partition("@")[0] if target else "nothing"
