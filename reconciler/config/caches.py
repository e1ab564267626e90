"""Where a person's own programs keep what can be made anew at any time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def cache_folder(environ: Mapping[str, str]) -> Path | None:
    """`$XDG_CACHE_HOME/ugs`, by default `~/.cache/ugs`; None where nothing says where that is."""
    caches, home = environ.get("XDG_CACHE_HOME", ""), environ.get("HOME", "")
    if caches.startswith("/"):
        return Path(caches) / "ugs"
    return Path(home) / ".cache" / "ugs" if home.startswith("/") else None
