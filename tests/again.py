"""A second try, in CI: the whole files of the tests that failed, from anew, since those of one file may share a daemon.

`-p tests.again` on pytest's command line writes down which those are; `python -m tests.again OPTIONS` runs them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FAILED = Path("var/failed.txt")
FILES_MAX = 5
"""Where more have failed, nothing has come by chance."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Of the process that hands out the tests, not of those that run them."""
    reports = [*terminalreporter.stats.get("failed", ()), *terminalreporter.stats.get("error", ())]
    FAILED.parent.mkdir(exist_ok=True)
    FAILED.write_text(
        "".join(f"{name}\n" for name in sorted({one.nodeid.partition("::")[0] for one in reports}))
    )


def main() -> int:
    files = FAILED.read_text().splitlines() if FAILED.exists() else []
    if not 0 < len(files) <= FILES_MAX:
        return 1
    print(f"{', '.join(files)}: tried once more as a whole; what failed is to be mended", flush=True)  # noqa: T201
    argv = (sys.executable, "-m", "pytest", "-p", "pytest_asyncio.plugin", "-q", *sys.argv[1:], *files)
    return subprocess.run(argv, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
