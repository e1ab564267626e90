"""A forge in memory: the pull requests of the simulated remote, with the interface that the engine asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from reconciler.forge import Comment, Denied, Draft, Invalid, Pull, Unavailable
from tests.simulation.faults import Weather
from tests.simulation.remote import Remote

LIMITED_S = 7.0
CALLS = frozenset(
    {"pull_from", "open_pull", "close_pull", "merge_when_ready", "open_pulls", "pull", "edit_pull", "comment"}
)
"""What can be slow, as the loop knows it by name."""
SLOW_S = 14.0


@dataclass
class Request:
    """A pull request as it stands. `answered`: the daemon has heard that it is open no longer."""

    number: int
    branch: str
    state: Literal["open", "closed", "merged"] = "open"
    waits: bool = False
    """To be merged by the forge itself."""
    answered: bool = False
    title: str = ""
    body: str = ""
    labels: list[str] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)


class SimulatedForge:
    """reconciler.forge.Forge, as far as reverts and promotions need it; it outlives every daemon."""

    name = "the forge"

    def __init__(self, weather: Weather, remote: Remote, *, merges: bool) -> None:
        """`merges`: it can merge by itself, later."""
        self._weather, self._remote, self._merges = weather, remote, merges
        self.pulls: list[Request] = []
        self.opens: list[Callable[[Draft], None]] = []
        """Hear of what the daemon is about to open, and below, to comment on, to close, or to say otherwise."""
        self.comments_on: list[Callable[[Request, str], None]] = []
        self.closes: list[Callable[[Request], None]] = []
        self.edits: list[Callable[[Request, str, str], None]] = []
        self.interrupt: Callable[[], None] = lambda: None

    def newest(self, branch: str) -> Request | None:
        return next((one for one in reversed(self.pulls) if one.branch == branch), None)

    # what the engine asks

    def close(self) -> None: ...

    def check(self) -> None:
        self._reach()

    def set_status(self, *_said: object) -> None:
        self._reach()

    set_check = set_deployment = edit_comment = set_status

    def pulls_with(self, _commit: str) -> tuple[Pull, ...]:
        self._reach()
        return ()

    def pull_from(self, branch: str) -> Pull | None:
        self.interrupt()
        self._reach()
        found = self.newest(branch)
        if found is None:
            return None
        found.answered = found.state != "open"
        return self._shown(found)

    def pull(self, number: int) -> Pull:
        self._reach()
        found = self.pulls[number - 1]
        found.answered = found.state != "open"
        return self._shown(found)

    def open_pulls(self, _base: str) -> tuple[Pull, ...]:
        self._reach()
        return tuple(self._shown(one) for one in reversed(self.pulls) if one.state == "open")

    def comments(self, number: int) -> tuple[Comment, ...]:
        self._reach()
        return tuple(self.pulls[number - 1].comments)

    def comment(self, number: int, body: str) -> None:
        self._reach()
        said = self.pulls[number - 1].comments
        for told in self.comments_on:
            told(self.pulls[number - 1], body)
        said.append(Comment(len(said) + 1, body))
        self._lose()

    def edit_pull(self, number: int, title: str, body: str) -> None:
        self._reach()
        one = self.pulls[number - 1]
        for told in self.edits:
            told(one, title, body)
        one.title, one.body = title, body
        self._lose()

    def label_pull(self, number: int, labels: tuple[str, ...]) -> None:
        self._reach()
        there = self.pulls[number - 1].labels
        there += [one for one in labels if one not in there]

    def unlabel_pull(self, number: int, labels: tuple[str, ...]) -> None:
        self._reach()
        one = self.pulls[number - 1]
        one.labels = [label for label in one.labels if label not in labels]

    def open_pull(self, draft: Draft) -> Pull:
        self._reach()
        there, head = self.newest(draft.branch), self._remote.branches.get(draft.branch)
        if there and there.state == "open":
            raise Invalid("a pull request already exists for it", "look at the pull request")
        if head is None or self._remote.reaches(self._remote.tip, head):
            raise Invalid("there are no commits between them", "look at the branch")
        for told in self.opens:
            told(draft)
        made = Request(
            len(self.pulls) + 1, draft.branch, title=draft.title, body=draft.body, labels=list(draft.labels)
        )
        self.pulls.append(made)
        self._lose()
        return self._shown(made)

    def close_pull(self, number: int) -> None:
        self._reach()
        one = self.pulls[number - 1]
        if one.state == "merged":
            raise Invalid("it was already merged", "")
        if one.state == "open":
            for told in self.closes:
                told(one)
        one.state = "closed"
        self._lose()

    def merge_when_ready(self, pull: Pull) -> bool:
        self._reach()
        self.pulls[pull.number - 1].waits = self._merges
        self._lose()
        return self._merges

    def _shown(self, one: Request) -> Pull:
        head = self._remote.branches.get(one.branch, "")
        url, labels = f"https://forge/{one.number}", tuple(one.labels)
        return Pull(one.number, url, one.state, one.branch, head, "main", one.title, one.body, labels=labels)

    def _reach(self) -> None:
        if self._weather.strikes("forge-down") or self._weather.strikes("forge-flaky"):
            raise Unavailable("the forge does not answer", "it is tried again")
        if self._weather.strikes("forge-limited"):
            raise Unavailable("the forge asks to wait", "it is tried again", retry_s=LIMITED_S)
        if self._weather.strikes("forge-denies"):
            raise Denied("the forge refuses the token", "give it another")

    def _lose(self) -> None:
        """The answer may be lost once the effect is there."""
        self.interrupt()
        if self._weather.strikes("forge-unanswered"):
            raise Unavailable("the forge closed the connection", "it is tried again")
