"""A forge's approving reviews as approvals, over real Git: what was reviewed and merged starts by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from reconciler.engine import permits
from reconciler.engine.daemon import Daemon
from reconciler.engine.pull_requests.previews import Previewer
from reconciler.engine.pull_requests.reviews import Reviews
from reconciler.forge import Denied
from reconciler.model.previewed import AGAIN_AFTER
from tests.forge.dialects import Answer
from tests.forge.server import ForgeServer
from tests.git.colleague import git
from tests.world import World

pytestmark = pytest.mark.slow

ONE = "policy: {approvals: {major: 1}, reviews: count}\n"
TWO = "policy: {approvals: {major: 2}, reviews: count}\n"
EYES = "policy: {approvals: {major: 1}, reviews: count, four_eyes: true}\n"
OWNERS = "policy: {approvals: {major: 1}, reviews: owners}\n"


async def started(world: World, policy: str = ONE) -> None:
    world.more = policy
    world.deploy_first("1.0.0")
    await world.settle()


async def looked(world: World, reviews: Reviews | None = None) -> None:
    await (reviews or Reviews(world.core, world.fleet)).round()
    await world.settle(refresh=False)


async def merged(world: World, forge: ForgeServer, number: int) -> str:
    commit = forge.merge(number)
    await world.settle()
    await looked(world)
    return commit


def gate(world: World) -> str:
    [found] = [one for one in world.view().gates if one.gate == "approval"]
    assert not found.open
    return found.reason


async def test_what_was_reviewed_and_merged_starts_by_itself(world: World, forge: ForgeServer) -> None:
    await started(world)
    number = world.propose(forge, "2.0.0")
    forge.review(number, "ada")
    await merged(world, forge, number)
    assert world.answers() == "2.0.0"
    [row] = [row for row in world.core.store.audit_rows(limit=1000) if row.event == "approved"]
    assert row.actor == "ada"
    assert row.detail.endswith(f"by a review of {forge.url}/ops/fleet/pull/{number}")
    assert any("approved by ada, by a review of http" in one for one in world.told())


async def test_of_an_earlier_push_a_review_does_not_count_and_it_waits(
    world: World, forge: ForgeServer
) -> None:
    await started(world)
    number = world.propose(forge, "2.0.0")
    forge.review(number, "ada")
    world.ada.git("checkout", "--quiet", "api-2.0.0")
    world.ada.commit({"README.md": "One more thing\n"}, "One more thing")
    world.ada.git("push", "--quiet", "origin", "api-2.0.0")
    world.ada.git("checkout", "--quiet", "main")
    await merged(world, forge, number)
    assert world.answers() == "1.0.0"
    assert gate(world).endswith("do not count: ada (of an earlier push)")
    forge.review(number, "cyd")
    await looked(world)
    assert world.answers() == "2.0.0"


async def test_a_merge_that_holds_more_than_was_reviewed_is_nobody_s_to_have_approved(
    world: World, forge: ForgeServer
) -> None:
    await started(world)
    number = world.propose(forge, "2.0.0")
    forge.review(number, "ada")
    world.release("3.0.0")
    world.ada.git("merge", "--quiet", "--no-ff", "--no-commit", "api-2.0.0")
    world.pin("3.0.0")
    world.commit("Merge api-2.0.0")
    evil = git(world.ada.folder, "rev-parse", "HEAD")
    world.ada.git("push", "--quiet", "origin", "main")
    forge.pulls[number].state, forge.pulls[number].merged_as = "merged", evil
    await world.settle()
    await looked(world)
    assert world.answers() == "1.0.0"
    assert "it holds something else besides" in gate(world)


async def test_whoever_asks_for_changes_keeps_it_waiting_and_a_review_taken_back_counts_no_more(
    world: World, forge: ForgeServer
) -> None:
    await started(world, TWO)
    number = world.propose(forge, "2.0.0")
    forge.review(number, "ada")
    await merged(world, forge, number)
    assert "has 1 (ada, by a review of" in gate(world)
    forge.review(number, "cyd", "rejected")
    await looked(world)
    assert gate(world).startswith("needs 2 approvals, has none; of the reviews of ")
    assert gate(world).endswith("cyd asks for changes")
    assert "approval-withdrawn api" in world.events()
    forge.dismiss(number, "cyd")
    await looked(world)
    assert "has 1 (ada" in gate(world)
    forge.review(number, "cyd")
    await looked(world)
    assert world.answers() == "2.0.0"


async def test_what_somebody_withdrew_is_not_taken_for_an_approval_again(
    world: World, forge: ForgeServer
) -> None:
    await started(world, TWO)
    number = world.propose(forge, "2.0.0")
    forge.review(number, "ada")
    await merged(world, forge, number)
    [given] = world.core.store.permits("production").approvals
    permits.withdraw(world.fleet, given.id, actor="cyd")
    await world.settle(refresh=False)
    await looked(world)
    assert gate(world).startswith("needs 2 approvals, has none")
    await Reviews(world.core, world.fleet).round()
    assert not world.fleet.passes["production"].wake.is_set()


async def test_somebody_who_reviewed_and_approved_counts_once(world: World, forge: ForgeServer) -> None:
    world.settings_more = world.settings_more.replace(
        "forge: {", "forge: {people: {ada-l: ada@example.org}, "
    )
    await started(world, TWO)
    forge.writers.add("ada-l")
    number = world.propose(forge, "2.0.0")
    await merged(world, forge, number)
    await permits.approve(world.fleet, "production", "api", actor="ada")
    forge.review(number, "ada-l")
    await looked(world)
    assert gate(world).startswith("needs 2 approvals, has 1 (ada)")
    await permits.approve(world.fleet, "production", "api", actor="eve")
    await world.settle(refresh=False)
    assert world.answers() == "2.0.0"


async def test_the_author_s_account_never_counts(world: World, forge: ForgeServer) -> None:
    await started(world)
    number = world.propose(forge, "2.0.0")
    forge.review(number, "bob")
    await merged(world, forge, number)
    assert gate(world).endswith("bob (opened the pull request)")


async def test_owners_alone_count_as_codeowners_stood_before(world: World, forge: ForgeServer) -> None:
    world.files["CODEOWNERS"] = "environments/ @ops/deployers\n"
    await started(world, OWNERS)
    forge.teams["ops/deployers"] = ["cyd"]
    world.files["CODEOWNERS"] = "* @ada\n"  # that pull request would have ada own it
    number = world.propose(forge, "2.0.0")
    forge.review(number, "ada")
    await merged(world, forge, number)
    assert "ada (reviewed it, and is no owner by CODEOWNERS)" in gate(world)
    forge.review(number, "cyd")
    await looked(world)
    assert world.answers() == "2.0.0"


async def test_without_codeowners_nobody_is_an_owner(world: World, forge: ForgeServer) -> None:
    await started(world, OWNERS)
    number = world.propose(forge, "2.0.0")
    forge.review(number, "ada")
    await merged(world, forge, number)
    assert "there was no CODEOWNERS before the push" in gate(world)


async def test_a_forge_that_is_down_is_said_beside_the_gate_and_holds_up_nothing_else(
    world: World, forge: ForgeServer
) -> None:
    world.pin("1.0.0", "web")
    world.release("1.0.0", service="web")
    await started(world)
    number = world.propose(forge, "2.0.0")
    forge.review(number, "ada")
    forge.go_down()
    await merged(world, forge, number)
    assert "reviews cannot be looked at: GitHub cannot be reached" in gate(world)
    world.bump("1.1.0", service="web")
    await world.settle()
    assert world.answers("web") == "1.1.0"
    forge.come_up()
    await looked(world)
    assert world.answers() == "2.0.0"


async def test_a_token_that_may_not_read_reviews_calls_a_person(world: World, forge: ForgeServer) -> None:
    await started(world)
    number = world.propose(forge, "2.0.0")
    forge.review(number, "ada")
    forge.merge(number)
    await world.settle()
    forge.answer_next(Answer(403, {"message": "Resource not accessible by personal access token"}))
    await looked(world)
    assert "Resource not accessible" in gate(world)
    assert any("Resource not accessible" in one for one in world.calls())


async def test_a_commit_without_a_pull_request_waits_for_ugs_approve(
    world: World, forge: ForgeServer
) -> None:
    await started(world)
    pushed = world.bump("2.0.0")
    await world.settle()
    await looked(world)
    assert f"no pull request that was merged into main brought {pushed[:12]}" in gate(world)


async def test_where_reviews_are_ignored_nobody_asks_the_forge(world: World, forge: ForgeServer) -> None:
    await started(world, "policy: {approvals: {major: 1}}\n")
    number = world.propose(forge, "2.0.0")
    forge.review(number, "ada")
    await merged(world, forge, number)
    assert gate(world) == "needs 1 approval, has none"
    assert not any("/pulls" in one for one in forge.calls)


async def test_what_begins_to_wait_is_looked_at_soon_and_once(world: World, forge: ForgeServer) -> None:
    await started(world, TWO)
    reviews, here = Reviews(world.core, world.fleet), world.fleet.passes["production"]
    forge.merge(world.propose(forge, "2.0.0"))
    await world.settle()
    reviews.stir(here)
    assert world.core.wake.reviews.is_set()
    await looked(world, reviews)
    world.core.wake.reviews.clear()
    reviews.stir(here)
    assert not world.core.wake.reviews.is_set()
    world.core.look_at_pulls()
    assert world.core.wake.reviews.is_set()


async def test_a_single_run_looks_before_it_ends(world: World, forge: ForgeServer) -> None:
    await started(world)
    number = world.propose(forge, "2.0.0")
    forge.review(number, "ada")
    forge.merge(number)
    assert await Daemon(world.core).run_once()
    assert world.answers() == "2.0.0"


async def test_a_fast_forward_is_what_was_reviewed_and_a_commit_on_top_is_not(
    world: World, forge: ForgeServer
) -> None:
    await started(world)
    number = world.propose(forge, "2.0.0")
    forge.review(number, "ada")
    commit = forge.merge(number, method="--ff-only")
    assert commit == forge.pulls[number].head
    await world.settle()
    await looked(world)
    assert world.answers() == "2.0.0"

    later = world.propose(forge, "3.0.0")
    forge.review(later, "ada")
    world.release("4.0.0")
    world.ada.git("merge", "--quiet", "--ff-only", "api-3.0.0")
    world.pin("4.0.0")
    evil = world.commit("And one more thing")
    world.ada.git("push", "--quiet", "origin", "main")
    forge.pulls[later].state, forge.pulls[later].merged_as = "merged", evil
    await world.settle()
    await looked(world)
    assert "it holds something else besides" in gate(world)


async def test_two_that_wait_are_told_of_one_trouble_and_what_is_no_longer_wanted_is_forgotten(
    world: World, forge: ForgeServer
) -> None:
    world.pin("1.0.0", "web")
    world.release("1.0.0", service="web")
    await started(world)
    world.release("2.0.0", service="web")
    world.pin("2.0.0", "web")
    number = world.propose(forge, "2.0.0")
    forge.review(number, "ada")
    forge.merge(number)
    await world.settle()
    forge.go_down()
    reviews = Reviews(world.core, world.fleet)
    await looked(world, reviews)
    assert [key[1] for key in world.core.reviewed] == ["api", "web"]
    assert len(set(world.core.reviewed.values())) == 1
    forge.come_up()
    async with kept(reviews):
        await world.eventually(lambda: len(world.core.store.permits("production").approvals) == 2)
    await world.settle(refresh=False)
    assert (world.answers(), world.answers("web")) == ("2.0.0", "2.0.0")
    await reviews.round()
    assert world.core.reviewed == {}


@contextlib.asynccontextmanager
async def kept(reviews: Reviews) -> AsyncIterator[None]:
    """As the daemon keeps it."""
    task = asyncio.create_task(reviews.keep())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def foretold(world: World, forge: ForgeServer, number: int, previewer: Previewer) -> dict[str, str]:
    """What the comment on a pull request says of its approvals."""
    world.clock.move(AGAIN_AFTER)
    await previewer.round()
    [comment] = [text for text in forge.said(number) if "### UGS" in text]
    said = (line.removeprefix("- ").partition(": `") for line in comment.splitlines())
    return {label: text.removesuffix("`") for label, _, text in said if label in FORETOLD}


FORETOLD = ("waits for approval", "reviews")
WAITS = "more people have to approve it: reviews of this very head count once it is merged"
ENOUGH = "enough people approve it: reviews of this very head count once it is merged"
BY_HAND = " (opened by ugs approve production api)"


@pytest.mark.parametrize(
    ("policy", "owners", "people", "needs"),
    [
        (TWO, "", {}, "needs 2 approvals, has 1 (ada, by a review of "),
        (
            OWNERS,
            "* @cyd\n",
            {},
            "needs 1 approval, has none; not counted: ada (reviewed it, and is no owner",
        ),
        (OWNERS, "", {}, "; there was no CODEOWNERS before the push: nobody counts as an owner"),
        (EYES, "", {}, "not counted: ada (reviewed it, and forge.people does not say who that is)"),
        (EYES, "", {"ada": "ada@example.org"}, "not counted: ada@example.org (wrote the change)"),
    ],
)
async def test_a_preview_counts_reviews_as_the_gate_will_once_it_is_merged(
    world: World, forge: ForgeServer, policy: str, owners: str, people: dict[str, str], needs: str
) -> None:
    if people:
        named = ", ".join(f"{account}: {name}" for account, name in people.items())
        world.settings_more = world.settings_more.replace("forge: {", f"forge: {{people: {{{named}}}, ")
    if owners:
        world.files["CODEOWNERS"] = owners
    await started(world, policy)
    previewer = Previewer(world.fleet)
    world.files["CODEOWNERS"] = "* @ada\n"  # that pull request would have ada own it
    number = world.propose(forge, "2.0.0")
    forge.review(number, "ada")
    told = await foretold(world, forge, number, previewer)
    await merged(world, forge, number)
    assert needs in gate(world)
    assert told["waits for approval"] == gate(world) + BY_HAND
    assert told["reviews"].startswith(WAITS)
    assert told["reviews"].endswith("wrote it") == ("four_eyes" in policy)


async def test_a_preview_says_when_enough_people_approve_and_when_no_longer(
    world: World, forge: ForgeServer
) -> None:
    await started(world, TWO)
    previewer = Previewer(world.fleet)
    number = world.propose(forge, "2.0.0")
    told = await foretold(world, forge, number, previewer)
    assert "needs 2 approvals, has none; nobody has reviewed http" in told["waits for approval"]
    forge.review(number, "ada")
    forge.review(number, "cyd")
    assert await foretold(world, forge, number, previewer) == {"reviews": ENOUGH}
    assert "| major | at once |" in forge.said(number)[-1]
    forge.writers.add("dan")
    forge.review(number, "dan", "rejected")
    told = await foretold(world, forge, number, previewer)
    assert "has none; of the reviews of http" in told["waits for approval"]
    forge.dismiss(number, "dan")
    assert await foretold(world, forge, number, previewer) == {"reviews": ENOUGH}
    await merged(world, forge, number)
    assert world.answers() == "2.0.0"


async def test_a_preview_whose_reviews_are_refused_is_shown_all_the_same(
    world: World, forge: ForgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_number: int) -> None:
        raise Denied("GitHub refuses: not accessible", "give the token what it lacks")

    await started(world, TWO)
    number = world.propose(forge, "2.0.0")
    forge.review(number, "ada")
    monkeypatch.setattr(world.core.forge, "reviews", refused)
    told = await foretold(world, forge, number, Previewer(world.fleet))
    assert "has none; its reviews cannot be looked at: GitHub refuses" in told["waits for approval"]


async def test_where_reviews_are_ignored_a_preview_asks_for_none(world: World, forge: ForgeServer) -> None:
    await started(world, "policy: {approvals: {major: 2}}\n")
    previewer = Previewer(world.fleet)
    number = world.propose(forge, "2.0.0")
    forge.review(number, "ada")
    told = await foretold(world, forge, number, previewer)
    assert told == {"waits for approval": "needs 2 approvals, has none" + BY_HAND}
    assert not any("/reviews" in one for one in forge.calls)
