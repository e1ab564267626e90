"""What pods refer to: Secrets and ConfigMaps, each named by its content, and gone when no kept target needs it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from secrets import token_bytes
from typing import Any

from reconciler.drivers.base import Cause, Site
from reconciler.drivers.kubernetes import body, files, marks
from reconciler.drivers.kubernetes.session import Work
from reconciler.drivers.trouble import host_trouble
from reconciler.model.target import Workload

KEY_BYTES = 32
DIGITS = 10


def hold(at: Work, cause: Cause, work: Workload) -> dict[str, str]:
    """Create the Secrets and the ConfigMap that the pods need; by what each is for, its name."""
    names: dict[str, str] = {}
    wanted = body.secret_names(work)
    if wanted:
        read = at.site.secret
        values = {key: read(name, work.environment, work.service) for key, name in wanted.items()}
        names["secret"] = f"{work.service}-env-{_keyed(at.site, values)}"
        at.place.apply(body.secret(cause, work, at.id, names["secret"], values), force=True)
    if texts := files.config_texts(work):
        names["config"] = f"{work.service}-files-{_digest(texts)}"
        at.place.apply(body.config_map(cause, work, at.id, names["config"], texts), force=True)
    host = (work.release.artifact.image or "").partition("/")[0]
    if registry := at.site.registries.get(host):
        login = registry.username, registry.password()
        names["pull_secret"] = f"{work.service}-registry-{_keyed(at.site, [host, *login])}"
        at.place.apply(body.pull_secret(cause, work, at.id, names["pull_secret"], host, login), force=True)
    return names


def tidy(at: Work, environment: str, service: str, keep: frozenset[str]) -> None:
    """Remove the Secrets and ConfigMaps of targets that are neither kept nor in a template."""
    kept = {text.rpartition("@")[2] for text in keep}
    kept |= {held.target.digest for held in at.ours(environment, service) if held.target}
    for kind in ("Secret", "ConfigMap"):
        for name, labels in at.place.names(kind, marks.identity(at.id, environment, service)):
            if labels.get(marks.TARGET) not in kept:
                at.place.delete(kind, name)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:DIGITS]


def _keyed(site: Site, value: Any) -> str:
    """Names an object by the secrets in it, so that nobody who sees the name can try out what they are."""
    text = json.dumps(value, sort_keys=True).encode()
    return hmac.new(_key(site), text, hashlib.sha256).hexdigest()[:DIGITS]


def _key(site: Site) -> bytes:
    """A key of this daemon's own. Were it lost, the pods would be started anew with the next change: no more."""
    path = site.state / "kubernetes.key"
    with host_trouble("keep the key that names secrets"):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            key = token_bytes(KEY_BYTES)
            new = path.with_suffix(".new")
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                os.write(descriptor, key)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            new.replace(path)
            return key
