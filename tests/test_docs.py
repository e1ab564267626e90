"""The pages say what is so: examples are read, keys and verbs compared, links followed, drawings made again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from msgspec import Struct
from msgspec.structs import replace

from reconciler.api.app import ENDPOINTS
from reconciler.cli import COMMANDS, cli
from reconciler.cli.check import as_json, checked
from reconciler.cli.graph import core_from, settings_from
from reconciler.cli.state import state_lock
from reconciler.engine.daemon import Daemon
from reconciler.engine.in_force import InForce
from reconciler.engine.journal import entry
from reconciler.engine.status import explain_of, plan_of, quarantine_of, status_of
from reconciler.model.circumstances import Gate
from reconciler.model.codec import builtins
from reconciler.model.engines import ENGINES
from reconciler.model.environment import Promotion
from reconciler.model.errors import Problem
from reconciler.model.gates import GATES
from reconciler.model.promotion import Verdict
from reconciler.model.pulls import Kept
from reconciler.model.rights import RIGHTS, Right
from reconciler.model.schema import text as schema_text
from reconciler.model.standing import Standing
from reconciler.model.upgrade import FINAL, NEXT, Phase
from reconciler.model.version import Version
from tests.build import NOW
from tests.drivers.services import free_port, get_json, kill_all
from tests.engines import KINDS
from tests.engines.table import BEGIN, END, SHOWN_BEGIN, SHOWN_END, abilities, shown, shown_by, told_on
from tests.git.colleague import git
from tests.world import World

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


class Block(Struct, frozen=True):
    """A block of YAML on a page. Its first line is a comment with its name."""

    page: str
    name: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    for language, text in FENCE.findall(page.read_text()):
        if language == "yaml":
            name = text.splitlines()[0].removeprefix("# ")
            yield Block(page.name, name, text)


def problems(found: list[Block], folder: Path) -> list[Problem]:
    """What `ugs check` has against these files in one repository, which need not show every release and environment
    that it names."""
    (folder / "releases").mkdir()
    for block in found:
        (folder / block.name).parent.mkdir(parents=True, exist_ok=True)
        (folder / block.name).write_text(block.text)
    elsewhere = re.compile("there is no (release|environment) ")
    return [one for one in checked(folder)[0] if not elsewhere.search(one.message)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_yaml_is_a_file_that_the_reader_takes(page: Path, tmp_path: Path) -> None:
    found = list(blocks(page))
    for block in found:
        assert re.fullmatch(r"(releases|environments)/[a-z0-9./-]+\.yaml|ugs\.yaml", block.name), block.text
    assert problems(found, tmp_path) == []


def slugs(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    lost = []
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        if "://" not in target and not (file.exists() and (not anchor or anchor in slugs(file))):
            lost.append(target)
    assert lost == []


def schema_keys(kind: str) -> dict[str, Any]:
    """Every key of a schema with its default; what is referred to more than once stands under its own name."""
    written = schema_text(kind)  # type: ignore[arg-type]  # one of the three names below
    schema, found = json.loads(written), dict[str, Any]()

    def walk(node: dict[str, Any], path: str) -> None:
        name = node.get("$ref", "").rpartition("/")[2]
        if name:
            shared = written.count(f'"#/$defs/{name}"') > 1
            walk(schema["$defs"][name], name if shared else path)
        for branch in {"then", "else"} & node.keys():
            walk(node[branch], path)
        for key, child in node.get("properties", {}).items():
            if "/engine_" in child.get("$ref", ""):
                continue  # its driver's page has it
            at = f"{path}.{key}".lstrip(".")
            found[at] = child.get("default")
            walk(child, at)
        if "items" in node:
            walk(node["items"], f"{path}[]")
        if isinstance(node.get("additionalProperties"), dict):
            walk(node["additionalProperties"], f"{path}.*")

    walk(schema, "")
    return found


def documented_keys(text: str) -> dict[str, Any]:
    """The keys in the tables whose first column is `Key`, with the default that stands in code, if any does."""
    found = dict[str, Any]()
    for table in re.findall(r"^\| Key \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE):
        for row in table.splitlines():
            keys, _, default = row.split("|")[1:4]
            shown = re.fullmatch(r" `(.*)` ", default)
            for key in re.findall(r"`([^`]+)`", keys):
                found[re.sub(r"\b[A-Z]+\b", "*", key)] = shown[1] if shown else None
    return found


@pytest.mark.parametrize(
    ("kind", "page", "section"),
    [
        ("release", "repository.md", "Releases"),
        ("environment", "repository.md", "Environments"),
        ("ugs", "configuration.md", ""),
    ],
)
def test_the_tables_have_every_key_of_the_schema_and_no_other(kind: str, page: str, section: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    if section:
        text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    expected = {
        key: value if isinstance(value, str | None) else json.dumps(value)
        for key, value in schema_keys(kind).items()
        if not key.startswith("engines.")  # each driver's page has its own
    }
    assert documented_keys(text) == expected


def engine_keys() -> list[tuple[str, str]]:
    """(schema, its definition) of everything that an engine's own options are written in."""
    found = []
    for kind in ("environment", "ugs"):
        definitions = json.loads(schema_text(kind))["$defs"]
        found += [(kind, name) for name in definitions if name.startswith(("driver_", "engine_"))]
    return [(kind, name) for kind, name in found if name != "driver_process"]


