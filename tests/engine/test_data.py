"""What is done with the data of one upgrade, over real commands and real SQLite files; the driver is a fake."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace as renewed

from reconciler.config import Repository, Settings
from reconciler.drivers.base import Site, Surroundings
from reconciler.engine.control import Control
from reconciler.engine.core import Core
from reconciler.engine.data import Steward, Unsettled, abandon, commands
from reconciler.engine.fence import Fenced
from reconciler.engine.vault import OnDisk
from reconciler.errand import StillRunning
from reconciler.model.codec import convert
from reconciler.model.environment import Keeping, Policy, RestoreData
from reconciler.model.errors import ArtifactError, HostError, TransientError
from reconciler.model.release import Backup, Migration, Run, SecretName, Upgrading
from reconciler.model.upgrade import Phase, Upgrade
from reconciler.store import Store
from tests.build import desired, release, upgrade, work
from tests.ledger import PROGRAM, Ledger
from tests.moved_clock import MovedClock

CANARY = "canary-4f1d9b7c2e"
SECOND = "canary-88aa01"


class Desk:
    """One upgrade's data and who acts on it. `stopped` tells which versions the driver was asked to stop."""

    def __init__(self, folder: Path, store: Store, clock: MovedClock) -> None:
        self.ledger = Ledger(folder / "data")
        self.folder, self.store, self.clock = folder, store, clock
        self.control = Control(closed=lambda: "")
        self.stopped: list[str] = []
        self.told: list[str] = []
        """What Git was told."""
        self.at: dict[str, Any] = {}
        directory = folder / "release"
        (directory / "lib").mkdir(parents=True)
        (directory / "lib/ledger.py").write_text(PROGRAM)
        around = Surroundings(directory, {"PATH": "/usr/bin:/bin", "PASSWORD": SECOND}, {"version": "1.1.0"})
        self.driver: Any = SimpleNamespace(
            surroundings=lambda *_: around,
            settle=lambda _, good: self.stopped.append(f"all but {good.target.version}"),
            restore=lambda *_, **__: self.stopped.append("all"),
        )
        self.core = Core(
            settings=Settings(folder / "ugs.yaml", Repository("x")),
            store=store,
            repository=cast(Any, SimpleNamespace(mirror=SimpleNamespace(add_notes=self._told))),
            site=Site(
                state=folder / "state", secret=lambda *_: CANARY, blob=cast(Any, None), artifacts_allowed=()
            ),
            clock=clock,
            outboxes=(),
            failpoint=lambda name: self.at.get(name, lambda: None)(),
        )

    def _told(self, lines: dict[str, dict[str, str]], **_: object) -> None:
        self.told += [line for by_operation in lines.values() for line in by_operation.values()]

    def policy(self, **rules: Any) -> None:
        self.core.desired["production"] = desired(policy=Policy(**rules))

    def upgrade(
        self,
        *migrations: dict[str, Any],
        first: bool = False,
        number: int = 1,
        backup: dict[str, Any] | None = None,
        reversible: bool | None = None,
    ) -> Upgrade:
        """One to 1.1.0 with these migrations, on record as it stands while it is being applied."""
        of = release(
            f"1.{number}.0",
            run=Run(("bin/api",), environment={"PASSWORD": SecretName("password")}),
            backup=convert(self.ledger.backup() | (backup or {}), Backup),
            migrations=tuple(convert(one, Migration) for one in migrations),
            upgrade=Upgrading(reversible=reversible),
        )
        return upgrade(None if first else work("1.0.0"), work(f"1.{number}.0", of=of), phase=Phase.APPLYING)

    def steward(self, *migrations: dict[str, Any], **how: Any) -> Steward:
        return Steward(self.core, self.driver, self.upgrade(*migrations, **how), self.control)

    def states(self) -> dict[str, str]:
        return {row.id: row.state for row in self.store.migrations()}

    def kept(self) -> list[Path]:
        return sorted((self.folder / "state/backups").glob("production/api/*/data"))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    clock = MovedClock()
    with closing(Store(tmp_path / "ugs.db", now=clock.now)) as store:
        yield Desk(tmp_path, store, clock)


