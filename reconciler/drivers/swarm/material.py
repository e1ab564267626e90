"""What a service gets beside its image: secrets and configs of Swarm's, whose names stand for what is in them.

A name is a keyed digest of the content. The key never leaves the state folder: nobody who may list the names can try
which secret fits.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from reconciler.drivers.base import Site
from reconciler.drivers.labels import PREFIX
from reconciler.drivers.layout import directory_of, names_of
from reconciler.drivers.swarm.body import Given, secrets_of
from reconciler.drivers.swarm.managers import KINDS, Kind, Manager
from reconciler.drivers.trouble import host_trouble
from reconciler.model.errors import HostError
from reconciler.model.target import Workload

KEY_FILE = "swarm.key"
KEY_BYTES = 32
DIGEST_DIGITS = 40
CONFIG_BYTES_MAX = 500_000
"""What Swarm takes as a config or a secret."""


def given(engine: Manager, work: Workload, networks: Sequence[str]) -> Given:
    """See that Swarm has all that the specification will refer to. What is there already serves."""
    secret, configs, modes = {}, {}, {}
    for variable, name in secrets_of(work).items():
        value = engine.site.secret(name, work.environment, work.service).encode()
        secret[variable] = _keep(engine, "secrets", work, variable, value)
    directory = directory_of(engine.site, work)
    for file in work.release.config:
        with host_trouble(f"read the configuration of {work.service}"):
            path = directory / file.path
            data, status = path.read_bytes(), path.stat()
        configs[file.path] = _keep(engine, "configs", work, file.path, data)
        modes[file.path] = (status.st_uid, status.st_gid, status.st_mode & 0o777)
    return Given(engine.networks(networks), secret, configs, modes)


def tidy(engine: Manager, environment: str, service: str) -> None:
    """Remove what nothing refers to any more: what is needed again is made again."""
    for kind in KINDS:
        for name in sorted(names_of(engine.site, environment)):
            for one in engine.kept(kind, environment=name, service=service):
                engine.discard(kind, one)


def _keep(engine: Manager, kind: Kind, work: Workload, what: str, data: bytes) -> tuple[str, str]:
    if len(data) > CONFIG_BYTES_MAX:
        raise HostError(
            f"{what} of {work.service} is larger than Swarm takes ({CONFIG_BYTES_MAX} bytes)",
            "keep it in a volume",
        )
    words = (work.environment.encode(), work.service.encode(), what.encode(), data)
    digest = hmac.digest(_key(engine.site), b"\0".join(words), sha256).hex()[:DIGEST_DIGITS]
    name = f"ugs_{engine.id}_{digest}"
    said = {"site": engine.id, "environment": work.environment, "service": work.service, "for": what}
    return name, engine.keep(kind, name, data, {f"{PREFIX}{key}": value for key, value in said.items()})


def _key(site: Site) -> bytes:
    """Made once. Without it everything gets other names once more, and works as before."""
    path: Path = site.state / KEY_FILE
    with host_trouble("read the key that names secrets in Swarm"):
        if not path.exists():
            draft = path.with_name(f"{KEY_FILE}.{os.getpid()}.{secrets.token_hex(4)}")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(draft, path)  # the first one stays, whoever else makes one now
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return path.read_bytes()
