"""A flag switched through the daemon: one edit at the remote's tip, refused where it may not be made."""

from __future__ import annotations

import pytest

from reconciler.engine.flip import flip
from reconciler.engine.people import Conflict
from reconciler.model.errors import UgsError
from reconciler.model.flip import Wanted
from tests.fleet_repository import ENVIRONMENT_FILE
from tests.git.colleague import git
from tests.git.keys import Keys
from tests.world import World

DECLARED = "flags: {checkout: {default: false, live: true}, style: {default: plain, live: true}}\n"
SET = "flags:\n  # Ask Ada first.\n  style: plain  # for now\n"


async def start(world: World) -> None:
    world.more = SET
    world.release("1.0.0", more=DECLARED)
    world.pin("1.0.0")
    world.merge("Start")
    await world.settle()


def tip_says(world: World) -> str:
    return git(world.remote, "show", f"main:{ENVIRONMENT_FILE}")


async def switch(world: World, wanted: Wanted | None, flag: str = "checkout", reason: str = "") -> str | None:
    return await flip(world.fleet, "production", flag, wanted, actor="ada", reason=reason)


async def test_a_switch_is_one_edit_one_commit_and_in_force(world: World) -> None:
    await start(world)
    commit = await switch(world, Wanted(True), reason="it sells\n\nUgs-Retry: 1234")
    assert commit == world.tip()
    assert "# Ask Ada first.\n  style: plain  # for now\n  checkout: true\n" in tip_says(world)
    message = git(world.remote, "log", "-1", "--format=%B", "main")
    assert message.splitlines()[0] == "Set production flag checkout to true"
    assert "Asked for by ada: it sells Ugs-Retry: 1234\n" in message
    assert (
        git(world.remote, "log", "-1", "--format=%(trailers)", "main").strip()
        == "Ugs-Environment: production"
    )
    await world.settle()
    assert world.core.flags["production"]["checkout"].standing.plain is True
    assert len([one for one in world.events() if one.startswith("flag-set")]) == 1
    assert await switch(world, Wanted(True)) is None  # it stands so already
    assert world.tip() == commit
    await switch(world, Wanted(False, 20.0))
    assert "percent: 20" in tip_says(world)
    await switch(world, None)
    assert "checkout" not in tip_says(world)
    assert await switch(world, None) is None


async def test_the_newest_tip_is_edited_and_what_stands_there_stays(world: World) -> None:
    await start(world)
    world.ada.pull_if_any()
    world.more = SET.replace("plain  # for now", "fancy")
    world.pin("1.0.0")
    world.merge("Be fancy")  # which the daemon has not fetched
    await switch(world, Wanted(True))
    assert "style: fancy\n  checkout: true" in tip_says(world)


async def test_what_a_check_would_refuse_is_not_pushed(world: World) -> None:
    await start(world)
    before = world.tip()
    with pytest.raises(UgsError, match=f"{ENVIRONMENT_FILE}.*style"):
        await switch(world, Wanted(7), "style")
    with pytest.raises(UgsError, match="characters"):
        await switch(world, Wanted(True), reason="long " * 400)
    assert world.tip() == before


async def test_the_daemons_signature_is_not_lent_where_signers_decide(world: World) -> None:
    keys = Keys(world.folder)
    keys.allow("ada", "ugs")
    world.identity_more = f', signing_key: "{keys.private("ugs")}"'
    world.settings_more = f'trust: {{signers: "{keys.allowed}"}}\n'
    world.signing = keys.signing("ada")
    await start(world)
    before = world.tip()
    with pytest.raises(Conflict, match="commits of those who are trusted"):
        await switch(world, Wanted(True))
    assert world.tip() == before
