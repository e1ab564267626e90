"""The daemon as a process: how it notices, how it ends, and how the next one carries on."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import stat

import pytest

from reconciler.cli.graph import settings_from, store_of
from tests.daemon_process import command_lines, configured, daemon, run_once, ugs
from tests.drivers.services import wait_until
from tests.notify.slack_server import SlackServer
from tests.world import World

REVERTED = ["succeeded", "reverted"]


def phases(world: World) -> list[str]:
    """How every upgrade of api stands, oldest first."""
    store = store_of(settings_from(world.folder / "ugs.yaml"))
    try:
        return [upgrade.phase.value for upgrade in reversed(store.upgrades(service="api"))]
    finally:
        store.close()


def deployed(world: World) -> str:
    """1.0.0 runs; its process."""
    world.deploy_first("1.0.0")
    assert run_once(world)[0] == 0
    return world.pid()


def test_a_push_to_a_local_remote_is_noticed_at_once(world: World) -> None:
    deployed(world)
    with daemon(world) as running:  # which polls once in an hour
        running.until_runs("1.0.0")
        world.bump("1.1.0")
        running.until_runs("1.1.0")


def test_engines_that_hang_elsewhere_keep_no_environment_waiting(world: World) -> None:
    hanging = world.folder / "hanging"
    released = world.folder / "released"
    hanging.write_text(f"#!/bin/sh\nwhile [ ! -e {released} ]; do sleep 0.2; done\n")
    hanging.chmod(0o755)
    world.settings_more += (
        "drivers: [process, command]\n"
        f"engines: {{command: {{programs: {{hangs: {{argv: ['{hanging}'], observe_timeout: 1h}}}}}}}}\n"
    )
    for number in range(12):  # twice as many as there are threads by default, on two cores
        world.ada.commit(
            {
                f"environments/elsewhere-{number}.yaml": (
                    f"environment: elsewhere-{number}\ndriver: {{kind: command, program: hangs}}\n"
                    "pins: {}\n"
                )
            },
            f"Add elsewhere-{number}",
        )
    world.deploy_first("1.0.0")
    try:
        with daemon(world) as running:
            running.until_runs("1.0.0")
            world.bump("1.1.0")
            running.until_runs("1.1.0")
            released.touch()
    finally:
        released.touch()


@pytest.mark.fault("RT-15")
def test_what_the_watch_missed_is_found_by_polling(world: World) -> None:
    deployed(world)
    # Nothing here that could be watched: the branch is reached through a link that moves to another repository.
    (world.folder / "other").mkdir()
    link = world.folder / "link.git"
    link.symlink_to(world.remote)
    world.url = f"file://{link}"
    with daemon(world, config=configured(world, poll="1s")) as running:
        running.until_runs("1.0.0")
        link.unlink()
        copy = world.folder / "copy.git"
        world.ada.git("clone", "--quiet", "--bare", str(world.remote), str(copy))
        link.symlink_to(copy)
        world.ada.git("remote", "set-url", "origin", str(copy))
        world.bump("1.1.0")
        running.until_runs("1.1.0")


@pytest.mark.fault("OP-04")
def test_out_of_descriptors_it_lives_and_goes_on_when_there_are_more(world: World) -> None:
    deployed(world)
    with daemon(world, config=configured(world, poll="200ms")) as running:
        running.until_runs("1.0.0")
        soft, hard = resource.prlimit(running.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (8, hard))
        world.bump("1.1.0")
        running.until_says("oo many open files")
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (soft, hard))
        running.until_runs("1.1.0")


@pytest.mark.parametrize("how", ["SIGHUP", "sync"])
def test_a_person_may_have_it_fetch_now(world: World, how: str) -> None:
    deployed(world)
    with world.over_http(password="s3cret"), daemon(world) as running:
        running.until_runs("1.0.0")
        commit = world.bump("1.1.0")
        if how == "SIGHUP":
            running.process.send_signal(signal.SIGHUP)
        else:
            shown = ugs("sync", "--config", world.folder / "ugs.yaml")
            assert shown.stdout == f"{commit[:12]} is in force\n"
        running.until_runs("1.1.0")


@pytest.mark.fault("OP-01")
def test_a_file_that_was_broken_meanwhile_is_refused_by_the_next_start_and_by_no_sighup(world: World) -> None:
    pid = deployed(world)
    with world.over_http(password="s3cret"), daemon(world) as running:
        running.until_runs("1.0.0")
        config = world.folder / "ugs.yaml"
        broken = config.read_text().replace("poll: 1h", "poll: [often]")
        assert broken != config.read_text()
        config.write_text(broken)
        world.bump("1.1.0")
        running.process.send_signal(signal.SIGHUP)
        running.until_runs("1.1.0")
        assert running.stop() == 0
        refused = ugs("run", "--once", "--config", config)
        assert refused.returncode == 1
        assert f"{config}:1:" in refused.stderr
        assert "repository.poll" in refused.stderr
    assert world.answers() == "1.1.0"
    assert world.pid() != pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_told_to_and_services_run_on(world: World, number: signal.Signals) -> None:
    pid = deployed(world)
    with daemon(world) as running:
        running.until_runs("1.0.0")
        assert stat.S_IMODE(running.socket.stat().st_mode) == 0o600
        assert running.stop(number) == 0
        assert running.log().endswith("stopped; services run on\n")
        assert not running.socket.exists()
    assert world.pid() == pid


@pytest.mark.fault("CR-13")
@pytest.mark.parametrize(
    "says",
    [
        pytest.param("is being prepared", marks=pytest.mark.slow),
        "is being applied",
        pytest.param("is being verified", marks=pytest.mark.slow),
        pytest.param("being taken back", marks=pytest.mark.slow),
        "being reverted",
    ],
)
def test_told_to_end_in_the_middle_the_next_one_carries_on(world: World, says: str) -> None:
    deployed(world)
    with daemon(world) as running:
        running.until_runs("1.0.0")
        world.bump("1.1.0", "unhealthy")
        running.until_says(f"1.0.0 → 1.1.0 {says}" if says.startswith("is") else says)
        assert running.stop() == 0
    with daemon(world) as running:
        running.until(lambda: phases(world) == REVERTED)
        running.until_runs("1.0.0")
    assert world.reverts() == [world.tip()]


def test_told_to_end_while_a_good_version_soaks_it_arrives_all_the_same(world: World) -> None:
    deployed(world)
    with daemon(world) as running:
        running.until_runs("1.0.0")
        world.bump("1.1.0", soak="2s", deadline="20s")
        running.until_says("1.0.0 → 1.1.0 is being verified")
        wait_until(lambda: world.answers() == "1.1.0")
        pid = world.pid()
        assert running.stop() == 0
    assert phases(world) == ["succeeded", "verifying"]
    with daemon(world) as running:
        running.until_runs("1.1.0")
        assert "carrying on" in running.log()
    assert phases(world) == ["succeeded", "succeeded"]
    assert world.pid() == pid


def test_a_killed_daemon_leaves_services_that_the_next_one_finds(world: World) -> None:
    pid = deployed(world)
    with daemon(world) as running:
        running.until_runs("1.0.0")
        running.kill()
    assert world.pid() == pid
    with daemon(world) as running:
        running.until_runs("1.0.0")
        [instance] = running.service()["instances"]
        assert instance["pid"] == int(pid)
    assert phases(world) == ["succeeded"]


@pytest.mark.fault("GT-20")
def test_a_second_daemon_on_the_same_state_is_sent_away(world: World) -> None:
    deployed(world)
    with daemon(world) as running:
        running.until_serving()
        config = world.folder / "ugs.yaml"
        for arguments in (("run",), ("run", "--once")):
            second = ugs(*arguments, "--config", config)
            assert second.returncode == 75
            assert second.stderr == (
                f"ugs: another daemon (pid {running.pid}) works on {world.state};"
                " stop it, or give this one another `state`\n"
            )


@pytest.mark.fault("GT-01")
def test_a_remote_that_is_gone_keeps_nobody_from_serving(world: World) -> None:
    pid = deployed(world)
    away = world.remote.rename(world.folder / "away.git")
    with daemon(world) as running:
        running.until_serving()
        running.until(lambda: running.status()["daemon"]["state"] == "unreachable")
        running.until(lambda: (seen := running.service()) and seen["health"] == "healthy")
        assert "fleet.git" in running.status()["daemon"]["sentence"]
        assert "the remote is polled only" in running.log()
        shown = ugs("status", "--config", world.folder / "ugs.yaml").stdout
        assert shown.startswith("repository unreachable: ")
        away.rename(world.remote)
        assert ugs("sync", "--config", world.folder / "ugs.yaml").returncode == 0
        assert running.status()["daemon"]["state"] == "ok"
    assert world.pid() == pid


@pytest.mark.fault("GT-01")
def test_a_server_that_is_down_is_said_to_be(world: World) -> None:
    deployed(world)
    with contextlib.ExitStack() as server:
        server.enter_context(world.over_http(password="s3cret"))
        with daemon(world) as running:
            running.until_runs("1.0.0")
            server.close()
            done = ugs("sync", "--config", world.folder / "ugs.yaml")
            assert (done.returncode, done.stdout) == (1, "")
            assert f"ugs: {world.url}" in done.stderr
            assert running.status()["daemon"]["state"] == "unreachable"


def test_a_password_for_http_is_nowhere_but_in_its_file(world: World) -> None:
    password = "correct-horse-battery"
    deployed(world)
    with world.over_http(password=password), daemon(world) as running:
        running.until_runs("1.0.0")
        world.bump("1.1.0", "unhealthy")
        running.process.send_signal(signal.SIGHUP)
        seen = ""

        def reverted() -> bool:
            nonlocal seen
            seen += command_lines()
            return bool(world.reverts())

        running.until(reverted)
        running.until_runs("1.0.0")
        assert "fetch" in seen, "no git was caught in the act"
        assert password not in seen + running.log()
    kept = [path for path in world.state.rglob("*") if path.is_file()]
    assert world.state / "mirror.git/config" in kept
    assert world.state / "ugs.db" in kept
    assert not [path for path in kept if password.encode() in path.read_bytes()]


def test_slack_is_told_through_a_webhook_that_nothing_else_learns(world: World) -> None:
    with SlackServer() as slack:
        secret = world.folder / "webhook"
        secret.write_text(slack.webhook)
        world.settings_more = f'notify: {{slack: {{webhook: {{file: "{secret}"}}}}}}\n'
        world.deploy_first("1.0.0")
        code, log = run_once(world, "--log-level", "debug")
        assert code == 0
        assert any("api" in text and "1.0.0" in text for text in slack.texts)
    assert slack.webhook_path not in log
    assert slack.webhook_path.encode() not in (world.state / "ugs.db").read_bytes()


def test_it_tells_systemd_that_it_is_ready_alive_and_about_to_end(world: World) -> None:
    deployed(world)
    path = world.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(path))
        supervisor.settimeout(30)
        environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"}
        with daemon(world, environment=environment) as running:
            told = [supervisor.recv(100).decode() for _ in range(4)]
            assert running.stop() == 0
        supervisor.setblocking(False)
        while True:
            try:
                told.append(supervisor.recv(100).decode())
            except BlockingIOError:
                break
    assert (told.count("READY=1"), told.count("STOPPING=1")) == (1, 1)
    assert told.count("WATCHDOG=1") >= 3
    assert told[-1] == "STOPPING=1"
    assert os.path.lexists(path)


def test_once_brings_everything_to_its_pins_and_says_how_that_went(world: World) -> None:
    world.deploy_first("1.0.0")
    assert run_once(world)[0] == 0
    assert run_once(world)[0] == 0  # nothing to do
    world.bump("1.1.0", "unhealthy")
    assert run_once(world)[0] == 1
    assert phases(world) == REVERTED
    assert run_once(world)[0] == 0  # that is over
