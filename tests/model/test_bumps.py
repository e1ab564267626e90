"""Which newer version is proposed, what is said of it, and why what is open becomes moot."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.model import bumps
from reconciler.model.bumped import wanted
from reconciler.model.bumps import Choice
from reconciler.model.derived import derived
from reconciler.model.document import read
from reconciler.model.environment import Bump
from reconciler.model.errors import InputError, UgsError
from reconciler.model.notes import catalogue
from reconciler.model.parts import parse_part
from reconciler.model.release import Artifact, Release, Upgrading, Withdrawn
from reconciler.model.version import Version
from tests.build import environment, pin, release

ANY = Bump("releases", "*")


def versions(*texts: str) -> list[Version]:
    return [Version(text) for text in texts]


def newer(pinned: str, wanted: str, *offered: str, shut: tuple[str, ...] = ()) -> list[str]:
    found = bumps.newer(pin(pinned, bump=Bump("releases", wanted)), versions(*offered), versions(*shut))
    return [one.text for one in found]


def test_what_is_newer_and_in_the_range_counts_the_newest_first() -> None:
    offered = ("1.0.0", "1.2.0", "1.1.0", "2.0.0", "0.9.0")
    assert newer("1.0.0", "^1", *offered) == ["1.2.0", "1.1.0"]
    assert newer("1.2.0", "^1", *offered) == []
    assert newer("1.0.0", ">=1", *offered) == ["2.0.0", "1.2.0", "1.1.0"]


def test_what_is_in_quarantine_or_a_prerelease_does_not_count() -> None:
    assert newer("1.0.0", "^1", "1.1.0", "1.2.0", shut=("1.2.0",)) == ["1.1.0"]
    assert newer("1.0.0", "^1", "1.1.0-rc.1") == []
    assert newer("1.0.0", ">=1.1.0-rc.0", "1.1.0-rc.1") == ["1.1.0-rc.1"]


def test_another_build_of_the_same_version_is_not_newer() -> None:
    assert newer("1.0.0", "*", "1.0.0+2") == []


def test_a_pin_that_does_not_ask_gets_none() -> None:
    assert bumps.newer(pin("1.0.0"), versions("2.0.0"), ()) == []


def unfit(goal: Release, *others: Release) -> str:
    known = {one.version: one for one in (release("1.0.0"), *others, goal)}
    mine = pin("1.0.0", bump=ANY)
    return bumps.unfit(environment(mine), mine, goal, known)


def test_what_cannot_be_pinned_is_not_proposed() -> None:
    assert unfit(release("1.1.0")) == ""
    assert "withdrawn" in unfit(release("1.1.0", withdrawn=Withdrawn("bad", "2026-11-01")))
    assert unfit(release("1.1.0", upgrade=Upgrading(from_=">=1.0.5"))) != ""
    assert (
        unfit(release("1.1.0", upgrade=Upgrading(from_=">=1.0.5")), release("1.0.5")) == ""
    )  # by way of another


def test_a_release_that_lacks_what_the_pin_sets_is_not_proposed() -> None:
    mine = pin("1.0.0", bump=ANY, config={"workers": 4})
    goal = release("1.1.0")
    assert "does not declare" in bumps.unfit(environment(mine), mine, goal, {goal.version: goal})


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("1.5.0", "1.5.0"),
        ("v1.5.0-rc.1", "1.5.0-rc.1"),
        ("api-1.5.0", "1.5.0"),
        ("api/v1.5.0", "1.5.0"),
        ("api@1.5.0", "1.5.0"),
        ("web-1.5.0", None),
        ("latest", None),
        ("1.5", None),
        ("sha-3f2a", None),
        ("release-2024", None),
    ],
)
def test_a_tag_names_a_version(tag: str, version: str | None) -> None:
    found = bumps.version_in(tag, "api")
    assert (found.text if found else None) == version


def test_a_branch_of_the_command_line_is_a_rival() -> None:
    assert bumps.rival_of("bump-production-api-1.5.0", "production", "api")
    assert not bumps.rival_of("bump-production-api-gateway-1.5.0", "production", "api")
    assert not bumps.rival_of("ugs-bump-production.api", "production", "api")


@pytest.mark.parametrize(
    ("url", "allowed", "fits"),
    [
        ("https://git.example/ops/api.git", "https://git.example/ops/", True),
        ("https://git.example/ops/api.git", "https://git.example/ops", True),
        ("https://git.example/ops/api.git", "https://git.example/ops/api.git", True),
        ("https://git.example.evil/api.git", "https://git.example", False),
        ("https://git.example/opsy/api.git", "https://git.example/ops", False),
        ("https://git.example/ops/../x.git", "https://git.example/ops/", False),
        ("https://git.example/ops/%2e%2e/x", "https://git.example/ops/", False),
        ("git@git.example:ops/api.git", "git@git.example:", True),
        ("git@git.example.evil:ops/api.git", "git@git.example", False),
    ],
)
def test_a_repository_is_asked_only_where_that_is_allowed(url: str, allowed: str, *, fits: bool) -> None:
    assert bumps.stands_under(url, allowed) is fits


def test_credentials_are_for_the_same_server() -> None:
    assert bumps.server_of("https://me@git.example:8443/a/b") == ("https", "git.example:8443")
    assert bumps.server_of("git@git.example:a/b") == ("ssh", "git.example")
    assert bumps.server_of("ssh://git@git.example/a/b") == ("ssh", "git.example")
    assert bumps.server_of("/srv/a.git") is None
    assert bumps.server_of("file:///srv/a.git") is None


def test_a_bump_says_what_it_brings_and_of_which_class() -> None:
    known = [
        release("1.0.0"),
        release("1.1.0", notes="Faster.\nUgs-Retry: x\n"),
        release("1.2.0", requires={"db": ">=14"}),
    ]
    said = wanted([Choice("production", "api", Version("1.0.0"), known[2])], catalogue(known))
    assert said.title == "Bump production/api from 1.0.0 to 1.2.0"
    assert said.asks == ("production/api 1.2.0",)
    assert said.labels == ("ugs", "ugs: minor")
    assert said.branch == "ugs-bump-production.api"
    assert "> Needs db >=14." in said.body
    assert ">   Faster." in said.body
    assert "Class: minor.\n" in said.message
    assert "\nUgs-Retry" not in said.commit_message


def test_a_group_is_one_pull_request_of_the_highest_class() -> None:
    known = [release("1.0.1"), release("2.0.0", "web")]
    choices = [
        Choice("production", "api", Version("1.0.0"), known[0]),
        Choice("production", "web", Version("1.0.0"), known[1]),
    ]
    said = wanted(choices, catalogue(known), group="shop")
    assert said.title == "Bump production/shop: api 1.0.1, web 2.0.0"
    assert said.asks == ("production/api 1.0.1", "production/web 2.0.0")
    assert said.labels == ("ugs", "ugs: major")
    assert said.branch == "ugs-bump-production.group.shop"
    many = [replace(choices[0], service=f"a-service-of-many-{number}") for number in range(20)]
    assert wanted(many, {}, group="shop").title == "Bump 20 of production/shop"


def test_below_one_a_minor_step_is_what_the_policy_says() -> None:
    choices = [Choice("production", "api", Version("0.1.0"), release("0.2.0"))]
    assert "ugs: major" in wanted(choices, {}).labels
    assert "ugs: minor" in wanted(choices, {}, zero_minor="minor").labels


def moot(pinned: str | None, *, bump: Bump | None = ANY, shut: tuple[str, ...] = ()) -> str:
    pins = [pin(pinned, bump=bump)] if pinned else []
    return bumps.moot("production/api 1.5.0", {"production": environment(*pins)}, shut)


def test_why_it_is_moot_is_said() -> None:
    assert moot(None) == "production does not pin api any more"
    assert moot("1.5.0") == "api is pinned to 1.5.0 already"
    assert moot("1.6.0") == "api is pinned to 1.6.0 by now"
    assert moot("1.4.0", bump=None) == "the pin of api asks for no pull requests any more"
    assert moot("1.4.0") == "api 1.5.0 is not to be pinned now"
    assert "quarantine" in moot("1.4.0", shut=("production/api 1.5.0",))
    assert bumps.moot("gone/api 1.5.0", {}, ()) == "gone does not pin api any more"


MANIFEST = """\
# How api is released
service: api
version: "1.4.0"   # quoted
artifact:
  image: "registry.example/api:v1.4.0@sha256:{old}"
