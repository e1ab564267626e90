"""`make bench`: every benchmark, as tables, or with --json every figure."""

from __future__ import annotations

import json
import os
import platform
import sys

from msgspec import to_builtins

from benchmarks import containers, decide, deploy, hostile, units
from reconciler import __version__


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def main() -> None:
    results = [deploy.run(), decide.run(), hostile.run()]
    results += [engine.run() for engine in (containers, units) if engine.possible()]
    if "--json" in sys.argv:
        print(json.dumps({"machine": machine(), "results": to_builtins(results)}, indent=2))
        return
    print(f"UGS {__version__}, {machine()}")
    for result in results:
        print(f"\n{result.table()}")


main()
