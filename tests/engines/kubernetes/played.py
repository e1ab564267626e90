"""Played nodes: stand-ins for kubelets over a real API server, so that many pods roll without a container.

They register nodes, keep them ready, and move each pod that is bound to one of them through what a kubelet would
report. What a pod does is its image's tag to say: `crash` ends again and again, `missing` cannot be pulled,
`unready` runs and is never ready; whatever else is ready after a moment.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from reconciler.drivers.kubernetes.api import MERGE, Absent, Api
from reconciler.model.errors import UgsError

TAINT = {"key": "played", "value": "true", "effect": "NoSchedule"}
PODS_A_NODE = 250
WORKERS = 16
HEARTBEAT_S = 10.0
READY_S = 0.2
MISSING = "rpc error: code = Unknown desc = manifest unknown: manifest for it not found"


class Played:
    """`count` nodes. Pods come to them by a node selector `played: "true"` and a toleration of the taint."""

    def __init__(self, api: Api, count: int) -> None:
        self._api = api
        self._names = [f"played-{index}" for index in range(count)]
        self._addresses = (f"10.244.{i // 250 % 250}.{i % 250 + 1}" for i in itertools.count())
        self._seen: set[str] = set()
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(WORKERS)
        self._threads = [threading.Thread(target=one, daemon=True) for one in (self._beat, self._follow)]

    def start(self) -> None:
        for name in self._names:
            labels = {"kubernetes.io/hostname": name, "played": "true"}
            body = {"metadata": {"name": name, "labels": labels}, "spec": {"taints": [TAINT]}}
            self._api.call(f"make node {name}", "POST", "/api/v1/nodes", body=body)
            self._heartbeat(name)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._pool.shutdown(cancel_futures=True)
        for name in self._names:
            with suppress(UgsError):
                self._api.call(f"remove node {name}", "DELETE", f"/api/v1/nodes/{name}")
        for thread in self._threads:
            thread.join()

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            for name in self._names:
                with suppress(UgsError):
                    self._heartbeat(name)

    def _heartbeat(self, name: str) -> None:
        room = {"cpu": "100", "memory": "100Gi", "pods": str(PODS_A_NODE)}
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "lastHeartbeatTime": _now(),
            "lastTransitionTime": _now(),
        }
        body = {"status": {"capacity": room, "allocatable": room, "conditions": [ready]}}
        self._api.call(f"beat for {name}", "PATCH", f"/api/v1/nodes/{name}/status", body=body, content=MERGE)

    def _follow(self) -> None:
        version = ""
        while not self._ended.is_set():
            with suppress(UgsError):
                query = {"watch": "true", "timeoutSeconds": "5"} | (
                    {"resourceVersion": version} if version else {}
                )
                with self._api.stream("watch pods", "/api/v1/pods", query, 10.0) as lines:
                    for pod in self._pods(lines):
                        version = pod["metadata"]["resourceVersion"]
                        self._look(pod)
                continue
            version = ""

    def _pods(self, lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
        for line in lines:
            event = json.loads(line)
            if event["type"] in ("ADDED", "MODIFIED"):
                yield event["object"]

    def _look(self, pod: dict[str, Any]) -> None:
        if pod["spec"].get("nodeName") not in self._names:
            return
        key = pod["metadata"]["uid"]
        if pod["metadata"].get("deletionTimestamp"):
            if f"{key}-end" not in self._seen:
                self._seen.add(f"{key}-end")
                self._pool.submit(self._end, pod)
        elif key not in self._seen:
            self._seen.add(key)
            self._pool.submit(self._begin, pod)

    def _begin(self, pod: dict[str, Any]) -> None:
        image, running = pod["spec"]["containers"][0]["image"], {"running": {"startedAt": _now()}}
        tag = image.partition("@")[0].rpartition(":")[2]
        if tag == "missing":
            state = {"waiting": {"reason": "ErrImagePull", "message": MISSING}}
            self._report(pod, state, ready=False, phase="Pending")
        elif tag == "crash":
            state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
            self._report(pod, state, ready=False, restarts=3)
        else:
            self._report(pod, running, ready=False)
            if tag != "unready" and not self._ended.wait(READY_S):
                self._report(pod, running, ready=True)

    def _end(self, pod: dict[str, Any]) -> None:
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        with suppress(Absent):
            self._api.call("end a pod", "DELETE", path, body={"gracePeriodSeconds": 0})

    def _report(
        self,
        pod: dict[str, Any],
        state: dict[str, Any],
        *,
        ready: bool,
        phase: str = "Running",
        restarts: int = 0,
    ) -> None:
        flag, meta = "True" if ready else "False", pod["metadata"]
        stated = (
            ("PodScheduled", "True"),
            ("Initialized", "True"),
            ("ContainersReady", flag),
            ("Ready", flag),
        )
        container = pod["spec"]["containers"][0]
        status = {
            "phase": phase,
            "conditions": [{"type": t, "status": s, "lastTransitionTime": _now()} for t, s in stated],
            "podIP": next(self._addresses),
            "startTime": _now(),
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": container["image"],
                    "ready": ready,
                    "started": ready,
                    "restartCount": restarts,
                    "state": state,
                }
            ],
        }
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status"
        with suppress(Absent):
            self._api.call("report on a pod", "PATCH", path, body={"status": status}, content=MERGE)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
