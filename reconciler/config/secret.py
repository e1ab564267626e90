"""Secrets by reference: where one stands is kept, what it is is read at each use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconciler.model.errors import HostError

BYTES_MAX = 64 << 10


@dataclass(frozen=True)
class Secret:
    """A reference to a secret. Neither `repr` nor any error holds the value."""

    source: str
    """What a person would look for: `the environment variable SLACK_TOKEN`."""
    path: Path | None = None
    value: str | None = field(default=None, repr=False)
    guarded: bool = False
    """systemd itself sees to who may read the file."""

    def read(self) -> str:
        """The value now, without its final newline. Raises HostError when there is none."""
        value = self.value if self.path is None else self._content(self.path)
        value = (value or "").removesuffix("\n").removesuffix("\r")
        if not value:
            raise HostError(
                f"{self.source} is empty or not there", "set it, or correct the reference in ugs.yaml"
            )
        return value

    def _content(self, path: Path) -> str:
        try:
            with path.open("rb") as file:
                data = file.read(BYTES_MAX + 1)
        except OSError as error:
            remedy = "let the daemon's user read it, or correct the reference in ugs.yaml"
            raise HostError(f"{self.source} cannot be read: {error.strerror}", remedy) from error
        if len(data) > BYTES_MAX:
            raise HostError(f"{self.source} is larger than {BYTES_MAX} bytes", "is it the right file?")
        try:
            return data.decode()
        except UnicodeDecodeError:
            # The error would hold the bytes: it is left behind.
            raise HostError(f"{self.source} is not UTF-8", "is it the right file?") from None


def referred(data: Mapping[str, Any], environ: Mapping[str, str], path: Callable[[str], Path]) -> Secret:
    """What {env: NAME}, {credential: NAME} or {file: PATH} refers to; `path` makes what is written absolute."""
    match data:
        case {"env": str(name)}:
            return Secret(f"the environment variable {name}", value=environ.get(name, ""))
        case {"credential": str(name)}:
            source, folder = f"the systemd credential {name}", environ.get("CREDENTIALS_DIRECTORY")
            return (
                Secret(source, path=Path(folder, name), guarded=True) if folder else Secret(source, value="")
            )
        case _:
            file = path(data.get("file", ""))
            return Secret(f"the file {file}", path=file)
