from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.api.network import token_for
from tests.daemon_process import DaemonProcess

WAIT_MS = 30_000
DESK = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}
NOISE = ("Password forms should have",)
"""What a browser says of a form that asks for nothing but a token."""

Visit = Callable[..., Page]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser" in str(item.path):
            item.add_marker("browser")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's own, without a window."""
    path = shutil.which("chromium")
    assert path, "install Debian's chromium: .ci/run does"
    with sync_playwright() as playwright:
        # As root, which Debian's builds are tested as, Chromium has no sandbox of its own.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Visit]:
    """`visit(served, port, name, role, **context)`: somebody's browser, signed in, on the first page. `away`: the
    daemon will be, for a while.

    At the end nothing was loaded from elsewhere, and nothing complained.
    """
    complaints: list[str] = []
    contexts = []

    def opened(
        served: DaemonProcess,
        port: int,
        name: str = "ada",
        role: str = "admin",
        *,
        away: bool = False,
        **context: Any,
    ) -> Page:
        made = chromium.new_context(**{"viewport": DESK, **context})
        contexts.append(made)
        made.set_default_timeout(WAIT_MS)
        page = made.new_page()
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        if not away:  # a browser says of each request that found nobody
            page.on("console", lambda said: complaints.append(f"{said.type}: {said.text}"))
        page.on("request", lambda asked: _at_home(asked.url, port, complaints))
        page.goto(f"http://127.0.0.1:{port}/login")
        page.get_by_label("Token").fill(token_for(served, name, role))
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"http://127.0.0.1:{port}/")
        return page

    yield opened
    for made in contexts:
        made.close()
    assert [one for one in complaints if not any(known in one for known in NOISE)] == []


def _at_home(url: str, port: int, complaints: list[str]) -> None:
    if urlsplit(url).netloc != f"127.0.0.1:{port}":
        complaints.append(f"asked elsewhere: {url}")


def live(page: Page) -> None:
    """Wait until the page hears of what changes."""
    page.wait_for_selector("#live[data-state=on]")
