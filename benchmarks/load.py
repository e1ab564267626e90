"""`make load`: requests beside 1,000 services and 100 subscribers of events, for as long as one likes.

A real daemon in a process of its own serves over loopback TCP: real Git, real passes every ten seconds, real probes'
rounds, a real database. What stands in is the driver alone, which says that what is pinned runs: a thousand real
services would measure the machine. Requests leave when they are due, whatever became of those before (open loop), and
are timed from then, so that a pause of the daemon counts for all that it kept waiting.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import aiohttp

from tests.drivers.services import free_port
from tests.git.colleague import Colleague, git

SERVICES = 1_000
ENVIRONMENTS = 4
RATE_PER_S = 200
SUBSCRIBERS = 100
TOKENS = 8
"""Each may ask 50 times a second."""
P99_MS_MAX = 250.0
GROWTH_MAX = 0.10
"""How much more memory the last quarter may need than the second: what is learned first is kept."""
JUDGED_S = 120.0
"""A shorter run is a sample, on a machine that may have much else to do: it fails for wrong answers alone."""
FINE: frozenset[int | str] = frozenset({200, 202, 304})
BUSY = frozenset({429, 503, "TimeoutError", "ServerTimeoutError", "SocketTimeoutError"})
TIMEOUT_S = 30.0
SAMPLE_S = 5.0
END_S = 60
RELEASE = """\
service: s{number:03}
version: "1.0.0"
artifact: {{archive: {{url: "https://artifacts.example/s{number:03}.tar.gz", sha256: "{digest}"}}}}
run: {{command: ["bin/serve"], port: 8000}}
"""


def questions(chosen: random.Random) -> tuple[str, str, str, object]:
    """One question as people and their programs ask them: what it is called, method, path, body."""
    number = chosen.randrange(SERVICES)
    place, service = f"e{number % ENVIRONMENTS}", f"s{number:03}"
    mix: tuple[tuple[int, tuple[str, str, str, object]], ...] = (
        (10, ("status, whole", "GET", "/upgrade/status", None)),
        (25, ("status, one page", "GET", f"/upgrade/status?environment={place}&limit=50", None)),
        (15, ("status, one service", "GET", f"/upgrade/status?environment={place}&service={service}", None)),
        (10, ("explain", "GET", f"/upgrade/explain?environment={place}&service={service}", None)),
        (10, ("health", "GET", "/health/check", None)),
        (8, ("history", "GET", "/upgrade/history?limit=20", None)),
        (5, ("audit", "GET", "/audit?limit=20", None)),
        (5, ("holds", "GET", "/holds", None)),
        (5, ("plan", "POST", "/upgrade/plan", {})),
        (4, ("releases", "GET", f"/releases?service={service}", None)),
        (
            2,
            (
                "hold",
                "POST",
                "/holds",
                {"environment": place, "service": service, "reason": "load", "for": "1s"},
            ),
        ),
        (1, ("windows", "GET", f"/windows?environment={place}", None)),
    )
    return chosen.choices([one for _, one in mix], [weight for weight, _ in mix])[0]


def repository(folder: Path) -> Path:
    remote = folder / "fleet.git"
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(remote))
    ada = Colleague(folder / "ada", remote)
    pins: defaultdict[str, list[str]] = defaultdict(list)
    files: dict[str, str] = {}
    for number in range(SERVICES):
        files[f"releases/s{number:03}/1.0.0.yaml"] = RELEASE.format(number=number, digest=f"{number:064x}")
        pins[f"e{number % ENVIRONMENTS}"].append(f'  s{number:03}: "1.0.0"\n')
    for name, lines in pins.items():
        head = f"environment: {name}\ndriver: {{kind: process}}\ntimezone: Europe/Berlin\n"
        windows = 'windows: {minor: [{cron: "0 2 * * 6#1", duration: 3h}]}\n'
        files[f"environments/{name}.yaml"] = f"{head}{windows}pins:\n{''.join(lines)}"
    ada.commit(files, "Pin a thousand services")
    ada.push()
    return remote


class Load:
    """What was asked, and how long each answer took."""

    def __init__(self, base: str, tokens: list[str]) -> None:
        self.base, self.tokens = base, tokens
        self.took_ms: defaultdict[str, list[float]] = defaultdict(list)
        self.statuses: Counter[int | str] = Counter()
        self.heard = 0
        self.late_ms = 0.0
        """How late this program itself was at the worst: then it measures itself."""
        self._chosen = random.Random(1)
        self._tags: dict[str, str] = {}

    async def ask(self, session: aiohttp.ClientSession, due_s: float, number: int) -> None:
        name, method, path, body = questions(self._chosen)
        headers = {"Authorization": f"Bearer {self.tokens[number % len(self.tokens)]}"}
        if number % 2 and path in self._tags:  # every other client keeps what it has
            headers["If-None-Match"] = self._tags[path]
        try:
            async with session.request(method, self.base + path, json=body, headers=headers) as answer:
                await answer.read()
                self.statuses[answer.status] += 1
                if name == "status, whole" and "ETag" in answer.headers:
                    self._tags[path] = answer.headers["ETag"]
        except (aiohttp.ClientError, TimeoutError) as error:
            self.statuses[type(error).__name__] += 1
        self.took_ms[name].append((time.perf_counter() - due_s) * 1000)

    async def listen(self, session: aiohttp.ClientSession, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        limit = aiohttp.ClientTimeout(total=None)
        async with session.get(f"{self.base}/events", headers=headers, timeout=limit) as stream:
            if stream.status != 200:
                raise SystemExit(f"/events answers {stream.status}: {await stream.text()}")
            async for line in stream.content:
                self.heard += line.startswith(b"event:")

    async def run(self, duration_s: float, samples: list[int], pid: int) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            listeners = [
                asyncio.create_task(self.listen(session, self.tokens[number % len(self.tokens)]))
                for number in range(SUBSCRIBERS)
            ]
            await asyncio.sleep(2)
            began_s, asked = time.perf_counter(), set[asyncio.Task[None]]()
            sampled_s = began_s
            for number in range(math.ceil(duration_s * RATE_PER_S)):
                due_s = began_s + number / RATE_PER_S
                await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
                self.late_ms = max(self.late_ms, (time.perf_counter() - due_s) * 1000)
                task = asyncio.create_task(self.ask(session, due_s, number))
                asked.add(task)
                task.add_done_callback(asked.discard)
                if time.perf_counter() - sampled_s >= SAMPLE_S:
                    sampled_s = time.perf_counter()
                    samples.append(rss_kib(pid))
            if asked:
                await asyncio.wait(asked)
            for listener in listeners:
                if listener.done():
                    listener.result()
                listener.cancel()
            await asyncio.gather(*listeners, return_exceptions=True)


def rss_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


@contextlib.contextmanager
def a_daemon(folder: Path, port: int) -> Any:
    config, state = folder / "ugs.yaml", folder / "state"
    config.write_text(
        f'repository: {{url: "{repository(folder)}"}}\nstate: "{state}"\nlisten: "127.0.0.1:{port}"\nlease: off\n'
    )
    with (folder / "daemon.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load_daemon", str(config), str(TOKENS)],
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        line = process.stdout.readline() if process.stdout else b""
        if not line:
            raise SystemExit((folder / "daemon.log").read_text())
        yield process.pid, json.loads(line)
    finally:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            print(f"the daemon had not ended {END_S} s after it was told to", file=sys.stderr)
        print((folder / "daemon.log").read_text()[-2000:], file=sys.stderr)


def report(load: Load, samples: list[int], duration_s: float) -> int:
    every = [took for one in load.took_ms.values() for took in one]
    print(
        f"{len(every)} requests in {duration_s:.0f} s beside {SERVICES} services, {SUBSCRIBERS} subscribers"
    )
    print(f"  {'':<22} {'number':>7} {'p50 ms':>8} {'p99 ms':>8} {'most':>8}")
    for name, took in [("all", every), *sorted(load.took_ms.items())]:
        figures = percentile(took, 0.5), percentile(took, 0.99), max(took)
        print(f"  {name:<22} {len(took):7} " + " ".join(f"{figure:8.1f}" for figure in figures))
    print(
        f"answers: {dict(load.statuses)}; events heard: {load.heard}; this program late by {load.late_ms:.0f} ms"
    )
    mib = [sample / 1024 for sample in samples]
    print(
        f"memory, MiB every {SAMPLE_S:.0f} s: {', '.join(f'{one:.0f}' for one in mib[:: max(1, len(mib) // 20)])}"
    )
    bad = sum(number for status, number in load.statuses.items() if status not in FINE)
    quarter = max(1, len(mib) // 4)
    grown = max(mib[-quarter:]) / max(mib[quarter : 2 * quarter] or mib) - 1
    slow = percentile(every, 0.99) > P99_MS_MAX
    print(
        f"p99 {'over' if slow else 'under'} {P99_MS_MAX:.0f} ms; refused or failed: {bad}; memory grew {grown:+.1%}"
    )
    if duration_s < JUDGED_S:
        return int(not load.statuses.keys() <= FINE | BUSY)
    return int(slow or bad > 0 or grown > GROWTH_MAX)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--duration", type=float, default=600.0, help="seconds")
    duration_s = parser.parse_args().duration
    samples: list[int] = []
    with tempfile.TemporaryDirectory(prefix="ugs-load-") as text:
        port = free_port()
        with a_daemon(Path(text), port) as (pid, tokens):
            load = Load(f"http://127.0.0.1:{port}", tokens)
            asyncio.run(load.run(duration_s, samples, pid))
            samples.append(rss_kib(pid))
            code = report(load, samples, duration_s)
    sys.exit(code)


if __name__ == "__main__":
    main()
