"""A release: one version of one service, as its manifest describes it."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

from reconciler.model.errors import Place
from reconciler.model.version import Version

FlagValue = str | int | float | bool
AnyFlagValue = FlagValue | dict[str, Any]
"""Of a live flag also a mapping."""
Scalar = FlagValue | None
Strategy = Literal["stop-start", "blue-green", "rolling", "canary"]
Share = int | str
"""So many instances, or `25%` of them."""


class Archive(Struct, frozen=True, omit_defaults=True):
    """A tar or zip archive: `url` is https, file:, or a path inside the repository; sha256 in lower-case hex."""

    url: str
    sha256: str
    signature: str | None = None
    """Where its detached signature is, in the same ways as `url`."""


class Manifest(Struct, frozen=True):
    """A Kubernetes workload as the team has written it: a path inside the repository, and its content's sha256."""

    path: str
    sha256: str


class Artifact(Struct, frozen=True, gc=False, omit_defaults=True):
    """What is deployed. `image` ends in the digest of its manifest: `registry.example/api@sha256:...`."""

    archive: Archive | None = None
    image: str | None = None
    kubernetes: Manifest | None = None


class SecretName(Struct, frozen=True):
    """A reference to a secret that `ugs.yaml` grants; the value never enters the model."""

    secret: str


class Mount(Struct, frozen=True, omit_defaults=True):
    """What a container sees at `at`: a named volume of its environment, or a path of the host (one of the two)."""

    at: str
    volume: str | None = None
    path: str | None = None
    read_only: bool = False


class Container(Struct, frozen=True, omit_defaults=True):
    """What the container of one instance may see and use. Sizes are text such as `512MiB`.

    `publish`: whether the host's port leads to it. `capabilities`: the ones that it keeps. `secrets`: whether it gets
    them as variables, or as files. `healthcheck`: whether the image's own one counts.
    """

    publish: Literal["none", "loopback", "host"] = "none"
    networks: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    tmpfs: dict[str, str] = {}
    read_only: bool = False
    user: str | None = None
    memory: str | None = None
    cpus: float | None = None
    pids: int = 4096
    capabilities: tuple[str, ...] = ()
    secrets: Literal["environment", "files"] = "environment"
    healthcheck: Literal["image", "off"] = "image"
    labels: dict[str, str] = {}


class SystemdRun(Struct, frozen=True, omit_defaults=True):
    """What one instance gets as a unit of systemd; what goes beyond the sandbox only as far as `ugs.yaml` allows.

    `notify`: it says itself when it is ready. `user`: an existing one, in place of one that is made up. `writable`:
    folders of this machine. `relax`: directives of the sandbox that are taken back.
    """

    notify: bool = False
    watchdog_s: float | None = None
    user: str | None = None
    memory_max: str | None = None
    cpu_quota: str | None = None
    tasks_max: int | None = None
    writable: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    relax: tuple[str, ...] = ()


class Run(Struct, frozen=True, gc=False, omit_defaults=True):
    """How to start one instance. `{port}` and its like are filled in by the driver at each start.

    An image without a `command` is started by its own.
    """

    command: tuple[str, ...] = ()
    port: int | None = None
    environment: dict[str, str | SecretName] = {}
    socket: Literal["none", "pass"] = "none"
    stop_grace_s: float = 10.0
    container: Container | None = None
    """Of an image: nothing else runs in one."""
    systemd: SystemdRun | None = None


