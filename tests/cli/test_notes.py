"""`ugs notes`: what an environment got since then, and what lies between two versions of a service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from reconciler.cli.notes import notes
from reconciler.model.errors import UgsError
from tests.cli.pull_request import production, release, repository
from tests.daemon_process import ugs
from tests.git.colleague import Colleague
from tests.test_docs import json_shapes, same_shape

WITHDRAWN = 'withdrawn: {reason: "loses `orders`", since: 2026-11-02}\n'


@pytest.fixture
def ada(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Colleague:
    """Ada stands in her clone; production got api 1.1.0 on the second of November 2035, 1.2.0 on the third."""
    made = repository(tmp_path)
    for day, version in ((2, "1.1.0"), (3, "1.2.0")):
        made.commit(
            release("1.2.0", "", more=WITHDRAWN) | production("timezone: Europe/Berlin\n", api=version),
            f"Bump to {version}",
            environment={"GIT_COMMITTER_DATE": f"2035-11-0{day}T23:30:00+00:00"},
        )
    monkeypatch.chdir(made.folder)
    return made


def run(*arguments: str) -> str:
    """What it prints; raises what it raises."""
    result = CliRunner().invoke(notes, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def versions(*arguments: str) -> list[str]:
    told = json.loads(run(*arguments, "--json"))
    return [release["version"] for service in told["services"] for release in service["releases"]]


def test_what_an_environment_got_since_a_revision(ada: Colleague) -> None:
    assert run("production", "--since", "HEAD~2").splitlines() == [
        "# `production since HEAD~2`",
        "",
        "## `api` `1.0.0` → `1.2.0`",
        "",
        "### `1.2.0` (withdrawn: ``loses `orders` ``)".replace("``loses", "`` loses"),
        "",
        "No notes.",
        "",
        "### `1.1.0`",
        "",
        "> ```text",
        "> Faster.",
        "> Smaller.",
        "> ```",
    ]


def test_machines_get_the_documented_shape(ada: Colleague) -> None:
    assert json.loads(run("production", "--since", "HEAD~1", "--format", "json")) == {
        "environment": "production",
        "from_revision": ada.git("rev-parse", "HEAD~1"),
        "to_revision": ada.git("rev-parse", "HEAD"),
        "services": [
            {
                "service": "api",
                "from": "1.1.0",
                "to": "1.2.0",
                "releases": [{"version": "1.2.0", "notes": "", "withdrawn": "loses `orders`"}],
            }
        ],
    }


@pytest.mark.parametrize(
    ("since", "found"),
    [
        ("2035-11-04", ["1.2.0"]),  # the day begins in Berlin half an hour before the bump to 1.2.0
        ("2035-11-03T00:00:00Z", ["1.2.0"]),
        ("2035-11-03 00:25:00+01:00", ["1.2.0", "1.1.0"]),
        ("2035-11-05", []),
        ("2000-01-01", ["1.2.0"]),  # nothing was there: it is new
    ],
)
def test_a_day_begins_in_the_environments_zone(ada: Colleague, since: str, found: list[str]) -> None:
    assert versions("production", "--since", since) == found


def test_nothing_new_says_so(ada: Colleague) -> None:
    assert run("production", "--since", "HEAD") == "# `production since HEAD`\n\nNothing is new.\n"


def test_one_service_of_an_environment(ada: Colleague) -> None:
    ada.commit(release("1.0.0", "A shop.", service="web") | production(api="1.2.0", web="1.0.0"))
    assert versions("production", "--since", "HEAD~3") == ["1.2.0", "1.1.0", "1.0.0"]
    assert versions("production", "--since", "HEAD~3", "--service", "web") == ["1.0.0"]
    assert "## `web` `1.0.0` (new)" in run("production", "--since", "HEAD~1")


def test_between_two_versions_of_a_service(ada: Colleague) -> None:
    assert versions("--service", "api", "--from", "1.0.0", "--to", "1.1.0") == ["1.1.0"]
    assert versions("--service", "api", "--from", "1.0.0") == ["1.2.0", "1.1.0"]
    back = run("--service", "api", "--from", "1.1.0", "--to", "1.0.0")
    assert back.splitlines()[:3] == ["# `api`", "", "## `api` `1.1.0` → `1.0.0` (back: what it lost)"]


def test_an_older_revision_may_be_asked(ada: Colleague) -> None:
    assert versions("production", "--since", "HEAD~2", "--revision", "HEAD~1") == ["1.1.0"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("nowhere", "--since", "HEAD"),
            "there is no environment nowhere that can be used; there are production",
        ),
        (("production", "--since", "gone"), "'gone' is no commit"),
        (("production", "--since", "2026-02-30"), "2026-02-30 is no date; write 2026-11-02"),
        (("production", "--since", "2026-02-03Tx"), "2026-02-03Tx is no date"),
        (("production", "--since", "2026-02-03T10:00"), "has no offset; write 2026-02-03T10:00Z"),
        (("--service", "db", "--from", "1.0.0"), "there is no release of db; there are api"),
        (("--service", "api", "--from", "one"), "'one' is not a SemVer 2.0 version"),
    ],
)
def test_what_cannot_be_answered_is_told(ada: Colleague, arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(UgsError) as told:
        run(*arguments)
    assert words in str(told.value)


@pytest.mark.parametrize(
    "arguments",
    [(), ("production",), ("--service", "api"), ("production", "--since", "HEAD", "--from", "1.0.0")],
)
def test_half_a_question_is_refused(ada: Colleague, arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(notes, arguments)
    assert result.exit_code == 2
    assert "say ENVIRONMENT --since REV|DATE, or --service NAME --from VERSION" in result.output


def test_a_bare_repository_is_enough(ada: Colleague, tmp_path: Path) -> None:
    ada.push()
    done = ugs(
        "notes",
        "production",
        "--since",
        "main~1",
        "--revision",
        "main",
        "--repository",
        tmp_path / "origin.git",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "## `api` `1.1.0` → `1.2.0`" in done.stdout


def test_the_documented_shape_is_the_one_that_is_printed(ada: Colleague) -> None:
    told = json.loads(run("production", "--since", "HEAD~1", "--json"))
    same_shape(json_shapes()["notes"], told, "notes")
