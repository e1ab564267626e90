"""`ugs windows export --ics`: the same for people's calendars."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import icalendar
import pytest

from reconciler.model import calendar as calendar_module
from reconciler.model.cron import Disagreement
from reconciler.model.environment import Window
from reconciler.model.errors import HostError, UgsError
from reconciler.model.window import Source
from tests.cli.calendars import NOW, PRODUCTION, planted, run


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return planted(tmp_path)


def exported(tree: Path, *arguments: str, now: datetime = NOW) -> Any:
    result = run("export", "--ics", "--repository", str(tree), *arguments, now=now)
    assert result.exit_code == 0, result.output
    return icalendar.Calendar.from_ical(result.stdout_bytes)


def test_every_opening_and_freeze_to_come_is_an_event(tree: Path) -> None:
    calendar = exported(tree, "production", "--days", "5")
    assert str(calendar["X-WR-CALNAME"]) == "UGS production"
    shown = [(str(one["SUMMARY"]), one.decoded("DTSTART")) for one in calendar.walk("VEVENT")]
    assert shown == [
        ("production: freeze, Fridays", datetime(2026, 12, 4, 11, tzinfo=UTC)),
        ("production: minor window", datetime(2026, 12, 5, 1, tzinfo=UTC)),
        ("production: patch window", datetime(2026, 12, 7, 8, tzinfo=UTC)),
        ("production: patch window", datetime(2026, 12, 8, 8, tzinfo=UTC)),
        ("production: patch window", datetime(2026, 12, 9, 8, tzinfo=UTC)),
    ]


def test_an_export_may_end_at_an_instant_and_go_to_a_file(tree: Path, tmp_path: Path) -> None:
    file = tmp_path / "windows.ics"
    result = run(
        "export", "--ics", "--repository", str(tree), "--until", "2026-12-06T00:00:00Z", "-o", str(file)
    )
    assert (result.exit_code, result.output) == (0, "")
    assert file.read_bytes().count(b"BEGIN:VEVENT") == 2


def test_the_same_opening_is_the_same_event_tomorrow(tree: Path) -> None:
    before = {str(one["UID"]) for one in exported(tree).walk("VEVENT")}
    tomorrow = exported(tree, "--days", "399", now=NOW + timedelta(days=1))
    assert len(before) > 250
    assert {str(one["UID"]) for one in tomorrow.walk("VEVENT")} < before


def test_what_an_export_cannot_do_is_told(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Missing option '--ics'" in run("export", "--repository", str(tree)).output
    for until in ("2026-12-04T12:00:00Z", "2036-12-20T00:00:00Z"):
        result = run("export", "--ics", "--repository", str(tree), "--until", until)
        assert result.exit_code == 2
        assert "within the next 3660 days" in result.output
    with pytest.raises(HostError, match="cannot be written: No such file or directory; name another file"):
        run("export", "--ics", "--repository", str(tree), "-o", str(tmp_path / "absent/windows.ics"))
    often = PRODUCTION.replace("0 9 * * 1-5", "*/2 * * * *").replace("7h", "1m")
    (tree / "environments/production.yaml").write_text(often)
    with pytest.raises(UgsError, match=r"too many starts .*; ask for a shorter time"):
        run("export", "--ics", "--repository", str(tree))

    def doubtful(_window: Window, _zone: str) -> Source:
        raise Disagreement("'0 9 * * 1-5' does not allow 09:01, which croniter named")

    monkeypatch.setattr(calendar_module, "window_source", doubtful)
    with pytest.raises(UgsError, match=r"does not allow 09:01, .*; this is a bug in UGS"):
        run("export", "--ics", "--repository", str(tree))


def test_an_export_tells_what_it_could_not_read(tree: Path) -> None:
    (tree / "environments/test.yaml").write_text("environment: test\n")
    result = run("export", "--ics", "--repository", str(tree))
    assert result.exit_code == 1
    assert "the key `driver` is missing" in result.stderr
    assert result.stdout.startswith("BEGIN:VCALENDAR")
