"""Leases as objects of a cluster (coordination.k8s.io/v1): moved by the resource version that must still stand there.

No driver: a place for what several daemons in one cluster share, for who would rather not have it in the repository.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from reconciler.drivers.kubernetes.access import from_kubeconfig, in_cluster
from reconciler.drivers.kubernetes.api import Absent, Api, Conflict, Forbidden, path_of
from reconciler.model.codec import decode
from reconciler.model.errors import HostError, TransientError
from reconciler.model.lease import Claim
from reconciler.model.register import ABSENT, Late, Move, Refused

GROUP = "coordination.k8s.io/v1"
PLURAL = "leases"
LABEL = "ugs.dev/lease"
NAME = "ugs.dev/name"
TEXT = "ugs.dev/claim"
PAGE_MAX = 500
MICROTIME = "%Y-%m-%dT%H:%M:%S.%fZ"


class _Metadata(Struct, frozen=True):
    resource_version: str = msgspec.field(name="resourceVersion", default="")
    annotations: dict[str, str] = {}
    continued: str = msgspec.field(name="continue", default="")


class _Lease(Struct, frozen=True):
    metadata: _Metadata


class _Leases(Struct, frozen=True):
    metadata: _Metadata
    items: list[_Lease] = []


_ONE, _MANY = msgspec.json.Decoder(_Lease), msgspec.json.Decoder(_Leases)


def api_of(engine: Mapping[str, Any]) -> Api:
    """The cluster that `engines.kubernetes` names. Raises HostError."""
    kubeconfig = engine.get("kubeconfig")
    return Api(from_kubeconfig(Path(kubeconfig), None) if kubeconfig else in_cluster())


class ClusterRegister:
    """A register (model/register.py) of Lease objects in one namespace. Blocking."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    def read(self, *beginnings: str) -> dict[str, tuple[str, str]]:
        found, query = (
            dict[str, tuple[str, str]](),
            {"labelSelector": f"{LABEL}=true", "limit": str(PAGE_MAX)},
        )
        while True:
            page = _MANY.decode(
                self._called("list the leases", "GET", path_of(GROUP, PLURAL, self._namespace), query)
            )
            for item in page.items:
                said = item.metadata.annotations
                if said.get(NAME, "").startswith(beginnings or ("",)):
                    found[said.get(NAME, "")] = item.metadata.resource_version, said.get(TEXT, "")
            if not page.metadata.continued:
                return found
            query = query | {"continue": page.metadata.continued}

    def swap(self, moves: Mapping[str, Move], *, at: datetime) -> dict[str, str | Late | Refused]:
        answers = dict[str, str | Late | Refused]()
        for name, move in moves.items():
            try:
                answers[name] = self._put(name, move, at)
            except (Absent, Conflict) as error:
                answers[name] = Late(error.message)
            except Forbidden as error:
                answers[name] = Refused(error.message)
        return answers

    def where(self, name: str) -> str:
        return f"the lease {self._namespace}/{object_name(name)}"

    def allow(self, _name: str) -> str:
        return (
            f"grant get, list, create and update of {PLURAL} in the namespace {self._namespace} to the daemon"
        )

    def _put(self, name: str, move: Move, at: datetime) -> str:
        """Create the object, or replace it as it stands; its new resource version."""
        base = path_of(GROUP, PLURAL, self._namespace)
        body, doing = manifest(self._namespace, name, move, at=at), f"put {self.where(name)}"
        if move.expected == ABSENT:
            answer = self._called(doing, "POST", base, body=body)
        else:
            answer = self._called(doing, "PUT", f"{base}/{object_name(name)}", body=body)
        return _ONE.decode(answer).metadata.resource_version

    def _called(
        self,
        doing: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: object = None,
    ) -> bytes:
        """Raises Absent, Conflict and Forbidden; TransientError where the server does not answer."""
        try:
            return self._api.call(doing, method, path, query=query, body=body)
        except (Absent, Conflict, Forbidden):
            raise
        except HostError as error:
            raise TransientError(error.message, error.remedy) from error


def object_name(name: str) -> str:
    """The name of the object: what Kubernetes allows of ours, told apart by a digest where that is not all."""
    shown = "".join(c if c.isascii() and (c.isalnum() or c == "-") else "-" for c in name.lower())
    plain = f"ugs-{shown.replace('lease-', '', 1)}" if name.startswith("lease/") else f"ugs-{shown}"
    if name.startswith("lease/") and shown == name.replace("/", "-") and len(plain) <= 200:
        return plain
    return f"{plain[:200]}-{sha256(name.encode()).hexdigest()[:10]}"


def manifest(namespace: str, name: str, move: Move, *, at: datetime) -> dict[str, Any]:
    """The object: our claim word for word, and as much of it as `kubectl get leases` shows."""
    claim = decode(move.body, Claim)
    moment = at.astimezone(UTC).strftime(MICROTIME)
    metadata = {
        "name": object_name(name),
        "namespace": namespace,
        "labels": {LABEL: "true", "app.kubernetes.io/managed-by": "ugs"},
        "annotations": {NAME: name, TEXT: move.body},
    }
    spec = {
        "holderIdentity": f"{claim.host}_{claim.holder}" if claim.lasts_s else "",
        "leaseDurationSeconds": max(1, math.ceil(claim.lasts_s)),
        "leaseTransitions": min(claim.epoch, 2**31 - 1),
        "renewTime": moment,
    }
    if move.expected != ABSENT:
        metadata["resourceVersion"] = move.expected
    return {"apiVersion": GROUP, "kind": "Lease", "metadata": metadata, "spec": spec}
