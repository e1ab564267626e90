"""`ugs plan --from REV`: what a pull request would change, from a repository alone or with a daemon at hand."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from reconciler.cli.plan import plan
from reconciler.model import plan_text
from reconciler.model.availability import lasting
from reconciler.model.errors import UgsError
from tests.cli.pull_request import PRODUCTION, SATURDAYS, production, release, repository
from tests.daemon_process import DaemonProcess, ugs
from tests.git.colleague import Colleague
from tests.test_docs import json_shapes, same_shape
from tests.world import World


@pytest.fixture
def ada(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Colleague:
    """Ada stands in her clone."""
    made = repository(tmp_path)
    monkeypatch.chdir(made.folder)
    return made


def run(*arguments: object) -> Result:
    return CliRunner().invoke(plan, [str(argument) for argument in arguments])


def as_json(*arguments: object) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


def test_a_bump_that_is_not_merged_is_told_for_people(ada: Colleague) -> None:
    ada.commit(production(SATURDAYS, api="1.0.0"))
    ada.git("checkout", "--quiet", "-b", "bump")
    ada.commit(production(SATURDAYS, api="1.1.0"))
    ada.git("checkout", "--quiet", "main")
    result = run("--from", "main", "--to", "bump")
    assert result.exit_code == 2
    first, columns, row, blank, title, *rest = result.output.splitlines()
    assert re.fullmatch(
        r"\w{12}\.\.\w{12}: 1 change in production; what the first revision pins is taken to run: "
        "no daemon is configured here",
        first,
    )
    assert columns.split("  ")[0] == "environment"
    assert (
        re.fullmatch(
            r"production +api +1.0.0 +1.1.0 +minor +Sat \d{4}-\d\d-\d\d 02:00 CES?T +2m 10s +yes", row
        )
        or "at once" in row
    )  # on a Saturday night
    assert (blank, title) == ("", "production/api 1.0.0 → 1.1.0")
    assert rest[-3:] == ["  notes of 1.1.0:", "  | Faster.", "  | Smaller."]


def test_machines_get_the_documented_shape_and_more(ada: Colleague) -> None:
    before, after = ada.git("rev-parse", "HEAD"), ada.commit(production(api="1.1.0"))
    told = as_json("--from", "HEAD~1")
    assert (told["from_revision"], told["to_revision"], told["basis"]) == (before, after, "repository")
    (change,) = told["changes"]
    assert change["change"] == "production/api"
    assert re.fullmatch(r"1\.0\.0@[0-9a-f]{12}", change["from"])
    assert re.fullmatch(r"1\.1\.0@[0-9a-f]{12}", change["to"])
    assert (change["class"], change["path"], change["duration_s"]) == ("minor", ["1.1.0"], 130.0)
    assert change["starts_at"] == change["steps"][0]["starts_at"]
    assert {gate["gate"] for gate in change["gates"]} == {
        "path",
        "dependency",
        "approval",
        "freeze",
        "window",
        "fit",
    }
    assert (change["downtime"], change["reversible"], change["impact"]) == (True, True, [])
    assert change["notes"] == [{"version": "1.1.0", "notes": "Faster.\nSmaller.\n"}]
    assert (told["added"], told["removed"], told["settings"], told["errors"]) == ([], [], [], [])


def test_nothing_to_change_is_exit_code_0(ada: Colleague) -> None:
    ada.commit({"README.md": "fleet\n"})
    result = run("--from", "HEAD~1", "--to", "HEAD")
    assert (result.exit_code, result.output.splitlines()[1:]) == (0, [])
    assert ": 0 changes; " in result.output
    assert "0 changes" in run("--from", "HEAD~1", "--format", "markdown").output


def test_the_first_commit_of_all_adds_everything(ada: Colleague) -> None:
    ada.git("checkout", "--quiet", "--orphan", "empty")
    ada.git("rm", "-r", "--quiet", "--cached", ".")
    ada.git("commit", "--quiet", "--allow-empty", "--message=Nothing")
    told = as_json("--from", "empty", "--to", "main")
    assert [change["class"] for change in told["changes"]] == ["initial"]
    assert told["added"] == [{"environment": "production", "service": "api", "version": "1.0.0"}]
    with pytest.raises(UgsError, match="neither releases/ nor environments/ at"):
        CliRunner().invoke(plan, ["--from", "main", "--to", "empty"], catch_exceptions=False)


def test_a_removed_pin_and_a_setting_are_told_beside(ada: Colleague) -> None:
    ada.commit(release("1.0.0", service="web") | production(api="1.0.0", web="1.0.0"))
    ada.commit(production("policy: {parallel: 1}\n", api="1.0.0"))
    result = run("--from", "HEAD~1")
    assert result.exit_code == 2
    assert result.output.splitlines()[1:] == [
        "",
        "production/web is pinned no longer: policy.prune is off, so 1.0.0 runs on",
        "production sets `policy` otherwise",
    ]
    assert "0 changes, 1 pin removed" in result.output
    assert (
        "- ``production sets `policy` otherwise``" in run("--from", "HEAD~1", "--format", "markdown").output
    )


def test_a_removal_is_a_change_to_nothing(ada: Colleague) -> None:
    prune = "policy: {prune: true}\n"
    ada.commit(release("1.0.0", service="web") | production(prune, api="1.0.0", web="1.0.0"))
    ada.commit(production(prune, api="1.0.0"))
    result = run("--from", "HEAD~1")
    assert result.exit_code == 2
    assert "production/web 1.0.0 → nothing" in result.output
    assert "runs on" not in result.output
    [change] = json.loads(run("--from", "HEAD~1", "--json").output)["changes"]
    assert (change["to"], change["class"], change["downtime"], change["path"]) == (None, "removal", True, [])


DATA = """\
backup: {save: [cp, a, "{backup}"], verify: [test, -e, "{backup}"], restore: [cp, "{backup}", a]}
migrations:
  - {id: shrink, phase: after, up: [bin/shrink]}
  - {id: grow, phase: before, up: [bin/grow], down: [bin/shrink]}
