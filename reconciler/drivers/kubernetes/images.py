"""Whether an image exists, asked of its registry before anything is touched: the nodes would only find out after."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import urllib3

from reconciler.drivers.base import Registry
from reconciler.model.errors import ArtifactError
from reconciler.model.target import Workload

TIMEOUT = urllib3.Timeout(connect=3.0, read=5.0)
ANSWER_BYTES_MAX = 1 << 16
HUB = "docker.io"
HUB_SERVER = "registry-1.docker.io"
ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
LOOPBACK = re.compile(r"(127\.[0-9.]+|localhost)(:[0-9]+)?")
"""Reached without TLS, as container engines do."""
_IMAGE = re.compile(r"(?P<name>[^@]+?)(:[A-Za-z0-9._-]+)?@(?P<digest>sha256:[0-9a-f]{64})")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


def check(image: str, registries: Mapping[str, Registry], work: Workload) -> None:
    """Raises ArtifactError when the registry answers that there is no such image.

    A registry that does not answer, or not to us, proves nothing: it is the nodes that pull.
    """
    host, name, digest = parts(image)
    server = HUB_SERVER if host == HUB else host
    url = f"{'http' if LOOPBACK.fullmatch(host) else 'https'}://{server}/v2/{name}/manifests/{digest}"
    login = registries.get(host)
    with urllib3.PoolManager(retries=False, timeout=TIMEOUT) as pool:
        try:
            answer = _ask(pool, url, {})
            if answer.status == 401:
                answer = _ask(pool, url, _signed(pool, answer.headers.get("WWW-Authenticate", ""), login))
        except urllib3.exceptions.HTTPError:
            return
    if answer.status == 404:
        raise ArtifactError(
            f"{work.release.place}: artifact.image: {host} has no {name}@{digest}",
            "push it, and name it in a new release",
        )


def parts(image: str) -> tuple[str, str, str]:
    """(registry, name in it, digest) of a reference that ends in a digest."""
    found = _IMAGE.fullmatch(image)
    if found is None:
        raise ValueError(f"{image!r} has no digest")
    first, _, rest = found["name"].partition("/")
    if rest and ("." in first or ":" in first or first == "localhost"):
        return first, rest, found["digest"]
    return HUB, found["name"] if rest else f"library/{first}", found["digest"]


def _ask(pool: urllib3.PoolManager, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
    return pool.request("HEAD", url, headers={"Accept": ACCEPT, **headers}, redirect=False)


def _signed(pool: urllib3.PoolManager, challenge: str, login: Registry | None) -> dict[str, str]:
    """The header that the registry asks for: our name and password, or a token that they are good for."""
    basic = urllib3.make_headers(basic_auth=f"{login.username}:{login.password()}") if login else {}
    scheme, _, rest = challenge.partition(" ")
    asked = dict(_CHALLENGE.findall(rest))
    if scheme.lower() != "bearer" or not asked.get("realm", "").startswith("https://"):
        return basic
    fields = {key: asked[key] for key in ("service", "scope") if key in asked}
    answer = pool.request("GET", asked["realm"], fields=fields, headers=basic, preload_content=False)
    try:
        said: Any = msgspec.json.decode(answer.read(ANSWER_BYTES_MAX))
        return {"Authorization": f"Bearer {said.get('token') or said['access_token']}"}
    except (msgspec.MsgspecError, KeyError, AttributeError):
        return {}
    finally:
        answer.close()
