"""A real OpenFeature client, over a real port, against a real daemon; and what the protocol says beside that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from tests.api.network import Reply, call, token_for
from tests.api.test_routes import ask
from tests.daemon_process import DaemonProcess, daemon
from tests.world import World, a_world

DECLARED = """\
flags:
  new-checkout: {default: false, live: true, description: The checkout in one page.}
  style: {default: plain, live: true}
  retries: {default: 3, live: true}
  rate: {default: 0.5, live: true}
  banner: {default: {text: "", color: blue}, live: true}
  shared: {default: nobody, live: true}
  handed: {default: cold}
"""
SET = """\
flags:
  new-checkout:
    rules:
      - when: {email: {ends_with: "@example.org"}}
        value: true
      - {value: true, percent: 20}
  style: fancy
  rate: 2
  banner: {value: {text: "Sale!", color: red}}
  handed: warm
"""
ONE, ALL = "/flags/production/ofrep/v1/evaluate/flags/", "/flags/production/ofrep/v1/evaluate/flags"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[World]:
    with a_world(tmp_path_factory.mktemp("ofrep")) as world:
        world.settings_more = f'listen: "127.0.0.1:{port}"\n'
        world.release("1.0.0", more=DECLARED)
        world.release("1.0.0", service="web", more="flags: {of-web: {default: true, live: true}}\n")
        world.pin("1.0.0")
        world.pin("1.0.0", "web")
        world.more = SET
        world.merge("Start")
        yield world


@pytest.fixture(scope="module")
def served(fleet: World) -> Iterator[DaemonProcess]:
    with daemon(fleet) as running:
        running.until_runs("1.0.0")
        running.until_runs("1.0.0", "web")
        yield running


@pytest.fixture(scope="module")
def token(served: DaemonProcess) -> str:
    return token_for(served, "shop", "viewer", environments=("production",))


@pytest.fixture(scope="module")
def client(token: str, port: int) -> Iterator[OpenFeatureClient]:
    provider = OFREPProvider(
        f"http://127.0.0.1:{port}/flags/production",
        headers_factory=lambda: {"Authorization": f"Bearer {token}"},
        timeout=30.0,
    )
    api.set_provider(provider, "shop")
    yield api.get_client("shop")
    provider.session.close()


def post(port: int, path: str, body: object, token: str | None, **headers: str) -> Reply:
    return call(port, "POST", path, body, token=token, headers=headers)


def about(key: str | None, **attributes: Any) -> EvaluationContext:
    return EvaluationContext(key, attributes)


def test_every_type_is_read_as_what_it_is(client: OpenFeatureClient) -> None:
    assert client.get_string_value("style", "none") == "fancy"
    assert client.get_integer_value("retries", 0) == 3
    assert client.get_float_value("rate", 0.0) == 2.0
    assert client.get_object_value("banner", {}) == {"text": "Sale!", "color": "red"}
    assert client.get_boolean_value("of-web", False) is True


def test_a_client_is_told_why(client: OpenFeatureClient, fleet: World) -> None:
    found = client.get_string_details("style", "none")
    assert (found.variant, found.reason) == ("fancy", Reason.STATIC)
    assert found.flag_metadata == {"environment": "production", "revision": fleet.tip(), "live": True}
    assert client.get_integer_details("retries", 0).reason == Reason.DEFAULT


def test_targeting_goes_by_what_the_client_says(client: OpenFeatureClient) -> None:
    found = client.get_boolean_details("new-checkout", False, about("x", email="ada@example.org"))
    assert (found.value, found.variant, found.reason) == (True, "on", Reason.TARGETING_MATCH)
    found = client.get_boolean_details("new-checkout", False, about("x", email="ada@example.com"))
    assert found.reason in {Reason.SPLIT, Reason.DEFAULT}


def test_a_percentage_of_people_gets_it_and_the_same_ones_again(client: OpenFeatureClient) -> None:
    def chosen() -> set[str]:
        people = [f"person-{number}" for number in range(200)]
        return {one for one in people if client.get_boolean_value("new-checkout", False, about(one))}

    first = chosen()
    assert 20 < len(first) < 60  # 20 % of 200, give or take
    assert chosen() == first


def test_who_cannot_be_placed_gets_the_default_of_the_code(client: OpenFeatureClient) -> None:
    found = client.get_boolean_details("new-checkout", True)
    assert (found.value, found.error_code) == (True, ErrorCode.TARGETING_KEY_MISSING)


def test_what_is_not_there_or_of_another_type_is_the_default_of_the_code(client: OpenFeatureClient) -> None:
    found = client.get_string_details("stlye", "mine")
    assert (found.value, found.error_code) == ("mine", ErrorCode.FLAG_NOT_FOUND)
    assert "production has no flag stlye" in (found.error_message or "")
    other = client.get_boolean_details("style", False)
    assert (other.value, other.error_code) == (False, ErrorCode.TYPE_MISMATCH)
    slash = client.get_string_details("a/../b?c", "mine")
    assert (slash.value, slash.error_code) == ("mine", ErrorCode.FLAG_NOT_FOUND)


def test_a_flag_that_processes_are_given_is_answered_too(client: OpenFeatureClient) -> None:
    found = client.get_string_details("handed", "none")
    assert (found.value, found.flag_metadata["live"]) == ("warm", False)


def test_all_at_once_with_an_entity_tag(served: DaemonProcess, token: str, port: int) -> None:
    body = {"context": {"targetingKey": "ada"}}
    reply = post(port, ALL, body, token)
    assert reply.status == 200
    assert [one["key"] for one in reply.body["flags"]] == [
        "banner", "handed", "new-checkout", "of-web", "rate", "retries", "shared", "style",
    ]  # fmt: skip
    assert all(one.keys() == {"key", "value", "variant", "reason", "metadata"} for one in reply.body["flags"])
    tag = reply.headers["ETag"]
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        again = post(port, ALL, body, token, **{"If-None-Match": known})
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    assert post(port, ALL, body, token, **{"If-None-Match": '"other"'}).status == 200
    someone = {"context": {"targetingKey": "ada", "email": "ada@example.org"}}
    assert post(port, ALL, someone, token, **{"If-None-Match": tag}).status == 200


def test_of_all_at_once_only_what_fails_fails(served: DaemonProcess, token: str, port: int) -> None:
    reply = post(port, ALL, {}, token)
    [failed] = [one for one in reply.body["flags"] if "errorCode" in one]
    assert (failed["key"], failed["errorCode"]) == ("new-checkout", "TARGETING_KEY_MISSING")
    assert reply.status == 200


def test_over_the_socket_and_without_a_path_where_there_is_one_environment(
    served: DaemonProcess, token: str, port: int
) -> None:
    answers = [
        ask(served, "POST", f"{ONE}style", {}).body,
        ask(served, "POST", "/ofrep/v1/evaluate/flags/style", {}).body,
        post(port, "/ofrep/v1/evaluate/flags/style", None, token).body,
    ]
    assert [one["value"] for one in answers] == ["fancy"] * 3


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "PARSE_ERROR"),
        (b"\xff", 400, "PARSE_ERROR"),
        (b"[" * 50_000, 400, "PARSE_ERROR"),
        ([], 400, "PARSE_ERROR"),
        ({"context": 3}, 400, "INVALID_CONTEXT"),
        ({"context": {"targetingKey": 3}}, 400, "INVALID_CONTEXT"),
        ({"context": {"x": "y" * 70_000}}, 413, "PARSE_ERROR"),
    ],
)
def test_what_cannot_be_read_is_refused_in_the_protocols_words(
    served: DaemonProcess, token: str, port: int, body: object, status: int, code: str
) -> None:
    one, everything = post(port, f"{ONE}style", body, token), post(port, ALL, body, token)
    assert (one.status, one.body["key"], one.body["errorCode"]) == (status, "style", code)
    assert (everything.status, everything.body["errorCode"]) == (status, code)
    assert one.body["errorDetails"]


def test_nobody_is_answered_without_a_token(served: DaemonProcess, port: int) -> None:
    for path in (f"{ONE}style", ALL, "/ofrep/v1/evaluate/flags"):
        reply = post(port, path, {}, None)
        assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert "token" in reply.body["errorDetails"]


def test_an_environment_that_is_not_yours_looks_as_if_it_were_not_there(
    served: DaemonProcess, port: int
) -> None:
    elsewhere = token_for(served, "other", "viewer", environments=("staging",))
    for path in (f"{ONE}style", ALL):
        replies = [
            post(port, path.replace("production", name), {}, elsewhere) for name in ("production", "nowhere")
        ]
        assert [reply.status for reply in replies] == [404, 404]
        shown = [str(reply.body).replace("nowhere", "production") for reply in replies]
        assert shown[0] == shown[1]
    assert post(port, "/ofrep/v1/evaluate/flags", {}, elsewhere).status == 404


def test_who_sees_one_service_sees_its_flags_alone(served: DaemonProcess, port: int) -> None:
    local = token_for(served, "web", "viewer", services=("web",))
    assert [one["key"] for one in post(port, ALL, {}, local).body["flags"]] == ["of-web"]
    reply = post(port, f"{ONE}style", {}, local)
    assert (reply.status, reply.body["errorCode"]) == (404, "FLAG_NOT_FOUND")
    listed = call(port, "GET", "/flags", token=local).body["flags"]
    assert [one["flag"] for one in listed] == ["of-web"]
    asked = {"environment": "production", "flag": "style"}
    reply = call(port, "POST", "/flags/evaluate", asked, token=local)
    assert (reply.status, reply.body["remedy"]) == (409, "it has of-web")


def test_the_configuration_says_who_serves(served: DaemonProcess, token: str, port: int) -> None:
    reply = call(port, "GET", "/flags/production/ofrep/v1/configuration", token=token)
    assert (reply.status, reply.body["name"]) == (200, "ugs")
    tag = {"If-None-Match": reply.headers["ETag"]}
    assert call(port, "GET", "/ofrep/v1/configuration", token=token, headers=tag).status == 304


def test_whoever_guesses_tokens_is_told_to_wait(served: DaemonProcess, port: int) -> None:
    """The last one: this address has to wait then, whoever asks from it."""
    replies = [post(port, f"{ONE}style", {}, "guessed") for _ in range(80)]
    late = [reply for reply in replies if reply.status == 429]
    assert {reply.status for reply in replies} == {401, 429}
    assert int(late[0].headers["Retry-After"]) > 0
    assert (late[0].body["key"], late[0].body["errorCode"]) == ("style", "GENERAL")
