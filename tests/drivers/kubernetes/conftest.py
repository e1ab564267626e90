from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from reconciler.drivers.base import Site
from reconciler.drivers.kubernetes import cache, namespace
from tests.drivers.kubernetes.api_server import ApiServer, serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with serving() as api:
        yield api
        namespace.close_all()
        api.cut()


@pytest.fixture
def shop(site: Site, server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site whose environment runs in the namespace `shop`."""
    monkeypatch.setattr(cache, "STALE_S", 0.0)  # what the stand-in has is seen at once
    file = tmp_path / "kubeconfig"
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "users": [{"name": "u", "user": {"token": server.token}}],
    }
    file.write_text(json.dumps(config))
    engine = {"kubeconfig": str(file), "namespaces": ["shop"]}
    return structs.replace(site, options={"namespace": "shop"}, engine=engine)
