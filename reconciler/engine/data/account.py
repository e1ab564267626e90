"""What Git is told of services' data before anything touches it, and what it tells a daemon that does not know.

Who gets the environment of another daemon, or has lost the database, must not apply again what is applied.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from reconciler.engine.core import Core
from reconciler.model import data
from reconciler.model.data import ABSENT, Recorded
from reconciler.model.errors import HostError, TransientError, UgsError
from reconciler.model.git_notes import adoption_id, adoption_line
from reconciler.model.notice import Notice
from reconciler.model.observation import Observation
from reconciler.model.permits import DATA, held_for_data
from reconciler.model.recovery import Account, Left
from reconciler.model.release import Release
from reconciler.model.succession import Place
from reconciler.model.target import Target, Workload
from reconciler.model.upgrade import Upgrade
from reconciler.model.version import Version
from reconciler.store import Note

log = logging.getLogger("ugs")
HELD = "data held: "
"""By environment and service: why it was held when Git was read, so that what a person has released stays so."""
Describe = Callable[[str, Target], Awaitable[Workload | None]]


async def tell(core: Core, upgrade: Upgrade) -> None:
    """Have Git say that an upgrade may touch its service's data, before it does. Nothing where it has none to touch.

    Where nobody else can get the environment, a remote that cannot be told holds nothing up. Elsewhere raises
    TransientError, or HostError.
    """
    recorded = core.store.migrations(upgrade.environment, upgrade.service)
    if upgrade.rollout or not data.said(recorded, upgrade):
        return
    epoch, row = core.epoch_and_row(upgrade.environment)
    note = core.note_of(replace(upgrade, epoch=epoch, row=row))
    lines = {note.revision: {note.operation: note.line}}
    try:
        await core.git(core.repository.mirror.add_notes, lines, at=core.clock.now())
    except UgsError as error:
        if core.leases.known_to(upgrade.environment) is None:
            name = f"{upgrade.environment}/{upgrade.service}"
            log.warning("%s: Git could not be told that data may be migrated: %s", name, error)
            return
        kind = TransientError if isinstance(error, TransientError) else HostError
        what = f"Git has to say first that the data of {upgrade.service} may be migrated: {error.message}"
        raise kind(what, error.remedy) from error


class Recalled(NamedTuple):
    """What Git tells of the data of an environment: rows that are better than what is on record here, by service why
    nothing of it is to be started, and what was stopped on purpose and has left its data."""

    rows: list[Recorded]
    held: dict[str, str]
    removed: list[Workload]

    def record(self, core: Core, environment: str) -> None:
        """Put it on record; a person is called for what is held. Part of the caller's transaction."""
        for row in self.rows:
            core.store.migrated(row)
        for work in self.removed:
            core.store.deployed(work, revision="")
            core.store.healthy(work)
            core.store.removed(environment, work.service)
        for service, reason in self.held.items():
            core.store.mark(f"{HELD}{environment} {service}", reason)
            hold(core, environment, service, reason)
            sentence = f"{environment}/{service} is held: {reason}"
            now = core.clock.now()
            core.store.tell(
                Notice(environment, service, sentence=sentence, severity="person", at=now, title="data")
            )


async def recalled(
    core: Core,
    environment: str,
    account: Account,
    describe: Describe,
    proven: Mapping[str, Target],
    carried: Collection[str],
    *,
    lost: bool,
) -> Recalled:
    """`proven`: by service, what Git says proved healthy last, where nothing newer is remembered. `carried`: the
    operations that go on from where they were left. `lost`: the database is not the newest."""
    held = {
        service: why
        for service, (operation, why) in account.held.items()
        if lost or core.store.upgrade(operation) is None  # else what was said of it here counts
    }
    if not any(_saves(core, environment, service) for service in _releases(core, environment)):
        return Recalled([], _unheard(core, environment, held), [])
    seen = await core.drive(
        environment, core.driver(environment).observe, core.site_of(environment), environment
    )
    rows = await _rows(core, environment, account, describe, lost=lost)
    rows += _running(core, environment, seen, rows)
    for service, names in _strange(core, environment, rows, carried).items():
        good = proven.get(service) or _good(core, environment, service)
        runs = seen[service].targets if service in seen else frozenset[Target]()
        # Where the last that proved healthy runs, it has borne what was done to its data.
        if good and runs != {good} and service not in held:
            held[service] = (
                f"its data may have been migrated by {', '.join(names)}, and {good.version}, the last that "
                "proved healthy, does not run"
            )
    return Recalled(
        rows, _unheard(core, environment, held), await _removed(core, environment, account, describe)
    )


