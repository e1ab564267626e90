"""One namespace of one API server: what is in it, from the cache, and the calls that change it."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from reconciler.drivers.kubernetes import fields, marks, pods, rollout
from reconciler.drivers.kubernetes.api import APPLY, MERGE, Absent, Api, Conflict, path_of
from reconciler.drivers.kubernetes.cache import Feed
from reconciler.drivers.kubernetes.objects import NAMES, PODS, SERVICES, WORKLOADS, Service
from reconciler.drivers.kubernetes.options import Choice
from reconciler.drivers.kubernetes.rollout import PLURALS, Held, Kind
from reconciler.drivers.trouble import host_trouble
from reconciler.model.errors import HostError, UgsError

LOG_BYTES_MAX = 1 << 20
TAIL_LINES, TAIL_BYTES_MAX = 5, 2000
TAILS_MAX = 1000
NO_LOG = ("failed to try resolving symlinks", "unable to retrieve container logs")
"""With these words, and no error, a kubelet says that the container is gone."""
_RESOURCES: dict[str, tuple[str, str]] = {
    **{str(kind): ("apps/v1", plural) for kind, plural in PLURALS.items()},
    "Secret": ("v1", "secrets"),
    "ConfigMap": ("v1", "configmaps"),
    "Pod": ("v1", "pods"),
    "Service": ("v1", "services"),
}


class Around(Struct, frozen=True):
    """What an object that is there says of itself, for whoever changes it."""

    held: Held
    container: str
    version: str
    managed: list[dict[str, Any]]


class Namespace:
    """Blocking, and used from many threads."""

    def __init__(self, api: Api, name: str) -> None:
        self.api, self.name = api, name
        self._workloads: dict[str, Feed[Held]] = {kind: self._feed(kind) for kind in PLURALS}
        self._pods = Feed(api, "v1", "pods", name, marks.SERVICE, _pod)
        self._services = Feed(api, "v1", "services", name, marks.SERVICE, _service)
        self._tails: dict[str, tuple[int, str]] = {}

    def _feed(self, kind: Kind) -> Feed[Held]:
        def decode(data: bytes, before: Held | None) -> tuple[str, str, Held]:
            found = WORKLOADS.decode(data)
            held = rollout.held(kind, found)
            if before is not None and before.uid == held.uid and before.generation > held.generation:
                held = before  # our own change was answered before the watch came to it
            return found.metadata.name, found.metadata.resource_version, held

        return Feed(self.api, "apps/v1", PLURALS[kind], self.name, "", decode)

    def workloads(self) -> list[Held]:
        return [one for feed in self._workloads.values() for one in feed.read().values()]

    def pods_by_service(self) -> dict[str, list[pods.Seen]]:
        """By the service that their label names."""
        found = dict[str, list[pods.Seen]]()
        for one in self._pods.read().values():
            found.setdefault(one.service, []).append(one)
        return found

    def services(self) -> dict[str, Service]:
        """By name, those with a label of ours. Nobody watches them before this is asked."""
        return self._services.read()

    def service(self, name: str) -> Service | None:
        """The Service as it is at this moment, whosever it is."""
        try:
            return SERVICES.decode(self._call("get", "Service", name, "GET"))
        except Absent:
            return None

    def around(self, kind: Kind, name: str) -> Around | None:
        """The object as it is at this moment; None when there is none."""
        try:
            data = self._call("get", kind, name, "GET")
        except Absent:
            return None
        found, raw = WORKLOADS.decode(data), msgspec.json.decode(data)
        containers = found.spec.template.spec.containers
        return Around(
            rollout.held(kind, found),
            containers[0].name if len(containers) == 1 else "",
            found.metadata.resource_version,
            raw["metadata"].get("managedFields", []),
        )

    def apply(
        self, body: dict[str, Any], *, force: bool = False, dry: bool = False, overrule: tuple[str, ...] = ()
    ) -> None:
        """Server-side apply. Raises HostError, which names them, where others than `overrule` own what we set.

        `dry`: have it judged, and change nothing.
        """
        kind, name = body["kind"], body["metadata"]["name"]
        query = {"fieldManager": marks.MANAGER, "force": str(force).lower()}
        query |= {"dryRun": "All"} if dry else {}
        try:
            data = self._call("apply", kind, name, "PATCH", query=query, body=body, content=APPLY)
        except Conflict as conflict:
            if overrule and not force and fields.gives_way(conflict.causes, overrule):
                self.apply(body, force=True, dry=dry)
                return
            raise _named(conflict, f"{kind} {name}") from conflict
        if kind in PLURALS and not dry:
            held = rollout.held(kind, WORKLOADS.decode(data))
            self._workloads[kind].put(name, held)
        elif kind == "Service" and not dry:
            self._services.put(name, SERVICES.decode(data))

    def take_over(self, kind: Kind, name: str, around: Around, overrule: tuple[str, ...]) -> None:
        """Make ours what others own of the object's `spec`, as far as they give way: the next apply undoes it."""
        managed = fields.taken_over(around.managed, lambda manager: fields.may_overrule(manager, overrule))
        if managed != around.managed:
            body = {"metadata": {"resourceVersion": around.version, "managedFields": managed}}
            self._call("take over", kind, name, "PATCH", body=body, content=MERGE)

    def relabel(self, kind: str, name: str, labels: dict[str, str]) -> None:
        with suppress(Absent):  # it was being removed
            self._call("relabel", kind, name, "PATCH", body={"metadata": {"labels": labels}}, content=MERGE)

    def patch(self, kind: str, name: str, body: dict[str, Any]) -> None:
        """Change some fields of what is ours, under our own name."""
        query = {"fieldManager": marks.MANAGER}
        data = self._call("change", kind, name, "PATCH", query=query, body=body, content=MERGE)
        if kind in PLURALS:
            self._workloads[kind].put(name, rollout.held(kind, WORKLOADS.decode(data)))

    def delete(self, kind: str, name: str, uid: str = "") -> None:
        """With all that it owns; gone already is fine."""
        body: dict[str, Any] = {"propagationPolicy": "Foreground"}
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            self._call("delete", kind, name, "DELETE", body=body)
        except Absent:
            return

    def names(self, kind: str, labels: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
        """Of Secrets and ConfigMaps of ours: (name, labels)."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        path = path_of(*_RESOURCES[kind], self.name)
        data = self.api.call(f"list {kind}s in {self.name}", "GET", path, query={"labelSelector": selector})
        found = NAMES.decode(data).items
        return [(one.metadata.name, one.metadata.labels) for one in found]

    def log(self, pod: str, *, lines: int, container: str = "", previous: bool = False) -> list[str]:
        query = {
            "tailLines": str(lines),
            "limitBytes": str(LOG_BYTES_MAX if not previous else TAIL_BYTES_MAX),
        }
        query |= {"container": container} if container else {}
        query |= {"previous": "true"} if previous else {}
        path = path_of("v1", "pods", self.name, pod, "log")
        data = self.api.call(f"read the log of {pod}", "GET", path, query=query)
        return data.decode("utf-8", "replace").splitlines()

    def tail(self, pod: pods.Seen) -> str:
        """The last words of a container that crashed; asked for once for each crash, empty when there are none."""
        known = self._tails.get(pod.uid)
        if known is None or known[0] != pod.restarts:
            try:
                lines = self.log(
                    pod.name, lines=TAIL_LINES, container=pod.container, previous=pod.restarts > 0
                )
            except UgsError:
                lines = []
            said = " | ".join(line.strip() for line in lines if line.strip() and not line.startswith(NO_LOG))
            if len(self._tails) >= TAILS_MAX:
                self._tails.clear()
            # Of a container that is removed meanwhile, what the one before it said is the better evidence.
            known = self._tails[pod.uid] = pod.restarts, said or (known[1] if known else "")
        return known[1]

    def end(self) -> None:
        for feed in self._workloads.values():
            feed.end()
        self._pods.end()
        self._services.end()

    def _call(
        self,
        doing: str,
        kind: str,
        name: str,
        method: str,
        *,
        query: dict[str, str] | None = None,
        body: object = None,
        content: str = "application/json",
    ) -> bytes:
        path = path_of(*_RESOURCES[kind], self.name, name)
        what = f"{doing} {kind} {name} in {self.name}"
        return self.api.call(what, method, path, query=query, body=body, content=content)


def _pod(data: bytes, before: pods.Seen | None) -> tuple[str, str, pods.Seen]:
    found = PODS.decode(data)
    return found.metadata.name, found.metadata.resource_version, pods.seen(found, before)


def _service(data: bytes, _before: Service | None) -> tuple[str, str, Service]:
    found = SERVICES.decode(data)
    return found.metadata.name, found.metadata.resource_version, found


def _named(conflict: Conflict, what: str) -> HostError:
    """The refusal of server-side apply, with who owns what we would set."""
    if not conflict.causes:
        return conflict
    said = "; ".join(f"{field}: {who}" for field, who in conflict.causes)
    return HostError(
        f"{what}: somebody else owns what the release sets: {said}",
        "let them give it up, or let UGS overrule them (engines.kubernetes.overrule in ugs.yaml)",
    )


_OPEN: dict[tuple[object, ...], tuple[int, Namespace]] = {}
_LOCK = threading.Lock()


def open_namespace(choice: Choice) -> Namespace:
    """The namespace of an environment, with its watches: one for all who ask for the same.

    A kubeconfig that was changed is read again.
    """
    file = choice.engine.kubeconfig
    with host_trouble("read the kubeconfig"):
        written = Path(file).stat().st_mtime_ns if file else 0
    key = (file, choice.options.context, choice.options.namespace)
    with _LOCK:
        known = _OPEN.get(key)
        if known is None or known[0] != written:
            if known is not None:
                known[1].end()
            known = _OPEN[key] = written, Namespace(Api(choice.access()), choice.options.namespace)
        return known[1]


def close_all() -> None:
    """End every watch; whoever asks next opens them anew."""
    with _LOCK:
        for _, one in _OPEN.values():
            one.end()
        _OPEN.clear()
