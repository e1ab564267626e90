"""One change on many hosts: what is published of it, what each host says came of it, and when the pin goes back.

Nothing but Git coordinates it. The daemon that holds the environment's lease publishes one `Rollouts`; each host
publishes one `Reports`. Who reads them, and when, changes nothing of what follows from them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from reconciler.model.environment import ChangeClass, Environment
from reconciler.model.target import Target
from reconciler.model.upgrade import Companion, operation_id

TEXT_CHARS_MAX = 300
SHUT_MAX = 200
NAMED_MAX = 5

State = Literal["running", "failing", "reverted", "left", "withdrawn", "succeeded"]
"""`failing`: so many hosts have failed that the pin goes back; `left`: that was due, and Git was left alone;
`withdrawn`: somebody else moved the pin back."""
STATES_TOLD: dict[State, str] = {
    "running": "is on its way to the hosts",
    "failing": "is being taken back",
    "reverted": "is taken back: its pin is reverted",
    "left": "is stopped, and its pin is left alone",
    "withdrawn": "is called off: its pin was moved back",
    "succeeded": "runs on every host",
}
FAILED: frozenset[State] = frozenset({"failing", "reverted", "left"})
OWN_GATES = frozenset({"rollout", "host", "concurrency", "dependency", "fit", "lease"})
"""Those that each host asks for itself: a rollout begins without them."""
Text = Annotated[str, Meta(max_length=TEXT_CHARS_MAX)]
Outcome = Literal["succeeded", "failed", "parked", "stuck"]


class Rollout(Struct, frozen=True, omit_defaults=True):
    """One change of one service on its way to all hosts. `to_node`, `from_node`: the pins, as JSON.

    `from_` (None: nothing) is what last ran on every host: everyone's last-good until this has succeeded.
    """

    operation: str
    service: str
    revision: str
    change_class: ChangeClass
    to: Target
    to_node: str
    started_at: datetime
    from_: Target | None = field(name="from", default=None)
    from_node: str | None = None
    by: str = ""
    """The host that wrote this last."""
    first: str = ""
    """The host that sees to the service's data, and moves before all others; empty where there is none."""
    proven: bool = False
    """That host has moved, and is well."""
    state: State = "running"
    reason: Text = ""
    commit: str = ""
    ended_at: datetime | None = None
    companions: tuple[Companion, ...] = ()
    """Whose pins go back with this one."""


class Shut(Struct, frozen=True, omit_defaults=True):
    """A target that failed, and is not tried again on any host until it is released."""

    operation: str
    service: str
    target: Target
    reason: Text
    at: datetime
    restored: Target | None = None


class Rollouts(Struct, frozen=True, omit_defaults=True):
    """What the holder of one environment's lease publishes: the newest rollout of each service, and what failed."""

    rollouts: dict[str, Rollout] = {}
    shut: tuple[Shut, ...] = ()
    """The oldest first."""


class Report(Struct, frozen=True, omit_defaults=True):
    """What came of one rollout on one host. `decisive`: a person said so, and one such word is enough."""

    operation: str
    outcome: Outcome
    reason: Text = ""
    decisive: bool = False
    companions: tuple[Companion, ...] = ()


class Reports(Struct, frozen=True, omit_defaults=True):
    """What one host publishes of one environment: by service."""

    reports: dict[str, Report] = {}


class Wanted(Struct, frozen=True):
    """What is pinned of one service, as the holder of the lease knows it."""

    operation: str
    service: str
    revision: str
    change_class: ChangeClass
    to: Target
    node: str
    ready: bool
    """Every gate of the whole environment is open."""
    data: bool
    """The release saves or migrates data, which is the environment's."""
    last: tuple[Target, str] | None
    """What was last-good before it where this is worked out, and its pin."""


def rollout_id(environment: str, service: str, to: Target, revision: str) -> str:
    """The same on every host, whatever ran there before. No single upgrade has it: their attempts begin at 1."""
    return operation_id(environment, service, None, to, revision, 0)


def progressed(
    known: Rollouts,
    environment: Environment,
    wanted: Mapping[str, Wanted],
    reports: Mapping[str, Reports],
    *,
    unpinned: Collection[str] = (),
    host: str,
    now: datetime,
) -> Rollouts:
    """What the holder of the lease, on `host`, has to publish in place of `known`; the same where nothing is new.

    `unpinned`: services of which it is certain that nothing is pinned any more.
    """
    rollouts, shut = dict(known.rollouts), list(known.shut)
    for service, want in sorted(wanted.items()):
        before = rollouts.get(service)
        after = _moved(before, want, environment, reports, host=host, now=now)
        if after is None or after == before:
            continue
        rollouts[service] = after
        if after.operation != (
            before.operation if before else ""
        ):  # its quarantine gate is open: it was released
            shut = [one for one in shut if (one.service, one.target) != (service, after.to)]
        elif after.state == "failing":
            shut.append(Shut(after.operation, service, after.to, after.reason, now, after.from_))
    for service in rollouts.keys() & set(unpinned):
        if rollouts[service].state not in FAILED:  # those, hosts have to see that were away
            del rollouts[service]
    return Rollouts(rollouts, tuple(shut[-SHUT_MAX:]))


