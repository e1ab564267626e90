"""Which daemon the command line talks to, where it is not the one on this machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from reconciler.model.errors import UgsError

URL, TOKEN = "UGS_URL", "UGS_TOKEN"


@dataclass(frozen=True)
class Elsewhere:
    """A daemon's API over the network. `path`: what stands before every route, without a final slash."""

    url: str
    host: str
    port: int | None
    path: str
    secure: bool
    token: str = field(repr=False)


def elsewhere_from(environ: Mapping[str, str]) -> Elsewhere | None:
    """What UGS_URL and UGS_TOKEN say; None where the first is not set. Raises UgsError."""
    url = environ.get(URL, "").strip()
    if not url:
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _wrong(f"{URL} is no URL: {error}") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise _wrong(f"{URL} is no URL of a daemon")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise _wrong(f"{URL} has more than a host and a path")
    if parts.scheme == "http" and not _is_here(host):
        raise UgsError(
            f"{URL} is http, and would send the token in the clear",
            "use https, or an ssh tunnel to this machine",
        )
    token = environ.get(TOKEN, "").strip()
    if not token or not token.isascii() or not token.isprintable():
        raise UgsError(
            f"{URL} is set, and {TOKEN} is not", "have one made by `ugs token create` on the daemon"
        )
    return Elsewhere(url, host, port, parts.path.rstrip("/"), parts.scheme == "https", token)


def _wrong(text: str) -> UgsError:
    return UgsError(text, "write it as https://ugs.example.org")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
