"""`python -m tests.engines [KIND...]`: the suite on every engine, each in namespaces of its own, two at a time."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.engines import KINDS

AT_ONCE = 2
FIRST, LAST = "kubernetes", "swarm"
"""What takes the longest, beside all others; and what is alone in the end then, since managers of a swarm lose each
other on a machine that is kept busy."""
TIMEOUT_S = 3600.0
FOLDER = Path(__file__).parent
PYTEST = ("-m", "pytest", "-p", "pytest_asyncio.plugin", "-q", "-m", "engine", "--durations=5")


def built(kind: str) -> tuple[int, str]:
    """(exit code, output) of what the engine must be built by, as in the namespaces there is no network."""
    script = FOLDER / kind / "build.sh"
    if not script.exists():
        return 0, ""
    done = subprocess.run(
        [str(script)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout


def suite(kind: str) -> tuple[int, str, float]:
    """(exit code, output, seconds) of one engine's scenarios. What they leave ends with the namespaces."""
    began_s = time.monotonic()
    code, output = built(kind)
    if code:
        return code, output, time.monotonic() - began_s
    argv = [str(FOLDER / "isolated.sh"), sys.executable, *PYTEST, f"--engine={kind}", str(FOLDER)]
    done = subprocess.run(
        argv,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout, time.monotonic() - began_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; by default all")
    kinds: list[str] = parser.parse_args().kinds or list(KINDS)
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"there is no engine {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        sys.exit("the engines' suite needs root: it makes namespaces and starts engines")
    kinds.sort(key=lambda kind: (kind == LAST) - (kind == FIRST))
    failed = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for kind, (code, output, took_s) in zip(kinds, pool.map(suite, kinds), strict=True):
            print(f"== {kind}: {took_s:.0f} s\n{output}", flush=True)  # noqa: T201 - its output
            failed += [kind] if code else []
    if failed:
        print(f"failed on {', '.join(failed)}")  # noqa: T201 - its output
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
