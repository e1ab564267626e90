"""The files that a container gets from us: its configuration, rendered, and its secrets.

<state>/services/<environment>/<service>/<version>/<digest>/   the image's templates, rendered; marked when complete
<state>/services/<environment>/<service>/secrets/<container>/  one file a secret, for as long as the container is kept
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.clock import SystemClock
from reconciler.drivers.archive.artifact import complete, workshop
from reconciler.drivers.base import Site
from reconciler.drivers.docker.body import image_of
from reconciler.drivers.docker.options import container_of
from reconciler.drivers.labels import PREFIX
from reconciler.drivers.layout import directory_of, folder_of, is_complete, service_folder
from reconciler.drivers.render import CONFIG_BYTES_MAX, render_config
from reconciler.drivers.trouble import host_trouble
from reconciler.model.errors import ArtifactError, TransientError
from reconciler.model.target import Workload

if TYPE_CHECKING:
    from reconciler.drivers.docker.session import Client

READER = "reader"
READ_TIMEOUT_S = 60.0
TAR_BYTES_MAX = CONFIG_BYTES_MAX + 64 * 1024


def render(client: Client, site: Site, work: Workload) -> None:
    """Take the templates out of the image, and fill them in. Killed anywhere, it leaves all of it or nothing."""
    directory, image = directory_of(site, work), image_of(work)
    if is_complete(directory, image):
        return
    with host_trouble(f"render the configuration of {work.service} {work.target}"):
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with workshop(directory) as shop:
            made = shop / "files"
            made.mkdir(mode=0o700)
            owners = _read_templates(client, work, made) if work.release.config else {}
            render_config(work, made)
            for path, owner in owners.items():
                if os.geteuid() == 0:  # else it stays the daemon's, and is read as its mode says
                    os.chown(path, *owner)
            complete(made, directory, image)


def write_secrets(site: Site, work: Workload, name: str, secrets: dict[str, str]) -> Path:
    """One file each, for a container: 0600 for its user where that is a number, else for whoever is inside it."""
    folder = folder_of(site, work) / "secrets" / name
    owner = _owner(container_of(work).user)
    with host_trouble(f"write the secrets of {work.service}"):
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        folder.chmod(0o755)  # whatever the umask; the folder above lets nobody of this machine through
        for variable, value in secrets.items():
            path = folder / variable
            with open(path, "w", opener=lambda file, flags: os.open(file, flags, 0o600)) as file:
                file.write(value)
            if owner is None:
                path.chmod(0o444)
            else:
                os.chown(path, *owner)
    return folder


def forget_secrets(site: Site, environment: str, service: str, name: str) -> None:
    shutil.rmtree(service_folder(site, environment, service) / "secrets" / name, ignore_errors=True)


def _owner(user: str | None) -> tuple[int, int] | None:
    uid, _, gid = (user or "").partition(":")
    return (int(uid), int(gid) if gid.isdigit() else -1) if uid.isdigit() else None


def _read_templates(client: Client, work: Workload, made: Path) -> dict[Path, tuple[int, int]]:
    """From a container that is made for it, and never started; who owns each of them in the image."""
    import docker

    name = f"{work.environment}_{work.service}_{READER}_{work.target.digest}"
    labels = {f"{PREFIX}role": READER}
    _remove(client, name)  # what a killed daemon left
    client.create_container_from_config({"Image": image_of(work), "Cmd": ["-"], "Labels": labels}, name)
    owners: dict[Path, tuple[int, int]] = {}
    try:
        for file in work.release.config:
            where = f"{work.release.place}: config: {file.path}"
            try:
                stream, _ = client.get_archive(name, f"/{file.path}")
            except docker.errors.NotFound as error:
                raise ArtifactError(
                    f"{where}: the image has no such file", "add it to the image of a new release"
                ) from error
            path = made / file.path
            owners[path] = _unpack(b"".join(_bounded(stream, where)), path, where)
    finally:
        _remove(client, name)
    return owners


def _bounded(stream: Iterable[bytes], where: str) -> Iterator[bytes]:
    deadline_s, size = SystemClock().monotonic() + READ_TIMEOUT_S, 0
    for part in stream:
        size += len(part)
        if size > TAR_BYTES_MAX:
            raise ArtifactError(
                f"{where}: larger than {CONFIG_BYTES_MAX} bytes", "keep data out of the config files"
            )
        if SystemClock().monotonic() > deadline_s:
            raise TransientError(f"{where}: not read within {READ_TIMEOUT_S:g} s", "it is tried again")
        yield part


def _unpack(archive: bytes, path: Path, where: str) -> tuple[int, int]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        member = tar.next()
        file = tar.extractfile(member) if member is not None and member.isreg() else None
        if member is None or file is None:
            raise ArtifactError(f"{where}: is no regular file in the image", "name the file itself")
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_bytes(file.read())
        path.chmod(member.mode & 0o777)
        return member.uid, member.gid


def _remove(client: Client, name: str) -> None:
    import docker

    with suppress(docker.errors.NotFound):
        client.remove_container(name, force=True, v=True)