async def test_where_nothing_was_ever_healthy_there_is_nothing_to_save(desk: Desk) -> None:
    await desk.steward(first=True).prepare()
    assert (desk.ledger.calls(), desk.store.backups()) == ([], [])


async def test_what_was_removed_is_saved_before_something_migrates_its_data(desk: Desk) -> None:
    desk.store.deployed(work("1.0.0"), revision="c0")
    desk.store.healthy(work("1.0.0"))
    desk.store.removed("production", "api")
    await desk.steward(first=True).prepare()
    assert desk.ledger.calls() == []
    await desk.steward(desk.ledger.migration("early"), first=True).prepare()
    assert desk.ledger.calls() == ["save data", "verify data"]
    [backup] = desk.store.backups()
    assert (backup.state, backup.version) == ("verified", "")


class Doubtful:
    """A fence that does not know whose the environment is, so many times."""

    def __init__(self, times: int) -> None:
        self.times = times

    async def passed(self, *, ending: bool = False) -> None:
        if self.times and not ending:
            self.times -= 1
            raise TransientError("the remote does not say whose it is")


@pytest.mark.fault("GT-21")
async def test_data_are_left_alone_while_nobody_knows_whose_the_environment_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "LEASE_PAUSE_S", 0.0)
    early, late = desk.ledger.migration("early"), desk.ledger.migration("late")
    desk.core = replace(desk.core, fence=cast(Any, Doubtful(1)))
    with pytest.raises(TransientError):
        await desk.steward(early).migrate("before")
    assert (desk.ledger.calls(), desk.states()) == ([], {})

    fence = Doubtful(0)
    desk.core = replace(desk.core, fence=cast(Any, fence))
    desk.at["before:early:done"] = lambda: setattr(fence, "times", 3)
    await desk.steward(early, late).migrate("before")  # what was begun waits, and is not blamed
    assert (fence.times, desk.states()) == (0, {"early": "done", "late": "done"})


@pytest.mark.fault("GT-21")
async def test_an_environment_that_is_taken_while_a_command_is_made_ready_keeps_its_data(desk: Desk) -> None:
    class Taken:
        mine = True

        async def passed(self, **_how: bool) -> None:
            if not self.mine:
                raise Fenced("production is in the hands of daemon b0b")

    fence = Taken()

    def secret(*_: str) -> str:
        fence.mine = False  # the machine stood still meanwhile
        return CANARY

    early = desk.ledger.migration("early", environment={"TOKEN": {"secret": "token"}})
    desk.core = replace(desk.core, fence=cast(Any, fence), site=renewed(desk.core.site, secret=secret))
    with pytest.raises(Fenced):
        await desk.steward(early).migrate("before")
    assert (desk.ledger.calls(), desk.states()) == ([], {})


class Dying(OnDisk):
    """A vault whose daemon is killed right after it has forgotten how this step ended."""

    def __init__(self, step: str) -> None:
        self.step = step

    def forget(self, folder: Path, name: str) -> None:
        OnDisk.forget(folder, name)
        if name.endswith(self.step):
            raise KeyboardInterrupt


@pytest.mark.fault("CR-03")
async def test_a_migration_whose_end_was_being_recorded_is_not_run_again(desk: Desk) -> None:
    early = desk.ledger.migration("early", without="check")
    desk.core = replace(desk.core, vault=Dying("before:early"))
    with pytest.raises(KeyboardInterrupt):
        await desk.steward(early).migrate("before")
    desk.core = replace(desk.core, vault=OnDisk())
    await desk.steward(early).migrate("before")
    assert (desk.ledger.calls(), desk.states()) == (["up early"], {"early": "done"})


