"""What ugs.yaml and the environment say, as frozen values. Secrets are references, resolved at each use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from reconciler.config.secret import Secret
from reconciler.model.delivery import Provider
from reconciler.model.detached import Key
from reconciler.model.digest import Digest
from reconciler.model.engines import Kind
from reconciler.model.environment import ChangeClass
from reconciler.model.errors import HostError
from reconciler.model.people import Assignment, Registration
from reconciler.model.pulls import Limits
from reconciler.model.rights import RoleGrant
from reconciler.model.routing import Rule

SLACK_CHANNEL = "slack"


def slack_channel(name: str) -> str:
    """Of a channel `slack:#prod`, Slack's own name for it; empty for every other channel."""
    kind, _, channel = name.partition(":")
    return channel if kind == SLACK_CHANNEL else ""


@dataclass(frozen=True)
class Repository:
    """The tracked repository. `url` is a URL, `user@host:path`, or an absolute path."""

    url: str
    branch: str = "main"
    poll_s: float = 30.0
    max_stale_s: float = 600.0
    username: str | None = None
    password: Secret | None = None
    ssh_key: Path | None = None
    known_hosts: Path | None = None


@dataclass(frozen=True)
class Identity:
    """The author of the daemon's commits, and the SSH key that signs them."""

    name: str = "UGS"
    email: str = "ugs@localhost"
    signing_key: Path | None = None


@dataclass(frozen=True)
class Trust:
    """Whose commits are followed. `movers`: by environment, patterns of the signers who may move it."""

    signers: Path
    revoked: Path | None = None
    gpg_keys: Path | None = None
    since: str | None = None
    commits: Literal["first-parent", "all"] = "first-parent"
    movers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ssh_program: Path = Path("/usr/bin/ssh-keygen")
    gpg_program: Path = Path("/usr/bin/gpg")


@dataclass(frozen=True)
class Registry:
    """How to sign in to a registry of images."""

    username: str
    password: Secret


@dataclass(frozen=True)
class SlackPerson:
    """A person as Slack knows him, and what he may do by the buttons of messages."""

    id: str
    grants: tuple[RoleGrant, ...] = ()


@dataclass(frozen=True)
class Slack:
    """Either `token` and `channel`, or `webhook`. `api`: another base URL than Slack's own.

    Buttons are heard through Socket Mode by `app_token`, or by requests that are signed with `signing_secret`.
    """

    token: Secret | None = None
    webhook: Secret | None = None
    channel: str = ""
    api: str | None = None
    app_token: Secret | None = None
    signing_secret: Secret | None = None
    people: Mapping[str, SlackPerson] = field(default_factory=dict)
    """By the name or address by which UGS knows them."""
    lookup: bool = False
    """Ask Slack who has the address of a commit's author, where `people` does not say it."""

    @property
    def pressable(self) -> bool:
        return bool(self.app_token or self.signing_secret)


@dataclass(frozen=True)
class Notify:
    """Who is told of what. Without rules, every channel is told of everything."""

    slack: Slack | None = None
    apprise: Mapping[str, Secret] = field(default_factory=dict)
    """By the channel's name, the Apprise URL."""
    rules: tuple[Rule, ...] = ()
    digest: Digest | None = None

    @property
    def channels(self) -> tuple[str, ...]:
        """The names of all channels: `slack`, `slack:#prod` for another one of the same bot, and Apprise's."""
        own = (SLACK_CHANNEL,) if self.slack else ()
        others = sorted({name for rule in self.rules for name in rule.to if slack_channel(name)})
        return (*own, *others, *self.apprise)


@dataclass(frozen=True)
class Forge:
    """The server where pull requests are. Either `token`, or `app` (its number) and `app_key`."""

    kind: Literal["github", "gitlab", "gitea", "bitbucket"]
    repository: str
    """As the forge names it: ops/fleet."""
    api: str | None = None
    """None: that of its maker's own server."""
    token: Secret | None = None
    app: int = 0
    app_key: Secret | None = None
    people: Mapping[str, str] = field(default_factory=dict)
    """By account there: as UGS knows that person."""
    preview: bool = True
    """Whether open pull requests are shown what they would change."""
    pulls: Limits = field(default_factory=Limits)
    """How many pull requests of a kind we open."""


