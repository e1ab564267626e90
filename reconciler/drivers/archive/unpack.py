"""Archives from outside, unpacked so that nothing lands, points or grows beyond its own folder.

The rules are our own and the same for tar and zip: tarfile's filters came with Python 3.11.4, later than what
stable distributions carry, and had holes of their own where links meet links.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from msgspec import Struct

from reconciler.model.errors import ArtifactError

UNPACKED_BYTES_MAX = 4 * 1024**3
MEMBERS_MAX = 100_000
READ_BYTES_MAX = 16 * 1024**2
COPY_BYTES = 1024 * 1024
FOLDER_MODE = 0o755

NAME_REFUSED = (
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EILSEQ,
    errno.ELOOP,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.EISDIR,
)
BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    RuntimeError,
)


class Member(Struct, frozen=True):
    """One entry. `link` is the target of a symlink (relative to it) or of a hard link (to the root)."""

    name: str
    kind: Literal["file", "directory", "symlink", "hardlink", "special"]
    size: int
    mode: int
    link: str = ""
    open: Callable[[], IO[bytes]] = io.BytesIO


class Refused(Exception):
    """Why an archive is not unpacked."""


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar (plain, gzip, bzip2, xz) or zip into an empty folder.

    Raises ArtifactError, naming the member, for anything that is unsafe or broken; OSError is the host's.
    """
    name, total, count = "", 0, 0
    try:
        for member in _members(archive):
            name, total, count = member.name, total + member.size, count + 1
            if total > UNPACKED_BYTES_MAX:
                raise Refused(f"it grows beyond {UNPACKED_BYTES_MAX} bytes")
            if count > MEMBERS_MAX:
                raise Refused(f"it has more than {MEMBERS_MAX} entries")
            _write(member, folder)
    except (Refused, *BROKEN) as error:
        raise _artifact_error(name, str(error)) from error
    except OSError as error:
        # gzip and bz2 report broken data as an OSError without a number; a name that no file can have is
        # the archive's fault as well.
        if error.errno is None or error.errno in NAME_REFUSED:
            raise _artifact_error(name, error.strerror or str(error)) from error
        raise


def _artifact_error(name: str, why: str) -> ArtifactError:
    where = f"the archive's member {name!r}" if name else "the archive"
    return ArtifactError(f"{where} cannot be unpacked: {why}", "publish a mended archive as a new release")


class _Bounded(io.RawIOBase):
    """A decompressed stream that neither grows nor is swallowed in one gulp: headers are read whole."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile) -> None:
        self.stream = stream

    def read(self, size: int = -1, /) -> bytes:
        if size < 0 or size > READ_BYTES_MAX:
            raise Refused("a header is too large")
        if self.stream.tell() > UNPACKED_BYTES_MAX:
            raise Refused(f"it grows beyond {UNPACKED_BYTES_MAX} bytes")
        return self.stream.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        return self.stream.tell()


def _members(archive: Path) -> Iterator[Member]:
    with archive.open("rb") as file:
        magic = file.read(6)
    if magic.startswith(b"PK"):
        yield from _zip_members(archive)
        return
    with _decompressed(archive, magic) as stream, tarfile.open(fileobj=_Bounded(stream), mode="r:") as tar:
        for info in tar:
            yield _tar_member(tar, info)


def _decompressed(archive: Path, magic: bytes) -> IO[bytes] | gzip.GzipFile:
    if magic.startswith(b"\x1f\x8b"):
        return gzip.open(archive)
    if magic.startswith(b"BZh"):
        return bz2.open(archive)
    return lzma.open(archive) if magic.startswith(b"\xfd7zXZ\0") else archive.open("rb")


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    name, mode = info.name, info.mode & 0o755
    if info.isdir():
        return Member(name, "directory", 0, mode)
    if info.issym():
        return Member(name, "symlink", 0, mode, info.linkname)
    if info.islnk():
        return Member(name, "hardlink", 0, mode, info.linkname)
    if info.isreg():
        return Member(name, "file", info.size, mode, open=lambda: tar.extractfile(info) or io.BytesIO())
    return Member(name, "special", 0, mode)


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as bundle:
        for info in bundle.infolist():
            mode = info.external_attr >> 16
            if info.is_dir():
                yield Member(info.filename, "directory", 0, mode & 0o755)
            elif stat.S_IFMT(mode) in (0, stat.S_IFREG):
                opener = _zip_opener(bundle, info)
                yield Member(info.filename, "file", info.file_size, (mode or 0o644) & 0o755, open=opener)
            else:
                yield Member(info.filename, "special", 0, 0)


def _zip_opener(bundle: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
    return lambda: bundle.open(info)


def _write(member: Member, folder: Path) -> None:
    path = _place(member.name, folder)
    if member.kind == "directory":
        _make_folder(path, folder)
        return
    if os.path.lexists(path):
        raise Refused("it appears twice")
    _make_folder(path.parent, folder)
    if member.kind == "file":
        with member.open() as reader, path.open("xb") as writer:
            shutil.copyfileobj(reader, writer, COPY_BYTES)
            os.fchmod(writer.fileno(), member.mode | stat.S_IRUSR | stat.S_IWUSR)
    elif member.kind == "symlink":
        path.symlink_to(_checked_link(member.link, path, folder))
    elif member.kind == "special":
        raise Refused("it is a device, a pipe, or a link in a zip")
    else:
        source = _place(member.link, folder)
        if source.is_symlink() or not source.is_file():
            raise Refused(f"it links to {member.link!r}, which is no file of the archive")
        os.link(source, path)


def _make_folder(path: Path, top: Path) -> None:
    """With all above it up to `top`, open to those who may enter that, whatever the daemon's umask."""
    if path.is_dir():
        return
    if path != top:
        _make_folder(path.parent, top)
    path.mkdir()
    path.chmod(FOLDER_MODE)


def _place(name: str, folder: Path) -> Path:
    """Where a member goes; never through a link, so `..` and absolute names are all there is to refuse."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        raise Refused("its name leads outside")
    path = folder
    for part in pure.parts[:-1]:
        path /= part
        if path.is_symlink():
            raise Refused(f"its name leads through the link {path.relative_to(folder).as_posix()!r}")
    return folder / pure


def _checked_link(link: str, path: Path, folder: Path) -> str:
    """The link's target, when it stays inside whatever other links it meets: `..` may only stand in front."""
    parts = PurePosixPath(link).parts
    climbs = parts.count("..")
    depth = len(path.relative_to(folder).parts) - 1
    if link.startswith("/") or climbs > depth or ".." in parts[climbs:]:
        raise Refused(f"it links to {link!r}, outside or by a way that cannot be checked")
    return link