@pytest.mark.fault("CR-03")
async def test_a_backup_whose_coming_back_was_being_recorded_does_not_come_back_again(desk: Desk) -> None:
    desk.policy(restore_data=RestoreData(600.0))
    early = desk.ledger.migration("early", without="down")
    await desk.steward(early).prepare()
    await desk.steward(early).migrate("before")
    desk.core = replace(desk.core, vault=Dying("restore-data"))
    with pytest.raises(KeyboardInterrupt):
        await desk.steward(early).take_back()
    desk.core = replace(desk.core, vault=OnDisk())
    assert await desk.steward(early).take_back() == ""
    assert desk.ledger.calls().count("restore data") == 1
    assert desk.states() == {"early": "undone"}


@pytest.mark.fault("RT-10")
async def test_what_is_so_counts_and_not_what_the_command_says(desk: Desk) -> None:
    desk.ledger.mood("up", "changed", "changed")
    desk.ledger.mood("up", "missing", "lie")
    steward = desk.steward(*map(desk.ledger.migration, ("changed", "missing")))
    with pytest.raises(
        ArtifactError, match=r"missing failed: exit code 0: up missing done; its check says: exit code 1"
    ):
        await steward.migrate("before")
    assert desk.states() == {"changed": "done", "missing": "failed"}


async def test_a_migration_that_was_cut_short_is_settled_by_its_check(desk: Desk) -> None:
    desk.ledger.mood("up", "early", "die")
    desk.ledger.mood("up", "other", "die")
    desk.ledger.mood("check", "other", "7")
    steward = desk.steward(*map(desk.ledger.migration, ("early", "other")))
    with pytest.raises(
        Unsettled, match="whether migration other is applied: ended by signal 9; its check says: exit code 7"
    ):
        await steward.migrate("before")
    assert desk.states() == {"early": "done", "other": "unknown"}
    assert steward.hopeless() == "nobody knows whether migration other is applied"


async def test_one_of_which_nobody_knows_is_not_begun_again(desk: Desk) -> None:
    desk.ledger.mood("up", "early", "die")
    early = desk.ledger.migration("early", without="check")
    for _ in range(2):  # the daemon ended before it heeded what it had put on record
        with pytest.raises(Unsettled, match="whether migration early is applied: ended by signal 9"):
            await desk.steward(early).migrate("before")
    assert (desk.ledger.calls(), desk.states()) == (["up early"], {"early": "unknown"})


async def test_one_that_outlasts_its_time_limit_and_is_not_applied_failed(desk: Desk) -> None:
    desk.ledger.mood("up", "early", "hang")
    with pytest.raises(ArtifactError, match="it did not end within its time limit"):
        await desk.steward(desk.ledger.migration("early", timeout_s=0.3)).migrate("before")
    assert desk.states() == {"early": "failed"}


async def test_one_that_a_power_cut_cut_short_is_run_again_where_its_check_says_that_it_is_absent(
    desk: Desk,
) -> None:
    steward = desk.steward(desk.ledger.migration("early"))
    operation = steward._upgrade.operation
    steward._migrations.note("early", "begun")
    desk.store.begin(operation, "before:early")
    folder = desk.folder / "state/errands/production/api"
    folder.mkdir(parents=True)
    (folder / f"{operation}.before:early.json").write_text("{}")
    await steward.migrate("before")
    assert desk.ledger.calls() == ["check early", "up early", "check early"]
    assert desk.states() == {"early": "done"}


async def test_what_an_earlier_operation_left_open_is_asked_about_or_a_person_must_say(desk: Desk) -> None:
    desk.ledger.mood("up", "a", "die")
    a, b = desk.ledger.migration("a"), desk.ledger.migration("b", without="check")
    first = desk.steward(a)
    first._migrations.note("a", "unknown")
    first._migrations.note("b", "unknown")
    desk.store.begin(first._upgrade.operation, "before:a")
    with pytest.raises(
        HostError, match="whether migration b is applied: it has no `check`; look at the data, then say"
    ):
        await desk.steward(a, b, number=2).prepare()
    assert desk.states() == {"a": "undone", "b": "unknown"}


