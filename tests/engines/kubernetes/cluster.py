"""A real Kubernetes for tests: etcd, API server, controllers, scheduler, and a node that runs pods on a Docker engine.

The binaries (1.20) are what `build.sh` has put into the cache. Needs root and Debian's etcd-server beside what
`Dockerd` needs; run it under `isolated.sh`, so that nothing outlives it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import docker
import msgspec

from reconciler.drivers.kubernetes.access import from_kubeconfig
from reconciler.drivers.kubernetes.api import Api
from reconciler.model.errors import UgsError
from tests.engines.dockerd import Dockerd, service_tar, until

BUILD = Path(__file__).parent / "build.sh"
PORT, ETCD_PORT = 16443, 16379
SERVER = f"https://127.0.0.1:{PORT}"
BRIDGE, NODE_IP = "10.213.0.1/24", "10.213.0.1"
NODE = "node1"
START_S = 240.0
SWEEP_S = 0.5
TOKENS = """admin-token,admin,1,"system:masters"
deployer-token,deployer,2,"deployers"
"""
# Lowering oom_score_adj needs CAP_SYS_RESOURCE, which containers of CI lack: a runtime that drops the wish.
RUNTIME = f"""#!{sys.executable}
import json, os, sys
if "--bundle" in sys.argv:
    file = os.path.join(sys.argv[sys.argv.index("--bundle") + 1], "config.json")
    with open(file) as opened:
        config = json.load(opened)
    config["process"].pop("oomScoreAdj", None)
    with open(file, "w") as opened:
        json.dump(config, opened)
os.execvp("runc", ["runc", *sys.argv[1:]])
"""
PAUSE = 'trap "exit 0" TERM INT; while :; do sleep 3600 & wait; done'


def binaries() -> Path:
    """Where the cache has them. AssertionError when they were not built: here is no network to do it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubernetes-1.20" / "bin"
    assert (cache / "kubelet").is_file(), f"{cache} is empty: run {BUILD} first"
    return cache


