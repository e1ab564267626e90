"""How the pages look: on a phone, in the dark, without a script, to assistive technology; and the docs' screenshots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from reconciler.model.probed import NONE, Rollup
from reconciler.store import ProbeHour, Store
from tests.api.test_routes import ask
from tests.browser.conftest import DESK, PHONE, WAIT_MS, Visit, live
from tests.browser.scene import PATIENT, build, let_one_wait
from tests.daemon_process import PROJECT, DaemonProcess, daemon
from tests.drivers.services import free_port
from tests.world import World, a_world

expect.set_options(timeout=WAIT_MS)
DOCS = PROJECT / "docs"
PAGES = (
    "/",
    "/ui/service/production/search",
    "/ui/plan",
    "/ui/flags",
    "/ui/calendar?environment=production",
    "/ui/audit",
)
NARROW_PX = 320
"""The narrowest that WCAG 2.2 asks for without scrolling sideways."""


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[World]:
    with a_world(tmp_path_factory.mktemp("looks")) as world:
        build(world, port)
        yield world


@pytest.fixture(scope="module")
def served(fleet: World) -> Iterator[DaemonProcess]:
    remember_probes(fleet)
    with daemon(fleet) as running:
        for service in ("api", "billing", "search", "web", "worker"):
            running.until_runs("1.4.0", service)
        fleet.bump("1.4.1", service="api", deadline=PATIENT)
        running.until_runs("1.4.1")
        let_one_wait(fleet)
        running.until(lambda: (running.service("search") or {})["phase"] == "waiting")
        fleet.bump("1.4.2", "unhealthy", service="billing", deadline=PATIENT)
        running.until(fleet.reverts)
        running.until_runs("1.4.0", "billing")
        yield running


def remember_probes(fleet: World) -> None:
    """A week of billing's probes, as if it had been watched for so long: with a bad night in it."""
    random, now = Random(5), datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    batch = {}
    for ago in range(1, 7 * 24):
        hour, bad = now - timedelta(hours=ago), ago in (15, 16)
        slow_s = random.uniform(0.3, 0.8) if bad else 0.02 + 0.015 * random.random()
        counts = [0] * len(NONE)
        counts[5 if not bad else 6], counts[3] = 100, 560
        failed = random.randint(20, 90) if bad else 0
        rollup = Rollup(660 + failed, failed, 0, slow_s * 330, slow_s * 3, tuple(counts))
        batch[ProbeHour("production", "billing", "http://127.0.0.1:{port}/healthz", hour)] = rollup
        batch[ProbeHour("production", "billing", "process", hour)] = Rollup(720)
    fleet.state.mkdir(mode=0o700)
    with closing(Store(fleet.state / "ugs.db", now=lambda: datetime.now(UTC))) as store:
        store.add_probed(batch)


def sideways(page: Page) -> list[str]:
    """What reaches beyond the right edge, where the page can be scrolled to it."""
    found: list[str] = page.evaluate("""() => {
      const wide = document.documentElement.clientWidth;
      if (document.documentElement.scrollWidth <= wide) return [];
      return [...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > wide)
        .map((one) => one.outerHTML.slice(0, 100));
    }""")
    return found


def reverted(page: Page, port: int) -> str:
    """The address of the upgrade of billing that was reverted."""
    page.goto(f"http://127.0.0.1:{port}/ui/audit?event=reverted&service=billing")
    link = page.locator("#rows tbody a").first.get_attribute("href")
    assert link
    return link


def test_no_page_scrolls_sideways_on_a_phone(visit: Visit, served: DaemonProcess, port: int) -> None:
    page = visit(served, port, viewport=PHONE, has_touch=True)
    for path in (*PAGES, reverted(page, port)):
        for width in (PHONE["width"], NARROW_PX):
            page.set_viewport_size({"width": width, "height": PHONE["height"]})
            page.goto(f"http://127.0.0.1:{port}{path}")
            assert sideways(page) == [], (path, width)
    page.set_viewport_size(DESK)  # type: ignore[arg-type]  # a dict of the two
    for path in (*PAGES, "/ui/service/production/billing"):
        page.goto(f"http://127.0.0.1:{port}{path}")
        assert sideways(page) == [], path


