"""A train of three environments, each of which takes what soaked in the one before: by commits, or pull requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from reconciler.engine import permits
from reconciler.engine.aftermath import Aftermath
from reconciler.engine.core import Core
from reconciler.engine.daemon import Daemon
from reconciler.engine.promotion_commits import commit_of
from reconciler.engine.pull_requests.keeper import Keeper
from reconciler.engine.pull_requests.moves import View
from reconciler.engine.pull_requests.promotion_pulls import Due, PromotionPulls
from reconciler.engine.pull_requests.promotions import Promoter, promotion_of
from reconciler.engine.soak import learn
from reconciler.engine.trains import train_of
from reconciler.model.errors import TransientError
from reconciler.model.observation import HealthState
from reconciler.model.promotion import Train as Looked
from reconciler.model.promotion import Verdict
from reconciler.model.pulls import Kept
from reconciler.model.upgrade import Phase
from reconciler.model.version import Version
from tests.drivers.services import Mode, kill_all
from tests.forge.dialects import Answer
from tests.forge.server import ForgeServer
from tests.git.colleague import git
from tests.train import FILE, PLACE
from tests.world import World

pytestmark = pytest.mark.slow

HOUR = timedelta(hours=1)


def away() -> None:
    raise TransientError("the network is away")


class Train:
    """dev, staging and production: what Ada pins is pinned in dev, and the rest comes by itself."""

    def __init__(self, world: World, more: str = "", *, by: str = "commit") -> None:
        self.world = world
        self.production = f"policy: {{promote: {{from: staging, soak: 24h, by: {by}{more}}}}}\n"
        self.staging = "policy: {promote: {from: dev, soak: 1h, by: commit}}\n"

    async def due_in_production(self) -> None:
        """1.1.0 has come to staging, and has been there for longer than it has to."""
        await self.start()
        self.bump("1.1.0")
        for _ in range(2):
            await self.settle()
            self.world.clock.move(25 * HOUR)

    async def start(self) -> None:
        world = self.world
        world.release("1.0.0", deadline="60s")
        world.pin("1.0.0")
        for more in (("", "", ""), ("", self.staging, self.production)):
            for name, line in zip(("dev", "staging"), more, strict=False):
                world.files[FILE.format(name=name)] = PLACE.format(
                    name=name, more=line, version="1.0.0", port=world.port(name)
                )
            world.more = more[2]
            world.merge("Start")
            await self.settle()
        ran = [self.runs(name) for name in ("dev", "staging", "production")]
        assert ran == ["1.0.0"] * 3, world.told()

    def bump(self, version: str, mode: Mode = "ok", probe: str = "") -> str:
        """Ada pins a version in dev; the commit."""
        world = self.world
        world.ada.pull_if_any()
        world.release(version, mode, deadline="60s" if mode == "ok" else "3s", probe=probe)
        old = world.text(FILE.format(name="dev"))
        world.files[FILE.format(name="dev")] = old.replace(f'"{self.pinned("dev")}"', f'"{version}"')
        world.pin(self.pinned("production"))
        return world.merge(f"Bump api to {version} in dev")

    def pinned(self, name: str) -> str:
        return self.world.text(FILE.format(name=name)).partition("  api: ")[2].split('"')[1]

    def runs(self, name: str) -> str:
        running = self.world.fleet.passes[name].observed_target("api")
        return str(running.version) if running else ""

    def promoted(self) -> list[str]:
        """The subjects of the commits that promoted something, the oldest first."""
        found = git(self.world.remote, "log", "--reverse", "--format=%s", "--grep=^Ugs-Promotion: ", "main")
        return found.splitlines()

    async def settle(self) -> None:
        """Fetch, pass, look what is due, and that again until nothing moves."""
        for _ in range(10):
            await self.world.settle()
            if not await Promoter(self.world.fleet).round():
                return
        raise AssertionError("promotions do not come to rest")

    async def settle_unanswered(self) -> None:
        """The same, with a push that arrives and whose answer is lost: nothing is looked at after that."""

        self.world.at["promote:done"] = away
        await self.settle()
        del self.world.at["promote:done"]

    def why(self, name: str) -> str:
        told = promotion_of(self.world.fleet, name, "api")
        assert told
        return str(told["why"])


@pytest.fixture
async def train(world: World) -> Train:
    made = Train(world)
    await made.start()
    return made


async def test_what_soaks_comes_from_dev_by_staging_to_production(train: Train, world: World) -> None:
    train.bump("1.1.0")
    await train.settle()
    assert [train.runs(name) for name in ("dev", "staging", "production")] == ["1.1.0", "1.0.0", "1.0.0"]
    assert "1.1.0 has to run healthily in dev until" in train.why("staging")
    assert train.why("production") == "1.0.0 runs there too"

    world.clock.move(HOUR)
    await train.settle()
    assert [train.runs(name) for name in ("dev", "staging", "production")] == ["1.1.0", "1.1.0", "1.0.0"]
    assert "1.1.0 has to run healthily in staging until" in train.why("production")

    world.clock.move(23 * HOUR)
    await train.settle()
    assert train.runs("production") == "1.0.0"
    world.clock.move(HOUR)
    await train.settle()
    assert train.runs("production") == "1.1.0"
    assert train.promoted() == ["Promote api 1.1.0 to staging", "Promote api 1.1.0 to production"]
    assert "# production's own" not in world.pinned()
    assert 'api: "1.1.0"   # api here' in world.pinned()
    said = world.text_of("main")
    assert "- api 1.0.0 to 1.1.0: healthy in staging since " in said
    assert "Ugs-Environment: production\nUgs-Promotion: " in said
    assert "Ugs-Service: api\nUgs-From: 1.0.0\nUgs-To: 1.1.0\nUgs-Reason: healthy in staging" in said
    [told] = [text for text in world.told() if "promoted by" in text and text.startswith("production")]
    assert "api 1.0.0 → 1.1.0 promoted by" in told
    assert world.events().count("promoted api") == 2
    counts = {one.environment: one.count for one in world.core.store.tallies() if one.event == "promoted"}
    assert counts == {"staging": 1, "production": 1}
    await world.restart()
    await train.settle()
    assert len(train.promoted()) == 2


async def test_a_restart_does_not_begin_the_soak_anew_and_a_degradation_does(
    train: Train, world: World
) -> None:
    train.bump("1.1.0")
    await train.settle()
    world.clock.move(HOUR / 2)
    await world.restart()
    world.clock.move(HOUR / 2)
    await train.settle()
    assert train.runs("staging") == "1.1.0"

    world.core.store.health("staging", "api", "degraded", "HTTP 500")
    world.clock.move(24 * HOUR)
    await train.settle()
    assert train.why("production") == "1.1.0 is degraded in staging"
    world.core.store.health("staging", "api", "healthy", "")
    await train.settle()
    assert "1.1.0 has to run healthily in staging until" in train.why("production")
    world.clock.move(24 * HOUR)
    await train.settle()
    assert train.runs("production") == "1.1.0"


async def test_what_fails_in_dev_or_is_shut_out_there_later_comes_no_further(
    train: Train, world: World
) -> None:
    train.bump("1.1.0", "unhealthy")
    await train.settle()
    world.clock.move(48 * HOUR)
    await train.settle()
    assert [train.pinned(name) for name in ("dev", "staging", "production")] == ["1.0.0"] * 3
    assert train.promoted() == []

    train.bump("1.2.0")
    await train.settle()
    world.clock.move(HOUR)
    await train.settle()
    assert train.runs("staging") == "1.2.0"
    [upgrade] = [
        one for one in world.core.store.upgrades(environment="dev") if str(one.to).startswith("1.2.0")
    ]
    world.core.store.quarantine(upgrade, reason="loses orders")
    world.clock.move(25 * HOUR)
    await train.settle()
    assert train.pinned("production") == "1.0.0"
    assert "1.2.0 is in quarantine in dev (loses orders)" in train.why("production")
    world.core.store.release_quarantine("dev", "api", operation=None, by="ada", why="it was the network")
    await train.settle()
    assert train.runs("production") == "1.2.0"


async def test_what_fails_where_it_was_promoted_to_is_reverted_and_not_promoted_again(
    train: Train, world: World
) -> None:
    train.bump("1.1.0", probe='{command: ["test", "{environment}", "!=", "staging"], failures: 2}')
    await train.settle()
    world.clock.move(HOUR)
    await train.settle()
    assert train.promoted() == ["Promote api 1.1.0 to staging"]
    assert train.pinned("staging") == "1.0.0"
    assert "1.1.0 is in quarantine in staging" in train.why("staging")
    world.clock.move(48 * HOUR)
    await train.settle()
    assert len(train.promoted()) == 1

    world.core.store.release_quarantine("staging", "api", operation=None, by="ada", why="it was the network")
    await train.settle()
    await world.restart()
    await train.settle()
    assert len(train.promoted()) == 1
    assert "moved away: to pin it again is left to people" in train.why("staging")


async def test_a_pin_that_a_person_moved_back_stays_back(train: Train, world: World) -> None:
    train.bump("1.1.0")
    await train.settle()
    staging = FILE.format(name="staging")
    for version in ("1.1.0", "1.0.0"):
        world.ada.pull_if_any()
        world.files[staging] = world.text(staging).replace(f'"{train.pinned("staging")}"', f'"{version}"')
        world.merge(f"Try {version} in staging")
    world.clock.move(2 * HOUR)
    await train.settle()
    assert train.pinned("staging") == "1.0.0"
    assert "1.1.0 was pinned here before and moved away" in train.why("staging")
    train.bump("1.2.0")
    await train.settle()
    world.clock.move(2 * HOUR)
    await train.settle()
    assert train.runs("staging") == "1.2.0"


async def test_holds_are_waited_out(train: Train, world: World) -> None:
    permits.hold(world.fleet, "staging", None, actor="ada", reason="audit", lasting="5h")
    train.bump("1.1.0")
    await train.settle()
    world.clock.move(2 * HOUR)
    await train.settle()
    assert "audit" in train.why("staging")
    world.clock.move(4 * HOUR)
    await train.settle()
    assert train.runs("staging") == "1.1.0"


async def test_a_hold_that_is_said_while_git_is_looked_into_is_heeded(
    train: Train, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.bump("1.1.0")
    await train.settle()
    world.clock.move(HOUR)
    whole = Core.git

    async def slow(core: Core, call: Callable[..., object], *args: object, **kwargs: object) -> object:
        answer = await whole(core, call, *args, **kwargs)
        if call is commit_of and not world.core.store.permits("staging").holds:
            permits.hold(world.fleet, "staging", "api", actor="ada", reason="audit", lasting="5h")
        return answer

    monkeypatch.setattr(Core, "git", slow)
    await train.settle()
    assert train.promoted() == []
    assert "audit" in train.why("staging")


async def test_what_is_read_of_another_daemon_while_git_is_looked_into_is_heeded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, whole, told = Train(world), Core.git, list[str]()
    world.more = train.production
    for version in ("1.0.0", "1.1.0"):
        world.release(version, deadline="60s")
    world.pin("1.0.0")
    world.files[FILE.format(name="staging")] = PLACE.format(
        name="staging", more="", version="1.1.0", port=world.port("staging")
    )
    world.merge("Start")
    await world.settle()
    await world.deliver()
    world.settings_more = "environments: [production]\n"  # staging is another's from now on
    await world.restart()
    world.clock.move(25 * HOUR)

    async def slow(core: Core, call: Callable[..., object], *args: object, **kwargs: object) -> object:
        answer = await whole(core, call, *args, **kwargs)
        if call is commit_of and not told:
            mirror = core.repository.mirror
            notes = [(sha, text) for sha, texts in mirror.all_notes().items() for text in texts]
            [(revision, text)] = [one for one in notes if '"environment": "staging"' in one[1]]
            line = json.loads(text) | {"health": "degraded", "health_since": core.clock.now().isoformat()}
            told.append(line["operation"])
            mirror.add_notes({revision: {told[0]: json.dumps(line)}}, at=core.clock.now())
            await learn(core)
        return answer

    monkeypatch.setattr(Core, "git", slow)
    await train.settle()
    assert told
    assert train.promoted() == []
    assert train.why("production") == "1.1.0 is degraded in staging"


async def test_a_policy_that_is_taken_away_meanwhile_moves_nothing(train: Train, world: World) -> None:
    before = world.core.desired["staging"]
    world.files[FILE.format(name="staging")] = world.text(FILE.format(name="staging")).replace(
        train.staging, ""
    )
    world.merge("Leave staging to people")
    await train.settle()
    found = await train_of(world.fleet, before, {})
    assert isinstance(found, Looked)
    assert [one.name for one in found.stages] == ["dev"]


async def test_what_was_left_under_way_is_not_overtaken(train: Train, world: World) -> None:
    """A daemon that has just started has not taken it up again yet."""
    train.bump("1.1.0")
    await train.settle()
    world.clock.move(HOUR)
    left = msgspec.structs.replace(
        world.core.store.upgrades(environment="staging")[0], operation="left", phase=Phase.REVERTING
    )
    world.core.store.record(left, event="reverting", actor="ugs", detail="", notices=[], note=None)
    await Promoter(world.fleet).round()
    assert train.why("staging") == "its upgrade is under way"
    assert train.promoted() == []


async def test_who_is_faster_is_heeded(train: Train, world: World) -> None:
    train.bump("1.1.0")
    await train.settle()
    world.clock.move(HOUR)
    staging, before = FILE.format(name="staging"), list[str]()

    def person() -> None:
        if not before:
            world.release("1.2.0", deadline="60s")
            world.files[staging] = world.text(staging).replace('"1.0.0"', '"1.2.0"')
            before.append(world.merge("Bump staging by hand"))

    world.at["promote:begun"] = person
    await train.settle()
    assert train.pinned("staging") == "1.2.0"
    assert train.promoted() == []


@pytest.mark.parametrize("at", ["promote:begun", "promote:done"])
async def test_killed_at_any_point_it_is_made_once_and_told_once(train: Train, world: World, at: str) -> None:
    train.bump("1.1.0")
    await train.settle()
    world.clock.move(HOUR)

    def killed() -> None:
        raise RuntimeError("killed")

    world.at[at] = killed
    with pytest.raises(RuntimeError):
        await train.settle()
    del world.at[at]
    await world.restart()
    await train.settle()
    assert train.promoted() == ["Promote api 1.1.0 to staging"]
    assert train.runs("staging") == "1.1.0"
    assert len([text for text in world.told() if "promoted by" in text]) == 1
    assert world.core.store.marks("promotion") == {}


@pytest.mark.parametrize("now", ["", "policy: {promote: {from: dev, soak: 1h, by: nobody}}\n"])
async def test_what_arrived_is_told_though_nobody_is_to_promote_by_the_time_that_is_known(
    train: Train, world: World, now: str
) -> None:
    train.bump("1.1.0")
    await train.settle()
    world.clock.move(HOUR)

    await train.settle_unanswered()
    world.ada.pull_if_any()
    staging = FILE.format(name="staging")
    world.files[staging] = world.text(staging).replace(train.staging, now)
    world.merge("Leave staging to people")
    for _ in range(2):
        await train.settle()
    assert train.runs("staging") == "1.1.0"
    [told] = [text for text in world.told() if "promoted by" in text]
    assert "staging: api 1.0.0 → 1.1.0 promoted by" in told
    assert "healthy in dev since" in told
    [row] = [one for one in world.core.store.audit_rows(limit=100) if one.event == "promoted"]
    assert (row.environment, row.service) == ("staging", "api")
    assert world.core.store.marks("promotion") == {}


async def test_what_arrived_is_told_though_the_environment_is_another_daemons_by_then(
    train: Train, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.bump("1.1.0")
    await train.settle()
    world.clock.move(HOUR)
    await train.settle_unanswered()
    assert [text for text in world.told() if "promoted by" in text] == []
    monkeypatch.setattr(world.core.leases, "standing", lambda _name: "elsewhere")
    for _ in range(2):
        await Promoter(world.fleet).round()
    assert len([text for text in world.told() if "promoted by" in text]) == 1
    assert world.core.store.marks("promotion") == {}


async def test_what_arrives_after_it_was_asked_for_is_told_once(train: Train, world: World) -> None:
    """The push of a daemon that was killed over it is slow: it comes before the next one's own."""
    train.bump("1.1.0")
    await train.settle()
    world.clock.move(HOUR)
    mirror = world.core.repository.mirror

    def late() -> None:
        del world.at["promote:begun"]
        git(mirror._git.path, "push", "--quiet", str(world.remote), f"{first}:refs/heads/main")

    world.at["promote:begun"] = away
    await train.settle()
    [first] = (mark.split()[-1] for mark in world.core.store.marks("promotion: "))
    world.at["promote:begun"] = late
    for _ in range(2):
        await train.settle()
    assert train.runs("staging") == "1.1.0"
    assert train.promoted() == ["Promote api 1.1.0 to staging"]
    [told] = [text for text in world.told() if "promoted by" in text]
    assert first[:12] in told
    assert world.core.store.marks("promotion") == {}


