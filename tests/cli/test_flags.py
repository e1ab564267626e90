"""`ugs flags`: a switch is one edit and one commit, with its plan; and what is in force is told as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.pull_request import release
from tests.daemon_process import configured, daemon, ugs
from tests.git.colleague import CANDID, git
from tests.test_docs import json_shapes, same_shape
from tests.world import World

PATH = "environments/production.yaml"
ENVIRONMENT = """\
environment: production
driver: {kind: process}
flags:
  # Ask Ada first.
  style: plain     # for now
  checkout:
    rules:
      - when: {email: {ends_with: "@example.org"}}
        value: true
pins:
  api: "1.0.0"
"""
FLAGS = """\
flags:
  checkout: {default: false, live: true, description: One page.}
  style: {default: plain, live: true}
  rate: {default: 0.5, live: true}
  banner: {default: {text: ""}, live: true}
  workers: {default: 4}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "fleet"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for name, text in (release("1.0.0", more=FLAGS) | {PATH: ENVIRONMENT}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Start")
    return folder


def flags(tree: Path, *arguments: str) -> tuple[int, str, str]:
    done = ugs("flags", *arguments, "--repository", tree, environment=CANDID)
    return done.returncode, done.stdout, done.stderr


def checkout(rules: str) -> str:
    return ENVIRONMENT.replace("        value: true\n", f"        value: true\n{rules}")


def test_a_switch_is_one_edit_and_one_commit_with_its_plan(tree: Path) -> None:
    code, out, err = flags(tree, "set", "production", "style", "fancy")
    assert (code, err) == (0, "")
    assert (tree / PATH).read_text() == ENVIRONMENT.replace("plain ", "fancy ")
    assert git(tree, "log", "-1", "--format=%s", "--name-only").split("\n\n") == [
        'Set production flag style to "fancy"',
        PATH,
    ]
    first, _, switch, last = out.splitlines()
    assert first == "before..after: 0 changes, 1 live flag switched; what is pinned is taken to run"
    assert switch == (
        'production: flag style: "plain" → "fancy", as soon as this is in force; nothing is deployed'
    )
    assert (
        last
        == f'{git(tree, "rev-parse", "HEAD")[:12]} {"Set production flag style to"} "fancy"; push it to deploy'
    )


def test_a_flag_that_processes_are_given_is_a_change_of_class_config(tree: Path) -> None:
    code, out, err = flags(tree, "set", "production", "workers", "8", "--branch", "more-workers")
    assert (code, err) == (0, "")
    assert "flags: workers 4 → 8" in out
    assert "config" in out.splitlines()[2]
    assert out.splitlines()[-1].endswith("; push more-workers and merge it to deploy")
    assert "flags:\n  # Ask Ada first.\n  style: plain     # for now\n" in (tree / PATH).read_text()
    assert git(tree, "branch", "--show-current") == "more-workers"


def test_a_percentage_is_a_rule_at_the_end_and_then_another_percentage(tree: Path) -> None:
    assert flags(tree, "set", "production", "checkout", "true", "--percent", "20")[0] == 0
    text = (tree / PATH).read_text()
    assert "# Ask Ada first.\n  style: plain     # for now\n" in text
    code, out, _ = flags(tree, "list", "production", "--json")
    assert code == 0
    [found] = [one for one in json.loads(out)["flags"] if one["flag"] == "checkout"]
    assert [(one["when"] != {}, one["split"]) for one in found["rules"]] == [
        (True, [{"value": True, "percent": 100.0}]),
        (False, [{"value": True, "percent": 20.0}]),
    ]
    assert flags(tree, "set", "production", "checkout", "on", "--percent", "33.5")[0] == 0
    assert (tree / PATH).read_text().count("percent") == 1
    assert "percent: 33.5" in (tree / PATH).read_text()
    assert git(tree, "log", "-1", "--format=%s") == "Set production flag checkout to true for 33.5 %"


def test_a_percentage_of_a_plain_value_leaves_the_others_what_they_had(tree: Path) -> None:
    assert flags(tree, "set", "production", "style", "fancy", "--percent", "10")[0] == 0
    assert (
        'style: {value: "plain", rules: [{value: "fancy", percent: 10}]}     # for now'
        in (tree / PATH).read_text()
    )
    code, _, err = flags(tree, "set", "production", "style", "plain", "--percent", "10")
    assert code == 1
    assert err == (
        'ugs: everybody to whom no rule gives another value gets "plain" already; '
        "set first what the others are to get\n"
    )


def test_for_everybody_it_has_no_rules_any_more_and_unset_it_has_the_default(tree: Path) -> None:
    code, out, _ = flags(tree, "set", "production", "checkout", "true")
    assert code == 0
    assert "flag checkout: false, and otherwise by 1 rule → true" in out
    code, out, _ = flags(tree, "unset", "production", "checkout")
    assert code == 0
    assert "flag checkout: true → false" in out
    assert (tree / PATH).read_text() == ENVIRONMENT.partition("  checkout")[0] + 'pins:\n  api: "1.0.0"\n'
    code, out, _ = flags(tree, "unset", "production", "checkout")
    assert (code, out) == (0, f"{PATH}: checkout stands so already\n")


def test_a_dry_run_shows_the_plan_and_leaves_everything(tree: Path) -> None:
    head = git(tree, "rev-parse", "HEAD")
    code, out, _ = flags(tree, "set", "production", "banner", '{"text": "Sale"}', "--dry-run")
    assert code == 0
    assert out.splitlines()[-1] == f"{PATH} is as it was"
    assert "→ {" in out
    assert ((tree / PATH).read_text(), git(tree, "rev-parse", "HEAD")) == (ENVIRONMENT, head)
    code, out, _ = flags(tree, "set", "production", "rate", "1", "--json", "--dry-run")
    value = json.loads(out)
    assert value.pop("commit") is None
    assert value["flags"] == [
        {
            "environment": "production",
            "flag": "rate",
            "from": {"value": 0.5, "rules": []},
            "to": {"value": 1.0, "rules": []},
        }
    ]


def test_without_a_commit_the_file_is_edited_and_nothing_else(tree: Path) -> None:
    head = git(tree, "rev-parse", "HEAD")
    code, out, _ = flags(tree, "set", "production", "banner", '{"text": "Sale"}', "--no-commit")
    assert (code, git(tree, "rev-parse", "HEAD")) == (0, head)
    assert out.splitlines()[-1] == f"{PATH}: banner is edited, and not committed"
    assert 'banner: {value: {text: "Sale"}}' in (tree / PATH).read_text()
    assert ugs("check", tree).returncode == 0
    code, _, err = flags(tree, "set", "production", "style", "x", "--no-commit", "--branch", "y")
    assert (code, "makes none" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("production", "checkout", "maybe"),
            "maybe: checkout is true or false; write it like its default, false",
        ),
        (("production", "rate", "fast"), "fast: rate is a number"),
        (("production", "workers", "2.5"), "2.5: workers is a whole number"),
        (("production", "banner", "[1]"), "[1]: banner is a mapping"),
        (("production", "banner", "{"), "{: banner is a mapping"),
        (("production", "chekout", "true"), "declares the flag chekout; they declare banner, checkout, rate"),
        (
            ("nowhere", "checkout", "true"),
            "there is no environment nowhere that can be used; there are production",
        ),
        (
            ("production", "workers", "8", "--percent", "5"),
            "flags.workers: api 1.0.0 declares this flag without `live`",
        ),
        (("production", "style", "x" * 201), "flags.style"),
    ],
)
def test_what_cannot_be_is_refused_and_the_file_left_as_it_was(
    tree: Path, arguments: tuple[str, ...], said: str
) -> None:
    code, out, err = flags(tree, "set", *arguments)
    assert (code, out) == (1, "")
    assert said in err
    assert (tree / PATH).read_text() == ENVIRONMENT