def test_the_theme_is_the_systems_until_somebody_chooses(
    visit: Visit, served: DaemonProcess, port: int
) -> None:
    page = visit(served, port, color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(ground)
    assert dark != light
    page.get_by_role("button", name="Change between light and dark").click()
    assert page.evaluate(ground) == dark
    page.reload()
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Change between light and dark").click()
    assert page.evaluate(ground) == light


def test_it_is_read_without_a_script(visit: Visit, served: DaemonProcess, port: int) -> None:
    page = visit(served, port, java_script_enabled=False)
    expect(page.locator("#c-production-search")).to_contain_text("waits for approval")
    expect(page.locator("#theme")).to_be_hidden()
    expect(page.locator("#live")).to_be_hidden()
    page.get_by_role("searchbox").fill("web")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#fleet tbody tr")).to_have_count(1)
    page.goto(f"http://127.0.0.1:{port}/ui/service/production/web")
    page.get_by_text("Hold", exact=True).click()
    page.get_by_label("Why nothing may start").fill("by hand")
    page.get_by_role("button", name="Hold web").click()
    expect(page.locator("#act")).to_contain_text("by hand")
    page.get_by_role("button", name="Release the hold").click()
    expect(page.locator(".notice")).to_contain_text("released")


def test_a_flag_that_is_switched_is_seen_at_once(visit: Visit, served: DaemonProcess, port: int) -> None:
    page = visit(served, port)
    page.goto(f"http://127.0.0.1:{port}/ui/flags")
    live(page)
    expect(page.locator("#flags")).to_contain_text("true for 20 %")
    page.evaluate("window.neverLoadedAgain = true")
    wanted = {"environment": "production", "flag": "new-checkout", "value": "on", "percent": 50}
    assert ask(served, "POST", "/flags/set", wanted).status == 200
    expect(page.locator("#flags")).to_contain_text("true for 50 %")
    assert page.evaluate("window.neverLoadedAgain")
    page.get_by_text("Switch new-checkout in production").click()
    page.get_by_label("Value: true or false").first.select_option("true")
    page.get_by_label("For so many percent").fill("20")
    page.get_by_label("Why").first.fill("as it was")
    page.get_by_role("button", name="Switch new-checkout").click()
    expect(page.locator(".notice").first).to_contain_text("It stands so in Git.")
    expect(page.locator("#flags")).to_contain_text("true for 20 %")


def test_every_field_and_table_says_what_it_is(visit: Visit, served: DaemonProcess, port: int) -> None:
    page = visit(served, port)
    for path in (*PAGES, reverted(page, port)):
        page.goto(f"http://127.0.0.1:{port}{path}")
        nameless = page.evaluate("""() => [...document.querySelectorAll('input, select, button, a')]
          .filter((one) => one.type !== 'hidden')
          .filter((one) => !(one.labels?.length || one.textContent.trim() || one.ariaLabel))
          .map((one) => one.outerHTML)""")
        assert nameless == [], path
        headless = page.evaluate("""() => [...document.querySelectorAll('th')]
          .filter((one) => !one.scope).map((one) => one.outerHTML)""")
        assert headless == [], path
        assert page.locator("h1").count() == 1, path
        doubled = page.evaluate("""() => { const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
          return ids.filter((one, index) => ids.indexOf(one) !== index); }""")
        assert doubled == [], path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_a_rule_of_accessibility(
    visit: Visit, served: DaemonProcess, port: int, scheme: str
) -> None:
    """By axe-core, with all that can be opened open: WCAG 2.2 at level AA, and what is good practice beside it."""
    page = visit(served, port, color_scheme=scheme, reduced_motion="reduce")
    more = ("/ui/service/production/billing?span=7d", "/ui/plan?branch=none", "/ui/audit?text=none")
    for path in (*PAGES, *more, reverted(page, port)):
        page.goto(f"http://127.0.0.1:{port}{path}")
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert grave(page) == [], path
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login")
    assert grave(page) == []


def grave(page: Page) -> list[str]:
    """What axe-core calls serious or critical: the rule, and where it is broken."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {one['help']}: {', '.join(str(node['target']) for node in one['nodes'][:5])}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def test_who_wants_no_motion_gets_none(visit: Visit, served: DaemonProcess, port: int) -> None:
    page = visit(served, port, reduced_motion="reduce")
    moving = page.evaluate("""() => [...document.querySelectorAll('*')]
      .filter((one) => getComputedStyle(one).animationName !== 'none').length""")
    assert moving == 0


def test_the_screenshots_of_the_docs(visit: Visit, served: DaemonProcess, fleet: World, port: int) -> None:
    """They are kept as they are, unless somebody removes one: each run would draw them a little otherwise."""
    page = visit(served, port, device_scale_factor=1.5)
    address = reverted(page, port)
    page.goto(f"http://127.0.0.1:{port}/")
    live(page)
    fleet.ada.pull_if_any()
    fleet.pin("1.4.2", "billing")  # by hand, once more: it stays quarantined
    fleet.bump("1.4.1", service="web", soak="5m", deadline="6m")
    expect(page.locator("#c-production-search.waiting")).to_be_visible()
    expect(page.locator("#c-production-billing.bad")).to_be_visible()
    expect(page.locator("#c-production-web.moving")).to_contain_text("verifying")
    _draw(page, "dashboard.png")
    page.emulate_media(color_scheme="dark")
    _draw(page, "dashboard-dark.png")
    page.goto(f"http://127.0.0.1:{port}{address}")
    page.wait_for_selector("#timeline")
    _draw(page, "dashboard-upgrade.png")
    page.emulate_media(color_scheme="light")
    page.goto(f"http://127.0.0.1:{port}/ui/service/production/search")
    live(page)
    _draw(page, "dashboard-service.png")
    page.goto(f"http://127.0.0.1:{port}/ui/service/production/billing")
    page.locator("#health").scroll_into_view_if_needed()
    _draw(page, "dashboard-probes.png")
    page.goto(f"http://127.0.0.1:{port}/ui/flags")
    _draw(page, "dashboard-flags.png")
    page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    page.goto(f"http://127.0.0.1:{port}/")
    live(page)
    _draw(page, "dashboard-phone.png")


def _draw(page: Page, name: str) -> None:
    path = DOCS / name
    picture = page.screenshot()
    assert picture.startswith(b"\x89PNG")
    if not path.exists():
        path.write_bytes(picture)
