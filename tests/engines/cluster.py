"""A real Docker Swarm on one machine: each node a dockerd in a network namespace of its own, all on one bridge.

Run it in namespaces of its own (`isolated.sh`). The kernels that tests run on have no IPVS as a rule: a service's
virtual address and ports that are open on all nodes carry no traffic there. Nodes have no default route, or every pull
would wait for a name server first.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

import docker

from tests.engines.dockerd import WAIT_S, Dockerd, until

NETWORK = "10.214.0"
BRIDGE = "swbr0"
HEARTBEAT_NS = 1_000_000_000
NODES = 3


class Cluster:
    """All nodes are managers; node i (from 1) is at 10.214.0.i. The tests themselves are at `ADDRESS`."""

    ADDRESS = f"{NETWORK}.254"

    def __init__(self, folder: Path) -> None:
        settings = {"insecure-registries": [f"{NETWORK}.0/24"]}
        self.nodes = {
            i: Dockerd(
                folder / f"node-{i}",
                namespace=f"sw{i}",
                bridge_cidr=f"10.215.{i}.1/24",
                iptables=True,
                settings=settings,
            )
            for i in range(1, NODES + 1)
        }

    @staticmethod
    def address(node: int) -> str:
        return f"{NETWORK}.{node}"

    def start(self) -> None:
        _ip("link", "add", BRIDGE, "type", "bridge")
        _ip("addr", "add", f"{self.ADDRESS}/24", "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        for i, node in self.nodes.items():
            _ip("netns", "add", f"sw{i}")
            _ip("link", "add", f"swv{i}", "type", "veth", "peer", "name", "eth0", "netns", f"sw{i}")
            _ip("link", "set", f"swv{i}", "master", BRIDGE, "up")
            _ip("-n", f"sw{i}", "link", "set", "lo", "up")
            _ip("-n", f"sw{i}", "addr", "add", f"{self.address(i)}/24", "dev", "eth0")
            _ip("-n", f"sw{i}", "link", "set", "eth0", "up")
            node.start()
        with contextlib.closing(self.nodes[1].api) as api:
            spec = api.create_swarm_spec(dispatcher_heartbeat_period=HEARTBEAT_NS)
            api.init_swarm(self.address(1), f"{self.address(1)}:2377", swarm_spec=spec)
            token = api.inspect_swarm()["JoinTokens"]["Manager"]
        for i in range(2, NODES + 1):
            with contextlib.closing(self.nodes[i].api) as api:
                own = self.address(i)
                api.join_swarm([f"{self.address(1)}:2377"], token, f"{own}:2377", own)
        self.until_whole()

    def stop(self) -> None:
        for node in self.nodes.values():
            node.stop()

    def kill(self, node: int) -> None:
        """A power cut: the engine, what keeps its containers, and these themselves."""
        engine = self.nodes[node]
        pids = [
            json.loads(path.read_text())["State"]["Pid"]
            for path in (engine.folder / "data" / "containers").glob("*/config.v2.json")
        ]
        engine.kill()
        for pid in (*engine.left(), *(pid for pid in pids if pid > 1)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not engine.left(), "all of the node is gone")
        (engine.folder / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def cut(self, node: int) -> None:
        """The node's network goes; it runs on."""
        _ip("link", "set", f"swv{node}", "down")

    def join(self, node: int) -> None:
        """Undo either of the two."""
        _ip("link", "set", f"swv{node}", "up")
        if not self.nodes[node].runs:
            self.nodes[node].start()

    def until_whole(self) -> None:
        """Wait until every node is there, and they have a leader."""

        def whole() -> bool:
            with (
                contextlib.suppress(docker.errors.APIError, OSError),
                contextlib.closing(self.nodes[1].api) as api,
            ):
                nodes = api.nodes()
                return len(nodes) == NODES and all(
                    one["Status"]["State"] == "ready"
                    and one.get("ManagerStatus", {}).get("Reachability") == "reachable"
                    for one in nodes
                )
            return False

        until(whole, "the swarm is whole")

    def until_lost(self, node: int, by: int = 1) -> None:
        """Wait until the others have given the node up."""

        def lost() -> bool:
            with contextlib.closing(self.nodes[by].api) as api:
                return any(
                    one["Status"]["State"] == "down" and one["Description"]["Hostname"] == f"sw{node}"
                    for one in api.nodes()
                )

        until(lost, f"node {node} is down to the others")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=WAIT_S)