@pytest.mark.parametrize(("kind", "name"), engine_keys())
def test_the_page_of_a_driver_has_every_key_of_its_options(kind: str, name: str) -> None:
    said = json.loads(schema_text(kind))["$defs"][name]["properties"].keys() - {"kind"}  # type: ignore[arg-type]
    part, engine = name.split("_")
    text = (ROOT / f"docs/drivers/{engine}.md").read_text()
    prefix = "driver." if part == "driver" else f"engines.{engine}."
    documented = {
        key.removeprefix(prefix).split(".")[0] for key in documented_keys(text) if key.startswith(prefix)
    }
    assert documented == said


def test_the_drivers_page_says_what_each_can_do_and_which_test_has_seen_it() -> None:
    page = (ROOT / "docs/drivers/README.md").read_text()
    assert page.partition(BEGIN)[2].partition(END)[0] == told_on(), (
        "write it with python -m tests.engines.table"
    )
    assert shown().keys() == abilities(), (
        "a capability needs a test that is marked with `shows`, and no other has one"
    )
    assert page.partition(SHOWN_BEGIN)[2].partition(SHOWN_END)[0] == shown_by()
    assert set(KINDS) <= ENGINES.keys()
    strategies = dict(
        re.findall(r"^\| \[?`(\w+)`[^|]*\|[^|]*\| ([^|]*) \|", page.partition(BEGIN)[0], re.MULTILINE)
    )
    assert strategies.keys() == ENGINES.keys()
    for kind, engine in ENGINES.items():
        said = re.sub(r"\([^)]*\)+", "", strategies[kind])
        assert {one.split()[0] for one in said.split(",")} == engine.strategies, kind


def test_every_route_stands_in_the_page_about_the_api_with_the_right_that_it_needs() -> None:
    page = (ROOT / "docs/api.md").read_text()
    rows = re.findall(r"^\| `(GET|POST) (/\S+)` \| (\w+) \| (.+) \|$", page, re.MULTILINE)
    assert rows == [(one.method, one.path, one.right, one.summary) for one in ENDPOINTS]


def test_the_page_about_the_api_tells_which_role_has_which_right() -> None:
    page = (ROOT / "docs/api.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w*) ?\| (\w*) ?\| (\w*) ?\| (\w*) ?\|$", page, re.MULTILINE)
    rights = get_args(Right)
    told = {role: {right for right, yes in zip(rights, said, strict=True) if yes} for role, *said in rows}
    assert told == RIGHTS


def verbs() -> Iterator[tuple[str, click.Command]]:
    """Every verb as it is typed, a group's one by one."""
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            yield from ((f"{name} {part}", child) for part, child in command.commands.items())
        elif command:
            yield name, command


def usage(name: str, command: click.Command) -> str:
    """The verb and its arguments."""
    return " ".join(["ugs", name, *command.collect_usage_pieces(click.Context(command))[1:]])


def test_every_verb_and_every_option_is_documented_and_no_other() -> None:
    sections = re.findall(
        r"^### `(.+)`\n((?:(?!^##).*\n)*)", (ROOT / "docs/cli.md").read_text(), re.MULTILINE
    )
    documented = {
        heading: set(
            re.findall(r"`(--?[a-z-]+)`", "".join(re.findall(r"^\| (`-.*?) \|", text, re.MULTILINE)))
        )
        for heading, text in sections
    }
    expected = {
        usage(name, command): {
            word for option in command.params if isinstance(option, click.Option) for word in option.opts
        }
        for name, command in verbs()
    }
    assert documented == expected


def json_shapes() -> dict[str, Any]:
    """The shapes of `--json` in docs/cli.md, by verb, with names such as `gate` put in."""
    section = (ROOT / "docs/cli.md").read_text().partition("\n## JSON\n")[2]
    text = FENCE.findall(section)[0][1]
    shapes = dict[str, Any]()
    for name, shape in re.findall(r"^([a-z ]+?) +(\{.*(?:\n .*)*)", text, re.MULTILINE):
        leaf = re.sub(r'"(\w+)"(?!:)', r'"\1": null', shape)
        value = json.loads(re.sub(r"\[(\w+)\]", r'["\1"]', leaf))
        shapes[name] = _with_names(value, shapes)
    return shapes


def _with_names(value: Any, shapes: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _with_names(child, shapes) for key, child in value.items()}
    if isinstance(value, list):
        return [_with_names(child, shapes) for child in value]
    return shapes.get(value) if isinstance(value, str) else value