def _unheard(core: Core, environment: str, held: Mapping[str, str]) -> dict[str, str]:
    """Without those that were held here for the same reason before: a person has looked, or will."""
    known = core.store.marks(HELD)
    return {
        service: why for service, why in held.items() if known.get(f"{HELD}{environment} {service}") != why
    }


def _running(
    core: Core, environment: str, seen: Mapping[str, Observation], rows: list[Recorded]
) -> list[Recorded]:
    """Of what runs, and of which Git says nothing: what comes before it was applied. What comes after, nobody knows;
    where it is pinned, it is about to be adopted, if it is healthy."""
    known = {(row.service, row.id) for row in (*core.store.migrations(environment), *rows)}
    found = dict[tuple[str, str], Recorded]()
    for service, releases in _releases(core, environment).items():
        work = core.desired[environment].workloads.get(service)
        for target in sorted(seen[service].targets, key=str) if service in seen else ():
            release, pinned = releases.get(target.version), work is not None and work.target == target
            for migration in release.migrations if release else ():
                before = migration.phase == "before"
                if (service, migration.id) not in known and (before or not pinned):
                    left = Left("", target.version.text, "done" if before else "unknown", proven=before)
                    found[service, migration.id] = _recorded(core, environment, service, migration.id, left)
    return list(found.values())


def _releases(core: Core, environment: str) -> Mapping[str, Mapping[Version, Release]]:
    """By service: the catalogue, as the environment has it."""
    wanted = core.desired.get(environment)
    return wanted.releases if wanted else {}


async def _removed(core: Core, environment: str, account: Account, describe: Describe) -> list[Workload]:
    """Of each service with a backup that was removed, one that proved healthy before: there is something to save."""
    found = dict[str, Workload]()
    for service, target in account.ran:
        if service not in account.removed or service in found or not _saves(core, environment, service):
            continue
        work = None if core.store.has_proved(environment, service) else await describe(service, target)
        if work is not None:
            found[service] = work
    return list(found.values())


def _strange(
    core: Core, environment: str, rows: list[Recorded], carried: Collection[str]
) -> dict[str, list[str]]:
    """By service, the migrations of which its last-good version knows nothing; of what is carried on, none."""
    known = {(row.service, row.id): row for row in (*core.store.migrations(environment), *rows)}
    found = defaultdict[str, list[str]](list)
    for (service, name), row in known.items():
        is_done = not row.proven and row.state not in ABSENT and row.operation not in carried
        if is_done and not _vouched(core, row):
            found[service].append(name)
    return found


def _vouched(core: Core, row: Recorded) -> bool:
    """Whether the release that brought a migration says that the version before it runs on what it leaves."""
    releases = _releases(core, row.environment).get(row.service, {}).values()
    by = next((one for one in releases if one.version.text == row.version), None)
    return row.state == "done" and by is not None and bool(by.upgrade.reversible)