def test_the_settings_of_a_folder_stand_in_its_main_file(tree: Path) -> None:
    (tree / "environments/production").mkdir()
    git(tree, "mv", PATH, "environments/production/environment.yaml")
    git(tree, "commit", "--quiet", "--message", "A folder")
    code, _, err = flags(tree, "set", "production", "style", "fancy")
    assert (code, err) == (0, "")
    assert git(tree, "log", "-1", "--name-only", "--format=") == "environments/production/environment.yaml"
    code, _, err = flags(tree, "unset", "nowhere", "style")
    assert (code, "there is no environment nowhere" in err) == (1, True)


@pytest.mark.parametrize(
    ("context", "code", "said"),
    [
        ((), 0, "false (DEFAULT)\n"),
        (("email=ada@example.org",), 0, "true (TARGETING_MATCH)\n"),
        (("email",), 2, ""),
    ],
)
def test_a_tree_tells_what_somebody_would_get(
    tree: Path, context: tuple[str, ...], code: int, said: str
) -> None:
    pairs = [word for pair in context for word in ("--context", pair)]
    found = flags(tree, "evaluate", "production", "checkout", *pairs)
    assert found[:2] == (code, said)


def test_an_error_is_told_with_its_code(tree: Path) -> None:
    flags(tree, "set", "production", "style", "fancy", "--percent", "50")
    code, out, _ = flags(tree, "evaluate", "production", "style")
    assert (code, out.partition(":")[0]) == (1, "TARGETING_KEY_MISSING")
    code, out, _ = flags(tree, "evaluate", "production", "style", "--context", "targetingKey=7", "--json")
    found = json.loads(out)
    assert (code, found["reason"], found["error_code"]) == (0, "SPLIT", None)


