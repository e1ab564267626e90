"""The identity of what should run: a version and a digest over everything that makes it what it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.model.codec import builtins, encode
from reconciler.model.environment import FlagSetting, Pin
from reconciler.model.errors import Place
from reconciler.model.flags import flag_values
from reconciler.model.release import FlagValue, Release, Rollout, Scalar, Strategy
from reconciler.model.same import once
from reconciler.model.version import Version

DIGEST_LENGTH = 12
RELEASES_KEPT_MAX = 50_000
"""For so many releases it is remembered what was worked out: as many as a repository may have."""
FROZEN_FIELDS = ("artifact", "run", "config", "migrations", "backup", "requires", "flags")


class Target(Struct, frozen=True, gc=False):
    """`digest` is the first 12 hex digits of a SHA-256. Written `1.5.0@0123456789ab`."""

    version: Version
    digest: str

    def __str__(self) -> str:
        return f"{self.version}@{self.digest}"

    @classmethod
    def parse(cls, text: str) -> Target:
        """Raises ValueError when `text` is not what `str()` writes."""
        version, at, digest = text.rpartition("@")
        if not at or len(digest) != DIGEST_LENGTH:
            raise ValueError(f"{text!r} is not a target")
        return cls(Version(version), digest)


class Workload(Struct, frozen=True, gc=False):
    """Everything a driver needs to run one service, and everything needed to bring it back later."""

    environment: str
    service: str
    target: Target
    release: Release
    config: dict[str, Scalar]
    """The pin's values over the declared ones, flat: one key has one value in every file that declares it."""
    instances: int
    port: int | None
    strategy: Strategy
    place: Place
    """Where the pin stood: for messages."""
    node: str
    """The pin's value as JSON, so that a revert can put it back."""
    flags: dict[str, FlagValue] = {}
    """The environment's values over the declared defaults, of the flags that the release declares, live ones apart."""
    rollout: Rollout = Rollout()


@once(RELEASES_KEPT_MAX)
def frozen_digest(release: Release) -> str:
    """The digest over the fields that freeze when a release is deployed, in full hex."""
    fields: dict[str, Any] = builtins(release)
    if release.flags:
        fields["flags"] = {
            name: {"live": flag.default} if flag.live else flag.default
            for name, flag in release.flags.items()
        }
    return _sha256({name: fields[name] for name in FROZEN_FIELDS if name in fields})


def workload(
    environment: str, pin: Pin, release: Release, *, node: str, flags: Mapping[str, FlagSetting] = {}
) -> Workload:
    """What a pin and its release ask for. The pin's config must already be known to be declared.

    `flags`: what the environment sets, already known to be of the declared types.
    """
    if pin.plain and not release.flags:
        return likewise(_alone(release), environment, pin, node)
    return _workload(environment, pin, release, node, flags)


def likewise(work: Workload, environment: str, pin: Pin, node: str) -> Workload:
    """What a plain pin asks for, given what another plain pin of the same release does, which has no flags."""
    return replace(work, environment=environment, place=pin.place, node=node)


@once(RELEASES_KEPT_MAX)
def _alone(release: Release) -> Workload:
    """What a release without flags asks for where its pin says nothing else: the same in every environment."""
    return _workload("", Pin(release.service, release.version, release.place), release, "", {})


def _workload(
    environment: str, pin: Pin, release: Release, node: str, flags: Mapping[str, FlagSetting]
) -> Workload:
    declared = {key: value for file in release.config for key, value in file.values.items()}
    config = declared | pin.config
    port = pin.port if pin.port is not None else (release.run.port if release.run else None)
    values = flag_values(release, flags)
    identity: dict[str, object] = {
        "release": frozen_digest(release),
        "config": config,
        "instances": pin.instances,
        "port": port,
    }
    if values:  # a release without flags is the target that it was before there were any
        identity["flags"] = values
    return Workload(
        environment=environment,
        service=pin.service,
        target=Target(release.version, _sha256(identity)[:DIGEST_LENGTH]),
        release=release,
        config=config,
        instances=pin.instances,
        port=port,
        strategy=pin.strategy or release.strategy or "stop-start",
        place=pin.place,
        node=node,
        flags=values,
        rollout=(pin.rollout if pin.strategy else release.rollout) or Rollout(),
    )


def _sha256(value: object) -> str:
    return hashlib.sha256(encode(value)).hexdigest()
