"""Putting several pins back at once, each where it still stands, and finding again what a commit put back."""

from __future__ import annotations

from reconciler.engine.pins import edit, left_by, message, moved, version_in
from reconciler.model.upgrade import Companion, Upgrade
from reconciler.model.version import Version
from tests.build import upgrade, work
from tests.git.colleague import git
from tests.world import World

OLD, NEW = work("1.0.0"), work("2.0.0")


def failed(**needs: str) -> Upgrade:
    """api 2.0.0 failed, and web 2.0.0 goes back with it; of what it `needs`, or because it shares the fate."""
    web = Companion(
        service="web",
        pinned=NEW.node,
        back=OLD.node,
        failed=work("2.0.0", "web").target,
        restored=work("1.0.0", "web").target,
        why="it goes along",
        needs=needs,
    )
    return upgrade(OLD, NEW, companions=(web,), reason="HTTP 500")


def folder(world: World, **files: str) -> str:
    """The environment as a folder, one file of pins for each service; the tip."""
    world.merge("One file, to be split")
    head = "environment: production\ndriver: {kind: process}\n"
    world.files["environments/production.yaml"] = None
    world.files["environments/production/environment.yaml"] = head
    world.files |= {f"environments/production/{name}.yaml": text for name, text in files.items()}
    world.merge("As it stands")
    return world.core.repository.fetch().tip


def test_what_cannot_be_read_is_left_and_the_rest_goes_back(world: World) -> None:
    tip = folder(world, api='pins: {api: "2.0.0"}\n', web='pins: {web: "2.0.0"\n')
    edits = edit(world.core.repository.mirror, tip, failed(api=">=2.0.0"))
    assert edits.files == {"environments/production/api.yaml": b'pins: {api: "1.0.0"}\n'}
    assert edits.left["web"].startswith("the pin could not be reverted: environments/production/web.yaml:")


def test_where_the_failed_pin_was_moved_what_shares_its_fate_goes_back_all_the_same(world: World) -> None:
    tip = folder(world, api='pins: {api: "2.0.1"}\n', web='pins: {web: "2.0.0"}\n')
    edits = edit(world.core.repository.mirror, tip, failed())
    assert edits.files == {"environments/production/web.yaml": b'pins: {web: "1.0.0"}\n'}
    assert edits.left == {"api": "the pin was moved meanwhile"}
    text = message(failed(), edits.left)
    assert text.startswith("Put production back with api 2.0.0\n\n2.0.0 failed: HTTP 500\n")
    assert "- web 2.0.0 to 1.0.0: it goes along\n" in text


def test_a_pin_without_a_version_meets_no_need(world: World) -> None:
    tip = folder(world, api="pins: {api: {instances: 2}}\n", web='pins: {web: "2.0.0"}\n')
    edits = edit(world.core.repository.mirror, tip, failed(api=">=2.0.0"))
    assert list(edits.files) == ["environments/production/web.yaml"]


def test_a_pin_that_says_what_it_said_is_left_for_a_person_and_its_companion_goes_back(world: World) -> None:
    tip = folder(world, api='pins: {api: "2.0.0"}\n', web='pins: {web: "2.0.0"}\n')
    unchanged = upgrade(work("2.0.0"), NEW, companions=failed().companions)
    edits = edit(world.core.repository.mirror, tip, unchanged)
    assert (list(edits.left), edits.needs_person) == (["api"], True)
    assert list(edits.files) == ["environments/production/web.yaml"]


def test_what_an_earlier_commit_put_back_is_read_from_it(world: World) -> None:
    tip = folder(world, api='pins: {api: "2.0.0"}\n', web='pins: {web: "2.1.0"}\n')
    mirror, operation = world.core.repository.mirror, failed()
    commit = mirror.commit(
        tip, edit(mirror, tip, operation).files, message(operation, {"web": ""}), at=world.clock.now()
    )
    mirror.push(commit)
    assert left_by(mirror, commit, operation) == {"web": "the pin was moved meanwhile"}
    assert git(world.remote, "log", "-1", "--format=%s", commit) == "Revert production/api to 1.0.0"


def test_pins_are_moved_where_they_stand_as_was_seen_and_the_others_are_named(world: World) -> None:
    tip = folder(world, api='pins: {api: {version: "1.0.0", port: 81}}\n', web='pins: {web: "1.5.0"}\n')
    to = {name: Version("2.0.0") for name in ("api", "web", "worker")}
    mirror = world.core.repository.mirror
    found = moved(mirror, tip, "production", to, lambda _, node: version_in(node) == "1.0.0")
    assert found.files == {"environments/production/api.yaml": b'pins: {api: {version: "2.0.0", port: 81}}\n'}
    assert found.left == {"web", "worker"}
    assert version_in('{"port":81}') == ""