"""


def test_all_that_hangs_on_a_change_is_told(ada: Colleague) -> None:
    more = 'requires: {db: ">=1.0.0"}\nupgrade: {from: ">=1.1.0", reversible: false}\n'
    ada.commit(
        release("2.0.0", more=more + DATA + 'withdrawn: {reason: "loses\\torders", since: 2026-11-02}\n')
        | release("1.0.0", service="db")
        | release("1.0.0", service="web", more='requires: {api: ">=1.0.0"}\n')
        | production(api="1.0.0", web="1.0.0")
    )
    ada.commit(production(api="2.0.0", db="1.0.0", web="1.0.0"))
    lines = run("--from", "HEAD~1").output.splitlines()
    at = lines.index("production/api 1.0.0 → 2.0.0")
    facts = dict(line.strip().split(": ", 1) for line in lines[at + 1 : at + 9])
    assert facts["comes after"] == "db"
    assert re.fullmatch(r"1\.1\.0 \(minor, .*\), then 2\.0\.0 \(major, .*\)", facts["goes by way of"])
    assert facts["needs"] == "db >=1.0.0: 1.0.0 would run"
    assert facts["at risk"] == "web (they require it)"
    assert facts["cannot be taken back"] == "across 2.0.0"
    assert facts["data"] == (
        "saved first; changed by grow (before, 2.0.0), shrink (after, cannot be undone, 2.0.0)"
    )
    assert facts["withdrawn"] == "loses orders"
    assert facts["settings"] == "backup added, requires.db added"
    assert "  notes of 2.0.0: none" in lines


def test_every_format_says_which_flags_change_their_values(ada: Colleague) -> None:
    ada.commit(release("1.0.0", more="flags: {new-checkout: {default: false}, words: {default: a}}\n"))
    ada.commit(production("flags: {new-checkout: true, words: 'ü`'}\n", api="1.0.0"))
    [change] = as_json("--from", "HEAD~1")["changes"]
    assert change["flags"] == [
        {"name": "new-checkout", "from": False, "to": True},
        {"name": "words", "from": "a", "to": "ü`"},
    ]
    assert (change["class"], change["differences"]) == ("config", [])
    said = 'new-checkout false → true, words "a" → "ü`"'
    assert f"  flags: {said}\n" in run("--from", "HEAD~1").output
    for form in ("markdown", "github"):
        assert f"- flags: ``{said}``\n" in run("--from", "HEAD~1", "--format", form).stdout


def test_a_requirement_that_nothing_meets_and_no_way(ada: Colleague) -> None:
    more = 'requires: {db: ">=1.0.0"}\nupgrade: {from: ">=1.5.0"}\n'
    ada.commit(release("2.0.0", more=more))
    ada.commit(production(api="2.0.0"))
    output = run("--from", "HEAD~1").output
    assert "needs: db >=1.0.0: nothing of it would run, which is not enough" in output
    assert "waits for path: " in output
    assert "waits for dependency: " in output
    assert re.search(r"major +not by itself +- +yes", output)
    (change,) = as_json("--from", "HEAD~1")["changes"]
    assert (change["duration_s"], change["starts_at"], change["path"]) == (None, None, [])
    assert change["requires"] == [{"service": "db", "range": ">=1.0.0", "found": None, "met": False}]


# Problems


def test_introduced_problems_are_annotated_and_exit_code_1(
    ada: Colleague, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada.commit(release("1.0.0", service="old") | {"releases/old/1.1.0.yaml": "x: 1\n"})
    ada.commit(
        production(api="1.1.0")
        | {"environments/staging.yaml": 'environment: staging\npins: {api: "9.0.0"}\n'}
    )
    result = run("--from", "HEAD~1", "--format", "github")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "::error file=environments/staging.yaml,line=1,col=1::the key `driver` is missing; add `driver: ...`"
    ]
    assert (
        "- Problem: `` environments/staging.yaml:1:1: the key `driver` is missing; add `driver: ...` ``\n"
        in result.stdout
    )
    assert "::error" not in result.stdout
    text = run("--from", "HEAD~1")
    assert (text.exit_code, text.stderr) == (1, "")
    assert text.stdout.endswith(
        "\nenvironments/staging.yaml:1:1: the key `driver` is missing; add `driver: ...`\n"
    )
    assert [error["file"] for error in as_json("--from", "HEAD~1")["errors"]] == ["environments/staging.yaml"]
    monkeypatch.chdir(ada.folder.parent)
    elsewhere = run("--from", "HEAD~1", "--repository", "ada/environments", "--format", "github")
    assert elsewhere.stderr.startswith("::error file=ada/environments/staging.yaml,line=1")


# Comments

HOSTILE = """\
</details><script>alert(1)</script> <img src=x onerror=alert(1)>
::error file=a::pwned
::add-mask::secret
/approve
@everyone #1 https://evil.example [x](javascript:alert(1))
##[add-mask]secret ##vso[task.setvariable variable=a]b
| a | b |
````
```
~~~
<!-- -->
# Headline\
"""


class Tags(HTMLParser):
    """The HTML that stands in a page outside of code."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        self.seen.append(tag)


def outside_of_code(markdown: str) -> str:
    """What a forge interprets: without quoted blocks of code and without code spans."""
    kept, fence = [], ""
    for line in markdown.splitlines():
        if fence:
            fence = "" if line == f"> {fence}" else fence
        elif match := re.fullmatch(r"> (`{3,})text", line):
            fence = match[1]
        else:
            kept.append(line)
    assert not fence
    return re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", "\n".join(kept))


