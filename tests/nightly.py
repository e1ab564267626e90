"""`make nightly HOURS=8`: everything that goes on for as long as it is let, one after the other, and one report.

Whatever fails, the rest goes on; the exit code says whether anything did. Seeds go on where the last night ended.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
PYTEST = (PYTHON, "-m", "pytest", "-p", "pytest_asyncio.plugin", "-p", "xdist.plugin", "-n", "4", "-q")
SEEDS_AT_ONCE = 2000
TAIL_LINES = 80
ENDING_S = 60.0
BEGINS = 0.85
"""The part of its time in which who is told of it begins something new."""
WRONG = re.compile(r"^(seed (\d+): .*)\nreplay: (.*)$", re.MULTILINE)
COUNT = re.compile(r"^(\d+) seeds, (\d+) upgrades", re.MULTILINE)
REPLAYS = re.compile(r"^(?:replay: (.*)|FAILED (\S+).*)$", re.MULTILINE)


@dataclass(frozen=True)
class Part:
    """One command, and which lines of what it says are its figures.

    `until`: the share of the hours after which it has to be over; what those before it leave is its own. `told`: it is
    told how many minutes it may begin anything in.
    """

    name: str
    argv: tuple[str, ...]
    until: float
    figures: str
    environment: Mapping[str, str] = field(default_factory=dict)
    told: bool = False


@dataclass
class Result:
    """How a part went. `replays`: what shows each failure again."""

    name: str
    took_s: float = 0.0
    wrong: str = ""
    figures: list[str] = field(default_factory=list)
    replays: list[str] = field(default_factory=list)


@dataclass
class Next:
    """Where the next night begins."""

    seed: int = 1_000_000
    campaign: int = 1_000


def parts(asked: argparse.Namespace, begin: Next) -> list[Part]:
    """All but the simulation, which takes the time that these leave. What measures time has the machine first."""
    simulation, pytest = (PYTHON, "-m", "tests.simulation"), (*PYTEST, "--dist", "load")
    kills = ("--kills", str(asked.kills), "--seed", str(begin.campaign))
    examples, every = {"FUZZ_EXAMPLES": str(asked.examples)}, {"EVERY_SYSTEM_CALL": "1"}
    return [
        Part("load", (PYTHON, "-m", "benchmarks.load", "--duration", str(asked.load_s)), 0.15, "."),
        Part("mutants", (*simulation, "--mutation", "all", "--seeds", "1000"), 0.35, r": seed \d+|not found"),
        Part("fuzz", (*pytest, "tests/fuzz"), 0.45, r"passed|failed", examples),
        Part("crash tests", (*pytest, "-m", "crash"), 0.75, r"passed|failed", every),
        Part("kills", (PYTHON, "-m", "tests.crash", *kills), 0.93, r"^ *\d+ +\d+ |kills", told=True),
    ]


def carried_out(part: Part, log: Path, left_s: float) -> Result:
    """One part, ended where it takes longer than it may."""
    result, began_s = Result(part.name), time.monotonic()
    environment = {**os.environ, **part.environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    minutes = ("--minutes", f"{BEGINS * left_s / 60:.1f}") if part.told else ()
    code = ran((*part.argv, *minutes), log, left_s, environment)
    said = log.read_text("utf-8", "replace")
    result.took_s = time.monotonic() - began_s
    result.figures = [line.strip() for line in said.splitlines() if re.search(part.figures, line)][
        -TAIL_LINES:
    ]
    result.replays = ["".join(found) for found in REPLAYS.findall(said)]
    if code is None:
        result.wrong = f"it did not end within {left_s:.0f} s"
    elif code != 0:
        result.wrong = f"exit code {code}"
    return result


def ran(argv: tuple[str, ...], log: Path, timeout_s: float, environment: Mapping[str, str]) -> int | None:
    """The exit code of a command whose output goes to a file; None where it had to be ended, with all that it began."""
    with log.open("wb") as sink:
        process = subprocess.Popen(
            argv,
            cwd=ROOT,
            env=environment,
            stdout=sink,
            stderr=sink,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return process.wait(max(1.0, timeout_s))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)  # tests then end the services that they have started
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(ENDING_S)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None


def simulated(begin: Next, seeds_max: int, folder: Path, end_s: float) -> Result:
    """So many seeds, or as many as fit; moves `begin` on. Past one that fails, the next is the first."""
    result, began_s, first, upgrades = Result("simulation"), time.monotonic(), begin.seed, 0
    last = first + seeds_max
    while begin.seed < last and time.monotonic() < end_s:
        count = min(SEEDS_AT_ONCE, last - begin.seed)
        argv = (PYTHON, "-m", "tests.simulation", "--seeds", str(count), "--from", str(begin.seed))
        log = folder / f"simulation-{begin.seed}.log"
        code = ran(argv, log, end_s - time.monotonic(), os.environ)
        said = log.read_text("utf-8", "replace")
        counted = COUNT.findall(said)
        upgrades += int(counted[-1][1]) if counted else 0
        if code is None:
            begin.seed += int(counted[-1][0]) if counted else 0
        elif wrong := WRONG.search(said):
            result.replays.append(f"{wrong[3]}  # {wrong[1]}")
            begin.seed = int(wrong[2]) + 1
            continue  # its log stays
        elif code != 0:
            result.wrong = f"it broke at seeds {begin.seed} to {begin.seed + count - 1}, see {log}"
            begin.seed += count
            continue
        else:
            begin.seed += count
        log.unlink()
    result.took_s = time.monotonic() - began_s
    result.figures = [f"{begin.seed - first} seeds from {first} on, more than {upgrades} upgrades"]
    if result.replays:
        result.wrong = f"{len(result.replays)} seeds do not hold; {result.wrong}".removesuffix("; ")
    return result


def report(results: list[Result], *, commit: str, machine: str, began_at: datetime, hours: float) -> str:
    """The page that a night leaves."""
    failed = [one for one in results if one.wrong]
    lines = [
        f"# Night of {began_at:%Y-%m-%d %H:%M} UTC",
        "",
        f"Commit {commit}, {machine}, {hours:g} hours. {len(failed)} of {len(results)} parts failed.",
        "",
        "| Part | Took | Outcome |",
        "|---|---|---|",
        *(f"| {one.name} | {one.took_s / 60:.1f} min | {one.wrong or 'holds'} |" for one in results),
    ]
    for one in results:
        lines += ["", f"## {one.name}", "", "```", *one.figures, "```"]
        if one.replays:
            lines += ["", "To see it again:", "", *(f"- `{replay}`" for replay in one.replays)]
    return "\n".join(lines) + "\n"


def told(argv: tuple[str, ...]) -> str:
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def night(
    asked: argparse.Namespace, folder: Path, work: Callable[[argparse.Namespace, Next], list[Part]] = parts
) -> int:
    """Everything, and its report in the folder: 0 when all holds."""
    began_at, began_s = datetime.now(UTC), time.monotonic()
    own = folder / f"{began_at:%Y-%m-%dT%H%M}"
    own.mkdir(parents=True)
    memory = folder / "next.json"
    begin = Next(**json.loads(memory.read_text())) if memory.exists() else Next()
    whole_s = asked.hours * 3600
    results: list[Result] = []
    facts = {
        "commit": told(("git", "describe", "--always", "--dirty")),
        "machine": f"{platform.node()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }

    def write() -> None:  # after each part: a machine that goes down leaves what was found so far
        text = report(results, **facts, began_at=began_at, hours=asked.hours)
        (own / "report.md").write_text(text)
        memory.write_text(json.dumps(vars(begin)))

    for result in _each(work(asked, begin), own, began_s, whole_s):
        results.append(result)
        write()
    begin.campaign += 1000
    results.append(simulated(begin, asked.seeds, own, began_s + whole_s))
    write()
    sys.stdout.write((own / "report.md").read_text() + f"\nit stands in {own}\n")
    return 1 if any(one.wrong for one in results) else 0


def _each(work: list[Part], folder: Path, began_s: float, whole_s: float) -> Iterator[Result]:
    for part in work:
        left_s = began_s + part.until * whole_s - time.monotonic()
        yield carried_out(part, folder / f"{part.name.replace(' ', '-')}.log", left_s)


def asked_for(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nightly", description=__doc__)
    parser.add_argument(
        "--hours", type=float, default=8.0, help="all of it takes so long at most (default: 8)"
    )
    parser.add_argument("--kills", type=int, default=5000, help="of the daemon, or as many as fit")
    parser.add_argument("--seeds", type=int, default=1_000_000, help="of the simulation, or as many as fit")
    parser.add_argument("--examples", type=int, default=10_000, help="of each property that is fuzzed")
    parser.add_argument("--load", type=int, default=600, dest="load_s", help="seconds of requests")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "var" / "nightly", help="where reports are left"
    )
    return parser.parse_args(words)


if __name__ == "__main__":
    wanted = asked_for()
    sys.exit(night(wanted, wanted.folder))
