from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines import KINDS
from tests.engines.harness import Harness, Stage, module
from tests.world import a_world


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine", choices=KINDS, help="only the scenarios on this engine")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    only = config.getoption("--engine", default=None)
    if only is not None:
        items[:] = [item for item in items if isinstance(item, pytest.Function) and _kind_of(item) == only]


def _kind_of(item: pytest.Function) -> str:
    """The engine that a test is for: what it is parametrised with, else what its module names as ENGINE or is named
    after; the first of them for what needs none of them in particular."""
    if hasattr(item, "callspec") and isinstance(kind := item.callspec.params.get("engine"), str):
        return kind
    kind = getattr(item.module, "ENGINE", item.path.stem.removeprefix("test_"))
    return kind if kind in KINDS else KINDS[0]


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """The engine of the kind that the test was parametrised with: started once, for all of its scenarios."""
    harness = module(request.param).start(tmp_path_factory.mktemp(request.param))
    try:
        yield harness
    finally:
        harness.close()


@pytest.fixture
def stage(engine: Harness, tmp_path: Path) -> Iterator[Stage]:
    """A fleet of the scenario's own on the engine; nothing is left there."""
    with a_world(tmp_path) as world:
        engine.begin(world)
        try:
            yield Stage(world, engine)
        finally:
            engine.end()
