"""What a driver is: a plain module that satisfies `Driver`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from reconciler.model.detached import Key
from reconciler.model.observation import Observation, Usage
from reconciler.model.target import Workload


class Registry(Struct, frozen=True):
    """How to sign in to one registry of images. `password` reads the secret at each call; it raises HostError."""

    username: str
    password: Callable[[], str]


class Site(Struct, frozen=True):
    """What a driver may use of this machine and of the repository, for one environment."""

    state: Path
    """The daemon's state folder; a driver keeps its files under `<state>/services/<environment>/<service>/`."""
    secret: Callable[[str, str, str], str]
    """(name, environment, service) -> value. Raises HostError when it is not granted or cannot be read."""
    blob: Callable[[str, str], bytes]
    """(revision, path) -> bytes of a regular file in the repository. Raises ArtifactError when absent."""
    artifacts_allowed: tuple[str, ...] = ("https://",)
    """URL prefixes that artifacts may come from; paths inside the repository always may."""
    artifact_keys: tuple[Key, ...] = ()
    """Where there are any, an archive needs a signature by one of them."""
    options: Mapping[str, Any] = {}
    """What the environment's file says under `driver`, beside its kind: it comes from the repository. Each driver
    has a schema and a type of its own for it."""
    engine: Mapping[str, Any] = {}
    """What ugs.yaml says of this engine under `engines`: the operator's word, which the repository cannot change."""
    registries: Mapping[str, Registry] = {}
    """By host, where images come from."""
    umask: int | None = None
    """With which services and their commands are started; None: with this process's own."""


class Cause(Struct, frozen=True):
    """On whose account something is made to run: it stands in the labels of what UGS makes."""

    operation: str
    revision: str = ""
    """The commit that moved the pin; empty for a repair of what a former one brought."""
    adopted: bool = False
    """A person lets what is not ours, and has the service's name, be taken over."""


class Endpoint(Struct, frozen=True):
    """Where one instance can be probed. `values` fill `{port}`, `{directory}` and the like in probes."""

    index: int
    port: int | None
    directory: Path
    values: dict[str, str]
    """With `host`: where the instance can be reached from here."""
    prefix: tuple[str, ...] = ()
    """What stands before a command that is to be run where the instance runs: `docker exec NAME` and its like."""


class Surroundings(Struct, frozen=True):
    """What a command sees that works on a service's data: the release's directory, the environment that the service
    itself gets (secrets resolved now), and what `{port}` and the like stand for."""

    directory: Path
    environment: dict[str, str]
    values: dict[str, str]
    prefix: tuple[str, ...] = ()
    """What stands before such a command, so that it runs where the service does. No secret ever stands in it."""


class Driver(Protocol):
    """One engine. Every call blocks (the caller uses threads), may be repeated, and may be killed anywhere.

    Errors: HostError for this machine's trouble, TransientError for what may pass, ArtifactError for an
    artifact that can never be right. What each kind of engine can do stands in model/engines.py.
    """

    def observe(self, site: Site, environment: str) -> dict[str, Observation]:
        """Everything of ours that runs in the environment, by service: one call for all, from the engine."""

    def prepare(self, site: Site, work: Workload, revision: str) -> None:
        """Fetch, verify, unpack and render all that `apply` needs, touching nothing that runs."""

    def preflight(self, site: Site, work: Workload) -> None:
        """Raise HostError for what would keep `work` from starting now: a port someone else holds, a full disk."""

    def restorable(self, site: Site, work: Workload) -> str:
        """Why `work` could not be brought back from what is kept here; empty when it could."""

    def apply(self, site: Site, cause: Cause, work: Workload, upto: int) -> None:
        """Make it so: afterwards the first `upto` instances of `work` run, and those of another target among them
        do not; the others are left as they are until `upto` is all of them. With blue-green, what ran before
        still runs beside it."""

    def settle(self, site: Site, work: Workload) -> None:
        """`work` proved healthy: stop whatever else of the service still runs (blue-green's old side)."""

    def restore(
        self, site: Site, cause: Cause, good: Workload | None, *, environment: str, service: str
    ) -> None:
        """Stop whatever is not `good`, then see that `good` runs; None stops the service altogether."""

    def rename(self, site: Site, old: str, new: str) -> None:
        """Everything of the environment `old` is `new`'s from now on, and runs on untouched.

        Raises HostError where `new` has something of its own already.
        """

    def endpoints(self, site: Site, work: Workload) -> tuple[Endpoint, ...]:
        """Where each instance of `work` is to be probed; one that has no address yet is left out."""

    def surroundings(self, site: Site, work: Workload) -> Surroundings:
        """For the commands of the release's backup and migrations; `work` must have been prepared."""

    def foreign_listener(self, site: Site, work: Workload, endpoint: Endpoint) -> str:
        """Who else answers at the endpoint's port (a sentence); empty when the instance itself listens there,
        or nobody does."""

    def usage(self, site: Site, handles: Collection[str]) -> dict[str, Usage]:
        """What the instances with these handles use now, by handle: one look for all of them. What has gone, and what
        cannot be measured, is left out."""

    def logs(self, site: Site, environment: str, service: str, *, lines: int) -> list[str]:
        """The last lines that the service wrote, oldest first."""

    def tidy(self, site: Site, environment: str, service: str, keep: frozenset[str]) -> None:
        """Remove what is kept for targets other than `keep` (their text) and not running."""


def settle_nothing(_site: Site, _work: Workload) -> None:
    """For engines under which nothing is left beside the new version."""


def hears_no_stranger(_site: Site, _work: Workload, _endpoint: Endpoint) -> str:
    """For engines that give every instance an address of its own: nobody else answers there."""
    return ""


def measures_nothing(_site: Site, _handles: Collection[str]) -> dict[str, Usage]:
    """For engines that do not tell what an instance uses: releases that ask for it are refused (model/misfits.py)."""
    return {}


def keeps_nothing(_site: Site, _environment: str, _service: str, _keep: frozenset[str]) -> None:
    """For engines that keep what they need to bring a version back, and clear it away by themselves."""


Table = Mapping[str, Driver]
