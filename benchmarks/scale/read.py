"""Reading: a first start, one changed pin, `ugs check`, and what Git and the parser alone need for it."""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from _ruamel_yaml import CParser  # type: ignore[import-not-found]  # a C extension without stubs
from msgspec.structs import replace
from ruamel.yaml.events import StreamEndEvent

from benchmarks.scale.generate import AT_S, Size, environment, make
from benchmarks.scale.row import Row, cpu_ms, paired_ms, wall_ms
from reconciler.engine.repository import Repository
from reconciler.git import Identity, Mirror, Remote
from reconciler.model.desired import Resolver
from reconciler.model.layout import FOLDERS
from tests.git.colleague import git

MOVES = 7
BESIDE_MAX = 1.5
"""How many times what the repository alone takes it may be beside what is not UGS's: what a busy machine adds."""
POLLS = 25
READINGS, READINGS_OF_FEW, FEW_PINS = 3, 5, 1_000
"""Of a few pins more: a reading of a thousand takes as long as a hiccup of the machine."""


def rows(size: Size, folder: Path) -> list[Row]:
    remote = Remote(str(make(size, folder)))
    here = f"{size.pins:,} pins"
    with contextlib.closing(Mirror(folder / "mirror", remote, Identity("UGS", "ugs@example.org"))) as mirror:
        repository, resolve = Repository(mirror, remote), Resolver()
        tip = repository.fetch().tip
        cold, floor = first_reading(mirror, remote, size, tip, folder / "mirror")
        resolve(repository.snapshot(tip), {})
        repository.accept(tip)
        found = [
            Row(
                f"first reading of {here}",
                "ms",
                cold,
                floor=floor,
                factor=3.0,
                curve="first reading",
                pins=size.pins,
            )
        ]
        figures = [understood(repository, resolve, size, Path(remote.url), number) for number in range(MOVES)]
        moved, what = sorted(figures)[MOVES // 2], "one pin moved: fetched → resolved"
        found.append(
            Row(
                f"one of {here} moved: fetched → resolved",
                "ms of CPU",
                moved,
                bound=10.0,
                curve=what,
                pins=size.pins,
            )
        )
        asked = ("git", "ls-remote", "--quiet", remote.url, "refs/heads/main")
        repository.fetch(poll=True)
        poll, bare_poll = paired_ms(
            lambda: repository.fetch(poll=True),
            lambda: subprocess.run(asked, check=True, capture_output=True),
            POLLS,
        )
        found.append(
            Row(
                f"a poll without news, {here}",
                "ms of CPU",
                poll,
                floor=bare_poll,
                factor=1.5,
                curve="a poll without news",
                pins=size.pins,
            )
        )
    return found


def beside_rows(size: Size, unrelated: int, commits: int, folder: Path) -> list[Row]:
    """The same repository beside files that are not UGS's, and after a long history: neither is to cost anything."""
    others = {"": size, f" beside {unrelated:,} other files": replace(size, unrelated=unrelated)}
    others[f" after {commits:,} commits"] = replace(size, commits=commits)
    found, floor = list[Row](), dict[str, float]()
    for number, (how, one) in enumerate(others.items()):
        (here := folder / str(number)).mkdir()
        for row in rows(one, here):
            if how and row.curve:
                what = f"{row.what}{how}"
                found.append(Row(what, row.unit, row.figure, floor=floor[row.what], factor=BESIDE_MAX))
            floor.setdefault(row.what, row.figure)
    return found


def first_reading(mirror: Mirror, remote: Remote, size: Size, tip: str, folder: Path) -> tuple[float, float]:
    """Milliseconds that pass, and those of the bare tools: medians of several, in turns."""

    def ours() -> None:
        Resolver()(Repository(mirror, remote).snapshot(tip), {})  # one that knows nothing yet

    rounds = range(READINGS_OF_FEW if size.pins <= FEW_PINS else READINGS)
    pairs = [(wall_ms(lambda: bare(folder, tip), rounds=1), wall_ms(ours, rounds=1)) for _ in rounds]
    floor, figure = (statistics.median(figures) for figures in zip(*pairs, strict=True))
    return figure, floor


def understood(repository: Repository, resolve: Resolver, size: Size, remote: Path, number: int) -> float:
    """A commit that moves one pin is there: milliseconds of CPU until it is known what each environment asks for."""
    commit(remote, number % size.environments, environment(size, number % size.environments, moved=True))
    tip = repository.fetch().tip
    took = cpu_ms(lambda: resolve(repository.snapshot(tip), {}), rounds=1)
    repository.accept(tip)
    return took


def commit(remote: Path, index: int, text: str) -> None:
    data = text.encode()
    stamp = f"committer Ada <ada@example.org> {AT_S + 100_000 + index} +0000"
    head = f"commit refs/heads/main\n{stamp}\ndata 4\nMove\nfrom refs/heads/main^0\n"
    body = f"M 100644 inline environments/e{index:04}.yaml\ndata {len(data)}\n".encode()
    subprocess.run(
        ("git", "-C", str(remote), "fast-import", "--quiet", "--force"),
        input=head.encode() + body + data + b"\n",
        check=True,
    )


def bare(repository: Path, revision: str) -> None:
    """`ls-tree`, one pipelined `cat-file --batch`, and the C parser's events: nothing is made of them."""
    listed = subprocess.run(
        ("git", "-C", str(repository), "ls-tree", "-r", "-z", revision, "--", *FOLDERS),
        check=True,
        capture_output=True,
    ).stdout
    ids = [record.split(b"\t")[0].split()[2] for record in listed.split(b"\0")[:-1]]
    said = subprocess.run(
        ("git", "-C", str(repository), "cat-file", "--batch"),
        input=b"\n".join(ids) + b"\n",
        check=True,
        capture_output=True,
    ).stdout
    at = 0
    while at < len(said):
        end = said.index(b"\n", at)
        size = int(said[at:end].split()[2])
        parser = CParser(said[end + 1 : end + 1 + size].decode())
        while not isinstance(parser.get_event(), StreamEndEvent):
            pass
        at = end + size + 2


def check_rows(size: Size, folder: Path) -> list[Row]:
    """`ugs check` as a process, on a work tree: with nothing kept from before, and after one file changed."""
    remote = make(size, folder)
    git(folder, "clone", "--quiet", str(remote), str(folder / "tree"))
    tree = folder / "tree"

    def check() -> None:
        subprocess.run(
            (sys.executable, "-m", "reconciler.cli", "check", str(tree)),
            check=True,
            capture_output=True,
            env={**os.environ, "XDG_CACHE_HOME": str(folder / "caches")},
        )

    def spent() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        check()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000

    first = spent()
    file = tree / "releases" / "s00000" / "1.0.0.yaml"
    file.write_text(file.read_text() + "# changed\n")
    return [
        Row(f"`ugs check` of {size.manifests:,} manifests", "ms of CPU", first, bound=5_000.0),
        Row("the same after one file changed", "ms of CPU", spent(), bound=1_000.0),
    ]
