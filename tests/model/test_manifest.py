"""Manifests to typed models, and what no schema can say: each finding with its line and its remedy."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.model import findings
from reconciler.model.document import Document, read
from reconciler.model.engines import ENGINES
from reconciler.model.environment import Freeze, Pin, Policy, Window
from reconciler.model.errors import InputError, Place
from reconciler.model.manifest import parse_release
from reconciler.model.misfits import misfits
from reconciler.model.parts import Part, merge, parse_environment, parse_part
from reconciler.model.release import (
    Archive,
    ConfigFile,
    Container,
    Limit,
    Mount,
    Probe,
    Scalar,
    SecretName,
    Upgrading,
    Withdrawn,
)
from reconciler.model.version import Version

RELEASE = """\
service: api
version: "1.5.0"
artifact:
  archive: {url: "https://a.example/api.tgz", sha256: "%s"}
run:
  command: ["bin/api", "--port", "{port}"]
  port: 8080
  environment: {LOG_LEVEL: info, DB_PASSWORD: {secret: db-password}}
  stop_grace: 5s
config:
  - {path: etc/api.toml, values: {workers: 4, ratio: 0.5, debug: false, name: null}}
requires: {database: ">=14.2 <16"}
upgrade: {from: ">=1.3.0", urgency: emergency, reversible: false, barrier: true}
strategy: stop-start
health:
  soak: 30s
  deadline: 3m
  probes:
    - {http: "http://127.0.0.1:{port}/healthz", expect: {status: 200}, interval: 1s, timeout: 900ms, failures: 3}
    - {http: "http://127.0.0.1:{port}/version", expect: {json: {version: "{version}"}}}
    - {tcp: "127.0.0.1:{port}"}
    - {command: ["bin/selftest"]}
withdrawn: {reason: "loses orders", since: 2026-11-02}
notes: |
  What changed.
""" % ("0" * 64)
ENVIRONMENT = """\
environment: production
timezone: Europe/Berlin
driver: {kind: process}
windows:
  major: [{cron: "0 2 * 1,4,7,10 6#1", duration: 4h}]
  patch: always
freezes:
  - {from: 2026-12-20, until: 2027-01-02, reason: "year end", except: [emergency]}
  - {cron: "0 12 * * 5", duration: 12h, reason: "Friday"}
policy: {revert: off, parallel: 2, rollback_within: 3d}
pins:
  api: "1.5.0"
  web: {version: "2.1.0", instances: 3, port: 9000, strategy: blue-green, config: {b: 1, a: x}, allow_downgrade: true}
