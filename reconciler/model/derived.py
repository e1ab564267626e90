"""A release's manifest made from an earlier one's: another version and image, and what was said of the old one alone
left out."""

from __future__ import annotations

from typing import Any

from reconciler.model.document import read
from reconciler.model.errors import InputError, UgsError
from reconciler.model.manifest import parse_release
from reconciler.model.release import Release
from reconciler.model.splice import says, spliced
from reconciler.model.version import Version

OF_ONE_RELEASE = ("withdrawn", "notes")
OF_ONE_WAY = ("urgency", "barrier", "dead_end")


def path_of(service: str, version: Version) -> str:
    """Where a release's manifest stands."""
    return f"releases/{service}/{version}.yaml"


def derived(data: bytes, file: str, version: Version, image: str) -> tuple[bytes, Release]:
    """The manifest of another version and image, every other line as in `data`; and what it says.

    `notes` and `withdrawn` were said of the old one, and so were `urgency`, `barrier` and `dead_end`.
    Raises InputError and UgsError where it cannot be made.
    """
    document = read(data, file)
    goal: dict[str, Any] = {key: value for key, value in document.data.items() if key not in OF_ONE_RELEASE}
    goal |= {"version": version.text, "artifact": goal["artifact"] | {"image": image}}
    if "upgrade" in goal:
        goal["upgrade"] = {key: value for key, value in goal["upgrade"].items() if key not in OF_ONE_WAY}
    made, path = spliced(document, goal), path_of(document.data["service"], version)
    if made is None or not says(made, path, goal):
        raise UgsError(f"{file}: no manifest of {version} can be made of it", f"write {path} by hand")
    try:
        return made, parse_release(read(made, path))
    except InputError as error:
        raise UgsError(f"{file}: what was made of it for {version} is not right: {error}") from error
