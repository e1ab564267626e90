"""What all forges mean alike by an answer other than success, in words that name the forge and what to do."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.forge.base import Denied, Invalid, Unavailable, plain
from reconciler.forge.limits import wait_s

MOVED = {301, 307, 308}


def refusal(
    forge: str,
    status: int,
    headers: Mapping[str, str],
    words: str,
    *,
    detail: str = "",
    remedy: str = "give the token what it lacks",
) -> Unavailable | Denied | Invalid:
    """`words`: what it said, as `plain` gives it. `remedy`: what to do where the token may not do this."""
    if status == 429:
        return asks_to_wait(forge, headers)
    if status in MOVED:
        return Denied(f"{forge}: the repository has moved", "set forge.repository to where it is now")
    if status >= 500 or not words or words.startswith("<"):
        retry_s = wait_s(headers) if "retry-after" in headers else None
        return Unavailable(f"{forge} answered {status}{f': {words}' if words else ''}", retry_s=retry_s)
    if status == 401:
        return Denied(f"{forge} does not know the token: {words}", "put a valid one in place of forge.token")
    if status == 403:
        return Denied(f"{forge} refuses: {words}", remedy)
    return Invalid(f"{forge} refuses ({status}): {words}{detail}")


def asks_to_wait(forge: str, headers: Mapping[str, str]) -> Unavailable:
    retry_s = wait_s(headers)
    return Unavailable(f"{forge} asks to wait {retry_s:.0f} s", retry_s=retry_s)


def unreachable(forge: str, error: Exception) -> Unavailable:
    """`error`: its type alone is told, as its text may hold what was sent."""
    return Unavailable(f"{forge} cannot be reached: {type(error).__name__}")


def unreadable(forge: str, status: int, error: Exception) -> Unavailable:
    return Unavailable(f"{forge} answered {status} with what cannot be read ({plain(error)})")


def not_seen(forge: str, repository: str) -> Denied:
    return Denied(
        f"{forge} has no {repository} that the token may see",
        "check forge.repository, and what the token may read",
    )


def require_name(forge: str, repository: str, found: str) -> None:
    """Raises Denied where the repository is called otherwise by now."""
    if found.casefold() != repository.casefold():
        raise Denied(
            f"{forge}: {repository} has moved to {plain(found)}",
            "set forge.repository (and repository.url) to where it is now",
        )


def no_team(forge: str, team: str, scope: str) -> Denied:
    return Denied(
        f"{forge} shows no team {plain(team)}",
        f"check its name in CODEOWNERS, and give the token {scope}",
    )
