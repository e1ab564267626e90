"""Small real services in archives, and what it takes to run them: for every test that deploys something."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import socket
import sys
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal

from reconciler.drivers import DRIVERS
from reconciler.drivers.base import Cause, Site
from reconciler.drivers.machine.procfs import processes, read_stat
from reconciler.drivers.mark import site_id
from reconciler.drivers.process.group import Group, groups
from reconciler.model.environment import Pin
from reconciler.model.errors import Place
from reconciler.model.observation import Instance
from reconciler.model.release import Archive, Artifact, ConfigFile, Release, Run, SecretName, Strategy
from reconciler.model.target import Workload, workload
from reconciler.model.version import Version

DRIVER = DRIVERS["process"]
PORTS_OF_A_WORKER = 2_000
# One that any user may run: ours may be in someone's home, where a sandbox sees nothing.
PYTHON = next(path for path in ("/usr/bin/python3", sys.executable) if Path(path).exists())


def ports_of(worker: int) -> Iterator[int]:
    """Ports that no other worker is given, again and again."""
    first = 10_000 + worker * PORTS_OF_A_WORKER
    return cycle(range(first, first + PORTS_OF_A_WORKER - 10))


PORTS = ports_of(int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")))

Mode = Literal["ok", "unhealthy", "crash", "stubborn", "wrong-version", "sockets", "chatty", "slow"]

SERVICE = '''#!{python} -IS
"""A service: answers /healthz, /version, /pid and /env; how well depends on MODE."""
import json, os, select, signal, socket, sys, time

MODE, VERSION = {mode!r}, {version!r}
DELAY_S = float(os.environ.get("DELAY_S", "0"))
BALLAST = b"x" * (int(os.environ.get("BALLAST_MIB", "0")) << 20)

if MODE == "crash":
    print("crashing as asked", flush=True)
    sys.exit(3)
if MODE == "slow":
    time.sleep(5)

reader, writer = os.pipe()
os.set_blocking(writer, False)
signal.set_wakeup_fd(writer)
signal.signal(signal.SIGTERM, lambda *_: None)
if MODE == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()  # a grandchild that leaves the group, and is as stubborn
        if os.fork():
            os._exit(0)
        time.sleep(3600)

if MODE == "sockets":
    assert os.environ["LISTEN_PID"] == str(os.getpid()), "LISTEN_PID"
    assert sorted(os.environ["LISTEN_FDNAMES"].split(":")) == ["probe", "public"], "LISTEN_FDNAMES"
    listeners = [socket.socket(fileno=3 + n) for n in range(int(os.environ["LISTEN_FDS"]))]
else:
    listeners = [socket.create_server(("127.0.0.1", int(sys.argv[1])))]
for listener in listeners:
    listener.setblocking(False)


def answer(path):
    if path == "/healthz":
        time.sleep(DELAY_S)
        return (500, "ill") if MODE == "unhealthy" else (200, "fine")
    if path == "/version":
        return 200, json.dumps({{"version": "0.0.0" if MODE == "wrong-version" else VERSION}})
    if path == "/pid":
        return 200, str(os.getpid())
    if path == "/env":
        return 200, json.dumps({{"argv": sys.argv, "cwd": os.getcwd(), "env": dict(os.environ)}})
    return 404, "no such page"


def serve(connection):
    connection.settimeout(5)
    request = connection.recv(65536).decode()
    status, body = answer(request.split(" ")[1] if " " in request else "/")
    head = f"HTTP/1.0 {{status}} X\\r\\nContent-Length: {{len(body)}}\\r\\n\\r\\n"
    connection.sendall((head + body).encode())


print(f"{{VERSION}} listens", flush=True)
while True:
    ready = select.select([reader, *listeners], [], [], 0.01 if MODE == "chatty" else None)[0]
    if MODE == "chatty":
        print("x" * 200, flush=True)
    if reader in ready:
        if signal.SIGTERM in os.read(reader, 64):
            print("stops politely", flush=True)
            sys.exit(0)
        continue
    for listener in ready:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:  # another release was quicker
            continue
        with connection:
            serve(connection)
'''


def build_archive(
    folder: Path,
    version: str,
    *,
    mode: Mode = "ok",
    name: str = "api",
    files: Mapping[str, str] = {},
    executable: bool = True,
) -> tuple[Path, str]:
    """A tar.gz with `bin/<name>` and more files; returns its path and its SHA-256."""
    script = SERVICE.format(python=PYTHON, mode=mode, version=version)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-{mode}.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        _add(tar, f"bin/{name}", script, 0o755 if executable else 0o644)
        for file, text in files.items():
            _add(tar, file, text, 0o640)
    return path, sha256_of(path)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _add(tar: tarfile.TarFile, name: str, text: str, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(text.encode()), mode
    tar.addfile(info, io.BytesIO(text.encode()))


def work_for(
    archive: tuple[Path, str],
    version: str,
    *,
    port: int | None,
    command: tuple[str, ...] = ("bin/api", "{port}"),
    environment: dict[str, str | SecretName] | None = None,
    passing: bool = False,
    strategy: Strategy = "stop-start",
    instances: int = 1,
    grace_s: float = 5.0,
    config: tuple[ConfigFile, ...] = (),
    url: str | None = None,
) -> Workload:
    """The workload of the service `api` in `production` for an archive that `build_archive` made."""
    path, sha256 = archive
    release = Release(
        service="api",
        version=Version(version),
        place=Place(f"releases/api/{version}.yaml", 3, 1),
        artifact=Artifact(archive=Archive(url=url or path.as_uri(), sha256=sha256)),
        run=Run(
            command=command,
            environment=environment or {},
            socket="pass" if passing else "none",
            stop_grace_s=grace_s,
        ),
        config=config,
    )
    pin = Pin(
        service="api",
        version=Version(version),
        place=Place("environments/production.yaml", 7, 8),
        instances=instances,
        port=port,
        strategy=strategy,
    )
    return workload("production", pin, release, node=f'"{version}"')


def free_port(count: int = 1) -> int:
    """The first of `count` neighbouring ports that are free, and that nobody else here is given.

    Below the ports that the kernel gives to connections, and from a range of this test worker's own.
    """
    for port in islice(PORTS, PORTS_OF_A_WORKER):
        if all(_is_free(port + offset) for offset in range(count)):
            for _ in range(count - 1):
                next(PORTS)
            return port
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("0.0.0.0", port)).close()
    except OSError:
        return False
    return True


def get(port: int | None, path: str, host: str = "127.0.0.1") -> str:
    """The body of the answer at the port; OSError when there is none."""
    with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=5) as response:
        return str(response.read().decode())


def get_json(port: int | None, path: str) -> Any:
    return json.loads(get(port, path))


def answers(port: int | None, path: str = "/healthz") -> bool:
    try:
        get(port, path)
    except OSError:
        return False
    return True


def answered(port: int | None, host: str = "127.0.0.1") -> str:
    """The version that answers at the port; empty when none does."""
    with suppress(OSError):
        return get(port, "/version", host).partition('": "')[2].rstrip('"}\n')
    return ""


def wait_until(condition: Callable[[], object], *, timeout_s: float = 60.0) -> None:
    """Wait for a condition, and fail when it does not come true."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "what was waited for did not happen"
        time.sleep(0.01)


