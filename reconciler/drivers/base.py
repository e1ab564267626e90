"""What a driver is: a plain module that satisfies `Driver`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from reconciler.model.detached import Key
from reconciler.model.observation import Observation
from reconciler.model.release import Strategy
from reconciler.model.target import Workload


class Site(Struct, frozen=True):
    """What a driver may use of this machine and of the repository."""

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


class Endpoint(Struct, frozen=True):
    """Where one instance can be probed. `values` fill `{port}`, `{directory}` and the like in probes."""

    index: int
    port: int | None
    directory: Path
    values: dict[str, str]


class Surroundings(Struct, frozen=True):
    """What a command sees that works on a service's data: the release's directory, the environment that the service
    itself gets (secrets resolved now), and what `{port}` and the like stand for."""

    directory: Path
    environment: dict[str, str]
    values: dict[str, str]


class Driver(Protocol):
    """One engine. Every call blocks (the caller uses threads), may be repeated, and may be killed anywhere.

    Errors: HostError for this machine's trouble, TransientError for what may pass, ArtifactError for an
    artifact that can never be right.
    """

    STRATEGIES: frozenset[Strategy]

    def observe(self, site: Site, environment: str) -> dict[str, Observation]:
        """Everything of ours that runs in the environment, by service: one call for all, from the engine."""

    def prepare(self, site: Site, work: Workload, revision: str) -> None:
        """Fetch, verify, unpack and render all that `apply` needs, touching nothing that runs."""

    def preflight(self, site: Site, work: Workload) -> None:
        """Raise HostError for what would keep `work` from starting now: a port someone else holds, a full disk."""

    def restorable(self, site: Site, work: Workload) -> str:
        """Why `work` could not be brought back from what is kept here; empty when it could."""

    def apply(self, site: Site, operation: str, work: Workload) -> None:
        """Make it so: afterwards `work` runs; with blue-green, what ran before still runs beside it."""

    def settle(self, site: Site, work: Workload) -> None:
        """`work` proved healthy: stop whatever else of the service still runs (blue-green's old side)."""

    def restore(
        self, site: Site, operation: str, good: Workload | None, *, environment: str, service: str
    ) -> None:
        """Stop whatever is not `good`, then see that `good` runs; None stops the service altogether."""

    def rename(self, site: Site, old: str, new: str) -> None:
        """Everything of the environment `old` is `new`'s from now on, and runs on untouched.

        Raises HostError where `new` has something of its own already.
        """

    def endpoints(self, site: Site, work: Workload) -> tuple[Endpoint, ...]:
        """Where each instance of `work` is to be probed."""

    def surroundings(self, site: Site, work: Workload) -> Surroundings:
        """For the commands of the release's backup and migrations; `work` must have been prepared."""

    def foreign_listener(self, site: Site, work: Workload, endpoint: Endpoint) -> str:
        """Who else answers at the endpoint's port (a sentence); empty when the instance itself listens there,
        or nobody does."""

    def logs(self, site: Site, environment: str, service: str, *, lines: int) -> list[str]:
        """The last lines that the service wrote, oldest first."""

    def tidy(self, site: Site, environment: str, service: str, keep: frozenset[str]) -> None:
        """Remove what is kept for targets other than `keep` (their text) and not running."""


Table = Mapping[str, Driver]
