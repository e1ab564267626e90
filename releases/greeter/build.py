"""Build greeter's archives from source/: `python releases/greeter/build.py [FOLDER]`.

The same sources give the same bytes, so that the digests in the manifests can be checked by anybody.
"""

import gzip
import hashlib
import io
import sys
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def members(version: str) -> dict[str, tuple[bytes, int]]:
    """Content and mode by name: what all versions share, under what is this version's own."""
    found = {"VERSION": (f"{version}\n".encode(), 0o644)}
    for folder in (HERE / "source" / "common", HERE / "source" / version):
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                mode = 0o755 if path.parent.name == "bin" else 0o644
                found[path.relative_to(folder).as_posix()] = (path.read_bytes(), mode)
    return found


def archive(version: str) -> bytes:
    """A tar.gz without owners and times."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", fileobj=packed, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name, (content, mode) in sorted(members(version).items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "archives"
    target.mkdir(parents=True, exist_ok=True)
    for folder in sorted((HERE / "source").glob("[0-9]*")):
        path = target / f"greeter-{folder.name}.tar.gz"
        path.write_bytes(archive(folder.name))
        sys.stdout.write(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")


if __name__ == "__main__":
    main()
