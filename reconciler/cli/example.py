"""This project's own releases and environments: what `init` scaffolds from and `demo` plays."""

from __future__ import annotations

import shutil
from pathlib import Path

import reconciler
from reconciler.model.layout import FOLDERS


def example_root() -> Path:
    """Where `releases/` and `environments/` stand: inside an installed package, or beside it in a checkout."""
    package = Path(reconciler.__file__).parent
    packed = package / "example"
    return packed if packed.is_dir() else package.parent


def copy_example(to: Path) -> None:
    """Copy the example repository, without what only builds its archives."""
    for folder in FOLDERS:
        shutil.copytree(
            example_root() / folder,
            to / folder,
            ignore=shutil.ignore_patterns("source", "build.py", "__pycache__"),
        )
