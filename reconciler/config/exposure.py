"""Files that nobody else may look into, or change: looked at before the daemon starts."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from reconciler.config.secret import Secret
from reconciler.config.settings import Settings
from reconciler.model.errors import HostError

OTHERS = stat.S_IRWXG | stat.S_IRWXO
WRITERS = stat.S_IWGRP | stat.S_IWOTH


def refuse_exposed(settings: Settings) -> None:
    """Raise HostError where others than its owner may do anything with a file that holds a secret or a private key,
    or may write ugs.yaml. What systemd hands over as a credential it guards itself; what is not there is
    somebody else's to report."""
    found = [
        (
            path,
            f"{key}: others than its owner may {'use' if bits == OTHERS else 'write'} {path} (mode {mode:04o})",
        )
        for key, path, bits in _watched(settings)
        if (mode := _mode(path)) & bits
    ]
    if found:
        files = " ".join(dict.fromkeys(str(path) for path, _ in found))
        raise HostError(
            "; ".join(text for _, text in found), f"chmod go= {files}, and change what was exposed"
        )


def _watched(settings: Settings) -> Iterator[tuple[str, Path, int]]:
    """Where ugs.yaml names it, the file, and the bits that it must not have."""
    repository, slack = settings.repository, settings.notify.slack
    secrets = {"repository.password": repository.password}
    secrets |= {f"notify.apprise.{name}.url": url for name, url in settings.notify.apprise.items()}
    if slack:
        for key in ("token", "webhook", "app_token", "signing_secret"):
            secrets[f"notify.slack.{key}"] = getattr(slack, key)
    if settings.prometheus:
        secrets |= {"prometheus.token": settings.prometheus.token}
    secrets |= {f"secrets.{name}": grant.secret for name, grant in settings.secrets.items()}
    secrets |= {f"registries.{host}.password": login.password for host, login in settings.registries.items()}
    if settings.oidc:
        secrets |= {"oidc.client_secret": settings.oidc.client_secret}
    for provider, hooks in settings.webhooks.items():
        secrets |= {f"webhooks.{provider}.secret[{number}]": secret for number, secret in enumerate(hooks)}
    if forge := settings.forge:
        secrets |= {"forge.token": forge.token, "forge.app.key": forge.app_key}
    keys = {"repository.ssh_key": repository.ssh_key, "identity.signing_key": settings.identity.signing_key}
    if settings.tls:
        keys["tls.key"] = settings.tls.key
    files = {key: _file_of(secret) for key, secret in secrets.items()} | keys
    for key, path in files.items():
        if path is not None:
            yield key, path, OTHERS
    # A user name in an https URL may be a token.
    url = urlsplit(repository.url)
    token = url.scheme in ("http", "https") and url.username
    yield "repository.url" if token else "ugs.yaml", settings.file, OTHERS if token else WRITERS


def _file_of(secret: Secret | None) -> Path | None:
    return None if secret is None or secret.guarded else secret.path


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0
