"""One revision of the repository: the good is in force, the bad is told, and neither spoils the other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import pytest

from reconciler.model import section
from reconciler.model import snapshot as reading
from reconciler.model.errors import InputError
from reconciler.model.snapshot import Cache, Snapshot, read


class File(NamedTuple):
    """As git lists a tree."""

    mode: str
    oid: str
    path: str
    size: int


class Repository:
    """Paths and contents; a content may stand beside its mode. `history`: earlier contents, newest first."""

    def __init__(self, files: Mapping[str, str | tuple[str, str]]) -> None:
        self.files = dict(files)
        self.history: dict[str, list[str]] = {}
        self.cache = Cache()
        self.loaded: list[str] = []
        self.asked: list[str] = []

    def read(self) -> Snapshot:
        blobs: dict[str, tuple[str, bytes]] = {}
        listed = []
        for path, file in self.files.items():
            mode, text = file if isinstance(file, tuple) else ("100644", file)
            data = text.encode()
            oid = hashlib.sha1(data).hexdigest()
            blobs[oid] = (path, data)
            listed.append(File(mode, oid, path, len(data)))

        def load(oid: str) -> bytes:
            self.loaded.append(blobs[oid][0])
            return blobs[oid][1]

        return read("r1", listed, load, self.cache, self._older)

    def _older(self, path: str) -> Iterable[tuple[str, bytes]]:
        self.asked.append(path)
        return ((f"commit-{i}", text.encode()) for i, text in enumerate(self.history.get(path, ())))


def release(service: str, version: str, more: str = "") -> str:
    return (
        f'service: {service}\nversion: "{version}"\n'
        f'artifact: {{archive: {{url: a.tgz, sha256: "{"0" * 64}"}}}}\n'
        f"run: {{command: [x], port: 65000}}\n{more}"
    )


def environment(name: str, pins: str) -> str:
    return f"environment: {name}\ndriver: {{kind: process}}\npins: {pins}\n"


@pytest.fixture
def repository() -> Repository:
    """Two services; `test` in one file, `production` in a folder."""
    return Repository(
        {
            "releases/api/1.4.0.yaml": release("api", "1.4.0"),
            "releases/api/1.5.0.yaml": release("api", "1.5.0", "config: [{path: a, values: {workers: 4}}]\n"),
            "releases/web/2.0.0.yaml": release("web", "2.0.0"),
            "releases/api/archives/api-1.5.0.tgz": "not yaml",
            "releases/api/source/some/app.yaml": "the service's own: !file",
            "releases/README.md": "about releases",
            "environments/README.md": "about environments",
            "environments/test.yaml": environment("test", "{api: '1.5.0', web: '2.0.0'}"),
            "environments/production/environment.yaml": environment("production", "{}"),
            "environments/production/api.yaml": "pins: {api: {version: '1.5.0', config: {workers: 8}}}\n",
            "environments/production/web.yaml": "pins: {web: '2.0.0'}\n",
        }
    )


def versions(snapshot: Snapshot, name: str) -> dict[str, str]:
    return {service: str(pin.version) for service, pin in snapshot.environments[name].pins.items()}


def said(snapshot: Snapshot) -> list[str]:
    return [str(problem) for problem in snapshot.problems]


# What is good


def test_a_good_repository_is_read_whole(repository: Repository) -> None:
    snapshot = repository.read()
    assert snapshot.revision == "r1"
    assert snapshot.problems == ()
    assert set(snapshot.releases) == {("api", "1.4.0"), ("api", "1.5.0"), ("web", "2.0.0")}
    assert versions(snapshot, "test") == {"api": "1.5.0", "web": "2.0.0"}
    assert versions(snapshot, "production") == {"api": "1.5.0", "web": "2.0.0"}
    assert snapshot.nodes["production"]["api"] == '{"config":{"workers":8},"version":"1.5.0"}'
    assert (snapshot.blind, snapshot.blind_pins) == (frozenset(), frozenset())


def test_an_unchanged_tree_is_not_parsed_again_and_a_change_costs_one_file(repository: Repository) -> None:
    first = repository.read()
    assert repository.cache.parsed == 7
    assert repository.read() == first
    assert repository.cache.parsed == 7
    repository.files["environments/production/web.yaml"] = "pins: {}\n"
    repository.loaded.clear()
    repository.read()
    assert repository.cache.parsed == 8
    assert repository.loaded == ["environments/production/web.yaml"]


def test_the_same_bytes_at_another_path_are_another_file(repository: Repository) -> None:
    repository.files["releases/api/1.6.0.yaml"] = release("api", "1.5.0")
    assert said(repository.read()) == [
        "releases/api/1.6.0.yaml:1:10: service: this is not what the file's path says; "
        "move it to releases/api/1.5.0.yaml, or correct `service` and `version`"
    ]


def test_the_cache_is_bounded_and_forgets_what_was_used_longest_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(section, "REMEMBERED_MAX", 20)
    cache = Cache()

    def parse(name: str) -> None:
        cache.parse(name, f"releases/{name}/1.0.0.yaml", lambda: release(name, "1.0.0").encode())

    for number in range(20):
        parse(f"s{number}")
    parse("s0")
    parse("s20")
    parse("s0")
    assert cache.parsed == 21
    parse("s1")
    assert cache.parsed == 22


# A bad file affects what it describes


def test_a_bad_release_is_told_and_what_it_said_before_stays_in_force(repository: Repository) -> None:
    path = "releases/api/1.5.0.yaml"
    repository.files[path] = release("api", "1.5.0", "notse: x\n")
    repository.history[path] = [
        release("api", "1.5.0", "notes: 5\n"),
        release("api", "1.5.0", "config: [{path: a, values: {workers: 2}}]\n"),
        release("api", "1.5.0"),
    ]
    snapshot = repository.read()
    assert said(snapshot)[0].startswith("releases/api/1.5.0.yaml:5:1: notse: this key is unknown")
    assert snapshot.releases["api", "1.5.0"].config[0].values == {"workers": 2}
    assert versions(snapshot, "production") == {"api": "1.5.0", "web": "2.0.0"}
    parsed = repository.cache.parsed
    repository.read()
    assert repository.cache.parsed == parsed


def test_a_release_that_was_never_good_blinds_the_pins_that_name_it(repository: Repository) -> None:
    repository.files["releases/api/1.5.0.yaml"] = release("api", "1.5.0", "notse: x\n")
    snapshot = repository.read()
    assert versions(snapshot, "test") == {"web": "2.0.0"}
    assert snapshot.blind_pins == {("test", "api"), ("production", "api")}
    assert snapshot.blind == frozenset()
    assert "api" not in snapshot.nodes["test"]
    assert (
        "environments/test.yaml:3:13: pins.api: release 1.5.0 cannot be used; correct releases/api/1.5.0.yaml"
        in said(snapshot)
    )


def test_a_bad_pin_file_keeps_its_earlier_pins_and_the_others_their_new_ones(repository: Repository) -> None:
    path = "environments/production/api.yaml"
    repository.files[path] = "pins: {api: 1.5.0}\n"
    repository.history[path] = ["pins: {api: '1.4.0', web: '1.0.0'}\n"]
    snapshot = repository.read()
    assert versions(snapshot, "production") == {"api": "1.4.0", "web": "2.0.0"}
    assert snapshot.nodes["production"]["api"] == '"1.4.0"'
    assert said(snapshot) == [f'{path}:1:13: pins.api: versions must be quoted; write "1.5.0"']
    assert (snapshot.blind, snapshot.blind_pins) == (frozenset(), frozenset())


def test_a_bad_pin_file_that_was_never_good_hides_what_it_pins(repository: Repository) -> None:
    repository.files["environments/production/api.yaml"] = "pins: {api: 1.5.0}\n"
    snapshot = repository.read()
    assert versions(snapshot, "production") == {"web": "2.0.0"}
    assert snapshot.blind == {"production"}
    assert versions(snapshot, "test") == {"api": "1.5.0", "web": "2.0.0"}


def test_a_bad_environment_file_keeps_its_earlier_settings(repository: Repository) -> None:
    repository.files["environments/test.yaml"] = "environment: test\n"
    repository.history["environments/test.yaml"] = [environment("test", "{api: '1.4.0'}")]
    snapshot = repository.read()
    assert versions(snapshot, "test") == {"api": "1.4.0"}
    assert "test" not in snapshot.blind
    assert len(snapshot.problems) == 1


@pytest.mark.parametrize("path", ["environments/test.yaml", "environments/production/environment.yaml"])
def test_a_bad_environment_file_that_was_never_good_blinds_that_environment_alone(
    repository: Repository, path: str
) -> None:
    name = path.split("/")[1].removesuffix(".yaml")
    repository.files[path] = "environment: [\n"
    snapshot = repository.read()
    assert name not in snapshot.environments
    assert snapshot.blind == {name}
    assert len(snapshot.environments) == 1
    (problem,) = snapshot.problems
    assert problem.place.file == path


def test_only_the_last_twenty_versions_are_tried(repository: Repository) -> None:
    path = "environments/test.yaml"
    repository.files[path] = "x\n"
    repository.history[path] = [f"bad: {i}\n" for i in range(20)] + [environment("test", "{}")]
    assert "test" in repository.read().blind


def test_a_folder_without_environment_yaml_is_told_and_blind(repository: Repository) -> None:
    del repository.files["environments/production/environment.yaml"]
    snapshot = repository.read()
    assert said(snapshot) == [
        "environments/production/environment.yaml:1:1: this file is missing; "
        "add it: it names the driver, windows and policy"
    ]
    assert snapshot.blind == {"production"}


# Pins


def test_a_pin_to_a_missing_release_names_the_nearest_ones(repository: Repository) -> None:
    for version in ("1.0.0", "1.6.0", "2.0.0", "10.0.0"):
        repository.files[f"releases/api/{version}.yaml"] = release("api", version)
    repository.files["environments/test.yaml"] = environment("test", "{api: '1.5.1', web: '2.0.0'}")
    snapshot = repository.read()
    assert said(snapshot) == [
        "environments/test.yaml:3:13: pins.api: there is no release 1.5.1; "
        "add releases/api/1.5.1.yaml or pin one of 1.6.0, 1.5.0, 1.4.0"
    ]
    assert versions(snapshot, "test") == {"web": "2.0.0"}
    assert snapshot.blind_pins == {("test", "api")}
    assert snapshot.blind == frozenset()


def test_a_pin_of_an_unknown_service_suggests_the_nearest_one(repository: Repository) -> None:
    repository.files["environments/test.yaml"] = environment("test", "{apii: '1.5.0', zzz: '1.0.0'}")
    assert said(repository.read()) == [
        "environments/test.yaml:3:14: pins.apii: there is no release 1.5.0 of apii; "
        "add releases/apii/1.5.0.yaml; did you mean the service api?",
        "environments/test.yaml:3:28: pins.zzz: there is no release 1.0.0 of zzz; add releases/zzz/1.0.0.yaml",
    ]


def test_a_pin_that_stands_twice_is_not_in_force_and_both_places_are_named(repository: Repository) -> None:
    repository.files["environments/production/web.yaml"] = "pins: {web: '2.0.0', api: '1.4.0'}\n"
    snapshot = repository.read()
    assert said(snapshot) == [
        "environments/production/web.yaml:1:27: pins.api: api is pinned here and in "
        "environments/production/api.yaml:1:13; remove one of the two"
    ]
    assert versions(snapshot, "production") == {"web": "2.0.0"}
    assert snapshot.blind_pins == {("production", "api")}


def test_a_file_and_a_folder_of_one_environment_blind_it(repository: Repository) -> None:
    repository.files["environments/production.yaml"] = environment("production", "{}")
    snapshot = repository.read()
    assert "both environments/production.yaml and environments/production/" in said(snapshot)[0]
    assert snapshot.blind == {"production"}
    assert list(snapshot.environments) == ["test"]


@pytest.mark.parametrize(
    ("pin", "problem"),
    [
        (
            "{version: '1.5.0', config: {wrokers: 8}}",
            "pins.api.config.wrokers: release 1.5.0 does not declare this key; remove it; it declares workers",
        ),
        (
            "{version: '1.4.0', config: {workers: 8}}",
            "pins.api.config.workers: release 1.4.0 does not declare this key; remove it; it declares none",
        ),
        (
            "{version: '1.5.0', strategy: blue-green}",
            "pins.api.strategy: release 1.5.0 cannot do blue-green: it has no `run.socket: pass`; "
            "write stop-start, or pin another",
        ),
    ],
)
def test_a_pin_asks_only_for_what_its_release_can_give(
    repository: Repository, pin: str, problem: str
) -> None:
    repository.files["environments/production/api.yaml"] = f"pins: {{api: {pin}}}\n"
    snapshot = repository.read()
    assert said(snapshot) == [f"environments/production/api.yaml:1:13: {problem}"]
    assert snapshot.blind_pins == {("production", "api")}


def test_every_instance_of_a_pin_has_a_port(repository: Repository) -> None:
    repository.files["releases/api/1.4.0.yaml"] = release("api", "1.4.0").replace("65000", "65530")
    repository.files["environments/test.yaml"] = environment(
        "test", "{api: {version: '1.4.0', instances: 7}}"
    )
    assert said(repository.read()) == [
        "environments/test.yaml:3:13: pins.api: the last instance's port would be above 65535; set a lower `port`"
    ]


# The catalogue of hostile repositories


@pytest.mark.fault("HR-01", "HR-02")
@pytest.mark.parametrize(
    ("path", "mode", "problem"),
    [
        ("releases/api/1.5.0.yaml", "120000", "this is a symbolic link"),
        ("releases/api/archives/api-1.5.0.tgz", "120000", "this is a symbolic link"),
        ("releases/api/vendor", "160000", "this is a submodule"),
        ("releases/api/1.5.0.yaml", "100600", "this is no regular file"),
        ("environments/test.yaml", "120000", "this is a symbolic link"),
        ("environments/extra", "160000", "this is a submodule"),
    ],
)
def test_hr01_hr02_links_and_submodules_are_problems_and_never_read(
    repository: Repository, path: str, mode: str, problem: str
) -> None:
    repository.files[path] = (mode, "../../../etc/passwd")
    snapshot = repository.read()
    assert f"{path}:1:1: {problem}; put a regular file here, or remove it" in said(snapshot)
    assert path not in repository.loaded


@pytest.mark.fault("HR-01")
def test_hr01_a_link_in_place_of_a_good_file_leaves_what_the_file_said_in_force(
    repository: Repository,
) -> None:
    repository.files["environments/test.yaml"] = ("120000", "/etc/passwd")
    repository.history["environments/test.yaml"] = ["/etc/passwd", environment("test", "{api: '1.4.0'}")]
    assert versions(repository.read(), "test") == {"api": "1.4.0"}


@pytest.mark.fault("HR-01")
def test_hr01_a_link_in_place_of_an_environments_folder_blinds_it(repository: Repository) -> None:
    files = {path: file for path, file in repository.files.items() if "/production/" not in path}
    repository.files = {**files, "environments/production": ("120000", "/etc")}
    assert repository.read().blind == {"production"}


@pytest.mark.fault("HR-02")
@pytest.mark.parametrize("mode", ["120000", "160000", "100644"])
@pytest.mark.parametrize("name", ["releases", "environments"])
def test_hr02_a_whole_folder_replaced_is_refused_rather_than_taken_for_empty(
    repository: Repository, name: str, mode: str
) -> None:
    files = {path: file for path, file in repository.files.items() if not path.startswith(name)}
    repository.files = {**files, name: (mode, "/etc")}
    with pytest.raises(InputError, match=rf"^{name}:1:1: this is not a folder; put the folder back$"):
        repository.read()


@pytest.mark.fault("HR-05")
@pytest.mark.parametrize(
    ("twin", "other"),
    [
        ("releases/api/1.5.0-RC.1.yaml", "releases/api/1.5.0-rc.1.yaml"),
        ("environments/production/API.yaml", "environments/production/api.yaml"),
    ],
)
def test_hr05_case_twins_are_refused_both(repository: Repository, twin: str, other: str) -> None:
    version = "1.5.0-RC.1"
    for path in (twin, other):
        repository.files[path] = release("api", version) if "releases" in path else "pins: {api: '1.4.0'}\n"
    snapshot = repository.read()
    message = "another file's name differs only in upper and lower case; rename or remove one"
    assert said(snapshot) == sorted(f"{path}:1:1: {message}" for path in (twin, other))
    assert ("api", version) not in snapshot.releases
    if "environments" in twin:
        assert versions(snapshot, "production") == {"web": "2.0.0"}
        assert snapshot.blind == {"production"}
    assert repository.asked == []


@pytest.mark.fault("HR-05")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("environments/production/-rf.yaml", "the name is not one that can be used here"),
        ("environments/production/a\nb.yaml", "the name is not one that can be used here"),
        ("environments/production/ca\u0301.yaml", "the name is not one that can be used here"),
        ("environments/Production.yaml", "the name is not one that can be used here"),
        ("environments/production/more/api.yaml", "an environment's files stand no deeper than its folder"),
        ("environments/production/api2.yml", "the name ends in .yml"),
        ("environments/staging.yml", "the name ends in .yml"),
        ("releases/api/1.6.0.yml", "the name ends in .yml"),
        ("releases/api-1.6.0.yaml", "a release stands in its service's folder"),
        ("releases/api/--output=x.yaml", "the name is not one that can be used here"),
    ],
)
def test_hr05_names_that_cannot_be_used_are_told_and_not_read(
    repository: Repository, path: str, message: str
) -> None:
    repository.files[path] = "pins: {web: '9.9.9'}\n"
    snapshot = repository.read()
    (problem,) = snapshot.problems
    assert problem.message == message
    assert problem.place.file.isprintable()
    assert path not in repository.loaded
    if path.startswith("environments/"):
        assert snapshot.blind == {path.split("/")[1].removesuffix(".yaml").removesuffix(".yml")}


@pytest.mark.fault("HR-06")
def test_hr06_a_large_file_is_refused_before_it_is_loaded_and_spoils_nothing_else(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "TOTAL_BYTES_MAX", 1 << 20)
    path = "releases/api/1.6.0.yaml"
    repository.files[path] = "#" * ((1 << 20) + 1)
    assert said(repository.read()) == [f"{path}:1:1: the file is larger than 1048576 bytes; split it"]
    assert path not in repository.loaded


@pytest.mark.fault("HR-06")
@pytest.mark.parametrize(("limit", "value"), [("FILES_MAX", 6), ("TOTAL_BYTES_MAX", 500)])
def test_hr06_a_repository_with_more_than_can_be_read_is_refused_unread(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(reading, limit, value)
    with pytest.raises(InputError, match="the repository holds more than"):
        repository.read()
    assert repository.loaded == []


def truncations(text: str, accepted: Callable[[str], object]) -> list[object]:
    """What is accepted of a file that was cut off at any byte."""
    return [accepted(text[:end]) for end in range(len(text))]


@pytest.mark.fault("HR-07")
def test_hr07_no_cut_off_release_is_ever_in_force_as_another(repository: Repository) -> None:
    path = "releases/api/1.5.10.yaml"
    text = release("api", "1.5.10")

    def accepted(cut: str) -> object:
        repository.files[path] = cut
        return repository.read().releases.get(("api", "1.5.10"))

    assert set(truncations(text, accepted)) == {None}
    assert accepted(text) is not None


@pytest.mark.fault("HR-07")
def test_hr07_a_cut_off_pin_file_never_pins_another_version(repository: Repository) -> None:
    path = "environments/production/api.yaml"
    text = "pins:\n  api: '1.5.0'\n  db: {version: '1.4.10'}\n"
    repository.history[path] = ["pins: {api: '1.4.0'}\n"]

    def accepted(cut: str) -> object:
        repository.files[path] = cut
        snapshot = repository.read()
        return versions(snapshot, "production").get("api")

    assert set(truncations(text, accepted)) == {"1.4.0", "1.5.0"}