@pytest.mark.fault("DB-11")
@pytest.mark.parametrize(
    ("verb", "mood", "says"),
    [
        ("save", "fail", "the data could not be saved: exit code 1: it does not want to"),
        ("verify", "fail", "the backup did not prove good: exit code 1: it does not want to"),
        ("save", "lie", "data: No such file or directory"),
    ],
)
async def test_a_backup_that_is_no_good_keeps_the_older_ones(
    desk: Desk, verb: str, mood: str, says: str
) -> None:
    desk.policy(backups=Keeping(keep=1))
    await desk.steward().prepare()
    [good] = desk.kept()
    desk.ledger.mood(verb, "data", mood)
    with pytest.raises(HostError, match=says):
        await desk.steward(number=2).prepare()
    assert desk.kept() == [good]
    desk.ledger.better()
    await desk.steward(number=3).prepare()
    assert len(desk.kept()) == 1
    assert desk.kept() != [good]
    assert [one.path for one in desk.store.backups()] == [str(desk.kept()[0])]


async def test_what_a_killed_daemon_left_half_saved_goes_with_the_next_backup(desk: Desk) -> None:
    def killed() -> None:
        raise KeyboardInterrupt

    desk.at["backup:done"] = killed
    with pytest.raises(KeyboardInterrupt):
        await desk.steward().prepare()
    assert [one.state for one in desk.store.backups()] == ["begun"]
    desk.at.clear()
    await desk.steward().prepare()
    assert [one.state for one in desk.store.backups()] == ["verified"]
    assert len(desk.kept()) == 1


async def test_what_has_no_down_comes_back_from_the_backup_after_what_is_there_was_saved(desk: Desk) -> None:
    desk.policy(restore_data=RestoreData(600.0))
    steward = desk.steward(desk.ledger.migration("early", without="down"))
    await steward.prepare()
    await steward.migrate("before")
    assert desk.ledger.tables() == ["orders", "early"]
    desk.ledger.calls()

    assert steward.owes
    assert await steward.take_back() == ""
    assert desk.stopped == ["all but 1.0.0"]
    assert desk.ledger.calls() == ["save data", "restore data"]
    assert desk.ledger.tables() == ["orders"]
    assert desk.states() == {"early": "undone"}
    kinds = [(one.kind, one.state) for one in desk.store.backups()]
    assert kinds == [("rescue", "saved"), ("upgrade", "verified")]
    assert not steward.owes


async def saved_between(desk: Desk, early: dict[str, Any], late: dict[str, Any]) -> Steward:
    """The data are saved after one migration, of which nobody knew whether it is applied, and before the other."""
    first = desk.steward(early)
    await first.prepare()
    await first.migrate("before")
    first._migrations.note("early", "unknown")
    desk.clock.move(timedelta(minutes=1))
    second = desk.steward(early, late, number=2)
    await second.prepare()  # the check says that it is applied, and then the data are saved
    desk.clock.move(timedelta(seconds=1))
    await second.migrate("before")
    return second


async def test_what_was_in_the_data_when_they_were_saved_is_in_them_again(desk: Desk) -> None:
    desk.policy(restore_data=RestoreData(600.0))
    early, late = (
        desk.ledger.migration("early", without="down"),
        desk.ledger.migration("late", without="down"),
    )
    second = await saved_between(desk, early, late)
    assert await second.take_back() == ""
    assert desk.ledger.tables() == ["orders", "early"]
    assert desk.states() == {"early": "done", "late": "undone"}


async def test_what_could_not_be_undone_was_in_the_data_when_they_were_saved_all_the_same(desk: Desk) -> None:
    desk.policy(restore_data=RestoreData(600.0))
    early, late = desk.ledger.migration("early"), desk.ledger.migration("late")
    second = await saved_between(desk, early, late)
    desk.ledger.mood("down", "early", "fail")
    assert await second.take_back() == ""
    assert desk.ledger.calls()[-4:] == ["down early", "check early", "save data", "restore data"]
    assert desk.ledger.tables() == ["orders", "early"]
    assert desk.states() == {"early": "done", "late": "undone"}


