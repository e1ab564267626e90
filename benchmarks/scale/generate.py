"""Repositories of any size, made in one `git fast-import`: pins, manifests, unrelated files, a long history."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from tests.git.colleague import git

RELEASE = """\
service: {service}
version: "{version}"
artifact: {{archive: {{url: "https://artifacts.example/{service}-{version}.tar.gz", sha256: "{digest:064x}"}}}}
run: {{command: ["bin/serve"], port: 8000}}
health: {{soak: 30s, deadline: 2m}}
notes: |
  Release {version} of {service}.
"""
ENVIRONMENT = """\
environment: {name}
driver: {{kind: process}}
timezone: Europe/Berlin
windows: {{minor: [{{cron: "0 2 * * 6#1", duration: 3h}}]}}
pins:
"""
AT_S = 1_767_225_600
"""The first commit: 2026-01-01."""


class Size(Struct, frozen=True):
    """What a repository holds. `versions`: manifests of each service, of which the pins name the newest."""

    environments: int
    pins_each: int
    services: int
    versions: int = 1
    unrelated: int = 0
    commits: int = 1
    """That changed something else, before the one that pins."""

    @property
    def pins(self) -> int:
        return self.environments * self.pins_each

    @property
    def manifests(self) -> int:
        return self.services * self.versions


def sized(pins: int) -> Size:
    """As the issue has it: 100,000 pins in 1,000 environments, with 20,000 manifests; less in proportion."""
    environments = max(1, pins // 100)
    services = max(100, pins // 50)
    return Size(environments, min(pins, 100), services, versions=max(2, min(10, pins // 1_000)))


def version_of(number: int) -> str:
    return f"1.{number}.0"


def environment(size: Size, index: int, *, moved: bool = False) -> str:
    """One environment's file; with `moved`, its first pin is one version back (or ahead of what there is by none)."""
    newest, before = version_of(size.versions - 1), version_of(max(0, size.versions - 2))
    lines = [
        f'  s{(index * 37 + number) % size.services:05}: "{before if moved and number == 0 else newest}"\n'
        for number in range(size.pins_each)
    ]
    return ENVIRONMENT.format(name=f"e{index:04}") + "".join(lines)


def files(size: Size) -> Iterator[tuple[str, str]]:
    for service in range(size.services):
        for number in range(size.versions):
            version, name = version_of(number), f"s{service:05}"
            text = RELEASE.format(service=name, version=version, digest=service * 1_000 + number)
            yield f"releases/{name}/{version}.yaml", text
    for index in range(size.environments):
        yield f"environments/e{index:04}.yaml", environment(size, index)
    for number in range(size.unrelated):
        yield f"src/part{number % 200:03}/file{number:06}.txt", f"unrelated {number}\n"


def make(size: Size, folder: Path) -> Path:
    """A bare repository with one branch, `main`."""
    remote = folder / "fleet.git"
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(remote))
    importer = subprocess.Popen(["git", "-C", str(remote), "fast-import", "--quiet"], stdin=subprocess.PIPE)
    assert importer.stdin is not None
    with importer.stdin as stream:
        for number in range(size.commits - 1):
            stream.write(_commit(AT_S + number, f"Change {number}"))
            stream.write(_file("README.md", f"{number}\n"))
        stream.write(_commit(AT_S + size.commits, "Pin everything"))
        for path, text in files(size):
            stream.write(_file(path, text))
    if importer.wait() != 0:
        raise SystemExit("git fast-import failed")
    return remote


def _commit(at_s: int, message: str) -> bytes:
    person = f"Ada <ada@example.org> {at_s} +0000"
    return f"commit refs/heads/main\nauthor {person}\ncommitter {person}\ndata {len(message)}\n{message}\n".encode()


def _file(path: str, text: str) -> bytes:
    data = text.encode()
    return b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data)
