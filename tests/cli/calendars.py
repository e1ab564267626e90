"""A repository of environments with windows, and `ugs windows` asked about it at an instant of our own."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from reconciler.cli import windows

NOW = datetime(2026, 12, 4, 12, tzinfo=UTC)
PRODUCTION = """\
environment: production
timezone: Europe/Berlin
driver: {kind: process}
windows:
  major: manual
  minor: [{cron: "0 2 * * 6#1", duration: 3h}]
  patch:
    - {cron: "0 9 * * 1-5", duration: 7h}
freezes:
  - {from: 2026-12-20, until: 2027-01-02, reason: "year end", except: [emergency]}
  - {cron: "0 12 * * 5", duration: 12h, reason: "Fridays"}
"""
RELEASE = f"""\
service: api
version: "1.5.0"
artifact: {{archive: {{url: a.tgz, sha256: "{"0" * 64}"}}}}
run: {{command: [x]}}
health: {{soak: 1m, deadline: 4h}}
"""
ODD = PRODUCTION.replace("0 2 * * 6#1", "30 2 * * 0") + 'pins: {api: "1.5.0"}\n'


def planted(folder: Path) -> Path:
    """production with windows, test without, staging as a folder."""
    (folder / "environments/staging").mkdir(parents=True)
    (folder / "environments/production.yaml").write_text(PRODUCTION)
    (folder / "environments/test.yaml").write_text("environment: test\ndriver: {kind: process}\n")
    staging = "environment: staging\ndriver: {kind: process}\n"
    (folder / "environments/staging/environment.yaml").write_text(staging)
    return folder


def run(*arguments: str, now: datetime = NOW) -> Result:
    """As `ugs windows …`; an error of our own is raised."""

    class Fixed:
        def now(self) -> datetime:
            return now

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "SystemClock", Fixed)
        result = CliRunner().invoke(windows.windows, [*arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def asked(tree: Path, *arguments: str) -> Any:
    """What `--json` prints."""
    at = () if arguments[0] == "test" else ("--repository", str(tree))
    return json.loads(run(*arguments, *at, "--json").stdout)
