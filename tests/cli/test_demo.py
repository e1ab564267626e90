"""`ugs demo`: the whole story, told once, and nothing left behind."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.daemon_process import argv, command_lines, environ

LIMIT_S = 100


def test_the_demo_tells_its_story_and_cleans_up(tmp_path: Path) -> None:
    with subprocess.Popen(
        argv("demo"),
        env=environ({"TMPDIR": str(tmp_path)}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as telling:
        try:
            story, _ = telling.communicate(timeout=LIMIT_S)
        finally:
            telling.kill()
    assert telling.returncode == 0, story
    beats = (
        r"deploys it",
        r"succeeded +\S*.*1\.0\.0",
        r"bump to 1\.1\.0",
        r"succeeded +\S*.*1\.1\.0",
        r"bump to 1\.2\.0, which is unhealthy",
        r"restoring",
        r"reverted +\S*.*1\.1\.0",
        r"GET / → ",
        r"Revert demo/greeter to 1\.1\.0",
        r"1\.1\.0 → 1\.2\.0  reverted: ",
    )
    at = 0
    for beat in beats:
        found = re.compile(beat).search(story, at)
        assert found, f"{beat} is missing after {story[at:]}"
        at = found.end()
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in command_lines()