async def test_what_never_arrived_is_forgotten_once_the_branch_has_moved_on(
    train: Train, world: World
) -> None:
    train.bump("1.1.0")
    await train.settle()
    world.clock.move(HOUR)

    world.at["promote:begun"] = away
    await train.settle()
    permits.hold(world.fleet, "staging", None, actor="ada", reason="audit", lasting="5h")
    await train.settle()
    assert len(world.core.store.marks("promotion: ")) == 1
    world.ada.pull_if_any()
    world.files["README.md"] = "Hello\n"
    world.merge("Say hello")
    await train.settle()
    assert world.core.store.marks("promotion: ") == {}
    assert [text for text in world.told() if "promoted by" in text] == []


async def test_what_arrived_is_told_though_the_environment_has_another_name_by_then(
    train: Train, world: World
) -> None:
    train.bump("1.1.0")
    await train.settle()
    world.clock.move(HOUR)
    await train.settle_unanswered()
    world.ada.pull_if_any()
    staging, trial = FILE.format(name="staging"), FILE.format(name="trial")
    was = "environment: trial\nrenamed_from: staging\n"
    world.files[trial] = world.text(staging).replace("environment: staging\n", was)
    world.files[staging] = None
    world.more = train.production.replace("staging", "trial")
    world.pin(train.pinned("production"))
    world.merge("Name it trial")
    for _ in range(2):
        await train.settle()
    [told] = [text for text in world.told() if "promoted by" in text]
    assert "trial: api 1.0.0 → 1.1.0 promoted by" in told
    assert world.core.store.marks("promotion") == {}


