"""Values into placeholders: `{port}` in commands, `${key}` in config files."""

from __future__ import annotations

import re
import string
from pathlib import Path

from reconciler.model.errors import ArtifactError
from reconciler.model.release import ConfigFile, Scalar
from reconciler.model.target import Workload

CONFIG_BYTES_MAX = 1024 * 1024
NAMES = ("port", "version", "environment", "service", "instance", "directory", "host")
LOOPBACK = "127.0.0.1"
PLACEHOLDER = re.compile("{(" + "|".join(NAMES) + ")}")


class Template(string.Template):
    """`${key}`, where a key may hold dots and dashes too; a literal dollar is `$$`."""

    braceidpattern = r"[A-Za-z_][-A-Za-z0-9_.]*"


def instance_values(
    work: Workload, index: int, directory: Path, port: int | None, host: str = LOOPBACK
) -> dict[str, str]:
    """What `{port}` and its like stand for in one instance; no `port` for a service without one."""
    values = {
        "version": str(work.target.version),
        "environment": work.environment,
        "service": work.service,
        "instance": str(index),
        "directory": str(directory),
        "host": host,
    }
    return values if port is None else values | {"port": str(port)}


def expand(text: str, values: dict[str, str], work: Workload) -> str:
    """Fill the names we know. Other braces are the service's own business (JSON, awk) and stay.

    Raises ArtifactError for `{port}` in a service that has none.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise ArtifactError(
                f"{work.release.place}: run: {text!r} asks for a port, and neither release nor pin has one",
                "add run.port to a new release, or a port to the pin",
            )
        return values[match[1]]

    return PLACEHOLDER.sub(value, text)


def render_config(work: Workload, directory: Path) -> None:
    """Fill every config file of the release in its unpacked directory, keeping the files' modes.

    Raises ArtifactError for what can never be rendered: a file that is not there, a key nobody declares.
    """
    values = {
        **work.config,
        "service": work.service,
        "version": str(work.target.version),
        "environment": work.environment,
    }
    if work.port is not None:
        values["port"] = work.port
    texts = {key: as_text(value) for key, value in values.items()}
    for file in work.release.config:
        _render(file, texts, directory, work)


def as_text(value: Scalar) -> str:
    """As YAML, TOML and JSON write it; None is nothing at all."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _render(file: ConfigFile, texts: dict[str, str], directory: Path, work: Workload) -> None:
    where = f"{work.release.place}: config: {file.path}"
    path = (directory / file.path).resolve()
    if not path.is_relative_to(directory.resolve()):
        raise ArtifactError(f"{where}: stands outside the release", "name a file inside the archive")
    if not path.is_file():
        raise ArtifactError(
            f"{where}: the archive has no such file", "add it to the archive of a new release"
        )
    if path.stat().st_size > CONFIG_BYTES_MAX:
        raise ArtifactError(
            f"{where}: larger than {CONFIG_BYTES_MAX} bytes", "keep data out of the config files"
        )
    try:
        text = Template(path.read_bytes().decode()).substitute(texts)
    except KeyError as error:
        raise ArtifactError(
            f"{where}: nobody declares ${{{error.args[0]}}}",
            "declare it under config.values, or write $$ for a dollar",
        ) from error
    except ValueError as error:
        raise ArtifactError(f"{where}: {error}", "write $$ for a dollar, and the file in UTF-8") from error
    mode = path.stat().st_mode
    path.unlink()  # a hard link's other name keeps the template
    path.write_bytes(text.encode())
    path.chmod(mode & 0o777)