def adopt_migrations(core: Core, work: Workload) -> None:
    """What runs healthy has its migrations behind it; but of one whose upgrade did not succeed here, or of which nobody
    has seen the end, those alone that come before it."""
    rows = core.store.migrations(work.environment, work.service)
    states, version = {row.id: row.state for row in rows}, work.target.version.text
    ours = any(row.operation and row.version == version and not row.proven for row in rows)
    for migration in work.release.migrations:
        state, before = states.get(migration.id), migration.phase == "before"
        if (state is None and (before or not ours)) or (state == "unknown" and before):
            left = Left("", version, "done", proven=True)
            core.store.migrated(_recorded(core, work.environment, work.service, migration.id, left))


def tell_adoption(core: Core, work: Workload, revision: str) -> None:
    """Have Git say, in its own time, what was adopted of a service with data: else nobody else would know that they
    were migrated. Part of the caller's transaction."""
    if not work.release.backup or core.hosted(work.environment):
        return
    epoch, row = core.epoch_and_row(work.environment)
    recorded = core.store.migrations(work.environment, work.service)
    line = adoption_line(work, recorded, place=Place(epoch, row, core.clock.now()))
    operation = adoption_id(work.environment, work.service, work.target)
    core.store.write_note(Note(revision, operation, line))
    core.store.afterwards(core.wake.notes.set)


def hold(core: Core, environment: str, service: str, reason: str) -> None:
    """Let nothing of the service be started until a person has looked, be it after a reboot."""
    if held_for_data(core.store.permits(environment), environment, service, now=core.clock.now()):
        return
    core.store.hold(environment, service, reason=reason, owner=DATA, until=None)


def _good(core: Core, environment: str, service: str) -> Target | None:
    return next((work.target for work, _ in core.store.good(environment, service, limit=1)), None)


async def _rows(
    core: Core, environment: str, account: Account, describe: Describe, *, lost: bool
) -> list[Recorded]:
    """The migrations of which Git knows better in what state they are than what is on record here."""
    known = {(row.service, row.id): row for row in core.store.migrations(environment)}
    under_way = {one.operation for one in core.store.upgrades(environment=environment, unfinished=True)}
    old = under_way if lost else frozenset[str]()
    found = {
        (service, name): _recorded(core, environment, service, name, left)
        for service, by_id in account.data.items()
        for name, left in by_id.items()
        if _is_better(left, known.get((service, name)), old)
    }
    for service, target in account.ran:
        for release in await _proven(core, environment, service, target, describe):
            left = Left("", release.version.text, "done", proven=True)
            for migration in release.migrations:
                if (service, migration.id) not in known.keys() | found.keys():
                    found[service, migration.id] = _recorded(core, environment, service, migration.id, left)
    return list(found.values())


def _is_better(left: Left, known: Recorded | None, old: Collection[str]) -> bool:
    """`old`: operations that were under way in a database that is not the newest: what they did since is not in it."""
    if known is None:
        return True
    if known.operation == left.operation:  # its last word, or none that comes after ours
        said = left.state != "unknown" or left.operation in old
        return said and (known.state, known.proven) != (left.state, left.proven)
    return known.operation != ""  # what was adopted has proved healthy since


def _recorded(core: Core, environment: str, service: str, name: str, left: Left) -> Recorded:
    by = f"Git says: operation {left.operation} left it so"
    return Recorded(
        environment=environment,
        service=service,
        id=name,
        version=left.version,
        operation=left.operation,
        state=left.state,
        changed_at=core.clock.now(),
        evidence=by if left.operation else f"{left.version} ran already",
        proven=left.proven,
    )


async def _proven(
    core: Core, environment: str, service: str, target: Target, describe: Describe
) -> tuple[Release, ...]:
    """What proved healthy, where the service has migrations at all: from the catalogue, or from the past."""
    if not _saves(core, environment, service):
        return ()
    if release := _releases(core, environment)[service].get(target.version):
        return (release,)
    work = await describe(service, target)
    return (work.release,) if work else ()


def _saves(core: Core, environment: str, service: str) -> bool:
    """Whether any release of a service has a backup, as all have that migrate."""
    return any(one.backup for one in _releases(core, environment).get(service, {}).values())
