"""The task that previews pull requests: whose it is, what it leaves alone, and what keeps it from nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast

import pytest
from msgspec.structs import replace

from reconciler.cli.graph import identity_of
from reconciler.engine.fleet import Fleet
from reconciler.engine.pull_requests import previews, prospect
from reconciler.engine.pull_requests.previews import LOOK_S, Previewer
from reconciler.forge import Check, Comment, Denied, Forge, Invalid, Pull, Unavailable
from reconciler.git import Aside
from reconciler.model import snapshot
from tests.git.keys import Keys
from tests.world import World


class Shown:
    """A forge that lists what it is given, keeps what it is told, and fails where it is made to."""

    name = "Forge"

    def __init__(self) -> None:
        self.pulls: list[Pull] = []
        self.checks: list[Check] = []
        self.kept: dict[int, list[str]] = {}
        self.fails: dict[str, Exception] = {}
        self.asked = 0
        self.keeps_heads = True

    def _may(self, what: str) -> None:
        if what in self.fails:
            raise self.fails[what]

    def open_pulls(self, _base: str) -> tuple[Pull, ...]:
        self.asked += 1
        self._may("list")
        return tuple(self.pulls)

    def head_ref(self, pull: Pull) -> str:
        return f"refs/pull/{pull.number}/head" if self.keeps_heads else ""

    def set_check(self, _commit: str, check: Check) -> None:
        self._may("check")
        self.checks.append(check)

    def comments(self, number: int) -> tuple[Comment, ...]:
        self._may(f"comments {number}")
        return tuple(Comment(at, text) for at, text in enumerate(self.kept.get(number, [])))

    def comment(self, number: int, body: str) -> None:
        self.kept.setdefault(number, []).append(body)

    def edit_comment(self, number: int, comment: int, body: str) -> None:
        self.kept[number][comment] = body


@pytest.fixture
def forge() -> Shown:
    return Shown()


@pytest.fixture
def previewer(world: World, forge: Shown) -> Iterator[Previewer]:
    """Over a repository that has 1.0.0 of api pinned, and whose services are not looked at."""
    world.deploy_first("1.0.0")
    with over(world, forge) as made:
        yield made


@contextlib.contextmanager
def over(world: World, forge: Shown, **settings: Any) -> Iterator[Previewer]:
    core, state = world.core, world.state
    mirror, remote = core.repository.mirror, core.repository.remote
    with contextlib.closing(
        Aside(
            state / "previews.git",
            state / "mirror.git",
            remote,
            identity_of(core.settings),
            signers=mirror.signers,
        )
    ) as aside:
        changed = dataclasses.replace(
            core,
            forge=cast(Forge, forge),
            aside=aside,
            settings=dataclasses.replace(core.settings, **settings),
        )
        yield Previewer(Fleet(changed))


async def round_of(previewer: Previewer, *, refresh: bool = True) -> float:
    """One look, however little is known of what runs."""
    if refresh:
        await previewer._fleet.refresh()
    previewer._began_s -= previews.READY_WITHIN_S
    return await previewer.round()


def pull(world: World, forge: Shown, version: str = "1.1.0", **more: Any) -> Pull:
    """An open pull request that bumps api, and stands where the forge keeps it."""
    world.ada.pull_if_any()
    world.ada.git("checkout", "--quiet", "--detach", "origin/main")
    world.release(version)
    world.pin(version)
    head = world.commit(f"Bump to {version}")
    return opened(world, forge, head, **more)


def opened(world: World, forge: Shown, head: str, **more: Any) -> Pull:
    number = len(forge.pulls) + 1
    branch = f"b{number}"
    refs = f"{head}:refs/pull/{number}/head", f"{head}:refs/heads/{branch}"
    world.ada.git("push", "--quiet", "origin", *refs)
    world.ada.git("checkout", "--quiet", "main")
    made = Pull(number, f"u/{number}", "open", branch, head, "main", **more)
    forge.pulls.insert(0, made)
    return made


async def test_nothing_is_asked_before_anything_is_in_force_or_known(
    previewer: Previewer, world: World, forge: Shown
) -> None:
    assert await previewer.round() == previews.APART_S
    await previewer._fleet.refresh()
    assert await previewer.round() == previews.APART_S
    assert forge.asked == 0
    world.clock.move(timedelta(seconds=previews.READY_WITHIN_S))
    await previewer.round()
    assert forge.asked == 1


async def test_one_daemon_of_several_tells(
    previewer: Previewer, world: World, forge: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull(world, forge)
    shut = dataclasses.make_dataclass("Shut", ["open", "reason"])(False, "host-b holds it")
    monkeypatch.setattr(previewer._core.leases, "opening", lambda _name: shut)
    await round_of(previewer)
    assert forge.asked == 0


async def test_what_is_another_daemons_is_taken_to_be_as_it_is_pinned(
    world: World, forge: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deploy_first("1.0.0")
    with over(world, forge) as previewer:
        monkeypatch.setattr(previewer._core.leases, "standing", lambda _name: "elsewhere")
        pull(world, forge)
        await round_of(previewer)
    assert "| `1.0.0` | `1.1.0` |" in forge.kept[1][0]


async def test_other_branches_and_what_is_closed_are_left_alone(
    previewer: Previewer, world: World, forge: Shown
) -> None:
    pull(world, forge)
    forge.pulls = [replace(forge.pulls[0], base="dev"), replace(forge.pulls[0], state="closed")]
    await round_of(previewer)
    assert (forge.kept, forge.checks) == ({}, [])


async def test_a_forge_that_keeps_no_heads_has_its_branches_previewed_and_no_forks(
    previewer: Previewer, world: World, forge: Shown
) -> None:
    forge.keeps_heads = False
    pull(world, forge, fork=True)
    pull(world, forge, "1.2.0")
    await round_of(previewer)
    assert set(forge.kept) == {2}


async def test_a_denial_calls_a_person_once_and_is_forgotten_once_it_is_mended(
    previewer: Previewer, world: World, forge: Shown
) -> None:
    pull(world, forge)
    forge.fails["list"] = Denied("the token lacks the scope repo", "give it that")
    for _ in range(3):
        await round_of(previewer)
        world.clock.move(timedelta(seconds=previews.RETRY_MAX_S))
    assert world.calls() == ["the token lacks the scope repo; give it that"]
    assert forge.asked == 3
    del forge.fails["list"]
    await round_of(previewer)
    assert world.core.store.marks(previews.MARK) == {}
    assert len(forge.kept[1]) == 1


async def test_the_time_that_a_forge_asks_for_is_waited(
    previewer: Previewer, world: World, forge: Shown
) -> None:
    pull(world, forge)
    forge.fails["comments 1"] = Unavailable("asks to wait", retry_s=500)
    assert 490 < await round_of(previewer) <= 500
    asked = forge.asked
    assert await round_of(previewer) <= 500
    assert forge.asked == asked
    del forge.fails["comments 1"]
    world.clock.move(timedelta(seconds=501))
    assert LOOK_S / 2 < await round_of(previewer) < LOOK_S * 2
    assert len(forge.kept[1]) == 1


async def test_a_check_that_is_never_taken_is_given_up_and_the_comment_is_written(
    previewer: Previewer, world: World, forge: Shown
) -> None:
    pull(world, forge)
    forge.fails["check"] = Invalid("No commit found for SHA")
    await round_of(previewer)
    assert len(forge.kept[1]) == 1
    assert world.calls() == []


async def test_many_are_looked_at_in_several_goes_those_that_were_pushed_to_first(
    previewer: Previewer, world: World, forge: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "AT_ONCE_MAX", 2)
    for version in ("1.1.0", "1.2.0", "1.3.0"):
        pull(world, forge, version)
    assert await round_of(previewer) == previews.APART_S
    assert set(forge.kept) == {3, 2}
    await round_of(previewer)
    assert set(forge.kept) == {3, 2, 1}
    world.clock.move(timedelta(minutes=6))
    newest = pull(world, forge, "1.4.0")
    await round_of(previewer)
    assert newest.number in forge.kept


async def test_after_several_that_fail_the_others_wait_for_the_next_round(
    previewer: Previewer, world: World, forge: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "FAILED_AT_ONCE_MAX", 1)
    pull(world, forge)
    bad = pull(world, forge, "1.2.0")
    forge.fails[f"comments {bad.number}"] = Denied("the issue is locked", "")
    await round_of(previewer)
    assert forge.kept == {}
    await round_of(previewer)
    assert set(forge.kept) == {1}
    assert world.calls() == ["the issue is locked"]
    del forge.fails[f"comments {bad.number}"]
    world.clock.move(timedelta(seconds=previews.RETRY_MAX_S))
    await round_of(previewer)
    assert set(forge.kept) == {1, 2}


async def test_what_has_nothing_in_common_is_left_alone(
    previewer: Previewer, world: World, forge: Shown, caplog: pytest.LogCaptureFixture
) -> None:
    world.ada.git("checkout", "--quiet", "--orphan", "alone")
    world.ada.git("commit", "--quiet", "-m", "Alone")
    opened(world, forge, world.ada.git("rev-parse", "HEAD"))
    await round_of(previewer)
    assert forge.kept == {}
    assert "no commit in common with main" in caplog.text


async def test_a_repository_that_could_not_be_read_at_all_any_more_fails_the_check(
    previewer: Previewer, world: World, forge: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull(world, forge)
    await previewer._fleet.refresh()
    monkeypatch.setattr(snapshot, "FILES_MAX", 2)
    await round_of(previewer, refresh=False)
    assert [(one.state, one.title) for one in forge.checks] == [("failure", "1 new problem")]
    assert "- Problem: `releases:1:1: the repository holds more than 2 files" in forge.kept[1][0]


async def test_what_this_daemon_may_not_use_is_told(world: World, forge: Shown) -> None:
    world.deploy_first("1.0.0")
    with over(world, forge) as previewer:
        world.ada.pull_if_any()
        world.ada.git("checkout", "--quiet", "--detach", "origin/main")
        world.files["environments/lab.yaml"] = "environment: lab\ndriver: {kind: docker}\npins: {}\n"
        opened(world, forge, world.commit("Add a lab"))
        await round_of(previewer)
    assert "the driver docker may not be used by this daemon" in forge.kept[1][0]
    assert [one.state for one in forge.checks] == ["success"]


async def test_a_daemon_of_some_environments_says_nothing_of_the_others(world: World, forge: Shown) -> None:
    world.deploy_first("1.0.0")
    with over(world, forge, environments=("staging",)) as previewer:
        pull(world, forge)
        await round_of(previewer)
    assert forge.kept == {}
    assert [one.state for one in forge.checks] == ["success"]


async def test_what_would_not_be_trusted_and_who_must_sign_is_told(world: World, forge: Shown) -> None:
    keys = Keys(world.folder)
    keys.allow("ada", "ugs")
    world.identity_more = f', signing_key: "{keys.private("ugs")}"'
    movers = "commits: all, environments: {production: [ada@example.org]}"
    world.settings_more = f'trust: {{signers: "{keys.allowed}", {movers}}}\n'
    world.signing = keys.signing("ada")
    world.deploy_first("1.0.0")
    with over(world, forge) as previewer:
        world.signing = {}
        head = pull(world, forge).head
        world.signing = keys.signing("ada")
        pull(world, forge, "1.2.0")
        await round_of(previewer)
    untrusted, trusted = forge.kept[1][0], forge.kept[2][0]
    assert f"its commit {head[:12]} would not be trusted: it is not signed" in untrusted
    assert "would not be trusted" not in trusted
    who = "it moves production: whoever signs the merge has to be one of those who may (ada@example.org)"
    assert who in untrusted
    assert who in trusted


async def test_what_people_wrote_stands_in_code(previewer: Previewer, world: World, forge: Shown) -> None:
    world.ada.pull_if_any()
    world.ada.git("checkout", "--quiet", "--detach", "origin/main")
    world.release("1.1.0", more='notes: "<img src=x> @everyone ![x](http://evil) /merge ##[error]x"\n')
    world.pin("1.1.0")
    opened(world, forge, world.commit("Evil"))
    await round_of(previewer)
    [line] = [line for line in forge.kept[1][0].splitlines() if "@everyone" in line]
    assert line.startswith("> <img src=x> @everyone")
    assert "# #[error]" in line
    lines = forge.kept[1][0].splitlines()
    assert lines[lines.index(line) - 1] == "> ```text"


async def test_without_a_forge_there_is_nothing_to_do(world: World) -> None:
    with pytest.raises(RuntimeError, match="no forge"):
        Previewer(world.fleet)


async def test_where_objects_were_thrown_away_they_are_fetched_again(
    previewer: Previewer, world: World, forge: Shown, caplog: pytest.LogCaptureFixture
) -> None:
    first = pull(world, forge)
    await round_of(previewer)
    previewer._mirror._bytes_max = 0
    pull(world, forge, "1.2.0")
    await round_of(previewer)
    assert not previewer._mirror.has(first.head)
    assert set(forge.kept) == {1, 2}
    world.clock.move(timedelta(minutes=6))
    await round_of(previewer)  # where there is room for one only, each makes room for itself
    assert {number: len(said) for number, said in forge.kept.items()} == {1: 1, 2: 1}
    assert "is not previewed" not in caplog.text


async def test_what_came_since_is_not_what_the_pull_request_would_change(
    previewer: Previewer, world: World, forge: Shown
) -> None:
    pull(world, forge)
    world.pin("1.0.0")
    world.ada.git("checkout", "--quiet", "main")
    world.release("3.0.0", service="web")
    world.files["environments/lab.yaml"] = 'environment: lab\ndriver: {kind: process}\npins: {web: "3.0.0"}\n'
    world.merge("Add a lab")
    await round_of(previewer)
    assert "### UGS: 1 change in production\n" in forge.kept[1][0]
    assert "web" not in forge.kept[1][0]


async def test_what_was_merged_by_another_way_has_nothing_left_to_say(
    previewer: Previewer, world: World, forge: Shown
) -> None:
    head = pull(world, forge).head
    await round_of(previewer)
    world.ada.pull_if_any()
    world.ada.git("merge", "--quiet", "--squash", head)
    world.ada.git("commit", "--quiet", "-m", "Squash it")
    world.ada.push()
    world.clock.move(timedelta(minutes=6))
    await round_of(previewer)
    [comment] = forge.kept[1]
    assert "### UGS: nothing to deploy" in comment


async def test_of_many_commits_that_would_not_be_trusted_some_are_named(world: World, forge: Shown) -> None:
    keys = Keys(world.folder)
    keys.allow("ada", "ugs")
    world.identity_more = f', signing_key: "{keys.private("ugs")}"'
    world.settings_more = f'trust: {{signers: "{keys.allowed}", commits: all}}\n'
    world.signing = keys.signing("ada")
    world.deploy_first("1.0.0")
    with over(world, forge) as previewer:
        world.ada.pull_if_any()
        world.ada.git("checkout", "--quiet", "--detach", "origin/main")
        for n in range(prospect.TOLD_MAX + 2):
            head = world.ada.commit({"releases/NOTES.md": f"{n}\n"}, f"Commit {n}")
        opened(world, forge, head)
        await round_of(previewer)
    said = forge.kept[1][0]
    assert said.count("would not be trusted: it is not signed") == prospect.TOLD_MAX
    assert "2 more of its commits would not be trusted" in said
    assert "whoever signs the merge" not in said
