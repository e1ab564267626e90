"""Observing 1,000 services under systemd: a booted one, a unit each, active without a process; wall-clock time."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks.result import Result
from reconciler.drivers import systemd
from reconciler.drivers.base import Site
from reconciler.drivers.mark import Mark, site_id
from reconciler.drivers.systemd.bus import Manager, manage
from reconciler.drivers.systemd.files import Files
from reconciler.drivers.systemd.options import engine_of
from reconciler.drivers.systemd.unit import Plan, Slot, drop_in, template, unit_of
from reconciler.model.release import SystemdRun
from tests.build import work
from tests.engines.booted import Booted

SERVICES = 1_000
ROUNDS = 9
# Sorted after the driver's own drop-ins: what is measured is the list, not a thousand processes.
WITHOUT_PROCESS = """\
[Service]
Type=oneshot
RemainAfterExit=yes
Restart=no
ExecStart=
ExecStop=/bin/true
"""


def possible() -> bool:
    """Whether a systemd can be booted here."""
    return os.geteuid() == 0 and shutil.which("systemd-nspawn") is not None


def run() -> Result:
    """Milliseconds for the environment as a whole."""
    folder = Path(tempfile.mkdtemp(prefix="ugs-bench-"))
    booted = Booted({})
    try:
        booted.start()
        site = Site(
            state=folder,
            secret=lambda *_: "",
            blob=lambda *_: b"",
            engine={"bus": booted.bus, "units": str(booted.units)},
        )
        _make(booted, site)
        return Result(
            f"observing {SERVICES} services under systemd, one call",
            "ms",
            {"observe (bound: 1000)": [_observed(site) for _ in range(ROUNDS)]},
        )
    finally:
        booted.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _make(booted: Booted, site: Site) -> None:
    common = booted.units / "ugs-.service.d"
    common.mkdir()
    (common / "zz-bench.conf").write_text(WITHOUT_PROCESS)
    for number in range(SERVICES):
        one = work(service=f"service-{number}")
        mark = Mark(site_id(site.state), "production", one.service, 0, one.target, "bench")
        plan = Plan(
            mark=mark,
            revision="",
            run=SystemdRun(),
            state=site.state,
            directory=site.state,
            program=Path("/bin/true"),
            arguments=(),
            environment={},
            secrets=None,
            stop_grace_s=1.0,
            start_timeout_s=10.0,
        )
        files = Files(booted.units, mark.site, "production", one.service, is_system=True)
        files.install(Slot(0), template("production", one.service, mark.site), drop_in(plan))

    async def start(manager: Manager) -> None:
        await manager.reload()
        names = [unit_of("production", f"service-{number}", Slot(0)) for number in range(SERVICES)]
        for name in names:
            await manager.start(name)
        await manager.wait(names, lambda unit: unit.active == "active", timeout_s=300)

    manage(engine_of(site), start)


def _observed(site: Site) -> float:
    began_s = time.perf_counter()
    seen = systemd.observe(site, "production")
    taken_ms = (time.perf_counter() - began_s) * 1_000
    running = [one for one in seen.values() if [i.state for i in one.instances] == ["running"]]
    if len(running) != SERVICES or any(one.instances[0].drift for one in running):
        raise SystemExit(f"{len(running)} of {SERVICES} services were seen to run as they were made")
    return taken_ms
