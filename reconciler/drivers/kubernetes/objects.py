"""What of the API's objects we look at. Everything else in them is left unread."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field


class Managed(Struct, frozen=True, rename="camel"):
    """Who set which fields, as the server keeps account."""

    manager: str = ""
    operation: str = ""
    subresource: str = ""
    fields: dict[str, Any] = field(default={}, name="fieldsV1")


class Owner(Struct, frozen=True):
    kind: str = ""
    name: str = ""
    uid: str = ""


class Meta(Struct, frozen=True, rename="camel"):
    name: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    owner_references: tuple[Owner, ...] = ()
    managed_fields: tuple[Managed, ...] = ()


class Named(Struct, frozen=True):
    """Of an object, or of a bookmark, no more than which it is."""

    kind: str = ""
    metadata: Meta = Meta()


class Container(Struct, frozen=True):
    name: str = ""
    image: str = ""


class PodSpec(Struct, frozen=True, rename="camel"):
    containers: tuple[Container, ...] = ()
    node_name: str = ""


class TemplateMeta(Struct, frozen=True):
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Template(Struct, frozen=True):
    metadata: TemplateMeta = TemplateMeta()
    spec: PodSpec = PodSpec()


class Selector(Struct, frozen=True, rename="camel"):
    match_labels: dict[str, str] = {}


class RollingUpdate(Struct, frozen=True):
    partition: int = 0


class UpdateStrategy(Struct, frozen=True, rename="camel"):
    rolling_update: RollingUpdate | None = None


class Spec(Struct, frozen=True, rename="camel"):
    replicas: int = 1
    paused: bool = False
    update_strategy: UpdateStrategy = UpdateStrategy()
    selector: Selector = Selector()
    template: Template = Template()


class ServiceSpec(Struct, frozen=True):
    selector: dict[str, str] = {}
    ports: list[dict[str, Any]] = []


class Service(Struct, frozen=True):
    metadata: Meta = Meta()
    spec: ServiceSpec = ServiceSpec()


class Condition(Struct, frozen=True):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class Progress(Struct, frozen=True, rename="camel"):
    """The counts of all three kinds; a DaemonSet has its own words for them."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    desired_number_scheduled: int = 0
    current_number_scheduled: int = 0
    updated_number_scheduled: int = 0
    number_available: int = 0
    current_revision: str = ""
    update_revision: str = ""
    conditions: tuple[Condition, ...] = ()


class Workload(Struct, frozen=True):
    """A Deployment, StatefulSet or DaemonSet. In a list, `kind` stands on the list alone."""

    kind: str = ""
    metadata: Meta = Meta()
    spec: Spec = Spec()
    status: Progress = Progress()


class Waiting(Struct, frozen=True):
    reason: str = ""
    message: str = ""


class Terminated(Struct, frozen=True, rename="camel"):
    exit_code: int = 0
    reason: str = ""
    message: str = ""


class Running(Struct, frozen=True, rename="camel"):
    started_at: datetime | None = None


class State(Struct, frozen=True):
    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Struct, frozen=True, rename="camel"):
    name: str = ""
    ready: bool = False
    restart_count: int = 0
    state: State = State()
    last_state: State = State()


class PodStatus(Struct, frozen=True, rename="camel"):
    phase: str = ""
    reason: str = ""
    message: str = ""
    pod_ip: str = field(default="", name="podIP")
    conditions: tuple[Condition, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Struct, frozen=True):
    metadata: Meta = Meta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class ListMeta(Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    next: str = field(default="", name="continue")


class Listed(Struct, frozen=True):
    """A page of a list."""

    metadata: ListMeta = ListMeta()
    items: tuple[msgspec.Raw, ...] = ()


class Event(Struct, frozen=True):
    """A line of a watch. `type`: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""

    type: str
    object: msgspec.Raw


class Names(Struct, frozen=True):
    """A list, of no more than which objects are in it."""

    items: tuple[Named, ...] = ()


class Cause(Struct, frozen=True):
    """One reason for a refusal, at one field."""

    reason: str = ""
    message: str = ""
    field: str = ""


class Details(Struct, frozen=True):
    causes: tuple[Cause, ...] = ()


class Status(Struct, frozen=True):
    """What the server says when it refuses."""

    code: int = 0
    reason: str = ""
    message: str = ""
    details: Details | None = None


# Made while this module is imported, by one thread: msgspec crashes when two resolve a type for the first time at once.
WORKLOADS = msgspec.json.Decoder(Workload)
PODS = msgspec.json.Decoder(Pod)
SERVICES = msgspec.json.Decoder(Service)
NAMED = msgspec.json.Decoder(Named)
NAMES = msgspec.json.Decoder(Names)
LISTED = msgspec.json.Decoder(Listed)
EVENTS = msgspec.json.Decoder(Event)
STATUSES = msgspec.json.Decoder(Status)