@dataclass(frozen=True)
class Bumps:
    """How often pins are looked after that ask for it, and where: what the repository names must be allowed here."""

    every_s: float = 900.0
    repositories: tuple[str, ...] = ()
    """Beginnings of the URLs whose tags may be asked for."""
    registries: tuple[str, ...] = ()
    """Hosts of registries that may be asked beside those of `registries`."""


@dataclass(frozen=True)
class Grant:
    """A secret, and who may name it."""

    secret: Secret
    environments: frozenset[str]
    services: frozenset[str]


@dataclass(frozen=True)
class Tls:
    """The server's certificate with what leads to its authority, and its private key: PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class FleetLock:
    """Slots: where our server listens (nowhere by default), how many each group has, and which others may be used."""

    listen: tuple[str, int] | None = None
    groups: Mapping[str, int] = field(default_factory=dict)
    allow: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prometheus:
    """Where the queries of probes are asked: only ugs.yaml names it. `token`: a bearer token, where it wants one."""

    url: str
    token: Secret | None = None


@dataclass(frozen=True)
class Oidc:
    """The provider of people's identities. `client_secret`: None where PKCE alone shows that it is us."""

    at: Registration
    client_secret: Secret | None = None


@dataclass(frozen=True)
class Settings:
    """Everything that ugs.yaml and the environment say. No environments named: all of the repository's."""

    file: Path
    repository: Repository
    state: Path = Path("/var/lib/ugs")
    lease_s: float | None = 90.0
    """For how long an environment is this daemon's without a word to the remote; None: nobody else is asked."""
    lease_namespace: str | None = None
    """The namespace of the Lease objects, where the leases are such. None: they are references of the remote."""
    host: str = ""
    """The name of this machine where environments list their hosts; by default its host name."""
    environments: tuple[str, ...] = ()
    drivers: tuple[Kind, ...] = ("process",)
    engines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By driver, what it may use of its engine and how it reaches it."""
    registries: Mapping[str, Registry] = field(default_factory=dict)
    """By host, where images come from."""
    artifacts_allowed: tuple[str, ...] = ("https://",)
    artifact_keys: tuple[Key, ...] = ()
    identity: Identity = Identity()
    trust: Trust | None = None
    """None: whoever may push to the branch is trusted."""
    listen: tuple[str, int] | None = None
    """Where the API is served over HTTP, beside the socket; by default nowhere."""
    tls: Tls | None = None
    """None: it is served over plain HTTP."""
    fleetlock: FleetLock = field(default_factory=FleetLock)
    webhooks: Mapping[Provider, tuple[Secret, ...]] = field(default_factory=dict)
    """By provider, the secrets of which its deliveries must show one: two while it is being changed."""
    oidc: Oidc | None = None
    machines: tuple[Registration, ...] = ()
    """Other providers, whose tokens are taken and at which nobody signs in."""
    people: tuple[Assignment, ...] = ()
    """What people and machines of these providers may do."""
    secrets: Mapping[str, Grant] = field(default_factory=dict)
    floor_approvals: Mapping[ChangeClass, int] = field(default_factory=dict)
    """How many people must approve a change of each class, whatever the repository says."""
    notify: Notify = field(default_factory=Notify)
    prometheus: Prometheus | None = None
    bumps: Bumps = Bumps()
    forge: Forge | None = None
    """None: there are no pull requests, and nobody to tell of them."""
    metrics_services_max: int = 1000
    """Of how many services `/metrics` has series of their own; 0: of none."""
    traces: bool = False
    """Whether the environment says where traces go."""
    git_environment: dict[str, str] = field(default_factory=dict, repr=False)
    """What git and ssh need of the daemon's own environment. A proxy's URL may hold a password."""
    failpoint: str | None = None
    """Where a crash test has the daemon die."""
    notify_socket: str | None = None
    """Where systemd wants to be told that the daemon is ready and alive."""
    watchdog_s: float | None = None
    """How often it wants to be told, at the least."""
    probe_environment: dict[str, str] = field(default_factory=dict, repr=False)
    """What the commands of probes may see of the daemon's own environment."""

    def secret(self, name: str, environment: str, service: str) -> str:
        """The value of a secret that repository content names. Raises HostError when it is not granted."""
        grant = self.secrets.get(name)
        if grant is None or environment not in grant.environments or service not in grant.services:
            raise HostError(
                f"the secret {name} is not granted to {service} in {environment}",
                f"grant it under `secrets` in {self.file}, or do not name it",
            )
        return grant.secret.read()