async def test_a_backup_that_has_begun_to_come_back_does_however_late_it_is(desk: Desk) -> None:
    desk.policy(restore_data=RestoreData(600.0))
    steward = desk.steward(desk.ledger.migration("early", without="down"))
    await steward.prepare()
    await steward.migrate("before")
    desk.at["restore-data:begun"] = lambda: desk.control.say(stopping=True)
    desk.ledger.mood("restore", "data", "hang")
    with pytest.raises(StillRunning):
        await steward.take_back()
    desk.control.stopping = False
    desk.at.clear()
    desk.ledger.better()
    desk.clock.move(timedelta(hours=1))
    assert await steward.take_back() == ""
    assert desk.ledger.tables() == ["orders"]
    assert desk.ledger.calls().count("save data") == 2


async def test_a_backup_that_has_grown_old_while_what_is_there_was_saved_stays_where_it_is(
    desk: Desk,
) -> None:
    desk.policy(restore_data=RestoreData(600.0))
    steward = desk.steward(desk.ledger.migration("early", without="down"))
    await steward.prepare()
    await steward.migrate("before")
    desk.at["rescue:done"] = lambda: desk.clock.move(timedelta(minutes=11))
    assert "policy.restore_data allows 10m" in await steward.take_back()
    assert "restore data" not in desk.ledger.calls()
    assert desk.ledger.tables() == ["orders", "early"]


async def test_what_nobody_carries_on_is_held_and_of_half_a_backup_nobody_knows(desk: Desk) -> None:
    desk.policy(restore_data=RestoreData(600.0))
    row = desk.upgrade(desk.ledger.migration("early", without="down"))
    steward = Steward(desk.core, desk.driver, row, desk.control)
    await steward.prepare()
    await steward.migrate("before")
    desk.core = replace(desk.core, drivers={"process": desk.driver})
    abandon(desk.core, row, "the daemon died 10 times")
    assert desk.store.permits("production").holds == ()  # the old version was never stopped
    desk.store.begin(row.operation, "apply")
    desk.at["restore-data:begun"] = lambda: desk.control.say(stopping=True)
    desk.ledger.mood("restore", "data", "hang")
    with pytest.raises(StillRunning):
        await steward.take_back()
    abandon(desk.core, row, "the daemon died 10 times")
    [hold] = desk.store.permits("production").holds
    assert (hold.service, hold.reason) == ("api", "the daemon died 10 times")
    assert desk.states() == {"early": "unknown"}


@pytest.mark.parametrize(
    ("verb", "says"),
    [
        ("save", "its backup could not be brought back: the data could not be saved: exit code 1"),
        ("restore", "could not be brought back: exit code 1: it does not want to"),
        ("", "is no longer what was verified"),
    ],
)
async def test_a_backup_that_cannot_be_brought_back_leaves_the_data_as_it_is(
    desk: Desk, verb: str, says: str
) -> None:
    desk.policy(restore_data=RestoreData(600.0))
    steward = desk.steward(desk.ledger.migration("early", without="down"))
    await steward.prepare()
    await steward.migrate("before")
    if verb:
        desk.ledger.mood(verb, "data", "fail")
    else:
        desk.kept()[0].write_bytes(b"somebody was here")
    assert says in await steward.take_back()
    assert steward.owes
    assert desk.ledger.tables() == ["orders", "early"]


async def test_where_a_down_fails_the_backup_comes_back_if_it_may(desk: Desk) -> None:
    desk.ledger.mood("down", "early", "fail")
    steward = desk.steward(desk.ledger.migration("early"))
    await steward.prepare()
    await steward.migrate("before")
    assert "migration early could not be undone: exit code 1" in await steward.take_back()
    desk.policy(restore_data=RestoreData(600.0))
    assert await steward.take_back() == ""
    assert desk.ledger.tables() == ["orders"]


async def test_a_first_version_that_fails_is_stopped_before_its_migrations_are_undone(desk: Desk) -> None:
    steward = desk.steward(desk.ledger.migration("early"), first=True)
    await steward.migrate("before")
    assert await steward.take_back() == ""
    assert (desk.stopped, desk.ledger.tables()) == (["all"], ["orders"])


