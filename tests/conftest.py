from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.world import World, a_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A remote, a colleague, and the engine over them; no process is left behind."""
    with a_world(tmp_path) as made:
        yield made


# In the background of a shell SIGINT is ignored, and so it would be in everything that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The daemon does not start where others could read what holds a secret.
os.umask(0o077)

# A busy machine must not fail a property by being slow.
settings.register_profile("ugs", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# `make fuzz` asks for more examples of each property than the hundred of every day.
settings.register_profile(
    "fuzz", parent=settings.get_profile("ugs"), max_examples=int(os.environ.get("FUZZ_EXAMPLES", "100"))
)
settings.load_profile("fuzz" if "FUZZ_EXAMPLES" in os.environ else "ugs")
