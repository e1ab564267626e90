"""Two hosts with databases of their own that take back the same failed upgrade at once: one revert, every time."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest

from reconciler.cli.graph import core_from, settings_from
from reconciler.cli.state import state_lock
from reconciler.engine import revert
from reconciler.engine.control import Control
from reconciler.engine.core import Core
from reconciler.engine.revert import settle_pin
from reconciler.model.desired import asked_of
from reconciler.model.upgrade import OPERATION_TRAILER, Phase, Upgrade, operation_id
from tests.fleet_repository import ENVIRONMENT_FILE, FleetRepository
from tests.git.colleague import git

HOSTS = ("blue", "green")
ROUNDS_A_REPOSITORY = 100
"""Each host looks through the branch's history for its operation: it is not let grow without end."""
LATE_MAX_S = 0.02
BY_NIGHT = pytest.mark.crash, pytest.mark.night


@pytest.fixture
def fleet(tmp_path: Path) -> FleetRepository:
    """1.0.0 is pinned, and there is a 1.1.0."""
    fleet = FleetRepository(tmp_path)
    fleet.deploy_first("1.0.0")
    fleet.release("1.1.0")
    fleet.merge("Add 1.1.0")
    return fleet


@pytest.fixture
def hosts(fleet: FleetRepository) -> Iterator[list[Core]]:
    """No lease keeps them apart: what is left is the operation's trailer, and that nobody forces a push."""
    random = Random(7)

    def late(name: str) -> None:
        if name == "push:begun":
            time.sleep(random.uniform(0, LATE_MAX_S))

    with ExitStack() as stack:
        cores = []
        for name in HOSTS:
            config = fleet.folder / f"{name}.yaml"
            config.write_text(
                f'repository: {{url: "{fleet.remote}"}}\nstate: "{fleet.folder / name}"\nlease: off\n'
            )
            settings = settings_from(config)
            stack.enter_context(state_lock(settings.state))
            cores.append(dataclasses.replace(stack.enter_context(core_from(settings)), failpoint=late))
        yield cores


def bump(core: Core) -> str:
    """A colleague, who commits without a work tree, pins 1.1.0; the commit."""
    mirror = core.repository.mirror
    tip = core.repository.fetch().tip
    text = core.repository.file(tip, ENVIRONMENT_FILE).replace(b'"1.0.0"', b'"1.1.0"')
    commit = mirror.commit(tip, {ENVIRONMENT_FILE: text}, "Bump api to 1.1.0", at=core.clock.now())
    mirror.push(commit)
    return commit


def failed(core: Core, commit: str) -> Upgrade:
    """The upgrade that this commit brought, restored and about to be reverted, as each host has it on record."""
    repository = core.repository
    repository.fetch()
    [parent] = repository.mirror.log(None, commit, limit=1)[0].parents
    before = asked_of(repository.snapshot(parent), "production", "api", {})
    after = asked_of(repository.snapshot(commit), "production", "api", {})
    assert before
    assert after
    now = core.clock.now()
    upgrade = Upgrade(
        operation=operation_id("production", "api", before.target, after.target, commit, 1),
        environment="production",
        service="api",
        change_class="minor",
        revision=commit,
        attempt=1,
        phase=Phase.REVERTING,
        before=before,
        after=after,
        running=before.target,
        created_at=now,
        changed_at=now,
        started_at=now,
        reason="it does not answer",
        failed=True,
    )
    with core.store.transaction():
        core.store.quarantine(upgrade, reason=upgrade.reason)
        core.store.record(upgrade, event="reverting")
    return upgrade


@pytest.mark.fault("GT-21")
@pytest.mark.parametrize(
    "rounds",
    [
        3,
        pytest.param(ROUNDS_A_REPOSITORY, marks=pytest.mark.crash, id="of-1000-0"),
        *(pytest.param(ROUNDS_A_REPOSITORY, marks=BY_NIGHT, id=f"of-1000-{n}") for n in range(1, 10)),
    ],
)
async def test_of_two_hosts_that_revert_at_once_one_commits(
    fleet: FleetRepository, hosts: list[Core], rounds: int
) -> None:
    operations = []
    for _ in range(rounds):
        commit = bump(hosts[0])
        upgrades = [failed(core, commit) for core in hosts]
        assert len({upgrade.operation for upgrade in upgrades}) == 1
        ended = await asyncio.gather(
            *(
                settle_pin(core, upgrade, Control(lambda: ""))
                for core, upgrade in zip(hosts, upgrades, strict=True)
            )
        )
        assert [upgrade.phase for upgrade in ended] == [Phase.REVERTED, Phase.REVERTED]
        assert len({upgrade.revert_commit for upgrade in ended}) == 1
        operations.append(ended[0].operation)
    form = f"--format=%(trailers:key={OPERATION_TRAILER},valueonly)"
    assert Counter(git(fleet.remote, "log", form, "main").split()) == Counter(operations)
    assert '"1.0.0"' in fleet.pinned()


class Killed(Exception):
    """The daemon ends here."""


@pytest.mark.fault("CR-08")
@pytest.mark.parametrize("pushed", [True, False])
async def test_what_was_pushed_before_the_breaker_tripped_is_said(
    hosts: list[Core], monkeypatch: pytest.MonkeyPatch, *, pushed: bool
) -> None:
    def killed(name: str) -> None:
        if name == ("push:done" if pushed else "push:begun"):
            raise Killed

    core, _ = hosts
    upgrade = failed(core, bump(core))
    with pytest.raises(Killed):
        await settle_pin(dataclasses.replace(core, failpoint=killed), upgrade, Control(lambda: ""))
    monkeypatch.setattr(revert, "trips", lambda _past, **_now: "3 of 3 upgrades failed")
    settled = await settle_pin(core, upgrade, Control(lambda: ""))
    assert (settled.phase, bool(settled.revert_commit)) == (
        (Phase.REVERTED, True) if pushed else (Phase.RESTORED, False)
    )
    assert ("nothing more is reverted" in settled.reason) is not pushed