def test_a_tree_lists_its_flags(tree: Path) -> None:
    code, out, _ = flags(tree)
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[2] == "production checkout api false, and otherwise by 1 rule false - -"
    assert lines[-1] == "production workers api 4 4 - - given to processes"


def asked(world: World, *arguments: str) -> Any:
    done = ugs("flags", *arguments, "--json", "--config", configured(world))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_daemon_tells_what_is_in_force_and_who_made_it_so(world: World) -> None:
    world.release("1.0.0", more=FLAGS)
    world.pin("1.0.0")
    world.more = "flags: {style: plain}\n"
    world.merge("Start")
    with daemon(world) as running:
        running.until_runs("1.0.0")
        world.more = (
            'timezone: UTC\npolicy: {flags: window}\nwindows: {config: [{cron: "0 3 1 1 *", duration: 1m}]}\n'
            "flags: {style: {rules: [{when: {plan: pro}, value: fancy}]}, checkout: true}\n"
        )
        world.merge("Later")
        world.more = world.more.replace("{flags: window}", "{flags: always}").replace(
            "checkout: true", "rate: 1"
        )
        world.merge("Sooner")
        running.until(lambda: asked(world, "history", "production", "style")["history"][0]["author"])
        shapes = json_shapes()
        found = asked(world, "list", "production")
        [style] = [one for one in found["flags"] if one["flag"] == "style"]
        assert style["author"].startswith("Ada")
        same_shape(shapes["flags list"], {"flags": [style | {"gates": [gate()], "needed_by": [""]}]}, "list")
        rows = asked(world, "history")
        same_shape(shapes["flags history"], rows, "history")
        answer = asked(world, "evaluate", "production", "style", "--context", "plan=pro")
        same_shape(shapes["flags evaluate"], answer, "evaluate")
        assert (answer["value"], answer["variant"]) == ("fancy", "fancy")
        config = configured(world)
        told = ugs("flags", "--config", config).stdout
        assert '"plain", and otherwise by 1 rule' in told
        assert "Ada" in ugs("flags", "history", "production", "style", "--config", config).stdout
        refused = ugs("flags", "evaluate", "production", "nothing", "--config", config)
        assert (refused.returncode, "production has no flag nothing" in refused.stderr) == (1, True)


def test_a_switch_that_waits_is_in_the_plan(world: World) -> None:
    world.release("1.0.0", more=FLAGS)
    world.pin("1.0.0")
    world.more = "timezone: UTC\npolicy: {flags: window}\nwindows: {config: manual}\nflags: {style: plain}\n"
    world.merge("Start")
    with daemon(world) as running:
        running.until_runs("1.0.0")
        world.more = world.more.replace("style: plain", "style: fancy")
        world.merge("Switch")
        config = configured(world)
        running.until(lambda: [one for one in asked(world)["flags"] if one["pending"]])
        done = ugs("plan", "--config", config)
        assert (done.returncode, done.stderr) == (2, "")
        assert done.stdout == (
            'production: flag style: "plain" → "fancy" waits: config changes start only when a person starts them\n'
        )
        assert '"fancy" waits: config changes start only' in ugs("flags", "--config", config).stdout


def gate() -> dict[str, Any]:
    return dict.fromkeys(("gate", "open", "reason", "until", "opened_by"))


def test_without_a_daemon_nothing_is_said_to_be_in_force(world: World) -> None:
    done = ugs("flags", "--config", configured(world))
    assert (done.returncode, "no daemon runs" in done.stderr) == (1, True)
