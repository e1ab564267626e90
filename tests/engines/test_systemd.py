"""What only systemd can show of its driver: the sandbox, secrets, readiness, and what it says when it cannot."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from reconciler.drivers import systemd as driver
from reconciler.drivers.base import Cause, Site
from reconciler.drivers.layout import directory_of
from reconciler.drivers.systemd.bus import REMEDY_RIGHTS, Manager
from reconciler.model.errors import ArtifactError, HostError
from reconciler.model.observation import Instance
from reconciler.model.release import Health, SecretName, SystemdRun
from reconciler.model.target import Workload
from tests.drivers.conftest import no_blob, one_secret
from tests.drivers.services import (
    PYTHON,
    Mode,
    answers,
    build_archive,
    free_port,
    get_json,
    wait_until,
    work_for,
)
from tests.engines.booted import Booted
from tests.engines.harness import Stage
from tests.engines.systemd import Systemd

pytestmark = [
    pytest.mark.engine,
    pytest.mark.parametrize("engine", ["systemd"], indirect=True, scope="session"),
]
CAUSE = Cause("fedcba9876543210", "36f3f76")
NOTIFYING = """\
import os, socket, sys, time
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
    told.sendto(b"STATUS=loading" + (b"\\nREADY=1" if sys.argv[1] == "ready" else b""), os.environ["NOTIFY_SOCKET"])