def same_shape(shape: Any, value: Any, at: str) -> None:
    if isinstance(shape, dict):
        assert isinstance(value, dict), at
        assert set(shape) == set(value), at
        for key, child in shape.items():
            same_shape(child, value[key], f"{at}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), at
        assert value, f"{at} is empty, so nothing was compared"
        for child in value:
            same_shape(shape[0], child, f"{at}[]")


DATA = """\
backup: {save: [touch, "{backup}"], verify: [test, -e, "{backup}"], restore: [test, -e, "{backup}"]}
migrations: [{id: nothing, phase: before, up: ["true"], down: ["true"]}]
flags: {new-checkout: {default: false}}
"""


async def test_json_has_the_documented_shapes(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    world.release("1.1.0", "unhealthy", more=DATA)
    world.release("1.1.0", service="web", more='requires: {api: ">=1.1.0"}\n')
    world.pin("1.1.0")
    world.pin("1.1.0", "web")
    world.merge()
    await world.settle()
    world.pin("1.0.0", "web")
    world.pin("1.1.0")
    world.files["environments/other.yaml"] = "environment: other\n"
    world.merge("Pin it again, beside a file with an error")
    await world.settle()

    fleet, store = world.fleet, world.core.store
    gate = Gate("window", open=False)
    style = Standing("style", ("api",), "plain")
    fleet.core.flags["production"] = {"style": InForce(style, "", "", NOW, pending=style, waits=(gate,))}
    wanted = fleet.core.desired["production"]
    policy = replace(wanted.environment.policy, promote=Promotion("other", by="commit"))
    taking = replace(wanted, environment=replace(wanted.environment, policy=policy))
    fleet.core.desired["production"] = taking
    asks = ("production/api 1.2.0",)
    store.keep_pull(Kept("bump", "ugs-bump-production.api", "production", asks, NOW, number=1, url="x"))
    fleet.core.promotions["production"] = {"api": Verdict("api", Version("1.1.0"))}
    values = {
        "status": status_of(fleet, {"pid": 1, "version": "", "started_at": ""}),
        "explain": explain_of(fleet, "production", "api"),
        "plan": plan_of(fleet),
        "history": {
            "upgrades": [entry(store, upgrade) for upgrade in store.upgrades() if upgrade.companions]
        },
        "check": as_json(fleet.problems),
        "quarantine list": quarantine_of(fleet),
        "backup list": {"backups": builtins(store.backups())},
        "migrations list": {"migrations": builtins(store.migrations())},
        "audit log": {"rows": builtins(store.audit_rows(limit=10))},
    }
    shapes = json_shapes()
    for name, value in values.items():
        same_shape(shapes[name], json.loads(json.dumps(value)), name)


def drawing() -> str:
    """The table of legal moves as a Mermaid state diagram."""
    moves = [(start.value, end.value) for start in Phase for end in Phase if end in NEXT[start]]
    ends = [(phase.value, "[*]") for phase in Phase if phase in FINAL]
    lines = [f"    {start} --> {end}" for start, end in [("[*]", Phase.PLANNED.value), *moves, *ends]]
    return "\n".join(["stateDiagram-v2", *lines, ""])


def test_the_drawing_of_the_phases_is_the_table_of_legal_moves() -> None:
    page = (ROOT / "docs/states.md").read_text()
    marked = page.partition("<!-- phases -->")[2].partition("<!-- /phases -->")[0]
    assert marked == f"\n```mermaid\n{drawing()}```\n"
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(Phase)


def test_every_gate_is_explained_to_operators() -> None:
    section = (ROOT / "docs/operations.md").read_text().partition("### Waiting")[2].partition("###")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", "".join(rows))) == {gate.__name__.lstrip("_") for gate in GATES}


async def test_the_twenty_lines_of_the_readme_deploy_a_service(tmp_path: Path) -> None:
    files = {block.name: block.text for block in blocks(ROOT / "README.md")}
    assert sum(len(text.splitlines()) for text in files.values()) <= 20
    fleet, port = tmp_path / "fleet", free_port()
    page = tmp_path / "version.json"
    page.write_text('{"version": "1.0.0"}\n')
    archive = fleet / "releases/hello/hello-1.0.0.tar.gz"
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(page, "./version.json")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    for name, text in files.items():
        path = (tmp_path if name == "ugs.yaml" else fleet) / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("0" * 64, digest).replace("8000", str(port)))
    git(fleet, "init", "--quiet", "--initial-branch=main")
    git(fleet, "add", "--all")
    git(fleet, "commit", "--quiet", "--message", "Start with hello 1.0.0")

    settings = settings_from(tmp_path / "ugs.yaml")
    with contextlib.ExitStack() as closing:
        closing.callback(kill_all, settings.state, "home")
        closing.enter_context(state_lock(settings.state))
        core = closing.enter_context(core_from(settings))
        assert await Daemon(core).run_once()
        assert get_json(port, "/version.json") == {"version": "1.0.0"}
