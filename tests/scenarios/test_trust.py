"""Only what allowed signers signed is followed: the branch stops at the last trusted revision, and says so."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import pytest

from reconciler.engine import people
from reconciler.engine import trust as trusting
from reconciler.engine.attention import needs_person
from reconciler.engine.status import explain_of, plan_of, status_of
from reconciler.engine.trust import Untrusted
from reconciler.model.errors import HostError, InputError, UgsError
from reconciler.model.trust import Signature
from tests.fleet_repository import ENVIRONMENT_FILE
from tests.git.colleague import git
from tests.git.keys import Keys
from tests.world import World

pytestmark = pytest.mark.slow

Verify = Callable[[Sequence[str]], list[Signature]]
PRODUCTION = "environments: {production: [ada@example.org]}"


@pytest.fixture
def keys(world: World) -> Keys:
    """Ada, Mallory and UGS are signers; Ada signs what she commits."""
    keys = Keys(world.folder)
    keys.allow("ada", "mallory", "ugs")
    trust(world, keys)
    world.signing = keys.signing("ada")
    return keys


def trust(world: World, keys: Keys, more: str = "") -> None:
    """What ugs.yaml says from the next start on."""
    world.identity_more = f', signing_key: "{keys.private("ugs")}"'
    files = f'signers: "{keys.allowed}", revoked: "{keys.revoked}"'
    world.settings_more = f"trust: {{{', '.join(filter(None, (files, more)))}}}\n"


async def follow(world: World) -> None:
    """Fetch, whether the tip is trusted or not. Whatever is in force could be deployed, and here seldom is."""
    with contextlib.suppress(Untrusted):
        await world.fleet.refresh()


def in_force(world: World, service: str = "api") -> str:
    """The version that production is asked to run."""
    return world.core.desired["production"].workloads[service].target.version.text


# The whole branch


@pytest.mark.fault("HR-08")
async def test_an_unsigned_commit_is_refused_and_what_is_in_force_stays(world: World, keys: Keys) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    good = world.bump("1.1.0")
    world.signing = {}
    bad = world.bump("1.2.0")
    with pytest.raises(Untrusted, match=f"commit {bad[:12]} is not trusted: it is not signed") as caught:
        await world.fleet.refresh()
    await world.settle(refresh=False)

    assert f"{good[:12]} stays in force" in str(caught.value)
    assert f"set trust.since in ugs.yaml to {bad}" in caught.value.remedy
    assert world.answers() == "1.1.0"
    assert world.state_of_branch() == "untrusted"
    assert any("is not trusted" in sentence for sentence in needs_person(world.fleet))
    explained = explain_of(world.fleet, "production", "api")
    [gate] = [gate for gate in explained["gates"] if not gate["open"]]
    assert gate["gate"] == "trust"
    assert gate["reason"] == f"commit {bad[:12]} is not trusted: it is not signed"
    assert explained["sentence"] == f"production: api 1.1.0 → 1.2.0 waits: {gate['reason']}"
    [change] = plan_of(world.fleet)["changes"]
    assert (change["to"].partition("@")[0], change["starts_at"]) == ("1.2.0", None)
    [environment] = status_of(world.fleet, {})["environments"]
    assert environment["revision"] == good

    for _ in range(2):
        await follow(world)
    await world.settle(refresh=False)
    assert world.phases() == ["succeeded", "succeeded"]
    assert len([call for call in world.calls() if "is not trusted" in call]) == 1


@pytest.mark.fault("HR-09")
async def test_an_unsigned_commit_under_a_signed_tip_stops_the_branch_there(world: World, keys: Keys) -> None:
    world.deploy_first("1.0.0")
    await follow(world)
    world.signing = {}
    bad = world.bump("1.1.0")
    world.signing = keys.signing("ada")
    world.bump("1.2.0")
    with pytest.raises(Untrusted, match=bad[:12]):
        await world.fleet.refresh()
    assert in_force(world) == "1.0.0"


async def test_a_signed_commit_on_top_does_not_unstick_it_and_moving_since_does(
    world: World, keys: Keys
) -> None:
    world.deploy_first("1.0.0")
    await follow(world)
    world.signing = {}
    bad = world.bump("1.1.0")
    world.signing = keys.signing("ada")
    world.bump("1.2.0")
    await follow(world)
    assert in_force(world) == "1.0.0"

    trust(world, keys, f'since: "{bad}"')
    await world.restart()
    await follow(world)
    assert world.state_of_branch() == "ok"
    assert in_force(world) == "1.2.0"


async def test_what_was_only_untrusted_may_be_forced_off_the_branch(world: World, keys: Keys) -> None:
    world.deploy_first("1.0.0")
    start = world.tip()
    await follow(world)
    world.signing = {}
    world.bump("1.1.0")
    await follow(world)
    world.ada.git("reset", "--quiet", "--hard", start)
    world.signing = keys.signing("ada")
    world.release("1.2.0")
    world.pin("1.2.0")
    world.commit("Something else")
    world.ada.push("--force")
    await follow(world)
    assert in_force(world) == "1.2.0"


async def test_after_an_accepted_rewrite_everything_since_the_anchor_is_looked_at_again(
    world: World, keys: Keys
) -> None:
    world.deploy_first("1.0.0")
    trust(world, keys, f'since: "{world.tip()}"')
    start = world.tip()
    world.bump("1.1.0")
    await follow(world)
    world.ada.git("reset", "--quiet", "--hard", start)
    world.signing = {}
    bad = world.commit("Under it")
    world.signing = keys.signing("ada")
    world.release("1.2.0")
    world.pin("1.2.0")
    world.commit("Something else")
    world.ada.push("--force")
    with pytest.raises(Untrusted, match=bad[:12]):
        await world.fleet.refresh(accept_rewrite=True)
    assert world.fleet.tip == start


@pytest.mark.parametrize("commits", ["first-parent", "all"])
async def test_a_merge_vouches_for_its_side_unless_every_commit_must_be_signed(
    world: World, keys: Keys, commits: str
) -> None:
    trust(world, keys, f"commits: {commits}")
    keys.allow("web-flow")
    world.deploy_first("1.0.0")
    await follow(world)
    world.ada.git("checkout", "--quiet", "-b", "side")
    world.signing = {}
    world.release("1.1.0")
    world.pin("1.1.0")
    side = world.commit("Bump api to 1.1.0")
    world.ada.git("checkout", "--quiet", "main")
    merge = ("merge", "--quiet", "--no-ff", "--message=Merge pull request", "side")
    world.ada.git(*merge, environment=keys.signing("web-flow"))
    world.ada.push()
    if commits == "all":
        with pytest.raises(Untrusted, match=f"commit {side[:12]} is not trusted: it is not signed"):
            await world.fleet.refresh()
    await follow(world)
    assert in_force(world) == ("1.0.0" if commits == "all" else "1.1.0")


@pytest.mark.fault("HR-10")
async def test_a_key_that_was_revoked_moves_nothing_more_and_takes_nothing_back(
    world: World, keys: Keys
) -> None:
    world.deploy_first("1.0.0")
    await follow(world)
    keys.revoke("ada")
    world.signing |= {"GIT_COMMITTER_DATE": "2019-03-01T09:00:00+00:00"}
    world.bump("1.1.0")
    await follow(world)
    assert world.state_of_branch() == "untrusted"
    await world.restart()
    assert world.fleet.tip is not None
    await follow(world)
    assert in_force(world) == "1.0.0"


async def test_what_was_found_is_not_looked_for_again(
    world: World, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deploy_first("1.0.0")
    await follow(world)
    looked: list[str] = []
    for _ in range(2):
        mirror = world.core.repository.mirror

        def noted(shas: Sequence[str], own: Verify = mirror.signatures) -> list[Signature]:
            looked.extend(shas)
            return own(shas)

        monkeypatch.setattr(mirror, "signatures", noted)
        new = world.merge("Say more")
        await follow(world)
        assert looked == [new]
        looked.clear()
        await world.restart()


@pytest.mark.fault("GT-16")
async def test_many_commits_are_looked_at_page_by_page_and_only_the_last_is_deployed(
    world: World, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trusting, "PAGE_COMMITS", 2)
    world.deploy_first("1.0.0")
    for version in ("1.1.0", "1.2.0", "1.3.0"):
        world.bump(version)
    await follow(world)
    assert world.events().count("accepted") == 1
    assert in_force(world) == "1.3.0"

    monkeypatch.setattr(trusting, "BROUGHT_MAX", 0)
    world.merge("Say more")
    with pytest.raises(Untrusted, match="it merges more than 0 commits at once"):
        await world.fleet.refresh()


# What UGS commits itself


@pytest.mark.fault("GT-13")
async def test_our_own_revert_is_signed_and_followed_and_runs_nothing_again(world: World, keys: Keys) -> None:
    trust(world, keys, PRODUCTION)
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    await world.settle()
    for _ in range(2):
        await world.settle()
    [revert] = world.reverts()
    assert world.fleet.tip == revert == world.tip()
    assert world.state_of_branch() == "ok"
    assert "-----BEGIN SSH SIGNATURE-----" in git(world.remote, "cat-file", "commit", revert)
    assert world.phases() == ["succeeded", "reverted"]
    assert world.answers() == "1.0.0"
    assert world.fleet.problems == ()


async def test_a_pin_is_reverted_on_an_untrusted_tip_and_blesses_nothing_under_it(
    world: World, keys: Keys
) -> None:
    world.deploy_first("1.0.0")
    await world.settle()
    world.bump("1.1.0", "unhealthy")

    def intrude() -> None:
        world.signing = {}
        world.bump("2.0.0", service="web")

    world.at["phase:restoring"] = intrude
    await follow(world)
    await world.settle(refresh=False)
    await follow(world)
    await world.settle(refresh=False)
    [revert] = world.reverts()
    assert world.tip() == revert
    assert world.phases() == ["succeeded", "reverted"]
    assert world.state_of_branch() == "untrusted"
    assert (world.answers(), world.answers("web")) == ("1.0.0", "")


async def test_a_daemon_whose_key_would_not_count_does_not_start(world: World, keys: Keys) -> None:
    keys.allowed.write_text("")
    keys.allow("ada")
    with pytest.raises(HostError, match=r"identity\.signing_key: what it signs would not be trusted"):
        world.core  # noqa: B018 - opening it is what is tried
    trust(world, keys)
    world.identity_more = ""
    with pytest.raises(InputError, match="nothing signs them"):
        world.core  # noqa: B018


async def test_an_anchor_that_is_not_on_the_branch_is_told_and_nothing_is_followed(
    world: World, keys: Keys
) -> None:
    world.deploy_first("1.0.0")
    trust(world, keys, f'since: "{"1" * 40}"')
    with pytest.raises(UgsError, match=r"trust\.since: the branch does not contain 111111111111"):
        await world.fleet.refresh()
    assert world.fleet.tip is None


async def test_a_first_commit_that_is_not_trusted_leaves_nothing_in_force(world: World, keys: Keys) -> None:
    world.signing = {}
    world.deploy_first("1.0.0")
    with pytest.raises(Untrusted, match="it is not signed; nothing is in force"):
        await world.fleet.refresh()
    assert world.fleet.passes == {}


async def test_signers_that_cannot_be_read_at_a_start_put_nothing_in_force(world: World, keys: Keys) -> None:
    world.deploy_first("1.0.0")
    await follow(world)
    world.bump("1.1.0")
    await follow(world)
    assert world.core.own_key
    trust(world, keys, "commits: all")
    await world.stopped()
    assert world.core.own_key
    keys.allowed.chmod(0o666)
    await world.fleet.start()
    assert world.state_of_branch() == "untrusted"
    assert world.fleet.passes == {}


# One environment


@pytest.fixture
def guarded(world: World, keys: Keys) -> World:
    """Production is Ada's to move; staging any signer's. Both run 1.0.0."""
    trust(world, keys, PRODUCTION)
    world.deploy_first("1.0.0")
    return world


async def intrusion(world: World, keys: Keys, version: str = "1.1.0") -> str:
    """Mallory, an allowed signer, pins another version in production."""
    world.signing = keys.signing("mallory")
    sha = world.bump(version)
    world.signing = keys.signing("ada")
    await follow(world)
    return sha


async def test_an_environment_stays_where_its_signers_left_it_and_others_go_on(
    guarded: World, keys: Keys
) -> None:
    world = guarded
    await world.settle()
    start = world.tip()
    bad = await intrusion(world, keys)
    assert world.state_of_branch() == "ok"
    assert in_force(world) == "1.0.0"
    [problem] = world.fleet.problems
    assert problem.message == (
        f"commit {bad[:12]} changes {ENVIRONMENT_FILE}, and its signer mallory@example.org may not move "
        "production; those who may: ada@example.org"
    )
    assert f"put {ENVIRONMENT_FILE} back as it was before {bad[:12]}" in problem.remedy
    await world.a_pass()
    [gate] = [gate for gate in world.view().gates if not gate.open]
    assert (gate.gate, gate.reason, gate.opened_by) == ("trust", problem.message, problem.remedy)

    text = world.pinned().replace("production", "staging").replace("1.1.0", "1.0.0")
    world.files["environments/staging.yaml"] = text
    world.signing = keys.signing("mallory")
    tip = world.merge("Begin with staging")
    await follow(world)
    revisions = {one["environment"]: one["revision"] for one in status_of(world.fleet, {})["environments"]}
    assert revisions == {"production": start, "staging": tip}
    await world.restart()
    await follow(world)
    assert world.core.desired["production"].revision == start
    assert in_force(world) == "1.0.0"


async def test_what_is_put_on_top_does_not_make_it_good_and_putting_it_back_does(
    guarded: World, keys: Keys
) -> None:
    world = guarded
    await follow(world)
    await intrusion(world, keys)
    world.bump("1.2.0")  # by Ada, on what Mallory left
    await follow(world)
    assert in_force(world) == "1.0.0"

    world.pin("1.0.0")
    world.merge("Put it back")
    await follow(world)
    assert world.fleet.problems == ()
    world.bump("1.3.0")
    await follow(world)
    assert in_force(world) == "1.3.0"


async def test_who_is_allowed_later_is_allowed_what_they_did(guarded: World, keys: Keys) -> None:
    world = guarded
    await follow(world)
    await intrusion(world, keys)
    trust(world, keys, "environments: {production: ['*@example.org']}")
    await world.restart()
    await follow(world)
    assert in_force(world) == "1.1.0"


async def test_a_pinned_release_is_its_environments_and_a_new_one_anyones(guarded: World, keys: Keys) -> None:
    world = guarded
    await follow(world)
    start, good = world.tip(), world.text("releases/api/1.0.0.yaml")
    world.signing = keys.signing("mallory")
    world.release("2.0.0")
    world.merge("Add a release")
    await follow(world)
    assert world.core.desired["production"].revision == world.tip() != start
    start = world.tip()

    world.files["releases/api/1.0.0.yaml"] = good + "notes: altered\n"
    world.merge("Alter what production waits for")
    await follow(world)
    [problem] = world.fleet.problems
    assert "changes releases/api/1.0.0.yaml" in problem.message
    assert world.core.desired["production"].revision == start

    world.signing = keys.signing("ada")
    world.files["releases/api/1.0.0.yaml"] = good
    world.merge("Put it back")
    await follow(world)
    assert world.fleet.problems == ()
    assert world.core.desired["production"].revision == world.tip()


async def test_a_release_is_kept_also_while_the_pin_to_it_is_not_there(guarded: World, keys: Keys) -> None:
    world = guarded
    await follow(world)
    start = world.tip()
    await intrusion(world, keys)
    world.signing = keys.signing("mallory")
    text = world.text("releases/api/1.0.0.yaml")
    world.files["releases/api/1.0.0.yaml"] = text + "notes: altered\n"
    world.merge("Alter what production runs")
    world.pin("1.0.0")
    world.merge("Put the pin back, and not the release")
    await follow(world)
    [problem] = world.fleet.problems
    assert "changes releases/api/1.0.0.yaml" in problem.message
    assert world.core.desired["production"].revision == start


async def retried_by_mallory(world: World, keys: Keys) -> str:
    """The operation that failed, and that somebody who may not move production would have tried again."""
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    await world.settle()
    failed = world.upgrades()[0].operation
    world.signing = keys.signing("mallory")
    world.merge(f"Try again\n\nUgs-Retry: {failed}\n")
    await world.settle()
    return failed


async def test_a_release_from_quarantine_is_for_those_who_may_move_the_environment(
    guarded: World, keys: Keys
) -> None:
    world = guarded
    failed = await retried_by_mallory(world, keys)
    assert [row.operation for row in world.core.store.quarantined("production")] == [failed]

    await people.retry(world.fleet, "production", "api", actor="Ada")
    assert world.core.store.quarantined("production") == []


async def test_nor_does_it_release_anything_for_a_daemon_that_reads_of_it_later(
    guarded: World, keys: Keys
) -> None:
    world = guarded
    failed = await retried_by_mallory(world, keys)
    await world.deliver()
    world.forget()
    for file in world.state.glob("ugs.db*"):
        file.unlink()
    await world.settle()
    assert [row.operation for row in world.core.store.quarantined("production")] == [failed]


async def test_an_environment_that_was_never_its_signers_is_not_in_force(world: World, keys: Keys) -> None:
    trust(world, keys, PRODUCTION)
    world.signing = keys.signing("mallory")
    world.deploy_first("1.0.0")
    await follow(world)
    assert world.fleet.passes == {}
    [problem] = world.fleet.problems
    assert problem.remedy.startswith(f"put {ENVIRONMENT_FILE} back as it was before {world.tip()[:12]}")


async def test_a_rule_for_an_environment_that_does_not_exist_is_told(world: World, keys: Keys) -> None:
    trust(world, keys, "environments: {prodution: [ada@example.org]}")
    world.deploy_first("1.0.0")
    await follow(world)
    [problem] = world.fleet.problems
    assert (problem.path, problem.message) == (
        "trust.environments.prodution",
        "the repository has no such environment",
    )


async def test_what_was_found_trusted_before_a_kill_is_put_in_force_by_the_next_start(
    world: World, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.bump("1.0.0")
    await world.settle()
    world.bump("1.1.0", "unhealthy")
    await world.settle()
    [failed] = world.core.store.quarantined("production")
    tip = world.merge(f"Try again\n\nUgs-Retry: {failed.operation}\n")

    def killed(*_: str) -> None:
        raise HostError("the daemon is killed")

    with monkeypatch.context() as patch:
        patch.setattr(world.core.repository, "retries", killed)
        with pytest.raises(HostError, match="is killed"):
            await world.fleet.refresh()
    world.forget()
    await world.fleet.start()
    await world.fleet.refresh()
    assert world.core.repository.mirror.accepted() == tip
    assert world.core.store.quarantined("production") == []
