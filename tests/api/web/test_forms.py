"""Forms on the page of a change that only a person starts: who is offered what, and what comes of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

import pytest

from tests.api.network import token_for
from tests.api.test_routes import ask
from tests.api.web.visitor import Visitor
from tests.browser.scene import PATIENT
from tests.daemon_process import DaemonProcess, daemon
from tests.drivers.services import free_port
from tests.world import World, a_world

API = "/ui/service/production/api"
WHERE = {"environment": "production", "service": "api"}


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[World]:
    with a_world(tmp_path_factory.mktemp("forms")) as world:
        world.settings_more = f'listen: "127.0.0.1:{port}"\n'
        world.more = "timezone: UTC\nwindows: {major: manual}\n"
        world.deploy_first("1.0.0")
        yield world


@pytest.fixture(scope="module")
def served(fleet: World) -> Iterator[DaemonProcess]:
    """1.0.0 runs, and 2.0.0 waits for a person; ada has overridden a gate."""
    with daemon(fleet) as running:
        running.until_runs("1.0.0")
        fleet.bump("2.0.0", deadline=PATIENT)
        running.until(lambda: (seen := running.service()) and seen["phase"] == "waiting")
        wanted = WHERE | {"gate": "freeze", "reason": "orders <b>are</b> lost", "for": "1h"}
        assert ask(running, "POST", "/overrides", wanted, actor=b"ada").status == 200
        yield running


def somebody(served: DaemonProcess, port: int, name: str, role: str) -> Visitor:
    return Visitor(port, token_for(served, name, role))


def form(visitor: Visitor, **more: str) -> dict[str, str]:
    return {"csrf": visitor.get(API).csrf, "back": API} | more


def offered(visitor: Visitor) -> set[str]:
    return set(re.findall(r'action="/ui/act(/[\w/]+)"', visitor.get(API).text))


def test_who_may_start_is_offered_to_start_and_who_may_approve_to_confirm(
    served: DaemonProcess, port: int
) -> None:
    mine = {"/upgrade/execute", "/overrides/confirm"}
    assert offered(somebody(served, port, "vic", "viewer")) & mine == set()
    assert offered(somebody(served, port, "olga", "operator")) & mine == {"/upgrade/execute"}
    assert offered(somebody(served, port, "bo", "approver")) & mine == {"/overrides/confirm"}
    assert offered(somebody(served, port, "ann", "admin")) & mine == mine
    # Who has made it does not confirm it, whatever his role is.
    assert offered(somebody(served, port, "ada", "admin")) & mine == {"/upgrade/execute"}


def test_an_override_is_confirmed_by_somebody_else(served: DaemonProcess, port: int) -> None:
    bo = somebody(served, port, "bo", "approver")
    page = bo.get(API)
    assert "The gate freeze is overridden by ada : orders <b>are</b> lost" in page.words
    assert "a second person has yet to confirm it" in page.words
    [number] = re.findall(r'confirm">.*?name="id" value="(\d+)"', page.text, re.DOTALL)
    for visitor, more, status, words in (
        (bo, {"csrf": "0" * 64}, 403, "another session"),
        (somebody(served, port, "olga", "operator"), {}, 403, "may not do this"),
        (somebody(served, port, "ada", "approver"), {}, 409, "somebody else confirms it"),
    ):
        refused = visitor.post("/ui/act/overrides/confirm", form(visitor, id=number) | more)
        assert refused.status == status
        assert words in refused.words
    done = bo.post("/ui/act/overrides/confirm", form(bo, id=number))
    assert (done.status, done.to) == (303, f"{API}?said=confirmed")
    words = bo.get(done.to).words
    assert "The override is confirmed." in words
    assert "confirmed by bo" in words
    assert "/overrides/confirm" not in offered(bo)
    [row] = ask(served, "GET", "/overrides").body["overrides"]
    assert (row["by"], row["confirmed_by"]) == ("ada", "bo")


def test_a_change_is_started_from_the_page_with_its_reason(served: DaemonProcess, port: int) -> None:
    olga, bo = somebody(served, port, "olga", "operator"), somebody(served, port, "bo", "approver")
    assert "1.0.0 → 2.0.0 starts when somebody says so." in olga.get(API).words
    wanted = WHERE | {"reason": "the shop is closed"}
    for visitor, more in ((olga, {"csrf": ""}), (bo, {})):
        assert visitor.post("/ui/act/upgrade/execute", form(visitor, **wanted) | more).status == 403
    nested = olga.post("/ui/act/upgrade/execute", form(olga, override="freeze", **wanted))
    assert nested.status == 400  # to pass by a gate is no matter of this form
    assert served.service()["phase"] == "waiting"
    done = olga.post("/ui/act/upgrade/execute", form(olga, **wanted))
    assert (done.status, done.to) == (303, f"{API}?said=started")
    assert "It starts now." in olga.get(done.to).words
    served.until_runs("2.0.0")
    served.until(lambda: (seen := served.service()) and seen["phase"] is None)
    assert "/upgrade/execute" not in offered(olga)
    rows = ask(served, "GET", "/audit?actor=olga&text=closed").body["rows"]
    assert [row["detail"] for row in rows if "the shop is closed" in row["detail"]]
    # Once it has ended, nothing is planned any more.
    late = olga.post("/ui/act/upgrade/execute", form(olga, **wanted))
    assert late.status == 409
    assert "nothing is planned for api" in late.words


def test_each_phase_is_told_with_how_long_it_took(served: DaemonProcess, port: int) -> None:
    served.until_runs("2.0.0")
    served.until(lambda: (seen := served.service()) and seen["phase"] is None)
    [newest, _] = ask(served, "GET", "/upgrade/history?service=api").body["upgrades"]
    phases = [one["phase"] for one in newest["phases"]]
    assert phases == ["waiting", "preparing", "applying", "verifying"]
    assert all(one["lasted_s"] >= 0 for one in newest["phases"])
    left_at, ended_at = (
        datetime.fromisoformat(one) for one in (newest["phases"][-1]["left_at"], newest["ended_at"])
    )
    assert abs((left_at - ended_at).total_seconds()) < 1  # each has a clock's reading of its own
    told = ask(served, "GET", f"/upgrade/status?operation={newest['operation']}").body["upgrade"]
    assert told["phases"] == newest["phases"]
    visitor = somebody(served, port, "vic", "viewer")
    words = visitor.get(f"/ui/upgrade/{newest['operation']}").words
    assert re.search(
        r"How long each phase took waiting [\d.]+ s preparing [\d.]+ s applying [\d.]+ s verifying [\d.]+ s",
        words,
    )
