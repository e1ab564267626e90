"""`ugs windows` and `ugs windows test`: what is open, when, and for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.model.errors import InputError, UgsError
from tests.cli.calendars import asked, planted, run
from tests.test_docs import json_shapes, same_shape


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return planted(tmp_path)


def by_class(tree: Path, *arguments: str) -> dict[str, Any]:
    (environment,) = asked(tree, "production", *arguments)["environments"]
    return {one["class"]: one for one in environment["classes"]}


def test_everything_is_shown_by_default_and_one_by_name(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    shown = run().stdout
    assert shown.splitlines()[0] == "production, Fri 2026-12-04 13:00 CET"
    assert "\n\nstaging, Fri 2026-12-04 12:00 UTC\n" in shown
    assert run("show", "production").stdout == run("production").stdout
    assert run("show", "test").stdout.startswith("test, ")


def test_each_class_says_whether_it_is_open_and_when(tree: Path) -> None:
    lines = run("production", "--repository", str(tree)).stdout.splitlines()
    cells = {line.split()[0]: line for line in lines[2:10]}
    assert "closed" in cells["major"]
    assert "major changes start only when a person starts them" in cells["major"]
    assert "Sat 2026-12-05 02:00 CET" in cells["minor"]
    assert (
        "frozen until Sat 2026-12-05 00:00 CET: Fridays; outside the freezes it opens Mon" in cells["patch"]
    )
    assert lines[10:] == [
        "frozen until Sat 2026-12-05 00:00 CET: Fridays",
        "next freeze from Sun 2026-12-20 00:00 CET until Sun 2027-01-03 00:00 CET: year end (except emergency)",
    ]


def test_machines_get_the_same_with_offsets(tree: Path) -> None:
    classes = by_class(tree)
    assert classes["minor"] == {
        "class": "minor",
        "open": False,
        "reason": "the minor window opens Sat 2026-12-05 02:00 CET; frozen until Sat 2026-12-05 00:00 CET: Fridays",
        "opens_at": "2026-12-05T02:00:00+01:00",
        "closes_at": "2026-12-05T05:00:00+01:00",
    }
    assert classes["major"]["opens_at"] is None
    answer = asked(tree, "production", "--at", "2026-12-05T00:00:00Z")
    assert [one.pop("except") for one in answer["environments"][0]["freezes"]] == [[], ["emergency"]]
    shape = json_shapes()["windows show"]
    assert shape["environments"][0]["freezes"][0].pop("except") == [None]
    same_shape(shape, answer, "windows show")


def test_another_instant_may_be_asked_about(tree: Path) -> None:
    assert by_class(tree, "--at", "2026-12-05T04:59:59+01:00")["minor"]["open"]
    assert not by_class(tree, "--at", "2026-12-05T04:00:00Z")["minor"]["open"]
    freezes = asked(tree, "production", "--at", "2027-01-03T12:00:00Z")["environments"][0]["freezes"]
    assert [one["reason"] for one in freezes] == ["Fridays"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-12-05T04:59:59", "has no offset from UTC; write for example"),
        ("tomorrow", "is not an instant; write it as RFC 3339 does"),
        ("1989-12-05T04:59:59Z", "is not in the years 2000 to 2200"),
        ("2989-12-05T04:59:59Z", "is not in the years 2000 to 2200"),
    ],
)
def test_an_instant_that_cannot_be_answered_for_is_refused(tree: Path, text: str, message: str) -> None:
    for verb in (("production",), ("test", str(tree / "environments/test.yaml"), "--class", "patch")):
        result = run(*verb, "--at", text)
        assert result.exit_code == 2
        assert message in " ".join(result.output.replace("│", " ").split())


def test_the_ends_of_what_can_be_asked_are_answered(tree: Path) -> None:
    for text in ("2000-01-01T00:00:00+14:00", "2200-12-31T23:59:59-12:00"):
        assert by_class(tree, "--at", text)["minor"]["opens_at"]


def test_an_unknown_environment_names_those_that_there_are(tree: Path) -> None:
    with pytest.raises(UgsError, match="no environment prod; there are production, staging, test"):
        run("prod", "--repository", str(tree))


def test_a_bad_file_is_told_and_hides_no_other(tree: Path) -> None:
    (tree / "environments/test.yaml").write_text("environment: test\n")
    result = run("--repository", str(tree))
    assert result.exit_code == 1
    assert result.stderr == "environments/test.yaml:1:1: the key `driver` is missing; add `driver: ...`\n"
    assert "production, " in result.stdout
    assert run("production", "--repository", str(tree)).exit_code == 0
    with pytest.raises(InputError, match="the key `driver` is missing"):
        run("show", "test", "--repository", str(tree))


# Any file

NIGHTS = """\
environment: production
timezone: Europe/Berlin
driver: {kind: process}
windows: {patch: [{cron: "30 2 * * *", duration: 1h}]}
"""


def test_answers_for_any_file_and_any_instants(tmp_path: Path) -> None:
    file = tmp_path / "somewhere else.yml"
    file.write_text(NIGHTS)
    instants = ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-03-29T01:00:00Z"]
    arguments = [word for text in instants for word in ("--at", text)]
    answer = asked(tmp_path, "test", str(file), "--class", "patch", *arguments)
    assert answer == {
        "results": [
            {
                "at": "2026-10-25T02:30:00+02:00",
                "open": True,
                "reason": "the patch window is open until Sun 2026-10-25 02:30 CET",
                "opens_at": "2026-10-25T02:30:00+02:00",
                "closes_at": "2026-10-25T02:30:00+01:00",
            },
            {
                "at": "2026-10-25T02:30:00+01:00",
                "open": False,
                "reason": "the patch window opens Mon 2026-10-26 02:30 CET",
                "opens_at": "2026-10-26T02:30:00+01:00",
                "closes_at": "2026-10-26T03:30:00+01:00",
            },
            {
                "at": "2026-03-29T01:00:00Z",
                "open": True,
                "reason": "the patch window is open until Sun 2026-03-29 04:00 CEST",
                "opens_at": "2026-03-29T03:00:00+02:00",
                "closes_at": "2026-03-29T04:00:00+02:00",
            },
        ]
    }
    same_shape(json_shapes()["windows test"], answer, "windows test")


def test_people_get_a_table_and_now_by_default(tmp_path: Path) -> None:
    file = tmp_path / "nights.yaml"
    file.write_text(NIGHTS)
    header, line = run("test", str(file), "--class", "patch").stdout.splitlines()
    assert header.split() == ["at", "then", "opens", "closes", "why"]
    assert line.startswith(
        "2026-12-04T12:00:00+00:00  closed  Sat 2026-12-05 02:30 CET  Sat 2026-12-05 03:30 CET"
    )


def test_a_folder_is_an_environment_too(tree: Path) -> None:
    folder = tree / "environments/staging"
    (folder / "broken.yaml").write_text("not: a pin\n")
    (result,) = asked(tree, "test", str(folder), "--class", "emergency")["results"]
    assert result["open"] is True
    assert (result["opens_at"], result["closes_at"]) == (None, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NIGHTS.replace("30 2 *", "30 22-22 *"), r"odd\.yaml:4:26: .*must go up"),
        (NIGHTS.replace("timezone: Europe/Berlin\n", ""), r"odd\.yaml:3:18: .*needs a time zone"),
        (NIGHTS.replace("production", "a/b"), r"odd\.yaml:1:14: environment: this is not a name"),
        (NIGHTS.replace("environment: production\n", ""), r"odd\.yaml:1:1: the key `environment` is missing"),
        (NIGHTS.replace("production", "[]"), r"odd\.yaml:1:14: environment: this is not a name"),
        ("x", r"odd\.yaml:1:1: the file must hold a mapping|does not end in a newline"),
    ],
)
def test_a_file_that_is_wrong_is_told_at_its_own_place(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        run("test", str(file), "--class", "patch")
