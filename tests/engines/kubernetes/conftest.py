from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.drivers.kubernetes.namespace import close_all
from tests.engines.kubernetes import Kubernetes
from tests.engines.kubernetes.direct import Shop
from tests.engines.kubernetes.page import account


@pytest.fixture
def shop(engine: Kubernetes, tmp_path: Path) -> Iterator[Shop]:
    engine.begin()
    yield Shop(engine, tmp_path)
    close_all()
    engine.end()


@pytest.fixture
def page_account(shop: Shop, tmp_path: Path) -> Path:
    """A kubeconfig of the account that the pages' role is for, which may what that allows."""
    return account(shop, tmp_path)