"""


def document(text: str, file: str) -> Document:
    return read(text.encode(), file)


def release_problems(text: str, file: str = "releases/api/1.5.0.yaml") -> list[str]:
    with pytest.raises(InputError) as caught:
        parse_release(document(text, file))
    return [str(problem).removeprefix(f"{file}:") for problem in caught.value.problems]


def part_problems(text: str, file: str = "environments/production.yaml") -> list[str]:
    with pytest.raises(InputError) as caught:
        parse_part(document(text, file))
    return [str(problem).removeprefix(f"{file}:") for problem in caught.value.problems]


def edited(text: str, before: str, after: str) -> str:
    assert text.count(before) == 1
    return text.replace(before, after)


# Releases


def test_a_release_is_read_with_all_it_says() -> None:
    release = parse_release(document(RELEASE, "releases/api/1.5.0.yaml"))
    assert (release.service, release.version) == ("api", Version("1.5.0"))
    assert release.place == Place("releases/api/1.5.0.yaml", 1, 1)
    assert release.artifact.archive == Archive("https://a.example/api.tgz", "0" * 64)
    assert release.run is not None
    assert release.run.command == ("bin/api", "--port", "{port}")
    assert release.run.environment == {"LOG_LEVEL": "info", "DB_PASSWORD": SecretName("db-password")}
    assert release.run.stop_grace_s == 5.0
    values: dict[str, Scalar] = {"workers": 4, "ratio": 0.5, "debug": False, "name": None}
    assert release.config == (ConfigFile("etc/api.toml", values),)
    assert release.requires == {"database": ">=14.2 <16"}
    assert release.upgrade == Upgrading(">=1.3.0", "emergency", reversible=False, barrier=True)
    assert (release.health.soak_s, release.health.deadline_s) == (30.0, 180.0)
    assert release.health.probes == (
        Probe(
            http="http://127.0.0.1:{port}/healthz",
            expect_status=200,
            interval_s=1.0,
            timeout_s=0.9,
            failures=3,
        ),
        Probe(http="http://127.0.0.1:{port}/version", expect_json={"version": "{version}"}),
        Probe(tcp="127.0.0.1:{port}"),
        Probe(command=("bin/selftest",)),
    )
    assert release.withdrawn == Withdrawn("loses orders", "2026-11-02")
    assert release.notes == "What changed.\n"


def test_what_a_release_does_not_say_has_its_default() -> None:
    least = RELEASE[: RELEASE.index("  port: 8080")]
    release = parse_release(document(least, "releases/api/1.5.0.yaml"))
    assert release.run is not None
    assert (release.run.port, release.run.socket, release.run.stop_grace_s) == (None, "none", 10.0)
    assert (release.health.soak_s, release.health.deadline_s, release.health.probes) == (10.0, 120.0, ())


def test_what_releases_say_alike_is_one_value_for_all_of_them() -> None:
    text = edited(RELEASE, 'version: "1.5.0"', 'version: "1.6.0"')
    first = parse_release(document(RELEASE, "releases/api/1.5.0.yaml"))
    second = parse_release(document(text, "releases/api/1.6.0.yaml"))
    assert second.health is first.health
    assert second.run is first.run
    other = parse_release(document(edited(text, "soak: 30s", "soak: 31s"), "releases/api/1.6.0.yaml"))
    assert (other.health.soak_s, other.health.probes) == (31.0, first.health.probes)


def test_of_what_releases_say_only_so_much_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "RIGHT_MAX", 10)
    for number in range(2, 40):
        parse_release(document(edited(RELEASE, "soak: 30s", f"soak: {number}s"), "releases/api/1.5.0.yaml"))
        assert len(findings._right) <= 10
    large = edited(RELEASE, "LOG_LEVEL: info", f"LOG_LEVEL: {'x' * findings.RIGHT_BYTES_MAX}")
    first, second = (parse_release(document(large, "releases/api/1.5.0.yaml")) for _ in range(2))
    assert first.run == second.run
    assert first.run is not second.run


def test_what_is_wrong_is_found_in_each_release_at_its_own_place() -> None:
    wrong = edited(RELEASE, "soak: 30s", "soak: 5m")
    for number, text in enumerate((wrong, f"# one line more\n{wrong}", wrong)):
        [problem] = release_problems(text)
        line = wrong[: wrong.index("health:")].count("\n") + 2 + number % 2
        assert problem.startswith(f"{line}:3: health: the deadline is not longer than the soak"), problem


def test_a_release_may_be_a_dead_end_and_says_why() -> None:
    text = edited(RELEASE, "barrier: true", 'dead_end: "replaced by shop"')
    assert parse_release(document(text, "releases/api/1.5.0.yaml")).upgrade.dead_end == "replaced by shop"


def test_blue_green_and_paths_in_the_repository_are_fine() -> None:
    text = edited(RELEASE, "strategy: stop-start", "strategy: blue-green")
    text = edited(text, "  port: 8080", "  port: 8080\n  socket: pass")
    text = edited(text, "https://a.example/api.tgz", "releases/api/archives/api-1.5.0.tgz")
    assert parse_release(document(text, "releases/api/1.5.0.yaml")).strategy == "blue-green"


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ('version: "1.5.0"', "version: 1.5.0", '2:10: version: versions must be quoted; write "1.5.0"'),
        (
            'version: "1.5.0"',
            'version: "1.5"',
            "2:10: version: '1.5' is not a SemVer 2.0 version such as 1.4.2;",
        ),
        ('version: "1.5.0"', 'version: "v1.5.0"', "2:10: version: 'v1.5.0' is not a SemVer 2.0 version"),
        (
            'version: "1.5.0"',
            f'version: "{"9" * 99}.0.0"',
            "2:10: version: this is too long; at most 100 are",
        ),
        (
            "service: api",
            "service: web",
            "1:10: service: this is not what the file's path says; move it to releases/web/",
        ),
        (
            '"https://a.example/api.tgz"',
            "../api.tgz",
            "4:18: artifact.archive.url: this is neither an https: or file:",
        ),
        (
            '"https://a.example/api.tgz"',
            "/srv/api.tgz",
            "4:18: artifact.archive.url: this is neither an https: or",
        ),
        (
            '"https://a.example/api.tgz"',
            "'ftp://a/b'",
            "4:18: artifact.archive.url: this is neither an https: or file:",
        ),
        (
            '"%s"' % ("0" * 64),
            '"%s"' % ("A" * 64),
            "4:55: artifact.archive.sha256: this is not a SHA-256 digest (64 lower",
        ),
        (
            "port: 8080",
            "port: 8080.0",
            "7:9: run.port: this must be a whole number; write it without a decimal point",
        ),
        (
            "path: etc/api.toml",
            "path: ../../etc/passwd",
            "11:12: config[0].path: this is not a path inside the release",
        ),
        (
            "path: etc/api.toml",
            "path: /etc/passwd",
            "11:12: config[0].path: this is not a path inside the release",
        ),
        (">=14.2 <16", "not a range", "12:22: requires.database: "),
        (">=1.3.0", "about 1.3", "13:17: upgrade.from: "),
        ("barrier: true", "barrier: yes", "13:76: upgrade.barrier: expected true or false, found text"),
        (
            "barrier: true",
            'barrier: true, dead_end: "old"',
            "13:92: upgrade.dead_end: nobody could go on from a barrier that is a dead end; remove it, or",
        ),
        ("barrier: true", 'dead_end: ""', "13:77: upgrade.dead_end: this must not be empty; fill it, or"),
        ("barrier: true", "dead_end: true", "13:77: upgrade.dead_end: expected text, found true or"),
        (
            "strategy: stop-start",
            "strategy: {pause: 1m}",
            "14:11: strategy: a strategy is either `rolling` or `canary`; write for example {canary: [1, 50%], ",
        ),
        (
            "soak: 30s",
            "soak: 3m",
            "16:3: health: the deadline is not longer than the soak; raise `deadline` or lower",
        ),
        (
            "deadline: 3m",
            "deadline: 0s",
            "16:3: health: the deadline is not longer than the soak",
        ),
        ("soak: 30s", "soak: 99999999d", "16:9: health.soak: a duration is at most 366d; correct it"),
        (
            "interval: 1s",
            "interval: 0s",
            "19:82: health.probes[0].interval: this must be longer than nothing;",
        ),
        (
            '{tcp: "127.0.0.1:{port}"}',
            "{prometheus: up}",
            '21:7: health.probes[2]: this probe has no limit; add for example `at_most: "1.5x baseline"`',
        ),
        (
            '{tcp: "127.0.0.1:{port}"}',
            '{tcp: "a:1", at_most: 2}',
            "21:29: health.probes[2].at_most: only prometheus and performance probes have a limit; remove it",
        ),
        (
            '{tcp: "127.0.0.1:{port}"}',
            '{performance: latency, at_most: "1.5 baseline"}',
            '21:39: health.probes[2].at_most: this is not a limit; write for example "1.5x baseline"',
        ),
        (
            '{tcp: "127.0.0.1:{port}"}',
            "{performance: speed, at_most: 2}",
            "21:21: health.probes[2].performance: this value is unknown; write latency or errors or memory or cpu",
        ),
        (
            "timeout: 900ms",
            "timeout: 1h",
            "19:95: health.probes[0].timeout: this is longer than the deadline; shorten",
        ),
        (
            '{tcp: "127.0.0.1:{port}"}',
            '{tcp: "a:1", http: "http://a/"}',
            "21:7: health.probes[2]: a probe is exactly one of",
        ),
        (
            '{tcp: "127.0.0.1:{port}"}',
            "{failures: 2}",
            "21:7: health.probes[2]: a probe is exactly one of http, tcp, command, prometheus and performance;",
        ),
        (
            '{tcp: "127.0.0.1:{port}"}',
            '{tcp: "a:1", expect: {status: 200}}',
            "21:28: health.probes[2].expect: only an http",
        ),
        (
            '{tcp: "127.0.0.1:{port}"}',
            '{http: "http://127.0.0.1:{port}/version"}',
            "21:7: health.probes[2]: an earlier probe asks the same; expect all of its answer in one",
        ),
        (
            "since: 2026-11-02",
            "since: 2026-13-02",
            "23:44: withdrawn.since: month must be in 1..12; correct it",
        ),
    ],
)
def test_what_is_wrong_in_a_release_is_told_with_its_place(before: str, after: str, problem: str) -> None:
    said = release_problems(edited(RELEASE, before, after))
    assert any(line.startswith(problem) for line in said), said


def test_a_config_key_that_two_files_declare_has_one_value() -> None:
    second = "\n  - {path: etc/b.toml, values: {workers: %s}}\nrequires"
    same = edited(RELEASE, "\nrequires", second % "4")
    assert len(parse_release(document(same, "releases/api/1.5.0.yaml")).config) == 2
    (said,) = release_problems(edited(RELEASE, "\nrequires", second % '"4"'))
    assert said.startswith(
        "12:42: config[1].values.workers: another file declares this key with another value;"
    )


def test_everything_wrong_is_told_at_once_in_the_order_of_the_file() -> None:
    text = edited(edited(RELEASE, '"1.5.0"', "1.5.0"), ">=1.3.0", "?")
    assert [line.split(" ")[1] for line in release_problems(edited(text, "soak: 30s", "soak: 9m"))] == [
        "version:",
        "upgrade.from:",
        "health:",
    ]


# Environments


def test_an_environment_is_read_with_all_it_says() -> None:
    environment = parse_environment([document(ENVIRONMENT, "environments/production.yaml")])
    assert environment.name == "production"
    assert environment.driver.kind == "process"
    assert environment.timezone == "Europe/Berlin"
    assert environment.windows == {"major": (Window("0 2 * 1,4,7,10 6#1", 14_400.0),), "patch": None}
    assert environment.freezes == (
        Freeze("year end", from_="2026-12-20", until="2027-01-02", except_=("emergency",)),
        Freeze("Friday", cron="0 12 * * 5", duration_s=43_200.0),
    )
    assert environment.policy == Policy("off", 2, 259_200.0)
    api, web = environment.pins["api"], environment.pins["web"]
    assert (api.version, api.instances, api.port, api.place.line) == (Version("1.5.0"), 1, None, 12)
    assert (web.version, web.instances, web.port, web.strategy) == (Version("2.1.0"), 3, 9000, "blue-green")
    assert (web.config, web.allow_downgrade) == ({"b": 1, "a": "x"}, True)
    assert web.place == Place("environments/production.yaml", 13, 8)


def test_how_two_day_fields_go_together_is_said_on_a_window_and_on_a_freeze() -> None:
    window = edited(
        ENVIRONMENT, '"0 2 * 1,4,7,10 6#1", duration: 4h', '"0 2 8-14 * 6", duration: 4h, days: both'
    )
    text = edited(window, '"0 12 * * 5"', '"0 12 24,31 * 5", days: either')
    environment = parse_environment([document(text, "environments/production.yaml")])
    assert environment.windows["major"] == (Window("0 2 8-14 * 6", 14_400.0, "both"),)
    assert environment.freezes[1] == Freeze(
        "Friday", cron="0 12 24,31 * 5", duration_s=43_200.0, days="either"
    )


def test_manual_needs_no_time_zone() -> None:
    text = "environment: demo\ndriver: {kind: process}\nwindows: {major: manual, minor: always}\n"
    environment = parse_environment([document(text, "environments/demo.yaml")])
    assert environment.windows == {"major": "manual", "minor": None}


def test_who_must_approve_is_read_class_by_class() -> None:
    text = "environment: demo\ndriver: {kind: process}\npolicy: {approvals: {major: 2, config: 0}, four_eyes: true}\n"
    policy = parse_environment([document(text, "environments/demo.yaml")]).policy
    assert (policy.approvals, policy.four_eyes) == ({"major": 2, "config": 0}, True)
    with pytest.raises(InputError, match=r"policy\.approvals: this must be a whole number"):
        parse_environment([document(text.replace("2,", "2.0,"), "environments/demo.yaml")])
    with pytest.raises(InputError, match=r"policy\.approvals\.emergency: this key is unknown"):
        parse_environment([document(text.replace("config", "emergency"), "environments/demo.yaml")])


def test_an_environment_without_windows_needs_no_time_zone() -> None:
    text = "environment: demo\ndriver: {kind: process}\nwindows: {patch: always}\n"
    environment = parse_environment([document(text, "environments/demo.yaml")])
    assert (environment.timezone, environment.pins) == (None, {})


def test_the_raw_pin_is_kept_as_canonical_json() -> None:
    part = parse_part(document(ENVIRONMENT, "environments/production.yaml"))
    assert part.nodes == {
        "api": '"1.5.0"',
        "web": '{"allow_downgrade":true,"config":{"a":"x","b":1},"instances":3,"port":9000,'
        '"strategy":"blue-green","version":"2.1.0"}',
    }


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (
            "environment: production",
            "environment: staging",
            "1:14: environment: this is not what the file's path says;",
        ),
        (
            "timezone: Europe/Berlin\n",
            "",
            "4:10: windows.major: a window or a freeze needs a time zone; add for example",
        ),
        (
            "timezone: Europe/Berlin",
            "timezone: Mars/Base",
            "2:11: timezone: unknown time zone 'Mars/Base'; write one",
        ),
        (
            "0 2 * 1,4,7,10 6#1",
            "* 22-22 * * *",
            "5:18: windows.major[0].cron: hour '22-22': a range must go up; write",
        ),
        ("0 2 * 1,4,7,10 6#1", "0 0 30 2 *", "5:18: windows.major[0].cron: "),
        (
            "0 2 * 1,4,7,10 6#1",
            "0 2 13 * 5",
            "5:18: windows.major[0].cron: '0 2 13 * 5' restricts both day of month and day of week, which cron "
            "joins with OR; make one of them `*`, or add `days: either` if that is meant,",
        ),
        (
            "duration: 4h}",
            "duration: 4h, days: both}",
            "5:18: windows.major[0].cron: `days: both` says nothing where '0 2 * 1,4,7,10 6#1' has every day of",
        ),
        (
            "duration: 4h}",
            "duration: 4h, days: or}",
            "5:60: windows.major[0].days: this value is unknown; write either or both",
        ),
        ("from: 2026-12-20", "from: 2026-12-20, days: both", "8:5: freezes[0]: a freeze has either"),
        ("duration: 12h", "duration: 12h, days: both", "9:5: freezes[1]: `days: both` says nothing where"),
        (
            "duration: 4h",
            "duration: 0s",
            "5:50: windows.major[0].duration: this must be longer than nothing; write",
        ),
        (
            "until: 2027-01-02, ",
            "",
            "8:5: freezes[0]: a freeze has either `from` and `until`, or `cron` and `duration`;",
        ),
        (
            "until: 2027-01-02",
            "until: 2026-01-02",
            "8:5: freezes[0]: the freeze ends on 2026-01-02, before it begins on",
        ),
        ("from: 2026-12-20", "from: 2026-12-20, cron: '0 1 * * *'", "8:5: freezes[0]: a freeze has either"),
        ("from: 2026-12-20", "from: 2026-02-30", "8:5: freezes[0]: "),
        ("0 12 * * 5", "R R * * *", "9:5: freezes[1]: "),
        ("duration: 12h", "duration: 999d", "9:36: freezes[1].duration: a duration is at most 366d"),
        ('api: "1.5.0"', "api: 1.5.0", '12:8: pins.api: versions must be quoted; write "1.5.0"'),
        ('api: "1.5.0"', "api: 1\t.5.0", '12:8: pins.api: versions must be quoted; write "1.5.0"'),
        (
            'version: "2.1.0"',
            "version: 2.1.0",
            '13:18: pins.web.version: versions must be quoted; write "2.1.0"',
        ),
        (
            "port: 9000",
            "port: 65534",
            "13:8: pins.web: the last instance's port would be above 65535; lower `port`",
        ),
    ],
)
def test_what_is_wrong_in_an_environment_is_told_with_its_place(
    before: str, after: str, problem: str
) -> None:
    said = part_problems(edited(ENVIRONMENT, before, after))
    assert any(line.startswith(problem) for line in said), said


def test_freezes_alone_need_a_time_zone_too() -> None:
    text = "environment: p\ndriver: {kind: process}\nfreezes: [{from: 2026-01-01, until: 2026-01-02, reason: x}]\n"
    (said,) = part_problems(text, "environments/p.yaml")
    assert said.startswith(
        "3:11: freezes[0]: a window or a freeze needs a time zone; add for example `timezone:"
    )


def test_a_decimal_where_a_whole_number_belongs_is_refused_in_its_place() -> None:
    (said,) = part_problems(edited(ENVIRONMENT, "port: 9000", "port: 9000.0"))
    assert said.startswith("13:47: pins.web.port: this must be a whole number;")


# A folder of files


MAIN = document(
    "environment: p\ndriver: {kind: process}\npins: {db: '14.2.0'}\n", "environments/p/environment.yaml"
)
API = document("pins:\n  api: '1.5.0'\n", "environments/p/api.yaml")


def test_a_folders_files_make_one_environment() -> None:
    web = document("environment: p\npins: {web: {version: '2.0.0'}}\n", "environments/p/web.yaml")
    environment = parse_environment([web, API, MAIN])
    assert list(environment.pins) == ["api", "db", "web"]
    assert environment.pins["api"].place == Place("environments/p/api.yaml", 2, 8)


def test_a_file_of_pins_holds_nothing_else_and_names_its_own_environment() -> None:
    said = part_problems("pins: {}\nwindows: {}\n", "environments/p/api.yaml")
    assert said == ["2:1: windows: this key is unknown; known here: environment, pins"]
    (said_name,) = part_problems("environment: q\npins: {}\n", "environments/p/api.yaml")
    assert said_name.endswith("write `environment: p`, or move the file")


def test_a_pin_that_stands_twice_names_both_places() -> None:
    other = document("pins:\n\n  api: '1.6.0'\n", "environments/p/other.yaml")
    with pytest.raises(InputError) as caught:
        parse_environment([MAIN, other, API])
    assert str(caught.value) == (
        "environments/p/other.yaml:3:8: pins.api: api is pinned here and in environments/p/api.yaml:2:8; "
        "remove one of the two"
    )


def test_a_file_and_a_folder_for_one_environment_are_refused_and_both_named() -> None:
    single = document("environment: p\ndriver: {kind: process}\n", "environments/p.yaml")
    with pytest.raises(InputError) as caught:
        parse_environment([MAIN, single])
    assert "both environments/p.yaml and environments/p/environment.yaml describe this" in str(caught.value)


def test_a_folder_without_environment_yaml_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"environments/p/environment\.yaml:1:1: this file is missing; add it"
    ):
        parse_environment([API])


def test_pins_of_an_older_file_count_only_where_no_current_one_pins_the_service() -> None:
    def part(text: str, file: str) -> Part:
        return parse_part(document(text, f"environments/p/{file}"))

    main = parse_part(MAIN)
    stale = part("pins: {api: '1.4.0', web: '1.0.0'}\n", "all.yaml")
    merged = merge([main, parse_part(API)], [stale])
    assert merged.environment is not None
    assert {name: str(pin.version) for name, pin in merged.environment.pins.items()} == {
        "api": "1.5.0",
        "db": "14.2.0",
        "web": "1.0.0",
    }
    assert merged.nodes["web"] == '"1.0.0"'
    assert not merged.problems


IMAGE = f"registry.example/api@sha256:{'a' * 64}"
IN_A_CONTAINER = f"""\
service: api
version: "1.5.0"
artifact: {{image: "{IMAGE}"}}
run:
  port: 8080
  container:
    publish: host
    mounts:
      - {{volume: data, at: /data}}
      - {{path: /srv/x, at: /x, read_only: true}}
    tmpfs: {{/tmp: 64MiB}}
