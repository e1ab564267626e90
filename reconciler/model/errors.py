"""What can go wrong, by its fate: the type says who mends it.

`InputError` a person must mend; `HostError` a person must mend on this machine; `TransientError` may pass
and is tried again; `ArtifactError` can never be right and counts as a failed upgrade. Anything else is a bug.
"""

from msgspec import Struct


class Place(Struct, frozen=True, order=True):
    """Where something stands in a file: path relative to the repository, line and column from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Problem(Struct, frozen=True, order=True):
    """One thing wrong in a document: where, which key (`path`, dotted, may be empty), what, and the remedy."""

    place: Place
    path: str
    message: str
    remedy: str

    def __str__(self) -> str:
        path = f"{self.path}: " if self.path else ""
        return f"{self.place}: {path}{self.message}; {self.remedy}"


def printable(text: str) -> str:
    """What somebody else wrote, as a message may repeat it."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in text)


class UgsError(Exception):
    """The root of every expected error. `remedy` says what to do."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message


class InputError(UgsError):
    """Input that a person must mend; `problems` is never empty."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class HostError(UgsError):
    """This machine's own trouble (disk, port, permission): parks the upgrade and calls a person."""


class TransientError(UgsError):
    """What may pass by itself (network, a busy lock): tried again with backoff."""


class ArtifactError(UgsError):
    """An artifact that can never be right (digest mismatch, unsafe archive): a verdict of failure."""
