"""The files that systemd reads of one service, in its folder of units."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from reconciler.drivers.mark import Mark
from reconciler.drivers.systemd.unit import (
    DROP_IN,
    Slot,
    base_of,
    is_sealed,
    parse_description,
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

    def install(self, slot: Slot, template: str, drop_in: str) -> None:
        """Make an instance be as these texts say; what people put over it is set aside."""
        name = self.unit(slot)
        with host_trouble(f"write the unit {name}"):
            _set_aside(self.folder / name)
            if _read(self._template) != template:
                write(self._template, template)
            for other in self._drop_ins(slot):
                if other.name != DROP_IN:
                    _set_aside(other)
            write(self._drop_in(slot), drop_in)
            link = self._link(slot)
            _make(link.parent)
            if not link.is_symlink() or str(link.readlink()) != f"../{self._template.name}":
                link.unlink(missing_ok=True)
                link.symlink_to(f"../{self._template.name}")

    def remove(self, slots: Iterable[Slot]) -> None:
        """Take the files of these instances away, and the template with the last of them."""
        with host_trouble(f"remove the units of {self.service}"):
            for slot in slots:
                self._link(slot).unlink(missing_ok=True)
                self._drop_in(slot).unlink(missing_ok=True)
                with suppress(OSError):  # there may be something of a person's in it
                    self._drop_in(slot).parent.rmdir()
            if not self.slots() and is_sealed(_read(self._template)):
                self._template.unlink()

    def slots(self) -> list[Slot]:
        """The instances of which there is a drop-in like ours."""
        found = self.folder.glob(f"{pattern_of(self.environment, self.service)}.d/{DROP_IN}")
        named = (split(path.parent.name.removesuffix(".d"), self.environment) for path in found)
        return sorted(name[1] for name in named if name is not None)

    def has_none(self, slot: Slot) -> bool:
        """Whether there is nothing of the instance beside a template of ours."""
        own = self.folder / self.unit(slot)
        nothing = not os.path.lexists(own) and not self._drop_in(slot).parent.exists()
        return nothing and is_sealed(_read(self._template))

    def drift(self, slot: Slot) -> str:
        """What someone changed in the files of an instance; empty when they are as they were written."""
        over = self.folder / self.unit(slot)
        if os.path.lexists(over):
            return f"{over} stands over the template"
        own = self._drop_in(slot)
        texts = {self._template: _read(self._template), own: _read(own)}
        texts |= {self.folder / name: _read(self.folder / name) for name in _handed(texts[own])}
        for path, text in texts.items():
            if not is_sealed(text):
                return f"{path} was edited" if text else f"{path} was removed"
        others = [path for path in self._drop_ins(slot) if path.name != DROP_IN]
        return f"{others[0]} was added" if others else ""

    def made_for(self, slot: Slot) -> Mark | None:
        """What the drop-in of an instance says that it is; None where there is none that says so."""
        said = re.search(r"^Description=(.*)$", _read(self._drop_in(slot)), re.MULTILINE)
        return parse_description(said[1]) if said else None

    def sockets_of(self, slot: Slot) -> list[str]:
        """The socket units that an instance is handed sockets of."""
        return _handed(_read(self._drop_in(slot)))

    def text_of(self, name: str) -> str:
        """The text of a unit's file; empty where there is none of ours."""
        text = _read(self.folder / name)
        return text if is_sealed(text) else ""

    def sockets(self) -> set[str]:
        """The socket units that there are of the service, and are this daemon's."""
        names = {path.name for path in self.folder.glob(f"{self.base}@*.socket")}
        return {name for name in names if f" (ugs {self.site})\n" in self.text_of(name)}

    def install_unit(self, name: str, text: str) -> None:
        """Make a unit that is a file of its own be as the text says; what people wrote there is set aside."""
        path = self.folder / name
        with host_trouble(f"write the unit {name}"):
            if (was := _read(path)) == text:
                return
            if was and not is_sealed(was):
                _set_aside(path)
            write(path, text)

    def remove_units(self, names: Iterable[str]) -> None:
        with host_trouble(f"remove the sockets of {self.service}"):
            for name in names:
                (self.folder / name).unlink(missing_ok=True)

    def unit(self, slot: Slot) -> str:
        return unit_of(self.environment, self.service, slot)

    @property
    def base(self) -> str:
        return base_of(self.environment, self.service)

    @property
    def _template(self) -> Path:
        return self.folder / template_of(self.environment, self.service)

    def _drop_in(self, slot: Slot) -> Path:
        return self.folder / f"{self.unit(slot)}.d" / DROP_IN

    def _drop_ins(self, slot: Slot) -> list[Path]:
        return sorted((self.folder / f"{self.unit(slot)}.d").glob("*.conf"))

    def _link(self, slot: Slot) -> Path:
        return self.folder / f"{wanted_by(self.is_system)}.wants" / self.unit(slot)


def _handed(drop_in: str) -> list[str]:
    """The socket units that a drop-in's text names."""
    said = re.search(r"^Sockets=(.*)$", drop_in, re.MULTILINE)
    return said[1].split() if said else []


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