def test_hostile_notes_and_reasons_are_shown_and_do_nothing(ada: Colleague) -> None:
    reason = "a`b``c|d\\\\|<b>@everyone</b>"
    frozen = f'timezone: UTC\nfreezes: [{{from: 2020-01-01, until: 2199-12-31, reason: "{reason}"}}]\n'
    ada.commit(release("1.2.0", HOSTILE) | production(frozen, api="1.0.0"))
    ada.commit(production(frozen, api="1.2.0"))
    for form in ("markdown", "github", "text"):
        result = run("--from", "HEAD~1", "--format", form)
        assert result.exit_code == 2
        for line in result.output.splitlines():
            # What a runner of jobs obeys, should this stand in a log.
            assert not line.lstrip().startswith(("::", "/"))
            assert "##[" not in line
            assert "##vso" not in line
        assert "pwned" in result.output
    text = run("--from", "HEAD~1", "--format", "markdown").output
    left = outside_of_code(text)
    tags = Tags()
    tags.feed(left)
    assert tags.seen == ["details", "summary", "code"]
    assert left.count("</details>") == 1
    for sign in ("@everyone", "#1", "evil.example", "javascript:", "<b>", "<script>"):
        assert sign in text
        assert sign not in left
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {9}


def test_a_comment_is_bounded(ada: Colleague, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_text, "COMMENT_CHARACTERS_MAX", 1200)
    names = [f"s{number}" for number in range(5)]
    files: dict[str, str] = {}
    for name in names:
        files |= release("1.0.0", "x" * 300, service=name)
    ada.commit(files)
    ada.commit(production(api="1.0.0", **dict.fromkeys(names, "1.0.0")))
    text = run("--from", "HEAD~1", "--format", "markdown").output
    assert len(text) <= 1300
    assert re.search(r"\n\d changes? more: see `ugs plan`\.\n$", text)
    monkeypatch.setattr(plan_text, "COMMENT_CHARACTERS_MAX", 300)
    assert "\nMore: see `ugs plan`.\n" in run("--from", "HEAD~1", "--format", "markdown").output


