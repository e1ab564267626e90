"""A manager of the swarm, asked through the Docker SDK: short calls, tried again, and errors with their fate."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import msgspec

from reconciler.clock import SystemClock
from reconciler.drivers.base import Registry, Site
from reconciler.drivers.docker import files
from reconciler.drivers.docker.body import image_of
from reconciler.drivers.docker.client import pull, registry_of
from reconciler.drivers.labels import PREFIX
from reconciler.drivers.mark import site_id
from reconciler.drivers.swarm.options import trusted
from reconciler.drivers.swarm.wire import Node, Service, Task
from reconciler.model.errors import ArtifactError, HostError, TransientError
from reconciler.model.target import Workload

T = TypeVar("T")
CALL_S = 10
REGISTRY_CALL_S = 30
PATIENCE_S = 60.0
"""For how long an unreachable manager is asked again in the midst of a change: a new leader is there in seconds."""
RETRY_S = 0.5
NO_QUORUM = ("leader", "raft:", "deadline exceeded", "context canceled", "too few managers")
"""In what a manager answers that cannot speak for the swarm now."""
UNAUTHORISED = ("unauthorized", "no basic auth", "denied", "authentication required")
CONFLICTING = ("out of sequence", "already exists", "name conflicts")
IN_USE = "in use"
UNIX = "unix://"

Kind = Literal["secrets", "configs"]
KINDS: tuple[Kind, ...] = ("secrets", "configs")


class Unreachable(HostError):
    """No manager answers for the swarm: it may be a moment, and a person's work."""


class Conflict(TransientError):
    """What was to be changed has changed meanwhile."""


class Manager:
    """One engine of the swarm. `patience_s`: for how long an unreachable one is asked again."""

    def __init__(self, site: Site, client: Any, *, patience_s: float) -> None:
        self.site, self.id = site, site_id(site.state)
        self._client, self._clock, self._patience_s = client, SystemClock(), patience_s

    def services(self) -> list[Service]:
        """All of the swarm, ours or not."""
        return self._read("list services", self._client.services, Service)

    def tasks(self) -> list[Task]:
        """Those of this daemon's services, with as many that ended as the swarm keeps."""
        filters = {"label": f"{PREFIX}site={self.id}"}
        return self._read("list tasks", lambda: self._client.tasks(filters=filters), Task)

    def nodes(self) -> dict[str, Node]:
        return {node.id: node for node in self._read("list nodes", self._client.nodes, Node)}

    def networks(self, names: Sequence[str]) -> dict[str, str]:
        """The ids of the swarm's networks of these names. Raises HostError for one that is not there."""
        if not names:
            return {}
        found = self._ask("list networks", lambda: self._client.networks(names=list(names)))
        ids = {one["Name"]: one["Id"] for one in found if one.get("Scope") == "swarm"}
        if missing := [name for name in names if name not in ids]:
            raise HostError(
                f"the swarm has no network {', '.join(missing)}",
                f"make it: docker network create --driver overlay {missing[0]}",
            )
        return {name: ids[name] for name in names}

    def check_image(self, image: str, place: str) -> None:
        """Ask the registry. Raises ArtifactError for an image that it does not have, HostError where it wants to know
        who asks, TransientError where it does not answer."""
        login = self._login(image)
        call_s, self._client.timeout = self._client.timeout, REGISTRY_CALL_S
        try:
            self._ask(
                "ask the registry", lambda: self._client.inspect_distribution(image, auth_config=login or {})
            )
        except _Refused as error:
            host = registry_of(image)
            if error.status == 404:
                raise ArtifactError(
                    f"{place}: artifact.image: {host} has no {image}: {error.said}",
                    "push it, or publish a release with the right digest",
                ) from error
            if error.status in {401, 403} or any(word in error.said for word in UNAUTHORISED):
                raise HostError(
                    f"{host} does not let us see {image}: {error.said}",
                    f"correct `registries.{host}` in ugs.yaml",
                ) from error
            raise TransientError(f"{host} could not be asked for {image}: {error.said}") from error
        finally:
            self._client.timeout = call_s

    def render(self, work: Workload) -> None:
        """Fill in the templates of the release's configuration: for these the engine itself fetches the image."""
        if work.release.config:
            image, place = image_of(work), f"{work.release.place}: artifact.image"
            pull(self._client, image, self.site.registries.get(registry_of(image)), place=place)
        with _fates(f"read the templates in the image of {work.service}"):
            files.render(self._client, self.site, work)

    def history(self) -> int:
        """How many tasks the swarm keeps of each instance."""
        found = self._ask("look at the swarm", self._client.inspect_swarm)
        return int(found["Spec"]["Orchestration"].get("TaskHistoryRetentionLimit", 0))

    def write(self, spec: Mapping[str, Any], found: Service | None) -> None:
        """Make the service, or make it so. Raises Conflict when it is not as `found` any more."""
        login = self._login(spec["TaskTemplate"]["ContainerSpec"]["Image"])
        replaces = (found.id, found.version.index) if found else None
        doing = f"make the service {spec['Name']}"
        try:
            self._ask(doing, lambda: self._client.write_service(spec, replaces=replaces, login=login))
        except _Refused as error:
            if any(word in error.said for word in CONFLICTING):
                raise Conflict(f"cannot {doing}: {error.said}") from error
            raise

    def remove(self, service: Service) -> None:
        """May be gone already."""
        with _absent_is_fine():
            self._ask(f"remove the service {service.name}", lambda: self._client.remove_service(service.id))

    def last_lines(self, service: Service, count: int) -> list[str]:
        """The ends of the logs of all its instances."""
        options = {"stdout": True, "stderr": True, "tail": count, "is_tty": False}
        said = self._ask("read logs", lambda: b"".join(self._client.service_logs(service.id, **options)))
        return said.decode(errors="replace").splitlines()

    def kept(self, kind: Kind, **where: str) -> list[dict[str, Any]]:
        """Our secrets or configs with these labels."""
        wanted = [f"{PREFIX}site={self.id}", *(f"{PREFIX}{name}={value}" for name, value in where.items())]
        listed = self._client.secrets if kind == "secrets" else self._client.configs
        found: list[dict[str, Any]] = self._ask(f"list {kind}", lambda: listed(filters={"label": wanted}))
        return found

    def keep(self, kind: Kind, name: str, data: bytes, said: Mapping[str, str]) -> str:
        """Store a secret or config, and answer its id; one of the name, which stands for its content, serves."""
        create = self._client.create_secret if kind == "secrets" else self._client.create_config
        try:
            made = self._ask(f"make {name} in {kind}", lambda: create(name, data, labels=dict(said)))
            return str(made["ID"])
        except _Refused as error:
            found = [one for one in self.kept(kind) if one["Spec"]["Name"] == name]
            if not found:
                raise
            del error
            return str(found[0]["ID"])

    def discard(self, kind: Kind, one: Mapping[str, Any]) -> None:
        """One that is in use stays."""
        remove = self._client.remove_secret if kind == "secrets" else self._client.remove_config
        try:
            with _absent_is_fine():
                self._ask(f"remove {one['Spec']['Name']} from {kind}", lambda: remove(one["ID"]))
        except _Refused as error:
            if IN_USE not in error.said:
                raise

    def pause(self) -> None:
        time.sleep(RETRY_S)

    def now_s(self) -> float:
        """Monotonic seconds."""
        return self._clock.monotonic()

    def _login(self, image: str) -> dict[str, str] | None:
        host = registry_of(image)
        known: Registry | None = self.site.registries.get(host)
        if known is None:
            return None
        return {"username": known.username, "password": known.password(), "serveraddress": host}

    def _read(self, doing: str, call: Callable[[], object], kind: type[T]) -> list[T]:
        return self._ask(doing, lambda: msgspec.convert(call(), list[kind]))  # type: ignore[valid-type]

    def _ask(self, doing: str, call: Callable[[], T]) -> T:
        """Again and again while nobody speaks for the swarm, until patience ends."""
        until_s = self.now_s() + self._patience_s
        while True:
            try:
                with _fates(doing):
                    return call()
            except Unreachable:
                if self.now_s() >= until_s:
                    raise
            self.pause()


