"""What the process driver deploys, and what it says of it: real archives, real processes."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import msgspec
import pytest

from reconciler.drivers.base import Cause, Site
from reconciler.drivers.layout import directory_of, folder_of
from reconciler.drivers.machine import procfs
from reconciler.drivers.mark import Mark, site_id
from reconciler.model.errors import HostError
from reconciler.model.release import SecretName
from reconciler.model.target import Target
from tests.drivers.services import (
    DRIVER,
    answers,
    build_archive,
    deploy,
    free_port,
    get,
    get_json,
    the_instance,
    the_shim,
    wait_until,
    work_for,
)


def test_a_release_is_deployed_observed_and_replaced(site: Site, archives: Path) -> None:
    port = free_port()
    old = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=port)
    new = work_for(build_archive(archives, "1.5.0"), "1.5.0", port=port)
    assert DRIVER.observe(site, "production") == {}

    deploy(site, old)
    wait_until(lambda: answers(port))
    assert get_json(port, "/version") == {"version": "1.4.0"}
    before = the_instance(site)
    assert (before.target, before.state, before.index) == (old.target, "running", 0)
    assert before.pid == int(get(port, "/pid"))
    assert before.started_at is not None

    deploy(site, new)
    wait_until(lambda: answers(port))
    assert get_json(port, "/version") == {"version": "1.5.0"}
    assert DRIVER.observe(site, "production")["api"].running == new.target


def test_applying_again_leaves_what_runs_alone(site: Site, archives: Path) -> None:
    work = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=free_port())
    deploy(site, work)
    before = the_instance(site)
    deploy(site, work, operation="another")
    assert the_instance(site) == before


def test_the_service_gets_its_command_environment_and_secrets(site: Site, archives: Path) -> None:
    port = free_port()
    work = work_for(
        build_archive(archives, "1.4.0"),
        "1.4.0",
        port=port,
        command=("bin/api", "{port}", "{version}/{environment}/{service}/{instance}", '{"json": "{stays}"}'),
        environment={
            "WHERE": "{directory}",
            "DB_PASSWORD": SecretName("db-password"),
            "UGS_INSTANCE": "forged",
        },
    )
    deploy(site, work)
    wait_until(lambda: answers(port))
    seen = get_json(port, "/env")
    assert seen["argv"][1:] == [str(port), "1.4.0/production/api/0", '{"json": "{stays}"}']
    assert seen["env"]["WHERE"] == seen["cwd"] == str(directory_of(site, work))
    assert seen["env"]["DB_PASSWORD"] == "hunter2"
    assert seen["env"]["UGS_VERSION"] == "1.4.0"
    assert "UGS_ROLE" not in seen["env"]
    mark = Mark.parse(seen["env"]["UGS_INSTANCE"])
    assert mark == Mark(site_id(site.state), "production", "api", 0, work.target, "0123456789abcdef")


@pytest.mark.fault("AP-12")
def test_no_secret_reaches_a_file_or_a_command_line(site: Site, archives: Path) -> None:
    work = work_for(
        build_archive(archives, "1.4.0"),
        "1.4.0",
        port=free_port(),
        environment={"P": SecretName("db-password")},
    )
    deploy(site, work)
    for pid in (the_shim(site), the_instance(site).pid):
        assert b"hunter2" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert b"hunter2" not in Path(f"/proc/{the_shim(site)}/environ").read_bytes()
    for file in site.state.rglob("*"):
        assert not file.is_file() or b"hunter2" not in file.read_bytes(), file


def test_the_daemons_own_environment_stays_its_own(
    site: Site, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_TOKEN", "xoxb")
    port = free_port()
    deploy(site, work_for(build_archive(archives, "1.4.0"), "1.4.0", port=port))
    wait_until(lambda: answers(port))
    assert "SLACK_TOKEN" not in get_json(port, "/env")["env"]


def test_instances_listen_on_neighbouring_ports_and_surplus_ones_end(site: Site, archives: Path) -> None:
    port = free_port(3)
    archive = build_archive(archives, "1.4.0")

    def all_answer() -> bool:
        return all(answers(end.port) for end in ends)

    three = work_for(archive, "1.4.0", port=port, instances=3)
    deploy(site, three)
    ends = DRIVER.endpoints(site, three)
    assert [end.port for end in ends] == [port, port + 1, port + 2]
    assert ends[2].values["instance"] == "2"
    wait_until(all_answer)
    one = work_for(archive, "1.4.0", port=port)
    deploy(site, one)
    assert [i.index for i in DRIVER.observe(site, "production")["api"].instances] == [0]
    wait_until(lambda: answers(port))
    assert not answers(port + 1)


def test_a_relative_state_folder_serves_as_well(
    site: Site, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site.state.parent)
    port = free_port()
    deploy(
        msgspec.structs.replace(site, state=Path("state")),
        work_for(build_archive(archives, "1.4.0"), "1.4.0", port=port),
    )
    wait_until(lambda: answers(port))
    assert the_instance(site).state == "running"


def test_two_daemons_on_one_machine_never_mix(site: Site, archives: Path, tmp_path: Path) -> None:
    deploy(site, work_for(build_archive(archives, "1.4.0"), "1.4.0", port=free_port()))
    other = msgspec.structs.replace(site, state=tmp_path / "other")
    assert DRIVER.observe(other, "production") == {}
    DRIVER.restore(other, Cause("op"), None, environment="production", service="api")
    assert the_instance(site).state == "running"
    assert DRIVER.observe(site, "staging") == {}


def test_restore_brings_the_old_release_back(site: Site, archives: Path) -> None:
    port = free_port()
    good = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=port)
    bad = work_for(build_archive(archives, "1.5.0", mode="unhealthy"), "1.5.0", port=port)
    deploy(site, good)
    deploy(site, bad)
    assert DRIVER.restorable(site, good) == ""
    DRIVER.restore(site, Cause("op"), good, environment="production", service="api")
    wait_until(lambda: answers(port))
    assert get_json(port, "/version") == {"version": "1.4.0"}
    assert DRIVER.observe(site, "production")["api"].running == good.target


def test_what_is_not_kept_cannot_be_restored(site: Site, archives: Path) -> None:
    good = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=free_port())
    assert "nothing complete is kept of api 1.4.0@" in DRIVER.restorable(site, good)
    with pytest.raises(HostError, match="nothing complete is kept"):
        DRIVER.restore(site, Cause("op"), good, environment="production", service="api")


def test_tidy_removes_only_what_is_neither_kept_nor_running(site: Site, archives: Path) -> None:
    port = free_port()
    works = [
        work_for(build_archive(archives, v, mode="sockets"), v, port=port, passing=True)
        for v in ("1.3.0", "1.4.0", "1.5.0")
    ]
    for work in works:
        deploy(site, work)
    stale, kept, running = (directory_of(site, work) for work in works)
    DRIVER.tidy(site, "production", "api", frozenset({str(works[1].target)}))
    assert not stale.parent.exists()
    assert kept.is_dir()
    assert running.is_dir()
    folder = running.parent.parent
    assert sorted(file.name for file in folder.glob("*.lock")) == sorted(
        f"0.{work.target.digest}.lock" for work in works[1:]
    )
    DRIVER.tidy(site, "production", "nobody", frozenset())


def test_a_listener_is_foreign_only_where_a_probe_would_reach_it(site: Site, archives: Path) -> None:
    port = free_port()
    work = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=port)
    (end,) = DRIVER.endpoints(site, work)
    assert DRIVER.foreign_listener(site, work, end) == ""
    deploy(site, work)
    wait_until(lambda: answers(port))
    assert DRIVER.foreign_listener(site, work, end) == ""
    portless = work_for(build_archive(archives, "1.5.0"), "1.5.0", port=None, command=("bin/api", "0"))
    (end,) = DRIVER.endpoints(site, portless)
    assert "port" not in end.values
    assert DRIVER.foreign_listener(site, portless, end) == ""
    deploy(site, portless)
    assert the_instance(site).target == portless.target


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("00000000", True),
        ("0100007F", True),
        ("0500A8C0", False),
        ("00000000000000000000000000000000", True),
        ("00000000000000000000000001000000", True),
        ("0000000000000000FFFF00000100007F", True),
        ("000080FE00000000FF005450B6AD1DFE", False),
    ],
)
def test_addresses_of_listeners_as_the_kernel_writes_them(address: str, reached: bool) -> None:
    assert procfs.Listener(address, "1").on_loopback is reached


@pytest.mark.parametrize("text", ["", "s:e:v:one:1.0.0@0123456789ab:op", "s:e:v:1:1.0.0:op", "a:b:c:d:e:f:g"])
def test_a_borrowed_variable_is_no_mark(text: str) -> None:
    assert Mark.parse(text) is None


def test_a_shim_is_small(site: Site, archives: Path) -> None:
    deploy(site, work_for(build_archive(archives, "1.4.0"), "1.4.0", port=free_port()))
    for line in Path(f"/proc/{the_shim(site)}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            assert int(line.split()[1]) < 20_000  # kB; measuring coverage costs some of it


def test_the_record_says_who_keeps_the_instance_and_may_be_torn(site: Site, archives: Path) -> None:
    work = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=free_port())
    deploy(site, work, operation="feedbeef")
    lock = folder_of(site, work) / f"0.{work.target.digest}.lock"
    record = json.loads(lock.read_text())
    assert record["operation"] == "feedbeef"
    assert record["pid"] == the_shim(site)
    assert record["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    lock.write_text('{"opera')
    assert the_instance(site).state == "running"
    assert Target.parse(str(the_instance(site).target)) == work.target


@pytest.mark.fault("OP-04")
def test_out_of_descriptors_nothing_passes_for_gone(site: Site, archives: Path) -> None:
    work = work_for(build_archive(archives, "1.4.0"), "1.4.0", port=free_port())
    deploy(site, work)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        for look in (
            lambda: DRIVER.observe(site, work.environment),
            lambda: procfs.read_stat(os.getpid()),
            lambda: procfs.started_at(1),
            lambda: procfs.listeners(work.port or 0),
        ):
            with pytest.raises(HostError, match=r"cannot see what runs.*Too many open files"):
                look()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert work.service in DRIVER.observe(site, work.environment)
