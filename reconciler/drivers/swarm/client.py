"""The Docker SDK's client, with what it lacks: registry credentials of ours for a service.

Imported when a manager is first asked: the SDK costs a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import docker
from docker import auth
from docker.errors import APIError, DockerException, create_api_error_from_http_exception
from docker.tls import TLSConfig
from requests.exceptions import HTTPError, RequestException

__all__ = ["APIError", "Client", "DockerException", "RequestException", "tls_of"]

Login = Mapping[str, str]


class Client(docker.APIClient):
    """One connection to one engine. Raises APIError for what it refuses, RequestException where it does not answer."""

    def __init__(self, host: str, *, tls: TLSConfig | None, timeout_s: int) -> None:
        super().__init__(base_url=host, version="auto", timeout=timeout_s, tls=tls or False)
        self.trust_env = False  # a proxy is for the network, and the swarm is here

    def write_service(
        self, spec: Mapping[str, Any], *, replaces: tuple[str, int] | None, login: Login | None
    ) -> None:
        """Make a service, or make another one of it. `replaces`: its id, and the version that was looked at."""
        path, params = "create", {}
        if replaces is not None:
            path, params = f"{replaces[0]}/update", {"version": str(replaces[1])}
        answer = self.post(
            f"{self.base_url}/v{self.api_version}/services/{path}",
            json=dict(spec),
            params=params,
            headers={"X-Registry-Auth": auth.encode_header(dict(login))} if login else {},
            timeout=self.timeout,
        )
        try:
            answer.raise_for_status()
        except HTTPError as error:
            create_api_error_from_http_exception(error)  # raises


def tls_of(ca: str | None, certificate: str | None, key: str | None) -> TLSConfig | None:
    """None without an authority: then the engine is at a socket of this machine."""
    if ca is None:
        return None
    pair = (certificate, key) if certificate and key else None
    return TLSConfig(ca_cert=ca, client_cert=pair, verify=True)