async def test_the_remote_down_is_no_end_of_it(train: Train, world: World) -> None:
    train.bump("1.1.0")
    await train.settle()
    world.clock.move(HOUR)

    world.at["promote:begun"] = away
    await train.settle()
    assert train.promoted() == []
    del world.at["promote:begun"]
    await train.settle()
    assert train.promoted() == ["Promote api 1.1.0 to staging"]


async def test_what_could_not_be_pinned_there_is_not(train: Train, world: World) -> None:
    staging = FILE.format(name="staging")
    world.release(
        "1.0.1",
        deadline="60s",
        more="config: [{path: a.toml, values: {workers: 4}}]\n",
        files={"a.toml": "{workers}"},
    )
    world.ada.pull_if_any()
    world.files[staging] = world.text(staging).replace('"1.0.0", ', '"1.0.1", config: {workers: 8}, ')
    world.merge("More workers in staging")
    await world.settle()
    train.bump("1.1.0")
    await train.settle()
    world.clock.move(HOUR)
    await train.settle()
    assert train.promoted() == []
    assert "pins.api" in train.why("staging")
    assert "workers" in train.why("staging")


@pytest.fixture
async def asking(forge: ForgeServer, world: World) -> Train:
    """Production takes by pull requests; 1.1.0 has soaked in staging."""
    made = Train(world, by="pull-request")
    await made.start()
    await soaked(made, "1.1.0")
    return made