class _Refused(HostError):
    """What the engine says no to. `said`: its words; `status`: HTTP's."""

    def __init__(self, doing: str, status: int, said: str) -> None:
        super().__init__(f"cannot {doing}: {said}", "see to the swarm, then try again")
        self.status, self.said = status, said


@contextmanager
def manager(site: Site, *, patience_s: float = 0.0) -> Iterator[Manager]:
    """A connection for a few calls. Raises Unreachable where no manager answers for the swarm within the patience."""
    from reconciler.drivers.swarm.client import Client, tls_of

    engine = trusted(site)
    clock = SystemClock()
    until_s = clock.monotonic() + patience_s
    while True:
        try:
            with _fates(f"reach the engine at {engine.host}"):
                _see_there(engine.host)
                tls = tls_of(engine.ca, engine.certificate, engine.key)
                client = Client(engine.host, tls=tls, timeout_s=CALL_S)
            break
        except Unreachable:
            if clock.monotonic() >= until_s:
                raise
        time.sleep(RETRY_S)
    try:
        yield Manager(site, client, patience_s=patience_s)
    finally:
        client.close()


def _see_there(host: str) -> None:
    """Raise OSError for a socket at which nobody is: the SDK would leave its own one open."""
    if host.startswith(UNIX):
        with socket.socket(socket.AF_UNIX) as visitor:
            visitor.settimeout(CALL_S)
            visitor.connect(host.removeprefix(UNIX))


@contextmanager
def _fates(doing: str) -> Iterator[None]:
    """The SDK's errors as ours, told by what mends them."""
    from reconciler.drivers.swarm.client import APIError, DockerException, RequestException

    try:
        yield
    except APIError as error:
        status, said = error.status_code or 0, str(error.explanation or error)
        if status == 503 and "not a swarm manager" in said:
            raise HostError(
                f"cannot {doing}: this engine is no manager of a swarm",
                "name one under `engines.swarm.host` in ugs.yaml, or begin with docker swarm init",
            ) from error
        if status >= 500 and any(word in said for word in NO_QUORUM):
            raise Unreachable(
                f"cannot {doing}: the swarm has no leader: {said}", "bring more of its managers back"
            ) from error
        raise _Refused(doing, status, said) from error
    except (DockerException, RequestException, OSError) as error:
        raise Unreachable(
            f"cannot {doing}: {error}",
            "see that the engine runs, and that the daemon's user may use its socket",
        ) from error
    except msgspec.ValidationError as error:
        raise HostError(f"cannot {doing}: its answer is not understood: {error}") from error


@contextmanager
def _absent_is_fine() -> Iterator[None]:
    try:
        yield
    except _Refused as error:
        if error.status != 404:
            raise
