"""What a daemon loads: what it is configured for, and no more. Each library that nobody needs would cost memory for
ever, and time at every start."""

from __future__ import annotations

import importlib.util
import re

import pytest

from tests.daemon_process import daemon
from tests.world import World

FOR_NOBODY = {
    "no channel to tell people": ("apprise", "slack_sdk"),
    "nothing that listens": ("jinja2", "reconciler.api.web", "reconciler.api.signin"),
    "no provider of identities, and nothing signed": ("joserfc", "cryptography"),
    "nobody who scrapes": ("prometheus_client", "reconciler.engine.metrics.scrape"),
    "no collector of traces": ("opentelemetry", "reconciler.telemetry"),
    "no forge": ("github", "gitlab", "requests", "urllib3", "reconciler.forge.http"),
    "no other engine": (
        "docker",
        "dbus_fast",
        *(f"reconciler.drivers.{kind}" for kind in ("compose", "docker", "kubernetes", "swarm", "systemd")),
    ),
    "nothing refused": ("jsonschema", "referencing"),
    "no window": ("croniter",),
    "no calendar": ("icalendar",),
    "no table to print": ("rich",),
}
PLAIN = [name for names in FOR_NOBODY.values() for name in names]
LOADED = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)
TELLS = {"PYTHONPROFILEIMPORTTIME": "1"}
"""Python's own: each import statement that loads something is a line on stderr. (A driver is loaded by its name
alone, which shows only in what it imports.)"""


@pytest.mark.parametrize("name", PLAIN)
def test_what_a_plain_daemon_does_without_is_there_to_be_loaded(name: str) -> None:
    assert importlib.util.find_spec(name)


def test_a_plain_daemon_loads_nothing_that_it_is_not_configured_for(world: World) -> None:
    world.deploy_first("1.0.0")
    with daemon(world, "--accept-first", environment=TELLS) as running:
        running.until_runs("1.0.0")
        loaded = set(LOADED.findall(running.log()))
    assert {"reconciler.engine.daemon", "reconciler.drivers.process.instance", "aiohttp"} <= loaded
    needless = {name for name in loaded for plain in PLAIN if f"{name}.".startswith(f"{plain}.")}
    assert needless == set()
