"""What the schemas refuse is explained in plain words, with the place, the key, and what to write instead."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing.exceptions import Unresolvable

from reconciler.model import schema
from reconciler.model.document import read
from reconciler.model.engines import ENGINES
from reconciler.model.errors import InputError

RELEASE = """\
service: api
version: "1.5.0"
artifact: {archive: {url: "https://a.example/api.tgz", sha256: "%s"}}
run: {command: ["bin/api"]}
""" % ("0" * 64)
ENVIRONMENT = "environment: production\ndriver: {kind: process}\n"
UGS = 'repository: {url: "https://git.example/fleet.git"}\n'
PINS = 'pins: {api: "1.5.0"}\n'
WHOLE: dict[schema.Kind, str] = {"release": RELEASE, "environment": ENVIRONMENT, "ugs": UGS, "pins": PINS}


def explained(text: str, kind: schema.Kind) -> list[str]:
    with pytest.raises(InputError) as caught:
        schema.check(read(text.encode(), "f.yaml"), kind)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("kind", WHOLE)
def test_the_least_that_is_needed_passes(kind: schema.Kind) -> None:
    schema.check(read(WHOLE[kind].encode(), "f.yaml"), kind)


def test_what_ugs_yaml_is_checked_with_is_not_kept_after_it_was_read() -> None:
    kept = (schema._kept_gate, schema._kept_schema)
    for cache in kept:
        cache.cache_clear()
    schema.check(read(UGS.encode(), "ugs.yaml"), "ugs")
    assert [cache.cache_info().currsize for cache in kept] == [0, 0]
    schema.check(read(RELEASE.encode(), "f.yaml"), "release")
    assert [cache.cache_info().currsize for cache in kept] == [1, 1]


@pytest.mark.parametrize("kind", ["release", "environment", "ugs"])
def test_the_published_schemas_are_schemas_whose_examples_and_titles_serve_editors(kind: Any) -> None:
    published = json.loads(schema.text(kind))
    Draft202012Validator.check_schema(published)
    assert published["title"].startswith("UGS")

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            if "pattern" in part:
                assert part["title"].split()[0] in {"a", "an", "the"}, part
                examples = part["examples"]
                assert all(Draft202012Validator(part).is_valid(example) for example in examples), part
            for child in part.values():
                walk(child)

    walk(published)


ADDED: list[tuple[schema.Kind, str, str]] = [
    # Unknown and missing keys
    (
        "release",
        "notse: x",
        "5:1: notse: this key is unknown; did you mean `notes`? known here: artifact, backup,",
    ),
    ("environment", "zzz: x", "3:1: zzz: this key is unknown; known here: driver, environment, flags,"),
    ("pins", "windows: {}", "2:1: windows: this key is unknown; known here: environment, pins"),
    (
        "environment",
        "windows: {minor: [{cron: '0 2 * * 6'}]}",
        "3:19: windows.minor[0]: the key `duration` is",
    ),
    ("ugs", "secrets: {db: {file: x}}", "2:15: secrets.db: the key `services` is missing"),
    # Types
    ("release", "notes: 5", '5:8: notes: expected text, found a whole number; quote it: "5"'),
    ("release", "health: []", "5:9: health: expected a mapping, found a list"),
    ("release", "config: {}", "5:9: config: expected a list, found a mapping; correct it"),
    ("release", "requires:", "5:10: requires: expected a mapping, found nothing"),
    (
        "release",
        "upgrade: {reversible: 1.5}",
        "5:23: upgrade.reversible: expected true or false, found a number",
    ),
    ("environment", "timezone: true", '3:11: timezone: expected text, found true or false; quote it: "true"'),
    (
        "ugs",
        "notify: {slack: {token: xoxb-1}}",
        "2:25: notify.slack.token: expected a mapping, found text; write",
    ),
    # Versions
    ("environment", "pins: {api: 1.10}", '3:13: pins.api: versions must be quoted; write "1.10"'),
    (
        "environment",
        "pins: {api: {version: 2}}",
        '3:23: pins.api.version: versions must be quoted; write "2"',
    ),
    (
        "environment",
        "pins: {api: [1]}",
        '3:13: pins.api: this is not a version in quotes; write for example "1.5.0"',
    ),
    (
        "release",
        "requires: {db: 14.2}",
        '5:16: requires.db: this is not a range of versions; write for example ">=',
    ),
    # Forms
    (
        "release",
        "health: {soak: 30}",
        "5:16: health.soak: this is not a duration such as 500ms, 30s, 5m, 4h or 7d;",
    ),
    (
        "release",
        "health: {soak: soon}",
        "5:16: health.soak: this is not a duration such as 500ms, 30s, 5m, 4h or",
    ),
    (
        "environment",
        "pins: {Api: '1.0.0'}",
        "3:8: pins.Api: this is not a name of lower-case letters, digits and",
    ),
    ("release", "strategy: fast", "5:11: strategy: this value is unknown; write stop-start or blue-green"),
    (
        "environment",
        "windows: {patch: allways}",
        "3:18: windows.patch: this value is unknown; write always or manual",
    ),
    # Sizes
    (
        "environment",
        "policy: {parallel: 0}",
        "3:20: policy.parallel: this number is too small; write 1 or more",
    ),
    (
        "environment",
        "pins: {a: {version: '1', port: 65536}}",
        "3:32: pins.a.port: this number is too large; write",
    ),
    (
        "environment",
        "windows: {patch: []}",
        "3:18: windows.patch: this must not be empty; fill it, or remove the key",
    ),
    ("ugs", "notify: {slack: {token: {}}}", "2:25: notify.slack.token: this must not be empty"),
    ("ugs", f"state: {'x' * 1001}", "2:8: state: this is too long; at most 1000 are allowed"),
]


@pytest.mark.parametrize(("kind", "line", "problem"), ADDED)
def test_what_is_refused_is_explained(kind: schema.Kind, line: str, problem: str) -> None:
    assert any(said.startswith(f"f.yaml:{problem}") for said in explained(f"{WHOLE[kind]}{line}\n", kind))


def test_a_tag_is_no_image_and_no_driver_goes_by_another_name() -> None:
    image = RELEASE.replace("artifact: {archive", "artifact: {image: 'registry.example/api:1.5.0', archive")
    (said,) = explained(image, "release")
    assert said.startswith(
        "f.yaml:3:19: artifact.image: this is not an image with the digest of its manifest; write for example "
    )
    pigeons = ENVIRONMENT.replace("process", "pigeons")
    assert explained(pigeons, "environment") == [
        f"f.yaml:2:16: driver.kind: this value is unknown; write {' or '.join(ENGINES)}"
    ]


def test_all_problems_of_a_file_are_told_in_its_order_and_no_more_than_twenty() -> None:
    said = explained("service: Api\nversoin: 1\nrun: {command: []}\n", "release")
    assert [line.partition("; ")[0] for line in said] == [
        "f.yaml:1:1: the key `artifact` is missing",
        "f.yaml:1:1: the key `version` is missing",
        "f.yaml:1:10: service: this is not a name of lower-case letters, digits and hyphens",
        "f.yaml:2:1: versoin: this key is unknown",
        "f.yaml:3:16: run.command: this must not be empty",
    ]
    many = ENVIRONMENT + "pins: {" + ", ".join(f"S{i}: 1" for i in range(100)) + "}\n"
    assert len(explained(many, "environment")) == schema.PROBLEMS_MAX


def test_a_literal_secret_is_refused_without_repeating_it() -> None:
    for value in ("hunter2-hunter2", "123456789", "'pa55'"):
        said = explained(UGS.replace("}", f", password: {value}}}"), "ugs")
        assert value.strip("'") not in "".join(said)


@pytest.mark.fault("YM-10")
def test_ym10_a_reference_to_elsewhere_is_never_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("a schema was fetched")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(schema, "_schema", lambda _kind: {"$ref": "http://127.0.0.1:9/schema.json"})
    with pytest.raises(Unresolvable):
        list(schema._refusals({}, "ugs"))


@pytest.mark.fault("YM-10")
def test_ym10_explaining_a_hostile_file_ends_soon() -> None:
    many = ENVIRONMENT + "pins:\n" + "".join(f"  S{i}: 1\n" for i in range(5_000))
    started_s = time.process_time()
    assert len(explained(many, "environment")) == schema.PROBLEMS_MAX
    assert time.process_time() - started_s < 5
