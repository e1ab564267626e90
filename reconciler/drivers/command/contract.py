"""What UGS and a team's program say to each other: one JSON object on stdin, one on stdout. Version 1.

`schemas/command.json` is made from these types. Keys are added, never renamed; a program ignores those that it does not
know, and so does UGS.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from reconciler.model.codec import resolve_types
from reconciler.model.release import FlagValue, Scalar

CONTRACT = 1
INSTANCES_MAX = 20_000
TEXT_CHARS_MAX = 4_000

Name = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]
Text = Annotated[str, Meta(max_length=TEXT_CHARS_MAX)]
Fate = Literal["host", "transient", "artifact"]


class Part(Struct, frozen=True):
    """One instance as it should be, with everything filled in. `labels` are kept with it, and told by `observe`."""

    index: int
    labels: dict[str, str]
    port: int | None
    command: tuple[str, ...]
    environment: dict[str, str]
    """What the service gets to see, with its secrets: they go no further than to the service."""


class Work(Struct, frozen=True):
    """One version of a service as it should run. Of `image` and `directory` (where its archive is unpacked on this
    machine) it has what its release has."""

    version: str
    image: str | None
    directory: str | None
    instances: tuple[Part, ...]
    config: dict[str, Scalar]
    flags: dict[str, FlagValue]
    stop_grace_s: float


class Where(Struct, frozen=True):
    """On whose behalf. `site`: this daemon's; what another one made has another in its label. `names`: the name of the
    environment now, and those that it had before: what runs may be labelled with any of them. `options`: what the
    environment's file says for the program; it comes from the repository."""

    site: str
    environment: str
    names: tuple[str, ...]
    options: dict[str, Scalar]


class Call(Struct, frozen=True, kw_only=True):
    """What every request says."""

    contract: int = CONTRACT
    where: Where


class Observe(Call, frozen=True, kw_only=True, tag_field="action", tag="observe"):
    """Tell all that is ours here, in one answer."""


class Apply(Call, frozen=True, kw_only=True, tag_field="action", tag="apply"):
    """Make the first `upto` instances run `work`, and leave alone those after them that run something else; where
    `upto` is all of them, nothing else of the service runs afterwards. `adopted`: a person lets what has the service's
    name, and is not ours, be taken over. `beside`: what else of the service runs is left alone, until `settle` or
    `restore`; only a program that says `settles` is asked so."""

    service: str
    adopted: bool
    upto: int
    work: Work
    beside: bool = False


class Settle(Call, frozen=True, kw_only=True, tag_field="action", tag="settle"):
    """`work` has proved itself: end what else of the service runs, and leave it alone."""

    service: str
    work: Work


class Restore(Call, frozen=True, kw_only=True, tag_field="action", tag="restore"):
    """As `apply` with all instances, after something failed; without `work` nothing of the service runs afterwards."""

    service: str
    adopted: bool
    work: Work | None


class Logs(Call, frozen=True, kw_only=True, tag_field="action", tag="logs"):
    """The last lines that the service wrote, oldest first."""

    service: str
    lines: int


class Failure(Struct, frozen=True):
    """Why it was not done. `host`: a person must mend something where it runs; `transient`: it may pass; `artifact`:
    this version can never be right, and its pin is reverted."""

    fate: Fate
    message: Text
    remedy: Text = ""


class Seen(Struct, frozen=True):
    """One instance that carries our labels. `starting`: the engine is still at it. `crashed`: it ended, and the engine
    starts it again; `ended`: nothing does, and UGS will. `drift`: what differs from what was applied, since someone
    changed it by hand. `host` and `port`: where it alone can be probed, if not where the environment's file and the
    release say; needed of instances that run beside another version's."""

    labels: Annotated[dict[str, str], Meta(max_length=100)]
    state: Literal["running", "starting", "crashed", "ended"]
    pid: int | None = None
    started_at: Annotated[datetime, Meta(tz=True)] | None = None
    detail: Text = ""
    drift: Text = ""
    host: Text = ""
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None


class Foreign(Struct, frozen=True):
    """Something that stands where a service of ours would be, and has no labels of ours. `what`: a sentence."""

    service: Name
    what: Text


class Answer(Struct, frozen=True, kw_only=True):
    """What every answer says. To `apply` and `restore` that is all: what is seen afterwards decides."""

    contract: int
    error: Failure | None = None


class Observed(Answer, frozen=True, kw_only=True):
    """To `observe`: every instance of the environment, and what stands in the way of one. `settles`: the program can
    have two versions of a service beside each other, and knows `settle`."""

    instances: Annotated[tuple[Seen, ...], Meta(max_length=INSTANCES_MAX)] = ()
    foreign: Annotated[tuple[Foreign, ...], Meta(max_length=INSTANCES_MAX)] = ()
    settles: bool = False


class Logged(Answer, frozen=True, kw_only=True):
    """To `logs`."""

    lines: tuple[str, ...] = ()


resolve_types(Answer, Observed, Logged)


def schema() -> dict[str, Any]:
    """The contract as one JSON Schema: `$defs` has every request and every answer by its name."""
    kinds = (Observe, Apply, Settle, Restore, Logs, Answer, Observed, Logged)
    _, parts = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    for part in parts.values():
        part["description"] = " ".join(part["description"].split())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What UGS and a command driver's program say to each other",
        "description": "Observe is answered by Observed, Apply, Settle and Restore by Answer, Logs by Logged.",
        "anyOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds],
        "$defs": dict(sorted(parts.items())),
    }
