"""Archives from outside: what is unpacked, and what never is."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.drivers.archive import unpack as module
from reconciler.drivers.archive.unpack import unpack
from reconciler.model.errors import ArtifactError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    folder.mkdir()
    return folder


def entry(name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def tar_of(path: Path, *entries: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], how: str = "w") -> Path:
    with tarfile.open(path, how) as tar:  # type: ignore[call-overload]  # the mode is a parameter of the test
        for one in entries:
            info, data = one if isinstance(one, tuple) else (one, b"")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def link(name: str, to: str) -> tarfile.TarInfo:
    return entry(name, kind=tarfile.SYMTYPE, link=to)


def hard(name: str, to: str) -> tarfile.TarInfo:
    return entry(name, kind=tarfile.LNKTYPE, link=to)


def directory(name: str) -> tarfile.TarInfo:
    return entry(name, kind=tarfile.DIRTYPE, mode=0o755)


@pytest.mark.parametrize("how", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_unpacked_whatever_compresses_it(tmp_path: Path, folder: Path, how: str) -> None:
    archive = tar_of(
        tmp_path / "a",
        directory("lib"),
        (entry("bin/api", mode=0o4777), b"#!/bin/sh\n"),
        (entry("./etc/empty", mode=0o000), b""),
        link("bin/current", "../lib/x"),
        hard("bin/same", "bin/api"),
        how=how,
    )
    unpack(archive, folder)
    assert (folder / "bin/api").read_bytes() == b"#!/bin/sh\n"
    assert stat.S_IMODE((folder / "bin/api").stat().st_mode) == 0o755  # no setuid, nobody else may write
    assert stat.S_IMODE((folder / "etc/empty").stat().st_mode) == 0o600
    assert str((folder / "bin/current").readlink()) == "../lib/x"
    assert (folder / "bin/same").samefile(folder / "bin/api")
    assert (folder / "lib").is_dir()


def test_a_zip_is_unpacked_with_its_modes(tmp_path: Path, folder: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
        program = zipfile.ZipInfo("bin/api")
        program.external_attr = (stat.S_IFREG | 0o755) << 16
        bundle.writestr(program, "#!/bin/sh\n")
        plain = zipfile.ZipInfo("etc/plain")  # as made on a system without modes
        plain.external_attr = 0
        bundle.writestr(plain, "x")
        bundle.mkdir("lib")
    unpack(tmp_path / "a.zip", folder)
    assert os.access(folder / "bin/api", os.X_OK)
    assert (folder / "etc/plain").read_text() == "x"
    assert (folder / "lib").is_dir()


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([entry("../evil")], "'../evil'.*outside"),
        ([entry("a/../../evil")], "outside"),
        ([entry("a/../inside")], "its name leads outside"),
        ([entry("/etc/evil")], "'/etc/evil'.*its name leads outside"),
        ([link("out", "/etc")], "'out'.*outside"),
        ([link("out", "../etc")], "outside"),
        ([directory("a"), link("a/up", ".."), link("out", "a/up/../x")], "'out'.*outside"),
        ([directory("d/a"), link("d/out", "a/../b")], "'d/out'.*cannot be checked"),
        ([directory("d"), link("s", "d"), (entry("s/file"), b"x")], "'s/file'.*through the link 's'"),
        ([link("x", "d"), directory("d"), (entry("x"), b"x")], "'x'.*twice"),
        ([(entry("x"), b"1"), (entry("x"), b"2")], "twice"),
        ([(entry("x"), b"1"), directory("x")], "'x'"),
        ([(entry("x"), b"1"), (entry("x/y"), b"2")], "'x/y'"),
        ([hard("x", "/etc/passwd")], "'x'"),
        ([hard("x", "../passwd")], "'x'"),
        ([hard("x", "missing")], "which is no file of the archive"),
        ([link("s", "x"), hard("y", "s")], "which is no file of the archive"),
        ([directory("d"), (entry("d/f"), b""), link("s", "d"), hard("y", "s/f")], "through the link 's'"),
        ([entry("dev", kind=tarfile.CHRTYPE)], "'dev'.*a device, a pipe"),
        ([entry("dev", kind=tarfile.BLKTYPE)], "'dev'.*a device, a pipe"),
        ([entry("pipe", kind=tarfile.FIFOTYPE)], "'pipe'.*a device, a pipe"),
        ([(entry("n" * 300), b"x")], "File name too long"),
    ],
)
def test_a_hostile_tar_is_refused_and_writes_nothing_outside(
    tmp_path: Path, folder: Path, entries: list[tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]], why: str
) -> None:
    archive = tar_of(tmp_path / "a.tar", *entries)
    with pytest.raises(ArtifactError, match=why):
        unpack(archive, folder)
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar", "release"}


def zip_entry(path: Path, name: str, mode: int) -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        bundle.writestr(info, "/etc/passwd")
    return path


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("../evil", stat.S_IFREG | 0o644),
        ("/evil", stat.S_IFREG | 0o644),
        ("link", stat.S_IFLNK | 0o777),
        ("pipe", stat.S_IFIFO | 0o644),
    ],
)
def test_a_hostile_zip_is_refused(tmp_path: Path, folder: Path, name: str, mode: int) -> None:
    with pytest.raises(ArtifactError, match=f"member '{name}' cannot be unpacked"):
        unpack(zip_entry(tmp_path / "a.zip", name, mode), folder)
    assert list(folder.iterdir()) == []


def test_a_bomb_is_refused_before_it_grows(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNPACKED_BYTES_MAX", 1_000_000)
    bomb = tar_of(tmp_path / "a", (entry("zeros"), bytes(1_000_001)), how="w:gz")
    assert bomb.stat().st_size < 10_000
    with pytest.raises(ArtifactError, match=r"'zeros'.*grows beyond 1000000 bytes"):
        unpack(bomb, folder)
    assert list(folder.iterdir()) == []


def test_more_members_than_allowed_are_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMBERS_MAX", 2)
    with pytest.raises(ArtifactError, match="more than 2 entries"):
        unpack(tar_of(tmp_path / "a", entry("1"), entry("2"), entry("3")), folder)


def test_a_header_that_would_be_swallowed_whole_is_refused(tmp_path: Path, folder: Path) -> None:
    header = entry("long", kind=tarfile.GNUTYPE_LONGNAME)
    header.size = 10 * 1024**3
    (tmp_path / "a").write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(4096)))
    with pytest.raises(ArtifactError, match="a header is too large"):
        unpack(tmp_path / "a", folder)


def test_headers_that_grow_without_end_are_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "UNPACKED_BYTES_MAX", 1_000_000)
    header = entry("long", kind=tarfile.GNUTYPE_LONGNAME)
    header.size = 2_000_384
    name = header.tobuf(tarfile.GNU_FORMAT) + b"n" * header.size
    (tmp_path / "a").write_bytes(gzip.compress(name * 3))
    with pytest.raises(ArtifactError, match="grows beyond"):
        unpack(tmp_path / "a", folder)


def whole_tar(tmp_path: Path) -> bytes:
    noise = random.Random(1).randbytes(50_000)
    return tar_of(tmp_path / "whole", (entry("noise"), noise)).read_bytes()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"no archive at all" * 100,
        lambda data: gzip.compress(data)[:20_000],
        lambda data: bz2.compress(data)[:20_000],
        lambda data: lzma.compress(data)[:20_000],
        lambda _: b"BZh9 is not bzip2" * 10,
        lambda _: b"\x1f\x8b is not gzip" * 10,
        lambda _: b"PK\x03\x04 is not zip",
        lambda data: data[:20_000],
    ],
)
def test_a_broken_archive_can_never_be_right(
    tmp_path: Path, folder: Path, spoil: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "a").write_bytes(spoil(whole_tar(tmp_path)))
    with pytest.raises(ArtifactError, match="cannot be unpacked"):
        unpack(tmp_path / "a", folder)


def test_an_encrypted_zip_can_never_be_right(tmp_path: Path, folder: Path) -> None:
    path = zip_entry(tmp_path / "a.zip", "file", stat.S_IFREG | 0o644)
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag in the local header
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="encrypted"):
        unpack(path, folder)


def test_a_full_disk_is_no_fault_of_the_archive(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(tar_of(tmp_path / "a", (entry("x"), b"1")), folder)