def kill_all(state: Path, environment: str = "production", service: str | None = None) -> None:
    """Leave no process behind of whatever a daemon with that state folder started."""
    end_s, empty_looks = time.monotonic() + 10, 0
    while empty_looks < 3:  # a process that just execs is invisible for a moment
        left = processes(site_id(state), environment, service)
        assert time.monotonic() < end_s, f"cannot be killed: {left}"
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        empty_looks = 0 if left else empty_looks + 1
        time.sleep(0.005)


def deploy(site: Site, work: Workload, operation: str = "0123456789abcdef") -> None:
    DRIVER.prepare(site, work, "HEAD")
    DRIVER.preflight(site, work)
    DRIVER.apply(site, Cause(operation), work, work.instances)


def stop(site: Site) -> None:
    """Stop `api` in `production` politely, as for a removal."""
    DRIVER.restore(site, Cause("op"), None, environment="production", service="api")


def the_instance(site: Site) -> Instance:
    """The one instance of `api` in `production`."""
    (instance,) = DRIVER.observe(site, "production")["api"].instances
    return instance


def the_group(site: Site) -> Group:
    """The processes of that one instance."""
    (group,) = groups(site, "production", "api")["api"]
    return group


def the_shim(site: Site) -> int:
    shim = the_group(site).shim
    assert shim is not None
    return shim.pid


def gone(pid: int) -> bool:
    return read_stat(pid) is None