time.sleep(3600)
"""


@dataclass
class Machine:
    """The driver on a booted systemd, with the service `api` of `production`."""

    site: Site
    harness: Systemd
    archives: Path
    port: int

    @property
    def booted(self) -> Booted:
        return self.harness.booted

    def work(self, version: str, mode: Mode = "ok", wishes: SystemdRun | None = None, **how: Any) -> Workload:
        files = {"bin/notifying": NOTIFYING}
        archive = build_archive(self.archives, version, mode=mode, files=files)
        work = work_for(archive, version, port=self.port, grace_s=2.0, **how)
        assert work.release.run is not None
        run = replace(work.release.run, systemd=wishes)
        return replace(work, release=replace(work.release, run=run, health=Health(deadline_s=3.0)))

    def deploy(self, work: Workload, upto: int | None = None, cause: Cause = CAUSE) -> Workload:
        driver.prepare(self.site, work, "HEAD")
        driver.preflight(self.site, work)
        driver.apply(self.site, cause, work, work.instances if upto is None else upto)
        return work

    def observed(self) -> tuple[Instance, ...]:
        seen = driver.observe(self.site, "production")
        return seen["api"].instances if "api" in seen else ()

    def show(self, name: str) -> str:
        (unit,) = self.booted.show("ugs-production.api@0.service", name)
        return unit[name]

    def with_engine(self, **more: Any) -> Machine:
        self.site = replace(self.site, engine={**self.site.engine, **more})
        return self


@pytest.fixture
def machine(stage: Stage, tmp_path: Path) -> Machine:
    harness = cast(Systemd, stage.engine)
    state = tmp_path / "driver-state"
    state.mkdir(mode=0o700)
    site = Site(
        state=state, secret=one_secret, blob=no_blob, artifacts_allowed=("file:///",), engine=harness.options
    )
    return Machine(site, harness, tmp_path / "archives", free_port(2))


def test_no_one_reads_a_secret_in_what_systemd_shows_and_the_service_has_it(machine: Machine) -> None:
    work = machine.deploy(machine.work("1.0.0", environment={"DB_PASSWORD": SecretName("db-password")}))
    wait_until(lambda: answers(machine.port))
    assert get_json(machine.port, "/env")["env"]["DB_PASSWORD"] == "hunter2"
    assert "hunter2" not in machine.booted.run("systemctl", "show", "ugs-production.api@0.service")
    assert "hunter2" not in machine.booted.run("systemctl", "cat", "ugs-production.api@0.service")
    kept = machine.site.state / "services/production/api/0.secrets"
    assert (kept.stat().st_mode & 0o777, kept.stat().st_uid) == (0o600, 0)

    driver.restore(machine.site, CAUSE, None, environment="production", service="api")
    assert not kept.exists()
    assert driver.restorable(machine.site, work) == ""


def test_a_service_sees_its_release_and_its_data_and_nothing_else_of_ours(machine: Machine) -> None:
    state, data = machine.site.state, "$STATE_DIRECTORY/f"
    looks = f'echo "$(id -un) $(ls {state}) $(ls {state}/services/production/api)"'
    script = f"{looks}; echo x >> {data}; cat {data}; exec sleep 3600"
    command = ("/bin/sh", "-c", script)
    machine.deploy(machine.work("1.0.0", command=command))
    # The last two lines alone: further up the journal has what the tests before left, of more instances.
    wait_until(lambda: driver.logs(machine.site, "production", "api", lines=2)[1:] == ["x"])
    seen, _ = driver.logs(machine.site, "production", "api", lines=2)
    assert seen.startswith("ugs-api-")
    assert seen.split()[1:] == ["services", "1.0.0"]

    machine.deploy(machine.work("1.1.0", command=command))
    wait_until(lambda: driver.logs(machine.site, "production", "api", lines=2) == ["x", "x"])


@pytest.mark.shows("systemd", "commands")
def test_commands_run_beside_the_service_with_its_environment_and_its_data(machine: Machine) -> None:
    script = "echo kept >$STATE_DIRECTORY/f; exec sleep 3600"
    secret = {"DB_PASSWORD": SecretName("db-password")}
    one = machine.deploy(machine.work("1.0.0", command=("/bin/sh", "-c", script), environment=secret))
    around = driver.surroundings(machine.site, one)
    kept = machine.booted.root / around.environment["STATE_DIRECTORY"].lstrip("/") / "f"
    wait_until(lambda: kept.exists() and kept.read_text() == "kept\n")
    done = subprocess.run(
        [*around.prefix, "sh", "-c", "echo $DB_PASSWORD; ls bin"],
        env=around.environment,
        cwd=around.directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.splitlines()[0], done.stderr) == ("hunter2", "")
    assert "notifying" in done.stdout
    assert machine.booted.run("cat", f"{around.environment['STATE_DIRECTORY']}/f") == "kept\n"


def test_whom_systemd_does_not_let_do_it_is_told_what_to_allow(machine: Machine) -> None:
    """As another user than root, whom no rule of polkit lets manage units."""
    caps = "+sys_ptrace,+dac_override,+dac_read_search"  # to reach the container's bus, and to read this checkout
    code = (
        "import sys, msgspec; from reconciler.drivers.systemd.bus import manage;"
        " from reconciler.drivers.systemd.options import Engine;"
        " engine = msgspec.convert(msgspec.json.decode(sys.argv[1]), Engine);"
        " manage(engine, lambda manager: manager.reload())"
    )
    done = subprocess.run(
        [
            *("setpriv", "--reuid=65534", f"--inh-caps={caps}", f"--ambient-caps={caps}"),
            *(sys.executable, "-c", code, json.dumps(machine.site.engine)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "HostError" in done.stderr
    assert "systemd does not let this daemon do that" in done.stderr
    assert REMEDY_RIGHTS in done.stderr


def test_what_a_release_wishes_is_given_as_far_as_it_is_allowed(machine: Machine) -> None:
    wishes = SystemdRun(
        memory_max="64M",
        tasks_max=32,
        user="nobody",
        relax=("ProtectHostname",),
        capabilities=("CAP_NET_BIND_SERVICE",),
    )
    with pytest.raises(HostError, match=r"engines\.systemd\.users"):
        machine.deploy(machine.work("1.0.0", wishes=wishes))
    machine.with_engine(users=["nobody"], relax=["ProtectHostname"], capabilities=["CAP_NET_BIND_SERVICE"])
    machine.deploy(machine.work("1.0.0", wishes=wishes))
    wait_until(lambda: answers(machine.port))
    shown = {
        name: machine.show(name)
        for name in ("MemoryMax", "TasksMax", "User", "DynamicUser", "ProtectHostname")
    }
    assert shown == {
        "MemoryMax": str(64 << 20),
        "TasksMax": "32",
        "User": "nobody",
        "DynamicUser": "no",
        "ProtectHostname": "no",
    }
    assert machine.show("AmbientCapabilities") == "cap_net_bind_service"


def test_a_service_that_says_itself_when_it_is_ready_is_starting_until_then(machine: Machine) -> None:
    wishes = SystemdRun(notify=True)
    ready = machine.work("1.0.0", wishes=wishes, command=(PYTHON, "bin/notifying", "ready"))
    ready = replace(ready, release=replace(ready.release, health=Health(deadline_s=60.0)))
    machine.deploy(ready)
    wait_until(lambda: [one.state for one in machine.observed()] == ["running"])

    late = machine.work("1.1.0", wishes=wishes, command=(PYTHON, "bin/notifying", "never"))
    machine.deploy(late)
    assert [(one.state, one.target) for one in machine.observed()] == [("starting", late.target)]
    wait_until(lambda: [one.state for one in machine.observed()] == ["crashed"], timeout_s=60)
    assert "did not become ready" in machine.observed()[0].detail


def test_instances_move_one_by_one_and_the_others_are_left_alone(machine: Machine) -> None:
    old, new = machine.work("1.0.0", instances=2), machine.work("1.1.0", instances=2)
    machine.deploy(old)
    machine.deploy(new, 1)
    assert [one.target for one in machine.observed()] == [new.target, old.target]
    machine.deploy(new, 2)
    assert [one.target for one in machine.observed()] == [new.target, new.target]
    driver.restore(machine.site, CAUSE, old, environment="production", service="api")
    assert [one.target for one in machine.observed()] == [old.target, old.target]
    machine.deploy(machine.work("1.1.0"))
    assert len(machine.observed()) == 1


def test_applying_again_leaves_what_runs_alone(machine: Machine) -> None:
    work = machine.deploy(machine.work("1.0.0"))
    before = machine.show("InvocationID")
    machine.deploy(work, cause=Cause("another"))
    assert machine.show("InvocationID") == before


def test_a_daemon_that_died_before_systemd_read_its_files_does_not_lie_and_ends_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = machine.deploy(machine.work("1.0.0")), machine.work("1.1.0")

    async def dies(_manager: Manager) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Manager, "reload", dies)
        with pytest.raises(KeyboardInterrupt):
            machine.deploy(new)
    assert machine.observed() == ()
    machine.booted.run("systemctl", "daemon-reload")  # somebody else's, of which there are many
    machine.booted.run("systemctl", "start", "ugs-production.api@0.service")
    wait_until(lambda: answers(machine.port))
    assert get_json(machine.port, "/version")["version"] == "1.1.0"
    assert [one.target for one in machine.observed()] == [new.target]
    machine.deploy(old)
    wait_until(lambda: answers(machine.port))
    assert get_json(machine.port, "/version")["version"] == "1.0.0"


def test_what_is_edited_by_hand_is_drift_until_it_is_made_anew(machine: Machine) -> None:
    work = machine.deploy(machine.work("1.0.0"))
    machine.harness.drift("api")
    assert machine.observed()[0].drift.endswith("override.conf was added")
    assert "LOG_LEVEL=debug" in machine.show("Environment")
    machine.deploy(work)
    assert machine.observed()[0].drift == ""
    assert "LOG_LEVEL=debug" not in machine.show("Environment")


def test_what_all_services_shall_have_is_no_drift(machine: Machine) -> None:
    common = machine.booted.units / "ugs-.service.d"
    common.mkdir()
    (common / "proxy.conf").write_text("[Service]\nEnvironment=HTTPS_PROXY=http://proxy.example\n")
    machine.deploy(machine.work("1.0.0"))
    wait_until(lambda: answers(machine.port))
    assert get_json(machine.port, "/env")["env"]["HTTPS_PROXY"] == "http://proxy.example"
    assert machine.observed()[0].drift == ""


def test_a_unit_that_is_not_ours_is_left_alone_until_it_is_adopted(machine: Machine) -> None:
    machine.harness.stranger("api")
    seen = driver.observe(machine.site, "production")["api"]
    assert (seen.instances, seen.foreign) == (
        (),
        "the unit ugs-production.api@0.service (active) is not UGS's",
    )
    work = machine.work("1.0.0")
    with pytest.raises(HostError, match="ugs adopt"):
        machine.deploy(work)
    driver.restore(machine.site, CAUSE, None, environment="production", service="api")
    assert machine.harness.instances("api") == ["stranger"]

    machine.deploy(work, cause=replace(CAUSE, adopted=True))
    assert machine.harness.instances("api") == ["1.0.0"]
    assert "Somebody" in (machine.booted.units / "ugs-production.api@0.service.before-ugs").read_text()


def test_two_daemons_on_one_machine_do_not_touch_each_other(machine: Machine, tmp_path: Path) -> None:
    machine.deploy(machine.work("1.0.0"))
    other = tmp_path / "other-state"
    other.mkdir()
    site = replace(machine.site, state=other)
    assert "is another UGS daemon's" in driver.observe(site, "production")["api"].foreign
    driver.restore(site, CAUSE, None, environment="production", service="api")
    assert machine.harness.instances("api") == ["1.0.0"]


def test_an_environment_with_another_name_keeps_its_units_and_their_data(machine: Machine) -> None:
    machine.deploy(machine.work("1.0.0"))
    before = machine.show("InvocationID")
    driver.rename(machine.site, "production", "live")
    assert [one.state for one in driver.observe(machine.site, "live")["api"].instances] == ["running"]
    assert machine.show("InvocationID") == before
    machine.deploy(replace(machine.work("1.1.0"), environment="live"))
    assert machine.show("Description").startswith("api 1.1.0@")
    assert " in live, " in machine.show("Description")
    assert machine.show("StateDirectory") == "ugs-production.api"


def test_what_crashed_says_how(machine: Machine) -> None:
    machine.deploy(machine.work("1.0.0", "crash"))
    wait_until(lambda: [one.state for one in machine.observed()] == ["crashed"])
    assert "it ended with status 3" in machine.observed()[0].detail
    assert "crashing as asked" in driver.logs(machine.site, "production", "api", lines=20)


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        (SystemdRun(user="nosuch"), "its user cannot be had"),
        (SystemdRun(writable=("/nosuch/folder",)), "its sandbox cannot be made"),
    ],
)
def test_what_this_machine_lacks_is_its_own_trouble_and_nothing_is_left_restarting(
    machine: Machine, wishes: SystemdRun, said: str
) -> None:
    machine.with_engine(users=["nosuch"], paths=["/nosuch"])
    with pytest.raises(HostError, match=said):
        machine.deploy(machine.work("1.0.0", wishes=wishes))
    assert machine.observed() == ()


@pytest.mark.parametrize(
    ("content", "kind"), [(b"\x7fELF of another machine", ArtifactError), (b"#!/opt/nosuch\n", HostError)]
)
def test_a_program_that_cannot_be_executed_is_the_releases_fault_unless_its_interpreter_is_not_here(
    machine: Machine, content: bytes, kind: type[Exception]
) -> None:
    work = machine.work("1.0.0")
    driver.prepare(machine.site, work, "HEAD")
    (directory_of(machine.site, work) / "bin/api").write_bytes(content)
    with pytest.raises(kind, match="its program cannot be executed"):
        driver.apply(machine.site, CAUSE, work, 1)
    assert machine.observed() == ()


def test_a_port_that_somebody_else_has_is_told_before_anything_is_stopped(machine: Machine) -> None:
    machine.deploy(machine.work("1.0.0"))
    wait_until(lambda: answers(machine.port))
    taken = pytest.raises(HostError, match=f"port {machine.port + 1} of api is taken by pid")
    with socket.create_server(("127.0.0.1", machine.port + 1)), taken:
        machine.deploy(machine.work("1.1.0", instances=2))
    assert machine.harness.instances("api") == ["1.0.0"]


def test_units_where_systemd_does_not_look_are_told(machine: Machine, tmp_path: Path) -> None:
    machine.with_engine(units=str(tmp_path / "units"))
    with pytest.raises(HostError, match=r"does not read what stands in .*engines\.systemd\.units"):
        machine.deploy(machine.work("1.0.0"))


def test_a_masked_unit_is_told(machine: Machine) -> None:
    machine.booted.run("systemctl", "mask", "ugs-production.api@0.service")
    with pytest.raises(HostError, match=r"ugs-production\.api@0\.service"):
        machine.deploy(machine.work("1.0.0"))
