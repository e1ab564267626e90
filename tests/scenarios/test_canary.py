"""A canary in every place where a secret may be, and everything goes wrong at debug level: it is found nowhere."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.cli.client import call
from tests.daemon_process import DaemonProcess, command_lines, configured, daemon, ugs
from tests.drivers.services import wait_until
from tests.git.colleague import git
from tests.notify.slack_server import Answer, SlackServer
from tests.world import World

GIT, SLACK, FILE, VARIABLE = (f"canary-of-{place}-8d1f" for place in ("git", "slack", "file", "variable"))
SPELLINGS = (GIT, SLACK, FILE, VARIABLE, base64.b64encode(f"ugs:{GIT}".encode()).decode())
SECRETS = """\
secrets:
  db-password: {{file: "{file}", environments: [production], services: [api]}}
  api-key: {{env: API_KEY, environments: [production], services: [api]}}
"""
RUN = ", environment: {PATH: /usr/bin, DB_PASSWORD: {secret: db-password}, API_KEY: {secret: api-key}}"
TELLS_ALL = (
    '{http: "http://127.0.0.1:{port}/env", expect: {json: {env: nothing}}, interval: 50ms, failures: 2}'
)


@contextmanager
def watched_command_lines() -> Iterator[set[str]]:
    """Every command line that was seen on this machine meanwhile."""
    seen: set[str] = set()
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.02):
            seen.update(command_lines().splitlines())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def everything_said(world: World, running: DaemonProcess, slack: SlackServer) -> dict[str, str]:
    """By where it stands: all that the daemon wrote, answered, told or committed."""
    said = {"log": running.log(), "Slack": repr([vars(message) for message in slack.messages])}
    for route in ("/upgrade/status", "/quarantine"):
        said[route] = repr(call(world.state, "GET", route))
    config = str(world.folder / "ugs.yaml")
    for verb in (
        ("status",),
        ("explain", "production", "api"),
        ("history",),
        ("audit", "show"),
        ("quarantine", "list"),
    ):
        answer = ugs(*verb, "--json", "--config", config)
        said[" ".join(verb)] = answer.stdout + answer.stderr
    said["Git"] = git(world.remote, "log", "--all", "--format=%B%an%ae%cn%ce", "--patch")
    for path in world.state.rglob("*"):
        if path.is_file():
            said[str(path)] = path.read_bytes().decode("latin-1")
    return said


@pytest.mark.fault("AP-12", "RT-11")
def test_no_secret_reaches_anything_that_is_written_told_or_committed(world: World) -> None:
    secret = world.folder / "db-password"
    secret.write_text(FILE)
    world.settings_more = SECRETS.format(file=secret)
    with SlackServer() as slack, world.over_http(password=GIT), watched_command_lines() as lines:
        slack.token = SLACK
        world.notify(slack)
        config = configured(world, poll="100ms")
        world.release("1.0.0", run=RUN)
        world.pin("1.0.0")
        world.merge("Start")
        with daemon(
            world, "--log-level", "debug", config=config, environment={"API_KEY": VARIABLE}
        ) as running:
            running.until_runs("1.0.0")
            assert FILE in running_environment(world)

            world.bump("1.1.0", probe=TELLS_ALL, run=RUN)  # a service that tells its secrets to whoever asks
            running.until(world.reverts)
            running.until_runs("1.0.0")

            slack.answer_always(Answer(500, f"no: {SLACK}"))
            password, forced = world.folder / "git-password", running.log().count("is in force")
            password.write_text(f"{GIT}-no-more")  # refused
            running.until(lambda: re.search("repository: .*check the credentials", running.log()))
            password.write_text(GIT)
            running.until(lambda: running.log().count("is in force") == forced + 1)
            password.unlink()  # gone
            running.until(lambda: str(password) in running.log())
            password.write_text(GIT)
            secret.unlink()
            world.bump("1.2.0", run=RUN)  # cannot be started: its secret is gone
            running.until(lambda: str(secret) in running.log())
            said = everything_said(world, running, slack)
    found = [(where, one) for where, text in said.items() for one in SPELLINGS if one in text]
    found += [("a command line", one) for line in lines for one in SPELLINGS if one in line]
    assert found == []
    assert "[secret]" in said["Git"]


def running_environment(world: World) -> str:
    """What the service was really given: the test is about something."""
    wait_until(world.answers)
    return Path(f"/proc/{world.pid()}/environ").read_bytes().decode()
