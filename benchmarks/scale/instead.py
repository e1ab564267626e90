"""What people would use instead, on the same work: `ansible-pull` with a task a pin, and a shell loop over `git pull`.

Each brings as many services to their pins as UGS does beside it, where bringing one there is writing a file: so what
is measured is finding out that nothing, or that one, differs. CPU of all processes, so that a busy machine counts less.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.scale import world
from benchmarks.scale.generate import environment, sized
from benchmarks.scale.read import commit
from benchmarks.scale.row import Row, used_s
from reconciler.engine.patrol import Patrol
from tests.git.colleague import Colleague, git

ANSIBLE = "ansible-core>=2.16,<2.20"
ROOM = Path(sys.prefix) / "bench-ansible"
"""A virtual environment of its own, beside the packages of ours; `make clean` takes it along."""
TASKS_MAX = 100
"""With a thousand tasks `ansible-pull` needs minutes for each pass."""
PLAY = "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n"
TASK = '    - copy: {{content: "{version}\\n", dest: "{state}/{service}"}}\n'
LOOP = """\
set -e
git -C tree pull --quiet
for file in tree/pins/*; do
  service=${file##*/}
  if [ "$(cat "$file")" != "$(cat "state/$service" 2>/dev/null)" ]; then cp "$file" "state/$service"; fi
done
"""


def rows(folder: Path, pins: tuple[int, ...] = (100, 1_000)) -> list[Row]:
    """Each figure in ms of CPU; the floor is what UGS needs for the same."""
    found = []
    for count in pins:
        (here := folder / str(count)).mkdir()
        ours = asyncio.run(_ours(count, here))
        others: dict[str, Callable[[int, Path], tuple[float, float]]] = {"a loop over `git pull`": _loop}
        if count <= TASKS_MAX and _installed():
            others[f"`ansible-pull` {_version()}"] = _ansible
        for name, measure in others.items():
            (room := here / name.split("`")[1].replace(" ", "-")).mkdir()
            for what, theirs, mine in zip(
                ("nothing differs", "one pin moved"), measure(count, room), ours, strict=True
            ):
                found.append(Row(f"{name}, {count:,} pins: {what}", "ms of CPU", theirs, floor=mine))
    return found


async def _ours(pins: int, folder: Path) -> tuple[float, float]:
    """UGS: asking the remote and looking at everything; and the same after a pin moved, decided to be waited with."""
    size = sized(pins)
    remote = world.repository(size, folder)
    with world.core_over(folder) as core:
        async with world.settled(core) as fleet:

            async def look() -> float:
                before = used_s()
                await fleet.refresh(poll=True)
                await Patrol(fleet).round()
                for here in fleet.passes.values():
                    if here.wake.is_set():
                        here.wake.clear()
                        await here.once()
                return (used_s() - before) * 1000

            await world.at_rest(fleet)
            await look()  # everything was put on record a moment ago
            same = sorted([await look() for _ in range(3)])[1]
            commit(remote, 0, environment(size, 0, moved=True))
            return same, await look()


def _loop(pins: int, folder: Path) -> tuple[float, float]:
    ada = _published(folder, {f"pins/s{number:04}": "1.0.0\n" for number in range(pins)})
    git(folder, "clone", "--quiet", str(folder / "fleet.git"), "tree")
    (folder / "state").mkdir()
    (folder / "loop.sh").write_text(LOOP)

    def once() -> float:
        return _spent_ms(("sh", "loop.sh"), folder)

    once()
    same = once()
    ada.commit({"pins/s0000": "1.1.0\n"}, "Bump")
    ada.push()
    moved = once()
    assert (folder / "state" / "s0000").read_text() == "1.1.0\n"
    return same, moved


def _ansible(pins: int, folder: Path) -> tuple[float, float]:
    def play(first: str) -> str:
        versions = {f"s{number:04}": first if number == 0 else "1.0.0" for number in range(pins)}
        tasks = (
            TASK.format(version=one, state=folder / "state", service=name) for name, one in versions.items()
        )
        return PLAY + "".join(tasks)

    ada = _published(folder, {"local.yml": play("1.0.0")})
    (folder / "state").mkdir()
    argv = (
        str(ROOM / "bin" / "ansible-pull"),
        "-U",
        str(folder / "fleet.git"),
        "-C",
        "main",
        "-d",
        str(folder / "tree"),
    )

    def once() -> float:
        return _spent_ms((*argv, "-i", "localhost,", "local.yml"), folder)

    once()
    same = once()
    ada.commit({"local.yml": play("1.1.0")}, "Bump")
    ada.push()
    moved = once()
    assert (folder / "state" / "s0000").read_text() == "1.1.0\n"
    return same, moved


def _published(folder: Path, files: dict[str, str]) -> Colleague:
    remote = folder / "fleet.git"
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(remote))
    ada = Colleague(folder / "ada", remote)
    ada.commit(files, "Start")
    ada.push()
    return ada


def _spent_ms(argv: tuple[str, ...], folder: Path) -> float:
    before = used_s()
    path = f"{ROOM / 'bin'}:/usr/local/bin:/usr/bin:/bin"
    variables = {"PATH": path, "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    subprocess.run(argv, cwd=folder, env=variables, check=True, capture_output=True)
    return (used_s() - before) * 1000


def _installed() -> bool:
    """Whether `ansible-pull` is there; brought from PyPI where it is not."""
    if (ROOM / "bin" / "ansible-pull").exists():
        return True
    made = subprocess.run((sys.executable, "-m", "venv", str(ROOM)), check=False, capture_output=True)
    pip = (str(ROOM / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", ANSIBLE)
    done = made.returncode == 0 and subprocess.run(pip, check=False).returncode == 0
    if not done:
        print("ansible-core cannot be installed: it is not compared with", file=sys.stderr)
    return done


def _version() -> str:
    argv = (str(ROOM / "bin" / "python"), "-c", "from ansible.release import __version__; print(__version__)")
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
