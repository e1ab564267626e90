"""Reading what differs from another revision gives what reading the whole of it would."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.desired import Desired, Resolver, resolve
from reconciler.model.release import Flag
from reconciler.model.snapshot import Cache, Snapshot, read, reread
from reconciler.model.thawed import Thawer, thawed
from tests.build import release as build_release
from tests.counting import calls
from tests.model.test_snapshot import environment, release


class File(NamedTuple):
    mode: str
    oid: str
    path: str
    size: int


PATHS = (
    "releases/api/1.4.0.yaml",
    "releases/api/1.5.0.yaml",
    "releases/API/1.5.0.yaml",
    "releases/web/2.0.0.yaml",
    "releases/api/notes.md",
    "releases/stray.yaml",
    "environments/test.yaml",
    "environments/Test.yaml",
    "environments/test/environment.yaml",
    "environments/test/more.yaml",
    "environments/live.yaml",
    "environments/live.yml",
)
MIGRATION = 'migrations: [{id: a, phase: before, up: ["%s"], check: [x], down: [x], timeout: 1m}]\n'
CONTENTS = (
    release("api", "1.4.0"),
    release("api", "1.5.0"),
    release("api", "1.5.0", "config: [{path: a, values: {workers: 4}}]\n"),
    release("api", "1.4.0", MIGRATION % "x"),
    release("api", "1.5.0", MIGRATION % "y"),
    release("api", "1.5.0", "flags: {fast: {default: true}}\n"),
    release("web", "2.0.0", "flags: {fast: {default: 1, live: true}}\n"),
    release("web", "2.0.0"),
    environment("test", "{api: '1.5.0', web: '2.0.0'}"),
    environment("test", "{api: '1.4.0'}"),
    environment("live", "{api: {version: '1.5.0', config: {workers: 8}}}"),
    environment("live", "{api: '1.5.0', web: '1.0.0'}") + "flags: {fast: false}\n",
    environment("live", "{}") + "renamed_from: test\n",
    "pins: {web: '2.0.0'}\n",
    "pins: {api: '1.4.0'}\n",
    environment("live", "{api: '1.4.0'}"),
    "cut off",
)
FROZEN = {
    key: build_release(key[1], key[0], flags={"fast": Flag(False)})
    for key in (("api", "1.4.0"), ("api", "1.5.0"), ("web", "2.0.0"))
}
PARSED = Cache()
trees = st.dictionaries(st.sampled_from(PATHS), st.sampled_from(CONTENTS), max_size=len(PATHS))
BLOBS = {hashlib.sha1(text.encode()).hexdigest(): text.encode() for text in CONTENTS}


def blobs_of(tree: dict[str, str]) -> dict[str, bytes]:
    return {hashlib.sha1(text.encode()).hexdigest(): text.encode() for text in tree.values()}


def listed(tree: dict[str, str]) -> dict[str, File]:
    return {
        path: File("100644", hashlib.sha1(text.encode()).hexdigest(), path, len(text.encode()))
        for path, text in sorted(tree.items())
    }


def nothing_older(_path: str) -> Iterable[tuple[str, bytes]]:
    return ()


def whole(tree: dict[str, str]) -> Snapshot:
    return read("r", listed(tree).values(), BLOBS.__getitem__, Cache(), nothing_older)


@settings(max_examples=300, deadline=None)
@given(st.lists(trees, min_size=2, max_size=4))
def test_what_was_reread_is_what_is_read(history: list[dict[str, str]]) -> None:
    first, *rest = history
    snapshot, before = whole(first), listed(first)
    for tree in rest:
        after = listed(tree)
        changes = {path: after.get(path) for path in before | after if before.get(path) != after.get(path)}
        snapshot, before = reread(snapshot, "r", changes, BLOBS.__getitem__, Cache(), nothing_older), after
        assert snapshot == whole(tree)
        assert list(snapshot.environments) == sorted(snapshot.environments)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(trees, st.sets(st.sampled_from(sorted(FROZEN)))), min_size=2, max_size=4))
def test_what_is_asked_for_is_the_same_whatever_was_asked_for_before(
    history: list[tuple[dict[str, str], set[tuple[str, str]]]],
) -> None:
    snapshot, before, resolver, thawer = whole({}), listed({}), Resolver(), Thawer()
    for tree, deployed in history:
        after = listed(tree)
        changes = {path: after.get(path) for path in before | after if before.get(path) != after.get(path)}
        snapshot, before = reread(snapshot, "r", changes, BLOBS.__getitem__, PARSED, nothing_older), after
        frozen = {key: FROZEN[key] for key in sorted(deployed)}
        found = resolver(snapshot, frozen)
        assert found == resolve(whole(tree), frozen)
        assert list(found) == sorted(found)
        assert sorted(thawer(snapshot, frozen)) == sorted(thawed(whole(tree), frozen))


def test_only_what_differs_is_read() -> None:
    tree = {
        "releases/api/1.4.0.yaml": release("api", "1.4.0"),
        "releases/api/1.5.0.yaml": release("api", "1.5.0"),
        "releases/web/2.0.0.yaml": release("web", "2.0.0"),
        "environments/test.yaml": environment("test", "{api: '1.5.0', web: '2.0.0'}"),
        "environments/live.yaml": environment("live", "{api: '1.4.0'}"),
    }
    before, cache = whole(tree), Cache()
    now = listed(tree | {"environments/test.yaml": environment("test", "{api: '1.4.0'}")})
    path = "environments/test.yaml"
    after = reread(before, "r2", {path: now[path]}, BLOBS.__getitem__, cache, nothing_older)
    assert cache.parsed == 1
    assert after.environments["test"].pins["api"].version.text == "1.4.0"
    assert after.environments["live"] is before.environments["live"]
    assert after.releases is before.releases


def calls_for_one_pin(environments: int) -> int:
    """Of Python and of C, until it is known what every environment asks for, when one of them moves its pin."""
    services = [f"s{number}" for number in range(environments)]
    tree = {
        f"releases/{name}/{version}.yaml": release(name, version)
        for name in services
        for version in ("1.0.0", "1.1.0")
    }
    tree |= {
        f"environments/{name}.yaml": environment(name, f"{{{name}: '1.0.0', s0: '1.0.0'}}")
        for name in services[1:]
    }
    before, resolver = (
        read("r", listed(tree).values(), blobs_of(tree).__getitem__, Cache(), nothing_older),
        Resolver(),
    )
    resolver(before, {})
    tree["environments/s1.yaml"] = environment("s1", "{s1: '1.1.0', s0: '1.0.0'}")
    changes = {"environments/s1.yaml": listed(tree)["environments/s1.yaml"]}
    load, after = blobs_of(tree).__getitem__, list[Mapping[str, Desired]]()
    found = calls(
        lambda: after.append(resolver(reread(before, "r2", changes, load, Cache(), nothing_older), {}))
    )
    assert after[0]["s1"].workloads["s1"].target.version.text == "1.1.0"
    return found


def test_a_pin_that_moves_is_the_same_work_however_much_there_is() -> None:
    calls_for_one_pin(5)  # what is worked out once is worked out
    assert calls_for_one_pin(300) == calls_for_one_pin(20)


def test_what_an_earlier_commit_stood_in_for_is_looked_up_again() -> None:
    path = "environments/test.yaml"
    tree = {"releases/api/1.4.0.yaml": release("api", "1.4.0"), path: "cut off"}
    older = [("c1", environment("test", "{api: '1.4.0'}").encode())]
    before = read("r", listed(tree).values(), BLOBS.__getitem__, Cache(), lambda _path: older)
    assert before.environments["test"].pins.keys() == {"api"}
    after = reread(before, "r2", {}, BLOBS.__getitem__, Cache(), nothing_older)
    assert after.environments == {}
    assert after.blind == {"test"}
