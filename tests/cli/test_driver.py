"""`ugs driver` and `ugs adopt`, as a person types them, over the program that docs/drivers/command.md shows."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.model.engines import ENGINES
from tests.daemon_process import configured, daemon, ugs
from tests.engines.command import Plain
from tests.world import World


@pytest.fixture
def plain(world: World, tmp_path: Path) -> Iterator[Plain]:
    """A world whose services the example runs."""
    harness = Plain(tmp_path)
    harness.begin(world)
    world.driver_yaml = harness.driver_yaml()
    world.settings_more = harness.daemon_yaml()
    yield harness
    harness.end()


def test_list_shows_what_each_driver_can_do() -> None:
    head, *rows = ugs("driver", "list").stdout.splitlines()
    assert head.split() == ["driver", "artifact", "strategies", "native", "commands", "measures"]
    assert [row.split()[0] for row in rows] == list(ENGINES)
    [command] = [row for row in rows if row.startswith("command")]
    strategies = ["blue-green,", "canary,", "rolling,", "stop-start"]
    assert command.split() == ["command", "either", *strategies, "no", "no"]
    [told] = [
        one
        for one in json.loads(ugs("driver", "list", "--json").stdout)["drivers"]
        if one["driver"] == "command"
    ]
    assert told == {
        "driver": "command",
        "artifact": "either",
        "strategies": ["blue-green", "canary", "rolling", "stop-start"],
        "native": [],
        "commands": False,
        "measures": False,
    }


def test_check_puts_a_program_to_work(plain: Plain, world: World) -> None:
    for version in ("1.0.0", "1.1.0"):
        world.release(version)
    world.merge()
    config = str(world.configure())
    releases = [f"--release={world.ada.folder}/releases/api/{version}.yaml" for version in ("1.0.0", "1.1.0")]
    done = ugs("driver", "check", "plain", "--config", config, *releases)
    assert done.returncode == 0, done.stdout + done.stderr
    rules = done.stdout.splitlines()
    assert len(rules) == 15
    assert all(rule.startswith("kept: ") for rule in rules)
    assert plain.instances("api") == []
    assert not world.state.exists()


def test_check_says_what_is_not_kept(plain: Plain, world: World) -> None:
    config = str(world.configure())
    plain.program.write_text(plain.program.read_text().replace('"contract": 1', '"contract": 9'))
    done = ugs("driver", "check", "plain", "--config", config, "--json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert (told["ok"], [one["rule"] for one in told["findings"] if one["trouble"]]) == (
        False,
        ["it observes"],
    )
    shown = ugs("driver", "check", "plain", "--config", config).stdout
    assert "not kept: it observes: the program plain (observe) speaks version 9 of the contract" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("other",),
            "there is no program other; add it under engines.command.programs in ugs.yaml; there is plain",
        ),
        (("plain", "--release", "{page}"), "1 releases do not do; give two versions of one service, or none"),
        (("plain", "--release", "{page}", "--release", "{page}"), "{page}:1:1"),
    ],
)
def test_what_cannot_be_checked_is_said(
    plain: Plain, world: World, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    page = tmp_path / "a/b/page.yaml"
    page.parent.mkdir(parents=True)
    page.write_text("- 1\n")
    told = [argument.format(page=page) for argument in arguments]
    done = ugs("driver", "check", *told, "--config", world.configure())
    assert done.returncode == 1
    assert words.format(page="a/b/page.yaml") in done.stderr


def test_adopt_list_withdraw(plain: Plain, world: World) -> None:
    plain.stranger("api")
    world.release("1.0.0")
    world.pin("1.0.0")
    world.merge()
    config = str(configured(world))

    def said(*arguments: str) -> str:
        done = ugs("adopt", *arguments, "--config", config, environment={"LOGNAME": "ada"})
        assert done.returncode == 0, done.stderr
        return done.stdout

    with daemon(world) as running:
        running.until_serving()
        running.until(lambda: (seen := running.service()) and seen["sync"] == "foreign")
        hold = ugs("hold", "production", "--reason", "not yet", "--config", config)
        assert hold.returncode == 0
        shown = said("production", "api", "--reason", "it was started by hand", "--for", "2d")
        assert shown.startswith("production: api: may be adopted until 20")
        assert shown.endswith("api.pid names a process that was started by hand\n")
        [made] = json.loads(said("list", "--json"))["adoptions"]
        assert made.keys() == {"id", "environment", "service", "what", "reason", "by", "at", "until"}
        assert (made["by"], made["reason"]) == ("ada", "it was started by hand")
        head, row = said("list", "production").splitlines()
        assert head.split() == ["id", "environment", "service", "by", "until", "reason", "what"]
        assert row.split()[:4] == [str(made["id"]), "production", "api", "ada"]
        taken = said("withdraw", str(made["id"]))
        assert taken == "production: api: may be adopted no longer\n"
        assert json.loads(said("list", "--json")) == {"adoptions": []}
        assert plain.answers("api") == "0.0.1"
        running.stop(signal.SIGTERM)
