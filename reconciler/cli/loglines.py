"""What the daemon's log looks like: a line for people, or an object of JSON, for each thing that it says."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

from reconciler.engine.control import OPERATION
from reconciler.model.upgrade import Upgrade

Form = Literal["human", "json"]
FORMS: tuple[Form, ...] = ("human", "json")
QUIET = ("git", "uvicorn", "slack_sdk", "watchdog", "asyncio", "github", "gitlab", "urllib3")
TRACEBACK_INDENT = "    "


class Human(logging.Formatter):
    """A line begins with the time, and nothing that others wrote can begin one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802
        lines = super().formatException(ei).splitlines()  # type: ignore[arg-type]
        return "\n".join(TRACEBACK_INDENT + printable(line) for line in lines)


class Json(logging.Formatter):
    """One object a line, in ASCII: time, level, logger, message, and what is known of where it was said."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        said = {
            "time": at,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "operation": OPERATION.get(),
            "request": getattr(record, "request_id", ""),
        }
        if (upgrade := getattr(record, "upgrade", None)) is not None:
            said |= about(upgrade)
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps({name: value for name, value in said.items() if value})


def about(upgrade: Upgrade) -> dict[str, str]:
    """What a line about a move says of the upgrade, beside its sentence."""
    return {
        "operation": upgrade.operation,
        "environment": upgrade.environment,
        "service": upgrade.service,
        "phase": upgrade.phase.value,
        "class": upgrade.change_class,
        "from": upgrade.before.target.version.text if upgrade.before else "",
        "to": upgrade.to.version.text if upgrade.to else "",
        "revision": upgrade.revision,
    }


def configure(level: str, form: Form) -> None:
    """Log to stderr from now on. Other people's libraries are heard when something is wrong."""
    from reconciler.api.passage import RequestIds

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else Human())
    handler.addFilter(RequestIds())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for library in QUIET:
        logging.getLogger(library).setLevel(logging.WARNING)


def printable(text: str) -> str:
    """The text on one line: what is no letter, sign or space stands as Python would escape it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
