"""What a delivery of a webhook says: which branches have moved, and into which of them people propose. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct

from reconciler.model.codec import decode, resolve_types
from reconciler.model.delivery import Headers, Provider

FORM_FIELDS_MAX = 10
GIT_PULLS = frozenset(
    f"pull_request{what}" for what in ("", "_sync", "_review", "_approved", "_rejected", "_review_request")
)
"""What GitHub, Gitea and Forgejo call it; what people write below one is none of it."""


class Event(Struct, frozen=True):
    """A push to these branches; with `pull`, something that was done with a pull request into them.

    `repository`: as its server names it, `ops/fleet`; empty where the delivery does not say it.
    """

    repository: str
    branches: tuple[str, ...]
    pull: bool = False


class Named(Struct, frozen=True):
    full_name: str = ""


class GitPush(Struct, frozen=True):
    """What GitHub, Gitea and Forgejo say of a push."""

    ref: str
    repository: Named = Named()


class GitBase(Struct, frozen=True):
    ref: str


class GitPullRequest(Struct, frozen=True):
    base: GitBase


class GitPull(Struct, frozen=True):
    """What they say of a pull request."""

    pull_request: GitPullRequest
    repository: Named = Named()


class Project(Struct, frozen=True):
    path_with_namespace: str = ""


class MergeRequest(Struct, frozen=True):
    target_branch: str = ""


class GitLabEvent(Struct, frozen=True):
    """A project's or group's hook says `object_kind`, a system hook `event_name`."""

    object_kind: str = ""
    event_name: str = ""
    ref: str = ""
    project: Project = Project()
    object_attributes: MergeRequest = MergeRequest()


class CloudBranch(Struct, frozen=True):
    type: str = ""
    name: str = ""


class CloudChange(Struct, frozen=True):
    """`new` is null where the branch was deleted."""

    new: CloudBranch | None = None
    old: CloudBranch | None = None


class CloudPush(Struct, frozen=True):
    changes: tuple[CloudChange, ...]


class CloudEnd(Struct, frozen=True):
    branch: CloudBranch


class CloudPullRequest(Struct, frozen=True):
    destination: CloudEnd


class BitbucketCloud(Struct, frozen=True):
    """Of a push, or of a pull request."""

    push: CloudPush | None = None
    pullrequest: CloudPullRequest | None = None
    repository: Named = Named()


class ServerRef(Struct, frozen=True):
    id: str


class ServerChange(Struct, frozen=True):
    ref: ServerRef


class ServerProject(Struct, frozen=True):
    key: str = ""


class ServerRepository(Struct, frozen=True):
    slug: str = ""
    project: ServerProject = ServerProject()


class BitbucketServer(Struct, frozen=True):
    changes: tuple[ServerChange, ...]
    repository: ServerRepository = ServerRepository()


class ServerEnd(Struct, frozen=True):
    id: str
    repository: ServerRepository = ServerRepository()


class ServerPullRequest(Struct, frozen=True, rename="camel"):
    to_ref: ServerEnd


class ServerPull(Struct, frozen=True, rename="camel"):
    pull_request: ServerPullRequest


resolve_types(GitPush, GitPull, GitLabEvent, BitbucketCloud, BitbucketServer, ServerPull)


def read_event(provider: Provider, headers: Headers, body: bytes) -> Event | None:
    """What has happened to branches and pull requests; None for whatever else. Raises ValueError for what is no such
    event."""
    try:
        return READERS[provider](headers, body)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def concerns(event: Event, branch: str, url: str) -> bool:
    """Whether it is about this branch of the repository at this URL (or path, which no server's name says)."""
    return branch in event.branches and _same(event.repository, url)


def _same(name: str, url: str) -> bool:
    """One repository has several URLs, and some have more before its name: the shorter of both decides."""
    if "://" in url:
        parts = urlsplit(url)
        path = "" if parts.scheme == "file" else parts.path
    else:
        path = "" if url.startswith("/") else url.partition(":")[2]
    theirs, ours = _segments(name), _segments(path)
    common = min(len(theirs), len(ours))
    return theirs[len(theirs) - common :] == ours[len(ours) - common :]


def _segments(path: str) -> list[str]:
    return [part for part in path.casefold().rstrip("/").removesuffix(".git").split("/") if part]


def _from_git(*named_in: str) -> Callable[[Headers, bytes], Event | None]:
    """`named_in`: the headers of which one says what has happened."""

    def read(headers: Headers, body: bytes) -> Event | None:
        names = {headers.get(name) for name in named_in}
        if "push" in names:
            said = decode(_content(headers, body), GitPush)
            return Event(said.repository.full_name, _branches(said.ref))
        if names & GIT_PULLS:
            found = decode(_content(headers, body), GitPull)
            return Event(found.repository.full_name, (found.pull_request.base.ref,), pull=True)
        return None

    return read


def _content(headers: Headers, body: bytes) -> bytes:
    """The JSON, which a form may hold as `payload`."""
    if headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return body
    fields = parse_qs(body.decode("ascii"), max_num_fields=FORM_FIELDS_MAX)
    return fields.get("payload", [""])[0].encode()


def _from_gitlab(_headers: Headers, body: bytes) -> Event | None:
    said = decode(body, GitLabEvent)
    what, name = {said.object_kind, said.event_name}, said.project.path_with_namespace
    if "push" in what:
        return Event(name, _branches(said.ref))
    return (
        Event(name, (said.object_attributes.target_branch,), pull=True) if "merge_request" in what else None
    )


def _from_bitbucket(headers: Headers, body: bytes) -> Event | None:
    key = headers.get("x-event-key", "")
    match key.split(":"):
        case ["repo", "push"]:
            cloud = decode(body, BitbucketCloud)
            if cloud.push is None:
                raise ValueError("it has no push")
            moved = [one for change in cloud.push.changes for one in (change.new, change.old) if one]
            names = tuple(dict.fromkeys(one.name for one in moved if one.type == "branch"))
            return Event(cloud.repository.full_name, names)
        case ["repo", "refs_changed"]:
            server = decode(body, BitbucketServer)
            names = tuple(name for change in server.changes for name in _branches(change.ref.id))
            return Event(_server_name(server.repository), names)
        case ["pullrequest", what] if not what.startswith("comment"):
            cloud = decode(body, BitbucketCloud)
            if cloud.pullrequest is None:
                raise ValueError("it has no pullrequest")
            name = cloud.pullrequest.destination.branch.name
            return Event(cloud.repository.full_name, (name,), pull=True)
        case ["pr", what, *_] if what != "comment":
            to = decode(body, ServerPull).pull_request.to_ref
            return Event(_server_name(to.repository), _branches(to.id), pull=True)
        case _:
            return None


def _server_name(repository: ServerRepository) -> str:
    return f"{repository.project.key}/{repository.slug}".strip("/")


def _branches(ref: str) -> tuple[str, ...]:
    return (ref.removeprefix("refs/heads/"),) if ref.startswith("refs/heads/") else ()


READERS: Mapping[Provider, Callable[[Headers, bytes], Event | None]] = {
    "github": _from_git("x-github-event"),
    "gitlab": _from_gitlab,
    "gitea": _from_git("x-forgejo-event", "x-gitea-event"),
    "bitbucket": _from_bitbucket,
}
