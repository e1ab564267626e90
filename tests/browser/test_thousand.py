"""A thousand services stay smooth, measured by the browser itself over the daemon of thousand.py."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from playwright.sync_api import Page

from reconciler.cli.client import NoDaemon, call
from tests.browser.conftest import Visit, live
from tests.browser.thousand import COUNT, RELEASE, ZEROS, named
from tests.daemon_process import PROJECT, DaemonProcess, environ
from tests.drivers.services import free_port
from tests.git.colleague import Colleague

PAINT_MAX_MS = 1_000
UPDATE_MAX_MS = 100
START_S = 180.0


class Thousand(NamedTuple):
    state: Path
    socket: Path
    port: int
    ada: Colleague


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Thousand]:
    folder, port = tmp_path_factory.mktemp("thousand"), free_port()
    state = folder / "state"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.browser.thousand", str(folder), str(port)],
            cwd=PROJECT,
            env=environ(),
            stdout=log,
            stderr=log,
        )
    try:
        end_s = time.monotonic() + START_S
        while not _healthy(state):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end_s, (folder / "log").read_text()
            time.sleep(0.2)
        yield Thousand(state, state / "ugs.sock", port, Colleague(folder / "bo", folder / "fleet.git"))
    finally:
        process.terminate()
        process.wait()


def _healthy(state: Path) -> bool:
    with contextlib.suppress(NoDaemon):
        here = call(state, "GET", "/upgrade/status")["environments"]
        services = [one["health"] for each in here for one in each["services"]]
        return len(services) > COUNT and set(services) == {"healthy"}
    return False


def signed_in(visit: Visit, thousand: Thousand) -> Page:
    return visit(cast(DaemonProcess, thousand), thousand.port)


def bump(thousand: Thousand, service: str, version: str) -> None:
    """Merge a release of one of the thousand."""
    ada = thousand.ada
    ada.pull_if_any()
    path = "environments/production.yaml"
    text = (ada.folder / path).read_text()
    lines = [
        f'  {service}: "{version}"' if line.startswith(f"  {service}:") else line
        for line in text.splitlines()
    ]
    release = RELEASE.format(service=service, version=version, zeros=ZEROS)
    files: dict[str, str | None] = {
        path: "\n".join(lines) + "\n",
        f"releases/{service}/{version}.yaml": release,
    }
    ada.commit(files, f"Bump {service}", environment={})
    ada.push()
    call(thousand.state, "POST", "/sync", {})


def test_the_first_paint_of_a_thousand_services_is_within_a_second(visit: Visit, thousand: Thousand) -> None:
    page = signed_in(visit, thousand)
    took_ms = []
    for _ in range(5):  # the machine may be busy with something else for a moment
        page.goto(f"http://127.0.0.1:{thousand.port}/")
        live(page)
        assert page.locator("#fleet tbody tr").count() == COUNT
        paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
        page.wait_for_function(paint)
        took_ms.append(page.evaluate(paint))
    assert min(took_ms) < PAINT_MAX_MS, took_ms


def test_a_change_among_a_thousand_is_shown_within_a_tenth_of_a_second(
    visit: Visit, thousand: Thousand
) -> None:
    page = signed_in(visit, thousand)
    live(page)
    page.evaluate("""() => {
      window.cells = new Map([...document.querySelectorAll('#fleet td[id]')].map((one) => [one.id, one]));
    }""")
    service, took_ms = named(500), list[float]()
    for number in range(1, 6):
        page.evaluate("performance.clearMarks()")
        bump(thousand, service, f"1.5.{number}")
        page.wait_for_selector(f"#c-production-{service}.ok .v:text-is('1.5.{number}')")
        took_ms += pairs(page)
    assert min(took_ms) < UPDATE_MAX_MS, took_ms
    same = page.evaluate(
        "[...window.cells].filter(([id, one]) => document.getElementById(id) === one).length"
    )
    assert same >= page.evaluate("window.cells.size") - 2  # only what has changed was put in anew


def pairs(page: Page) -> list[float]:
    """How long it took from each event that was heard to the next that was shown, in ms."""
    marks: list[Any] = page.evaluate(
        "performance.getEntriesByType('mark').map((one) => [one.name, one.startTime])"
    )
    found, heard = [], None
    for name, at in marks:
        if name == "ugs-heard" and heard is None:
            heard = at
        elif name == "ugs-shown" and heard is not None:
            found.append(at - heard)
            heard = None
    return found


def test_typing_into_the_filter_of_a_thousand_is_smooth(visit: Visit, thousand: Thousand) -> None:
    page = signed_in(visit, thousand)
    took_ms = page.evaluate("""async () => {
      const field = document.getElementById('q'), took = [];
      for (const text of ['0', '05', '050', '0500']) {
        const began = performance.now();
        field.value = text;
        field.dispatchEvent(new Event('input'));
        document.body.offsetHeight;
        took.push(performance.now() - began);
        await new Promise((done) => setTimeout(done, 20));
      }
      return took;
    }""")
    page.wait_for_selector(f"#shown:text-is('1 of {COUNT}')")
    assert min(took_ms) < UPDATE_MAX_MS, took_ms