async def soaked(train: Train, version: str) -> None:
    """It comes to staging, and stays there for a day."""
    train.bump(version)
    await train.settle()
    for _ in range(2):
        train.world.clock.move(25 * HOUR)
        await train.settle()


async def test_a_pull_request_is_opened_merged_and_deployed(
    asking: Train, world: World, forge: ForgeServer
) -> None:
    [pull] = forge.pulls.values()
    assert (pull.branch, pull.base) == ("ugs-promote-production.api", "main")
    assert pull.title == "Promote api 1.1.0 to production"
    assert sorted(pull.labels) == ["ugs", "ugs: promotion"]
    assert asking.pinned("production") == "1.0.0"
    assert asking.why("production") == f"pull request #1 waits to be merged: {_url(world)}"
    assert any("api 1.1.0 has soaked and is proposed: http" in text for text in world.told())
    await world.restart()
    await asking.settle()
    assert len(forge.pulls) == 1

    forge.merge(1)
    await asking.settle()
    assert asking.runs("production") == "1.1.0"
    world.clock.move(HOUR)
    await asking.settle()
    assert [one.state for one in world.core.store.pulls("promote")] == ["merged"]
    assert len(forge.pulls) == 1


def _url(world: World) -> str:
    [row] = world.core.store.pulls("promote")
    return row.url


