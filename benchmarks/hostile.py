"""How long it takes to refuse each hostile file and repository of the catalogue, beside good files that stay in force.

CPU in one process, from the listing of a tree to the located problem; what was read before is remembered, as in the
daemon. Anything that is not refused, or spoils what is good, ends the benchmark.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from benchmarks.result import Result
from reconciler.model.errors import InputError
from reconciler.model.snapshot import Cache, Snapshot, read

BOUND_MS = 50
ROUNDS = 5
REGULAR = "100644"
RELEASE = "releases/api/1.5.0.yaml"
PINS = "environments/staging.yaml"
UNREADABLE = "9" * 5000


class File(NamedTuple):
    """As git lists a tree."""

    mode: str
    oid: str
    path: str
    size: int


def release(version: str = "1.5.0", more: str = "") -> str:
    return (
        f'service: api\nversion: "{version}"\n'
        f'artifact: {{archive: {{url: a.tgz, sha256: "{"0" * 64}"}}}}\nrun: {{command: [x], port: 65000}}\n{more}'
    )


GOOD = {
    "releases/api/1.4.0.yaml": release("1.4.0"),
    "environments/production.yaml": 'environment: production\ndriver: {kind: process}\npins: {api: "1.4.0"}\n',
}


def documents() -> Iterator[tuple[str, str, bytes]]:
    """Name, path and content of every hostile file: the YAML and version sections of the catalogue."""
    deep = 2_000
    bomb = ["a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10))]
    texts = {
        "YM-01 unquoted version": release().replace('"1.5.0"', "1.10"),
        "YM-02 directive": f"%YAML 1.1\n---\n{release()}",
        "YM-03 key twice": release(more='version: "1.5.0"\n'),
        "YM-03 merge key": release(more="config:\n  - {<<: {path: x}}\n"),
        "YM-04 alias bomb": "\n".join(bomb) + "\n",
        "YM-04 self reference": "a: &a [*a]\n",
        "YM-05 2,000 lists": "a: " + "[" * deep + "]" * deep + "\n",
        "YM-05 2,000 open lists": "a: " + "[" * deep + "\n",
        "YM-05 2,000 mappings": "a: " + "{b: " * deep + "\n",
        "YM-05 2,000 block lists": "a:\n" + "- " * deep + "x\n",
        "YM-05 1,000 block mappings": "\n".join(" " * i + "a:" for i in range(deep // 2)) + "\n",
        "YM-05 2,000 complex keys": "? " * deep + "\n",
        "YM-06 10 MB scalar": "a: '" + "x" * 10_000_000 + "'\n",
        "YM-06 1 MiB scalar": release(more="notes: '" + "x" * 1_048_000 + "'\nmore: 1\n"),
        "YM-06 1 MiB of keys": release(more="".join(f"k{i}: 1\n" for i in range(100_000))),
        "YM-06 20,000 keys": release(more="".join(f"k{i}: 1\n" for i in range(20_000))),
        "YM-06 20,000 items": release(more="config:\n" + "  - 1\n" * 20_000),
        "5,900 keys": release(more="".join(f"k{i}: 1\n" for i in range(5_900))),
        "11,000 items": release(more="config:\n" + "  - 1\n" * 11_000),
        "YM-07 tag": release(more="notes: !!python/object/apply:os.system ['id']\n"),
        "YM-08 two documents": release() + "---\n" + release(),
        "YM-08 nothing": "",
        "YM-08 bidirectional": release(more="notes: \u202egnp.exe\n"),
        "YM-08 invisible, at the end of 1 MiB": release(more="notes: '" + "x" * 1_000_000 + "\u200b'\n"),
        "YM-09 5,000 digits": release(more=f"notes: {UNREADABLE}\n"),
        "YM-09 infinity": release(more="notes: .inf\n"),
        "YM-11 5,000-digit version": release(f"{UNREADABLE}.0.0"),
        "HR-07 cut off": release()[:-8],
        "a range of 10,000 parts": release(
            more="upgrade: {from: '" + " || ".join([">=1.0.0"] * 10_000) + "'}\n"
        ),
        "a duration of 100,000 digits": release(more="health: {soak: " + "9" * 100_000 + "s}\n"),
    }
    for name, text in texts.items():
        yield name, RELEASE, text.encode()
    yield "YM-08 UTF-16", RELEASE, release().encode("utf-16")
    yield "YM-08 NUL", RELEASE, release(more="notes: x\0y\n").encode()
    pins = "environment: staging\ndriver: {kind: process}\npins:\n"
    rules = "environment: staging\ntimezone: UTC\ndriver: {kind: process}\npins: {}\n"
    many = "".join(f"  S{i}: 1\n" for i in range(20_000))
    yield "YM-10 20,000 bad pins", PINS, (pins + many).encode()
    cron = "{cron: '" + "*/1," * 10_000 + "* * * * *', duration: 1h}"
    yield "a cron line of 40,000 characters", PINS, f"{rules}windows: {{major: [{cron}]}}\n".encode()
    mixed = "".join(f"  s{i}: {'1.0.0' if i % 400 else 1}\n" for i in range(5_900)).replace(
        " 1.0.0", " '1.0.0'"
    )
    yield "5,900 pins, one in 400 bad", PINS, (pins + mixed).encode()
    yield "5,900 bad pins", PINS, (pins + "".join(f"  S{i}: 1\n" for i in range(5_900))).encode()
    for count in (2_300, 5_000):
        windows = ", ".join(["{cron: 'x', duration: 1h}"] * count)
        yield f"{count:,} bad windows", PINS, f"{rules}windows: {{major: [{windows}]}}\n".encode()


def repositories() -> Iterator[tuple[str, list[File], dict[str, bytes]]]:
    """Name, listing and contents of every hostile tree: the repository section of the catalogue."""
    for name, path, data in documents():
        yield name, [listed(path, data)], {path: data}
    for name, mode, path in (
        ("HR-01 symbolic link", "120000", RELEASE),
        ("HR-01 linked folder", "120000", "environments/staging"),
        ("HR-02 submodule", "160000", "releases/api/vendor"),
        ("HR-05 control character", REGULAR, "environments/staging/a\nb.yaml"),
        ("HR-05 option", REGULAR, "releases/api/--output=x.yaml"),
    ):
        yield name, [listed(path, b"/etc/passwd", mode)], {path: b"/etc/passwd"}
    twins = [listed(f"releases/api/1.5.0-{name}.yaml", b"x: 1\n") for name in ("RC.1", "rc.1")]
    yield "HR-05 case twins", twins, {twin.path: b"x: 1\n" for twin in twins}
    yield "HR-06 1 GiB file", [File(REGULAR, "0" * 40, RELEASE, 1 << 30)], {}
    hundred_thousand = [File(REGULAR, f"{i:040x}", f"releases/api/1.{i}.0.yaml", 100) for i in range(100_000)]
    yield "HR-06 100,000 files", hundred_thousand, {}
    folders = "releases/" + "d/" * 1_000 + "1.0.0.yaml"
    yield "HR-06 1,000 folders deep", [listed(folders, b"x: 1\n")], {folders: b"x: 1\n"}


def listed(path: str, data: bytes, mode: str = REGULAR) -> File:
    return File(mode, hashlib.sha1(path.encode() + data, usedforsecurity=False).hexdigest(), path, len(data))


def run(rounds: int = ROUNDS) -> Result:
    """Milliseconds of CPU for each, the slowest first."""
    found = {
        name: refused(name, files, contents, rounds, _cpu_ms) for name, files, contents in repositories()
    }
    slowest = sorted(found, key=lambda name: -min(found[name]))
    return Result(
        f"refusing what is hostile (bound: {BOUND_MS} each)",
        "ms of CPU",
        {name: found[name] for name in slowest},
    )


def refused(
    name: str,
    files: list[File],
    contents: dict[str, bytes],
    rounds: int,
    cost: Callable[[Callable[[], object]], float],
) -> list[float]:
    """What it cost in each round, as `cost` tells of what it is given to do; it ends with SystemExit if not refused."""
    good = [listed(path, text.encode()) for path, text in GOOD.items()]
    blobs = {one.oid: GOOD[one.path].encode() for one in good}
    blobs |= {one.oid: contents[one.path] for one in files if one.path in contents}
    figures = []
    for _ in range(rounds):
        cache = Cache()
        read("r0", good, blobs.__getitem__, cache, _never)
        snapshot: Snapshot | None = None

        def look(cache: Cache = cache) -> None:
            nonlocal snapshot
            snapshot = _read([*good, *files], blobs, cache)

        figures.append(cost(look))
        if snapshot is not None and not _harmless(snapshot):
            raise SystemExit(f"{name}: not refused, or it spoilt what is good")
    return figures


def _cpu_ms(do: Callable[[], object]) -> float:
    began_s = time.process_time()
    do()
    return (time.process_time() - began_s) * 1000


def _read(files: list[File], blobs: dict[str, bytes], cache: Cache) -> Snapshot | None:
    """None where the whole tree is refused."""
    try:
        return read("r1", files, blobs.__getitem__, cache, _never)
    except InputError:
        return None


def _harmless(snapshot: Snapshot) -> bool:
    """It was told, or nobody looks where it stands; and what is good is in force as before."""
    told = bool(snapshot.problems) or len(snapshot.environments) == 1
    return told and "production" in snapshot.environments and snapshot.releases.keys() == {("api", "1.4.0")}


def _never(_path: str) -> Iterable[tuple[str, bytes]]:
    return ()
