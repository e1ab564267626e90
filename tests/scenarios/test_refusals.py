"""Bad input: each error names the file, the line and the remedy; it affects what it describes, and the rest goes on."""

from __future__ import annotations

import pytest

from tests.world import World

ENVIRONMENT = "environments/production.yaml"
WEB = "releases/web/1.1.0.yaml"
Change = str | tuple[str, str]
"""What is added at the end, or replaced."""
CASES: dict[str, tuple[dict[str, Change], str]] = {
    "unknown service": (
        {ENVIRONMENT: '  wbe: "1.0.0"\n'},
        f"{ENVIRONMENT}:7:8: pins.wbe: there is no release 1.0.0 of wbe; add releases/wbe/1.0.0.yaml",
    ),
    "missing release": (
        {ENVIRONMENT: ("1.0.0", "9.9.9")},
        f"{ENVIRONMENT}:6:8: pins.web: there is no release 9.9.9; add releases/web/9.9.9.yaml or pin one of",
    ),
    "unreadable YAML": ({WEB: ("health:", "health: [")}, f"{WEB}:"),
    "duplicate key": ({WEB: "service: web\n"}, f"{WEB}:11:1: the key `service` stands twice"),
    "unquoted version": (
        {WEB: ('version: "1.1.0"', "version: 1.1.0")},
        f"{WEB}:2:10: version: versions must be quoted",
    ),
    "unknown key": (
        {WEB: "colour: blue\n"},
        f"{WEB}:11:1: colour: this key is unknown; known here: artifact, ",
    ),
    "no final newline": ({WEB: "notes: short"}, f"{WEB}:11:1: the last line does not end in a newline"),
    "a window without a time zone": (
        {ENVIRONMENT: ("pins:", 'windows: {minor: [{cron: "0 2 * * 6", duration: 2h}]}\npins:')},
        f"{ENVIRONMENT}:4:18: windows.minor: a window or a freeze needs a time zone; add for example",
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_bad_file_is_told_once_and_the_rest_goes_on(world: World, case: str) -> None:
    changes, expected = CASES[case]
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    pid = world.pid("web")

    world.release("1.1.0", service="web")
    world.release("1.1.0", service="api")
    world.pin("1.1.0", "api")
    world.files[ENVIRONMENT] = world.environment()
    for path, change in changes.items():
        text = world.files[path] or ""
        world.files[path] = text.replace(*change) if isinstance(change, tuple) else text + change
    if case == "missing release":
        world.files[ENVIRONMENT] = world.environment().replace('web: "1.0.0"', 'web: "9.9.9"')
    world.merge()
    for _ in range(2):
        await world.settle()

    [problem] = world.fleet.problems
    assert str(problem).startswith(expected)
    assert problem.remedy
    assert [call for call in world.calls() if call == str(problem)] == [str(problem)]
    assert world.pid("web") == pid
    assert world.phases("web") == ["succeeded"]
    assert world.answers("api") == ("1.0.0" if case == "a window without a time zone" else "1.1.0")
    assert world.reverts() == []


async def test_an_error_is_not_told_again_after_a_restart_and_is_gone_when_mended(world: World) -> None:
    world.deploy_first("1.0.0")
    world.pin("9.9.9", "web")
    world.merge()
    await world.settle()
    [call] = world.calls()
    assert "there is no release 9.9.9" in call

    await world.restart()
    await world.settle()
    assert world.calls() == [call]
    assert [str(problem) for problem in world.fleet.problems] == [call]

    world.bump("9.9.9", service="web")
    await world.settle()
    assert world.fleet.problems == ()
    assert world.answers("web") == "9.9.9"


async def test_a_service_whose_pin_cannot_be_used_is_left_exactly_as_it_is(world: World) -> None:
    world.deploy_first("1.0.0", "api", "web")
    await world.settle()
    pid = world.pid()
    world.pin("9.9.9")
    world.merge()
    await world.settle()

    assert world.pid() == pid
    assert world.view().sentence == (
        "production: api is left as it is: its pin cannot be used (see the errors)"
    )
    world.stop()
    await world.settle()
    await world.eventually(lambda: world.answers() == "1.0.0")  # it should run, whatever its pin will say


async def test_a_driver_that_the_daemon_does_not_allow_runs_nothing(world: World) -> None:
    world.settings_more = "drivers: [process]\nenvironments: [staging]\n"
    world.deploy_first("1.0.0")
    await world.settle()
    assert world.core.desired == {}
    assert world.fleet.passes == {}


@pytest.mark.fault("RT-08")
@pytest.mark.parametrize("wrong", ["digest", "archive"])
async def test_an_artifact_that_can_never_be_right_touches_nothing_and_is_reverted(
    world: World, wrong: str
) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    pid, before = world.pid(), world.pinned()
    if wrong == "digest":
        world.bump("1.1.0", sha256="0" * 64)
    else:
        world.bump("1.1.0", files={"../../escaped": "from its folder"})
    await world.settle()

    assert world.phases() == ["succeeded", "reverted"]
    assert world.pid() == pid
    assert world.pinned() == before
    newest = world.newest()
    assert newest is not None
    assert newest.reason.startswith("releases/api/1.1.0.yaml" if wrong == "digest" else "")
    assert ("the manifest says" if wrong == "digest" else "escaped") in newest.reason
    assert [row.operation for row in world.core.store.quarantined("production")] == [newest.operation]
    assert not list(world.folder.rglob("escaped"))
