"""What does not hang on the size: starting the command line, the journal, probes, a revert's commit."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from benchmarks.scale.generate import Size, make
from benchmarks.scale.row import Row, wall_ms
from reconciler import probes
from reconciler.git import Identity, Mirror, Remote
from reconciler.model.release import Probe
from reconciler.store import Store
from tests.git.colleague import git

STEPS = 500
PROBES = 1_000


def rows(folder: Path) -> list[Row]:
    return [*command_line(folder), journal(folder), probing()]


def command_line(folder: Path) -> list[Row]:
    make(Size(1, 9, 9), folder)
    git(folder, "clone", "--quiet", str(folder / "fleet.git"), str(folder / "ten"))
    return [
        Row("`ugs --help`", "ms of CPU", _spent("--help"), bound=150.0),
        Row("`ugs check` on ten files", "ms of CPU", _spent("check", str(folder / "ten")), bound=400.0),
    ]


def _spent(*argv: str) -> float:
    figures = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run((sys.executable, "-m", "reconciler.cli", *argv), check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        figures.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000)
    return sorted(figures)[2]


def journal(folder: Path) -> Row:
    """Intents of steps, each durable before the next."""
    with contextlib.closing(Store(folder / "ugs.db", now=lambda: datetime.now(UTC))) as store:
        began_s = time.perf_counter()
        for number in range(STEPS):
            store.begin(f"operation-{number // 10}", f"step-{number}")
        took_s = time.perf_counter() - began_s
    return Row("the journal", "durable steps a second", STEPS / took_s, bound=500.0, at_least=True)


def probing() -> Row:
    """Over http, to a server in another process: the share of one core that asking once a second takes."""
    ours, floor = asyncio.run(_probed())
    return Row(f"{PROBES:,} probes a second over http", "% of one core", ours, bound=60.0, floor=floor)


async def _probed() -> tuple[float, float]:
    """A thousand, 50 at once, and the same by nothing but the session."""
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.scale.small", stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    port = int(await server.stdout.readline())
    probe = Probe(http=f"http://127.0.0.1:{port}/")
    try:
        async with probes.session() as session:

            async def ask(number: int) -> bool:
                found = await probes.probe(
                    session,
                    probe,
                    instance=number,
                    values={},
                    directory=Path("/"),
                    environment={},
                    secrets=(),
                    now=lambda: datetime.now(UTC),
                    monotonic=time.monotonic,
                )
                return found.sample.verdict == "healthy"

            async def bare(_number: int) -> bool:
                async with session.get(f"http://127.0.0.1:{port}/") as answer:
                    await answer.read()
                    return answer.status == 200

            async def spent(one: Callable[[int], Awaitable[bool]]) -> float:
                await asyncio.gather(*(one(number) for number in range(50)))
                began = time.process_time()
                for first in range(0, PROBES, 50):
                    assert all(await asyncio.gather(*(one(number) for number in range(first, first + 50))))
                return (time.process_time() - began) * 100

            return await spent(ask), await spent(bare)
    finally:
        server.kill()
        await server.wait()


def revert_rows(size: Size, folder: Path) -> list[Row]:
    """The commit that puts a pin back, made and pushed; and the same by hand: hash-object, mktree and their like."""
    remote = make(size, folder)
    with contextlib.closing(
        Mirror(folder / "mirror", Remote(str(remote)), Identity("UGS", "ugs@example.org"))
    ) as mirror:
        path, at = "environments/e0000.yaml", datetime.now(UTC)

        def reverted() -> None:
            tip = mirror.fetch()
            data = mirror.blob_at(tip, path) or b""
            mirror.push(mirror.commit(tip, {path: data + b"# reverted\n"}, "Revert", at=at))

        ours = wall_ms(reverted)
        by_hand = wall_ms(lambda: _plumbed(folder / "mirror", remote, path))
    count = size.manifests + size.environments + size.unrelated
    return [Row(f"a revert's commit pushed, {count:,} files", "ms", ours, floor=by_hand, factor=3.0)]


def _plumbed(mirror: Path, remote: Path, path: str) -> None:
    """The same with an index of its own, as a script would."""

    def ask(*argv: str, stdin: bytes = b"") -> str:
        environment = {
            "GIT_DIR": str(mirror),
            "GIT_INDEX_FILE": str(mirror / "bench-index"),
            "PATH": "/usr/bin",
        }
        person = ("-c", "user.name=UGS", "-c", "user.email=ugs@example.org")
        done = subprocess.run(
            ("git", *person, *argv), input=stdin, env=environment, check=True, capture_output=True
        )
        return done.stdout.decode().strip()

    ask("fetch", "--quiet", "--no-tags", str(remote), "+refs/heads/main:refs/bench/main")
    data = subprocess.run(
        ("git", "--git-dir", str(mirror), "cat-file", "blob", f"refs/bench/main:{path}"),
        check=True,
        capture_output=True,
    ).stdout
    blob = ask("hash-object", "-w", "--stdin", stdin=data + b"# reverted\n")
    ask("read-tree", "refs/bench/main")
    ask("update-index", "--cacheinfo", f"100644,{blob},{path}")
    commit = ask("commit-tree", "-p", "refs/bench/main", "-m", "Revert", ask("write-tree"))
    ask("push", "--quiet", str(remote), f"{commit}:refs/heads/main")


async def _serve() -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
