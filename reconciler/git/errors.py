"""What git says, as errors with a fate: cleaned to one line, without control characters and credentials."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reconciler.model.errors import HostError, TransientError
from reconciler.model.register import Late, Refused

MESSAGE_CHARACTERS_MAX = 500


class PushRejected(Late):
    """The branch has moved on: fetch, compute again, push again."""


class PushRefused(Refused):
    """The remote will not have it (hook, protected branch, permission): a person must mend it."""


# What a person must mend, by what git says. Anything else may be the network, and passes.
REMEDIES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), remedy)
    for pattern, remedy in (
        (r"detected dubious ownership", "let the daemon's own user own the repository, or reach it by ssh"),
        (r"[Cc]ouldn't find remote ref", "push the branch, or set repository.branch"),
        (r"No space left on device", "free some disk space"),
        (r"Read-only file system|insufficient permission|unable to create file", "make the state writable"),
        (r"Host key verification failed", "add the server's key to repository.known_hosts"),
        (
            r"Authentication failed|could not read (Username|Password)|Permission denied"
            r"|returned error: 40[13]|Access denied|not authorized|marked as read only|not allowed to push",
            "check the credentials in repository, and what they may do",
        ),
        (r"does not appear to be a git repository|[Rr]epository .*not found", "check repository.url"),
        (r"not a git repository|transport '.*' not allowed|mismatched algorithms", "check repository.url"),
        (
            r"certificate|SSL_ERROR|SSL: ",
            "check the server's certificate, or name its authority in SSL_CERT_FILE",
        ),
        (r"from redirection|returned error: 30\d", "set repository.url to the address that it redirects to"),
        (
            r"fsck error|fsckObjects|in packed object|index-pack abnormal",
            "remove the bad object from the branch",
        ),
        (
            r"is corrupt|object file .* is empty|bad object|packfile .* cannot be accessed",
            "start again: a broken mirror is made anew",
        ),
    )
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")
_ESCAPE = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)?")


def plain(text: str) -> str:
    """Text for people: no escape sequences, no control characters, no reordering of what is shown."""
    return _CONTROL.sub(" ", _ESCAPE.sub("", text)).strip()


def clean(stderr: bytes, secrets: Sequence[str] = ()) -> str:
    """What git said, in one line of at most MESSAGE_CHARACTERS_MAX, with no hint, progress or credential."""
    lines = [plain(line) for line in stderr.decode("utf-8", "replace").splitlines()]
    text = "; ".join(line for line in lines if line and not line.startswith("hint:"))
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return _USERINFO.sub("", text)[:MESSAGE_CHARACTERS_MAX]


def from_remote(what: str, said: str) -> HostError | TransientError:
    """The error for a failed call to the remote: a person's when we know the remedy, else it may pass."""
    message = f"{what}: {said or 'git gave no reason'}"
    remedy = remedy_for(said)
    return HostError(message, remedy) if remedy else TransientError(message, "it is tried again")


def remedy_for(said: str) -> str:
    return next((remedy for pattern, remedy in REMEDIES if pattern.search(said)), "")
