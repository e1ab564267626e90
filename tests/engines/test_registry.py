"""A real registry: its tags in pages, its digests, and its password."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from reconciler.model.errors import HostError, UgsError
from reconciler.registry import Login, Registry
from tests.drivers.services import free_port
from tests.engines import dockerd

pytestmark = pytest.mark.engine
ENGINE = "docker"
BASIC = {"Authorization": f"Basic {base64.b64encode(b'ugs:hunter2').decode()}"}
CONFIG = b"{}"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def real(tmp_path: Path) -> Iterator[dockerd.Registry]:
    registry = dockerd.Registry(tmp_path / "registry", free_port(), user="ugs", password="hunter2")
    registry.start()
    yield registry
    registry.stop()


def put(real: dockerd.Registry, name: str, *tags: str) -> str:
    """An image without layers under these tags; its digest."""
    base, config = f"http://{real.name}/v2/{name}", f"sha256:{hashlib.sha256(CONFIG).hexdigest()}"
    begun = urllib3.request("POST", f"{base}/blobs/uploads/", headers=BASIC)
    where = f"{begun.headers['Location']}&digest={config}"
    assert urllib3.request("PUT", where, headers=BASIC, body=CONFIG).status == 201
    kind = "application/vnd.oci.image.config.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": kind, "size": len(CONFIG), "digest": config},
        "layers": [],
    }
    for tag in tags:
        headers = BASIC | {"Content-Type": MANIFEST}
        done = urllib3.request(
            "PUT", f"{base}/manifests/{tag}", headers=headers, body=json.dumps(manifest).encode()
        )
        assert done.status == 201, done.data
    return str(done.headers["Docker-Content-Digest"])


def test_tags_and_digests_of_a_real_registry(real: dockerd.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = put(real, "ops/api", *(f"1.{minor}.0" for minor in range(5)))
    registry = Registry(real.name, Login("ugs", lambda: "hunter2"))
    assert registry.digest("ops/api", "1.3.0") == digest
    monkeypatch.setattr("reconciler.registry.PAGE", 2)
    assert sorted(registry.tags("ops/api")) == [f"1.{minor}.0" for minor in range(5)]
    with pytest.raises(UgsError, match="has no ops/none"):
        registry.tags("ops/none")
    with pytest.raises(HostError):
        Registry(real.name, Login("ugs", lambda: "guess")).tags("ops/api")
    registry.close()
