"""The page of flags: what is set where, by whom and since when, and a switch of it by a commit."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from reconciler.api.web.flags import rule_text
from tests.api.network import call, token_for
from tests.api.test_routes import ask
from tests.api.web.visitor import Visitor
from tests.daemon_process import DaemonProcess, daemon
from tests.drivers.services import free_port
from tests.world import World, a_world

DECLARED = """\
flags:
  checkout: {default: false, live: true, description: "One <b>page</b>."}
  style: {default: plain, live: true}
  workers: {default: 4}
"""
SET = """\
flags:
  checkout:
    rules:
      - when: {email: {ends_with: "@example.org"}}
        value: true
      - {value: true, percent: 20}
"""
FLAGS = "/ui/flags"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[World]:
    with a_world(tmp_path_factory.mktemp("flags")) as world:
        world.settings_more = f'listen: "127.0.0.1:{port}"\n'
        world.more = SET
        world.release("1.0.0", more=DECLARED)
        world.release("1.0.0", service="web", more="flags: {of-web: {default: true, live: true}}\n")
        world.pin("1.0.0")
        world.pin("1.0.0", "web")
        world.merge("Start")
        yield world


@pytest.fixture(scope="module")
def served(fleet: World) -> Iterator[DaemonProcess]:
    with daemon(fleet) as running:
        running.until_runs("1.0.0")
        running.until_runs("1.0.0", "web")
        running.until(lambda: len(ask(running, "GET", "/flags").body["flags"]) == 4)
        yield running


@pytest.fixture(scope="module")
def olga(served: DaemonProcess, port: int) -> Visitor:
    return Visitor(port, token_for(served, "olga", "operator"))


def form(visitor: Visitor, flag: str, **more: str) -> dict[str, str]:
    here = {"csrf": visitor.get(FLAGS).csrf, "back": FLAGS, "environment": "production", "flag": flag}
    return here | {"reason": "it sells"} | more


def entries(page: str) -> dict[str, str]:
    """By flag, the words of its entry."""
    found = re.findall(r'<article class="release flag-entry">(.*?)</article>', page, re.DOTALL)
    words = [" ".join(re.sub(r"<[^>]*>", " ", one).split()) for one in found]
    return {one.split()[0]: one for one in words}


def test_it_says_who_gets_what_since_when_and_by_which_commit(
    olga: Visitor, fleet: World, served: DaemonProcess
) -> None:
    page = olga.get(FLAGS)
    assert 'href="/ui/flags" aria-current="page"' in page.text
    found = entries(page.text)
    assert found.keys() == {"checkout", "of-web", "style", "workers"}
    checkout = found["checkout"]
    for words in ("false live", "Variants false, true", "Of api", "Everybody gets false", "Default false"):
        assert words in checkout, checkout
    assert "where email ends_with [&#34;@example.org&#34;]: true" in checkout
    assert "true for 20 %, false" not in checkout
    assert "true for 20 %, shared out by targetingKey" in checkout
    assert fleet.tip()[:12] in checkout
    assert "One &lt;b&gt;page&lt;/b&gt;." in checkout
    assert "4 given to processes" in found["workers"]
    assert entries(olga.get(f"{FLAGS}?q=STY").text).keys() == {"style"}
    assert "No release that is pinned declares a flag of that name" in olga.get(f"{FLAGS}?q=none").words
    assert entries(olga.get(f"{FLAGS}?environment=nowhere").text) == {}


def test_who_sees_one_service_sees_its_flags_alone_and_who_only_sees_switches_none(
    served: DaemonProcess, port: int, olga: Visitor
) -> None:
    of_web = token_for(served, "sue", "operator", environments=("production",), services=("web",))
    sue, vic = Visitor(port, of_web), Visitor(port, token_for(served, "vic", "viewer"))
    assert entries(sue.get(FLAGS).text).keys() == {"of-web"}
    assert "checkout" not in sue.get(FLAGS).text
    assert "/ui/act/flags/set" in sue.get(FLAGS).text
    assert "/ui/act/flags/set" not in vic.get(FLAGS).text
    for visitor, flag, status in ((sue, "checkout", 409), (vic, "checkout", 403)):
        refused = visitor.post(
            "/ui/act/flags/set", form(olga, flag, csrf=visitor.get("/").csrf, value="true")
        )
        assert refused.status == status
    both = {"environment": "production", "flag": "checkout", "value": "true"}
    hidden = call(port, "POST", "/flags/set", both, token=of_web)
    gone = call(port, "POST", "/flags/set", both | {"flag": "nothing"}, token=of_web)
    assert (hidden.status, gone.status) == (409, 409)
    assert hidden.body["remedy"] == gone.body["remedy"] == "it has of-web"


def test_a_flag_is_switched_and_unset_from_the_page(
    olga: Visitor, served: DaemonProcess, fleet: World
) -> None:
    before = fleet.tip()
    forged = olga.post("/ui/act/flags/set", form(olga, "style", csrf="0" * 64, value="fancy"))
    assert forged.status == 403
    wrong = olga.post("/ui/act/flags/set", form(olga, "workers", value="many"))
    assert wrong.status == 422
    assert "write it like its default, 4" in wrong.words
    assert fleet.tip() == before
    done = olga.post("/ui/act/flags/set", form(olga, "style", value="fancy"))
    assert (done.status, done.to) == (303, f"{FLAGS}?said=flag")
    assert "It stands so in Git." in olga.get(done.to).words
    served.until(lambda: "Everybody gets &#34;fancy&#34;" in entries(olga.get(FLAGS).text)["style"])
    assert fleet.tip()[:12] in entries(olga.get(FLAGS).text)["style"]
    [row] = ask(served, "GET", "/audit?event=flag-set").body["rows"]
    assert (row["actor"], row["environment"]) == ("olga", "production")
    assert fleet.tip() in row["detail"]
    assert row["detail"].endswith(": it sells")
    # So many percent more, and then nothing is set any more.
    assert olga.post("/ui/act/flags/set", form(olga, "checkout", value="true", percent="50")).status == 303
    served.until(lambda: "true for 50 %" in entries(olga.get(FLAGS).text)["checkout"])
    assert olga.post("/ui/act/flags/unset", form(olga, "style")).status == 303
    served.until(lambda: "Everybody gets &#34;plain&#34;" in entries(olga.get(FLAGS).text)["style"])


def test_the_api_answers_with_the_commit_and_null_where_it_stands_so(
    served: DaemonProcess, fleet: World
) -> None:
    wanted = {"environment": "production", "flag": "of-web", "value": "off"}
    first = ask(served, "POST", "/flags/set", wanted)
    assert first.body == {"commit": fleet.tip()}
    assert ask(served, "POST", "/flags/set", wanted).body == {"commit": None}
    assert ask(served, "POST", "/flags/set", wanted | {"percent": 101}).status == 400
    unset = ask(served, "POST", "/flags/unset", {"environment": "production", "flag": "of-web"})
    assert unset.body == {"commit": fleet.tip()}


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"when": {}, "split": [{"value": True, "percent": 100.0}], "by": "k"}, "true"),
        (
            {"when": {"age": {"at_least": 18}}, "split": [{"value": "a", "percent": 100.0}], "by": "k"},
            'where age at_least 18: "a"',
        ),
        (
            {
                "when": {},
                "split": [{"value": 1, "percent": 25.0}, {"value": 2, "percent": 75.0}],
                "by": "shop",
            },
            "1 for 25 %, 2 for 75 %, shared out by shop",
        ),
    ],
)
def test_a_rule_is_told_in_words(rule: dict[str, object], told: str) -> None:
    assert rule_text(rule) == told
