"""People who look at pull requests of the daemon's: they merge them, in several manners, close them, delete or push to
their branches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Literal

from tests.simulation.forge import Request, SimulatedForge
from tests.simulation.loop import instant
from tests.simulation.remote import BLOBS

if TYPE_CHECKING:
    from tests.simulation.simulation import Simulation

HEARS_ODDS, DELETES_ODDS = 0.6, 0.5
How = Literal["merge", "squash", "bare", "rebase"]
"""In which manner it is merged: `bare` is a squash that drops the trailers."""


class Reviewing:
    """Those of one seed who look at what the daemon proposes on branches of one sort."""

    prefix = ""
    how: tuple[How, ...] = ()

    def __init__(self, simulation: Simulation, random: Random) -> None:
        self._simulation, self._random = simulation, random
        self.forge: SimulatedForge | None = None
        self.closes = True
        """Whether the forge closes what has lost its branch."""
        self.touched: set[str] = set()
        """Branches that people have pushed to, or deleted."""
        self.merged: dict[str, list[str]] = {}
        """By branch: the commits by which its pins came."""

    def proposals(self) -> list[str]:
        """The branches that wait for somebody."""
        return [
            branch
            for branch in sorted(self._simulation.remote.branches)
            if branch.startswith(self.prefix) and not self._ended(branch)
        ]

    def there(self, branch: str) -> Request | None:
        return self.forge.newest(branch) if self.forge else None

    def _ended(self, branch: str) -> bool:
        there = self.there(branch)
        return there is not None and there.state != "open"

    def _hears(self) -> None:
        """A webhook tells the daemon; or it does not."""
        life = self._simulation.life
        if life and self._random.random() < HEARS_ODDS:
            life.core.look_at_pulls()

    def _look_at_one(self, acts: Mapping[Callable[[str], None], int]) -> None:
        """Somebody does one of these to one of the proposals, each by its weight."""
        if found := self.proposals():
            branch = self._random.choice(found)
            self._random.choices(tuple(acts), tuple(acts.values()))[0](branch)
            self._hears()

    def _merge(self, branch: str) -> None:
        """Merge it, where it has no conflict."""
        simulation, random = self._simulation, self._random
        remote, head, there = simulation.remote, simulation.remote.branches.get(branch), self.there(branch)
        if head is None or (self.forge and there is None):
            return  # whoever looks for a pull request finds none yet
        changes = changes_of(simulation, head)
        if changes is None:
            return
        number, how = f" (#{there.number})" if there else "", random.choice(self.how)
        sha = self._merged(branch, head, changes, number, how)
        simulation.note(f"people merge {branch}{number} as {sha[:12]}: {how}")
        if there:
            there.state = "merged"
        if any(path.startswith("environments/") for path in remote.made[sha].changed):
            self.merged.setdefault(branch, []).append(sha)
        remote.move(sha, "a person")
        if random.random() < DELETES_ODDS:
            del remote.branches[branch]
        if simulation.life and random.random() < 0.7:
            simulation.life.daemon.nudge()

    def _merged(
        self, branch: str, head: str, changes: Mapping[str, bytes | None], number: str, how: How
    ) -> str:
        """The commit on the tip by which a branch is merged."""
        remote, at = self._simulation.remote, instant(self._simulation.time.now_s)
        message = remote.made[head].message
        match how:
            case "merge":
                parents, said = (remote.tip, head), f"Merge {branch}{number}\n"
                return remote.commit(parents, changes, said, author="Bob", at=at)
            case "squash":
                said = message.replace("\n", f"{number}\n", 1)
            case "bare":
                said = f"{remote.made[head].commit.subject}{number}\n"
            case "rebase":
                return self._rebased(head)
        return remote.commit((remote.tip,), changes, said, author="Bob", at=at)

    def _rebased(self, head: str) -> str:
        """Each commit of the branch made anew on the tip, by its author still."""
        remote, at, sha = (
            self._simulation.remote,
            instant(self._simulation.time.now_s),
            self._simulation.remote.tip,
        )
        apart = [one for one in remote.history(head) if not remote.reaches(remote.tip, one.commit.sha)]
        for one in reversed(apart):
            changes = {path: BLOBS[one.tree[path]] if path in one.tree else None for path in one.changed}
            author = one.commit.author
            sha = remote.commit((sha,), changes, one.message, author=author, at=at, committer="Bob")
        return sha

    def _close(self, branch: str) -> None:
        if there := self.there(branch):
            there.state = "closed"
            self._simulation.note(f"people close #{there.number} of {branch}")
            self._turned_down(there)
            if self._random.random() < DELETES_ODDS:
                del self._simulation.remote.branches[branch]

    def _delete(self, branch: str) -> None:
        self._simulation.note(f"people delete {branch}")
        del self._simulation.remote.branches[branch]
        self.touched.add(branch)
        there = self.there(branch)
        if there and self.closes:
            there.state = "closed"
            self._turned_down(there)

    def _turned_down(self, there: Request) -> None:
        """Nobody is to ask for that again."""

    def _push(self, branch: str) -> None:
        """A commit of somebody's own on the branch."""
        remote, at = self._simulation.remote, instant(self._simulation.time.now_s)
        head = remote.branches[branch]
        why = f"{self._random.random()}\n".encode()
        self._simulation.note(f"people push to {branch}")
        remote.branches[branch] = remote.commit((head,), {"NOTES.md": why}, "Say why\n", author="Ada", at=at)
        self.touched.add(branch)


def changes_of(simulation: Simulation, head: str) -> Mapping[str, bytes | None] | None:
    """What merging a branch now changes; None where it has a conflict: a file that both have changed."""
    remote = simulation.remote
    base = next(made for made in remote.history(head) if remote.reaches(remote.tip, made.commit.sha)).tree
    theirs, ours = remote.made[head].tree, remote.made[remote.tip].tree
    found: dict[str, bytes | None] = {}
    for path in sorted(base.keys() | theirs.keys()):
        was, will, now = base.get(path), theirs.get(path), ours.get(path)
        if will in (was, now):
            continue
        if now != was:
            return None
        found[path] = BLOBS[will] if will else None
    return found


# before a branch of ours is pushed: (simulation, where it stood, where it is to stand, its name)


def a_person_s_commits_are_not_overwritten(
    simulation: Simulation, before: str | None, _after: str, name: str
) -> str:
    author = simulation.remote.made[before].commit.author if before else "UGS"
    return "" if author == "UGS" else f"{name} is made anew over a commit of {author}'s"