def test_many_environments_are_counted_in_the_headline(ada: Colleague) -> None:
    files = {}
    for number in range(7):
        text = production(api="1.0.0")[PRODUCTION].replace(
            "environment: production", f"environment: e{number}"
        )
        files[f"environments/e{number}.yaml"] = text
    ada.commit(dict(files))
    assert "7 changes in e0, e1, e2, e3, e4 and 2 more" in run("--from", "HEAD~1").output


def test_long_notes_are_cut_in_a_comment(ada: Colleague) -> None:
    ada.commit(release("1.2.0", "\n".join("line" for _ in range(2000))))
    ada.commit(production(api="1.2.0"))
    text = run("--from", "HEAD~1", "--format", "markdown").output
    assert len(text) < 7000
    assert "\n> ...\n" in text


@pytest.mark.parametrize(("duration_s", "text"), [(0, "0s"), (45, "45s"), (210, "3m 30s"), (7500, "2h 5m")])
def test_durations_are_for_people(duration_s: float, text: str) -> None:
    assert lasting(duration_s) == text


# What is asked


def test_words_that_make_no_sense_without_a_start_are_refused(ada: Colleague) -> None:
    for arguments in (["--to", "main"], ["--format", "markdown"], ["--format", "github"]):
        result = run(*arguments)
        assert result.exit_code == 2
        assert "need --from" in result.output


