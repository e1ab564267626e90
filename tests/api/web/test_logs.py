"""The last lines of a service, from an engine that may be slow or say no."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.api.web import service
from reconciler.api.web.page import Pages
from reconciler.engine.lanes import Lanes
from reconciler.model.errors import HostError


def pages(logs: Any) -> Pages:
    """As much of them as reading logs takes."""
    driver = SimpleNamespace(logs=logs)
    core = SimpleNamespace(driver=lambda _: driver, site_of=lambda _: None, drive=Lanes().call)
    return cast(Pages, SimpleNamespace(core=core, reading=set()))


async def test_lines_are_bounded() -> None:
    def long(*_: Any, lines: int) -> list[str]:
        return ["x" * 10_000] * lines

    lines, trouble = await service._logs(pages(long), "production", "api")
    assert {len(line) for line in lines} == {service.LINE_CHARS_MAX}
    assert (len(lines), trouble) == (service.LINES_MAX, "")


async def test_an_engine_that_says_no_is_told() -> None:
    def no(*_: Any, lines: int) -> list[str]:
        raise HostError("the engine is away", "start it")

    assert await service._logs(pages(no), "production", "api") == ([], "the engine is away; start it")


async def test_an_engine_that_hangs_delays_no_page_and_holds_few_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "LOGS_S", 0.01)
    free = threading.Event()

    def hang(*_: Any, lines: int) -> list[str]:
        free.wait(30)
        raise HostError("the engine was away", "start it")

    asked = pages(hang)
    try:
        for _ in range(service.LOGS_AT_ONCE_MAX):
            lines, trouble = await service._logs(asked, "production", "api")
            assert (lines, "could not be read within" in trouble) == ([], True)
        lines, trouble = await service._logs(asked, "production", "api")
        assert (lines, "others are reading" in trouble) == ([], True)
    finally:
        free.set()
    await asyncio.gather(*asked.reading, return_exceptions=True)
    assert asked.reading == set()
