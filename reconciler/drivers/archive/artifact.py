"""A release from its archive to a directory that is ready to run: fetched, verified, unpacked, rendered."""

from __future__ import annotations

import mmap
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from reconciler.drivers.archive.fetch import fetch
from reconciler.drivers.archive.unpack import FOLDER_MODE, unpack
from reconciler.drivers.base import Site
from reconciler.drivers.layout import MARKER, Marker, directory_of, is_complete
from reconciler.drivers.render import render_config
from reconciler.drivers.trouble import host_trouble
from reconciler.model.detached import SIGNATURE_BYTES_MAX, unsigned
from reconciler.model.errors import ArtifactError
from reconciler.model.release import Archive
from reconciler.model.target import Workload


def prepare(site: Site, work: Workload, revision: str) -> Path:
    """The release's complete directory, made if need be. Killed anywhere, it leaves either that or nothing.

    Raises ArtifactError, HostError, TransientError.
    """
    archive = archive_of(work)
    directory = directory_of(site, work)
    if is_complete(directory, archive.sha256):
        return directory
    with host_trouble(f"unpack {work.service} {work.target}"):
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with workshop(directory) as shop:
            file, release = shop / "archive", shop / "release"
            digest = fetch(
                site, archive.url, revision, file, place=f"{work.release.place}: artifact.archive.url"
            )
            if digest != archive.sha256:
                raise ArtifactError(
                    f"{work.release.place}: artifact.archive.sha256: the manifest says {archive.sha256}, "
                    f"and what is at {archive.url} has {digest}",
                    "publish the right archive as a new release",
                )
            release.mkdir()
            release.chmod(FOLDER_MODE)  # whatever the daemon's umask: a command may run there as another user
            if site.artifact_keys:
                _see_signed(site, work, archive, revision, file)
            unpack(file, release)
            render_config(work, release)
            complete(release, directory, archive.sha256)
    return directory


def complete(release: Path, directory: Path, sha256: str) -> None:
    """Put what was made in a workshop into its place, as a whole, and marked."""
    marker = release / MARKER
    marker.unlink(missing_ok=True)  # an archive may hold a file, or a link, of that name
    marker.write_bytes(msgspec.json.encode(Marker(sha256)))
    os.sync()  # once for the whole tree: an fsync for each of ten thousand files would take minutes
    shutil.rmtree(directory, ignore_errors=True)
    release.rename(directory)
    _fsync(directory.parent)


def make_readable(directory: Path) -> None:
    """Let every user read a release; who may get at its folder is another matter. May run twice."""
    for folder, folders, files in os.walk(directory):
        for name in (".", *folders, *files):
            path = Path(folder, name)
            if path.is_symlink():
                continue
            mode = path.stat().st_mode
            wanted = mode | stat.S_IRGRP | stat.S_IROTH
            if mode & stat.S_IXUSR:
                wanted |= stat.S_IXGRP | stat.S_IXOTH
            if wanted != mode:
                path.chmod(stat.S_IMODE(wanted))


def restorable(site: Site, work: Workload) -> str:
    """Empty when the release's directory is kept, complete."""
    directory = directory_of(site, work)
    if is_complete(directory, archive_of(work).sha256):
        return ""
    return f"nothing complete is kept of {work.service} {work.target} in {directory}"


def archive_of(work: Workload) -> Archive:
    """Raises ArtifactError for a release that has none: this driver can never run it."""
    if work.release.artifact.archive is None:
        raise ArtifactError(
            f"{work.release.place}: artifact: its driver needs an archive", "add artifact.archive"
        )
    return work.release.artifact.archive


def _see_signed(site: Site, work: Workload, archive: Archive, revision: str, file: Path) -> None:
    """Raises ArtifactError unless one of the keys of `ugs.yaml` has signed the archive."""
    place = f"{work.release.place}: artifact.archive.signature"
    if archive.signature is None:
        raise ArtifactError(f"{place}: the archive is not signed", "sign it, and name the signature's place")
    if file.stat().st_size == 0:
        raise ArtifactError(f"{place}: the archive is empty", "publish the right archive as a new release")
    path = file.with_name("signature")
    fetch(site, archive.signature, revision, path, place=place)
    with path.open("rb") as opened:
        signature = opened.read(SIGNATURE_BYTES_MAX + 1)
    with (
        file.open("rb") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as whole,
    ):
        why = unsigned(site.artifact_keys, signature, whole)
    if why:
        raise ArtifactError(f"{place}: {why}", "sign what is published with a key that artifacts.keys names")


@contextmanager
def workshop(directory: Path) -> Iterator[Path]:
    """An empty folder beside the directory; what a killed daemon left in one goes first."""
    prefix = f".{directory.name}-"
    for left in directory.parent.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    shop = Path(tempfile.mkdtemp(prefix=prefix, dir=directory.parent))
    try:
        yield shop
    finally:
        shutil.rmtree(shop, ignore_errors=True)


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