upgrade: {from: ">=1.0.0", urgency: emergency}
withdrawn: {reason: "bad", since: 2026-11-01}
notes: |
  Mends it.
health:
  probes:
    - {tcp: "127.0.0.1:{port}"}   # answers
""".replace("{old}", "a" * 64)


def test_a_manifest_is_made_from_an_older_one() -> None:
    image = f"registry.example/api:v1.5.0@sha256:{'b' * 64}"
    made, new = derived(MANIFEST.encode(), "releases/api/1.4.0.yaml", Version("1.5.0"), image)
    assert new.version.text == "1.5.0"
    assert new.artifact == Artifact(image=image)
    assert new.upgrade.from_ == ">=1.0.0"
    assert (new.upgrade.urgency, new.withdrawn, new.notes) == ("normal", None, "")
    text = made.decode()
    assert text.startswith('# How api is released\nservice: api\nversion: "1.5.0"   # quoted\n')
    assert "# answers" in text


def test_what_no_manifest_can_be_made_of_is_told() -> None:
    with pytest.raises(UgsError, match=r"what was made of it for 1\.5\.0 is not right"):
        derived(MANIFEST.encode(), "releases/api/1.4.0.yaml", Version("1.5.0"), "no-digest")


def pinned(bump: str) -> None:
    text = f'environment: production\ndriver: {{kind: process}}\npins:\n  api: {{version: "1.0.0", bump: {bump}}}\n'
    parse_part(read(text.encode(), "environments/production.yaml"))


def test_a_bump_is_checked() -> None:
    pinned('{from: releases, range: "^1", group: shop}')
    pinned('{from: git-tags, range: "^1", repository: "https://git.example/a.git"}')
    for bad, why in (
        ('{from: releases, range: "^^1"}', "bump.range"),
        ('{from: git-tags, range: "^1"}', "whose tags"),
        ('{from: registry, range: "^1", repository: "https://git.example/a.git"}', "no use for this"),
        ('{from: nowhere, range: "^1"}', "releases or registry or git-tags"),
        ("{from: releases}", "`range` is missing"),
    ):
        with pytest.raises(InputError, match=why):
            pinned(bad)
