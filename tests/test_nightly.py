"""A night of tests: whatever fails, the rest goes on, the report says how to see it again, the next night goes on."""

from __future__ import annotations

import json
import re
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest

from tests import nightly
from tests.nightly import Next, Part, asked_for, night, parts

FAKE = """\
import sys
words = sys.argv[1:]
count, first = int(words[words.index("--seeds") + 1]), int(words[words.index("--from") + 1])
if first <= 1_000_005 < first + count:
    print("some of its story\\nseed 1000005: liveness: api is ill; 7 upgrades, 9 events")
    print("replay: make simulate SEED=1000005")
    sys.exit(1)
print(f"{count} seeds, {8 * count} upgrades, 100 a minute on each of 2 cores")
"""


def said(name: str, script: str, until: float = 0.5, *, told: bool = False) -> Part:
    return Part(name, (sys.executable, "-c", script), until, "figure", told=told)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """A night of a minute over ten seeds, of which one does not hold."""
    fake = tmp_path / "python"
    fake.write_text(f"#!{sys.executable}\n{FAKE}")
    fake.chmod(0o755)
    monkeypatch.setattr(nightly, "PYTHON", str(fake))
    return asked_for(["--hours", str(1 / 60), "--seeds", "10", "--folder", str(tmp_path / "nights")])


def page(asked: Namespace) -> str:
    [found] = asked.folder.glob("*/report.md")
    return str(found.read_text())


def test_what_fails_stands_in_the_report_and_the_rest_goes_on(asked: Namespace) -> None:
    work = [
        said(
            "broken",
            "print('figure 1'); print('replay: again 7'); print('FAILED tests/x.py::y - z'); exit(3)",
        ),
        said("slow", "import time; print('figure 2', flush=True); time.sleep(60)", until=4 / 60),
        said("fine", "print('noise'); print('figure 3')"),
    ]
    assert night(asked, asked.folder, lambda _asked, _begin: work) == 1
    text = page(asked)
    assert "3 of 4 parts failed" in text
    assert "| broken | 0.0 min | exit code 3 |" in text
    [within] = re.findall(r"it did not end within (\d+) s", text)
    assert int(within) <= 4  # since the night began
    assert "| fine | 0.0 min | holds |" in text
    assert "- `again 7`" in text
    assert "- `tests/x.py::y`" in text
    assert "figure 3\n" in text
    assert "noise" not in text
    assert (
        "- `make simulate SEED=1000005  # seed 1000005: liveness: api is ill; 7 upgrades, 9 events`" in text
    )
    assert "10 seeds from 1000000 on" in text


def test_the_next_night_begins_where_the_last_one_ended(asked: Namespace) -> None:
    asked.folder.mkdir()
    (asked.folder / "next.json").write_text(json.dumps({"seed": 2_000_000, "campaign": 3_000}))
    assert night(asked, asked.folder, lambda _asked, _begin: [said("fine", "pass")]) == 0
    assert json.loads((asked.folder / "next.json").read_text()) == {"seed": 2_000_010, "campaign": 4_000}
    assert "10 seeds from 2000000 on, more than 80 upgrades" in page(asked)


def test_the_parts_leave_time_for_the_simulation_and_take_what_is_asked() -> None:
    asked = asked_for(["--hours", "2", "--kills", "77", "--examples", "5", "--load", "9"])
    found = {part.name: part for part in parts(asked, Next(campaign=12))}
    assert found["kills"].argv[2:] == ("tests.crash", "--kills", "77", "--seed", "12")
    assert found["fuzz"].environment == {"FUZZ_EXAMPLES": "5"}
    assert found["load"].argv[-2:] == ("--duration", "9")
    usual = asked_for([])
    assert usual.load_s < found["load"].until * usual.hours * 3600
    shares = [part.until for part in found.values()]
    assert shares == sorted(shares)
    assert shares[-1] < 1.0


def test_what_is_done_sooner_leaves_its_time_to_what_comes_after(asked: Namespace) -> None:
    work = [
        said("quick", "pass", until=0.5),
        said("told", "import sys; print('figure', *sys.argv[1:])", until=0.75, told=True),
    ]
    assert night(asked, asked.folder, lambda _asked, _begin: work) == 1  # one of the seeds does not hold
    [minutes] = re.findall(r"^figure --minutes (\S+)$", page(asked), re.MULTILINE)
    assert 0.25 * nightly.BEGINS < float(minutes) <= 0.75 * nightly.BEGINS + 0.05


def test_a_night_that_is_over_simulates_nothing_more(asked: Namespace, tmp_path: Path) -> None:
    result = nightly.simulated(begin := Next(), 10, tmp_path, time.monotonic())
    assert (begin.seed, result.wrong) == (Next().seed, "")