async def test_what_soaks_next_supersedes_in_place(asking: Train, world: World, forge: ForgeServer) -> None:
    asking.bump("1.2.0")
    await asking.settle()
    world.clock.move(2 * HOUR)
    await asking.settle()
    assert asking.runs("staging") == "1.2.0"
    assert (forge.pulls[1].state, forge.pulls[1].title) == ("open", "Promote api 1.1.0 to production")
    world.clock.move(24 * HOUR)
    await asking.settle()
    assert list(forge.pulls) == [1]
    assert forge.pulls[1].title == "Promote api 1.2.0 to production"


async def test_closed_by_a_person_it_is_not_opened_again_for_that_version(
    asking: Train, world: World, forge: ForgeServer
) -> None:
    forge.pulls[1].state = "closed"
    for _ in range(2):
        world.clock.move(HOUR)
        await asking.settle()
    await world.restart()
    await asking.settle()
    assert len(forge.pulls) == 1
    assert asking.why("production") == "a person has closed the pull request that asked for 1.1.0"
    await soaked(asking, "1.2.0")
    assert [pull.title for pull in forge.pulls.values() if pull.state == "open"] == [
        "Promote api 1.2.0 to production"
    ]


async def test_closed_by_a_person_is_heard_of_by_webhook(
    asking: Train, world: World, forge: ForgeServer
) -> None:
    promoter = Promoter(world.fleet)
    await promoter.round()
    forge.pulls[1].state = "closed"
    await promoter.round()
    assert [one.state for one in world.core.store.pulls("promote")] == ["open"]
    world.core.wake.promotions.clear()
    world.core.look_at_pulls()
    assert world.core.wake.promotions.is_set()
    await promoter.round()
    assert [one.state for one in world.core.store.pulls("promote")] == ["refused"]
    assert asking.why("production") == "a person has closed the pull request that asked for 1.1.0"
    calls = len(forge.calls)
    await promoter.round()
    assert len(forge.calls) == calls  # once is enough


async def test_what_fails_upstream_meanwhile_closes_it(
    asking: Train, world: World, forge: ForgeServer
) -> None:
    permits.hold(world.fleet, "production", None, actor="ada", reason="audit", lasting="5h")
    world.clock.move(HOUR)
    await asking.settle()
    assert forge.pulls[1].state == "open"
    [upgrade] = [
        one for one in world.core.store.upgrades(environment="dev") if str(one.to).startswith("1.1.0")
    ]
    world.core.store.quarantine(upgrade, reason="loses orders")
    await asking.settle()
    assert forge.pulls[1].state == "closed"
    assert [one.state for one in world.core.store.pulls("promote")] == ["moot"]


async def test_a_protected_branch_is_asked_for_by_a_pull_request_and_says_so(
    forge: ForgeServer, world: World
) -> None:
    train = Train(world)
    await train.start()
    train.bump("1.1.0")
    await train.settle()
    attempts = world.protect()
    world.clock.move(HOUR)
    await train.settle()
    await train.settle()
    assert [pull.title for pull in forge.pulls.values()] == ["Promote api 1.1.0 to staging"]
    assert any(
        "main is protected" in text and "pull request is opened instead" in text for text in world.told()
    )
    assert world.calls() == []
    assert attempts() == 2  # each look here is by a promoter that was just begun


async def test_a_protected_branch_without_a_forge_calls_a_person_once(train: Train, world: World) -> None:
    train.bump("1.1.0")
    await train.settle()
    world.protect()
    world.clock.move(HOUR)
    for _ in range(3):
        await train.settle()
    [call] = world.calls()
    [count] = [one for one in world.core.store.tallies() if one.event == "promotion-refused"]
    assert (count.environment, count.count) == ("staging", 1)
    assert "staging: api 1.1.0 could not be promoted by a commit" in call
    assert "main is protected" in call


async def test_without_a_forge_a_pull_request_needs_a_person(world: World) -> None:
    train = Train(world, by="pull-request")
    await train.start()
    await soaked(train, "1.1.0")
    assert "names no forge" in world.core.troubles["promotions"]
    assert train.pinned("production") == "1.0.0"


async def test_one_run_to_rest_takes_what_is_due_all_the_way(train: Train, world: World) -> None:
    train.bump("1.1.0")
    await train.settle()
    world.clock.move(HOUR)
    world.forget()
    assert await Daemon(world.core).run_once()
    assert [train.pinned(name) for name in ("staging", "production")] == ["1.1.0", "1.0.0"]
    assert any("staging: api 1.0.0 → 1.1.0 succeeded" in text for text in world.told())


