"""What each environment asks for: releases as they froze, and nothing where the pin cannot be followed."""

from __future__ import annotations

from msgspec.structs import replace

from reconciler.model.desired import Frozen, Resolver, in_force, resolve
from reconciler.model.release import Archive, Artifact, ConfigFile, Health, Release, Run
from reconciler.model.snapshot import Snapshot
from reconciler.model.thawed import thawed
from tests.build import REVISION, environment, pin, release


def snapshot(*releases: Release, blind: frozenset[tuple[str, str]] = frozenset()) -> Snapshot:
    pinned = {one.service: one.version.text for one in releases}
    return Snapshot(
        revision=REVISION,
        releases={(one.service, one.version.text): one for one in releases},
        environments={
            "production": environment(*(pin(version, service) for service, version in pinned.items()))
        },
        nodes={"production": {service: f'"{version}"' for service, version in pinned.items()}},
        problems=(),
        blind=frozenset(),
        blind_pins=blind,
    )


def frozen(one: Release) -> Frozen:
    return {(one.service, one.version.text): one}


REBUILT = Artifact(Archive("archives/other.tar.gz", "1" * 64))


def test_every_pin_becomes_a_workload_of_its_release() -> None:
    wanted = resolve(snapshot(release("1.0.0"), release("2.0.0", "web")), {})["production"]
    assert {name: str(work.target.version) for name, work in wanted.workloads.items()} == {
        "api": "1.0.0",
        "web": "2.0.0",
    }
    assert wanted.revision == REVISION
    assert wanted.workloads["api"].node == '"1.0.0"'


def test_a_pin_that_cannot_be_followed_is_blind_and_asks_for_nothing() -> None:
    bad = frozenset({("production", "api"), ("staging", "web")})
    wanted = resolve(snapshot(release("1.0.0"), blind=bad), {})["production"]
    assert wanted.workloads == {}
    assert wanted.blind == {"api"}


def test_a_bad_environment_file_hides_pins() -> None:
    there = replace(snapshot(release("1.0.0")), blind=frozenset({"production"}))
    assert resolve(there, {})["production"].hidden


def test_a_release_is_in_force_as_it_froze() -> None:
    kept = release("1.0.0")
    edited = replace(
        kept,
        artifact=REBUILT,
        run=Run(command=("bin/other",)),
        config=(ConfigFile("etc/new.conf"),),
        requires={"base": ">=2"},
    )
    assert in_force(edited, frozen(kept)) == kept
    assert in_force(edited, {}) == edited
    work = resolve(snapshot(edited), frozen(kept))["production"].workloads["api"]
    assert work.target == resolve(snapshot(kept), {})["production"].workloads["api"].target


def test_notes_and_health_may_change_after_the_freeze() -> None:
    kept = release("1.0.0")
    edited = replace(kept, notes="Better words.", health=Health(soak_s=9.0))
    assert in_force(edited, frozen(kept)) == edited
    assert thawed(snapshot(edited), frozen(kept)) == []


def test_an_edit_of_what_froze_is_an_error_of_that_file() -> None:
    kept = release("1.0.0")
    [problem] = thawed(snapshot(replace(kept, artifact=REBUILT)), frozen(kept))
    assert problem.place.file == "releases/api/1.0.0.yaml"
    assert "was deployed and is frozen" in problem.message
    assert "publish the change as a new version" in problem.remedy


def test_what_was_never_deployed_may_change() -> None:
    kept = release("1.0.0")
    assert thawed(snapshot(release("1.1.0", artifact=REBUILT)), frozen(kept)) == []


def test_a_resolver_beside_another_displaces_nothing_of_it() -> None:
    nothing: Frozen = {}
    there, later = snapshot(release("1.0.0")), snapshot(release("1.0.0"), release("2.0.0", "web"))
    mine = Resolver()
    before = mine(there, nothing)
    other = mine.beside()
    assert other(there, nothing) is before
    assert other(later, nothing) == resolve(later, nothing)
    assert mine(there, nothing) is before