"""


def test_a_service_that_wants_its_sockets_is_not_for_a_program_of_ones_own() -> None:
    text = RELEASE.replace("  port: 8080", "  port: 8080\n  socket: pass").partition("health:")[0]
    one = parse_release(document(text, "releases/api/1.5.0.yaml"))
    pin = Pin("api", Version("1.5.0"), Place("environments/production.yaml", 3, 8), strategy="blue-green")
    said = [problem.message for problem in misfits(pin, one, {}, "command")]
    assert "release 1.5.0 wants to be handed its sockets, which the driver command does not do" in said
    assert misfits(pin, one, {}, "systemd") == misfits(pin, one, {}, "process") == []


def test_a_container_is_read_with_all_it_says() -> None:
    run = parse_release(document(IN_A_CONTAINER, "releases/api/1.5.0.yaml")).run
    assert run is not None
    assert run.container == Container(
        publish="host",
        mounts=(Mount("/data", volume="data"), Mount("/x", path="/srv/x", read_only=True)),
        tmpfs={"/tmp": "64MiB"},
    )


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("{volume: data, at: /data}", "{at: /data}", "9:9: run.container.mounts[0]: a mount is either"),
        ("{volume: data,", "{volume: data, path: /y,", "9:9: run.container.mounts[0]: a mount is either"),
        (
            f'{{image: "{IMAGE}"}}',
            f"{{archive: {{url: a.tar, sha256: {'a' * 64}}}}}",
            "7:5: run.container: only an image runs in a container",
        ),
        ("port: 8080", "port: 8080\n  privileged: true", "6:3: run.privileged: this key is unknown"),
        ("publish: host", "privileged: true", "7:5: run.container.privileged: this key is unknown"),
        (
            "publish: host",
            'networks: ["container:x"]',
            "7:16: run.container.networks[0]: this is not the name",
        ),
        (
            "publish: host",
            "labels: {ugs.site: x}",
            "7:14: run.container.labels.ugs.site: this is not",
        ),
    ],
)
def test_what_is_wrong_in_a_container_is_told_with_its_place(before: str, after: str, problem: str) -> None:
    text = edited(IN_A_CONTAINER, before, after)
    with pytest.raises(InputError) as caught:
        parse_release(document(text, "releases/api/1.5.0.yaml"))
    assert any(str(one).startswith(f"releases/api/1.5.0.yaml:{problem}") for one in caught.value.problems)


def test_two_versions_are_not_published_at_one_port() -> None:
    release = parse_release(document(IN_A_CONTAINER, "releases/api/1.5.0.yaml"))
    pin = Pin("api", Version("1.5.0"), Place("environments/production.yaml", 3, 8), strategy="blue-green")
    for kind in ("docker", "swarm"):
        (problem,) = misfits(pin, release, {}, kind)
        assert "both sides would be published at one port" in problem.message
    assert misfits(replace(pin, strategy="rolling"), release, {}, "docker") == []
    assert misfits(pin, release, {}, "compose") == []  # whose own file says what is published
    assert misfits(pin, release, {}, "kubernetes") == []  # where every pod has an address of its own


@pytest.mark.parametrize(
    ("at_most", "limit"),
    [
        ('"1.5x baseline"', Limit(factor=1.5)),
        ('"2%"', Limit(value=0.02)),
        ("0.25", Limit(value=0.25)),
        ("3", Limit(value=3.0)),
    ],
)
def test_a_limit_is_a_multiple_or_a_number_and_a_query_has_times_of_its_own(
    at_most: str, limit: Limit
) -> None:
    text = edited(RELEASE, '{tcp: "127.0.0.1:{port}"}', f"{{prometheus: up, at_most: {at_most}}}")
    found = parse_release(document(text, "releases/api/1.5.0.yaml")).health
    [probe] = found.measured
    assert probe.at_most == limit
    assert (probe.interval_s, probe.timeout_s, probe.name) == (5.0, 5.0, "prometheus up")
    assert (found.after, found.watch_s) == ("tell", 3600.0)


def test_what_an_engine_cannot_tell_is_no_probe_there() -> None:
    text = edited(RELEASE, '{tcp: "127.0.0.1:{port}"}', '{performance: memory, at_most: "2x baseline"}')
    release = replace(parse_release(document(text, "releases/api/1.5.0.yaml")), migrations=(), backup=None)
    pin = Pin("api", release.version, Place("environments/production.yaml"))
    for kind, engine in ENGINES.items():
        said = [one for one in misfits(pin, release, {}, kind) if "is not known" in one.message]
        assert bool(said) is not engine.measures
        for one in said:
            assert f"what services use is not known of {kind}" in one.message
            assert "ask Prometheus" in one.remedy
    assert not ENGINES["kubernetes"].measures