def settled(
    known: Rollouts, service: str, *, commit: str | None, left: str, host: str, now: datetime
) -> Rollouts:
    """After the pin of a failing rollout was put back by `commit`, or left alone for a reason."""
    rollout = known.rollouts[service]
    ended = replace(
        rollout,
        state="left" if left else "reverted",
        commit=commit or "",
        reason=bounded("; ".join(filter(None, (rollout.reason, left)))),
        by=host,
        ended_at=now,
    )
    return replace(known, rollouts=known.rollouts | {service: ended})


def counts(
    rollout: Rollout, hosts: Sequence[str], reports: Mapping[str, Reports]
) -> dict[Outcome, list[str]]:
    """The hosts by what they say came of a rollout, in the order of the list; of the others nothing is known."""
    found: dict[Outcome, list[str]] = {"succeeded": [], "failed": [], "parked": [], "stuck": []}
    for host in hosts:
        if report := report_of(rollout, reports.get(host)):
            found[report.outcome].append(host)
    return found


def report_of(rollout: Rollout, said: Reports | None) -> Report | None:
    report = said.reports.get(rollout.service) if said else None
    return report if report and report.operation == rollout.operation else None


def bounded(text: str) -> str:
    """One printable line that fits in a reference for all to read."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:TEXT_CHARS_MAX]


def _moved(
    before: Rollout | None,
    want: Wanted,
    environment: Environment,
    reports: Mapping[str, Reports],
    *,
    host: str,
    now: datetime,
) -> Rollout | None:
    if before and before.operation == want.operation:
        judged = before.state in ("running", "succeeded")
        return _judged(before, environment, reports, host=host, now=now) if judged else before
    if before and before.state != "succeeded" and before.from_ == want.to:
        if before.state != "running":
            return before
        return replace(before, state="withdrawn", reason="its pin was moved back", by=host, ended_at=now)
    if not want.ready or (before and before.state == "failing"):
        return before
    last = _last(before, want)
    return Rollout(
        operation=want.operation,
        service=want.service,
        revision=want.revision,
        change_class=want.change_class,
        to=want.to,
        to_node=want.node,
        started_at=now,
        from_=last[0] if last else None,
        from_node=last[1] if last else None,
        by=host,
        first=host if want.data else "",
    )


def _last(before: Rollout | None, want: Wanted) -> tuple[Target, str] | None:
    """What ran on every host before: what another rollout brought there, or what that one had found there."""
    if before is None:
        return want.last
    if before.state == "succeeded":
        return before.to, before.to_node
    if before.from_ and before.from_node:
        return before.from_, before.from_node
    # A first deployment that has not reached everybody: whoever has it keeps it, rather than nothing.
    again = want.last and want.last[0] == before.to and before.state in FAILED
    return None if again else want.last


def _judged(
    rollout: Rollout, environment: Environment, reports: Mapping[str, Reports], *, host: str, now: datetime
) -> Rollout:
    """A rollout after what the hosts say of it. Once it has succeeded, only a person's verdict takes it back."""
    found = counts(rollout, environment.hosts, reports)
    failed = {name: report for name in found["failed"] if (report := report_of(rollout, reports.get(name)))}
    enough = len(failed) >= environment.strategy.failures and rollout.state == "running"
    if enough or any(one.decisive for one in failed.values()):
        companions = {one.service: one for report in failed.values() for one in report.companions}
        named = [f"{name}: {report.reason}" for name, report in list(failed.items())[:NAMED_MAX]]
        more = f"; and {len(failed) - NAMED_MAX} more" if len(failed) > NAMED_MAX else ""
        return replace(
            rollout,
            state="failing",
            reason=bounded(f"on {'; on '.join(named)}{more}"),
            by=host,
            companions=tuple(companions.values()),
            ended_at=None,
        )
    if rollout.state == "succeeded":
        return rollout
    if len(found["succeeded"]) == len(environment.hosts):
        return replace(rollout, state="succeeded", by=host, ended_at=now)
    if rollout.first in found["succeeded"] and not rollout.proven:
        return replace(rollout, proven=True, by=host)
    return rollout
