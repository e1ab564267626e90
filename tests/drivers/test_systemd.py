"""What the systemd driver writes and reads, without a systemd: units, names, evidence, refusals."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from reconciler.drivers import systemd
from reconciler.drivers.base import Site
from reconciler.drivers.mark import Mark, site_id
from reconciler.drivers.systemd import bus, files, journal, look, sockets, unit
from reconciler.drivers.systemd.bus import Refused, Unit
from reconciler.drivers.systemd.files import Files
from reconciler.drivers.systemd.options import Engine, check_allowed
from reconciler.drivers.systemd.unit import SANDBOX, Plan, Slot
from reconciler.model.codec import encode
from reconciler.model.errors import HostError, TransientError
from reconciler.model.release import Run, SystemdRun
from reconciler.model.schema import text as schema_text
from reconciler.model.target import Target, Workload
from reconciler.model.version import Version
from tests.drivers.services import build_archive, work_for

TARGET = Target(Version("1.5.0+build.7"), "0123456789ab")
MARK = Mark("1a2b3c4d", "eu-west", "api", 3, TARGET, "fedcba9876543210")
DIRECTORY = Path("/var/lib/ugs/services/eu-west/api/1.5.0+build.7/0123456789ab")


def plan(**more: Any) -> Plan:
    fields: dict[str, Any] = {
        "mark": MARK,
        "revision": "36f3f76",
        "run": SystemdRun(),
        "state": Path("/var/lib/ugs"),
        "directory": DIRECTORY,
        "program": DIRECTORY / "bin/api",
        "arguments": ("--port", "8083"),
        "environment": {"LOG_LEVEL": "info"},
        "secrets": None,
        "stop_grace_s": 10.0,
        "start_timeout_s": 120.0,
    }
    return Plan(**(fields | more))


def asking(work: Workload, wanted: SystemdRun) -> Workload:
    assert work.release.run is not None
    return replace(work, release=replace(work.release, run=replace(work.release.run, systemd=wanted)))


def test_a_unit_says_in_its_description_what_it_is_and_is_known_by_it() -> None:
    text = unit.description(MARK, "36f3f76")
    assert text == (
        "api 1.5.0+build.7@0123456789ab in eu-west, instance 3 "
        "(ugs 1a2b3c4d, operation fedcba9876543210, revision 36f3f76)"
    )
    assert unit.parse_description(text) == MARK
    assert unit.parse_description(unit.description(MARK, "")) == MARK


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nginx.service",
        "api in eu-west (ugs 1a2b3c4d)",
        "api 1.5.0 in eu-west, instance 3 (ugs 1a2b3c4d, operation f, revision -)",
        "api x@0123456789ab in eu-west, instance 3 (ugs 1a2b3c4d, operation f, revision -)",
    ],
)
def test_a_unit_that_says_anything_else_is_not_ours(text: str) -> None:
    assert unit.parse_description(text) is None


def test_no_two_services_share_a_unit_whatever_hyphens_they_have() -> None:
    assert unit.unit_of("a-b", "c", Slot(0)) == "ugs-a-b.c@0.service"
    assert unit.unit_of("a", "b-c", Slot(0)) == "ugs-a.b-c@0.service"
    assert unit.split("ugs-a.b-c@12.service", "a") == ("b-c", Slot(12))
    assert unit.split("ugs-a.b-c@12b.service", "a") == ("b-c", Slot(12, "b"))
    assert unit.split("ugs-a.b.holder@8080.public.service", "a") is None
    assert unit.split("ugs-a-b.c@0.service", "a") is None
    assert unit.split("ugs-a.b@x.service", "a") is None
    assert unit.split("nginx.service", "a") is None


def test_the_drop_in_says_all_that_changes_from_release_to_release() -> None:
    text = unit.drop_in(plan(secrets=Path("/var/lib/ugs/services/eu-west/api/3.secrets")))
    assert f'ExecStart=:"{DIRECTORY}/bin/api" "--port" "8083"\n' in text
    assert f"TemporaryFileSystem=/var/lib/ugs:ro\nBindReadOnlyPaths={DIRECTORY}\n" in text
    assert 'Environment="LOG_LEVEL=info"\n' in text
    assert f'Environment="UGS_INSTANCE={MARK}"\n' in text
    assert "EnvironmentFile=/var/lib/ugs/services/eu-west/api/3.secrets\n" in text
    assert "Type=exec\nTimeoutStartSec=120s\nTimeoutStopSec=10s\n" in text
    assert "Relax" not in text
    assert not [name for name in SANDBOX if f"\n{name}=" in text]


def test_a_release_cannot_forge_its_marks() -> None:
    lines = unit.drop_in(plan(environment={"UGS_INSTANCE": "forged"})).splitlines()
    assert [line for line in lines if "UGS_INSTANCE" in line] == [f'Environment="UGS_INSTANCE={MARK}"']


def test_what_a_release_asks_for_stands_in_the_drop_in() -> None:
    wanted = SystemdRun(
        notify=True,
        watchdog_s=30.0,
        user="orders",
        memory_max="512M",
        cpu_quota="150%",
        tasks_max=64,
        writable=("/srv/orders",),
        capabilities=("CAP_NET_BIND_SERVICE",),
        relax=("SystemCallFilter", "PrivateDevices"),
    )
    text = unit.drop_in(plan(run=wanted))
    assert "Type=notify\n" in text
    assert text.endswith(
        "WatchdogSec=30s\nDynamicUser=no\nUser=orders\nMemoryMax=512M\nCPUQuota=150%\nTasksMax=64\n"
        "PrivateDevices=no\nSystemCallFilter=\nBindPaths=/srv/orders\n"
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n"
    )


def test_someones_own_manager_has_no_users_to_choose_from() -> None:
    wanted = SystemdRun(user="orders")
    assert "User=" not in unit.drop_in(plan(run=wanted, is_system=False))
    text = unit.template("eu-west", "api", "1a2b3c4d", is_system=False)
    assert "\nUser=" not in text
    assert "PrivateUsers=yes\n" in text
    assert "ProtectKernelLogs=" not in text
    assert "WantedBy=default.target\n" in text


def test_one_made_up_user_serves_all_instances_and_fits() -> None:
    user = unit.made_up_user(unit.base_of("production", "a-service-with-a-very-long-name-indeed"))
    assert len(user) <= 31
    assert f"User={user}\n" in unit.template(
        "production", "a-service-with-a-very-long-name-indeed", "1a2b3c4d"
    )
    assert user != unit.made_up_user(unit.base_of("staging", "a-service-with-a-very-long-name-indeed"))


def test_no_word_of_a_manifest_means_anything_to_systemd() -> None:
    nasty = '%h $HOME ${X} "q" \\n \n ; \x1b é'
    text = unit.drop_in(plan(arguments=(nasty, ";"), environment={"NASTY": nasty}))
    said = '%%h $HOME ${X} \\"q\\" \\\\n \\n ; \\x1b é'
    assert f'ExecStart=:"{DIRECTORY}/bin/api" "{said}" ";"\n' in text
    assert f'Environment="NASTY={said}"\n' in text


def test_secrets_keep_every_sign() -> None:
    assert unit.secrets_file({"B": 'a"b\\c$d`e\nf', "A": "plain"}) == 'A="plain"\nB="a\\"b\\\\c\\$d\\`e\nf"\n'


def test_a_seal_breaks_when_a_single_sign_changes() -> None:
    text = unit.drop_in(plan())
    assert unit.is_sealed(text)
    assert not unit.is_sealed(text.replace("8083", "8084"))
    assert not unit.is_sealed(text + "# more\n")
    assert not unit.is_sealed("")


def test_the_schemas_name_the_directives_of_the_sandbox() -> None:
    for kind in ("release", "ugs"):
        directives = json.loads(schema_text(kind))["$defs"]["sandbox_directive"]["enum"]
        assert directives == list(SANDBOX)


def test_systemd_takes_the_units_and_finds_them_little_exposed(tmp_path: Path) -> None:
    folder = tmp_path / "units"
    program = shutil.which("true") or "/bin/true"
    text = unit.drop_in(plan(program=Path(program), directory=Path("/"), arguments=(), state=Path("/mnt")))
    Files(folder, "1a2b3c4d", "eu-west", "api", is_system=True).install(
        Slot(3), unit.template("eu-west", "api", "1a2b3c4d"), text
    )
    name = "ugs-eu-west.api@3.service"
    # An offline look at an instance wants one whole file.
    whole = folder / "whole.service"
    whole.write_text((folder / "ugs-eu-west.api@.service").read_text() + text)
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(whole)], capture_output=True, text=True, check=False, timeout=60
    )
    about_it = [line for line in verified.stderr.splitlines() if "whole" in line or name in line]
    assert about_it == []
    exposed = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", str(whole)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert exposed.returncode == 0, exposed.stdout + exposed.stderr


def installed(folder: Path, *indexes: int) -> Files:
    made = Files(folder, "1a2b3c4d", "eu-west", "api", is_system=True)
    for index in indexes:
        text = unit.drop_in(plan(mark=replace(MARK, index=index)))
        made.install(Slot(index), unit.template("eu-west", "api", "1a2b3c4d"), text)
    return made


def test_instances_have_a_drop_in_and_a_link_each_and_one_template(tmp_path: Path) -> None:
    made = installed(tmp_path, 0, 1)
    assert made.slots() == [Slot(0), Slot(1)]
    wants = tmp_path / "multi-user.target.wants"
    assert {path.name: str(path.readlink()) for path in wants.iterdir()} == {
        f"ugs-eu-west.api@{index}.service": "../ugs-eu-west.api@.service" for index in (0, 1)
    }
    own = tmp_path / "ugs-eu-west.api@0.service.d"
    assert (own / "release.conf").stat().st_mode & 0o777 == 0o644
    assert (own.stat().st_mode & 0o777, wants.stat().st_mode & 0o777) == (0o755, 0o755)
    made.remove([Slot(1)])
    assert made.slots() == [Slot(0)]
    assert (tmp_path / "ugs-eu-west.api@.service").exists()
    made.remove([Slot(0)])
    assert [path.name for path in tmp_path.rglob("ugs-*")] == []


def test_what_people_change_is_seen_and_set_aside_when_it_is_made_anew(tmp_path: Path) -> None:
    made = installed(tmp_path, 0)
    folder = tmp_path / "ugs-eu-west.api@0.service.d"
    assert made.drift(Slot(0)) == ""

    (folder / "override.conf").write_text("[Service]\nUser=root\n")
    assert made.drift(Slot(0)) == f"{folder}/override.conf was added"
    installed(tmp_path, 0)
    assert made.drift(Slot(0)) == ""
    assert (folder / "override.conf.before-ugs").read_text() == "[Service]\nUser=root\n"

    edited = folder / "release.conf"
    edited.write_text(edited.read_text().replace("8083", "9999"))
    assert made.drift(Slot(0)) == f"{edited} was edited"
    installed(tmp_path, 0)
    assert made.drift(Slot(0)) == ""

    over = tmp_path / "ugs-eu-west.api@0.service"
    over.write_text("[Service]\nExecStart=/bin/true\n")
    assert made.drift(Slot(0)) == f"{over} stands over the template"
    installed(tmp_path, 0)
    assert made.drift(Slot(0)) == ""

    edited.unlink()
    assert made.drift(Slot(0)) == f"{edited} was removed"


def test_a_side_is_handed_the_ports_socket_and_one_of_its_own(tmp_path: Path) -> None:
    made = Files(tmp_path, "1a2b3c4d", "eu-west", "api", is_system=True)
    ports = set()
    for slot in (Slot(0), Slot(0, "b")):
        names = sockets.names_of(made, slot, 8080)
        sockets.write_units(made, slot, 8080)
        made.install(slot, "", unit.drop_in(plan(mark=replace(MARK, index=0), sockets=names)))
        assert made.sockets_of(slot) == list(names)
        assert made.made_for(slot) == replace(MARK, index=0)
        ports.add(sockets.probe_port(made, slot))
        sockets.write_units(made, slot, 8080)
        assert sockets.probe_port(made, slot) in ports  # it keeps the one that it has
    assert len(ports - {None}) == 2
    assert made.sockets() == {
        "ugs-eu-west.api@8080.public.socket",
        "ugs-eu-west.api@0.probe.socket",
        "ugs-eu-west.api@0b.probe.socket",
    }
    public = made.text_of("ugs-eu-west.api@8080.public.socket")
    assert "ListenStream=0.0.0.0:8080\nFileDescriptorName=public\n" in public
    assert "Service=ugs-eu-west.api.holder@8080.public.service\n" in public
    assert replace(made, site="5e6f7a8b").sockets() == set()  # another daemon's
    assert (sockets.probe_port(made, Slot(1)), made.made_for(Slot(1)), made.sockets_of(Slot(1))) == (
        None,
        None,
        [],
    )


def test_what_a_person_wrote_in_the_place_of_a_socket_is_set_aside(tmp_path: Path) -> None:
    made = Files(tmp_path, "1a2b3c4d", "eu-west", "api", is_system=True)
    path = tmp_path / "ugs-eu-west.api@8080.public.socket"
    path.write_text("[Socket]\nListenStream=1\n")
    sockets.write_units(made, Slot(0), 8080)
    assert path.with_name(f"{path.name}.before-ugs").read_text() == "[Socket]\nListenStream=1\n"
    assert made.text_of(path.name)


def test_no_free_port_for_probes_is_the_hosts_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Files(tmp_path, "1a2b3c4d", "eu-west", "api", is_system=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(sockets, "PROBE_PORTS", (taken.getsockname()[1],))
        with pytest.raises(HostError, match="is free for the probes of api"):
            sockets.write_units(made, Slot(0), 8080)


def test_what_a_person_left_in_a_folder_of_ours_stays(tmp_path: Path) -> None:
    made = installed(tmp_path, 0)
    note = tmp_path / "ugs-eu-west.api@0.service.d/NOTE"
    note.write_text("mine")
    made.remove([Slot(0)])
    assert note.read_text() == "mine"


def test_a_folder_that_may_not_be_written_is_the_hosts_trouble(tmp_path: Path) -> None:
    (tmp_path / "units").write_text("no folder")
    with pytest.raises(HostError, match=r"cannot write the unit ugs-eu-west\.api@0\.service"):
        installed(tmp_path / "units", 0)


def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    files.write(tmp_path / "0.secrets", "A=b\n", mode=files.SECRET)
    assert (tmp_path / "0.secrets").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("wanted", "key", "value"),
    [
        (SystemdRun(user="root"), "users", "root"),
        (SystemdRun(writable=("/srv/orders/../../etc",)), "paths", "/srv/orders/../../etc"),
        (SystemdRun(writable=("/srv/ordersother",)), "paths", "/srv/ordersother"),
        (SystemdRun(capabilities=("CAP_SYS_ADMIN",)), "capabilities", "CAP_SYS_ADMIN"),
        (SystemdRun(relax=("ProtectSystem",)), "relax", "ProtectSystem"),
    ],
)
def test_nothing_goes_further_than_the_operator_allows(
    tmp_path: Path, wanted: SystemdRun, key: str, value: str
) -> None:
    work = asking(work_for(build_archive(tmp_path, "1.0.0"), "1.0.0", port=8080), wanted)
    allowing = Engine(
        users=("orders",),
        paths=("/srv/orders",),
        capabilities=("CAP_NET_BIND_SERVICE",),
        relax=("PrivateDevices",),
    )
    with pytest.raises(HostError, match=rf"does not allow {value}; .* engines\.systemd\.{key}"):
        check_allowed(allowing, work)


def test_what_the_operator_allows_may_be_asked_for(tmp_path: Path) -> None:
    wanted = SystemdRun(
        user="orders",
        writable=("/srv/orders/spool",),
        capabilities=("CAP_NET_BIND_SERVICE",),
        relax=("PrivateDevices",),
        memory_max="1G",
    )
    allowing = Engine(
        users=("orders",),
        paths=("/srv/orders/",),
        capabilities=("CAP_NET_BIND_SERVICE",),
        relax=("PrivateDevices",),
    )
    check_allowed(allowing, asking(work_for(build_archive(tmp_path, "1.0.0"), "1.0.0", port=8080), wanted))


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ({"Result": "exit-code", "ExecMainCode": 1, "ExecMainStatus": 3}, "it ended with status 3"),
        ({"Result": "signal", "ExecMainCode": 2, "ExecMainStatus": 11}, "it was ended by SIGSEGV"),
        ({"Result": "signal", "ExecMainCode": 2, "ExecMainStatus": 99}, "it was ended by signal 99"),
        ({"Result": "timeout", "StatusText": "loading"}, "did not end, in time, saying 'loading'"),
        ({"Result": "watchdog"}, "watchdog"),
        ({"Result": "oom-kill"}, "out of memory"),
        ({"Result": "protocol"}, "without ever having said that it was ready"),
        ({"Result": "resources"}, "could not make what it needs"),
        ({}, "it ended (restarts: 0)"),
    ],
)
def test_how_a_service_ended_is_told(properties: dict[str, Any], told: str) -> None:
    assert told in look.evidence(properties)
    assert look.evidence({**properties, "NRestarts": 7}).endswith("(restarts: 7)")


@pytest.mark.parametrize(
    ("active", "sub", "down", "waiting"),
    [
        ("active", "running", False, False),
        ("activating", "start", False, False),
        ("activating", "auto-restart", False, True),
        ("failed", "failed", True, True),
        ("inactive", "dead", True, False),
    ],
)
def test_what_systemds_states_mean(active: str, sub: str, down: bool, waiting: bool) -> None:
    one = Unit("u", "d", "loaded", active, sub, "/u", 0)
    assert (one.is_down, one.is_waiting) == (down, waiting)
    assert not replace(one, job=7).is_down


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("org.freedesktop.DBus.Error.AccessDenied", HostError, "run the daemon as root"),
        ("org.freedesktop.DBus.Error.InteractiveAuthorizationRequired", HostError, "run the daemon as root"),
        ("org.freedesktop.DBus.Error.NoReply", TransientError, "it is tried again"),
        ("org.freedesktop.systemd1.UnitMasked", HostError, "unmask"),
        ("org.freedesktop.systemd1.LoadFailed", HostError, "systemctl status"),
    ],
)
def test_what_systemd_refuses_is_told_with_what_to_do(name: str, kind: type[Exception], said: str) -> None:
    error = bus.as_our_error(Refused(name, "no"))
    assert type(error) is kind
    assert said in str(error)


@pytest.mark.parametrize("address", ["unix:path=/nowhere/bus", "carrier-pigeon:coop=1", "unix:"])
def test_a_bus_that_cannot_be_reached_is_the_hosts_trouble(site: Site, address: str) -> None:
    lost = replace(site, engine={"bus": address})
    with pytest.raises(HostError, match=r"cannot reach systemd by .*engines\.systemd\.bus"):
        systemd.observe(lost, "production")


def test_the_journal_is_asked_for_the_services_units_alone() -> None:
    argv = journal.argv(Engine(journal="/var/log/journal"), "eu-west", "api", 50)
    assert argv[:3] == ("journalctl", "--unit=ugs-eu-west.api@*.service", "--lines=50")
    assert argv[-1] == "--directory=/var/log/journal"
    assert journal.argv(Engine(scope="user"), "eu-west", "api", 10**9)[1:3] == (
        "--user-unit=ugs-eu-west.api@*.service",
        "--lines=10000",
    )


def test_lines_of_several_instances_say_whose_they_are() -> None:
    entries: list[dict[str, Any]] = [
        {"MESSAGE": "Started", "UNIT": "ugs-eu-west.api@0.service", "_SYSTEMD_UNIT": "init.scope"},
        {"MESSAGE": "two\nlines", "_SYSTEMD_UNIT": "ugs-eu-west.api@1.service"},
        {"MESSAGE": [104, 105, 255], "_SYSTEMD_UNIT": "ugs-eu-west.api@0.service"},
        {"MESSAGE": None},
    ]
    assert journal.told(entries, "eu-west") == ["0: Started", "1: two", "1: lines", "0: hi\ufffd"]
    assert journal.told(entries[:1], "eu-west") == ["Started"]


def test_a_journal_that_cannot_be_read_is_the_hosts_trouble(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="the journal of api cannot be read"):
        journal.last_lines(Engine(journal=str(tmp_path / "nowhere")), "eu-west", "api", 10)


def test_a_release_that_is_prepared_can_be_read_by_the_services_own_user(site: Site, archives: Path) -> None:
    work = work_for(
        build_archive(archives, "1.4.0", files={"etc/api.toml": "x"}),
        "1.4.0",
        port=None,
        command=("bin/api",),
    )
    systemd.prepare(site, work, "HEAD")
    (endpoint,) = systemd.endpoints(site, work)
    assert (endpoint.directory / "etc/api.toml").stat().st_mode & 0o777 == 0o644
    assert (endpoint.directory / "bin/api").stat().st_mode & 0o555 == 0o555
    assert endpoint.directory.parent.stat().st_mode & 0o077 == 0
    assert systemd.restorable(site, work) == ""
    assert systemd.foreign_listener(site, work, endpoint) == ""
    assert systemd.surroundings(site, work).environment["STATE_DIRECTORY"] == "/var/lib/ugs-production.api"


def test_a_run_without_wishes_is_the_target_that_it_was() -> None:
    assert "systemd" not in json.loads(encode(Run(command=("bin/api",))))
    assert "systemd" in json.loads(encode(Run(command=("bin/api",), systemd=SystemdRun(notify=True))))


class Listing:
    """A manager that has so many units, and counts what it is asked."""

    def __init__(self, units: list[Unit]) -> None:
        self.listed, self.asked, self._units = 0, 0, units

    async def units(self, _patterns: list[str]) -> list[Unit]:
        self.listed += 1
        return self._units

    async def properties(self, _unit: Unit) -> dict[str, Any]:
        self.asked += 1
        return {"Result": "exit-code", "ExecMainCode": 1, "ExecMainStatus": 3}


def listed(site: Site, number: int, active: str = "active", sub: str = "running") -> Unit:
    mark = replace(MARK, site=site_id(site.state), service=f"s{number}", index=0)
    name = unit.unit_of("eu-west", f"s{number}", Slot(0))
    return Unit(name, unit.description(mark, ""), "loaded", active, sub, "/u", 0)


async def test_a_thousand_units_are_one_call(site: Site, tmp_path: Path) -> None:
    manager = Listing([listed(site, number) for number in range(1000)])
    seen = await look.observe(replace(site, engine={"units": str(tmp_path)}), "eu-west", manager)  # type: ignore[arg-type]  # stands in
    assert len(seen) == 1000
    assert (manager.listed, manager.asked) == (1, 0)


async def test_only_of_some_that_crashed_more_is_asked(site: Site, tmp_path: Path) -> None:
    manager = Listing([listed(site, number, "activating", "auto-restart") for number in range(60)])
    seen = await look.observe(replace(site, engine={"units": str(tmp_path)}), "eu-west", manager)  # type: ignore[arg-type]  # stands in
    assert {one.instances[0].state for one in seen.values()} == {"crashed"}
    assert manager.asked == look.DETAILS_MAX
    assert len([one for one in seen.values() if "status 3" in one.instances[0].detail]) == look.DETAILS_MAX
