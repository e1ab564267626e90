"""What a manager answers, read: services, their tasks, the nodes. What is not needed here is left out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from reconciler.drivers.labels import target_in
from reconciler.model.codec import resolve_types
from reconciler.model.target import Target

ALIVE = frozenset({"new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running"})
"""States of a task that has not come to its end."""
DEFAULT_GRACE_NS = 10_000_000_000
ADDRESS = "ugs.address"
"""A node's label by which an operator says where the daemon reaches it."""
NOWHERE = frozenset({"", "0.0.0.0", "::", "[::]"})  # noqa: S104
LOOPBACKS = frozenset({"127.0.0.1", "::1"})


class Version(Struct, frozen=True):
    index: int = field(name="Index", default=0)


class UpdateStatus(Struct, frozen=True):
    state: str = field(name="State", default="")
    message: str = field(name="Message", default="")


class Service(Struct, frozen=True):
    id: str = field(name="ID")
    version: Version = field(name="Version")
    spec: dict[str, Any] = field(name="Spec")
    update: UpdateStatus = field(name="UpdateStatus", default=UpdateStatus())
    created_at: datetime | None = field(name="CreatedAt", default=None)

    @property
    def name(self) -> str:
        return str(self.spec.get("Name", ""))

    @property
    def labels(self) -> Mapping[str, str]:
        return self.spec.get("Labels") or {}

    @property
    def grace_s(self) -> float:
        container = self.spec.get("TaskTemplate", {}).get("ContainerSpec", {})
        return float(container.get("StopGracePeriod", DEFAULT_GRACE_NS)) / 1e9

    @property
    def replicas(self) -> int:
        return int(self.spec.get("Mode", {}).get("Replicated", {}).get("Replicas", 0))


class ContainerStatus(Struct, frozen=True):
    exit_code: int = field(name="ExitCode", default=0)


class Status(Struct, frozen=True):
    state: str = field(name="State", default="new")
    message: str = field(name="Message", default="")
    error: str = field(name="Err", default="")
    at: datetime | None = field(name="Timestamp", default=None)
    container: ContainerStatus = field(name="ContainerStatus", default=ContainerStatus())


class ContainerSpec(Struct, frozen=True):
    labels: dict[str, str] = field(name="Labels", default_factory=dict)


class TaskSpec(Struct, frozen=True):
    container: ContainerSpec = field(name="ContainerSpec", default=ContainerSpec())


class Attachment(Struct, frozen=True):
    addresses: tuple[str, ...] | None = field(name="Addresses", default=None)


class Task(Struct, frozen=True):
    id: str = field(name="ID")
    created_at: datetime = field(name="CreatedAt")
    service_id: str = field(name="ServiceID", default="")
    slot: int = field(name="Slot", default=0)
    node_id: str = field(name="NodeID", default="")
    wanted: str = field(name="DesiredState", default="")
    status: Status = field(name="Status", default=Status())
    spec: TaskSpec = field(name="Spec", default=TaskSpec())
    attachments: tuple[Attachment, ...] | None = field(name="NetworksAttachments", default=None)

    @property
    def target(self) -> Target | None:
        return target_in(self.spec.container.labels)

    @property
    def is_up(self) -> bool:
        """It has not come to its end, whether or not it is wanted."""
        return self.status.state in ALIVE

    @property
    def is_live(self) -> bool:
        """It runs, or is on its way there. One on a lost node still says that it runs, and is wanted no more."""
        return self.wanted in ALIVE and self.is_up


class NodeStatus(Struct, frozen=True):
    state: str = field(name="State", default="")
    address: str = field(name="Addr", default="")


class ManagerStatus(Struct, frozen=True):
    address: str = field(name="Addr", default="")


class NodeDescription(Struct, frozen=True):
    hostname: str = field(name="Hostname", default="")


class NodeSpec(Struct, frozen=True):
    labels: dict[str, str] | None = field(name="Labels", default=None)
    availability: str = field(name="Availability", default="active")


class Node(Struct, frozen=True):
    id: str = field(name="ID")
    spec: NodeSpec = field(name="Spec", default=NodeSpec())
    status: NodeStatus = field(name="Status", default=NodeStatus())
    manager: ManagerStatus = field(name="ManagerStatus", default=ManagerStatus())
    description: NodeDescription = field(name="Description", default=NodeDescription())

    @property
    def name(self) -> str:
        return self.description.hostname or self.id

    @property
    def is_ready(self) -> bool:
        """It is there and takes tasks."""
        return self.status.state == "ready" and self.spec.availability == "active"

    @property
    def host(self) -> str:
        """Where it is reached: its label `ugs.address`, else the address by which the others know it.

        A manager that was never told its own address says 0.0.0.0 or 127.0.0.1 of itself in one of two places.
        """
        if label := (self.spec.labels or {}).get(ADDRESS):
            return label
        said = (self.status.address, self.manager.address.rpartition(":")[0])
        known = [one.strip("[]") for one in said if one not in NOWHERE]
        return min(known, key=LOOPBACKS.__contains__, default="")


resolve_types(Service, Task, Node)
