"""A team's own program: what it is told, what it is believed, and what becomes of one that lies, hangs or shouts."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from msgspec.structs import replace

from reconciler.drivers import DRIVERS
from reconciler.drivers import command as driver
from reconciler.drivers.base import Cause, Site
from reconciler.drivers.command import conformance, contract
from reconciler.drivers.command.program import granted
from reconciler.drivers.layout import directory_of
from reconciler.drivers.mark import site_id
from reconciler.model.errors import ArtifactError, HostError, TransientError, UgsError
from reconciler.model.release import SecretName
from reconciler.model.target import Workload
from tests.drivers.services import answered, build_archive, wait_until, work_for
from tests.engines.command import example
from tests.probing import free_port

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json, os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
call = json.load(sys.stdin)
action = call["action"]
with (folder / "calls").open("a") as log:
    log.write(json.dumps(call) + "\\n")
how = json.loads((folder / "how.json").read_text()).get(action, {})
if "while" in how:
    with (folder / "times").open("a") as log:
        log.write("begin\\n")
    time.sleep(how["while"])
    with (folder / "times").open("a") as log:
        log.write("end\\n")
state = folder / "state.json"
if action in ("apply", "restore") and how.get("effect", True):
    parts = (call["work"] or {"instances": []})["instances"][: call.get("upto")]
    state.write_text(json.dumps([{"labels": part["labels"], "state": "running"} for part in parts]))
if "shout" in how:
    for _ in range(how["shout"]):
        os.write(1, b"x" * (1 << 20))
if "stderr" in how:
    os.write(2, how["stderr"].encode("utf-8", "surrogateescape"))
if "say" in how:
    sys.stdout.write(how["say"].replace("{token}", os.environ.get("TOKEN", "")))
else:
    answer = {"contract": 1, **how.get("answer", {})}
    if action == "observe" and (folder / "calls").read_text().count('"observe"') > how.get("late", 0):
        answer = {"instances": json.loads(state.read_text()) if state.exists() else [], **answer}
    print(json.dumps(answer))
sys.exit(how.get("exit", 0))
"""
CAUSE = Cause("0123456789abcdef", "a" * 40)
TOKEN = "tok-5f2a9c"


