from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.store import Store
from tests.store.builders import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ugs.db"


@pytest.fixture
def store(path: Path, clock: HandClock) -> Iterator[Store]:
    with closing(Store(path, now=clock.now)) as opened:
        yield opened