async def test_what_another_daemon_did_is_read_from_its_notes(world: World) -> None:
    staging = FILE.format(name="staging")

    def act_for(name: str) -> None:
        """From now on we are the daemon that has to do with this environment alone."""
        world.forget()
        world.state = world.folder / name
        world.settings_more = f"environments: [{name}]\n"

    train = Train(world)
    world.more = train.production
    world.release("1.0.0", deadline="60s")
    world.pin("1.0.0")
    world.files[staging] = PLACE.format(name="staging", more="", version="1.0.0", port=world.port("staging"))
    try:
        act_for("staging")
        world.merge("Start")
        await world.settle()
        await world.deliver()
        world.clock.move(25 * HOUR)
        act_for("production")
        await train.settle()
        assert world.phases() == ["succeeded"]  # by the gate, which reads them too

        for version, mode in (("1.1.0", "ok"), ("1.2.0", "unhealthy")):
            act_for("staging")
            world.ada.pull_if_any()
            world.release(version, mode, deadline="60s" if mode == "ok" else "3s")  # type: ignore[arg-type]
            world.files[staging] = world.text(staging).replace(f'"{train.pinned("staging")}"', f'"{version}"')
            world.pin(train.pinned("production"))
            world.merge(f"Bump staging to {version}")
            await world.settle()
            await world.deliver()
            act_for("production")
            await train.settle()
            if mode == "ok":
                assert "1.1.0 has to run healthily in staging until" in train.why("production")
            world.clock.move(25 * HOUR)
            await train.settle()
            assert train.runs("production") == "1.1.0"
        assert train.promoted() == ["Promote api 1.1.0 to production"]
        assert train.why("production") == "1.1.0 runs there too"
    finally:
        kill_all(world.folder / "staging", "staging")


async def test_what_failed_in_our_own_hands_is_not_taken_from_another_daemon(world: World) -> None:
    """It had succeeded, as the notes say, and Git was not told yet what came after."""
    staging, train = FILE.format(name="staging"), Train(world)
    world.more = train.production
    for version in ("1.0.0", "1.1.0"):
        world.release(version, deadline="60s")
    world.pin("1.0.0")
    world.files[staging] = PLACE.format(name="staging", more="", version="1.0.0", port=world.port("staging"))
    world.merge("Start")
    await world.settle()
    world.clock.move(25 * HOUR)
    await train.settle()
    world.ada.pull_if_any()
    world.files[staging] = world.text(staging).replace('"1.0.0"', '"1.1.0"')
    world.pin(train.pinned("production"))
    world.merge("Bump staging")
    await train.settle()
    await world.deliver()
    [done] = [
        one
        for one in world.core.store.upgrades(environment="staging")
        if one.to and one.to.version == Version("1.1.0")
    ]
    assert done.to
    condemned = msgspec.structs.replace(
        done,
        operation="condemned",
        phase=Phase.RESTORED,
        failed=True,
        row=done.row + 100,
        changed_at=world.clock.now(),
    )
    world.core.store.record(condemned, event="restored", actor="ugs", detail="", notices=[], note=None)
    world.core.store.forget_good("staging", "api", done.to)

    world.settings_more = "environments: [production]\n"
    await world.restart()
    await train.settle()
    world.clock.move(25 * HOUR)
    await train.settle()
    assert train.why("production") == "1.1.0 failed in staging"
    assert train.promoted() == []


async def test_what_degrades_elsewhere_after_it_succeeded_waits_until_it_has_soaked_anew(
    world: World,
) -> None:
    staging = FILE.format(name="staging")

    async def act_for(name: str, state: str = "") -> None:
        """From now on we are this daemon, of this environment alone, and have looked around."""
        world.forget()
        world.state = world.folder / (state or name)
        world.settings_more = f"environments: [{name}]\n"
        await train.settle()

    async def becomes(state: HealthState) -> None:
        world.core.store.health("staging", "api", state, "as its probes say")
        world.core.stirred.add("staging")
        assert len(await told()) == 1
        assert await told() == []

    async def told() -> list[str]:
        before = git(world.remote, "rev-parse", "refs/notes/ugs")
        await aftermath.round()
        return git(world.remote, "log", "--format=%s", f"{before}..refs/notes/ugs").splitlines()

    train = Train(world)
    world.more = train.production
    for version in ("1.0.0", "1.1.0"):
        world.release(version, deadline="60s")
    world.pin("1.0.0")
    world.files[staging] = PLACE.format(name="staging", more="", version="1.1.0", port=world.port("staging"))
    world.merge("Start")
    try:
        await act_for("staging")
        aftermath = Aftermath(world.core)
        await world.deliver()
        assert await told() == []  # it is as its note says
        world.clock.move(25 * HOUR)
        world.core.store.health("staging", "api", "degraded", "HTTP 500")
        world.core.stirred.add("staging")
        away = world.remote.rename(world.folder / "away")
        await aftermath.round()
        away.rename(world.remote)
        assert len(await told()) == 1  # it was kept here meanwhile
        assert await told() == []
        await act_for("production")
        assert train.why("production") == "1.1.0 is degraded in staging"

        await act_for("staging")
        aftermath = Aftermath(world.core)
        await becomes("healthy")
        await act_for("production")
        assert "1.1.0 has to run healthily in staging until" in train.why("production")

        await act_for("staging")
        aftermath = Aftermath(world.core)
        await becomes("degraded")
        await act_for("staging", "another")  # of which nothing is known but what Git tells
        aftermath = Aftermath(world.core)
        assert await told() == []  # how it does is not known yet
        world.core.store.health("staging", "api", "healthy", "")
        world.core.stirred.add("staging")
        assert len(await told()) == 1
        assert world.core.store.upgrades(environment="staging") == []
        world.clock.move(23 * HOUR)
        await act_for("production")
        assert "1.1.0 has to run healthily in staging until" in train.why("production")
        world.clock.move(HOUR)
        await train.settle()
        assert train.runs("production") == "1.1.0"
    finally:
        kill_all(world.folder / "staging", "staging")


