"""What the journal has of a service: its own lines, and systemd's about it."""

from __future__ import annotations

from typing import Any

import msgspec

from reconciler import command
from reconciler.drivers.systemd.options import Engine
from reconciler.drivers.systemd.unit import pattern_of, split
from reconciler.model.errors import HostError

LINES_MAX = 10_000
READ_S = 20.0
OUTPUT_BYTES_MAX = 16 << 20
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


def argv(engine: Engine, environment: str, service: str, lines: int) -> tuple[str, ...]:
    """The call of journalctl: JSON, a line each, oldest first."""
    unit = "--unit" if engine.is_system else "--user-unit"
    where = (f"--directory={engine.journal}",) if engine.journal else ()
    return (
        "journalctl",
        f"{unit}={pattern_of(environment, service)}",
        f"--lines={min(max(lines, 0), LINES_MAX)}",
        "--output=json",
        "--output-fields=MESSAGE,_SYSTEMD_UNIT,_SYSTEMD_USER_UNIT,UNIT,USER_UNIT",
        "--no-pager",
        "--quiet",
        *where,
    )


def last_lines(engine: Engine, environment: str, service: str, lines: int) -> list[str]:
    """The last lines of all instances, by time; each under its instance's number where there are several.

    Raises HostError when the journal cannot be read.
    """
    result = command.run(
        argv(engine, environment, service, lines),
        timeout_s=READ_S,
        environment=ENVIRONMENT,
        output_bytes_max=OUTPUT_BYTES_MAX,
        keep="last",
    )
    if result.code != 0:
        why = "it took too long" if result.timed_out else result.stderr.decode(errors="replace").strip()
        raise HostError(
            f"the journal of {service} cannot be read: {why}",
            "let the daemon's user read the journal (group systemd-journal), or correct `engines.systemd.journal`",
        )
    rows = result.stdout.splitlines()[1 if result.truncated else 0 :]
    return told([msgspec.json.decode(row) for row in rows], environment)


def told(entries: list[dict[str, Any]], environment: str) -> list[str]:
    """Journal entries as lines."""
    indexes = [_index(entry, environment) for entry in entries]
    several = len(set(indexes) - {None}) > 1
    return [
        f"{index}: {line}" if several and index is not None else line
        for entry, index in zip(entries, indexes, strict=True)
        for line in _message(entry).splitlines()
    ]


def _index(entry: dict[str, Any], environment: str) -> int | None:
    """Of systemd's own lines the unit that they are about, else the one that wrote."""
    for field in ("UNIT", "USER_UNIT", "_SYSTEMD_UNIT", "_SYSTEMD_USER_UNIT"):
        found = split(str(entry.get(field, "")), environment)
        if found is not None:
            return found[1].index
    return None


def _message(entry: dict[str, Any]) -> str:
    """What is no UTF-8, or not printable, the journal gives as numbers."""
    message = entry.get("MESSAGE") or ""
    return bytes(message).decode(errors="replace") if isinstance(message, list) else str(message)
