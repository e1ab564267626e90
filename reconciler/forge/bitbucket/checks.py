"""A check as Bitbucket's reports have it, and a status: values, which a test can compare."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from reconciler.forge.base import Check, State, Status

DESCRIPTION_MAX = 255
KEY_MAX = 40
DETAILS_MAX = 2_000
LINE_MAX = 450
A_REQUEST = 100
"""So many annotations Bitbucket takes at once."""
ANNOTATIONS_MAX = 200
SHOWN: dict[State, str] = {
    "pending": "INPROGRESS",
    "success": "SUCCESSFUL",
    "failure": "FAILED",
    "error": "STOPPED",
}
RESULTS: dict[State, str] = {
    "pending": "PENDING",
    "success": "PASSED",
    "failure": "FAILED",
    "error": "FAILED",
}


def key_of(context: str) -> str:
    """A context as a key, of which Bitbucket takes 40 characters."""
    if len(context) <= KEY_MAX:
        return context
    return f"{context[: KEY_MAX - 9]}~{hashlib.sha256(context.encode()).hexdigest()[:8]}"


def status_of(status: Status, url: str) -> dict[str, Any]:
    """`url`: where the status leads, which it must."""
    return {
        "key": key_of(status.context),
        "name": status.context,
        "state": SHOWN[status.state],
        "description": status.description[:DESCRIPTION_MAX],
        "url": url,
    }


def report_id(check: Check) -> str:
    return key_of(check.context).replace("/", "-")


def report_of(check: Check) -> dict[str, Any]:
    return {
        "title": check.context,
        "details": f"{check.title}\n\n{check.summary}"[:DETAILS_MAX],
        "report_type": "TEST",
        "reporter": "UGS",
        "result": RESULTS[check.state],
    }


def annotations_of(check: Check) -> Iterator[list[dict[str, Any]]]:
    """What stands on lines, request by request."""
    said = check.annotations[:ANNOTATIONS_MAX]
    for start in range(0, len(said), A_REQUEST):
        yield [
            {
                "external_id": f"{report_id(check)}-{number}",
                "annotation_type": "BUG",
                "severity": "HIGH",
                "path": one.path,
                "line": one.line,
                "summary": one.message[:LINE_MAX],
            }
            for number, one in enumerate(said[start : start + A_REQUEST], start)
        ]