async def test_a_train_in_a_circle_moves_nothing_and_says_so(world: World) -> None:
    train = Train(world)
    train.staging = "policy: {promote: {from: production, by: commit}}\n"
    await train.start()
    train.bump("1.1.0")
    await train.settle()
    assert "this goes on for ever: staging from production from staging" in train.why("staging")
    assert any("production from staging from production" in str(one) for one in world.fleet.problems)
    assert train.promoted() == []


async def test_what_cannot_be_observed_or_does_not_run_is_not_taken(train: Train, world: World) -> None:
    train.bump("1.1.0")
    await train.settle()
    world.clock.move(HOUR)
    dev = world.fleet.passes["dev"]
    dev.trouble = "the engine hangs"
    await Promoter(world.fleet).round()
    assert train.why("staging") == "what runs in dev could not be observed"
    dev.trouble, dev.observed = "", {}
    await Promoter(world.fleet).round()
    assert train.why("staging") == "1.1.0 does not run in dev"
    await train.settle()
    assert train.runs("staging") == "1.1.0"


async def test_the_loop_takes_what_is_due_when_its_time_has_come(train: Train, world: World) -> None:
    train.bump("1.1.0")
    await train.settle()
    promoter = Promoter(world.fleet)
    keeping = asyncio.create_task(promoter.keep())
    try:
        await world.eventually(lambda: world.clock.waiting)
        world.clock.move(HOUR)
        await world.eventually(train.promoted)
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
    assert train.promoted() == ["Promote api 1.1.0 to staging"]


@pytest.mark.parametrize("status", [403, 503])
async def test_a_forge_that_does_not_take_it_is_asked_later(
    forge: ForgeServer, world: World, status: int
) -> None:
    train = Train(world, by="pull-request")
    await train.due_in_production()
    await world.settle()
    forge.answer_next(Answer(status, {"message": "Resource not accessible"}))
    await Promoter(world.fleet).round()
    assert forge.pulls == {}
    assert train.why("production") == "its pull request is not open yet: the forge has not taken it"
    world.clock.move(HOUR)
    await train.settle()
    assert [pull.title for pull in forge.pulls.values()] == ["Promote api 1.1.0 to production"]


async def test_no_more_are_opened_in_an_hour_than_allowed_and_none_is_lost_while_the_forge_is_down(
    forge: ForgeServer, world: World
) -> None:
    train = Train(world, by="pull-request")
    await train.due_in_production()
    opened_in_this_hour(world, 10)
    await train.settle()
    assert forge.pulls == {}
    assert train.why("production").endswith("10 were opened within an hour, and forge.pulls.hour_max is 10")
    forge.go_down()
    world.clock.move(HOUR)
    await train.settle()
    assert train.why("production") == "its pull request is not open yet: the forge has not taken it"
    assert [train.runs(name) for name in ("dev", "staging", "production")] == ["1.1.0", "1.1.0", "1.0.0"]
    forge.come_up()
    world.clock.move(HOUR)
    for _ in range(2):
        await train.settle()
    assert [pull.title for pull in forge.pulls.values()] == ["Promote api 1.1.0 to production"]


def opened_in_this_hour(world: World, count: int) -> None:
    """So many promotions of others were opened now, and are merged already."""
    now = world.clock.now()
    for number in range(100, 100 + count):
        branch, ask = f"ugs-promote-production.s{number}", f"production/s{number} 1.0.0"
        world.core.store.keep_pull(
            Kept("promote", branch, "production", (ask,), now, "merged", number=number)
        )


async def test_who_asks_for_no_pull_requests_any_more_has_none(
    asking: Train, world: World, forge: ForgeServer
) -> None:
    world.more = ""
    world.pin("1.0.0")
    world.merge("Let people do it")
    await asking.settle()
    assert forge.pulls[1].state == "closed"
    assert promotion_of(world.fleet, "production", "api") is None


async def test_what_is_opened_is_told_though_the_next_one_cannot_be(
    asking: Train, world: World, forge: ForgeServer
) -> None:
    begun = list[str]()

    def second() -> None:
        begun.append("one more")
        if len(begun) == 2:
            raise TransientError("the forge is away", "")

    world.at["pull:begun"] = second
    found, due = both_due(world)
    await PromotionPulls(world.core).round([*due("app"), *due("web")], found, world.fleet.tip)
    del world.at["pull:begun"]
    world.core.look_at_pulls()
    await PromotionPulls(world.core).round([*due("app"), *due("web")], found, world.fleet.tip)
    told = [text for text in world.told() if "has soaked and is proposed" in text]
    assert [sum(f"{name} 1.1.0" in text for text in told) for name in ("app", "web")] == [1, 1]


async def test_one_whose_branch_takes_no_push_stays_open_over_a_restart_while_it_waits(
    forge: ForgeServer, world: World
) -> None:
    train = Train(world)
    await train.start()
    train.bump("1.1.0")
    await train.settle()
    world.protect()
    world.clock.move(HOUR)
    await train.settle()
    permits.hold(world.fleet, "staging", None, actor="ada", reason="audit", lasting="5h")
    await world.restart()
    await train.settle()
    assert "held by ada" in train.why("staging")
    [pull] = forge.pulls.values()
    assert (pull.state, forge.said(pull.number)) == ("open", [])


