"""A repository with a branch that a pull request would merge, in plain Git."""

from __future__ import annotations

from pathlib import Path

from tests.git.colleague import Colleague, git

PRODUCTION = "environments/production.yaml"
SATURDAYS = 'timezone: Europe/Berlin\nwindows: {minor: [{cron: "0 2 * * 6", duration: 3h}]}\n'


def release(version: str, notes: str = "", service: str = "api", more: str = "") -> dict[str, str]:
    """The file of one release."""
    text = (
        f'service: {service}\nversion: "{version}"\nrun: {{command: [x]}}\n{more}'
        f'artifact: {{archive: {{url: a.tgz, sha256: "{"0" * 64}"}}}}\n'
    )
    if notes:
        text += "notes: |\n" + "".join(f"  {line}".rstrip() + "\n" for line in notes.splitlines())
    return {f"releases/{service}/{version}.yaml": text}


def production(more: str = "", **pins: str) -> dict[str, str]:
    lines = "".join(f'  {service}: "{version}"\n' for service, version in pins.items())
    return {PRODUCTION: f"environment: production\ndriver: {{kind: process}}\n{more}pins:\n{lines}"}


def repository(folder: Path) -> Colleague:
    """A clone of an empty origin, whose main has api 1.0.0 in production and 1.1.0 released."""
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    ada = Colleague(folder / "ada", folder / "origin.git")
    files = release("1.0.0", "First.") | release("1.1.0", "Faster.\nSmaller.") | production(api="1.0.0")
    ada.commit(files, "Start")
    ada.push()
    return ada
