"""The files that systemd reads of one service, in its folder of units."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from reconciler.drivers.systemd.unit import (
    DROP_IN,
    is_sealed,
    pattern_of,
    split,
    template_of,
    unit_of,
    wanted_by,
)
from reconciler.drivers.trouble import host_trouble

READ_BYTES_MAX = 1 << 20
PUBLIC, SECRET = 0o644, 0o600
ASIDE = ".before-ugs"


class Files(Struct, frozen=True):
    """Those of one service: its template, and for each instance a drop-in and the link that starts it at boot.

    `site`: of which daemon they are. `environment`: the first name that it had, by which units are called.
    """

    folder: Path
    site: str
    environment: str
    service: str
    is_system: bool

    def install(self, index: int, template: str, drop_in: str) -> None:
        """Make an instance be as these texts say; what people put over it is set aside."""
        name = self.unit(index)
        with host_trouble(f"write the unit {name}"):
            _set_aside(self.folder / name)
            if _read(self._template) != template:
                write(self._template, template)
            for other in self._drop_ins(index):
                if other.name != DROP_IN:
                    _set_aside(other)
            write(self._drop_in(index), drop_in)
            link = self._link(index)
            _make(link.parent)
            if not link.is_symlink() or str(link.readlink()) != f"../{self._template.name}":
                link.unlink(missing_ok=True)
                link.symlink_to(f"../{self._template.name}")

    def remove(self, indexes: Iterable[int]) -> None:
        """Take the files of these instances away, and the template with the last of them."""
        with host_trouble(f"remove the units of {self.service}"):
            for index in indexes:
                self._link(index).unlink(missing_ok=True)
                self._drop_in(index).unlink(missing_ok=True)
                with suppress(OSError):  # there may be something of a person's in it
                    self._drop_in(index).parent.rmdir()
            if not self.indexes() and is_sealed(_read(self._template)):
                self._template.unlink()

    def indexes(self) -> list[int]:
        """The instances of which there is a drop-in like ours."""
        found = self.folder.glob(f"{pattern_of(self.environment, self.service)}.d/{DROP_IN}")
        named = (split(path.parent.name.removesuffix(".d"), self.environment) for path in found)
        return sorted(name[1] for name in named if name is not None)

    def has_none(self, index: int) -> bool:
        """Whether there is nothing of the instance beside a template of ours."""
        own = self.folder / self.unit(index)
        nothing = not os.path.lexists(own) and not self._drop_in(index).parent.exists()
        return nothing and is_sealed(_read(self._template))

    def drift(self, index: int) -> str:
        """What someone changed in the files of an instance; empty when they are as they were written."""
        over = self.folder / self.unit(index)
        if os.path.lexists(over):
            return f"{over} stands over the template"
        for path in (self._template, self._drop_in(index)):
            text = _read(path)
            if not is_sealed(text):
                return f"{path} was edited" if text else f"{path} was removed"
        others = [path for path in self._drop_ins(index) if path.name != DROP_IN]
        return f"{others[0]} was added" if others else ""

    def unit(self, index: int) -> str:
        return unit_of(self.environment, self.service, index)

    @property
    def _template(self) -> Path:
        return self.folder / template_of(self.environment, self.service)

    def _drop_in(self, index: int) -> Path:
        return self.folder / f"{self.unit(index)}.d" / DROP_IN

    def _drop_ins(self, index: int) -> list[Path]:
        return sorted((self.folder / f"{self.unit(index)}.d").glob("*.conf"))

    def _link(self, index: int) -> Path:
        return self.folder / f"{wanted_by(self.is_system)}.wants" / self.unit(index)


def write(path: Path, text: str, *, mode: int = PUBLIC) -> None:
    """Replace a file in one rename, on disk to the end: whoever reads it finds the old text or the new one."""
    if mode == PUBLIC:
        _make(path.parent)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        os.fchmod(file.fileno(), mode)  # whatever the daemon's umask is
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _make(folder: Path) -> None:
    """One that everybody may look into, whatever the daemon's umask is."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)


def _set_aside(path: Path) -> None:
    """What a person wrote is not lost: systemd reads no file of that name."""
    with suppress(FileNotFoundError):
        path.rename(path.with_name(f"{path.name}{ASIDE}"))


def _read(path: Path) -> str:
    """Empty where there is no such file, or nothing that we could have written."""
    try:
        with path.open("rb") as file:
            # As much as there is: a buffer for the most there may be would cost more than the reading.
            size = min(os.fstat(file.fileno()).st_size, READ_BYTES_MAX)
            return file.read(size).decode(errors="replace")
    except OSError:
        return ""
