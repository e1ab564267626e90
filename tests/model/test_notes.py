"""Release notes lie between two versions: above the lower, up to the higher."""

from __future__ import annotations

import pytest

from reconciler.model.notes import between, catalogue, gains
from reconciler.model.version import Version
from tests.build import environment, pin, release

KNOWN = catalogue(
    [release(text) for text in ("1.0.0", "1.10.0", "1.2.0", "2.0.0-rc.1", "2.0.0")]
    + [release("9.0.0", "web")]
)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("1.0.0", "2.0.0", ["2.0.0", "2.0.0-rc.1", "1.10.0", "1.2.0"]),
        ("1.2.0", "1.10.0", ["1.10.0"]),
        ("1.10.0", "1.0.0", ["1.10.0", "1.2.0"]),
        ("1.0.0", "1.0.0", []),
        (None, "1.10.0", ["1.10.0"]),
        ("0.1.0", "1.0.0", ["1.0.0"]),
        ("1.1.0", "1.5.0", ["1.2.0"]),
    ],
)
def test_what_lies_between(before: str | None, after: str, found: list[str]) -> None:
    releases = between(KNOWN, "api", Version(before) if before else None, Version(after))
    assert [one.version.text for one in releases] == found


def test_a_service_without_releases_has_none() -> None:
    assert between(KNOWN, "db", Version("1.0.0"), Version("2.0.0")) == ()


def test_an_environment_gains_what_it_pins_otherwise() -> None:
    before = environment(pin("1.0.0"), pin("1.0.0", "db"), pin("2.0.0", "old"))
    after = environment(pin("1.2.0"), pin("1.0.0", "db"), pin("9.0.0", "web"))
    found = [
        (gain.service, str(gain.before), str(gain.after), gain.down) for gain in gains(KNOWN, before, after)
    ]
    assert found == [("api", "1.0.0", "1.2.0", False), ("web", "None", "9.0.0", False)]
    (back,) = gains(KNOWN, environment(pin("1.2.0")), environment(pin("1.0.0")))
    assert back.down
    assert [gain.service for gain in gains(KNOWN, None, after)] == ["api", "db", "web"]
