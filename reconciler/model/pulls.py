"""Pull requests that UGS keeps: what there should be against what is there gives what to do. Pure.

One branch is one wish. What it asks for changes in place; what a person has closed is not asked for again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

LABEL = "ugs"
OUR_LABELS = frozenset({LABEL, *(f"{LABEL}: {kind}" for kind in ("emergency", "major", "minor", "patch"))})
"""All that the bot has ever put on a pull request."""
TRAILER = "Ugs-Pull"
"""In the commit of a branch of ours: the branch."""
CLOSED_MARK = "<!-- ugs closed -->"
ASKS_MAX = 100
HOUR = timedelta(hours=1)
_ASKS = re.compile(r"<!-- ugs asks (?P<asks>[^\n>]*) -->")

Kind = Literal["bump", "promote"]
State = Literal["open", "merged", "refused", "moot"]
"""`refused`: a person has closed it unmerged. `moot`: nothing was left to be changed, or nobody wants it any more."""
Event = Literal["opened", "merged", "refused", "moot"]
"""What is counted of them."""
Act = Literal["leave", "wait", "open", "remake", "edit", "close", "end"]
"""`wait`: so many are open already. `remake`: the branch, and what is said where that differs. `end`: it has ended
there, and is only to be remembered."""


class Limits(Struct, frozen=True):
    """How many pull requests of a kind may be open, and be opened within an hour."""

    open_max: int = 10
    hour_max: int = 10


class Wanted(Struct, frozen=True):
    """A pull request that there should be.

    `branch`: its name for ever, whatever it asks for. `asks`: what it asks for, such as `production/api 1.5.0`: each
    is what a person refuses by closing it. `message`: of its one commit, without our trailer.
    """

    kind: Kind
    branch: str
    environment: str
    """Whose lease is needed."""
    asks: tuple[str, ...]
    title: str
    body: str
    message: str
    labels: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What stands in the pull request: by the mark it is known again where the database was lost."""
        return f"{self.body.rstrip()}\n\n<!-- ugs asks {', '.join(self.asks)} -->\n"

    @property
    def commit_message(self) -> str:
        """With the trailer by which our own branch is known."""
        end = self.message.rstrip()
        last = end.rpartition("\n\n")[2].splitlines()
        gap = "\n" if "\n\n" in end and all(re.match(r"[A-Z][A-Za-z-]+: ", line) for line in last) else "\n\n"
        return f"{end}{gap}{TRAILER}: {self.branch}\n"

    @property
    def digest(self) -> str:
        """Of all that people read in it but the commits."""
        said = "\0".join((self.title, self.text, *self.labels))
        return hashlib.sha256(said.encode()).hexdigest()[:16]


class Kept(Struct, frozen=True, omit_defaults=True):
    """A pull request of ours, and how it stands. `commit`: what we last made of the branch.

    `digest`: of what it was last made to say; empty where nobody knows.
    """

    kind: Kind
    branch: str
    environment: str
    asks: tuple[str, ...]
    opened_at: datetime
    state: State = "open"
    commit: str = ""
    paths: tuple[str, ...] = ()
    """The files that the commit changes."""
    number: int = 0
    """0 until it is open there."""
    url: str = ""
    digest: str = ""
    labels: tuple[str, ...] = ()
    """Those that we may have put there, and nobody before us."""
    closing: State | None = None
    """As what it is being closed by us: then it was no person who did."""
    id: int = 0
    """In the database; 0: not there yet."""

    @property
    def name(self) -> str:
        """What people call it."""
        return f"pull request #{self.number}" if self.number else f"the branch {self.branch}"


class There(Struct, frozen=True):
    """What was found. `branch`: whether it holds our own commit alone. `changes`: the edit would change the tip.

    `alike`: the branch says what it should already, file by file.
    """

    branch: Literal["none", "ours", "theirs"] = "none"
    pull: Literal["none", "open", "closed", "merged"] = "none"
    changes: bool = False
    alike: bool = False


class Deed(Struct, frozen=True):
    """What to do, and how it stands afterwards."""

    act: Act
    state: State = "open"