async def test_what_the_old_version_bears_is_left(desk: Desk) -> None:
    steward = desk.steward(desk.ledger.migration("early", without="down"), reversible=True)
    await steward.migrate("before")
    assert (await steward.take_back(), desk.stopped, steward.owes) == ("", [], False)


async def test_a_service_is_held_once_for_its_data(desk: Desk) -> None:
    for _ in range(2):
        desk.steward().hold("look at it")
    [hold] = desk.store.permits("production").holds
    assert (hold.service, hold.reason) == ("api", "look at it")


async def test_a_command_that_the_archive_lacks_is_the_releases_own_failure(desk: Desk) -> None:
    early = {"id": "early", "phase": "before", "up": ["bin/migrate"]}
    with pytest.raises(
        ArtifactError, match=r"releases/api/1.1.0.yaml.*the archive has no executable 'bin/migrate'"
    ):
        await desk.steward(early).prepare()
    assert desk.ledger.calls() == []


async def test_a_command_that_this_machine_lacks_is_its_own_trouble(desk: Desk) -> None:
    early = {"id": "early", "phase": "before", "up": ["no-such-program"]}
    with pytest.raises(HostError, match="migration early: no-such-program: command not found; install it"):
        await desk.steward(early).migrate("before")
    assert desk.states() == {"early": "failed"}
    with pytest.raises(HostError, match="there is no user nobody-here"):
        await desk.steward(backup={"user": "nobody-here"}).prepare()
    assert desk.store.backups() == []


async def test_a_command_of_another_user_gets_that_users_home_and_a_folder_that_is_theirs(desk: Desk) -> None:
    me = pwd.getpwuid(os.getuid())
    save = ["sh", "-c", 'echo "$LOGNAME $HOME {version}" > {backup}']
    await desk.steward(
        backup={"user": me.pw_name, "save": save, "verify": ["test", "-O", "{backup}"]}
    ).prepare()
    assert desk.kept()[0].read_text() == f"{me.pw_name} {me.pw_dir} 1.1.0\n"


async def test_a_backup_may_be_a_folder(desk: Desk) -> None:
    save = ["sh", "-c", "mkdir {backup} && echo one > {backup}/b && echo three > {backup}/a"]
    await desk.steward(backup={"save": save, "verify": ["test", "-d", "{backup}"]}).prepare()
    [saved] = desk.store.backups()
    assert (saved.size_bytes, saved.state) == (10, "verified")


async def test_an_upgrade_goes_on_as_the_newest_commit_says(desk: Desk) -> None:
    steward = desk.steward(desk.ledger.migration("early", without="down"))
    await steward.prepare()
    await steward.migrate("before")
    assert "no backup is brought back by itself" in steward.hopeless()
    desk.policy(restore_data=RestoreData(600.0))
    assert steward.hopeless() == ""
    desk.clock.move(timedelta(minutes=11))
    assert "its backup is 11m" in steward.hopeless()


@pytest.mark.fault("RT-11")
async def test_what_a_command_prints_is_bounded_and_holds_no_secret(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    desk.ledger.mood("up", "early", "loud")
    migration = desk.ledger.migration(
        "early", environment={"TOKEN": {"secret": "token"}, "NOTE": "{version}"}
    )
    failing = desk.ledger.migration("other", without="check", environment={"TOKEN": {"secret": "token"}})
    failing["up"] = ["sh", "-c", "echo $TOKEN and $PASSWORD >&2; exit 1"]
    steward = desk.steward(migration, failing)
    with pytest.raises(ArtifactError) as caught:
        await steward.migrate("before")
    assert "exit code 1: [secret] and [secret]" in str(caught.value)
    details = [step.detail for step in desk.store.steps(steward._upgrade.operation)]
    assert details[0].endswith("secret [secret]\nup early done")
    assert max(map(len, details)) <= 4_000
    desk.store._run("PRAGMA wal_checkpoint(TRUNCATE)")
    written = [file.read_bytes() for file in desk.folder.rglob("*") if file.is_file()]
    for secret in (CANARY, SECOND):
        assert not any(secret.encode() in text for text in written)
        assert secret not in caplog.text
