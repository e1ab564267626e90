"""An HTTP server that stands in for a forge, over a real bare repository: what it is asked is held against the
forge's own published description, and what it answers is what it keeps.

with ForgeServer("github", remote) as forge:
    ...  # forge.settings() is the `forge:` of ugs.yaml
    number = forge.open("ugs/bump", title="Bump api")
    forge.merge(number)
    assert forge.statuses[...] == [...]
    assert forge.violations == []
"""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.forge.description import Description
from tests.forge.dialects import DIALECTS, Answer, Dialect
from tests.git.colleague import git


@dataclass
class Review:
    person: str
    verdict: str
    """approved, rejected, commented"""
    commit: str
    at: str
    dismissed: bool = False


@dataclass
class Pull:
    """A pull request as it stands."""

    number: int
    branch: str
    base: str
    title: str
    body: str = ""
    state: str = "open"
    """open, closed, merged"""
    head: str = ""
    """The last commit of its branch that was seen."""
    merged_as: str = ""
    labels: list[str] = field(default_factory=list)
    comments: dict[int, str] = field(default_factory=dict)
    waits_to_merge: bool = False
    author: str = "bob"
    fork: Path | None = None
    """The repository that its branch lies in, where that is another one."""
    reviews: list[Review] = field(default_factory=list)
    heads: dict[str, str] = field(default_factory=dict)
    """Every head that was seen, with when, oldest first."""

    def add(self, labels: list[str]) -> None:
        self.labels += [one for one in labels if one not in self.labels]

    def opinions(self) -> list[Review]:
        """What counts of everybody by now: the newest word that was not dismissed."""
        newest = {one.person: one for one in self.reviews if one.verdict != "commented"}
        return [one for one in newest.values() if not one.dismissed]


