"""A shop that reads its flags through a real OpenFeature client, while its team switches them by commits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

from tests.api.network import token_for
from tests.daemon_process import DaemonProcess, daemon
from tests.drivers.services import free_port
from tests.scenarios.test_flags import ENDS_WITH_IT
from tests.world import World

DECLARED = "flags: {new-checkout: {default: false, live: true}, mode: {default: cold}}\n"
PEOPLE = [EvaluationContext(f"person-{number}") for number in range(100)]


@contextlib.contextmanager
def shop(world: World) -> Iterator[tuple[DaemonProcess, OpenFeatureClient]]:
    """A daemon, and a client with a token that shows it production alone."""
    port = free_port()
    world.settings_more = f'listen: "127.0.0.1:{port}"\n'
    with daemon(world) as running:
        running.until_runs("1.0.0")
        token = token_for(running, "shop", "viewer", environments=("production",))
        provider = OFREPProvider(
            f"http://127.0.0.1:{port}",  # which environment is meant needs no saying
            headers_factory=lambda: {"Authorization": f"Bearer {token}"},
            timeout=30.0,
        )
        api.set_provider(provider, "a-shop")
        try:
            yield running, api.get_client("a-shop")
        finally:
            provider.session.close()


def chosen(client: OpenFeatureClient) -> set[str | None]:
    return {
        one.targeting_key
        for one in PEOPLE
        if client.get_boolean_value("new-checkout", default_value=False, evaluation_context=one)
    }


def start(world: World, command: str | None = None) -> None:
    world.release("1.0.0", more=DECLARED, command=command)
    world.pin("1.0.0")
    world.merge("Start")


@pytest.mark.slow
def test_a_feature_is_rolled_out_and_taken_back_and_nothing_is_deployed(world: World) -> None:
    start(world)
    with shop(world) as (running, client):
        pid = world.pid()
        assert chosen(client) == set()
        rule = "flags: {{new-checkout: {{rules: [{{value: true, percent: {}}}]}}}}\n"
        seen: set[str | None] = set()
        for percent in (10, 50, 100):
            world.more = rule.format(percent)
            world.merge(f"{percent} %")
            running.until(lambda before=seen: chosen(client) > before)  # type: ignore[misc]  # bound now
            assert seen < chosen(client)  # nobody loses it again
            seen = chosen(client)
        assert len(seen) == len(PEOPLE)
        world.more = ""
        world.merge("It does harm")
        running.until(lambda: not chosen(client))
        assert world.pid() == pid
        service = running.service()
        assert (service["sync"], service["phase"]) == ("in-sync", None)
    assert world.phases() == ["succeeded"]
    assert world.events().count("flag-switched") == 4


def test_a_value_that_processes_get_is_answered_once_it_has_proved_itself(world: World) -> None:
    start(world, ENDS_WITH_IT.replace("*true*", "*hot*"))
    with shop(world) as (running, client):
        assert client.get_string_value("mode", "none") == "cold"
        world.more = "flags: {mode: warm}\n"
        world.merge("Warmer")
        running.until(lambda: client.get_string_value("mode", "none") == "warm")
        world.more = "flags: {mode: hot}\n"
        world.merge("Too hot")
        running.until_says("Git is left alone")
        # What processes have is known by what was observed last: the pass after the move tells it.
        running.until(lambda: client.get_string_value("mode", "none") == "warm")
    assert world.phases() == ["succeeded", "succeeded", "restored"]