async def test_one_of_an_environment_that_could_not_be_looked_at_stays_open(
    asking: Train, world: World, forge: ForgeServer
) -> None:
    pulls = PromotionPulls(world.core)
    world.core.look_at_pulls()
    await pulls.round((), {"production": None}, world.fleet.tip)
    assert forge.pulls[1].state == "open"
    await pulls.round((), {}, world.fleet.tip)
    assert forge.pulls[1].state == "closed"


@pytest.mark.parametrize("how", ["closed", "deleted"])
async def test_what_people_end_while_it_waits_is_known_at_once(
    asking: Train, world: World, forge: ForgeServer, how: str
) -> None:
    permits.hold(world.fleet, "production", None, actor="ada", reason="audit", lasting="50h")
    if how == "closed":
        forge.pulls[1].state = "closed"
    else:
        git(world.remote, "branch", "-D", "ugs-promote-production.api")
    world.clock.move(HOUR)
    await asking.settle()
    assert asking.why("production") == "a person has closed the pull request that asked for 1.1.0"
    assert [one.state for one in world.core.store.pulls("promote")] == ["refused"]
    assert forge.pulls[1].state == "closed"


async def test_it_is_made_anew_where_a_person_moves_the_pin_below_it(
    asking: Train, world: World, forge: ForgeServer
) -> None:
    moved = pinned_by_hand(asking, "1.0.1")
    await asking.settle()
    branch = "ugs-promote-production.api"
    assert git(world.remote, "rev-parse", f"{branch}^").strip() == moved
    assert "Ugs-From: 1.0.1" in git(world.remote, "log", "-1", "--format=%b", branch)
    assert "1.0.1 → 1.1.0" in forge.pulls[1].body
    assert list(forge.pulls) == [1]


async def test_who_moves_the_branch_while_the_forge_is_asked_closes_nothing(
    asking: Train, world: World, forge: ForgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, moved = Keeper.look, list[str]()

    async def faster(keeper: Keeper) -> View:
        if not moved:
            moved.append(pinned_by_hand(asking, "1.0.1"))
        return await look(keeper)

    world.clock.move(HOUR)
    monkeypatch.setattr(Keeper, "look", faster)
    await Promoter(world.fleet).round()
    assert (forge.pulls[1].state, forge.said(1)) == ("open", [])
    await asking.settle()
    assert git(world.remote, "rev-parse", "ugs-promote-production.api^").strip() == moved[0]
    assert [one.state for one in world.core.store.pulls("promote")] == ["open"]


def pinned_by_hand(train: Train, version: str) -> str:
    """A person pins it in production; the commit."""
    world = train.world
    world.ada.pull_if_any()
    world.release(version, deadline="60s")
    world.pin(version)
    return world.merge(f"Pin api {version} by hand")


def both_due(world: World) -> tuple[dict[str, dict[str, Verdict]], Callable[..., list[Due]]]:
    """What is found of services that are due in production; and the pull request for some of them."""
    rule, services = world.core.desired["production"].environment.policy.promote, ("api", "app", "web")
    assert rule
    old, new, now = Version("1.0.0"), Version("1.1.0"), world.clock.now()
    found = {name: Verdict(name, old, new, since=now) for name in services}

    def due(*names: str) -> list[Due]:
        moves = tuple(found[name] for name in names)
        return [Due("production", rule, moves, lambda _tip: {f"{names[0]}.md": f"{names}\n".encode()})]

    return {"production": found}, due


async def test_two_that_need_one_another_by_now_are_asked_for_once(
    asking: Train, world: World, forge: ForgeServer
) -> None:
    pulls, (found, due) = PromotionPulls(world.core), both_due(world)
    await pulls.round(due("app"), found, world.fleet.tip)
    await pulls.round(due("api", "app"), found, world.fleet.tip)
    states = {pull.title: pull.state for pull in forge.pulls.values()}
    assert states == {
        "Promote app 1.1.0 to production": "closed",
        "Promote api 1.1.0 and app 1.1.0 to production": "open",
    }
    assert "app is asked for on ugs-promote-production.api by now" in forge.said(2)[0]


async def test_what_people_closed_with_something_else_is_not_asked_for_alone_in_the_same_look(
    asking: Train, world: World, forge: ForgeServer
) -> None:
    pulls, (found, due) = PromotionPulls(world.core), both_due(world)
    await pulls.round(due("app", "web"), found, world.fleet.tip)
    forge.pulls[2].state = "closed"
    await pulls.round(due("web"), found, world.fleet.tip)
    assert list(forge.pulls) == [1, 2]
    assert [one.state for one in world.core.store.pulls("promote")] == ["open", "refused"]


async def test_who_loses_the_environment_meanwhile_does_nothing_more(
    asking: Train, world: World, forge: ForgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, due = both_due(world)
    mirror, leases = world.core.repository.mirror, world.core.leases
    made, closed = mirror.commit, msgspec.structs.replace(leases.opening("production"), open=False)

    def losing(*arguments: Any, **more: Any) -> str:
        monkeypatch.setattr(leases, "opening", lambda _name: closed)
        return made(*arguments, **more)

    monkeypatch.setattr(mirror, "commit", losing)
    await PromotionPulls(world.core).round(due("app"), found, world.fleet.tip)
    assert leases.opening("production") is closed
    assert not forge.has_branch("ugs-promote-production.app")
    assert list(forge.pulls) == [1]