class ForgeServer:
    """`pulls` by number, `statuses` by (commit, context): every one that was set, oldest first."""

    token = "the-secret-token"
    repository = "ops/fleet"

    def __init__(self, kind: str, remote: Path) -> None:
        self.kind = kind
        self.remote = remote
        self.pulls: dict[int, Pull] = {}
        self.statuses: dict[tuple[str, str], list[tuple[str, str]]] = {}
        self.deployments: dict[int, dict[str, Any]] = {}
        self.label_ids: dict[str, int] = {}
        self.checks: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
        """By commit and name: every check run with its annotations, as it stands, oldest first."""
        self.app = False
        """Whether the token is an App's."""
        self.writers = {"ada", "bob", "cyd", "ugs"}
        """Accounts that may write."""
        self.teams: dict[str, list[str]] = {}
        """By `org/team`."""
        self.accounts: dict[str, int] = {}
        self.mergeable = False
        """Nothing stands in the way of any pull request."""
        self.auto_merge = True
        self.scopes = {"github": "repo", "gitlab": "api"}.get(kind, "")
        self.calls: list[str] = []
        """Every request as `METHOD path status`, refused ones included."""
        self.violations: list[str] = []
        self.full_name = self.repository
        """Where the repository is now."""
        self._forced: list[Answer] = []
        self._count = 0
        self._dialect: Dialect = DIALECTS[kind]
        self._description = Description(kind)
        self._lock = threading.Lock()
        self._placeholder = socket.socket()  # nobody else is given the port while this server is down
        self._placeholder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._placeholder.bind(("127.0.0.1", 0))
        self.port: int = self._placeholder.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.api = f"{self.url}{self._dialect.prefix}"
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.come_up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_down()
        self._placeholder.close()

    def come_up(self) -> None:
        if self._server is None:
            self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
            self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
            self._thread.start()

    @property
    def is_down(self) -> bool:
        return self._server is None

    def go_down(self) -> None:
        """Refuse connections, and answer on none that is open."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = self._thread = None

    def answer_next(self, answer: Answer, *, times: int = 1) -> None:
        """Answer the next requests so, and then properly again."""
        self._forced += [answer] * times

    # what people do there

    def number(self) -> int:
        self._count += 1
        return self._count

    def open(
        self,
        branch: str,
        *,
        title: str = "Bump",
        body: str = "",
        base: str = "main",
        author: str = "bob",
        fork: Path | None = None,
    ) -> int:
        """`fork`: the bare repository that the branch lies in, where it is another one."""
        pull = Pull(self.number(), branch, base, title, body, author=author, fork=fork)
        self.pulls[pull.number] = pull
        self.head_of(pull)
        return pull.number

    def review(self, number: int, person: str, verdict: str = "approved", *, commit: str = "") -> None:
        """Of the head as it is now, or of this commit. `verdict`: approved, rejected, commented."""
        pull = self.pulls[number]
        seen = commit or self.head_of(pull)
        pull.reviews.append(Review(person, verdict, seen, pull.heads[seen].replace("Z", ".5Z")))

    def dismiss(self, number: int, person: str) -> None:
        """Take back all that somebody has said."""
        for one in self.pulls[number].reviews:
            one.dismissed |= one.person == person

    def merge(self, number: int, *, method: str = "--no-ff") -> str:
        """Merge it as the forge does; the commit of the base branch by which it came."""
        pull = self.pulls[number]
        work = self.remote.parent / f"merge-{number}"
        self.head_of(pull)
        git(self.remote.parent, "clone", "--quiet", str(self.remote), str(work))
        git(work, "fetch", "--quiet", str(pull.fork or self.remote), pull.head)
        git(work, "checkout", "--quiet", pull.base)
        git(
            work,
            "-c",
            "user.name=Forge",
            "-c",
            "user.email=f@x",
            "merge",
            "--quiet",
            method,
            pull.head,
        )
        git(work, "push", "--quiet", "origin", pull.base)
        pull.state, pull.merged_as = "merged", git(work, "rev-parse", "HEAD")
        return pull.merged_as

    def said(self, number: int) -> list[str]:
        """The comments on a pull request, oldest first."""
        return list(self.pulls[number].comments.values())

    def status(self, commit: str, context: str) -> tuple[str, str]:
        """The one that is shown: state and description, in the forge's words."""
        return self.statuses[commit, context][-1]

    # what the dialects need

    def head_of(self, pull: Pull) -> str:
        """The head, which is kept in our own repository as the forge does, and stays when the branch is deleted."""
        there = pull.fork or self.remote
        loose = there / "refs" / "heads" / pull.branch
        if loose.is_file():  # in a test with a hundred pull requests, a process each takes too long
            found = loose.read_text().strip()
        else:
            found = git(there, "for-each-ref", "--format=%(objectname)", f"refs/heads/{pull.branch}")
        if found and found != pull.head and pull.state != "merged":
            pull.head = found
            pull.heads[found] = f"2026-11-28T10:{len(pull.heads):02d}:00Z"
            kept = "merge-requests" if self.kind == "gitlab" else "pull"
            if pull.fork:
                git(self.remote, "fetch", "--quiet", str(there), found)
            ref = self.remote / "refs" / kept / str(pull.number) / "head"
            ref.parent.mkdir(parents=True, exist_ok=True)
            ref.write_text(f"{found}\n")
        return pull.head

    def with_commit(self, commit: str) -> list[Pull]:
        return [one for one in self.pulls.values() if commit in (one.merged_as, one.head)]

    def has_branch(self, name: str) -> bool:
        return bool(git(self.remote, "for-each-ref", f"refs/heads/{name}"))

    def settings(self, token: Path) -> str:
        """What ugs.yaml has under `forge`; `token`: the file that holds it."""
        api = self.url if self.kind == "gitlab" else self.api
        return (
            f'{{kind: {self.kind}, api: "{api}", token: {{file: "{token}"}}, repository: {self.repository}}}'
        )

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        url = urlsplit(target)
        with self._lock:
            if self._forced:
                answer = self._forced.pop(0)
            elif not self._dialect.knows(self, headers):
                answer = Answer(401, {"message": "Bad credentials"})
            else:
                answer = self._proper(method, url.path, _query(url.query), body)
            self.calls.append(f"{method} {url.path} {answer.status}")
        if answer.status >= 300:
            return replace(answer, body=self._dialect.refusal(answer.body))
        return answer

    def _proper(self, method: str, path: str, query: dict[str, str], body: bytes) -> Answer:
        path = "/graphql" if path == "/api/graphql" else path.removeprefix(self._dialect.prefix)
        said = json.loads(body) if body and method != "GET" else None
        if problem := self._description.problem(method, path, query, said):
            self.violations.append(problem)
            return Answer(500, {"message": problem})
        return self._dialect.answer(self, method, path, query, said or {})


def _query(text: str) -> dict[str, str]:
    """A parameter that is given more than once has its values with commas."""
    found = dict[str, str]()
    for key, value in parse_qsl(text):
        found[key] = f"{found[key]},{value}" if key in found else value
    return found


def _handler(forge: ForgeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            if forge.is_down:  # a connection that was kept from before
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {key.lower(): value for key, value in self.headers.items()}
            answer = forge.answer(self.command, self.path, headers, body)
            data = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            self.send_response_only(answer.status)
            length = {"Content-Length": str(len(data.encode()))}
            for key, value in ({"Content-Type": "application/json"} | answer.headers | length).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(data.encode())

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815  the library's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
            pass

    return Handler