class Means(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How commands beside a service are run.

    `user`: another than the daemon's. `directory`: a path inside the release, or an absolute one. `environment`
    stands over what the service itself gets.
    """

    timeout_s: float
    user: str | None = None
    directory: str = "."
    environment: dict[str, str | SecretName] = {}


class Backup(Means, frozen=True, omit_defaults=True, kw_only=True):
    """How a service's data is saved to `{backup}`, how that is proven to be good, and how it comes back."""

    save: tuple[str, ...]
    verify: tuple[str, ...]
    restore: tuple[str, ...]
    timeout_s: float = 600.0


class Rollout(Struct, frozen=True, omit_defaults=True):
    """How `rolling` and `canary` go on. `canary`: how many instances are replaced after each step. `batch`: how many
    at a time otherwise. `pause_s`: how long each batch must stay healthy before the next, if longer than the soak."""

    canary: tuple[Share, ...] = (1,)
    batch: Share = 1
    pause_s: float = 0.0


MigrationPhase = Literal["before", "after"]


class Migration(Means, frozen=True, omit_defaults=True, kw_only=True):
    """One change of a service's data, known by `id`, made before or after the new version is started.

    `check` tells whether it is applied: exit code 0 yes, 1 no, anything else nobody knows.
    """

    id: str
    phase: MigrationPhase
    up: tuple[str, ...]
    down: tuple[str, ...] | None = None
    check: tuple[str, ...] | None = None
    timeout_s: float = 300.0


class ConfigFile(Struct, frozen=True):
    """A template inside the artifact (`${key}` placeholders) and the values that it declares."""

    path: str
    values: dict[str, Scalar] = {}


Measure = Literal["latency", "errors", "memory", "cpu"]


class Limit(Struct, frozen=True, omit_defaults=True):
    """What a measure may be at most: so many times what the old version had, or a number. Exactly one is set."""

    factor: float | None = None
    value: float | None = None


class Probe(Struct, frozen=True, omit_defaults=True):
    """One health check; exactly one of http, tcp, command, prometheus, performance is set. Times in seconds.

    `at_most` belongs to the last two: the answer of a query, or what UGS itself measures of the service.
    """

    http: str | None = None
    tcp: str | None = None
    command: tuple[str, ...] | None = None
    prometheus: str | None = None
    performance: Measure | None = None
    at_most: Limit | None = None
    expect_status: int | None = None
    expect_json: dict[str, Scalar] = {}
    interval_s: float = 1.0
    timeout_s: float = 0.9
    failures: int = 3

    @property
    def name(self) -> str:
        if self.http is not None:
            return self.http
        if self.prometheus is not None:
            return f"prometheus {self.prometheus}"
        if self.performance is not None:
            return f"performance {self.performance}"
        return f"tcp {self.tcp}" if self.tcp is not None else "command " + " ".join(self.command or ())

    @property
    def measures(self) -> bool:
        """Whether it judges what was measured of the service, rather than asks an instance."""
        return self.at_most is not None


class Health(Struct, frozen=True, omit_defaults=True):
    """`soak_s`: how long it must stay healthy; `deadline_s`: by when it must have become so.

    `after`: what comes of a release that degrades within `watch_s` of its upgrade: it is told, or taken back.
    """

    soak_s: float = 10.0
    deadline_s: float = 120.0
    probes: tuple[Probe, ...] = ()
    after: Literal["tell", "restore"] = "tell"
    watch_s: float = 3600.0

    @property
    def asked(self) -> tuple[Probe, ...]:
        """The probes that ask an instance."""
        return tuple(probe for probe in self.probes if not probe.measures)

    @property
    def measured(self) -> tuple[Probe, ...]:
        """The probes that judge what was measured."""
        return tuple(probe for probe in self.probes if probe.measures)


class Upgrading(Struct, frozen=True, omit_defaults=True):
    """`from_`: the range of versions that may go straight to this one, None for any.

    `reversible`: None where the manifest does not say. `barrier`: every way past this version stops at it.
    `dead_end`: why no way leads on from this version.
    """

    from_: str | None = field(default=None, name="from")
    urgency: Literal["normal", "emergency"] = "normal"
    reversible: bool | None = None
    barrier: bool = False
    dead_end: str | None = None


class Flag(Struct, frozen=True, omit_defaults=True):
    """A switch that an environment may set to another value of the same type.

    `live`: asked for whenever it is needed, so that to switch it deploys nothing; otherwise a process gets its value
    when it is started.
    """

    default: AnyFlagValue
    description: str = ""
    live: bool = False


class Withdrawn(Struct, frozen=True):
    reason: str
    since: str


class Release(Struct, frozen=True, gc=False, omit_defaults=True):
    """One manifest. `place` is where it stands in the repository."""

    service: str
    version: Version
    place: Place
    artifact: Artifact = Artifact()
    run: Run | None = None
    config: tuple[ConfigFile, ...] = ()
    requires: dict[str, str] = {}
    upgrade: Upgrading = Upgrading()
    strategy: Strategy | None = None
    rollout: Rollout | None = None
    backup: Backup | None = None
    migrations: tuple[Migration, ...] = ()
    health: Health = Health()
    flags: dict[str, Flag] = {}
    withdrawn: Withdrawn | None = None
    notes: str = ""

    @property
    def reversible(self) -> bool:
        """Whether UGS may take all of it back by itself: as the manifest says, else if every migration has a `down`."""
        said = self.upgrade.reversible
        return all(one.down is not None for one in self.migrations) if said is None else said
