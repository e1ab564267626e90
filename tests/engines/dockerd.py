"""A real Docker engine for tests: a dockerd that owns one folder, images of a tiny service, and a registry.

Needs root and Debian's docker.io, busybox-static, docker-registry and apache2-utils. Several can run side by side;
`isolated.sh` around the whole test run sees to it that nothing outlives one that was killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import docker

Mode = Literal["ok", "unhealthy", "slow", "crash", "stubborn"]
WAIT_S = 60.0
POLL_S = 0.05
PORT = 8080
BUSYBOX = Path("/bin/busybox")
APPLETS = ("sh", "httpd", "wget", "sleep", "cat", "kill", "env", "echo", "rm", "mkdir", "ls", "test", "id")
# PID 1 has no default signal actions: it must trap TERM itself to stop at once.
SERVE = """#!/bin/sh
mode=${MODE:-$(cat /etc/mode)}
trap 'kill $pid 2>/dev/null; exit 0' TERM INT
[ "$mode" = stubborn ] && trap '' TERM
[ "$mode" = crash ] && { echo "crashing on purpose" >&2; exit 1; }
[ "$mode" = unhealthy ] || echo ok >/www/healthz
echo "serving $(cat /www/version) mode $mode on ${PORT:-8080}"
[ "$mode" = slow ] && { sleep 5 & pid=$!; wait $pid; }
httpd -f -p "${PORT:-8080}" -h /www &
pid=$!
while kill -0 $pid 2>/dev/null; do wait $pid; done
"""


def until(condition: Callable[[], object], what: str, wait_s: float = WAIT_S) -> None:
    """Wait until `condition` holds; AssertionError with `what` when it does not."""
    end_s = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < end_s, f"{what} within {wait_s:g} s"
        time.sleep(POLL_S)


class Dockerd:
    """One engine. `namespace`: a named network namespace to run in; `settings`: more of its configuration file.

    With `iptables` off no rule is left on the machine; published ports work all the same.
    """

    def __init__(
        self,
        folder: Path,
        *,
        namespace: str = "",
        bridge_cidr: str = "",
        iptables: bool = False,
        settings: Mapping[str, Any] = {},
    ) -> None:
        mark = hashlib.sha256(bytes(folder)).digest()
        self.folder, self.namespace = folder, namespace
        self.socket = folder / "docker.sock"
        # An interface's name has at most 15 characters.
        self._bridge = f"dk{mark[:5].hex()}"
        self._cidr = bridge_cidr or f"10.213.{mark[5]}.1/24"
        self._iptables, self._settings = iptables, settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """For DOCKER_HOST."""
        return f"unix://{self.socket}"

    @property
    def api(self) -> docker.APIClient:
        """A client of its own for each caller: `with closing(engine.api) as api`."""
        return docker.APIClient(base_url=self.host, version="auto", timeout=int(WAIT_S))

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, or start it again after `halt` or `kill`, and wait until it answers."""
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        (self.folder / "exec").mkdir(exist_ok=True)
        if self._within("ip", "link", "show", self._bridge, check=False).returncode:
            self._within("ip", "link", "add", self._bridge, "type", "bridge")
            self._within("ip", "addr", "add", self._cidr, "dev", self._bridge)
        self._within("ip", "link", "set", self._bridge, "up")
        # A configuration file of its own keeps the machine's /etc/docker/daemon.json out of the tests.
        (self.folder / "daemon.json").write_text(json.dumps(self._settings))
        if self._process is None:
            (self.folder / "dockerd.pid").unlink(missing_ok=True)
        with (self.folder / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until(self._answers, "dockerd answers")

    def halt(self) -> None:
        """End the engine alone, as for an update of it; with `live-restore` in the settings containers run on."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9 of the engine alone."""
        self._end(signal.SIGKILL)
        (self.folder / "dockerd.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """End it with all of its containers, and remove all that it made."""
        if self.runs:
            with contextlib.suppress(Exception), contextlib.closing(self.api) as api:
                # Killed first, they do not make the shutdown wait for their stop timeouts.
                for one in api.containers():
                    api.kill(one["Id"])
                api.prune_containers()
                api.prune_networks()
            self.halt()
        for pid in self.left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for mount in sorted((one for one in mounts if one.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
        self._within("ip", "link", "del", self._bridge, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def left(self) -> list[int]:
        """The processes that name the engine's folder: its containerd and shims, once it has ended itself."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if bytes(self.folder / "exec") in path.read_bytes():
                    found.append(int(path.parent.name))
        return found

    def log(self) -> str:
        return (self.folder / "dockerd.log").read_text(errors="replace")

    def image(self, tag: str, version: str, mode: Mode = "ok") -> str:
        """Make an image of a service that answers /version and, when well, /healthz on $PORT (8080).

        `slow` answers after 5 s, `crash` exits with code 1 at once, `stubborn` ignores SIGTERM. Returns the
        image's id.
        """
        changes = [
            'CMD ["/bin/serve"]',
            f"EXPOSE {PORT}",
            "ENV PATH=/bin",
            f"LABEL org.opencontainers.image.version={version}",
        ]
        name, _, label = tag.rpartition(":")
        with contextlib.closing(self.api) as api:
            api.import_image_from_data(
                service_tar(version, mode), repository=name, tag=label, changes=changes
            )
            return str(api.inspect_image(tag)["Id"])

    def _argv(self) -> list[str]:
        within = ["nsenter", f"--net=/run/netns/{self.namespace}"] if self.namespace else []
        # A UTS namespace gives each engine of a cluster a host name of its own.
        named = ["unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', self.namespace]
        return [
            *within,
            *(named if self.namespace else []),
            "dockerd",
            f"--config-file={self.folder / 'daemon.json'}",
            f"--host={self.host}",
            f"--data-root={self.folder / 'data'}",
            f"--exec-root={self.folder / 'exec'}",
            f"--pidfile={self.folder / 'dockerd.pid'}",
            "--storage-driver=overlay2",
            f"--bridge={self._bridge}",
            f"--iptables={str(self._iptables).lower()}",
            "--ip-masq=false",
            "--ip6tables=false",
            "--shutdown-timeout=3",
            "--max-concurrent-downloads=2",
        ]

    def _within(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        # Not `ip netns exec`: it mounts a new /sys, which hides the control groups from dockerd.
        prefix = ["nsenter", f"--net=/run/netns/{self.namespace}"] if self.namespace else []
        return subprocess.run([*prefix, *argv], check=check, capture_output=True, timeout=WAIT_S)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"dockerd ended:\n{self.log()[-3000:]}"
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2.0)
            client.connect(str(self.socket))
            client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return client.recv(64).startswith(b"HTTP/1.0 200")
        return False

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        try:
            self._process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(WAIT_S)


def service_tar(version: str, mode: Mode) -> bytes:
    """The root file system of the service: static busybox and a shell script, 2 MB. The same for the same words."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:

        def add(
            name: str, data: bytes = b"", *, mode: int = 0o644, link: str = "", kind: bytes = b""
        ) -> None:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.linkname = len(data), mode, link
            info.type = kind or (tarfile.SYMTYPE if link else tarfile.REGTYPE)
            tar.addfile(info, io.BytesIO(data))

        for folder in ("bin", "etc", "tmp", "www"):
            add(folder, mode=0o1777 if folder in {"tmp", "www"} else 0o755, kind=tarfile.DIRTYPE)
        add("bin/busybox", BUSYBOX.read_bytes(), mode=0o755)
        for applet in APPLETS:
            add(f"bin/{applet}", link="busybox")
        add("bin/serve", SERVE.encode(), mode=0o755)
        add("etc/passwd", b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
        add("etc/mode", f"{mode}\n".encode())
        add("www/version", json.dumps({"version": version}).encode())
    return made.getvalue()


class Registry:
    """A real registry, on loopback by default, which Docker trusts without TLS there; `user` and `password` turn on
    basic auth."""

    def __init__(
        self, folder: Path, port: int, *, user: str = "", password: str = "", address: str = "127.0.0.1"
    ) -> None:
        self.folder, self.name = folder, f"{address}:{port}"
        self._user, self._password = user, password
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again; what was pushed is still there."""
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "data")}},
            "http": {"addr": self.name},
        }
        if self._user:
            users = self.folder / "htpasswd"
            argv = ["htpasswd", "-Bbn", self._user, self._password]
            users.write_bytes(subprocess.run(argv, check=True, capture_output=True).stdout)
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(users)}}
        # JSON is YAML.
        (self.folder / "config.yml").write_text(json.dumps(config))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", self.folder / "config.yml"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._answers, "the registry answers")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(WAIT_S)
            self._process = None

    def push(self, engine: Dockerd, tag: str, name: str) -> str:
        """Put an image of the engine in here; the reference by which it is pulled: `host/name@sha256:…`."""
        repository = f"{self.name}/{name}"
        login = {"username": self._user, "password": self._password} if self._user else None
        with contextlib.closing(engine.api) as api:
            api.tag(tag, repository, "pushed")
            lines = list(api.push(repository, "pushed", stream=True, decode=True, auth_config=login))
        assert not [line for line in lines if "error" in line], lines
        return f"{repository}@{next(line['aux']['Digest'] for line in lines if 'aux' in line)}"

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        client = http.client.HTTPConnection(self.name, timeout=2.0)
        with contextlib.suppress(OSError), contextlib.closing(client):
            client.request("GET", "/v2/")
            return client.getresponse().status in {200, 401}
        return False