def test_a_revision_that_is_not_there_is_told(ada: Colleague) -> None:
    done = ugs("plan", "--from", "nowhere", cwd=ada.folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("ugs: 'nowhere' is no commit in ")
    option = ugs("plan", "--from=--output=/tmp/x", cwd=ada.folder)
    assert option.returncode == 1
    assert "is no commit in" in option.stderr


# With a daemon


def test_with_a_daemon_what_really_runs_is_compared(fleet: World, served: DaemonProcess) -> None:
    """web failed at 1.1.0 and its pin was reverted; Ada's clone has not seen that yet."""
    config = fleet.folder / "ugs.yaml"
    ada = fleet.ada
    bumped = ada.git("rev-parse", "HEAD")
    ada.git("fetch", "--quiet")
    result = ugs("plan", "--from", bumped, "--to", bumped, "--json", "--config", config, cwd=ada.folder)
    assert result.returncode == 2, result.stderr
    told = json.loads(result.stdout)
    assert told["basis"] == "daemon"
    changes = {
        change["service"]: (change["from"].split("@")[0], change["to"].split("@")[0])
        for change in told["changes"]
    }
    assert changes == {"db": ("1.0.0", "2.0.0"), "web": ("1.0.0", "1.1.0")}


def test_a_daemon_of_another_repository_is_not_believed(
    fleet: World, served: DaemonProcess, ada: Colleague
) -> None:
    ada.commit(production(api="1.1.0"))
    result = run("--from", "HEAD~1", "--config", fleet.folder / "ugs.yaml")
    assert result.exit_code == 2
    assert "is at a revision that is not here" in result.output


def test_a_configuration_without_a_daemon_says_so(ada: Colleague, tmp_path: Path) -> None:
    (ada.folder / "ugs.yaml").write_text(f"repository: {{url: {ada.folder}}}\nstate: {tmp_path / 'state'}\n")
    result = run("--from", "HEAD", "--to", "HEAD")
    assert (result.exit_code, f"taken to run: no daemon runs on {tmp_path / 'state'}" in result.output) == (
        0,
        True,
    )


def test_the_documented_shape_is_the_one_that_is_printed(ada: Colleague) -> None:
    more = 'requires: {db: ">=1.0.0"}\nupgrade: {reversible: false}\n'
    ada.commit(
        release(
            "2.0.0",
            "Big.",
            more=more + DATA + "flags: {new-checkout: {default: false}, style: {default: a, live: true}}\n",
        )
        | release("1.0.0", service="db")
        | release("1.0.0", service="web", more='requires: {api: ">=1.0.0"}\n')
        | release("1.0.0", service="old")
        | production(api="1.0.0", web="1.0.0", old="1.0.0")
    )
    ada.commit(
        production("policy: {parallel: 1}\n", api="2.0.0", db="1.0.0", web="1.0.0")
        | {"environments/staging.yaml": "environment: staging\n"}
    )
    told = as_json("--from", "HEAD~1")
    told["changes"] = [change for change in told["changes"] if change["service"] == "api"]
    same_shape(json_shapes()["plan between"], told, "plan between")


LIVE = "flags: {style: {default: plain, live: true}, gone: {default: 1, live: true}}\n"


def test_live_flags_that_a_branch_switches_are_told_though_nothing_is_deployed(ada: Colleague) -> None:
    newer = "flags: {style: {default: plain, live: true}, new: {default: 2, live: true}}\n"
    ada.commit(
        release("1.2.0", more=LIVE)
        | release("1.3.0", more=newer)
        | production("flags: {style: plain}\n", api="1.2.0")
    )
    ada.commit(
        production(
            "flags: {style: {rules: [{value: fancy, percent: 12.5}]}}\npolicy: {flags: window}\n", api="1.2.0"
        )
    )
    result = run("--from", "HEAD~1")
    assert (result.exit_code, "0 changes, 1 live flag switched" in result.output) == (2, True)
    assert (
        'production: flag style: "plain" → "plain", and "fancy" for 12.5 %, when a change of class config might start; '
        "nothing is deployed"
    ) in result.output
    assert (
        'flag style: "plain" → "plain", and "fancy" for 12.5 %'
        in run("--from", "HEAD~1", "--format", "markdown").output
    )
    ada.commit(production("flags: {style: fancy}\n", api="1.3.0"))
    output = run("--from", "HEAD~2").output
    assert "flag gone: goes with what runs of api, which needs it as it is until then" in output
    assert "flag new: new, 2" in output
    assert 'flag style: "plain" → "fancy", when' not in run("--from", "HEAD~2", "--to", "HEAD~2").output
    ada.commit(production("flags: {style: 3}\n", api="1.3.0"))
    assert as_json("--from", "HEAD~1")["flags"] == []  # it stays as it is: that is a problem