class Stub:
    """A program that does as it is told by `how`, and writes down what it was asked."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        script = folder / "program.py"
        script.write_text(PROGRAM)
        self.entry: dict[str, Any] = {
            "argv": [sys.executable, "-IS", str(script), str(folder)],
            "environment": {"TOKEN": lambda: TOKEN},
            "observe_timeout": "20s",
        }
        self.how()
        self.site = replace(
            site,
            options={"program": "stub", "host": "10.0.0.5", "options": {"zone": "eu-1"}},
            engine={"programs": {"stub": self.entry}},
        )

    def how(self, **actions: Mapping[str, Any]) -> None:
        (self.folder / "how.json").write_text(json.dumps(actions))

    def calls(self, action: str) -> list[dict[str, Any]]:
        lines = (self.folder / "calls").read_text().splitlines()
        return [call for call in map(json.loads, lines) if call["action"] == action]

    def runs(self, *instances: Mapping[str, Any]) -> None:
        (self.folder / "state.json").write_text(json.dumps(instances))

    def seen(self) -> list[tuple[int, str, str]]:
        seen = driver.observe(self.site, "production")
        return (
            [(one.index, str(one.target.version), one.state) for one in seen["api"].instances] if seen else []
        )


@pytest.fixture
def stub(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stub:
    monkeypatch.setattr(driver, "APPEAR_TIMEOUT_S", 0.0)
    return Stub(site, tmp_path / "stub")


@pytest.fixture
def work(archives: Path) -> Workload:
    environment: dict[str, str | SecretName] = {"PORT": "{port}", "PASSWORD": SecretName("db-password")}
    archive = build_archive(archives, "1.0.0")
    return work_for(archive, "1.0.0", port=8080, instances=2, environment=environment)


def newer(work: Workload, archives: Path) -> Workload:
    return work_for(build_archive(archives, "1.1.0"), "1.1.0", port=8080, instances=2)


def labels(work: Workload, number: int, at: Site, /, **other: str) -> dict[str, str]:
    own = {
        "site": site_id(at.state),
        "environment": work.environment,
        "service": work.service,
        "index": str(number),
        "version": str(work.target.version),
        "target": work.target.digest,
    }
    return {f"ugs.{name}": value for name, value in (own | other).items()}


def test_it_is_told_all_that_it_needs_filled_in(stub: Stub, work: Workload) -> None:
    driver.prepare(stub.site, work, "HEAD")
    driver.preflight(stub.site, work)
    driver.apply(stub.site, CAUSE, work, 1)
    [call] = stub.calls("apply")
    assert call["where"] == {
        "site": site_id(stub.site.state),
        "environment": "production",
        "names": ["production"],
        "options": {"zone": "eu-1"},
    }
    assert (call["service"], call["upto"], call["adopted"]) == ("api", 1, False)
    told = call["work"]
    assert (told["version"], told["image"], told["stop_grace_s"]) == ("1.0.0", None, 5.0)
    assert (Path(told["directory"]) / "bin/api").is_file()
    first, second = told["instances"]
    assert first["command"] == ["bin/api", "8080"]
    assert (second["port"], second["command"]) == (8081, ["bin/api", "8081"])
    assert second["environment"] == {
        "PORT": "8081",
        "PASSWORD": "hunter2",
        "UGS_ENVIRONMENT": "production",
        "UGS_SERVICE": "api",
        "UGS_VERSION": "1.0.0",
    }
    assert second["labels"] == labels(work, 1, stub.site, operation=CAUSE.operation, revision=CAUSE.revision)
    assert stub.seen() == [(0, "1.0.0", "running")]


def test_what_is_said_keeps_to_the_published_schema(
    stub: Stub, work: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = json.loads((ROOT / "schemas/command.json").read_text())
    made = json.loads(json.dumps(contract.schema()))
    assert published == made, "write schemas/command.json anew from contract.schema()"
    driver.prepare(stub.site, work, "HEAD")
    driver.apply(stub.site, CAUSE, work, 2)
    driver.restore(stub.site, CAUSE, None, environment="production", service="api")
    stub.how(logs={"answer": {"lines": ["one", "two"]}})
    assert driver.logs(stub.site, "production", "api", lines=1) == ["two"]
    monkeypatch.setattr(driver, "APPEAR_TIMEOUT_S", 0.0)
    stub.how(observe={"answer": {"settles": True}})
    parts = stub.calls("apply")[0]["work"]["instances"]
    old = {**parts[0]["labels"], "ugs.version": "0.9.0"}
    stub.runs(*({"labels": one, "state": "running"} for one in (old, *(part["labels"] for part in parts))))
    with pytest.raises(HostError, match=r"says that it is done with api, but 0 of 0\.9\.0@\w+ runs still"):
        driver.settle(stub.site, work)
    for action in ("observe", "apply", "settle", "restore", "logs"):
        for call in stub.calls(action):
            part = {"$ref": f"#/$defs/{action.capitalize()}", "$defs": published["$defs"]}
            jsonschema.validate(call, part)


def test_only_what_carries_our_labels_counts(stub: Stub, work: Workload) -> None:
    stub.runs(
        {"labels": labels(work, 1, stub.site), "state": "starting", "drift": "edited", "pid": 7},
        {"labels": labels(work, 0, stub.site), "state": "crashed", "detail": "exit 3"},
        {"labels": labels(work, 0, stub.site, index="2"), "state": "ended"},
        {"labels": labels(work, 0, stub.site, site="ffffffff"), "state": "running"},
        {"labels": labels(work, 0, stub.site, environment="staging"), "state": "running"},
        {"labels": {"app": "api"}, "state": "running"},
        {"labels": labels(work, 0, stub.site, index="first"), "state": "running"},
    )
    stub.how(observe={"answer": {"foreign": [{"service": "web", "what": "the job web is not ours"}]}})
    seen = driver.observe(stub.site, "production")
    assert seen.keys() == {"api", "web"}
    first, second = seen["api"].instances
    assert (first.index, first.state, first.detail) == (0, "crashed", "exit 3")
    assert (second.index, second.state, second.drift, second.pid) == (1, "starting", "edited", 7)
    assert (seen["web"].instances, seen["web"].foreign) == ((), "the job web is not ours")


@pytest.mark.fault("RT-10")
def test_one_that_says_it_is_done_and_is_not_is_trouble_of_the_host(stub: Stub, work: Workload) -> None:
    driver.prepare(stub.site, work, "HEAD")
    stub.how(apply={"effect": False})
    with pytest.raises(HostError, match=r"says that it is done with api, but 0, 1 of 1.0.0@\w+ is not there"):
        driver.apply(stub.site, CAUSE, work, 2)
    driver.restore(stub.site, CAUSE, work, environment="production", service="api")
    stub.how(restore={"effect": False})
    with pytest.raises(HostError, match="but 0, 1 of it runs"):
        driver.restore(stub.site, CAUSE, None, environment="production", service="api")


@pytest.mark.fault("RT-10")
@pytest.mark.parametrize(
    "says",
    [
        {"exit": 1},
        {"say": "half an ans", "exit": -9},
        {"answer": {"error": {"fate": "artifact", "message": "no"}}},
    ],
)
def test_one_that_says_it_failed_and_has_done_it_has_done_it(
    stub: Stub, work: Workload, says: Mapping[str, Any]
) -> None:
    driver.prepare(stub.site, work, "HEAD")
    stub.how(apply=says)
    driver.apply(stub.site, CAUSE, work, 2)
    assert stub.seen() == [(0, "1.0.0", "running"), (1, "1.0.0", "running")]


@pytest.mark.parametrize(
    ("says", "kind", "words"),
    [
        (
            {"answer": {"error": {"fate": "artifact", "message": "no such chart", "remedy": "publish it"}}},
            ArtifactError,
            r"the program stub \(apply\): no such chart; publish it",
        ),
        ({"answer": {"error": {"fate": "transient", "message": "busy"}}}, TransientError, "busy"),
        ({"answer": {"error": {"fate": "host", "message": "no quota"}}}, HostError, "no quota"),
        ({"exit": 3, "stderr": "first\nthe last line\n"}, HostError, "exited with 3: the last line"),
        ({"say": "", "exit": 4}, HostError, "exited with 4"),
        ({"say": "done"}, HostError, r"\(apply\) gave no answer"),
        ({"say": '{"contract": 2}'}, HostError, "speaks version 2 of the contract, and this is version 1"),
    ],
)
def test_why_it_was_not_done_is_whose_it_says(
    stub: Stub, work: Workload, says: Mapping[str, Any], kind: type[UgsError], words: str
) -> None:
    driver.prepare(stub.site, work, "HEAD")
    stub.how(apply={"effect": False, **says})
    with pytest.raises(kind, match=words):
        driver.apply(stub.site, CAUSE, work, 2)


@pytest.mark.fault("RT-11")
def test_a_gibibyte_bytes_that_are_no_text_and_secrets_do_no_harm(stub: Stub, work: Workload) -> None:
    driver.prepare(stub.site, work, "HEAD")
    said = "x" * 200 + f"\n\udcff\udcfe\x1b[31m {TOKEN} and hunter2\n"
    stub.how(apply={"effect": False, "shout": 1024, "stderr": said, "say": "no answer", "exit": 1})
    with pytest.raises(HostError) as caught:
        driver.apply(stub.site, CAUSE, work, 2)
    assert str(caught.value).startswith(
        "the program stub (apply) exited with 1: \ufffd\ufffd\ufffd[31m [secret] and [secret]; "
    )
    kept = [path for path in stub.site.state.rglob("*") if path.is_file()]
    assert not [
        path for path in kept if b"hunter2" in path.read_bytes() or TOKEN.encode() in path.read_bytes()
    ]
    assert max(path.stat().st_size for path in kept) < 1 << 20


@pytest.mark.fault("RT-11")
@pytest.mark.parametrize(
    ("says", "words"),
    [
        ({"shout": 9}, "wrote more than 8388608 bytes"),
        (
            {"say": '{"contract": 1, "instances": [{"labels": {}, "state": "{token}"}]}'},
            r"Invalid enum value '\[secret\]'",
        ),
        ({"say": '{"instances": []}'}, "missing required field `contract`"),
        ({"say": "[1"}, r"\(observe\) gave no answer"),
        ({"exit": 1, "stderr": f"no login with {TOKEN}\n"}, r"exited with 1: no login with \[secret\]"),
        ({"answer": {"error": {"fate": "transient", "message": f"{TOKEN}?"}}}, r"\(observe\): \[secret\]\?"),
    ],
)
def test_what_cannot_be_observed_is_told_without_its_secrets(
    stub: Stub, says: Mapping[str, Any], words: str
) -> None:
    stub.how(observe=says)
    with pytest.raises(UgsError, match=words) as caught:
        driver.observe(stub.site, "production")
    assert TOKEN not in str(caught.value)


def test_one_that_hangs_is_ended(stub: Stub, work: Workload) -> None:
    stub.entry |= {"observe_timeout": "300ms", "timeout": "300ms"}
    stub.how(observe={"while": 60})
    with pytest.raises(HostError, match=r"the program stub \(observe\) did not end within 0.3 s"):
        driver.observe(stub.site, "production")
    driver.prepare(stub.site, work, "HEAD")
    stub.entry["observe_timeout"] = "20s"
    stub.how(apply={"while": 60})
    with pytest.raises(HostError, match=r"the program stub \(apply\) did not end within 0.3 s"):
        driver.apply(stub.site, CAUSE, work, 2)


@pytest.mark.fault("CR-03")
def test_of_one_service_it_does_one_thing_at_a_time_whoever_asks(stub: Stub, work: Workload) -> None:
    driver.prepare(stub.site, work, "HEAD")
    stub.how(apply={"while": 0.2})
    threads = [threading.Thread(target=driver.apply, args=(stub.site, CAUSE, work, 2)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (stub.folder / "times").read_text().split() == ["begin", "end"] * 3


def test_an_engine_may_take_a_while_to_show_it(
    stub: Stub, work: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "APPEAR_TIMEOUT_S", 60.0)
    monkeypatch.setattr(driver, "APPEAR_POLL_S", 0.01)
    driver.prepare(stub.site, work, "HEAD")
    stub.how(observe={"late": 2})
    driver.apply(stub.site, CAUSE, work, 2)
    assert len(stub.calls("observe")) == 3


def test_what_is_there_too_much_is_seen(stub: Stub, work: Workload, archives: Path) -> None:
    driver.prepare(stub.site, work, "HEAD")
    stub.how(apply={"effect": False})
    there = [{"labels": labels(work, index, stub.site), "state": "running"} for index in range(3)]
    stub.runs(*there)
    driver.apply(stub.site, CAUSE, work, 1)
    with pytest.raises(HostError, match=r"but 2 of 1.0.0@\w+ runs still"):
        driver.apply(stub.site, CAUSE, work, 2)
    stub.runs(*there[:2], {"labels": labels(newer(work, archives), 1, stub.site), "state": "running"})
    with pytest.raises(HostError, match=r"but 1 of 1.1.0@\w+ runs still"):
        driver.apply(stub.site, CAUSE, work, 2)


def test_an_instance_that_ended_at_once_was_started_and_is_for_the_probes_to_judge(
    stub: Stub, work: Workload
) -> None:
    driver.prepare(stub.site, work, "HEAD")
    stub.how(apply={"effect": False}, restore={"effect": False})
    stub.runs(*({"labels": labels(work, index, stub.site), "state": "ended"} for index in range(2)))
    driver.apply(stub.site, CAUSE, work, 2)
    assert stub.seen() == []
    driver.restore(stub.site, CAUSE, None, environment="production", service="api")


def test_a_program_that_ugs_yaml_does_not_grant_is_not_run(stub: Stub) -> None:
    stub.entry["environments"] = ["staging"]
    with pytest.raises(HostError, match="the program stub is not there for production; add it under engines"):
        driver.observe(stub.site, "production")
    with pytest.raises(HostError, match="the program other is not there for production"):
        driver.observe(replace(stub.site, options={"program": "other"}), "production")
    with pytest.raises(HostError, match="which program runs this environment is not known"):
        driver.observe(replace(stub.site, options={}), "production")
    assert not (stub.folder / "calls").exists()


def test_a_program_that_is_not_there_is_trouble_of_the_host(stub: Stub, work: Workload) -> None:
    stub.entry["argv"] = ["/no/such/program"]
    with pytest.raises(HostError, match="/no/such/program: command not found"):
        driver.observe(stub.site, "production")
    with pytest.raises(HostError, match="/no/such/program: command not found"):
        driver.apply(stub.site, CAUSE, work, 2)


def test_releases_are_kept_renamed_and_cleared_away(stub: Stub, work: Workload, archives: Path) -> None:
    old, new = work, newer(work, archives)
    assert "nothing complete is kept" in driver.restorable(stub.site, old)
    for one in (old, new):
        driver.prepare(stub.site, one, "HEAD")
        assert driver.restorable(stub.site, one) == ""
    driver.apply(stub.site, CAUSE, old, 2)
    driver.tidy(stub.site, "production", "api", frozenset({str(new.target)}))
    assert driver.restorable(stub.site, old) == ""  # it runs
    driver.restore(stub.site, CAUSE, new, environment="production", service="api")
    driver.tidy(stub.site, "production", "api", frozenset({str(new.target)}))
    assert not directory_of(stub.site, old).exists()
    driver.rename(stub.site, "production", "live")
    seen = driver.observe(stub.site, "live")
    assert [str(one.target.version) for one in seen["api"].instances] == ["1.1.0", "1.1.0"]
    assert stub.calls("observe")[-1]["where"]["names"] == ["live", "production"]


def test_an_image_is_the_engines_to_fetch(stub: Stub, work: Workload) -> None:
    image = "registry.example/api@sha256:" + "0" * 64
    release = replace(work.release, artifact=replace(work.release.artifact, archive=None, image=image))
    of_image = replace(work, release=release)
    driver.prepare(stub.site, of_image, "HEAD")
    assert driver.restorable(stub.site, of_image) == ""
    driver.apply(stub.site, CAUSE, of_image, 2)
    [call] = stub.calls("apply")
    assert (call["work"]["image"], call["work"]["directory"]) == (image, None)


def test_instances_are_probed_where_the_environment_says(stub: Stub, work: Workload) -> None:
    first, second = driver.endpoints(stub.site, work)
    assert (first.port, first.values["host"], second.port) == (8080, "10.0.0.5", 8081)
    assert driver.foreign_listener(stub.site, work, first) == ""
    with pytest.raises(HostError, match="runs no commands of a release"):
        driver.surroundings(stub.site, work)
    assert DRIVERS["command"] is driver


@pytest.mark.shows("command", "blue-green")
def test_side_by_side_each_is_probed_where_the_program_says_until_one_is_settled(
    plain: tuple[Site, Path], archives: Path
) -> None:
    site, (old, new) = plain[0], two(archives)
    side = replace(new, strategy="blue-green")
    for one in (old, side):
        driver.prepare(site, one, "HEAD")
        driver.preflight(site, one)
        driver.apply(site, CAUSE, one, 1)
    assert driver.observe(site, "production")["api"].targets == {old.target, new.target}
    [before], [after] = driver.endpoints(site, old), driver.endpoints(site, side)
    for endpoint, version in ((before, "1.0.0"), (after, "1.1.0")):
        assert endpoint.values["port"] == str(endpoint.port)
        wait_until(lambda at=endpoint: answered(at.port or 0))  # type: ignore[misc]  # bound now
        assert answered(endpoint.port or 0) == version
    driver.settle(site, side)
    assert driver.observe(site, "production")["api"].running == new.target
    assert answered(after.port or 0) == "1.1.0"
    driver.settle(site, side)
    driver.restore(site, CAUSE, None, environment="production", service="api")


def test_a_program_that_cannot_do_blue_green_is_not_asked_for_it(stub: Stub, work: Workload) -> None:
    side = replace(work, strategy="blue-green")
    with pytest.raises(HostError, match=r"the program \w+ does not have two versions beside each other"):
        driver.preflight(stub.site, side)
    driver.settle(stub.site, side)
    assert stub.calls("settle") == []


def test_an_instance_that_the_program_does_not_place_is_not_probed(stub: Stub, work: Workload) -> None:
    side = replace(work, strategy="blue-green")
    seen = {"labels": labels(work, 0, stub.site), "state": "running", "host": "10.0.0.9", "port": 31000}
    stub.how(observe={"answer": {"settles": True, "instances": [seen]}})
    [endpoint] = driver.endpoints(stub.site, side)
    assert (endpoint.index, endpoint.port, endpoint.values["host"]) == (0, 31000, "10.0.0.9")


# the check


@pytest.fixture
def plain(site: Site, tmp_path: Path) -> tuple[Site, Path]:
    """The worked example of the page, on a root of its own."""
    path = tmp_path / "plain"
    path.write_text(example())
    (tmp_path / "root").mkdir()
    entry = {"argv": [sys.executable, "-IS", str(path), str(tmp_path / "root")]}
    return replace(site, options={"program": "plain"}, engine={"programs": {"plain": entry}}), path


def checked(site: Site, name: str, *works: Workload) -> list[str]:
    """The rules that it breaks."""
    prepared = [replace(work, environment=conformance.ENVIRONMENT) for work in works]
    for work in prepared:
        driver.prepare(site, work, "HEAD")
    both = (prepared[0], prepared[1]) if works else None
    found = conformance.check(granted(site, name, None), site, both)
    return [f"{one.rule}: {one.trouble}" for one in found if one.trouble]


def two(archives: Path) -> tuple[Workload, Workload]:
    port = free_port()
    old, new = (work_for(build_archive(archives, one), one, port=port) for one in ("1.0.0", "1.1.0"))
    return old, new


def test_the_example_of_the_page_keeps_to_the_contract(plain: tuple[Site, Path], archives: Path) -> None:
    assert checked(plain[0], "plain", *two(archives)) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong", "broken"),
    [
        ('"contract": 1', '"contract": 7', "it observes: "),
        (
            "call = json.load(sys.stdin)",
            'call = json.load(sys.stdin)\nassert "later" not in call',
            "it ignores keys",
        ),
        ('[call["action"]](call)', '.get(call["action"], lambda call: {})(call)', "it refuses an action"),
        (
            "                    is_so = True\n",
            '                    stop(path, labels, work["stop_grace_s"])\n',
            "apply said twice",
        ),
        (
            '            if int(labels["ugs.index"]) >= upto:\n                stop',
            "            if False:\n                stop",
            "restore without work",
        ),
        (' or not call.get("beside"):', " or True:", "apply beside leaves the former one alone"),
        (
            '"port": port, "drift"',
            '"drift"',
            "apply beside leaves the former one alone: both versions are said",
        ),
        ('["ugs.target"] not in wanted', '["ugs.target"] == 0', "settle ends what ran beside"),
    ],
)
def test_a_program_that_breaks_a_rule_is_found_out(
    plain: tuple[Site, Path],
    archives: Path,
    right: str,
    wrong: str,
    broken: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "APPEAR_TIMEOUT_S", 0.0)
    site, path = plain
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong))
    found = checked(site, "plain", *two(archives))
    path.write_text(text)  # what it left is ended by one that can
    driver.restore(site, CAUSE, None, environment=conformance.ENVIRONMENT, service="api")
    assert found[0].startswith(broken), found


def test_the_check_touches_nothing_that_runs_already(plain: tuple[Site, Path], archives: Path) -> None:
    site, (old, new) = plain[0], two(archives)
    work = replace(old, environment=conformance.ENVIRONMENT)
    driver.prepare(site, work, "HEAD")
    driver.apply(site, CAUSE, work, 1)
    with pytest.raises(HostError, match="something runs in the environment ugs-check already"):
        checked(site, "plain", old, new)
    driver.restore(site, CAUSE, None, environment=conformance.ENVIRONMENT, service="api")
