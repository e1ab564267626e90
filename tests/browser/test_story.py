"""What a person could watch: deploy, fail, revert, approve, hold and roll back, without ever loading a page again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.api.test_routes import ask
from tests.browser.conftest import WAIT_MS, Visit, live
from tests.browser.scene import PATIENT
from tests.daemon_process import DaemonProcess, daemon
from tests.drivers.services import free_port
from tests.world import World, a_world

expect.set_options(timeout=WAIT_MS)
API = "#c-production-api"
WATCH = """() => {
  window.neverLoadedAgain = true;
  window.seen = [];
  new MutationObserver(() => {
    const text = document.querySelector('#c-production-api').innerText.replace(/\\s+/g, ' ').trim();
    if (window.seen.at(-1) !== text) window.seen.push(text);
  }).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[World]:
    with a_world(tmp_path_factory.mktemp("story")) as world:
        world.settings_more = f'listen: "127.0.0.1:{port}"\n'
        world.more = "policy: {approvals: {major: 1}}\n"
        for service in ("api", "web"):
            world.release("1.0.0", service=service, deadline=PATIENT)
            world.pin("1.0.0", service)
        world.merge("Start with 1.0.0")
        yield world


@pytest.fixture(scope="module")
def served(fleet: World) -> Iterator[DaemonProcess]:
    with daemon(fleet) as running:
        for service in ("api", "web"):
            running.until_runs("1.0.0", service)
        yield running


def at_rest(page: Page, version: str) -> None:
    """The cell says that this version runs, and nothing else."""
    expect(page.locator(f"{API}.ok .v")).to_have_text(version)


def test_a_deployment_and_a_revert_are_seen_as_they_happen(
    visit: Visit, served: DaemonProcess, fleet: World, port: int
) -> None:
    page = visit(served, port)
    live(page)
    at_rest(page, "1.0.0")
    page.evaluate(WATCH)
    fleet.bump("1.1.0", deadline=PATIENT)
    at_rest(page, "1.1.0")
    fleet.bump("1.2.0", "unhealthy", deadline=PATIENT)
    expect(page.locator("#now .latest")).to_contain_text("reverted")
    at_rest(page, "1.1.0")
    seen = page.evaluate("window.seen")
    assert any("verifying" in text for text in seen), seen
    assert any("restoring" in text or "reverting" in text for text in seen), seen
    assert page.evaluate("window.neverLoadedAgain")
    expect(page.locator("#said")).to_contain_text("production: api")
    # What has not changed is not put in anew, even where it has before.
    page.evaluate(f"window.cell = document.querySelector('{API}')")
    ask(served, "POST", "/holds", {"environment": "production", "service": "web", "reason": "x", "for": "1s"})
    expect(page.locator("#now .latest")).to_contain_text("held")
    assert page.evaluate(f"window.cell === document.querySelector('{API}')")
    # The whole of it stands in the timeline.
    page.locator("#now .latest a", has_text="reverted").first.click()
    expect(page.locator("#timeline")).to_contain_text("answers status 500")
    expect(page.locator("#commits")).to_contain_text("Revert production/api to 1.1.0")


def test_a_change_is_approved_from_the_page_and_goes_its_way(
    visit: Visit, served: DaemonProcess, fleet: World, port: int
) -> None:
    fleet.bump("2.0.0", service="web", deadline=PATIENT)
    page = visit(served, port, "bo", "approver")
    page.get_by_role("link", name="waits for approval").click()
    live(page)
    expect(page.locator("#why")).to_contain_text("needs 1 approval, has none")
    page.get_by_role("button", name="Approve 2.0.0").click()
    expect(page.locator(".notice")).to_contain_text("Approved.")
    page.evaluate("window.neverLoadedAgain = true")
    expect(page.locator("#head .v")).to_have_text("2.0.0")
    expect(page.locator("#history tbody tr").first).to_contain_text("succeeded")
    assert page.evaluate("window.neverLoadedAgain")
    assert fleet.pinned().count("2.0.0") == 1


def test_everything_is_reached_by_keyboard_alone(visit: Visit, served: DaemonProcess, port: int) -> None:
    page = visit(served, port, "olga", "operator")
    live(page)
    keys = page.keyboard
    keys.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    keys.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    keys.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    keys.type("web")
    expect(page.locator("#shown")).to_have_text("1 of 2")
    focus(page, "#c-production-web a")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    keys.press("Enter")
    page.wait_for_url("**/ui/service/production/web")
    focus(page, "#d-hold summary")
    keys.press("Enter")
    focus(page, "#hold-reason")
    keys.type("the database moves")
    keys.press("Tab")
    keys.type("a day")
    keys.press("Tab")
    keys.press("Enter")
    expect(page.locator("#act")).to_contain_text("Held by olga: the database moves")
    focus(page, "#act form[action='/ui/act/holds/release'] button")
    keys.press("Enter")
    expect(page.locator("#act")).not_to_contain_text("the database moves")


def focus(page: Page, selector: str) -> None:
    """Go there by Tab."""
    for _ in range(60):
        if page.evaluate("(one) => document.activeElement?.matches(one)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} is not reached by Tab")


def test_what_somebody_is_writing_stays_while_the_page_changes(
    visit: Visit, served: DaemonProcess, fleet: World, port: int
) -> None:
    page = visit(served, port)
    page.goto(f"http://127.0.0.1:{port}/ui/service/production/api")
    live(page)
    page.get_by_text("Roll back", exact=True).click()
    page.get_by_label("Why", exact=True).fill("orders are lost")
    fleet.bump("1.3.0", deadline=PATIENT)
    expect(page.locator("#head .v")).to_have_text("1.3.0")
    expect(page.locator("#history tbody tr").first).to_contain_text("succeeded")
    expect(page.get_by_label("Why", exact=True)).to_have_value("orders are lost")
    page.get_by_role("button", name="Roll api back").click()
    expect(page.locator(".notice")).to_contain_text("It is being taken back")
    expect(page.locator("#head .v")).to_have_text("1.1.0")
    expect(page.locator("#history tbody tr").first).to_contain_text("reverted")


def test_it_comes_back_by_itself_after_the_daemon_was_away(visit: Visit, tmp_path: Path) -> None:
    port = free_port()
    with a_world(tmp_path) as world:
        world.settings_more = f'listen: "127.0.0.1:{port}"\n'
        world.deploy_first("1.0.0", "api")
        with daemon(world) as running:
            running.until_runs("1.0.0")
            page = visit(running, port, away=True)
            live(page)
            page.evaluate("window.neverLoadedAgain = true")
            running.stop()
            page.wait_for_selector("#live[data-state=off]")
        world.bump("1.1.0", deadline=PATIENT)
        with daemon(world):
            live(page)
            at_rest(page, "1.1.0")
            assert page.evaluate("window.neverLoadedAgain")


def test_who_signs_out_is_out(visit: Visit, served: DaemonProcess, port: int) -> None:
    page = visit(served, port)
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    page.goto(f"http://127.0.0.1:{port}/")
    page.wait_for_url("**/login")
