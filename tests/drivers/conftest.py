from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.drivers import started
from reconciler.drivers.base import Site
from reconciler.model.errors import ArtifactError, HostError
from tests.drivers.services import kill_all


def no_blob(revision: str, path: str) -> bytes:
    raise ArtifactError(f"{path} is not in {revision}")


def one_secret(name: str, environment: str, service: str) -> str:
    if (name, environment, service) != ("db-password", "production", "api"):
        raise HostError(f"{name} is not granted to {service}")
    return "hunter2"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    state = tmp_path / "state"
    state.mkdir()
    yield Site(
        state=state, secret=one_secret, blob=no_blob, artifacts_allowed=("file:///", "http://127.0.0.1:")
    )
    kill_all(state)


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    return tmp_path / "archives"


@pytest.fixture(autouse=True)
def _measured_shims(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let coverage follow into the shims, whose environment is otherwise swept."""
    measured = tuple(name for name in os.environ if name.startswith("COVERAGE_"))
    monkeypatch.setattr(started, "INHERITED", started.INHERITED + measured)
