"""The one place that builds the object graph: settings, store, mirror, drivers and notifier into a core."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from reconciler.cli.channels import outboxes_of
from reconciler.cli.forge import closing_aside, closing_forge
from reconciler.clock import Clock, SystemClock
from reconciler.config import LOCAL_FILE, SYSTEM_FILE, Settings, load
from reconciler.config.elsewhere import Elsewhere, elsewhere_from
from reconciler.model.errors import HostError, UgsError

if TYPE_CHECKING:
    from reconciler.drivers.base import Site
    from reconciler.engine.core import Core
    from reconciler.engine.lease import Leases
    from reconciler.engine.repository import Repository
    from reconciler.git import GitRegister, Identity, Mirror, Remote, Signers
    from reconciler.model.register import Register
    from reconciler.oidc import Issuers
    from reconciler.store import Store

F = TypeVar("F", bound=Callable[..., Any])
LEASE_TIMEOUT_S = 10.0
"""A few hundred bytes: a remote that takes longer is tried again, while the lease lasts."""


def config_option(command: F) -> F:
    """`--config`: where ugs.yaml is."""
    option = click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        help="ugs.yaml; by default /etc/ugs/ugs.yaml, else ./ugs.yaml.",
    )
    return option(command)


def settings_from(config: Path | None) -> Settings:
    return load(config, os.environ)


def daemon_at(config: Path | None) -> Path | Elsewhere:
    """Which daemon a verb talks to: that of --config, else of UGS_URL, else of this machine's ugs.yaml."""
    elsewhere = elsewhere_from(os.environ) if config is None else None
    return elsewhere or settings_from(config).state


def daemon_is_known() -> bool:
    """Whether anything says where a daemon is, without --config."""
    return elsewhere_from(os.environ) is not None or any(file.is_file() for file in (SYSTEM_FILE, LOCAL_FILE))


def settings_here(config: Path | None) -> Settings:
    """The settings, for a verb that reads the daemon's own files. Raises UgsError where UGS_URL means another's."""
    if config is None and (elsewhere := elsewhere_from(os.environ)):
        raise UgsError(
            f"this reads the daemon's own files, and UGS_URL means {elsewhere.url}",
            "run it on the daemon's machine, or without UGS_URL",
        )
    return settings_from(config)


@contextlib.contextmanager
def core_from(
    settings: Settings, clock: Clock | None = None, *, leased: bool = False, umask: int | None = None
) -> Iterator[Core]:
    """Everything that the engine works with. The caller holds the state's lock.

    `leased`: act on an environment only while this daemon holds its lease, unless ugs.yaml says otherwise.
    `umask`: what services are started with; None: with this process's own.
    """
    from reconciler.engine.core import Core
    from reconciler.engine.lease import Leases
    from reconciler.engine.repository import Repository
    from reconciler.git import Mirror
    from reconciler.parsed import Parsed
    from reconciler.store import FORGE
    from reconciler.store.opening import open_state

    clock = clock or SystemClock()
    remote, identity, signers = remote_of(settings), identity_of(settings), signers_of(settings)
    parsed = Parsed(settings.state / "parsed.db")
    parsed.begin()
    # All three at once: Git looks through the mirror, and SQLite through the database.
    with (
        _meanwhile(
            lambda: Mirror(settings.state / "mirror.git", remote, identity, signers=signers)
        ) as opened,
        contextlib.closing(open_state(settings.state, now=clock.now)) as store,
        closing_forge(settings) as forge,
        closing_aside(settings, remote, identity, signers) as aside,
    ):
        mirror = opened()
        repository = Repository(mirror, remote, parsed=parsed)
        yield Core(
            settings=settings,
            store=store,
            repository=repository,
            site=site_of(settings, repository, umask=umask),
            clock=clock,
            outboxes=outboxes_of(
                settings.notify, store, clock, mirror, others=(FORGE,) if settings.forge else ()
            ),
            forge=forge,
            aside=aside,
            leases=leases_of(settings, store, clock) if leased else Leases(),
            failpoint=failpoint_of(settings),
            own_key=own_key(mirror, clock) if signers else "",
            host=settings.host or socket.gethostname(),
            register=register_of(settings, "rollouts.git") if leased else None,
        )


@contextlib.contextmanager
def _meanwhile(open_mirror: Callable[[], Mirror]) -> Iterator[Callable[[], Mirror]]:
    """The mirror, opened by a thread while something else is done: what is yielded waits for it, and raises what it
    raised. Closed at the end, whoever waited."""
    with ThreadPoolExecutor(1, thread_name_prefix="mirror") as threads:
        coming = threads.submit(open_mirror)
        try:
            yield coming.result
        finally:
            if coming.exception() is None:
                coming.result().close()


def identity_of(settings: Settings) -> Identity:
    """Who makes the daemon's commits, and with which key."""
    from reconciler.git import Identity

    own, trust = settings.identity, settings.trust
    program = {"ssh_program": trust.ssh_program} if trust else {}
    return Identity(own.name, own.email, own.signing_key, **program)


