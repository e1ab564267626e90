"""A second name for a folder, so that what runs or is written down knows it by the first one still."""

from __future__ import annotations

from pathlib import Path

from reconciler.drivers.trouble import host_trouble
from reconciler.model.errors import HostError


def name_too(folder: Path, new: str) -> None:
    """`new`, beside the folder, becomes another name of it; where there is no such folder, nothing. May run twice.

    Raises HostError where `new` has something of its own already.
    """
    now = folder.with_name(new)
    with host_trouble(f"give {folder} the name {new}"):
        if not folder.exists() or folder.resolve() == now.resolve():
            return
        if now.is_dir() and not any(now.iterdir()):
            now.rmdir()
        if now.exists():
            raise HostError(f"{now} is there already, so {folder.name} cannot be renamed", "move it away")
        now.symlink_to(folder.name)