def deed(
    wanted: Wanted | None,
    kept: Kept | None,
    there: There,
    *,
    refused: bool,
    room: str,
    unknown: bool = False,
) -> Deed:
    """What is to be done about one branch. `kept`: the one that is open, as far as we know. `refused`: a person has
    closed what asked for that. `room`: why no more may be opened now; empty where they may. `unknown`: nobody knows
    now what it should ask for: it is as people have it."""
    if kept is None:
        if wanted is None or refused or not there.changes or there.branch == "theirs":
            return Deed("leave")
        return Deed("wait" if room else "open")
    if there.pull == "merged":
        return Deed("end", "merged")
    if there.pull == "closed":
        return Deed("end", kept.closing or "refused")
    if unknown and not kept.closing:
        deleted = there.pull == "open" and there.branch == "none"
        return Deed("close", "refused") if deleted else Deed("leave")
    if kept.closing or wanted is None or not there.changes:
        return Deed("close", kept.closing or "moot")
    if there.pull == "none":
        return Deed("open") if there.branch != "theirs" else Deed("end", "moot")
    if there.branch == "none":  # whoever deletes it does not want it
        return Deed("close", "refused")
    if there.branch == "theirs" or refused or (there.alike and is_said(wanted, kept)):
        return Deed("leave")
    return Deed("edit" if there.alike else "remake")


def is_said(wanted: Wanted, kept: Kept) -> bool:
    """Whether it says what it should, and it is known which of its labels are ours."""
    return wanted.digest == kept.digest and bool(kept.labels or not wanted.labels)


def room(kept: Sequence[Kept], limits: Limits, *, now: datetime) -> str:
    """Why no more pull requests of a kind may be opened now; empty where they may. `kept`: all of the last hour, and
    all that are open."""
    standing = sum(one.state == "open" for one in kept)
    if standing >= limits.open_max:
        return f"{standing} are open, and forge.pulls.open_max is {limits.open_max}"
    lately = sum(one.opened_at > now - HOUR for one in kept)
    if lately >= limits.hour_max:
        return f"{lately} were opened within an hour, and forge.pulls.hour_max is {limits.hour_max}"
    return ""


def labels_put(wanted: Wanted, kept: Kept, there: Collection[str]) -> tuple[str, ...]:
    """The labels of ours, once those that are wanted are put there too. `there`: all that are there now: what we did
    not put there is a person's, whatever its name. Of a pull request that is open and of which no label was remembered,
    those are ours that we might have put there."""
    forgotten = kept.number and not kept.labels
    ours = tuple(one for one in there if one in OUR_LABELS) if forgotten else kept.labels
    return (*ours, *(one for one in wanted.labels if one not in ours and one not in there))


def labels_outlived(wanted: Wanted, kept: Kept) -> tuple[str, ...]:
    """The labels of ours that said what it asked for before, and are to be taken off."""
    return tuple(one for one in kept.labels if one.startswith(f"{LABEL}: ") and one not in wanted.labels)


def asked_in(body: str) -> tuple[str, ...]:
    """What a pull request of ours asks for, by the mark in its text; empty where people have taken that out."""
    found = _ASKS.search(body)
    return tuple(ask for ask in found["asks"].split(", ") if ask)[:ASKS_MAX] if found else ()


def prefix(kind: Kind) -> str:
    """How branches of a kind begin: no slash, as `ugs` may be a branch itself."""
    return f"ugs-{kind}-"


def branch_for(kind: Kind, environment: str, subject: str) -> str:
    """The branch of a wish about `subject`. Names have no dots, so that no two wishes share one."""
    return f"{prefix(kind)}{environment}.{subject}"


def environment_of(branch: str, kind: Kind) -> str:
    """The environment that a branch of ours is about; empty for any other."""
    name, dot, _ = branch.removeprefix(prefix(kind)).partition(".")
    return name if branch.startswith(prefix(kind)) and dot else ""


def is_refused(asks: Collection[str], refused: Collection[str]) -> bool:
    """Whether a person has closed what asked for one of these."""
    return any(ask in refused for ask in asks)