class Cluster:
    """`kubelet`: with a real node; without one, pods wait for played ones."""

    def __init__(self, folder: Path, *, kubelet: bool = True) -> None:
        self.folder, self._bin, self._kubelet = folder, binaries(), kubelet
        self.kubeconfig = folder / "kubeconfig"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ended = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep)
        # The node's address of its own keeps clear of what other suites' engines choose by chance.
        self.docker = Dockerd(
            folder / "docker",
            bridge_cidr=BRIDGE,
            settings={"runtimes": {"fix": {"path": str(folder / "runtime")}}, "default-runtime": "fix"},
        )

    def start(self) -> None:
        (self.folder / "certs").mkdir(parents=True)
        self._write_credentials()
        self.api = Api(from_kubeconfig(self.kubeconfig, "admin"))
        self.start_etcd()
        self.start_server()
        self._run(
            "controllers",
            str(self._bin / "kube-controller-manager"),
            f"--kubeconfig={self.kubeconfig}",
            f"--service-account-private-key-file={self.folder / 'sa.key'}",
            f"--root-ca-file={self.folder / 'certs/apiserver.crt'}",
            "--leader-elect=false",
            f"--cert-dir={self.folder / 'controllers'}",
            "--pod-eviction-timeout=1h",
        )
        self._run(
            "scheduler",
            str(self._bin / "kube-scheduler"),
            f"--kubeconfig={self.kubeconfig}",
            "--leader-elect=false",
        )
        self._until("controllers", lambda: self.get("/api/v1/namespaces/default/serviceaccounts/default"))
        if self._kubelet:
            self._start_node()

    def start_etcd(self) -> None:
        etcd = f"http://127.0.0.1:{ETCD_PORT}"
        self._run(
            "etcd",
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{ETCD_PORT + 1}",
            "--unsafe-no-fsync",
        )

    def start_server(self) -> None:
        """Start the API server, or start it again after `stop_server`; one that runs is left alone."""
        if "apiserver" in self._processes:
            return
        folder, keys = self.folder, self.folder / "sa.key"
        self._run(
            "apiserver",
            str(self._bin / "kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{ETCD_PORT}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={PORT}",
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={folder / 'certs/apiserver.crt'}",
            f"--tls-private-key-file={folder / 'certs/apiserver.key'}",
            f"--cert-dir={folder / 'certs'}",
            "--service-account-issuer=https://kubernetes.default",
            f"--service-account-key-file={keys}",
            f"--service-account-signing-key-file={keys}",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--allow-privileged",
            "--kubelet-preferred-address-types=InternalIP",
            # A day's worth of events is not needed, and a watch from long ago is to be told so.
            "--etcd-compaction-interval=30s",
        )
        self._until("apiserver", lambda: self.api.call("ask", "GET", "/readyz"))

    def stop_server(self) -> None:
        """From now on nobody answers; pods run on."""
        self._end("apiserver")

    def stop(self) -> None:
        self._ended.set()
        if self._sweeper.is_alive():
            self._sweeper.join()
        for name in ("kubelet", "scheduler", "controllers", "apiserver", "etcd"):
            if name in self._processes:
                self._end(name)
        if self._kubelet:
            self.docker.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def get(self, path: str, **query: str) -> Any:
        return msgspec.json.decode(self.api.call(f"get {path}", "GET", path, query=query))

    def send(
        self, method: str, path: str, body: object = None, *, manager: str = "kubectl-edit", **more: Any
    ) -> Any:
        """As somebody else would: under another manager's name."""
        query = {"fieldManager": manager} if method in ("PATCH", "POST", "PUT") else {}
        said = self.api.call(f"{method} {path}", method, path, query=query, body=body, **more)
        return msgspec.json.decode(said) if said else None

    def _start_node(self) -> None:
        runtime = self.folder / "runtime"
        runtime.write_text(RUNTIME)
        runtime.chmod(0o755)
        self.docker.start()
        with contextlib.closing(self.docker.api) as api:
            command = f"CMD {msgspec.json.encode(['/bin/sh', '-c', PAUSE]).decode()}"
            api.import_image_from_data(service_tar("0", "ok"), repository="pause", tag="1", changes=[command])
        self._run(
            "kubelet",
            str(self._bin / "kubelet"),
            f"--kubeconfig={self.kubeconfig}",
            "--container-runtime=docker",
            f"--docker-endpoint={self.docker.host}",
            "--pod-infra-container-image=pause:1",
            "--cgroup-driver=cgroupfs",
            "--cgroups-per-qos=false",
            "--enforce-node-allocatable=",
            "--fail-swap-on=false",
            f"--root-dir={self.folder / 'kubelet'}",
            f"--cert-dir={self.folder / 'kubelet-certs'}",
            f"--hostname-override={NODE}",
            f"--address={NODE_IP}",
            f"--node-ip={NODE_IP}",
            "--read-only-port=0",
            "--oom-score-adj=0",
            "--make-iptables-util-chains=false",
            "--resolv-conf=",
            "--cluster-dns=10.96.0.10",
            f"--volume-plugin-dir={self.folder / 'volume-plugins'}",
            "--node-status-update-frequency=2s",
            "--sync-frequency=2s",
            "--authentication-token-webhook=false",
            "--anonymous-auth=true",
            "--authorization-mode=AlwaysAllow",
            # A full disk of the machine that runs the tests is not what they are about.
            "--eviction-hard=nodefs.available<0%",
            "--image-gc-high-threshold=100",
        )
        self._until("kubelet", self._node_is_ready)
        self._sweeper.start()

    def _sweep(self) -> None:
        """This kubelet lets a pod go after it has collected its sandbox, which it does once a minute: do it sooner."""
        wanted = {"status": "exited", "label": "io.kubernetes.docker.type=podsandbox"}
        with contextlib.closing(self.docker.api) as api:
            while not self._ended.wait(SWEEP_S):
                with contextlib.suppress(docker.errors.APIError):
                    for one in api.containers(all=True, filters=wanted):
                        api.remove_container(one["Id"])

    def _node_is_ready(self) -> bool:
        found = self.get(f"/api/v1/nodes/{NODE}")["status"]["conditions"]
        return any(one["type"] == "Ready" and one["status"] == "True" for one in found)

    def _write_credentials(self) -> None:
        folder = self.folder
        _openssl("genrsa", "-out", folder / "sa.key", "2048")
        _openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=kubernetes"),
            *("-keyout", folder / "certs/apiserver.key", "-out", folder / "certs/apiserver.crt"),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
        )
        (folder / "tokens.csv").write_text(TOKENS)
        users = ("admin", "deployer", "nobody")
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "t",
                    "cluster": {
                        "server": SERVER,
                        "certificate-authority": str(folder / "certs/apiserver.crt"),
                    },
                }
            ],
            "users": [{"name": user, "user": {"token": f"{user}-token"}} for user in users],
            "contexts": [{"name": user, "context": {"cluster": "t", "user": user}} for user in users],
            "current-context": "admin",
        }
        self.kubeconfig.write_bytes(msgspec.json.encode(config) + b"\n")  # JSON is YAML

    def _run(self, name: str, *argv: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _end(self, name: str) -> None:
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def _until(self, name: str, ready: Any) -> None:
        def answered() -> bool:
            said = (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]
            assert self._processes[name].poll() is None, f"{name} ended:\n{said}"
            try:
                return bool(ready())
            except UgsError:
                return False

        until(answered, f"{name} is ready", START_S)


def _openssl(*argv: str | Path) -> None:
    subprocess.run(["openssl", *map(str, argv)], check=True, capture_output=True, timeout=120)
