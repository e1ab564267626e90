"""A check as GitHub's check runs have it: values, which a test can compare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reconciler.forge.base import Annotation, Check, State

A_REQUEST = 50
"""So many annotations GitHub takes at once."""
ANNOTATIONS_MAX = 200
SUMMARY_MAX = 60_000
"""GitHub takes 65535."""
CONCLUDED: dict[State, str] = {"success": "success", "failure": "failure", "error": "cancelled"}


def run_of(commit: str, check: Check) -> dict[str, Any]:
    """The check run, with its first annotations. Of those of one name and commit GitHub shows the newest."""
    made = {
        "name": check.context,
        "head_sha": commit,
        "output": _output(check, check.annotations[:A_REQUEST]),
    }
    if check.state == "pending":
        return made | {"status": "in_progress"}
    return made | {"status": "completed", "conclusion": CONCLUDED[check.state]}


def runs_more(check: Check) -> Iterator[dict[str, Any]]:
    """What is added to it: the other annotations, page by page."""
    said = check.annotations[:ANNOTATIONS_MAX]
    for start in range(A_REQUEST, len(said), A_REQUEST):
        yield {"output": _output(check, said[start : start + A_REQUEST])}


def _output(check: Check, annotations: tuple[Annotation, ...]) -> dict[str, Any]:
    return {
        "title": check.title,
        "summary": check.summary[:SUMMARY_MAX],
        "annotations": [
            {
                "path": one.path,
                "start_line": one.line,
                "end_line": one.line,
                "annotation_level": "failure",
                "message": one.message,
            }
            for one in annotations
        ],
    }