def signers_of(settings: Settings) -> Signers | None:
    """Whose commits count; None where ugs.yaml leaves that to whoever may push."""
    from reconciler.git import Signers, prepare_gpg

    trust = settings.trust
    if trust is None:
        return None
    home = settings.state / "gnupg" if trust.gpg_keys else None
    if trust.gpg_keys and home:
        prepare_gpg(home, trust.gpg_keys, trust.gpg_program)
    return Signers(trust.signers, trust.revoked, home, trust.ssh_program, trust.gpg_program)


def own_key(mirror: Mirror, clock: Clock) -> str:
    """The fingerprint of our own key. Raises HostError unless what we sign counts: a revert would stop us."""
    own = mirror.own_signature(at=clock.now())
    if own.why:
        raise HostError(
            f"identity.signing_key: what it signs would not be trusted: {own.why}",
            "add its public key to the file that trust.signers names",
        )
    return own.key


def leases_of(settings: Settings, store: Store, clock: Clock) -> Leases:
    """What decides whose the environments are where several daemons follow one repository."""
    from reconciler.engine.holder import holder_of
    from reconciler.engine.lease import Leases
    from reconciler.engine.remote_lease import RemoteLeases

    if settings.lease_s is None:
        return Leases()
    register = (
        cluster_register(settings, settings.lease_namespace)
        if settings.lease_namespace
        else register_of(settings, "lease.git")
    )
    me = holder_of(
        store, host=settings.host or socket.gethostname(), state=settings.state, lasts_s=settings.lease_s
    )
    return RemoteLeases(register, me, store, clock)


def cluster_register(settings: Settings, namespace: str) -> Register:
    """Lease objects of the Kubernetes cluster that `engines.kubernetes` says how to reach."""
    from reconciler.drivers.kubernetes.lease import ClusterRegister, api_of

    return ClusterRegister(api_of(settings.engines.get("kubernetes", {})), namespace)


def register_of(settings: Settings, name: str) -> GitRegister:
    """The references of ours on the remote, pushed from a small repository of this name."""
    from reconciler.git import GitRegister

    return GitRegister(
        settings.state / name,
        remote_of(settings),
        identity_of(settings),
        network_timeout_s=min(LEASE_TIMEOUT_S, settings.lease_s or LEASE_TIMEOUT_S),
        root="",
    )


def failpoint_of(settings: Settings) -> Callable[[str], None]:
    """For crash tests: die, as by kill -9, at the failpoint that is named, or at the n-th that is met (`#n`).

    Each that is met is written to stderr: `#0` kills nobody, and only tells.
    """
    wanted, met = settings.failpoint, itertools.count(1)
    if wanted is None:
        return lambda _name: None

    def at(name: str) -> None:
        os.write(2, f"failpoint {name}\n".encode())
        if wanted in (name, f"#{next(met)}"):
            os.kill(os.getpid(), signal.SIGKILL)

    return at


def remote_of(settings: Settings) -> Remote:
    """The tracked repository, as git reaches it."""
    from reconciler.git import Remote

    repository = settings.repository
    return Remote(
        url=repository.url,
        branch=repository.branch,
        username=repository.username,
        password=repository.password.read if repository.password else None,
        ssh_key=repository.ssh_key,
        known_hosts=repository.known_hosts,
        environment=settings.git_environment,
    )


def issuers_of(settings: Settings, clock: Clock) -> Issuers:
    """The providers that vouch for people and machines."""
    from reconciler.oidc import Issuer, Issuers

    others = [Issuer(at, clock) for at in settings.machines]
    if settings.oidc is None:
        return Issuers(others=others)
    secret = settings.oidc.client_secret
    return Issuers(Issuer(settings.oidc.at, clock, secret.read if secret else None), others)


def site_of(settings: Settings, repository: Repository | None = None, *, umask: int | None = None) -> Site:
    """What a driver may use; without a repository, nothing can be prepared from it."""
    from reconciler.drivers.base import Registry, Site

    def no_blob(_revision: str, path: str) -> bytes:
        raise HostError(f"{path} cannot be read: no repository is open here", "let the daemon do it")

    return Site(
        state=settings.state,
        secret=settings.secret,
        blob=repository.file if repository else no_blob,
        artifacts_allowed=settings.artifacts_allowed,
        artifact_keys=settings.artifact_keys,
        registries={
            host: Registry(login.username, login.password.read) for host, login in settings.registries.items()
        },
        umask=umask,
    )


def store_of(settings: Settings) -> Store:
    """The database, to be read only: a daemon may be writing it."""
    from reconciler.store import Store

    path = settings.state / "ugs.db"
    if not path.exists():
        raise HostError(
            f"{path} is not there", "no daemon has run on this state yet; start one with `ugs run`"
        )
    return Store(path, now=SystemClock().now, read_only=True)
