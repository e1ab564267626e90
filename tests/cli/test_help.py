"""The command line itself: what it lists, what it costs, and how it complains."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reconciler import __version__
from reconciler.cli import COMMANDS
from tests.daemon_process import environ, ugs

HEAVY = (
    "aiohttp",
    "asyncio",
    "git",
    "jsonschema",
    "rich",
    "slack_sdk",
    "sqlite_utils",
    "starlette",
    "uvicorn",
    "watchdog",
)
LOADED = """\
import sys
from reconciler.cli import cli
cli(sys.argv[1:], standalone_mode=False)
print(*(name for name in sys.modules if "." not in name), file=sys.stderr)
"""


def test_help_lists_every_verb_with_what_it_does() -> None:
    shown = ugs("--help").stdout
    for verb, (_, text) in COMMANDS.items():
        assert f"  {verb} " in shown
        assert text in " ".join(shown.split())


def test_help_loads_nothing_heavy() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED, "--help"], env=environ(), capture_output=True, text=True, check=True
    ).stderr.split()
    assert "click" in loaded
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_has_help_of_its_own(verb: str) -> None:
    shown = ugs(verb, "-h")
    assert shown.returncode == 0
    assert f"ugs {verb}" in shown.stdout or f"reconciler.cli {verb}" in shown.stdout


def test_the_version_is_the_packages_own() -> None:
    assert ugs("--version").stdout == f"ugs, version {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_for_a_shell(shell: str) -> None:
    shown = ugs(environment={"_UGS_COMPLETE": f"{shell}_source"})
    assert shown.returncode == 0
    assert "ugs" in shown.stdout


def test_completion_knows_the_verbs() -> None:
    words = {"_UGS_COMPLETE": "bash_complete", "COMP_WORDS": "ugs qua", "COMP_CWORD": "1"}
    assert ugs(environment=words).stdout == "plain,quarantine\n"
