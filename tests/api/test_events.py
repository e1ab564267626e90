"""`/events`: what a subscriber hears, how soon, from where, and when it ends."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.api.event_stream import EventStream
from tests.api.network import call, token_for
from tests.api.test_routes import ask
from tests.daemon_process import DaemonProcess, daemon
from tests.drivers.services import free_port
from tests.world import World, a_world

TOGETHER_MAX_S = 0.1


def held(served: DaemonProcess, reason: str = "me") -> Any:
    """A hold, made and released: two rows of the audit."""
    made = ask(
        served, "POST", "/holds", {"environment": "production", "service": "api", "reason": reason}
    ).body
    ask(served, "POST", "/holds/release", {"id": made["id"]})
    return made


def test_a_change_reaches_a_subscriber_within_a_tenth_of_a_second(served: DaemonProcess, port: int) -> None:
    with EventStream(port, token_for(served, "ann", "viewer")) as stream:
        assert stream.answer.headers["Content-Type"].startswith("text/event-stream")
        stream.until("ready")
        took_s = []
        for round_ in range(5):  # the machine may be busy with something else for a moment
            began_s = time.monotonic()
            hold = {"environment": "production", "service": "api", "reason": f"round {round_}"}
            made = ask(served, "POST", "/holds", hold).body
            event = stream.until("change", event="held")
            took_s.append(time.monotonic() - began_s)
            assert event.data.keys() == {
                "id", "at", "event", "environment", "service", "operation", "actor", "detail"
            }  # fmt: skip
            assert event.id == str(event.data["id"])
            assert f"round {round_}" in event.data["detail"]
            ask(served, "POST", "/holds/release", {"id": made["id"]})
        assert min(took_s) < TOGETHER_MAX_S


def test_who_comes_back_hears_what_he_missed_and_hears_it_once(served: DaemonProcess, port: int) -> None:
    token = token_for(served, "ann", "viewer")
    with EventStream(port, token) as stream:
        last = stream.until("ready").id
    held(served)
    with EventStream(port, token, last=last) as stream:
        heard = []
        for event in stream:
            heard.append(event)
            if event.name == "ready":
                break
        assert [event.data["event"] for event in heard if event.name == "change"] == ["held", "hold-released"]
        numbers = [int(event.id) for event in heard[:-1]]
        assert numbers == sorted(set(numbers))
        assert int(heard[-1].id) == numbers[-1]
        held(served, "again")
        assert int(stream.until("change").id) == int(heard[-1].id) + 1


@pytest.mark.parametrize("last", ["999999999", "1234567890123456"])
def test_who_was_somewhere_else_is_told_to_read_the_status_anew(
    served: DaemonProcess, port: int, last: str
) -> None:
    with EventStream(port, token_for(served, "ann", "viewer"), last=last) as stream:
        reset = stream.until("reset")
        assert int(reset.id) == reset.data["newest"]
        assert "read the status anew" in reset.data["reason"]


def test_what_is_no_number_is_refused(served: DaemonProcess, port: int) -> None:
    for last in ("x", "-1", "9" * 30):
        with EventStream(port, token_for(served, "ann", "viewer"), last=last) as stream:
            assert stream.answer.status == 400


def test_everyone_hears_what_he_may_see(served: DaemonProcess, port: int) -> None:
    tokens = {
        "admin": token_for(served, "root", "admin"),
        "viewer": token_for(served, "vic", "viewer"),
        "here": token_for(served, "pia", "viewer", environments=("production",)),
        "elsewhere": token_for(served, "sid", "admin", environments=("staging",)),
        "other service": token_for(served, "sue", "operator", services=("web",)),
    }
    streams = {name: EventStream(port, token) for name, token in tokens.items()}
    for stream in streams.values():
        stream.until("ready")
    assert call(port, "POST", "/tokens", {}, token=tokens["viewer"]).status in (400, 403)
    assert call(port, "GET", "/tokens", token=tokens["viewer"]).status == 403  # which the audit tells
    held(served)
    ask(served, "POST", "/holds", {"environment": "production", "reason": "all of it", "for": "1s"})
    ask(served, "POST", "/tokens", {"name": "end", "grants": [{"role": "viewer"}]})
    heard = {}
    for name, stream in streams.items():
        ask(served, "POST", "/tokens/revoke", {"id": number(served, name, tokens)})
        heard[name] = [event.data["event"] for event in stream if event.name == "change"]
        stream.__exit__()
    assert {"denied", "held", "hold-released", "token-made"} <= set(heard["admin"])
    assert heard["viewer"] == heard["here"] == ["held", "hold-released", "held"]
    assert heard["elsewhere"] == heard["other service"] == []


def number(served: DaemonProcess, name: str, tokens: dict[str, str]) -> int:
    """The number of the newest token of that caller."""
    owners = dict(zip(tokens, ("root", "vic", "pia", "sid", "sue"), strict=True))
    listed = ask(served, "GET", "/tokens").body["tokens"]
    return int(next(one["id"] for one in reversed(listed) if one["name"] == owners[name]))


def test_a_revoked_token_ends_its_stream(served: DaemonProcess, port: int) -> None:
    token = token_for(served, "rob", "viewer")
    with EventStream(port, token) as stream:
        stream.until("ready")
        listed = ask(served, "GET", "/tokens").body["tokens"]
        [mine] = [one["id"] for one in listed if one["name"] == "rob"]
        began_s = time.monotonic()
        ask(served, "POST", "/tokens/revoke", {"id": mine})
        assert not [event for event in stream if event.name == "change"]
        assert time.monotonic() - began_s < 2
    with EventStream(port, token) as stream:
        assert stream.answer.status == 401


def test_an_expired_token_ends_its_stream(served: DaemonProcess, port: int) -> None:
    wanted = {"name": "eve", "grants": [{"role": "viewer"}], "for": "2s"}
    token = ask(served, "POST", "/tokens", wanted).body["token"]
    with EventStream(port, token) as stream:
        stream.until("ready")
        began_s = time.monotonic()
        list(stream)
        assert time.monotonic() - began_s < 5


def test_one_environment_alone_can_be_listened_to(served: DaemonProcess, port: int) -> None:
    token = token_for(served, "ann", "viewer")
    with EventStream(port, token, "/events?environment=production") as stream:
        stream.until("ready")
        held(served)
        stream.until("change", event="held")
    with EventStream(port, token, "/events?environment=nowhere") as stream:
        assert stream.answer.status == 404


def test_an_upgrade_is_heard_as_it_goes_and_so_is_what_looks_otherwise(
    served: DaemonProcess, fleet: World, port: int
) -> None:
    with EventStream(port, token_for(served, "ann", "viewer")) as stream:
        stream.until("ready")
        fleet.bump("1.1.0")
        heard: list[str] = []
        looks = []
        for event in stream:
            if event.name == "status":
                looks.append(event.data)
            if event.name == "change":
                heard.append(event.data["event"])
            if heard[-1:] == ["succeeded"] and looks:
                break
        assert heard[0] == "accepted"
        assert [one for one in heard if one in ("preparing", "applying", "verifying", "succeeded")] == [
            "preparing", "applying", "verifying", "succeeded"
        ]  # fmt: skip
        assert {"environment": "production", "services": ["api"]} in looks


def test_the_daemon_ends_at_once_and_the_next_one_goes_on_from_there(tmp_path: Path) -> None:
    port = free_port()
    with a_world(tmp_path) as world:
        world.settings_more = f'listen: "127.0.0.1:{port}"\n'
        world.deploy_first("1.0.0", "api")
        with daemon(world) as running:
            running.until_runs("1.0.0")
            token = token_for(running, "ann", "viewer")
            with EventStream(port, token) as stream:
                last = stream.until("ready").id
                held(running)
                began_s = time.monotonic()
                assert running.stop() == 0
                assert time.monotonic() - began_s < 5
                heard = {event.data["event"] for event in stream if event.name == "change"}
                assert {"held", "hold-released"} <= heard
            assert "Traceback" not in running.log()
            assert "ASGI" not in running.log()
        with daemon(world) as running:
            running.until_serving()
            with EventStream(port, token, last=last) as stream:
                stream.until("change", event="held")
                stream.until("change", event="hold-released")
