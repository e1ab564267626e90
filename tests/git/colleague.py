"""Somebody else who works on the repository: plain git, in a clone of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

AT = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
ENVIRONMENT = {"PATH": os.environ["PATH"]}
CANDID = {
    **ENVIRONMENT,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "LC_ALL": "C",
}


def git(folder: Path, *argv: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
    """What git prints there; raises CalledProcessError when it fails."""
    process = subprocess.run(
        ["git", *argv],
        cwd=folder,
        input=stdin,
        env={**CANDID, **(environment or {})},
        capture_output=True,
        check=True,
    )
    return process.stdout.decode("utf-8", "replace").strip()


class Colleague:
    """A clone of `origin` with the branch main checked out."""

    def __init__(self, folder: Path, origin: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("remote", "add", "origin", str(origin))

    def git(self, *argv: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        return git(self.folder, *argv, stdin=stdin, environment=environment)

    def commit(
        self,
        files: Mapping[str, str | None],
        message: str = "Change something",
        *,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Write (or remove, where None) these files and commit them; the commit's id."""
        for name, text in files.items():
            path = self.folder / name
            if text is None:
                path.unlink(missing_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        self.git("add", "--all")
        self.git(
            "commit", "--quiet", "--allow-empty", "--file=-", stdin=message.encode(), environment=environment
        )
        return self.git("rev-parse", "HEAD")

    def push(self, *options: str) -> None:
        self.git("push", "--quiet", *options, "origin", "main")

    def merges(self, files: Mapping[str, str | None], message: str = "Change something", **how: str) -> str:
        """Commit and push; the commit's id."""
        sha = self.commit(files, message, environment=how)
        self.push()
        return sha

    def pull(self) -> None:
        self.git("pull", "--quiet", "--rebase", "origin", "main")

    def pull_if_any(self) -> None:
        """Pull, unless nothing was ever pushed."""
        if self.git("ls-remote", "origin", "refs/heads/main"):
            self.pull()
