"""A daemon, a provider at which people sign in, and that of a CI."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemon_process import DaemonProcess, daemon
from tests.drivers.services import free_port
from tests.oidc.provider import CLIENT_ID, CLIENT_SECRET, Provider, a_provider
from tests.world import World, a_world

PEOPLE = """\
people:
  - {group: sre, role: operator, environments: ["prod*"]}
  - {group: sre, role: viewer}
  - {user: "eve@example.org", role: approver}
  - {user: "repo:org/*@example.org", role: viewer, environments: [production]}
"""
AUDIENCE = "https://ugs.example"
ADA: dict[str, Any] = {"email": "Ada@example.org", "email_verified": True, "groups": ["sre", "dev"]}


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def base(port: int) -> str:
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def provider(base: str) -> Iterator[Provider]:
    with a_provider(free_port(), f"{base}/login/callback") as running:
        yield running


@pytest.fixture(scope="module")
def ci() -> Iterator[Provider]:
    """Another provider: that of a CI, which vouches for machines."""
    with a_provider(free_port()) as running:
        yield running


@pytest.fixture(autouse=True)
def as_it_was(provider: Provider) -> None:
    provider.people = {"ada": ADA, "eve": {"email": "eve@example.org"}, "sid": {"email": "sid@example.org"}}
    provider.who, provider.thin = "ada", False
    provider.metadata, provider.token_claims = {}, {}


@pytest.fixture(scope="module")
def fleet(
    tmp_path_factory: pytest.TempPathFactory, port: int, base: str, provider: Provider, ci: Provider
) -> Iterator[World]:
    with a_world(tmp_path_factory.mktemp("signin")) as world:
        secret = world.folder / "client-secret"
        secret.write_text(CLIENT_SECRET)
        secret.chmod(0o600)
        world.settings_more = (
            f'listen: "127.0.0.1:{port}"\n'
            f'oidc: {{issuer: "{provider.issuer}", client_id: {CLIENT_ID}, client_secret: {{file: "{secret}"}},'
            f' redirect_uri: "{provider.client.redirect_uri}", post_logout_redirect_uri: "{base}/login"}}\n'
            f'machines: [{{issuer: "{ci.issuer}", audience: "{AUDIENCE}"}}]\n'
            f'{PEOPLE}  - {{user: "repo:org/fleet:*", issuer: "{ci.issuer}", role: operator}}\n'
        )
        world.deploy_first("1.0.0", "api")
        yield world


@pytest.fixture(scope="module")
def served(fleet: World) -> Iterator[DaemonProcess]:
    with daemon(fleet) as running:
        running.until_runs("1.0.0")
        yield running
